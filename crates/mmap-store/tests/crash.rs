//! Random programs on the simulated disk, crashed at every operation: what was synced is there, and nothing is invented.

#![expect(clippy::unwrap_used, reason = "test code")]

mod common;

use std::collections::BTreeMap;
use std::ops::Range;

use common::*;
use sutra_mmap_store::{Appended, IoError, Location, NewRecord, Region, SegmentSpace, Store};
use sutra_testkit::segments::{SegmentFaults, SimSegments};

#[derive(Clone, Debug)]
struct Put {
    appended: Appended,
    key: Vec<u8>,
    value: Vec<u8>,
    annex: Option<Vec<u8>>,
    /// Every expiry that may be found, the last synced one first.
    expires: Vec<Option<u64>>,
    synced: bool,
}

/// Runs a program until it ends or the machine stops.
fn run(store: &Store, seed: u64) -> BTreeMap<Location, Put> {
    let mut random = Random(seed);
    let mut puts: BTreeMap<Location, Put> = BTreeMap::new();
    for step in 0..25u64 {
        match random.below(8) {
            0 => {
                let before = puts.clone();
                if store.sync().is_err() {
                    return before;
                }
                for put in puts.values_mut() {
                    put.synced = true;
                    put.expires = put.expires.split_off(put.expires.len() - 1);
                }
            }
            1 | 2 if !puts.is_empty() => {
                let location = *puts.keys().nth(random.below(puts.len())).unwrap();
                let expires = Some(1000 + step).filter(|ms| ms % 3 != 0);
                store.set_expiry(&store.pin(), location, expires).unwrap();
                puts.get_mut(&location).unwrap().expires.push(expires);
            }
            _ => {
                let len = [5, 500, 5_000, 40_000][random.below(4)];
                let (key, value) = (step.to_le_bytes().to_vec(), random.bytes(len));
                let expires = Some(step).filter(|ms| ms % 2 == 1);
                let annex = [None, Some(9), Some(1_600)][random.below(3)].map(|len| random.bytes(len));
                let record =
                    NewRecord { key: &key, value: &value, expires_at_ms: expires, cost: None, annex: annex.as_deref() };
                let Ok(appended) = store.append(0, &record) else { break };
                puts.insert(
                    appended.location,
                    Put { appended, key, value, annex, expires: vec![expires], synced: false },
                );
            }
        }
    }
    puts
}

/// Checks a disk after a crash; an error says what is wrong.
fn check(disk: &SimSegments, puts: &BTreeMap<Location, Put>) -> Result<(), String> {
    let (store, _) = Store::open(Box::new(disk.clone()), options()).map_err(|error| error.to_string())?;
    let pin = store.pin();
    for (location, put) in puts {
        // As the shard does for puts beyond the durable mark: the log knows the CRC.
        let found = believed(&store, &pin, *location).filter(|(record, _)| record.crc() == put.appended.crc);
        match found {
            None if put.synced => return Err(format!("{location}: synced, and lost")),
            None => {}
            Some((record, expires)) => {
                let expected = (&put.key[..], put.annex.as_deref(), &put.value[..]);
                if (record.key(), record.annex(), record.value()) != expected {
                    return Err(format!("{location}: another record"));
                }
                if !put.expires.contains(&expires) {
                    return Err(format!("{location}: expiry {expires:?} of {:?}", put.expires));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn what_was_synced_survives_a_crash_at_every_operation() {
    for seed in 0..if cfg!(miri) { 1 } else { 12 } {
        let disk = SimSegments::new();
        run(&open(Box::new(disk.clone()), options()), seed);
        for stop in 1..=disk.operations() {
            let disk =
                SimSegments::with_faults(SegmentFaults { stop_at_operation: Some(stop), ..SegmentFaults::default() });
            let puts = run(&open(Box::new(disk.clone()), options()), seed);
            for crash in 0..4 {
                let outcome = check(&disk.crash(crash), &puts);
                assert_eq!(outcome, Ok(()), "seed {seed}, stopped at operation {stop}, crash {crash}");
            }
        }
    }
}

#[test]
fn everything_survives_the_death_of_the_process() {
    for seed in 0..if cfg!(miri) { 1 } else { 40 } {
        let disk = SimSegments::new();
        let mut puts = run(&open(Box::new(disk.clone()), options()), seed);
        for put in puts.values_mut() {
            put.synced = true;
            put.expires = put.expires.split_off(put.expires.len() - 1);
        }
        assert_eq!(check(&disk.kill(), &puts), Ok(()), "seed {seed}");
    }
}

#[test]
fn a_failed_sync_promises_nothing_and_keeps_what_was_promised() {
    for seed in 0..if cfg!(miri) { 1 } else { 40 } {
        let faults = SegmentFaults { fail_sync: Some(1 + seed % 4), seed, ..SegmentFaults::default() };
        let disk = SimSegments::with_faults(faults);
        let puts = run(&open(Box::new(disk.clone()), options()), seed);
        assert_eq!(check(&disk.crash(seed), &puts), Ok(()), "seed {seed}");
    }
}

/// A disk that lies: the check above must catch it.
struct Forgetful(SimSegments);

impl SegmentSpace for Forgetful {
    fn create(&self, id: u16, bytes: u32) -> Result<Region, IoError> {
        self.0.create(id, bytes)
    }

    fn open(&self, id: u16, bytes: u32) -> Result<Region, IoError> {
        self.0.open(id, bytes)
    }

    fn list(&self) -> Result<Vec<(u16, u64)>, IoError> {
        self.0.list()
    }

    fn sync(&self, _id: u16, _region: &Region, _range: Range<usize>) -> Result<(), IoError> {
        Ok(())
    }

    fn sync_directory(&self) -> Result<(), IoError> {
        self.0.sync_directory()
    }

    fn remove(&self, id: u16) -> Result<(), IoError> {
        self.0.remove(id)
    }
}

#[test]
fn the_check_catches_a_disk_that_does_not_sync() {
    let caught = (0..20).any(|seed| {
        let disk = SimSegments::new();
        let puts = run(&open(Box::new(Forgetful(disk.clone())), options()), seed);
        check(&disk.crash(seed), &puts).is_err()
    });
    assert!(caught);
}
