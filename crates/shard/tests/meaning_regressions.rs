//! What went wrong once with entries that are found and removed by meaning, each in the fewest steps.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail as the test does")]

use std::sync::Arc;
use sutra_eviction::Policy;
use sutra_shard::{
    Annotations, Filters, Guard, Invalidation, Limits, MeaningError, Metric, Options, Put, Quantization, Recovery,
    Scope, Search, Shard, Space, SpaceOptions, VectorOf, WriteError,
};
use sutra_testkit::segments::{SegmentFaults, SimSegments};
use sutra_testkit::storage::{Faults, SimStorage};
use sutra_wal::Lsn;

const NOW_MS: u64 = 1_800_000_000_000;

struct World {
    storage: SimStorage,
    segments: SimSegments,
}

impl World {
    fn new() -> World {
        World { storage: SimStorage::new(1, Faults::default()), segments: SimSegments::new() }
    }

    fn open(&self) -> (Shard, Recovery) {
        let limits = Limits { max_memory_bytes: 2 << 20, max_entries: 0, policy: Policy::NoEviction };
        let options = Options { limits, seed: 3, ..Options::new("simulated") };
        let (storage, segments) = (Arc::new(self.storage.clone()), Box::new(self.segments.clone()));
        let (shard, recovery) = Shard::open_on(storage, segments, &options, NOW_MS).unwrap();
        assert!(recovery.damage.is_empty(), "{recovery:?}");
        (shard, recovery)
    }

    fn kill(&self) -> World {
        World { storage: self.storage.kill(), segments: self.segments.kill() }
    }
}

fn memory() -> Shard {
    Shard::in_memory(&Limits { max_memory_bytes: 64 << 20, ..Limits::default() }, 7).unwrap()
}

fn options() -> SpaceOptions {
    SpaceOptions {
        dimension: 2,
        metric: Metric::Cosine,
        embedder: String::new(),
        quantization: Quantization::Cascade,
        guard: Guard::default(),
    }
}

fn vector(x: f32, y: f32) -> Vec<u8> {
    [x, y].iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn set(shard: &Shard, space: &Arc<Space>, db: u8, key: &str, now_ms: u64) {
    set_sized(shard, space, db, key, 1, now_ms);
}

fn set_sized(shard: &Shard, space: &Arc<Space>, db: u8, key: &str, bytes: usize, now_ms: u64) {
    shard.make_room(bytes as u64 + 200, now_ms).unwrap();
    let vector = vector(1.0, 0.0);
    let (vector, tags) = (VectorOf::Given(&vector), [&b"t"[..]]);
    let annotations = Annotations { space: Some(space), vector, tags: &tags, ..Annotations::default() };
    let mut txn = shard.begin(Scope::Key(key.as_bytes()), now_ms);
    txn.put_annotated(db, key.as_bytes(), &vec![b'v'; bytes], Put::default(), &annotations, None).unwrap();
}

fn is_there(shard: &Shard, db: u8, key: &str) -> bool {
    shard.begin(Scope::Key(key.as_bytes()), NOW_MS).peek(db, key.as_bytes()).is_some()
}

fn found(shard: &Shard, space: &Arc<Space>, db: u8, filters: Filters<'_>) -> usize {
    let query = space.query(&vector(1.0, 0.0)).unwrap();
    let (count, min) = (1000, None);
    let search = Search {
        db,
        space,
        query: &query,
        count,
        min,
        filters,
        exact: true,
        ef: None,
        with_values: false,
        reader: None,
    };
    shard.search(&search, NOW_MS).unwrap().len()
}

fn by_tag<'a>(tags: &'a [&'a [u8]]) -> Invalidation<'a> {
    Invalidation { tags, ..Invalidation::default() }
}

fn by_glob(glob: &[u8]) -> Invalidation<'_> {
    Invalidation { glob: Some(glob), ..Invalidation::default() }
}

fn swap(shard: &Shard) {
    let mut txn = shard.begin(Scope::All, NOW_MS);
    txn.swap_databases(0, 1).unwrap();
    txn.commit().unwrap();
}

fn flush_log(shard: &Shard) {
    shard.flush_log(Lsn(shard.persistence().last_lsn)).unwrap();
}

#[test]
fn an_entry_of_exactly_the_greatest_age_is_found() {
    let shard = memory();
    let space = shard.create_space(b"s", &options()).unwrap();
    set(&shard, &space, 0, "k", NOW_MS - 100);
    let at_most = |age| Filters { max_age_ms: Some(age), ..Filters::default() };
    assert_eq!(found(&shard, &space, 0, at_most(100)), 1);
    assert_eq!(found(&shard, &space, 0, at_most(99)), 0);
    set(&shard, &space, 0, "now", NOW_MS);
    assert_eq!(found(&shard, &space, 0, at_most(0)), 1);
}

#[test]
fn what_an_older_generation_hides_is_neither_counted_nor_brought_back_by_another_invalidation() {
    let shard = memory();
    let space = shard.create_space(b"s", &options()).unwrap();
    for invalidation in [by_tag(&[b"t"]), by_glob(b"k*")] {
        set(&shard, &space, 0, "k", NOW_MS);
        shard.bump_space(b"s", 0, "", NOW_MS).unwrap();
        assert_eq!(shard.dry_run(&invalidation, 10, NOW_MS).unwrap().count, 0);
        let done = shard.invalidate(&invalidation, NOW_MS).unwrap();
        assert_eq!(done.count, 0);
        assert_eq!(shard.undo(done.lsn, NOW_MS), Ok(0));
        assert!(!is_there(&shard, 0, "k"));
    }
}

#[test]
fn undoing_one_invalidation_does_not_undo_another() {
    let shard = memory();
    let space = shard.create_space(b"s", &options()).unwrap();
    set(&shard, &space, 0, "k", NOW_MS);
    let first = shard.invalidate(&by_tag(&[b"t"]), NOW_MS).unwrap();
    let second = shard.invalidate(&by_glob(b"k*"), NOW_MS).unwrap();
    assert_eq!((first.count, second.count), (1, 0));
    assert_eq!(shard.undo(first.lsn, NOW_MS), Ok(0));
    assert!(!is_there(&shard, 0, "k"));
}

#[test]
fn what_is_undone_is_set_again_in_the_database_that_it_has_become_and_not_where_it_was_flushed() {
    let shard = memory();
    let space = shard.create_space(b"s", &options()).unwrap();
    set(&shard, &space, 0, "k", NOW_MS);
    let done = shard.invalidate(&by_tag(&[b"t"]), NOW_MS).unwrap();
    swap(&shard);
    assert_eq!(shard.undo(done.lsn, NOW_MS), Ok(1));
    assert!(is_there(&shard, 1, "k") && !is_there(&shard, 0, "k"));
    let done = shard.invalidate(&Invalidation { db: 1, ..by_tag(&[b"t"]) }, NOW_MS).unwrap();
    shard.begin(Scope::All, NOW_MS).flush_database(1).unwrap();
    assert!(matches!(shard.undo(done.lsn, NOW_MS), Err(MeaningError::NotUndoable { .. })));
    assert!(!shard.audit(1)[0].undone, "a refused undo changes nothing");
    assert!(!is_there(&shard, 1, "k"));
}

#[test]
fn an_entry_without_a_vector_is_in_no_space_and_one_that_rounds_to_nothing_is_refused() {
    let shard = memory();
    let space = shard.create_space(b"s", &options()).unwrap();
    let mut txn = shard.begin(Scope::All, NOW_MS);
    let annotations = Annotations { space: Some(&space), ..Annotations::default() };
    txn.put_annotated(0, b"k", b"v", Put::default(), &annotations, None).unwrap();
    drop(txn);
    // It was hidden by its space's new generation until the sweep, which did not find it.
    shard.bump_space(b"s", 0, "", NOW_MS).unwrap();
    assert!(is_there(&shard, 0, "k"));
    assert_eq!(shard.drop_space(b"s", NOW_MS), Ok(0));
    assert!(is_there(&shard, 0, "k"));
    let rounding = SpaceOptions { quantization: Quantization::Int8Only, ..options() };
    let space = shard.create_space(b"r", &rounding).unwrap();
    let tiny = vector(1e-44, 0.0);
    let annotations = Annotations { space: Some(&space), vector: VectorOf::Given(&tiny), ..Annotations::default() };
    let mut txn = shard.begin(Scope::All, NOW_MS);
    let refused = txn.put_annotated(0, b"tiny", b"v", Put::default(), &annotations, None);
    assert!(matches!(refused, Err(MeaningError::Vector { .. })), "{refused:?}");
}

#[test]
fn an_invalidation_that_is_recovered_follows_its_entries_through_an_exchange_of_databases() {
    for checkpoint in [false, true] {
        let world = World::new();
        let (shard, _) = world.open();
        let space = shard.create_space(b"s", &options()).unwrap();
        set(&shard, &space, 0, "old", NOW_MS);
        set(&shard, &space, 1, "other", NOW_MS);
        shard.bump_space(b"s", 0, "", NOW_MS).unwrap();
        let held = Invalidation { hold_ms: 1000, ..by_glob(b"held:*") };
        shard.invalidate(&held, NOW_MS).unwrap();
        if checkpoint {
            shard.checkpoint(NOW_MS).unwrap();
        }
        swap(&shard);
        flush_log(&shard);
        drop(shard);
        let (shard, _) = world.kill().open();
        assert!(!is_there(&shard, 1, "old") && is_there(&shard, 0, "other"), "checkpoint {checkpoint}");
        let mut txn = shard.begin(Scope::All, NOW_MS);
        assert!(matches!(txn.put(1, b"held:1", b"v", Put::default()), Err(WriteError::Held { .. })));
        txn.put(0, b"held:1", b"v", Put::default()).unwrap();
    }
}

#[test]
fn the_id_of_a_dropped_space_is_not_given_again_after_a_checkpoint_and_a_restart() {
    let world = World::new();
    let (shard, _) = world.open();
    let dropped = shard.create_space(b"s", &options()).unwrap().id();
    shard.drop_space(b"s", NOW_MS).unwrap();
    shard.checkpoint(NOW_MS).unwrap();
    drop(shard);
    let (shard, _) = world.kill().open();
    assert_ne!(shard.create_space(b"s", &options()).unwrap().id(), dropped);
}

#[test]
fn a_sweep_that_recovery_repeats_is_no_damage_to_the_recovery_after_it() {
    let world = World::new();
    let (shard, _) = world.open();
    let space = shard.create_space(b"s", &options()).unwrap();
    (0..5).for_each(|number| set(&shard, &space, 0, &format!("k{number}"), NOW_MS));
    shard.sync().unwrap();
    // The sweep and its end reach the log's file, but not the sync that would prove it.
    let stop_at_operation = Some(world.segments.operations() + 1);
    world.segments.set_faults(SegmentFaults { stop_at_operation, ..SegmentFaults::default() });
    set(&shard, &space, 0, "not synced", NOW_MS);
    assert!(shard.invalidate(&by_glob(b"k*"), NOW_MS).is_err());
    flush_log(&shard);
    drop(shard);
    let world = world.kill();
    let (shard, _) = world.open();
    assert!((0..5).all(|number| !is_there(&shard, 0, &format!("k{number}"))));
    shard.sync().unwrap();
    drop(shard);
    let (shard, _) = world.kill().open();
    assert!((0..5).all(|number| !is_there(&shard, 0, &format!("k{number}"))));
}

#[test]
fn a_place_that_recovery_emptied_is_not_taken_for_what_was_there_before() {
    let world = World::new();
    let (shard, _) = world.open();
    let space = shard.create_space(b"s", &options()).unwrap();
    (0..60).for_each(|number| set_sized(&shard, &space, 0, &format!("k:{number:03}"), 3000, NOW_MS));
    shard.sync().unwrap();
    // The invalidation itself reaches the log's file, and nothing of its sweep.
    let stop_at_operation = Some(world.storage.operations() + 1);
    world.storage.set_faults(Faults { stop_at_operation, ..Faults::default() });
    assert!(shard.invalidate(&by_glob(b"k:*"), NOW_MS).is_err());
    drop(shard);
    let world = world.kill();
    let (shard, recovery) = world.open();
    assert_eq!(recovery.entries, 0);
    let space = shard.space(b"s").unwrap();
    // Entries of the same size, until every place has been used again.
    for turn in 0..12 {
        for number in 0..60 {
            set_sized(&shard, &space, 0, &format!("m:{number:03}"), 3000, NOW_MS);
        }
        shard.sync().unwrap();
        shard.tick(NOW_MS + turn);
    }
    shard.sync().unwrap();
    flush_log(&shard);
    drop(shard);
    let (shard, _) = world.kill().open();
    let space = shard.space(b"s").unwrap();
    assert_eq!(shard.check_meaning(NOW_MS), Ok(60));
    assert_eq!(found(&shard, &space, 0, Filters::default()), 60);
}

#[test]
fn a_sweep_of_which_a_power_loss_left_only_the_beginning_and_the_end_is_carried_out_by_recovery() {
    let mut carried_out = 0;
    for seed in 0..40 {
        let world = World { storage: SimStorage::new(seed, Faults::default()), segments: SimSegments::new() };
        let (shard, _) = world.open();
        let mut txn = shard.begin(Scope::All, NOW_MS);
        for number in 0..150 {
            txn.put(0, format!("k:{number}").as_bytes(), b"v", Put::default()).unwrap();
        }
        txn.commit().unwrap();
        shard.sync().unwrap();
        // Invalidation, sweep, and its end are written to the log's file; the sync of it makes some sectors of them durable.
        let stop_at_operation = Some(world.storage.operations() + 2);
        world.storage.set_faults(Faults { stop_at_operation, ..Faults::default() });
        assert!(shard.invalidate(&by_glob(b"k:*"), NOW_MS).is_err());
        drop(shard);
        let world = World { storage: world.storage.crash(), segments: world.segments.crash(seed) };
        let (shard, recovery) = world.open();
        let left = (0..150).filter(|number| is_there(&shard, 0, &format!("k:{number}"))).count();
        assert!(left == 0 || left == 150, "seed {seed}: {left} are left, {recovery:?}");
        carried_out += usize::from(left == 0 && recovery.cut.is_some());
    }
    assert!(carried_out > 0, "no seed had a sweep cut in the middle");
}
