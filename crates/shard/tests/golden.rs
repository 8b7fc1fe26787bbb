//! The bytes on the disk do not change unnoticed: data directories of version 1 are opened, and a program writes the same bytes again.
//! The fixtures were written by `golden/make.py` from the pages of the formats, so that pages and code are checked against each other.
//! A new version adds fixtures and never edits one.

use std::collections::BTreeMap;
use std::sync::Arc;
use sutra_eviction::Policy;
use sutra_mmap_store::{Anonymous, SegmentSpace};
use sutra_shard::{Limits, Lsn, Options, Put, Recovery, Scope, Shard, Txn, Value};
use sutra_testkit::segments::SimSegments;
use sutra_testkit::storage::{Faults, SimStorage};
use sutra_wal::Storage;

const NOW_MS: u64 = 1_800_000_000_000;
/// Further away than a slot can tell.
const FAR_MS: u64 = NOW_MS + 30 * 86_400_000;
const LOG: &str = "0000000000000001.wal";
/// Frames of the fixture that the program does not write: what merges and ticks add.
const FRAMES_OF_OTHERS: [(bool, usize); 2] = [(true, 2), (false, 1)];

struct World {
    storage: SimStorage,
    segments: SimSegments,
    mapped: bool,
}

impl World {
    fn new(mapped: bool) -> World {
        World { storage: SimStorage::new(1, Faults::default()), segments: SimSegments::new(), mapped }
    }

    fn open(&self) -> (Shard, Recovery) {
        let limits = Limits { max_memory_bytes: 2 << 20, max_entries: 0, policy: Policy::NoEviction };
        let options =
            Options { mapped: self.mapped, limits, log_file_bytes: 16 << 10, seed: 3, ..Options::new("simulated") };
        let space: Box<dyn SegmentSpace> =
            if self.mapped { Box::new(self.segments.clone()) } else { Box::new(Anonymous) };
        Shard::open_on(Arc::new(self.storage.clone()), space, &options, NOW_MS).expect("opens")
    }

    /// Every file with its content; segments under the names of their files.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let names = self.storage.list().expect("no fault is planned");
        let files = names.into_iter().map(|name| (name.clone(), self.storage.content(&name).expect("listed")));
        let segment = |id| (format!("{id:05}.seg"), self.segments.content(id).expect("listed"));
        files.chain(self.segments.ids().into_iter().map(segment)).collect()
    }
}

/// The files of a fixture; its layout is described in `golden/make.py`.
fn fixture(mapped: bool) -> BTreeMap<String, Vec<u8>> {
    let mut rest: &[u8] =
        if mapped { include_bytes!("golden/v1-mapped.pages") } else { include_bytes!("golden/v1-anonymous.pages") };
    let mut take = |count: usize| {
        let (head, tail) = rest.split_at_checked(count)?;
        rest = tail;
        Some(head)
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
    let mut files = BTreeMap::new();
    while let Some(length) = take(1) {
        let name = String::from_utf8(take(number(length)).expect("a name").to_vec()).expect("text");
        let mut content = vec![0; number(take(8).expect("a size"))];
        for _ in 0..number(take(4).expect("a count")) {
            let at = number(take(4).expect("a page")) * 4096;
            let length = number(take(2).expect("a length"));
            content[at..at + length].copy_from_slice(take(length).expect("a page's bytes"));
        }
        files.insert(name, content);
    }
    files
}

fn world_of(fixture: &BTreeMap<String, Vec<u8>>, mapped: bool) -> World {
    let world = World::new(mapped);
    for (name, content) in fixture {
        match name.strip_suffix(".seg") {
            Some(id) => world.segments.set_content(id.parse().expect("a number"), content.clone()),
            None => world.storage.put(name, content.clone()),
        }
    }
    world
}

/// The program whose traces the fixtures are.
fn run(shard: &Shard) {
    let act = |scope: Scope<'_>, act: &mut dyn FnMut(&mut Txn<'_>)| {
        let mut txn = shard.begin(scope, NOW_MS);
        act(&mut txn);
        txn.commit().expect("logged");
    };
    let key = Scope::Key;
    let soon = Put { expires_at_ms: Some(NOW_MS + 60_000), cost: Some(0.5) };
    let far = Put { expires_at_ms: Some(FAR_MS), cost: None };
    act(key(b"k1"), &mut |txn| txn.put(0, b"k1", b"one", Put::default()).expect("stored"));
    act(key(b"k2"), &mut |txn| txn.put(3, b"k2", b"two", soon).expect("stored"));
    act(key(b"k3"), &mut |txn| txn.put(0, b"k3", b"three", far).expect("stored"));
    let fields: [(&[u8], &[u8]); 2] = [(b"f", b"v"), (b"g", b"w")];
    act(key(b"h"), &mut |txn| assert_eq!(txn.hash_set(0, b"h", &fields, false), Ok(2)));
    act(key(b"h"), &mut |txn| assert_eq!(txn.hash_set(0, b"h", &[(b"f", b"x")], true), Ok(0)));
    act(key(b"h"), &mut |txn| drop(txn.hash_expire(0, b"h", &[b"f"], Some(NOW_MS + 5000)).expect("set")));
    act(key(b"h"), &mut |txn| assert_eq!(txn.hash_remove(0, b"h", &[b"g"]), Ok(1)));
    act(key(b"h"), &mut |txn| assert!(txn.set_expiry(0, b"h", Some(NOW_MS + 9000)).expect("set")));
    act(Scope::Keys(&[b"h", b"h2"]), &mut |txn| assert_eq!(txn.copy((0, b"h"), (1, b"h2"), false), Ok(true)));
    act(key(b"big"), &mut |txn| assert_eq!(txn.write_range(0, b"big", 5000, b"end"), Ok(5003)));
    act(key(b"big"), &mut |txn| assert_eq!(txn.write_range(0, b"big", 3, b"mid"), Ok(5003)));
    shard.checkpoint(NOW_MS).expect("a checkpoint");
    act(key(b"k1"), &mut |txn| txn.put(0, b"k1", b"uno", Put::default()).expect("stored"));
    act(key(b"k1"), &mut |txn| assert!(txn.set_expiry(0, b"k1", Some(NOW_MS + 30_000)).expect("set")));
    act(key(b"k3"), &mut |txn| assert!(txn.delete(0, b"k3")));
    act(key(b"h2"), &mut |txn| assert!(txn.delete(1, b"h2")));
    act(key(b"k4"), &mut |txn| txn.put(5, b"k4", b"four", Put::default()).expect("stored"));
    act(Scope::All, &mut |txn| txn.flush_database(3).expect("flushed"));
    act(Scope::All, &mut |txn| txn.swap_databases(0, 5).expect("swapped"));
    shard.flush_log(Lsn(shard.persistence().last_lsn)).expect("flushed");
}

/// LSNs and bodies of a log file's frames; salt, checksums and durable marks are the log's own affair and tested there.
fn frames(log: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut at = 64;
    while let Some((header, rest)) = log[at..].split_first_chunk::<20>()
        && header[8..16] != [0; 8]
    {
        let length = u32::from_le_bytes(header[4..8].try_into().expect("4 bytes")) as usize;
        frames.push((u64::from_le_bytes(header[8..16].try_into().expect("8 bytes")), rest[..length].to_vec()));
        at = (at + 20 + length).next_multiple_of(8);
    }
    frames
}

fn version_1_is_written_as_ever(mapped: bool) {
    let world = World::new(mapped);
    let (shard, _) = world.open();
    run(&shard);
    drop(shard);
    let mut expected = fixture(mapped);
    expected.remove("00004.seg");
    let mut found = world.files();
    let (mut expected_frames, found_frames) =
        (frames(&expected.remove(LOG).expect("a log")), frames(&found.remove(LOG).expect("a log")));
    let others = FRAMES_OF_OTHERS.into_iter().find(|(kind, _)| *kind == mapped).expect("both").1;
    expected_frames.truncate(expected_frames.len() - others);
    assert_eq!(found_frames, expected_frames);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, expected) in expected {
        let found = &found[&name];
        assert_eq!(found.len(), expected.len(), "{name}");
        let differs = found.iter().zip(&expected).position(|(found, expected)| found != expected);
        assert_eq!(differs, None, "{name}: the first byte that differs");
    }
}

#[test]
fn version_1_is_written_as_ever_with_mapped_memory() {
    version_1_is_written_as_ever(true);
}

#[test]
fn version_1_is_written_as_ever_with_anonymous_memory() {
    version_1_is_written_as_ever(false);
}

fn version_1_is_read(mapped: bool) {
    let (shard, recovery) = world_of(&fixture(mapped), mapped).open();
    assert_eq!((&recovery.damage[..], &recovery.cut), (&[][..], &None));
    // Database 0 and 5 were swapped, database 3 flushed, h2 and k3 removed, and h lost its last field when that expired.
    let mut big = vec![0; 5003];
    big[3..6].copy_from_slice(b"mid");
    big[5000..].copy_from_slice(b"end");
    type Expected<'a> = (u8, &'a [u8], &'a [u8], Option<u64>);
    let expected: [Expected<'_>; 3] =
        [(5, b"k1", b"uno", Some(NOW_MS + 30_000)), (5, b"big", &big, None), (0, b"k4", b"four", None)];
    assert_eq!(recovery.entries - shard.database_stats(5).keys + 2, expected.len() as u64, "{recovery:?}");
    for (db, key, value, expires_at_ms) in expected {
        let txn = shard.begin(Scope::Key(key), NOW_MS);
        let entry = txn.peek(db, key).expect("the entry is there");
        let Value::String(string) = entry.value else { panic!("a string") };
        assert_eq!((string.as_slice(), entry.expires_at_ms), (value, expires_at_ms));
    }
    for (db, key) in [(0, &b"k1"[..]), (0, b"h"), (5, b"h"), (3, b"k2"), (5, b"k3"), (1, b"h2"), (5, b"k4")] {
        assert!(shard.begin(Scope::Key(key), NOW_MS).peek(db, key).is_none(), "database {db}");
    }
}

#[test]
fn version_1_is_read_with_mapped_memory() {
    version_1_is_read(true);
}

#[test]
fn version_1_is_read_with_anonymous_memory() {
    version_1_is_read(false);
}

#[test]
fn a_checkpoint_of_version_1_holds_the_entries_by_itself() {
    for mapped in [true, false] {
        let mut files = fixture(mapped);
        files.remove(LOG);
        let (shard, recovery) = world_of(&files, mapped).open();
        assert_eq!((&recovery.damage[..], recovery.entries, recovery.frames), (&[][..], 6, 0), "mapped {mapped}");
        let txn = shard.begin(Scope::Key(b"k2"), NOW_MS);
        let entry = txn.peek(3, b"k2").expect("the entry is there");
        assert_eq!((entry.expires_at_ms, entry.cost), (Some(NOW_MS + 60_000), 0.5));
        let txn = shard.begin(Scope::Key(b"h"), NOW_MS);
        let hash = txn.hash(0, b"h").expect("a hash").expect("the entry is there");
        let fields: Vec<_> = hash.fields(NOW_MS).map(|field| (field.name, field.value, field.expires_at_ms)).collect();
        assert_eq!(fields, [(&b"f"[..], &b"x"[..], Some(NOW_MS + 5000))]);
    }
}
