//! Random programs against storage that stops at every operation, loses power, tears, fails and fills up. What the log
//! promised must be there; what is there must be a prefix of what was appended; nothing may be invented or come back.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Collect, End, Model, OPTIONS, open, try_open};
use sutra_testkit::storage::{Faults, Random, SimStorage};
use sutra_wal::{Log, Lsn};

const STEPS: usize = 45;
const SEEDS: u64 = 40;

/// One process: opens, works until the storage stops it, ends. `None` if it never got to work.
fn first_life(seed: u64, faults: Faults) -> Result<(Model, SimStorage), String> {
    let storage = SimStorage::new(seed, faults);
    let mut model = Model::default();
    if let Some(log) = model.reopen(&storage, End::PowerLoss, None)? {
        model.run(&log, &mut Random::new(seed), STEPS, 1);
    }
    Ok((model, storage))
}

fn after(storage: &SimStorage, end: End) -> SimStorage {
    match end {
        End::PowerLoss => storage.crash(),
        End::Kill => storage.kill(),
    }
}

/// Ends the process, opens what is left, works on, and does all of it again, three lives in all. The second life may cut
/// the log as a visitor does that misses a payload, and may be stopped at any operation, opening included.
fn later_lives(mut model: Model, storage: &SimStorage, ends: [End; 3], random: &mut Random) -> Result<(), String> {
    let storage = after(storage, ends[0]);
    if random.one_in(2) {
        storage.set_faults(Faults { stop_at_operation: Some(random.below(25)), ..Faults::default() });
    }
    let behind = model.bodies.len() as u64 - model.durable.min(model.bodies.len() as u64);
    let cut_at = (behind > 0 && random.one_in(2)).then(|| model.durable + 1 + random.below(behind));
    if let Some(log) = model.reopen(&storage, ends[0], cut_at)? {
        model.run(&log, random, STEPS / 2, 2);
    }
    let storage = after(&storage, ends[1]);
    if let Some(log) = model.reopen(&storage, ends[1], None)? {
        model.run(&log, random, STEPS / 3, 3);
    }
    let storage = after(&storage, ends[2]);
    model.reopen(&storage, ends[2], None)?;
    Ok(())
}

/// All ways to end, at every operation of the program with this seed.
fn stop_everywhere(seed: u64, faults: &Faults) -> Result<(), String> {
    let (_, whole) = first_life(seed, faults.clone())?;
    let mut random = Random::new(seed ^ 0xc4a5);
    for stop in 0..=whole.operations() {
        for end in [End::PowerLoss, End::Kill] {
            let (model, storage) = first_life(seed, Faults { stop_at_operation: Some(stop), ..faults.clone() })
                .map_err(|error| format!("seed {seed}, stop {stop}: {error}"))?;
            let any = |random: &mut Random| if random.one_in(2) { End::PowerLoss } else { End::Kill };
            let ends = [end, any(&mut random), any(&mut random)];
            later_lives(model, &storage, ends, &mut random)
                .map_err(|error| format!("seed {seed}, stop {stop}, ends {ends:?}: {error}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_stop_at_any_operation_loses_nothing_promised_and_invents_nothing() {
    for seed in 0..SEEDS {
        stop_everywhere(seed, &Faults::default()).unwrap();
    }
}

#[test]
fn a_failed_sync_or_write_and_a_restart_lose_nothing_promised() {
    let mut restarts = 0;
    for seed in 0..SEEDS * 10 {
        let mut random = Random::new(seed);
        let faults = match random.below(3) {
            0 => Faults { fail_sync_at: Some(random.below(20)), ..Faults::default() },
            1 => Faults { fail_write_at: Some(random.below(25)), ..Faults::default() },
            _ => Faults {
                fail_sync_at: Some(random.below(20)),
                fail_write_at: Some(random.below(25)),
                ..Faults::default()
            },
        };
        let (model, storage) = first_life(seed, faults.clone()).unwrap();
        restarts += u64::from(storage.syncs() > faults.fail_sync_at.unwrap_or(u64::MAX));
        for ends in [[End::PowerLoss; 3], [End::Kill, End::PowerLoss, End::Kill]] {
            later_lives(model.clone(), &storage, ends, &mut random)
                .unwrap_or_else(|error| panic!("seed {seed}, {faults:?}, {ends:?}: {error}"));
        }
    }
    assert!(restarts > 50, "the faults must happen: {restarts}");
}

#[test]
fn a_disk_that_is_full_at_any_point_loses_nothing_that_was_accepted() {
    for seed in 0..SEEDS {
        for capacity in (1024..12_000).step_by(1100) {
            let faults = Faults { capacity_bytes: Some(capacity), ..Faults::default() };
            let (mut model, storage) = first_life(seed, faults).unwrap();
            // Whatever was accepted can be written and synced with the disk still full; see also `log.rs`.
            let next = storage.kill();
            next.set_faults(Faults { capacity_bytes: Some(capacity), ..Faults::default() });
            model
                .reopen(&next, End::Kill, None)
                .unwrap_or_else(|error| panic!("seed {seed}, capacity {capacity}: {error}"));
        }
    }
}

#[test]
fn a_log_that_was_cut_stays_cut_through_the_next_power_loss() {
    for seed in 0..300 {
        let storage = SimStorage::new(seed, Faults::default());
        let (log, ..) = open(&storage, 0);
        // Bodies of one length in every life: an old frame behind the cut would follow a new one exactly.
        (1..=30u8).for_each(|n| assert_eq!(log.append(&[n; 40]).unwrap(), Lsn(u64::from(n))));
        log.sync().unwrap();
        let storage = storage.kill();
        let mut collect = Collect { cut_at: Some(12), ..Collect::default() };
        let (log, report) = try_open(&storage, 0, &mut collect).unwrap();
        assert_eq!((report.last, report.cut.unwrap().frames_discarded), (Lsn(11), 19));
        assert_eq!(log.append(&[112; 40]).unwrap(), Lsn(12));
        log.sync().unwrap();
        let (_, _, collect) = open(&storage.crash(), 0);
        assert_eq!(collect.lsns(), (1..=12).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(collect.frames[11].1, [112; 40], "seed {seed}");
    }
}

// From here on: the checks above are shown to notice what they are there for.

fn some_seed_complains(faults: impl Fn(u64) -> Faults) -> String {
    (0..SEEDS).find_map(|seed| stop_everywhere(seed, &faults(seed)).err()).expect("no seed noticed the planted fault")
}

#[test]
fn the_check_notices_a_disk_that_ignores_syncs() {
    let complaint = some_seed_complains(|_| Faults { ignore_syncs: true, ..Faults::default() });
    assert!(complaint.contains("are lost"), "{complaint}");
}

#[test]
fn the_check_notices_a_write_that_is_dropped() {
    let complaint = some_seed_complains(|seed| Faults { drop_write_at: Some(3 + seed % 7), ..Faults::default() });
    assert!(complaint.contains("are lost") || complaint.contains("damage"), "{complaint}");
}

fn complaint_after(tamper: impl Fn(&mut Model)) -> String {
    let storage = SimStorage::new(7, Faults::default());
    let mut model = Model::default();
    let log = model.reopen(&storage, End::Kill, None).unwrap().unwrap();
    append_and_sync(&mut model, &log);
    tamper(&mut model);
    model.reopen(&storage.kill(), End::Kill, None).err().expect("the tampering went unnoticed")
}

fn append_and_sync(model: &mut Model, log: &Log) {
    for number in 0..60u8 {
        log.append(&[number; 30]).unwrap();
        model.bodies.push(vec![number; 30]);
    }
    model.synced = log.sync().unwrap().0;
    model.written = model.synced;
    const { assert!(60 * 56 > 3 * OPTIONS.file_bytes, "more than three files") };
}

#[test]
fn the_check_notices_frames_that_nobody_appended() {
    assert!(complaint_after(|model| model.bodies.truncate(59)).contains("not what was appended"));
}

#[test]
fn the_check_notices_frames_out_of_order() {
    assert!(complaint_after(|model| model.bodies.swap(4, 5)).contains("not what was appended"));
}

#[test]
fn the_check_notices_a_lost_frame() {
    let complaint = complaint_after(|model| {
        model.bodies.push(vec![99]);
        model.written = 61;
    });
    assert!(complaint.contains("are lost"), "{complaint}");
}

#[test]
fn the_check_notices_frames_that_should_be_in_the_checkpoint() {
    let storage = SimStorage::new(7, Faults::default());
    let mut model = Model::default();
    let log = model.reopen(&storage, End::Kill, None).unwrap().unwrap();
    append_and_sync(&mut model, &log);
    model.durable = 60;
    log.mark_durable(Lsn(60));
    log.trim(Lsn(61)).unwrap();
    log.append(b"next").unwrap();
    model.bodies.push(b"next".to_vec());
    model.synced = log.sync().unwrap().0;
    // Frames up to 60 are trimmed, but the model believes that its checkpoint is older.
    assert!(model.reopen(&storage.kill(), End::Kill, None).is_err());
}
