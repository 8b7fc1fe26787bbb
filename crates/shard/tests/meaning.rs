//! Meaning through the shard's own interface: what is written with a vector is found, removed, fenced and recovered.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail as the test does")]

use std::sync::Arc;
use sutra_shard::{
    Annotations, Facts, Filters, Guard, Hit, Invalidation, LeaseGrant, Limits, Lookup, MeaningError, Metric, Options,
    Put, Quantization, Scope, Search, Shard, Space, SpaceOptions, VectorOf, WriteError,
};

const NOW_MS: u64 = 1_790_000_000_000;

fn shard() -> Shard {
    Shard::in_memory(&Limits { max_memory_bytes: 64 << 20, ..Limits::default() }, 7).unwrap()
}

fn options(dimension: usize) -> SpaceOptions {
    SpaceOptions {
        dimension,
        metric: Metric::Cosine,
        embedder: String::new(),
        quantization: Quantization::Cascade,
        guard: Guard::default(),
    }
}

fn blob(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A vector in the plane, so that similarities are cosines of differences of angles.
fn at(degrees: f32) -> Vec<u8> {
    let radians = degrees.to_radians();
    blob(&[radians.cos(), radians.sin(), 0.0, 0.0])
}

fn set(shard: &Shard, space: &Arc<Space>, key: &str, vector: &[u8], tags: &[&[u8]], now_ms: u64) {
    try_set(shard, space, key, vector, tags, None, now_ms).unwrap();
}

fn try_set(
    shard: &Shard,
    space: &Arc<Space>,
    key: &str,
    vector: &[u8],
    tags: &[&[u8]],
    lease: Option<&str>,
    now_ms: u64,
) -> Result<(), MeaningError> {
    let annotations =
        Annotations { space: Some(space), vector: VectorOf::Given(vector), tags, ..Annotations::default() };
    let mut txn = shard.begin(Scope::Key(key.as_bytes()), now_ms);
    let value = format!("value of {key}");
    let lease = lease.map(str::as_bytes);
    txn.put_annotated(0, key.as_bytes(), value.as_bytes(), Put::default(), &annotations, lease)?;
    let lsn = txn.commit()?;
    if let Some(lsn) = lsn {
        shard.flush_log(lsn)?;
    }
    Ok(())
}

fn lookup(shard: &Shard, space: &Arc<Space>, vector: &[u8], min: f32, now_ms: u64) -> Option<Hit> {
    let query = space.query(vector).unwrap();
    let (filters, runner_up) = (Filters::default(), true);
    let lookup = Lookup {
        db: 0,
        space,
        query: &query,
        min,
        filters,
        asked: None,
        runner_up,
        exact: false,
        ef: None,
        reader: None,
    };
    shard.lookup(&lookup, now_ms).unwrap()
}

fn keys(hits: &[Hit]) -> Vec<String> {
    hits.iter().map(|hit| String::from_utf8(hit.key.clone()).unwrap()).collect()
}

fn search(shard: &Shard, space: &Arc<Space>, vector: &[u8], count: usize, filters: Filters<'_>) -> Vec<String> {
    let query = space.query(vector).unwrap();
    let search = Search {
        db: 0,
        space,
        query: &query,
        count,
        min: None,
        filters,
        exact: false,
        ef: None,
        with_values: false,
        reader: None,
    };
    keys(&shard.search(&search, NOW_MS).unwrap())
}

fn get(shard: &Shard, key: &str, now_ms: u64) -> Option<Vec<u8>> {
    let txn = shard.begin(Scope::Key(key.as_bytes()), now_ms);
    txn.string(0, key.as_bytes()).unwrap().map(|string| string.as_slice().to_vec())
}

fn near<'a>(space: &'a Arc<Space>, query: &'a sutra_shard::Query, min: f32) -> Invalidation<'a> {
    Invalidation { meaning: Some((space, query, min)), who: "a test", ..Invalidation::default() }
}

#[test]
fn the_nearest_entry_is_found_with_its_margin_and_details() {
    let shard = shard();
    let space = shard.create_space(b"faq", &options(4)).unwrap();
    set(&shard, &space, "ten", &at(10.0), &[b"a"], NOW_MS);
    set(&shard, &space, "forty", &at(40.0), &[], NOW_MS);
    let hit = lookup(&shard, &space, &at(0.0), 0.9, NOW_MS + 500).unwrap();
    assert_eq!(hit.key, b"ten");
    assert_eq!(&hit.value[..], b"value of ten");
    assert!((hit.similarity - 10f32.to_radians().cos()).abs() < 1e-6, "{hit:?}");
    let margin = 10f32.to_radians().cos() - 40f32.to_radians().cos();
    assert!((hit.margin.unwrap() - margin).abs() < 1e-6, "{hit:?}");
    assert_eq!(hit.details.age_ms, Some(500));
    assert_eq!(hit.details.tags, [b"a"]);
    assert_eq!(hit.details.space.as_deref(), Some(&b"faq"[..]));
    assert_eq!(hit.details.hits, 1);
    assert!(lookup(&shard, &space, &at(0.0), 0.99, NOW_MS).is_none());
    assert_eq!(shard.check_meaning(NOW_MS), Ok(2));
}

#[test]
fn a_vector_of_another_dimension_is_refused_with_both_numbers() {
    let shard = shard();
    let space = shard.create_space(b"faq", &options(4)).unwrap();
    let error = try_set(&shard, &space, "k", &blob(&[1.0, 2.0]), &[], None, NOW_MS).unwrap_err();
    assert_eq!(error.to_string(), "the vector has 2 dimensions, space 'faq' has 4");
    assert_eq!(get(&shard, "k", NOW_MS), None);
    let wanted = SpaceOptions { dimension: 5, ..options(5) };
    let error = shard.space_or_create(b"faq", &wanted).unwrap_err();
    assert_eq!(error.to_string(), "space 'faq' has dimensions 4, not 5");
}

#[test]
fn an_entry_that_is_overwritten_deleted_renamed_or_expired_takes_its_vector_along() {
    let shard = shard();
    let space = shard.create_space(b"s", &options(4)).unwrap();
    for (key, degrees) in [("a", 0.0), ("b", 20.0), ("c", 40.0), ("d", 60.0), ("e", 80.0)] {
        set(&shard, &space, key, &at(degrees), &[], NOW_MS);
    }
    let mut txn = shard.begin(Scope::All, NOW_MS);
    txn.put(0, b"a", b"plain", Put::default()).unwrap();
    assert!(txn.delete(0, b"b"));
    assert!(txn.copy((0, b"c"), (0, b"c2"), true).unwrap());
    assert!(txn.set_expiry(0, b"d", Some(NOW_MS + 10)).unwrap());
    txn.commit().unwrap();
    set(&shard, &space, "e", &at(10.0), &[], NOW_MS);
    assert_eq!(shard.check_meaning(NOW_MS), Ok(3));
    assert_eq!(search(&shard, &space, &at(0.0), 10, Filters::default()), ["e", "c2", "d"]);
    let query = space.query(&at(60.0)).unwrap();
    let filters = Filters::default();
    let later = Search {
        db: 0,
        space: &space,
        query: &query,
        count: 9,
        min: None,
        filters,
        exact: false,
        ef: None,
        with_values: true,
        reader: None,
    };
    assert_eq!(keys(&shard.search(&later, NOW_MS + 10).unwrap()), ["c2", "e"]);
    for tick in 0..20 {
        shard.tick(NOW_MS + 2000 + tick);
    }
    assert_eq!(shard.check_meaning(NOW_MS), Ok(2));
    let mut txn = shard.begin(Scope::All, NOW_MS);
    txn.flush_database(0).unwrap();
    drop(txn);
    assert_eq!(shard.check_meaning(NOW_MS), Ok(0));
}

#[test]
fn filters_hold_inside_the_search() {
    let shard = shard();
    let space = shard.create_space(b"s", &options(4)).unwrap();
    set(&shard, &space, "x:1", &at(0.0), &[b"red"], NOW_MS - 5000);
    set(&shard, &space, "x:2", &at(5.0), &[b"red", b"big"], NOW_MS);
    set(&shard, &space, "y:1", &at(10.0), &[b"big"], NOW_MS);
    let tags = Filters { tags: &[b"big"], ..Filters::default() };
    assert_eq!(search(&shard, &space, &at(0.0), 9, tags), ["x:2", "y:1"]);
    let both = Filters { tags: &[b"big", b"red"], ..Filters::default() };
    assert_eq!(search(&shard, &space, &at(0.0), 9, both), ["x:2"]);
    let glob = Filters { glob: Some(b"y:*"), ..Filters::default() };
    assert_eq!(search(&shard, &space, &at(0.0), 9, glob), ["y:1"]);
    let young = Filters { max_age_ms: Some(1000), ..Filters::default() };
    assert_eq!(search(&shard, &space, &at(0.0), 9, young), ["x:2", "y:1"]);
}

#[test]
fn an_invalidation_removes_what_is_near_and_nothing_else() {
    let shard = shard();
    let space = shard.create_space(b"s", &options(4)).unwrap();
    for degrees in 0..90 {
        set(&shard, &space, &format!("k{degrees}"), &at(degrees as f32), &[], NOW_MS);
    }
    let query = space.query(&at(0.0)).unwrap();
    let min = 30.5f32.to_radians().cos();
    let dry = shard.dry_run(&near(&space, &query, min), 3, NOW_MS).unwrap();
    assert_eq!((dry.count, dry.samples.len()), (31, 3));
    assert_eq!(dry.samples[0].0, b"k30", "the nearest to the threshold is shown first");
    assert_eq!(dry.histogram.len(), 20);
    let done = shard.invalidate(&near(&space, &query, min), NOW_MS).unwrap();
    assert_eq!(done.count, 31);
    assert_eq!(get(&shard, "k30", NOW_MS), None);
    assert!(get(&shard, "k31", NOW_MS).is_some());
    assert_eq!(shard.check_meaning(NOW_MS), Ok(59));
    let audit = shard.audit(10);
    assert_eq!((audit[0].lsn, audit[0].count, audit[0].complete), (done.lsn, 31, true));
    assert!(audit[0].predicate.starts_with("IN s vector of 4 MIN 0.86"), "{}", audit[0].predicate);
    let none = shard.invalidate(&Invalidation::default(), NOW_MS).unwrap_err();
    assert_eq!(none, MeaningError::NoCondition);
}

#[test]
fn conditions_are_a_conjunction() {
    let shard = shard();
    let space = shard.create_space(b"s", &options(4)).unwrap();
    set(&shard, &space, "a:1", &at(0.0), &[b"t"], NOW_MS - 10_000);
    set(&shard, &space, "a:2", &at(0.0), &[b"t"], NOW_MS);
    set(&shard, &space, "b:1", &at(0.0), &[b"t"], NOW_MS - 10_000);
    set(&shard, &space, "a:3", &at(90.0), &[b"t"], NOW_MS - 10_000);
    set(&shard, &space, "a:4", &at(0.0), &[b"u"], NOW_MS - 10_000);
    let query = space.query(&at(0.0)).unwrap();
    let all = Invalidation { tags: &[b"t"], glob: Some(b"a:*"), older_ms: Some(5000), ..near(&space, &query, 0.5) };
    assert_eq!(shard.invalidate(&all, NOW_MS).unwrap().count, 1);
    assert_eq!(get(&shard, "a:1", NOW_MS), None);
    assert_eq!(shard.check_meaning(NOW_MS), Ok(4));
    let by_tag = Invalidation { tags: &[b"t"], ..Invalidation::default() };
    assert_eq!(shard.invalidate(&by_tag, NOW_MS).unwrap().count, 3);
}

#[test]
fn sources_are_invalidated_below_a_version() {
    let shard = shard();
    let mut txn = shard.begin(Scope::All, NOW_MS);
    for version in [1, 2, 3] {
        let key = format!("answer {version}");
        let deps: &[(&[u8], u64)] = &[(b"doc:7", version), (b"doc:8", 1)];
        let annotations = Annotations { deps, ..Annotations::default() };
        txn.put_annotated(0, key.as_bytes(), b"v", Put::default(), &annotations, None).unwrap();
    }
    txn.commit().unwrap();
    let below = Invalidation { dep: Some((b"doc:7", 3)), ..Invalidation::default() };
    assert_eq!(shard.invalidate(&below, NOW_MS).unwrap().count, 2);
    assert!(get(&shard, "answer 3", NOW_MS).is_some());
    assert_eq!(shard.check_meaning(NOW_MS), Ok(1));
}

#[test]
fn a_glob_takes_plain_entries_and_hashes_too() {
    let shard = shard();
    let space = shard.create_space(b"s", &options(4)).unwrap();
    set(&shard, &space, "a:vector", &at(0.0), &[], NOW_MS);
    let mut txn = shard.begin(Scope::All, NOW_MS);
    txn.put(0, b"a:plain", b"v", Put::default()).unwrap();
    txn.put(0, b"b:plain", b"v", Put::default()).unwrap();
    txn.put(1, b"a:other", b"v", Put::default()).unwrap();
    txn.hash_set(0, b"a:hash", &[(b"f", b"v")], false).unwrap();
    txn.commit().unwrap();
    let glob = Invalidation { glob: Some(b"a:*"), ..Invalidation::default() };
    assert_eq!(shard.dry_run(&glob, 10, NOW_MS).unwrap().count, 3);
    assert_eq!(shard.invalidate(&glob, NOW_MS).unwrap().count, 3);
    let txn = shard.begin(Scope::All, NOW_MS);
    assert!(txn.peek(0, b"b:plain").is_some() && txn.peek(1, b"a:other").is_some());
    assert!(txn.peek(0, b"a:hash").is_none() && txn.peek(0, b"a:plain").is_none());
    drop(txn);
    assert_eq!(shard.check_meaning(NOW_MS), Ok(0));
}

#[test]
fn an_invalidation_is_taken_back_but_for_keys_that_were_set_anew() {
    let shard = shard();
    let space = shard.create_space(b"s", &options(4)).unwrap();
    for degrees in 0..10 {
        set(&shard, &space, &format!("k{degrees}"), &at(degrees as f32), &[b"t"], NOW_MS);
    }
    let query = space.query(&at(0.0)).unwrap();
    let done = shard.invalidate(&near(&space, &query, 0.9), NOW_MS).unwrap();
    assert_eq!(done.count, 10);
    set(&shard, &space, "k3", &at(80.0), &[], NOW_MS + 1);
    assert_eq!(shard.undo(done.lsn, NOW_MS + 2), Ok(9));
    assert_eq!(shard.check_meaning(NOW_MS), Ok(10));
    let hit = lookup(&shard, &space, &at(3.0), 0.99, NOW_MS + 3).unwrap();
    assert_ne!(hit.key, b"k3");
    assert_eq!(hit.details.tags, [b"t"]);
    assert!(matches!(shard.undo(done.lsn, NOW_MS + 2), Err(MeaningError::NotUndoable { .. })));
    assert!(matches!(shard.undo(done.lsn + 100, NOW_MS), Err(MeaningError::NotUndoable { .. })));
}

#[test]
fn a_new_generation_hides_everything_at_once() {
    let shard = shard();
    let space = shard.create_space(b"s", &options(4)).unwrap();
    set(&shard, &space, "old", &at(0.0), &[], NOW_MS);
    shard.bump_space(b"s", 0, "a test", NOW_MS).unwrap();
    assert_eq!(get(&shard, "old", NOW_MS), None);
    assert!(lookup(&shard, &space, &at(0.0), 0.5, NOW_MS).is_none());
    set(&shard, &space, "new", &at(0.0), &[], NOW_MS);
    assert_eq!(lookup(&shard, &space, &at(0.0), 0.5, NOW_MS).unwrap().key, b"new");
    shard.tick(NOW_MS + 1);
    assert_eq!(shard.check_meaning(NOW_MS), Ok(1));
    assert!(shard.audit(1)[0].complete);
}

fn granted(grant: LeaseGrant) -> String {
    match grant {
        LeaseGrant::Granted { token } => token,
        LeaseGrant::Wait { ms } => panic!("told to wait {ms} ms"),
    }
}

fn lease(shard: &Shard, key: &str, now_ms: u64) -> LeaseGrant {
    shard.begin(Scope::Key(key.as_bytes()), now_ms).lease(0, key.as_bytes(), 1000, 1)
}

#[test]
fn a_lease_lets_one_write_in() {
    let shard = shard();
    let space = shard.create_space(b"s", &options(4)).unwrap();
    let token = granted(lease(&shard, "k", NOW_MS));
    assert_eq!(lease(&shard, "k", NOW_MS + 400), LeaseGrant::Wait { ms: 600 });
    try_set(&shard, &space, "k", &at(0.0), &[], Some(&token), NOW_MS + 500).unwrap();
    let again = try_set(&shard, &space, "k", &at(0.0), &[], Some(&token), NOW_MS + 500).unwrap_err();
    assert_eq!(again.prefix(), "STALELEASE");
    granted(lease(&shard, "k", NOW_MS + 500));
}

#[test]
fn a_lease_is_stale_after_anything_that_covers_its_entry() {
    type Disturb = fn(&Shard, &Arc<Space>);
    let disturbances: [(&str, Disturb, bool); 9] = [
        (
            "deletion of the missing key",
            |shard, _| {
                shard.begin(Scope::All, NOW_MS).delete(0, b"k");
            },
            true,
        ),
        (
            "deletion of another key",
            |shard, _| {
                shard.begin(Scope::All, NOW_MS).delete(0, b"other");
            },
            false,
        ),
        ("a write", |shard, _| shard.begin(Scope::All, NOW_MS).put(0, b"k", b"v", Put::default()).unwrap(), true),
        ("a flush", |shard, _| shard.begin(Scope::All, NOW_MS).flush_database(0).unwrap(), true),
        (
            "its tag",
            |shard, _| {
                shard.invalidate(&Invalidation { tags: &[b"t"], ..Invalidation::default() }, NOW_MS).unwrap();
            },
            true,
        ),
        (
            "another tag",
            |shard, _| {
                shard.invalidate(&Invalidation { tags: &[b"u"], ..Invalidation::default() }, NOW_MS).unwrap();
            },
            false,
        ),
        (
            "a glob",
            |shard, _| {
                shard.invalidate(&Invalidation { glob: Some(b"k*"), ..Invalidation::default() }, NOW_MS).unwrap();
            },
            true,
        ),
        (
            "meaning",
            |shard, space| {
                let query = space.query(&at(5.0)).unwrap();
                shard.invalidate(&near(space, &query, 0.9), NOW_MS).unwrap();
            },
            true,
        ),
        (
            "another meaning",
            |shard, space| {
                let query = space.query(&at(80.0)).unwrap();
                shard.invalidate(&near(space, &query, 0.9), NOW_MS).unwrap();
            },
            false,
        ),
    ];
    for (what, disturb, is_stale) in disturbances {
        let shard = shard();
        let space = shard.create_space(b"s", &options(4)).unwrap();
        let token = granted(lease(&shard, "k", NOW_MS));
        let query = space.query(&at(0.0)).unwrap();
        let by_meaning = granted(shard.lease_meaning(0, &space, (&query, 0.9), 1000, 1, NOW_MS));
        disturb(&shard, &space);
        for token in [by_meaning, token] {
            let written = try_set(&shard, &space, "k", &at(0.0), &[b"t"], Some(&token), NOW_MS);
            assert_eq!(written.is_err(), is_stale, "after {what}: {written:?}");
            if !is_stale {
                break;
            }
        }
    }
}

#[test]
fn a_lease_ends_with_its_time_its_release_or_its_connection() {
    let shard = shard();
    let space = shard.create_space(b"s", &options(4)).unwrap();
    let token = granted(lease(&shard, "k", NOW_MS));
    assert!(try_set(&shard, &space, "k", &at(0.0), &[], Some(&token), NOW_MS + 1000).is_err());
    let token = granted(lease(&shard, "k", NOW_MS + 1000));
    assert!(shard.begin(Scope::Key(b"k"), NOW_MS).release_lease(0, b"k", token.as_bytes()));
    assert!(!shard.begin(Scope::Key(b"k"), NOW_MS).release_lease(0, b"k", token.as_bytes()));
    granted(lease(&shard, "k", NOW_MS + 1000));
    shard.release_owner(1);
    granted(lease(&shard, "k", NOW_MS + 1000));
    let query = space.query(&at(0.0)).unwrap();
    granted(shard.lease_meaning(0, &space, (&query, 0.9), 1000, 2, NOW_MS));
    let alike = space.query(&at(5.0)).unwrap();
    assert_eq!(shard.lease_meaning(0, &space, (&alike, 0.9), 1000, 3, NOW_MS), LeaseGrant::Wait { ms: 1000 });
    let other = space.query(&at(50.0)).unwrap();
    granted(shard.lease_meaning(0, &space, (&other, 0.9), 1000, 3, NOW_MS));
    shard.release_owner(2);
    granted(shard.lease_meaning(0, &space, (&alike, 0.9), 1000, 3, NOW_MS));
    assert_eq!(shard.meaning_stats().leases, 3);
    shard.tick(NOW_MS + 5000);
    assert_eq!(shard.meaning_stats().leases, 0);
}

#[test]
fn a_hold_refuses_what_it_covers_until_its_time_is_over() {
    let shard = shard();
    let space = shard.create_space(b"s", &options(4)).unwrap();
    let query = space.query(&at(0.0)).unwrap();
    shard.invalidate(&Invalidation { hold_ms: 500, ..near(&space, &query, 0.9) }, NOW_MS).unwrap();
    let held = try_set(&shard, &space, "k", &at(5.0), &[], None, NOW_MS + 499).unwrap_err();
    assert_eq!(held.prefix(), "HELD");
    set(&shard, &space, "far", &at(50.0), &[], NOW_MS + 1);
    set(&shard, &space, "k", &at(5.0), &[], NOW_MS + 500);
    shard.invalidate(&Invalidation { hold_ms: 500, glob: Some(b"p*"), ..Invalidation::default() }, NOW_MS).unwrap();
    let mut txn = shard.begin(Scope::All, NOW_MS + 1);
    assert!(matches!(txn.put(0, b"p1", b"v", Put::default()), Err(WriteError::Held { .. })));
    assert!(matches!(txn.hash_set(0, b"p2", &[(b"f", b"v")], false), Err(WriteError::Held { .. })));
    txn.put(0, b"q", b"v", Put::default()).unwrap();
}

#[test]
fn a_guard_passes_over_an_answer_to_another_question() {
    let shard = shard();
    let guarded = SpaceOptions { guard: Guard { numbers: true, ..Guard::default() }, ..options(4) };
    let space = shard.create_space(b"s", &guarded).unwrap();
    let mut txn = shard.begin(Scope::All, NOW_MS);
    for (key, degrees, text) in [("five", 0.0, "top 5 banks"), ("three", 10.0, "top 3 banks")] {
        let (vector, facts) = (at(degrees), Facts::of(text));
        let vector = VectorOf::Given(&vector);
        let annotations = Annotations { space: Some(&space), vector, facts: Some(&facts), ..Annotations::default() };
        txn.put_annotated(0, key.as_bytes(), b"v", Put::default(), &annotations, None).unwrap();
    }
    txn.commit().unwrap();
    let query = space.query(&at(0.0)).unwrap();
    let asked = Facts::of("the top 3 banks");
    let ask = |asked| Lookup {
        db: 0,
        space: &space,
        query: &query,
        min: 0.9,
        filters: Filters::default(),
        asked,
        runner_up: false,
        exact: false,
        ef: None,
        reader: None,
    };
    let hit = shard.lookup(&ask(Some(&asked)), NOW_MS).unwrap().unwrap();
    assert_eq!((hit.key.as_slice(), hit.guarded), (&b"three"[..], 1));
    assert_eq!(shard.lookup(&ask(None), NOW_MS).unwrap().unwrap().key, b"five");
}

#[test]
fn everything_is_there_again_after_a_restart() {
    for mapped in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let open = || {
            let limits = Limits { max_memory_bytes: 64 << 20, ..Limits::default() };
            let options = Options { mapped, limits, seed: 3, ..Options::new(directory.path()) };
            Shard::open(&options, NOW_MS).unwrap()
        };
        let lsn = {
            let (shard, _) = open();
            let space = shard.create_space(b"s", &options(4)).unwrap();
            let gone = shard.create_space(b"gone", &options(4)).unwrap();
            for degrees in 0..90 {
                set(&shard, &space, &format!("k{degrees}"), &at(degrees as f32), &[b"t"], NOW_MS);
                set(&shard, &gone, &format!("g{degrees}"), &at(degrees as f32), &[], NOW_MS);
            }
            shard.checkpoint(NOW_MS).unwrap();
            set(&shard, &space, "late", &at(89.5), &[b"u"], NOW_MS);
            shard.begin(Scope::All, NOW_MS).delete(0, b"k45");
            assert_eq!(shard.drop_space(b"gone", NOW_MS), Ok(90));
            let query = space.query(&at(0.0)).unwrap();
            let done = shard.invalidate(&near(&space, &query, 30.5f32.to_radians().cos()), NOW_MS).unwrap();
            assert_eq!(done.count, 31);
            let glob = Invalidation { glob: Some(b"k7?"), ..Invalidation::default() };
            assert_eq!(shard.invalidate(&glob, NOW_MS).unwrap().count, 10);
            done.lsn
        };
        for restart in 1..=2 {
            let (shard, recovery) = open();
            assert!(recovery.damage.is_empty(), "{:?}", recovery.damage);
            assert!(shard.space(b"gone").is_none());
            let space = shard.space(b"s").unwrap();
            assert_eq!(shard.check_meaning(NOW_MS), Ok(90 - 31 - 10 - 1 + 1), "mapped {mapped}");
            assert_eq!(lookup(&shard, &space, &at(89.5), 0.99999, NOW_MS).unwrap().key, b"late");
            let hit = lookup(&shard, &space, &at(31.0), 0.99999, NOW_MS).unwrap();
            // Rows in files are taken over with their hits; others are made again from the records.
            assert_eq!((&hit.key[..], hit.details.hits), (&b"k31"[..], if mapped { restart } else { 1 }));
            assert_eq!(get(&shard, "k30", NOW_MS), None);
            assert_eq!(get(&shard, "k70", NOW_MS), None);
            assert!(shard.audit(10).iter().any(|line| line.lsn == lsn && line.count == 31 && line.complete));
            shard.checkpoint(NOW_MS).unwrap();
        }
    }
}

#[test]
fn rounded_vectors_are_found_by_what_they_were_rounded_to() {
    let shard = shard();
    let rounded = SpaceOptions { quantization: Quantization::Int8Only, ..options(4) };
    let space = shard.create_space(b"s", &rounded).unwrap();
    set(&shard, &space, "k", &at(33.0), &[], NOW_MS);
    let hit = lookup(&shard, &space, &at(33.0), 0.99, NOW_MS).unwrap();
    assert!(hit.similarity < 1.0 + 1e-6 && hit.similarity > 0.9999);
    let mut txn = shard.begin(Scope::All, NOW_MS);
    let annotations = Annotations { space: Some(&space), vector: VectorOf::Value, ..Annotations::default() };
    let refused = txn.put_annotated(0, b"self", &at(1.0), Put::default(), &annotations, None);
    assert!(matches!(refused, Err(MeaningError::SelfRounded(_))));
}

#[test]
fn the_value_itself_can_be_the_vector() {
    let shard = shard();
    let space = shard.create_space(b"s", &options(4)).unwrap();
    let mut txn = shard.begin(Scope::All, NOW_MS);
    let annotations = Annotations { space: Some(&space), vector: VectorOf::Value, ..Annotations::default() };
    let vector = blob(&[3.0, 4.0, 0.0, 0.0]);
    txn.put_annotated(0, b"e", &vector, Put::default(), &annotations, None).unwrap();
    txn.commit().unwrap();
    assert_eq!(get(&shard, "e", NOW_MS).unwrap(), vector);
    let hit = lookup(&shard, &space, &blob(&[6.0, 8.0, 0.0, 0.0]), 1.0, NOW_MS).unwrap();
    assert_eq!((hit.key.as_slice(), hit.similarity), (&b"e"[..], 1.0));
}
