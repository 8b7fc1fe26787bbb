//! Power loss and process death, simulated: a seeded program runs on simulated storage and segments until the machine stops at some
//! operation; what the next process finds must be the state after one frame of the log, no earlier than the last sync that returned
//! (power loss) or the last flush that returned (process death). Unsynced writes are lost, torn or reordered by the simulator.

use std::collections::BTreeMap;
use std::sync::Arc;
use sutra_eviction::Policy;
use sutra_shard::{Limits, Options, Put, Scope, Shard, Value, WriteError};
use sutra_testkit::segments::SimSegments;
use sutra_testkit::storage::{Faults, Random, SimStorage};
use sutra_wal::Lsn;

const KEYS: u64 = 24;
const NOW: u64 = 1_800_000_000_000;

type State = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    PowerLoss,
    ProcessDeath,
}

/// Faults planted in the program itself, to show that the checks see them.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Planted {
    Nothing,
    /// Syncs of the log report success and do nothing.
    IgnoredSync,
    /// The program believes that a write was flushed which was not.
    UnflushedReply,
}

struct World {
    storage: SimStorage,
    segments: SimSegments,
}

fn options(mapped: bool, policy: Policy) -> Options {
    // 64 KiB segments, and so few that merges and reuse happen all the time.
    let limits = Limits { max_memory_bytes: 2 << 20, max_entries: 0, policy };
    Options {
        mapped,
        limits,
        log_file_bytes: 16 << 10,
        checkpoint_log_bytes: 48 << 10,
        seed: 3,
        ..Options::new("simulated")
    }
}

fn open(world: &World, options: &Options) -> Shard {
    let space: Box<dyn sutra_mmap_store::SegmentSpace> =
        if options.mapped { Box::new(world.segments.clone()) } else { Box::new(sutra_mmap_store::Anonymous) };
    let (shard, recovery) = Shard::open_on(Arc::new(world.storage.clone()), space, options, NOW).expect("opens");
    assert!(recovery.damage.is_empty(), "nothing was damaged, yet recovery says {recovery:?}");
    shard
}

fn content(shard: &Shard) -> State {
    let txn = shard.begin(Scope::All, NOW);
    let mut keys = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = txn.scan(0, cursor, 100, &mut |key, _| keys.push(key.to_vec()));
        if cursor == 0 {
            break;
        }
    }
    let mut state = State::new();
    for key in keys {
        let value = match txn.peek(0, &key).map(|entry| entry.value) {
            Some(Value::String(string)) => string.as_slice().to_vec(),
            Some(Value::Hash(hash)) => {
                let mut fields: Vec<_> = hash.iter(NOW).map(|(f, v)| [f, b"=", v].concat()).collect();
                fields.sort();
                [b"hash:".to_vec(), fields.join(&b","[..])].concat()
            }
            None => panic!("SCAN shows a key that is not there"),
        };
        state.insert(key, value);
    }
    state
}

/// Runs a program until it ends or the machine stops; then checks what is left. Returns whether the check failed.
fn run(seed: u64, mapped: bool, policy: Policy, end: End, planted: Planted) -> Result<(), String> {
    let mut random = Random::new(seed);
    let stop_at = 20 + random.below(600);
    let faults = if planted == Planted::IgnoredSync {
        Faults { ignore_syncs: true, ..Faults::default() }
    } else if random.one_in(2) {
        Faults { stop_at_operation: Some(stop_at * 2), ..Faults::default() }
    } else {
        Faults::default()
    };
    let world = World { storage: SimStorage::new(seed, faults), segments: SimSegments::new() };
    let options = options(mapped, policy);
    let space: Box<dyn sutra_mmap_store::SegmentSpace> =
        if mapped { Box::new(world.segments.clone()) } else { Box::new(sutra_mmap_store::Anonymous) };
    let Ok((shard, _)) = Shard::open_on(Arc::new(world.storage.clone()), space, &options, NOW) else { return Ok(()) };
    // States by the LSN of the frame that made them; evictions and merges make frames of their own in between.
    let mut states: Vec<(Lsn, State)> = vec![(Lsn(0), State::new())];
    let mut state = State::new();
    let mut hashes: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>> = BTreeMap::new();
    let (mut flushed, mut synced) = (Lsn(0), Lsn(0));
    for _ in 0..stop_at {
        let key = format!("key:{}", random.below(KEYS)).into_bytes();
        let done: Result<(), WriteError> = (|| {
            match random.below(16) {
                0..=8 => {
                    let len = [5, 300, 3000, 9000, 40_000][random.below(5) as usize];
                    let value: Vec<u8> = (0..len).map(|_| random.number() as u8).collect();
                    shard.make_room(len as u64 + 100, NOW)?;
                    let mut txn = shard.begin(Scope::Key(&key), NOW);
                    txn.put(0, &key, &value, Put::default())?;
                    state.insert(key.clone(), value);
                    hashes.remove(&key);
                    if let Some(lsn) = txn.commit()? {
                        states.push((lsn, state.clone()));
                    }
                }
                9..=10 => {
                    let mut txn = shard.begin(Scope::Key(&key), NOW);
                    txn.delete(0, &key);
                    state.remove(&key);
                    hashes.remove(&key);
                    if let Some(lsn) = txn.commit()? {
                        states.push((lsn, state.clone()));
                    }
                }
                11..=12 => {
                    let other = format!("key:{}", random.below(KEYS)).into_bytes();
                    let mut txn = shard.begin(Scope::Keys(&[&key, &other]), NOW);
                    // Two changes in one frame: after a crash both are there, or neither.
                    txn.delete(0, &key);
                    let pairs = [(&b"f"[..], &key[..]), (&b"g"[..], &b"v"[..])];
                    txn.delete(0, &other);
                    txn.hash_set(0, &other, &pairs, false)?;
                    state.remove(&key);
                    hashes.remove(&key);
                    state.insert(other, [b"hash:f=", &key[..], b",g=v"].concat());
                    if let Some(lsn) = txn.commit()? {
                        states.push((lsn, state.clone()));
                    }
                }
                13 => synced = shard.sync()?,
                14 => {
                    if shard.tick(NOW).checkpoint_due || random.one_in(4) {
                        shard.checkpoint(NOW)?;
                    }
                }
                _ => {
                    let last = Lsn(shard.persistence().last_lsn);
                    shard.flush_log(last)?;
                    flushed = last;
                }
            }
            Ok(())
        })();
        if done.is_err() {
            break;
        }
    }
    if planted == Planted::UnflushedReply {
        flushed = Lsn(shard.persistence().last_lsn);
    }
    let durable_floor = shard.durable().min(synced.max(shard.durable()));
    drop(shard);
    let (floor, left) = match end {
        End::PowerLoss => {
            (durable_floor, World { storage: world.storage.crash(), segments: world.segments.crash(seed ^ 0x5A) })
        }
        End::ProcessDeath => {
            (flushed.max(durable_floor), World { storage: world.storage.kill(), segments: world.segments.kill() })
        }
    };
    let mut segments = left.segments.clone();
    for attempt in 0..2 {
        let space: Box<dyn sutra_mmap_store::SegmentSpace> =
            if mapped { Box::new(segments.clone()) } else { Box::new(sutra_mmap_store::Anonymous) };
        let (shard, recovery) =
            Shard::open_on(Arc::new(left.storage.clone()), space, &options, NOW).map_err(|e| e.to_string())?;
        if !recovery.damage.is_empty() {
            return Err(format!("recovery reports damage: {:?}", recovery.damage));
        }
        let found = content(&shard);
        // Evicted entries are gone without a state of their own: under an evicting policy what is found is a part of a state.
        let matches = |state: &State| {
            if policy == Policy::NoEviction {
                *state == found
            } else {
                found.iter().all(|(key, value)| state.get(key) == Some(value))
            }
        };
        // The state in force at the floor is the last one at or below it.
        let first = states.iter().rposition(|(lsn, _)| *lsn <= floor).unwrap_or(0);
        if !states[first..].iter().any(|(_, state)| matches(state)) {
            let nearest = states.iter().rposition(|(_, state)| matches(state));
            return Err(format!(
                "attempt {attempt}: found {} keys; floor {floor:?} of {:?}; nearest matching state {:?}; {recovery:?}",
                found.len(),
                states.last().map(|(lsn, _)| lsn),
                nearest.map(|at| states[at].0),
            ));
        }
        // The recovered shard goes on working, and a second death changes nothing.
        drop(shard);
        segments = segments.kill();
    }
    Ok(())
}

fn runs(seeds: std::ops::Range<u64>, mapped: bool, policy: Policy, end: End) {
    for seed in seeds {
        if let Err(error) = run(seed, mapped, policy, end, Planted::Nothing) {
            panic!("seed {seed} mapped {mapped} {policy:?} {end:?}: {error}");
        }
    }
}

#[test]
fn power_loss_leaves_a_prefix_that_holds_all_that_was_synced_in_mapped_memory() {
    runs(1..100, true, Policy::NoEviction, End::PowerLoss);
}

#[test]
fn power_loss_leaves_a_prefix_that_holds_all_that_was_synced_in_anonymous_memory() {
    runs(1000..1040, false, Policy::NoEviction, End::PowerLoss);
}

#[test]
fn process_death_leaves_all_that_was_flushed() {
    runs(2000..2060, true, Policy::NoEviction, End::ProcessDeath);
    runs(3000..3020, false, Policy::NoEviction, End::ProcessDeath);
}

#[test]
fn eviction_never_brings_back_an_older_value() {
    runs(4000..4060, true, Policy::AllkeysLru, End::PowerLoss);
    runs(5000..5020, true, Policy::AllkeysLru, End::ProcessDeath);
}

#[test]
fn the_checks_notice_syncs_that_do_nothing() {
    let noticed =
        (1..20).filter(|seed| run(*seed, true, Policy::NoEviction, End::PowerLoss, Planted::IgnoredSync).is_err());
    assert!(noticed.count() > 0, "no run noticed that the log was never synced");
}

#[test]
fn the_checks_notice_replies_before_the_flush() {
    let noticed = (1..20)
        .filter(|seed| run(*seed, true, Policy::NoEviction, End::ProcessDeath, Planted::UnflushedReply).is_err());
    assert!(noticed.count() > 0, "no run noticed the lost frames");
}

#[test]
fn a_shard_on_simulated_storage_opens_again() {
    let world = World { storage: SimStorage::new(1, Faults::default()), segments: SimSegments::new() };
    let options = options(true, Policy::NoEviction);
    let shard = open(&world, &options);
    let mut txn = shard.begin(Scope::Key(b"k"), NOW);
    txn.put(0, b"k", b"v", Put::default()).expect("stored");
    let lsn = txn.commit().expect("logged").expect("an LSN");
    shard.flush_log(lsn).expect("flushed");
    drop(shard);
    let left = World { storage: world.storage.kill(), segments: world.segments.kill() };
    assert_eq!(content(&open(&left, &options)), State::from([(b"k".to_vec(), b"v".to_vec())]));
}
