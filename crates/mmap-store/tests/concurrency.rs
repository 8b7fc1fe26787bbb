//! Readers look while segments are appended to, freed, recycled and written over: never a torn read.

#![expect(clippy::unwrap_used, reason = "test code")]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};

use common::*;
use sutra_mmap_store::{Appended, Location, NewRecord, Options, SegmentPhase, Store};

const ENTRIES: usize = 40;

/// What stands in for the index: one lock for each entry, as a stripe's.
type Index = Vec<RwLock<Option<(Appended, u64)>>>;

fn value_of(sequence: u64) -> Vec<u8> {
    Random(sequence).bytes(100 + (sequence % 7) as usize * 400)
}

fn annex_of(sequence: u64) -> Option<Vec<u8>> {
    sequence.is_multiple_of(2).then(|| Random(!sequence).bytes((sequence % 5) as usize * 30))
}

fn key_of(entry: usize) -> [u8; 8] {
    (entry as u64).to_le_bytes()
}

fn put(store: &Store, index: &Index, entry: usize, sequence: u64) {
    let (key, value) = (key_of(entry), value_of(sequence));
    let annex = annex_of(sequence);
    let annex = annex.as_deref();
    let record = NewRecord { key: &key, value: &value, expires_at_ms: Some(sequence + 1), cost: None, annex };
    let mut slot = index[entry].write().unwrap();
    let appended = store.append(0, &record).unwrap();
    if let Some((old, _)) = slot.replace((appended, sequence)) {
        store.release(old.location, old.bytes);
    }
}

/// Frees every sealed segment in which nothing is live, and moves the survivors of one that is nearly dead.
fn maintain(store: &Store, index: &Index) {
    let sealed = |id: u16| store.segments().iter().any(|it| it.id == id && it.phase == SegmentPhase::Sealed);
    let nearly_dead =
        store.segments().into_iter().filter(|it| it.phase == SegmentPhase::Sealed).min_by_key(|it| it.live_bytes);
    if let Some(victim) = nearly_dead.filter(|it| it.live_bytes < 10_000)
        && let Ok(mut destination) = store.open_destination(0)
    {
        for slot in index {
            let mut slot = slot.write().unwrap();
            if let Some((old, sequence)) = *slot
                && old.location.segment() == victim.id
            {
                let pin = store.pin();
                let copy = destination.append_copy(&read(store, &pin, old.location)).unwrap().unwrap();
                *slot = Some((copy, sequence));
                store.release(old.location, old.bytes);
            }
        }
        assert!(sealed(victim.id));
    }
    let dead = store.segments().into_iter().filter(|it| it.phase == SegmentPhase::Sealed && it.live_bytes == 0);
    let dead: Vec<u16> = dead.map(|it| it.id).filter(|id| store.free(*id)).collect();
    store.release_freed(&dead).unwrap();
}

#[test]
fn pinned_readers_never_see_a_segment_written_over() {
    let (writes, readers) = if cfg!(miri) { (60, 1) } else { (3000, 3) };
    on_every_space(|space, it| {
        let store = open(it, Options { lanes: 2, ..options() });
        let index: Index = (0..ENTRIES).map(|_| RwLock::new(None)).collect();
        let (done, reads, generations) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(0));
        std::thread::scope(|scope| {
            for reader in 0..readers {
                let (store, index, done, reads) = (&store, &index, &done, &reads);
                scope.spawn(move || {
                    let mut random = Random(reader);
                    let mut shared = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        let entry = random.below(ENTRIES);
                        let pin = store.pin();
                        let slot = index[entry].read().unwrap();
                        let Some((appended, sequence)) = *slot else { continue };
                        let record = read(store, &pin, appended.location);
                        if random.below(3) == 0 {
                            store
                                .set_expiry(&pin, appended.location, Some(sequence + 1 + random.below(9) as u64))
                                .unwrap();
                        }
                        // From here on only the pin holds the record.
                        drop(slot);
                        std::thread::yield_now();
                        assert_eq!((record.key(), record.value()), (&key_of(entry)[..], &value_of(sequence)[..]));
                        assert_eq!(record.annex(), annex_of(sequence).as_deref());
                        assert!(record.verify());
                        let expires = record.expires_at_ms().unwrap().unwrap();
                        assert!((sequence + 1..sequence + 10).contains(&expires));
                        if random.below(8) == 0 {
                            shared.push((record.shared_value(), sequence));
                        }
                        drop(pin);
                        if shared.len() > 3 {
                            let (value, sequence) = shared.swap_remove(random.below(4));
                            assert_eq!(value, value_of(sequence));
                        }
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let (store, index, done, generations) = (&store, &index, &done, &generations);
            let syncs = scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    store.sync().unwrap();
                    std::thread::yield_now();
                }
            });
            let appender = scope.spawn(move || {
                for sequence in 0..writes {
                    put(store, index, (sequence * 7) as usize % ENTRIES, sequence * 2);
                }
            });
            let mut random = Random(99);
            for sequence in 0..writes {
                put(store, index, random.below(ENTRIES), sequence * 2 + 1);
                if sequence % 16 == 0 {
                    maintain(store, index);
                }
            }
            appender.join().unwrap();
            *generations.lock().unwrap() = store.segments().iter().map(|it| it.generation).max().unwrap();
            done.store(true, Ordering::Relaxed);
            syncs.join().unwrap();
        });
        let generations = *generations.lock().unwrap();
        println!(
            "{space}: {} reads, {generations} generations, {} bytes mapped",
            reads.load(Ordering::Relaxed),
            store.bytes_mapped()
        );
        assert!(cfg!(miri) || generations > 2, "{space}: nothing was recycled");
        let live: u64 = index.iter().filter_map(|slot| slot.read().unwrap().map(|(it, _)| u64::from(it.bytes))).sum();
        assert_eq!(store.live_bytes(), live);
    });
}

#[test]
fn stale_locations_find_nothing_or_something_sound() {
    // A lookup by a location that was moved long ago is a bug above this crate, but no reason to tear.
    let store = open(Box::new(sutra_testkit::segments::SimSegments::new()), options());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (store, done) = (&store, &done);
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let pin = store.pin();
                for offset in (64..SEGMENT_BYTES).step_by(1032) {
                    if let Some(record) = store.record(&pin, Location::new(1, offset)) {
                        let first = record.value().first().copied();
                        assert!(record.value().iter().all(|byte| Some(*byte) == first) && record.verify());
                    }
                }
            }
        });
        for round in 0..if cfg!(miri) { 3u8 } else { 100 } {
            let first = append(store, b"key123", &[round; 1008]).location.segment();
            while first == append(store, b"key123", &[round; 1008]).location.segment() {}
            store.seal(0);
            let sealed: Vec<u16> = store.segments().iter().map(|it| it.id).filter(|id| store.free(*id)).collect();
            store.release_freed(&sealed).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}
