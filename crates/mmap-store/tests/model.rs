//! Random programs against a plain map: every live record is what it should be, and the counts add up, after every step.

#![expect(clippy::unwrap_used, reason = "test code")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use sutra_mmap_store::format::SEGMENT_HEADER_BYTES;
use sutra_mmap_store::{Appended, Directory, Location, NewRecord, Options, SegmentPhase, Store, StoreError};

#[derive(Clone)]
struct Entry {
    appended: Appended,
    value: Vec<u8>,
    expires_at_ms: Option<u64>,
    cost: Option<f32>,
    annex: Option<Vec<u8>>,
}

type Model = BTreeMap<Vec<u8>, Entry>;

fn limited() -> Options {
    Options { limit_bytes: 10 * u64::from(SEGMENT_BYTES), classes: 2, ..options() }
}

/// One step of a program. `freed` are segments whose freeing is not durable yet.
fn step(store: &Store, model: &mut Model, freed: &mut Vec<u16>, random: &mut Random) {
    match random.below(100) {
        0..60 => {
            let key = random.bytes(1 + random.0 as usize % 2);
            let len = [3, 300, 3000, 12_000, 50_000][random.below(5)];
            let value = random.bytes(len);
            let expires_at_ms = Some(random.word() % 1000 + 1).filter(|ms| ms % 2 == 0);
            let cost = Some(random.below(9) as f32).filter(|cost| *cost > 3.0);
            let annex = [None, Some(0), Some(40), Some(3100)][random.below(4)].map(|len| random.bytes(len));
            let record = NewRecord { key: &key, value: &value, expires_at_ms, cost, annex: annex.as_deref() };
            match store.append(random.below(2), &record) {
                Ok(appended) => {
                    if let Some(old) = model.insert(key, Entry { appended, value, expires_at_ms, cost, annex }) {
                        store.release(old.appended.location, old.appended.bytes);
                    }
                }
                Err(StoreError::NoRoom { .. }) => drop_half(store, model),
                Err(error) => panic!("{error}"),
            }
        }
        60..75 => {
            let chosen = random.below(model.len().max(1));
            if let Some(entry) = model.values_mut().nth(chosen) {
                entry.expires_at_ms = Some(random.word() % 1000 + 1).filter(|ms| ms % 3 != 0);
                store.set_expiry(&store.pin(), entry.appended.location, entry.expires_at_ms).unwrap();
            }
        }
        75..82 => {
            let chosen = random.below(model.len().max(1));
            if let Some(key) = model.keys().nth(chosen).cloned() {
                let entry = model.remove(&key).unwrap();
                store.release(entry.appended.location, entry.appended.bytes);
            }
        }
        82..92 => merge(store, model, freed, random),
        92..96 => {
            store.sync().unwrap();
            store.release_freed(&std::mem::take(freed)).unwrap();
        }
        96..98 => store.seal(random.below(2)),
        98 => drop(store.prefault().unwrap()),
        _ => store.shrink().unwrap(),
    }
}

fn drop_half(store: &Store, model: &mut Model) {
    let keys: Vec<Vec<u8>> = model.keys().step_by(2).cloned().collect();
    for key in keys {
        let entry = model.remove(&key).unwrap();
        store.release(entry.appended.location, entry.appended.bytes);
    }
}

/// Moves what is live in one or two sealed segments to a new one, as far as it fits, and frees them.
fn merge(store: &Store, model: &mut Model, freed: &mut Vec<u16>, random: &mut Random) {
    let sealed = store.segments().into_iter().filter(|it| it.phase == SegmentPhase::Sealed);
    let (dedicated, mut pool): (Vec<_>, Vec<_>) = sealed.partition(|it| it.dedicated);
    pool.sort_by_key(|it| it.live_bytes);
    let Ok(mut destination) = store.open_destination(random.below(2)) else { return };
    for victim in pool.into_iter().take(2) {
        for entry in model.values_mut().filter(|it| it.appended.location.segment() == victim.id) {
            let pin = store.pin();
            let record = read(store, &pin, entry.appended.location);
            let Some(copy) = destination.append_copy(&record).unwrap() else { return };
            store.release(entry.appended.location, entry.appended.bytes);
            entry.appended = copy;
        }
        assert!(store.free(victim.id));
        freed.push(victim.id);
    }
    for state in dedicated.iter().filter(|it| it.live_bytes == 0) {
        assert!(store.free(state.id));
        freed.push(state.id);
    }
}

fn validate(store: &Store, model: &Model) {
    let pin = store.pin();
    for (key, entry) in model {
        let (record, expires_at_ms) =
            believed(store, &pin, entry.appended.location).expect("a live record is believed");
        let expected = (&key[..], entry.annex.as_deref(), &entry.value[..]);
        assert_eq!((record.key(), record.annex(), record.value()), expected);
        assert_eq!((expires_at_ms, record.cost()), (entry.expires_at_ms, entry.cost));
        assert_eq!((record.bytes(), record.crc()), (entry.appended.bytes, entry.appended.crc));
    }
    let states = store.segments();
    let live = |id: u16| -> u64 {
        let here = model.values().filter(|entry| entry.appended.location.segment() == id);
        here.map(|entry| u64::from(entry.appended.bytes)).sum()
    };
    let (mut dead, mut mapped) = (0, 0);
    for state in &states {
        assert!(state.tail_bytes <= state.capacity_bytes);
        mapped += u64::from(state.capacity_bytes);
        if state.phase != SegmentPhase::Free && state.tail_bytes > 0 {
            assert_eq!(u64::from(state.live_bytes), live(state.id), "{state:?}");
            if state.phase != SegmentPhase::Freed {
                dead += u64::from(state.tail_bytes - SEGMENT_HEADER_BYTES - state.live_bytes);
            }
        }
    }
    assert_eq!(
        (store.dead_bytes(), store.live_bytes()),
        (dead, model.values().map(|it| u64::from(it.appended.bytes)).sum())
    );
    // Unlisted segments may be on their way out.
    assert!(store.bytes_mapped() >= mapped);
    assert!(mapped <= 11 * u64::from(SEGMENT_BYTES), "limit and overdraft");
    let ids: BTreeSet<u16> = states.iter().map(|it| it.id).collect();
    assert_eq!(ids.len(), states.len());
    assert!(model.values().all(|entry| ids.contains(&entry.appended.location.segment())));
}

#[test]
fn random_programs_agree_with_a_map() {
    let (seeds, steps) = if cfg!(miri) { (1, 40) } else { (4, 400) };
    for seed in 0..seeds {
        on_every_space(|space, it| {
            println!("seed {seed} on {space}");
            let store = open(it, limited());
            let (mut model, mut freed, mut random) = (Model::new(), Vec::new(), Random(seed));
            for _ in 0..steps {
                step(&store, &mut model, &mut freed, &mut random);
                validate(&store, &model);
            }
        });
    }
}

#[test]
fn random_programs_go_on_after_the_store_is_opened_again() {
    if cfg!(miri) {
        return;
    }
    for seed in 100..104 {
        println!("seed {seed}");
        let folder = tempfile::tempdir().unwrap();
        let (mut model, mut random) = (Model::new(), Random(seed));
        for _ in 0..8 {
            let store = open(Box::new(Directory::open(folder.path()).unwrap()), limited());
            for entry in model.values() {
                assert!(store.adopt(entry.appended.location, entry.appended.bytes));
            }
            store.finish_recovery();
            let found_dead = store.segments().into_iter().filter(|it| it.phase == SegmentPhase::Freed);
            let mut freed: Vec<u16> = found_dead.map(|it| it.id).collect();
            for round in 0..60 {
                validate(&store, &model);
                step(&store, &mut model, &mut freed, &mut random);
                if round == 30 {
                    for state in store.segments() {
                        let locations: Vec<Location> = model.values().map(|entry| entry.appended.location).collect();
                        assert_eq!(store.verify(state.id, &locations), []);
                        store.mark_verified(state.id);
                    }
                }
            }
        }
    }
}
