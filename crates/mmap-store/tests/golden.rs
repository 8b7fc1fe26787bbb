//! The format stays what it is: a file written by the first version is read, and the same records give the same bytes.
//! `golden/v1.seg` is the used part of a segment of 64 KiB; the rest is zeros. It was made by a script of its own from the page of the
//! format, so that page and code are checked against each other. So was `golden/v1-annex.seg`, by `golden/make.py`, when records
//! got annexes. Fixtures are never edited.

mod common;

use common::*;
use sutra_mmap_store::{Location, NewRecord, SegmentPhase};
use sutra_testkit::segments::SimSegments;

const V1: &[u8] = include_bytes!("golden/v1.seg");
const V1_ANNEX: &[u8] = include_bytes!("golden/v1-annex.seg");

fn records() -> [NewRecord<'static>; 5] {
    const LONG_KEY: &[u8] = &[b'k'; 256];
    [
        NewRecord { key: b"key", value: b"value", expires_at_ms: None, cost: None, annex: None },
        NewRecord { key: b"expires", value: b"soon", expires_at_ms: Some(1_760_000_000_123), cost: None, annex: None },
        NewRecord { key: b"costs", value: &[0xee; 21], expires_at_ms: None, cost: Some(0.125), annex: None },
        NewRecord { key: LONG_KEY, value: b"", expires_at_ms: Some(u64::MAX), cost: Some(1e9), annex: None },
        NewRecord { key: b"", value: b"", expires_at_ms: None, cost: None, annex: None },
    ]
}

fn annexed_records() -> [NewRecord<'static>; 7] {
    const LONG_KEYS: [&[u8]; 2] = [&[b'k'; 256], &[b'K'; 256]];
    const LAST_MS: u64 = (1 << 48) - 1;
    let annexed = |key, annex, value| NewRecord { annex: Some(annex), ..plain(key, value) };
    [
        annexed(b"key", b"annex", b"value"),
        annexed(b"empty", b"", b"value"),
        NewRecord { expires_at_ms: Some(1_760_000_000_123), ..annexed(b"expires", b"soon", b"") },
        NewRecord { cost: Some(0.125), ..annexed(b"costs", &[0xa7; 300], &[0xee; 21]) },
        annexed(LONG_KEYS[0], b"long key", b"v"),
        NewRecord { expires_at_ms: Some(LAST_MS), cost: Some(1e9), ..annexed(LONG_KEYS[1], b"everything", b"value") },
        plain(b"plain", b"behind"),
    ]
}

/// What the store makes of some records must be the fixture.
fn assert_written(records: &[NewRecord<'_>], fixture: &[u8]) {
    let disk = SimSegments::new();
    let store = open(Box::new(disk.clone()), options());
    for record in records {
        store.append(0, record).expect("room");
    }
    let content = disk.content(1).expect("a segment");
    assert_eq!(content[..fixture.len()], *fixture);
    assert!(content[fixture.len()..].iter().all(|byte| *byte == 0));
}

/// What the store reads of the fixture must be these records.
fn assert_read(fixture: &[u8], offsets: &[u32], records: &[NewRecord<'_>]) {
    let disk = SimSegments::new();
    let mut content = fixture.to_vec();
    content.resize(SEGMENT_BYTES as usize, 0);
    disk.set_content(1, content);
    let store = open(Box::new(disk), options());
    let state = store.segments().pop().expect("a segment");
    assert_eq!((state.generation, state.capacity_bytes, state.class, state.dedicated), (1, SEGMENT_BYTES, 0, false));
    let pin = store.pin();
    assert_eq!(offsets.len(), records.len());
    for (offset, expected) in offsets.iter().zip(records) {
        let record = read(&store, &pin, Location::new(1, *offset));
        assert!(record.verify(), "offset {offset}");
        assert_eq!((record.key(), record.value(), record.cost()), (expected.key, expected.value, expected.cost));
        assert_eq!(record.annex(), expected.annex, "offset {offset}");
        assert_eq!(record.expires_at_ms(), Ok(expected.expires_at_ms.map(|ms| ms.min((1 << 48) - 1))));
    }
}

#[test]
fn version_1_is_written_as_ever() {
    assert_written(&records(), V1);
    assert_written(&annexed_records(), V1_ANNEX);
}

#[test]
fn a_mapped_segment_that_held_other_bytes_is_written_the_same() {
    if cfg!(miri) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("00001.seg");
    std::fs::write(&path, [0xff; SEGMENT_BYTES as usize]).expect("a file");
    let directory = sutra_mmap_store::Directory::open(folder.path()).expect("a directory");
    let (store, damages) = sutra_mmap_store::Store::open(Box::new(directory), options()).expect("a store");
    assert_eq!(damages.len(), 1);
    store.finish_recovery();
    store.release_freed(&[1]).expect("released");
    eventually(|| store.shrink().is_ok() && phase(&store, 1) == Some(SegmentPhase::Free));
    for record in records() {
        store.append(0, &record).expect("appended");
    }
    assert_eq!(std::fs::read(&path).expect("a file")[..V1.len()], *V1);
}

#[test]
fn version_1_is_read() {
    assert_read(V1, &[64, 96, 128, 176, 464], &records());
    assert_read(V1_ANNEX, &[64, 104, 136, 176, 528, 824, 1128], &annexed_records());
}
