//! What several tests share.
#![expect(dead_code, reason = "each test file uses a part of it")]
#![expect(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use sutra_mmap_store::{
    Anonymous, Appended, Directory, Location, NewRecord, Options, Pin, Record, SegmentPhase, SegmentSpace, Store,
};
use sutra_testkit::segments::SimSegments;

pub(crate) const SEGMENT_BYTES: u32 = 65536;

/// Small segments, no limit.
pub(crate) fn options() -> Options {
    Options { segment_bytes: SEGMENT_BYTES, overdraft_bytes: u64::from(SEGMENT_BYTES), ..Options::default() }
}

/// Runs a test on every kind of space.
pub(crate) fn on_every_space(test: impl Fn(&str, Box<dyn SegmentSpace>)) {
    test("heap", Box::new(SimSegments::new()));
    // Miri knows no mappings; the heap stands in for them.
    if cfg!(not(miri)) {
        test("anonymous", Box::new(Anonymous));
        let folder = tempfile::tempdir().unwrap();
        test("directory", Box::new(Directory::open(folder.path()).unwrap()));
    }
}

pub(crate) fn open(space: Box<dyn SegmentSpace>, options: Options) -> Store {
    let (store, damages) = Store::open(space, options).unwrap();
    assert_eq!(damages, []);
    store
}

pub(crate) fn open_directory(path: &Path) -> Store {
    open(Box::new(Directory::open(path).unwrap()), options())
}

pub(crate) fn plain<'a>(key: &'a [u8], value: &'a [u8]) -> NewRecord<'a> {
    NewRecord { key, value, expires_at_ms: None, cost: None, annex: None }
}

pub(crate) fn append(store: &Store, key: &[u8], value: &[u8]) -> Appended {
    store.append(0, &plain(key, value)).unwrap()
}

/// The record at a location that must have one.
pub(crate) fn read<'g>(store: &'g Store, pin: &'g Pin, location: Location) -> Record<'g> {
    store.record(pin, location).expect("there is a record")
}

/// What a careful reader believes of a record: nothing of it unless all checks hold.
pub(crate) fn believed<'g>(store: &'g Store, pin: &'g Pin, location: Location) -> Option<(Record<'g>, Option<u64>)> {
    let record = store.record(pin, location)?;
    let sound = record.is_trusted() || record.verify();
    Some((record, record.expires_at_ms().ok()?)).filter(|_| sound)
}

pub(crate) fn phase(store: &Store, id: u16) -> Option<SegmentPhase> {
    store.segments().iter().find(|state| state.id == id).map(|state| state.phase)
}

/// Waits until pins of other tests in this process are out of the way.
pub(crate) fn eventually(mut is_done: impl FnMut() -> bool) {
    while !is_done() {
        std::thread::yield_now();
    }
}

/// SplitMix64; every test prints its seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.word() as u8).collect()
    }
}
