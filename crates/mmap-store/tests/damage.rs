//! Copies of real files are flipped, cut and scribbled over, then opened: every fault is reported, none is returned as a value.

#![cfg(not(miri))]
#![expect(clippy::unwrap_used, reason = "test code")]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::*;
use sutra_mmap_store::{Appended, Damage, DamageKind, Directory, Location, NewRecord, OpenError, SegmentPhase, Store};

/// What was stored, and where it went.
struct Entry {
    appended: Appended,
    key: Vec<u8>,
    value: Vec<u8>,
    expires_at_ms: Option<u64>,
    cost: Option<f32>,
    annex: Option<Vec<u8>>,
}

impl Entry {
    fn new(appended: Appended, record: &NewRecord<'_>) -> Entry {
        let NewRecord { key, value, expires_at_ms, cost, annex } = *record;
        let annex = annex.map(<[u8]>::to_vec);
        Entry { appended, key: key.to_vec(), value: value.to_vec(), expires_at_ms, cost, annex }
    }

    /// What it takes without padding, after the page of the format.
    fn used_bytes(&self) -> usize {
        let header = if self.key.len() < 256 { 18 } else { 21 } + if self.cost.is_some() { 4 } else { 0 };
        let annexed = self.annex.as_ref().map_or(0, |annex| 4 + annex.len());
        header + self.key.len() + annexed + self.value.len()
    }
}

type Stored = BTreeMap<Location, Entry>;

/// One segment file with records of every shape, and what is in it.
fn sample(folder: &Path) -> (Vec<u8>, Stored) {
    let store = open_directory(folder);
    let mut stored = Stored::new();
    let record = |key, value, expires_at_ms, cost| NewRecord { key, value, expires_at_ms, cost, annex: None };
    let annexed = |annex, record| NewRecord { annex: Some(annex), ..record };
    let shapes = [
        record(b"key", b"value", None, None),
        record(b"k2", b"another value", Some(1_760_000_000_000), Some(0.25)),
        record(&[7; 256], b"long key", Some(1), None),
        record(b"", b"", None, Some(-1.0)),
        // The annex's length lies in the word of the flags, across that and the next (twice), and in the next.
        annexed(b"annex", record(b"a1", b"value", None, None)),
        annexed(b"annex", record(&[8; 256], b"value", None, None)),
        annexed(b"another annex", record(b"a3", b"value", Some(2), Some(0.5))),
        annexed(b"annex", record(&[9; 256], b"value", None, Some(1.5))),
        annexed(b"", record(b"a5", b"value", None, None)),
        annexed(b"", record(b"", b"", None, None)),
    ];
    for it in shapes {
        let appended = store.append(0, &it).unwrap();
        stored.insert(appended.location, Entry::new(appended, &it));
    }
    store.sync().unwrap();
    drop(store);
    (std::fs::read(folder.join("00001.seg")).unwrap(), stored)
}

/// Opens a directory with this one file.
fn open_content(content: &[u8]) -> (tempfile::TempDir, Store, Vec<Damage>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("00001.seg"), content).unwrap();
    let (store, damages) = Store::open(Box::new(Directory::open(folder.path()).unwrap()), options()).unwrap();
    (folder, store, damages)
}

/// How many records are missing or refused. Those that are believed must be what was stored.
fn refused(store: &Store, stored: &Stored) -> usize {
    let pin = store.pin();
    let mut refused = 0;
    for (location, it) in stored {
        match believed(store, &pin, *location) {
            None => refused += 1,
            Some((record, found)) => {
                assert_eq!((record.key(), record.value(), found), (&it.key[..], &it.value[..], it.expires_at_ms));
                assert_eq!((record.annex(), record.cost()), (it.annex.as_deref(), it.cost));
                assert_eq!((record.bytes(), record.crc()), (it.appended.bytes, it.appended.crc));
            }
        }
    }
    refused
}

#[test]
fn every_flipped_bit_is_noticed_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, stored) = sample(folder.path());
    let path = folder.path().join("00001.seg");
    let end = stored.iter().map(|(location, it)| location.offset_bytes() + it.appended.bytes).max().unwrap() as usize;
    let padding = |at: usize| {
        stored.iter().any(|(location, it)| {
            let start = location.offset_bytes() as usize;
            (start + it.used_bytes()..start + it.appended.bytes as usize).contains(&at)
        })
    };
    let mut noticed = 0;
    for bit in 0..(end + 8) * 8 {
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[whole[bit / 8] ^ 1 << (bit % 8)], bit as u64 / 8).unwrap();
        let (store, damages) = Store::open(Box::new(Directory::open(folder.path()).unwrap()), options()).unwrap();
        let refused = refused(&store, &stored);
        if bit / 8 < 64 {
            assert_eq!((damages.len(), refused), (1, 0), "bit {bit}: the header costs no record");
        } else {
            let expected = usize::from(bit / 8 < end && !padding(bit / 8));
            assert_eq!((damages.len(), refused), (0, expected), "bit {bit}");
        }
        noticed += damages.len() + refused;
        file.write_all_at(&whole[bit / 8..][..1], bit as u64 / 8).unwrap();
    }
    assert!(noticed > end * 7, "the test looks at something: {noticed} of {}", end * 8);
}

#[test]
fn a_file_cut_short_loses_what_is_cut_off_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_directory(folder.path());
    let mut stored = Stored::new();
    for index in 0..20u8 {
        let (key, value) = ([index; 8], [index; 3000]);
        let appended = append(&store, &key, &value);
        stored.insert(appended.location, Entry::new(appended, &plain(&key, &value)));
    }
    drop(store);
    let whole = std::fs::read(folder.path().join("00001.seg")).unwrap();
    for length in [0, 1, 63, 64, 4095, 4096, 4097, 8191, 8192, 30_000, 61_440, 65_535] {
        let (folder, store, damages) = open_content(&whole[..length]);
        let found_bytes = length as u64;
        let kind = if length < 4096 {
            DamageKind::Empty { found_bytes }
        } else {
            DamageKind::Short { declared_bytes: 65536, found_bytes }
        };
        assert_eq!(damages, [Damage { segment: 1, kind }]);
        assert_eq!(folder.path().join("00001.seg").exists(), length >= 4096);
        let mapped = length / 4096 * 4096;
        let lost = |(location, it): &(&Location, &Entry)| location.offset_bytes() as usize + it.used_bytes() > mapped;
        assert_eq!(refused(&store, &stored), stored.iter().filter(lost).count(), "length {length}");
        for (location, it) in &stored {
            let adopted = store.adopt(*location, it.appended.bytes);
            assert_eq!(adopted, location.offset_bytes() + it.appended.bytes <= mapped as u32, "length {length}");
        }
        store.finish_recovery();
        for index in 0..40u8 {
            append(&store, &[index; 8], &[index; 3000]);
        }
    }
}

#[test]
fn a_file_that_grew_is_read_as_far_as_it_should_go() {
    let folder = tempfile::tempdir().unwrap();
    let (mut content, stored) = sample(folder.path());
    content.extend_from_slice(&[1; 5000]);
    let (_folder, store, damages) = open_content(&content);
    assert_eq!(damages, [Damage { segment: 1, kind: DamageKind::Long { declared_bytes: 65536, found_bytes: 70536 } }]);
    assert_eq!(refused(&store, &stored), 0);
    assert!(store.record(&store.pin(), Location::new(1, 65536)).is_none());
}

#[test]
fn a_file_under_a_wrong_name_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (content, _) = sample(folder.path());
    std::fs::write(folder.path().join("00007.seg"), &content).unwrap();
    let (store, damages) = Store::open(Box::new(Directory::open(folder.path()).unwrap()), options()).unwrap();
    assert_eq!(damages, [Damage { segment: 7, kind: DamageKind::Misplaced { found: 1 } }]);
    assert!(believed(&store, &store.pin(), Location::new(7, 64)).is_none(), "the expiry word knows its place");
}

#[test]
fn a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut content, _) = sample(folder.path());
    content[8] = 2;
    let crc = crc32fast::hash(&content[..60]);
    content[60..64].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(folder.path().join("00001.seg"), &content).unwrap();
    let refused = Store::open(Box::new(Directory::open(folder.path()).unwrap()), options()).err();
    assert!(matches!(refused, Some(OpenError::Version { segment: 1, found: 2 })), "{refused:?}");
}

#[test]
fn a_file_of_zeros_is_a_free_segment_and_no_damage() {
    let (_folder, store, damages) = open_content(&[0; 65536]);
    assert_eq!(damages, []);
    assert!(believed(&store, &store.pin(), Location::new(1, 64)).is_none());
    store.finish_recovery();
    store.release_freed(&[1]).unwrap();
    eventually(|| store.shrink().is_ok() && phase(&store, 1) == Some(SegmentPhase::Free));
    assert_eq!(store.open_destination(0).unwrap().id(), 1);
}

#[test]
fn garbage_is_never_believed_and_never_panics() {
    let mut random = Random(0x5eed_0001);
    println!("seed {:#x}", random.0);
    for round in 0..30 {
        let length = [4096, 65536, 70_000, 300_000][round % 4];
        let mut content = random.bytes(length);
        if round % 3 == 0 {
            // Lengths and flags that are small pass the first checks.
            content.iter_mut().skip(64).for_each(|byte| *byte &= 0x81);
        }
        let (_folder, store, damages) = open_content(&content);
        assert_eq!(damages.len(), 1);
        let pin = store.pin();
        let believed = |location| believed(&store, &pin, location).is_some();
        let count = (0..length as u32 + 64).step_by(8).filter(|offset| believed(Location::new(1, *offset))).count();
        assert_eq!(count, 0, "round {round}");
        drop(store.verify(1, &[Location::new(1, 64), Location::new(1, 65528)]));
    }
}

#[test]
fn scribbled_records_are_never_returned_as_others() {
    let mut random = Random(0x5eed_0002);
    println!("seed {:#x}", random.0);
    let folder = tempfile::tempdir().unwrap();
    let (whole, stored) = sample(folder.path());
    let end = stored.iter().map(|(location, it)| location.offset_bytes() + it.appended.bytes).max().unwrap() as usize;
    for _ in 0..300 {
        let mut content = whole.clone();
        for _ in 0..1 + random.below(4) {
            let (start, len) = (64 + random.below(end - 64), 1 + random.below(40));
            match random.below(3) {
                0 => content[start..start + len].fill(0),
                1 => content[start..start + len].copy_from_slice(&random.bytes(len)),
                _ => content.copy_within(64..64 + len, start),
            }
        }
        let (_folder, store, _) = open_content(&content);
        refused(&store, &stored);
        let pin = store.pin();
        for offset in (64..end as u32 + 64).step_by(8).filter(|offset| !stored.contains_key(&Location::new(1, *offset)))
        {
            assert!(believed(&store, &pin, Location::new(1, offset)).is_none(), "offset {offset}");
        }
    }
}

#[test]
fn verification_finds_the_damaged_records_and_copies_refuse_them() {
    let folder = tempfile::tempdir().unwrap();
    let (mut content, stored) = sample(folder.path());
    let locations: Vec<Location> = stored.keys().copied().collect();
    content[locations[1].offset_bytes() as usize + 30] ^= 4;
    content[locations[3].offset_bytes() as usize] ^= 4;
    let (_folder, store, _) = open_content(&content);
    assert_eq!(store.verify(1, &locations), [locations[1], locations[3]]);
    let mut destination = store.open_destination(0).unwrap();
    let pin = store.pin();
    let copied: Vec<bool> =
        locations.iter().map(|it| destination.append_copy(&read(&store, &pin, *it)).is_ok()).collect();
    assert_eq!(copied[..4], [true, false, true, false]);
    assert!(copied[4..].iter().all(|it| *it));
}

/// Puts a right CRC on the record of so many bytes.
fn seal(content: &mut [u8], start: usize, used_bytes: usize) {
    let crc = crc32fast::hash(&content[start + 12..start + used_bytes]);
    content[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn a_flag_without_a_meaning_is_not_believed_even_under_a_right_crc() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, stored) = sample(folder.path());
    for (location, it) in &stored {
        let start = location.offset_bytes() as usize;
        let mut content = whole.clone();
        seal(&mut content, start, it.used_bytes());
        assert_eq!(content, whole, "sealing is what the store does");
        for flag in [8, 16, 32, 64, 128] {
            let mut content = whole.clone();
            content[start + 16] |= flag;
            seal(&mut content, start, it.used_bytes());
            let (_folder, store, _) = open_content(&content);
            assert!(store.record(&store.pin(), *location).is_none(), "{location}, flag {flag}");
            assert_eq!(refused(&store, &stored), 1, "the others are as they were");
        }
    }
}

#[test]
fn an_annex_that_claims_to_be_too_long_finds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, stored) = sample(folder.path());
    for (location, it) in stored.iter().filter(|(_, it)| it.annex.is_some()) {
        let annexed = it.annex.as_ref().unwrap().len();
        let at = location.offset_bytes() as usize + it.used_bytes() - it.value.len() - annexed - it.key.len() - 4;
        assert_eq!(whole[at..at + 4], (annexed as u32).to_le_bytes());
        for claimed in [60_000, (1 << 20) + 1, 1 << 31, u32::MAX] {
            let mut content = whole.clone();
            content[at..at + 4].copy_from_slice(&u32::to_le_bytes(claimed));
            // Room for a megabyte and more: what is refused then is the length itself.
            let capacity = if claimed == 60_000 { content.len() } else { 3 << 20 };
            content.resize(capacity, 0);
            content[24..32].copy_from_slice(&(capacity as u64).to_le_bytes());
            let crc = crc32fast::hash(&content[..60]);
            content[60..64].copy_from_slice(&crc.to_le_bytes());
            let (_folder, store, damages) = open_content(&content);
            assert_eq!(damages, []);
            let found = believed(&store, &store.pin(), *location).is_some();
            let decoded = store.record(&store.pin(), *location).is_some();
            assert!(!found && (!decoded || claimed == 60_000), "{location} claims {claimed}");
        }
    }
}
