//! Files that are flipped, cut, lost and filled with noise: every damage is repaired, reported or harmless, and never
//! becomes a frame that nobody appended.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::Arc;

use common::{Collect, OPTIONS, open, try_open};
use sutra_testkit::storage::{Faults, Random, SimStorage};
use sutra_wal::{CutReason, Damage, Log, Lsn, OpenError, Replay, Storage, Verdict};

/// What frame n says.
fn body(lsn: u64) -> Vec<u8> {
    let mut random = Random::new(lsn);
    let bytes = random.below(60) as usize;
    (0..bytes).map(|_| random.number() as u8).collect()
}

/// A log of `count` frames in several files. All up to `durable` are known durable to the frames behind `durable + 3`.
fn log_of(count: u64, durable: u64) -> SimStorage {
    let storage = SimStorage::new(1, Faults::default());
    let (log, ..) = open(&storage, 0);
    for lsn in 1..=count {
        assert_eq!(log.append(&body(lsn)).unwrap(), Lsn(lsn));
        if lsn == durable + 3 {
            log.sync().unwrap();
            log.mark_durable(Lsn(durable));
        }
    }
    log.sync().unwrap();
    drop(log);
    storage.kill()
}

fn copy(storage: &SimStorage) -> SimStorage {
    storage.kill()
}

fn files(storage: &SimStorage) -> Vec<String> {
    storage.list().unwrap().into_iter().filter(|name| name.ends_with(".wal")).collect()
}

/// Where frame `lsn` begins.
fn find(storage: &SimStorage, lsn: u64) -> (String, usize) {
    let length_and_lsn = [&(body(lsn).len() as u32).to_le_bytes()[..], &lsn.to_le_bytes()[..]].concat();
    for name in files(storage) {
        let content = storage.content(&name).unwrap();
        if let Some(at) = (64..content.len() - 12).step_by(8).find(|&at| content[at + 4..at + 16] == length_and_lsn) {
            return (name, at);
        }
    }
    panic!("frame {lsn} is not there");
}

/// Two wrong bytes: more than can be repaired.
fn destroy(storage: &SimStorage, lsn: u64) {
    let (name, at) = find(storage, lsn);
    assert!(storage.flip_bit(&name, at, 3) && storage.flip_bit(&name, at + 12, 3));
}

#[track_caller]
fn check_bodies(seen: &Collect) {
    for pair in seen.frames.windows(2) {
        assert!(pair[0].0 < pair[1].0, "frames {} and {} out of order", pair[0].0, pair[1].0);
    }
    for (lsn, found, _) in &seen.frames {
        assert!(found == &body(*lsn), "frame {lsn} has a body that nobody appended");
    }
}

#[test]
fn every_single_flipped_bit_is_repaired_or_harmless() {
    let storage = log_of(40, 20);
    let names = files(&storage);
    assert!(names.len() > 2);
    let mut repairs = 0;
    for name in &names {
        for offset in 0..storage.content(name).unwrap().len() {
            for bit in 0..8 {
                let damaged = copy(&storage);
                damaged.flip_bit(name, offset, bit);
                let (_, report, seen) = open(&damaged, 0);
                assert_eq!(seen.lsns(), (1..=40).collect::<Vec<_>>(), "{name}, byte {offset}, bit {bit}: {report:?}");
                assert!(seen.damages.is_empty());
                check_bodies(&seen);
                repairs += report.repaired.len();
            }
        }
    }
    assert!(repairs > 8 * 40 * 20, "{repairs}");
}

#[test]
fn a_flipped_bit_in_the_very_last_frame_does_not_lose_it() {
    let storage = log_of(1, 0);
    let (name, at) = find(&storage, 1);
    storage.flip_bit(&name, at + 22, 0);
    let (_, report, seen) = open(&storage, 0);
    assert_eq!((seen.lsns(), report.repaired.len(), report.cut), (vec![1], 1, None));
    check_bodies(&seen);
}

#[test]
fn a_repaired_log_can_be_appended_to_and_opened_again() {
    let storage = log_of(30, 10);
    let (name, at) = find(&storage, 25);
    storage.flip_bit(&name, at + 4, 1);
    let (log, ..) = open(&storage, 0);
    assert_eq!(log.append(&body(31)).unwrap(), Lsn(31));
    log.sync().unwrap();
    let (_, report, seen) = open(&storage.crash(), 0);
    assert_eq!((seen.lsns(), report.repaired.len()), ((1..=31).collect(), 1));
    check_bodies(&seen);
}

#[test]
fn destroyed_durable_frames_are_reported_and_the_others_arrive() {
    let storage = log_of(40, 30);
    for lsn in [1, 7, 8, 22] {
        destroy(&storage, lsn);
    }
    let (_, report, seen) = open(&storage, 0);
    assert_eq!(seen.lsns(), (1..=40).filter(|lsn| ![1, 7, 8, 22].contains(lsn)).collect::<Vec<_>>());
    let lost: Vec<_> = seen.damages.iter().map(|damage| (damage.first.0, damage.last.0)).collect();
    assert_eq!((lost, report.damages), (vec![(1, 1), (7, 8), (22, 22)], 3));
    let (name, at) = find(&log_of(40, 30), 7);
    assert_eq!((&seen.damages[1].file, seen.damages[1].offset), (&name, at as u64));
    check_bodies(&seen);
}

#[test]
fn damage_to_frames_that_the_checkpoint_covers_is_not_reported() {
    let storage = log_of(40, 30);
    destroy(&storage, 7);
    let (_, report, seen) = open(&storage, 7);
    assert_eq!((seen.lsns(), report.damages), ((8..=40).collect(), 0));
}

#[test]
fn a_destroyed_frame_that_was_not_known_durable_cuts_the_log_for_good() {
    let storage = log_of(40, 20);
    destroy(&storage, 33);
    let (log, report, seen) = open(&storage, 0);
    assert_eq!((seen.lsns(), report.damages, report.last), ((1..=32).collect(), 0, Lsn(32)));
    let cut = report.cut.unwrap();
    assert_eq!((cut.lsn, cut.reason, cut.frames_discarded), (Lsn(33), CutReason::Missing, 7));
    assert_eq!(log.append(b"another thirty-third").unwrap(), Lsn(33));
    log.sync().unwrap();
    let (_, _, seen) = open(&storage.crash(), 0);
    assert_eq!(seen.lsns(), (1..=33).collect::<Vec<_>>());
    assert_eq!(seen.frames[32].1, b"another thirty-third");
}

#[test]
fn a_hole_that_reaches_beyond_the_mark_is_reported_up_to_it_and_cut_there() {
    let storage = log_of(40, 20);
    (19..=23).for_each(|lsn| destroy(&storage, lsn));
    let (log, report, seen) = open(&storage, 0);
    assert_eq!(seen.lsns(), (1..=18).collect::<Vec<_>>());
    assert_eq!((seen.damages[0].first, seen.damages[0].last, report.last), (Lsn(19), Lsn(20), Lsn(20)));
    assert_eq!(log.append(b"").unwrap(), Lsn(21));
}

#[test]
fn a_lost_frame_that_only_the_next_files_header_knows_of_is_reported() {
    let storage = SimStorage::new(1, Faults::default());
    let (log, ..) = open(&storage, 0);
    let fits = (OPTIONS.file_bytes - 64) / 64;
    (0..fits).for_each(|_| assert!(log.append(&[1; 40]).is_ok()));
    log.sync().unwrap();
    log.mark_durable(Lsn(fits));
    log.append(b"in the next file").unwrap();
    log.sync().unwrap();
    let [first, second] = &files(&storage)[..2] else { panic!("two files") };
    let mut content = storage.content(second).unwrap();
    content[64..].fill(0);
    storage.put(second, content);
    let at = 64 + 64 * (fits as usize - 1);
    assert!(storage.flip_bit(first, at, 0) && storage.flip_bit(first, at + 30, 0));
    let (_, report, seen) = open(&storage, 0);
    assert_eq!((seen.lsns(), report.last), ((1..fits).collect(), Lsn(fits)));
    assert_eq!((seen.damages[0].first, seen.damages[0].last), (Lsn(fits), Lsn(fits)));
}

#[test]
fn a_file_ends_where_a_later_one_begins_even_if_old_frames_are_back() {
    let storage = log_of(4, 0);
    let name = files(&storage)[0].clone();
    let uncut = storage.content(&name).unwrap();
    let mut collect = Collect { cut_at: Some(3), ..Collect::default() };
    let (log, _) = try_open(&storage, 0, &mut collect).unwrap();
    log.append(b"the other third").unwrap();
    log.sync().unwrap();
    storage.put(&name, uncut);
    let (_, report, seen) = open(&storage, 0);
    assert_eq!((seen.lsns(), report.last), (vec![1, 2, 3], Lsn(3)));
    assert_eq!(seen.frames[2].1, b"the other third");
}

#[test]
fn a_visitor_cannot_cut_what_is_known_durable() {
    struct AlwaysCut(Vec<(u64, bool)>);
    impl Replay for AlwaysCut {
        fn frame(&mut self, lsn: Lsn, _: &[u8], durable: bool) -> Verdict {
            self.0.push((lsn.0, durable));
            Verdict::Cut
        }
        fn damaged(&mut self, damage: &Damage) {
            panic!("{damage:?}");
        }
    }
    let mut visitor = AlwaysCut(Vec::new());
    let (_, report) = Log::open(Arc::new(log_of(30, 20)), OPTIONS, Lsn(10), &mut visitor).unwrap();
    assert_eq!(visitor.0, (11..=21).map(|lsn| (lsn, lsn <= 20)).collect::<Vec<_>>());
    let cut = report.cut.unwrap();
    assert_eq!((report.last, cut.reason, cut.frames_discarded), (Lsn(20), CutReason::Visitor, 10));
}

#[test]
fn a_missing_or_unreadable_file_is_a_reported_gap() {
    let name = files(&log_of(60, 55))[1].clone();
    for unreadable in [false, true] {
        let storage = log_of(60, 55);
        if unreadable {
            storage.flip_bit(&name, 3, 1);
            storage.flip_bit(&name, 30, 1);
        } else {
            storage.remove(&name).unwrap();
        }
        let (_, report, seen) = open(&storage, 0);
        let damage = &seen.damages[0];
        assert_eq!((seen.damages.len(), report.last), (1, Lsn(60)));
        let expected: Vec<u64> = (1..=60).filter(|lsn| !(damage.first.0..=damage.last.0).contains(lsn)).collect();
        assert_eq!((seen.lsns(), report.unreadable.len()), (expected, usize::from(unreadable)));
        check_bodies(&seen);
        // The gap stays until the caller's checkpoint covers it.
        let (_, _, again) = open(&storage.kill(), 0);
        assert_eq!(again.damages.len(), 1);
    }
}

#[test]
fn a_missing_first_file_is_noticed() {
    let storage = log_of(60, 55);
    storage.remove(&files(&storage)[0]).unwrap();
    let (_, _, seen) = open(&storage, 0);
    assert_eq!((seen.damages[0].first, seen.damages[0].last.next().0), (Lsn(1), seen.frames[0].0));
}

#[test]
fn a_file_of_a_newer_version_stops_the_opening_and_stays_as_it_is() {
    let storage = log_of(40, 20);
    let name = files(&storage)[0].clone();
    let mut content = storage.content(&name).unwrap();
    content[8] = 9;
    let crc = crc32fast::hash(&content[..60]);
    content[60..64].copy_from_slice(&crc.to_le_bytes());
    storage.put(&name, content.clone());
    let error = try_open(&storage, 0, &mut Collect::default()).err().unwrap();
    assert!(matches!(error, OpenError::Version { found: 9, supported: 1, .. }), "{error}");
    assert_eq!(storage.content(&name).unwrap(), content);
}

#[test]
fn noise_in_any_mixture_never_panics_and_never_becomes_a_frame() {
    let clean = log_of(60, 40);
    let names = files(&clean);
    for seed in 0..4_000 {
        let storage = copy(&clean);
        let mut random = Random::new(seed);
        for _ in 0..=random.below(6) {
            let name = &names[random.below(names.len() as u64) as usize];
            let Some(mut content) = storage.content(name) else { continue };
            let at = random.below(content.len() as u64 + 1) as usize;
            let bytes = random.below(200) as usize;
            match random.below(8) {
                0 => storage.remove(name).unwrap(),
                1 => content.truncate(at),
                2 => content.resize(at + bytes, 0xff),
                3 => content[at..].fill(0),
                4 => content.rotate_left(at),
                5 => drop(content.splice(at..at, vec![random.number() as u8; bytes])),
                6 => drop(content.drain(at..(at + bytes).min(content.len()))),
                _ => content.iter_mut().skip(at).take(bytes).for_each(|byte| *byte = random.number() as u8),
            }
            if storage.content(name).is_some() {
                storage.put(name, content);
            }
        }
        let (log, report, seen) = open(&storage, 0);
        check_bodies(&seen);
        for (lsn, ..) in &seen.frames {
            let lost = seen.damages.iter().find(|damage| (damage.first.0..=damage.last.0).contains(lsn));
            assert!(lost.is_none(), "seed {seed}: frame {lsn} arrived and was reported lost");
        }
        let accounted = seen.frames.len() as u64 + seen.damages.iter().map(|d| d.last.0 - d.first.0 + 1).sum::<u64>();
        assert_eq!(accounted, report.last.0, "seed {seed}: every frame arrives or is reported lost");
        // The log that remains is a sound one: it can be appended to and says the same again.
        assert_eq!(log.append(&body(report.last.0 + 1)).unwrap(), report.last.next(), "seed {seed}");
        log.sync().unwrap();
        let (_, _, mut again) = open(&storage.crash(), 0);
        assert_eq!(again.frames.pop().map(|frame| frame.0), Some(report.last.0 + 1), "seed {seed}");
        assert_eq!(again.lsns(), seen.lsns(), "seed {seed}");
    }
}

#[test]
fn files_of_pure_noise_are_no_log() {
    for seed in 0..500 {
        let storage = SimStorage::new(seed, Faults::default());
        let mut random = Random::new(seed);
        for sequence in 0..4 {
            let content = (0..random.below(3_000)).map(|_| random.number() as u8).collect();
            storage.put(&format!("{sequence:016}.wal"), content);
        }
        let (log, report, seen) = open(&storage, 0);
        assert_eq!((seen, report.last), (Collect::default(), Lsn::ZERO), "seed {seed}");
        assert_eq!(log.append(b"first").unwrap(), Lsn(1));
        log.sync().unwrap();
        assert_eq!(open(&storage.crash(), 0).2.lsns(), [1], "seed {seed}");
    }
}

#[test]
fn other_files_in_the_directory_are_left_alone() {
    let storage = log_of(3, 0);
    for name in ["LOCK", "checkpoint.1", "1.wal", "0000000000000001.wal.old", "x000000000000001.wal"] {
        storage.put(name, vec![7; 100]);
    }
    let (log, ..) = open(&storage, 0);
    log.trim(Lsn(4)).unwrap();
    let others = storage.list().unwrap().into_iter().filter(|name| storage.content(name).unwrap() == [7; 100]);
    assert_eq!(others.count(), 5);
    assert_eq!(OPTIONS.file_bytes, 1024);
}
