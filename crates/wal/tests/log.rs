//! What the log does while nothing crashes, and how it behaves on a disk that is full or fails.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Collect, OPTIONS, open};
use sutra_testkit::storage::{Faults, SimStorage};
use sutra_wal::{BODY_BYTES_MAX, Disk, File, IoError, Log, LogError, LogOptions, Lsn, OpenError, Storage};

fn sim() -> SimStorage {
    SimStorage::new(1, Faults::default())
}

fn append_many(log: &Log, count: u64) {
    (0..count).for_each(|_| assert!(log.append(&[5; 40]).is_ok()));
}

#[test]
fn numbers_start_at_one_and_move_on_through_written_synced_and_durable() {
    let (log, report, _) = open(&sim(), 0);
    assert_eq!((report.last, log.last(), log.written()), (Lsn(0), Lsn(0), Lsn(0)));
    assert_eq!((log.append(b"a").unwrap(), log.append(b"").unwrap()), (Lsn(1), Lsn(2)));
    assert_eq!((log.last(), log.written(), log.buffered_bytes()), (Lsn(2), Lsn(0), 48));
    log.flush(Lsn(1)).unwrap();
    assert_eq!((log.written(), log.synced(), log.buffered_bytes()), (Lsn(2), Lsn(0), 0));
    log.mark_durable(Lsn(2));
    assert_eq!(log.durable(), Lsn(0), "what is not synced in the log is not durable, whoever says so");
    assert_eq!((log.sync().unwrap(), log.synced()), (Lsn(2), Lsn(2)));
    log.mark_durable(Lsn(1));
    log.mark_durable(Lsn(0));
    assert_eq!((log.durable(), log.bytes()), (Lsn(1), 48));
}

#[test]
fn the_durable_mark_reaches_replay_with_the_next_frame() {
    let storage = sim();
    let (log, ..) = open(&storage, 0);
    append_many(&log, 5);
    log.sync().unwrap();
    log.mark_durable(Lsn(4));
    let flags = || open(&storage.kill(), 0).2.frames.iter().map(|frame| frame.2).collect::<Vec<_>>();
    assert_eq!(flags(), [false; 5]);
    append_many(&log, 1);
    log.flush(Lsn(6)).unwrap();
    assert_eq!(flags(), [true, true, true, true, false, false]);
}

#[test]
fn the_numbers_go_on_behind_a_checkpoint_that_is_ahead_of_the_log() {
    let storage = sim();
    let (log, report, _) = open(&storage, 100);
    assert_eq!((report.last, log.durable(), log.append(b"x").unwrap()), (Lsn(100), Lsn(100), Lsn(101)));
    log.sync().unwrap();
    assert_eq!(open(&storage.crash(), 100).2.lsns(), [101]);
}

#[test]
fn a_flush_that_others_have_done_and_a_sync_of_nothing_new_touch_no_file() {
    let storage = sim();
    let (log, ..) = open(&storage, 0);
    append_many(&log, 3);
    log.flush(Lsn(1)).unwrap();
    log.sync().unwrap();
    let (writes, syncs) = (storage.writes(), storage.syncs());
    (1..=3).for_each(|lsn| log.flush(Lsn(lsn)).unwrap());
    assert_eq!(log.sync().unwrap(), Lsn(3));
    assert_eq!((storage.writes(), storage.syncs()), (writes, syncs));
}

#[test]
fn many_frames_are_one_write() {
    let storage = sim();
    let (log, ..) = open(&storage, 0);
    append_many(&log, 1);
    log.flush(Lsn(1)).unwrap();
    let writes = storage.writes();
    append_many(&log, 8);
    log.flush(Lsn(9)).unwrap();
    assert_eq!(storage.writes(), writes + 1);
}

#[test]
fn the_buffer_is_bounded_by_writing_first() {
    let (log, ..) = open(&sim(), 0);
    for _ in 0..200 {
        log.append(&[1; 40]).unwrap();
        assert!(log.buffered_bytes() < OPTIONS.buffer_bytes_max + 64);
    }
    assert!(log.written() > Lsn(180));
}

#[test]
fn a_frame_longer_than_a_file_gets_a_file_of_its_own() {
    let storage = sim();
    let (log, ..) = open(&storage, 0);
    for length in [10, 5_000, 10, 900, 990, 70_000, 0] {
        log.append(&vec![3; length]).unwrap();
    }
    log.sync().unwrap();
    let lengths: Vec<usize> = open(&storage.crash(), 0).2.frames.iter().map(|frame| frame.1.len()).collect();
    assert_eq!(lengths, [10, 5_000, 10, 900, 990, 70_000, 0]);
}

#[test]
fn a_body_over_the_limit_is_refused_and_latches_nothing() {
    let (log, ..) = open(&sim(), 0);
    let error = log.append(&vec![0; BODY_BYTES_MAX + 1]).unwrap_err();
    assert!(matches!(error, LogError::TooLarge { bytes_max: BODY_BYTES_MAX, .. }), "{error}");
    assert!(log.failed().is_none() && log.append(b"next").is_ok());
}

#[test]
fn trimmed_files_are_used_again_and_the_rest_is_removed() {
    let storage = sim();
    let (log, ..) = open(&storage, 0);
    append_many(&log, 200);
    log.sync().unwrap();
    let before = storage.list().unwrap().len();
    assert!(before > 10 && log.file_bytes() > 10 * 1024);
    let given_up = log.trim(Lsn(201)).unwrap();
    assert!(given_up > 9, "{given_up}");
    // The current file, one to be used again, and the next one if that is there already.
    assert!(storage.list().unwrap().len() <= 3);
    assert_eq!(log.bytes(), 0);
    for _ in 0..50 {
        append_many(&log, 30);
        log.sync().unwrap();
        log.trim(log.last().next()).unwrap();
        assert!(storage.list().unwrap().len() <= 5);
    }
    let (_, report, seen) = open(&storage.crash(), log.last().0);
    assert_eq!((seen, report.last), (Collect::default(), log.last()));
    assert_eq!(log.trim(Lsn(1)).unwrap(), 0, "trimming below what is trimmed does nothing");
}

#[test]
fn files_of_earlier_processes_are_trimmed_too() {
    let storage = sim();
    let (log, ..) = open(&storage, 0);
    append_many(&log, 100);
    log.sync().unwrap();
    let (log, ..) = open(&storage, 0);
    assert_eq!(log.last(), Lsn(100));
    log.trim(Lsn(101)).unwrap();
    append_many(&log, 1);
    log.sync().unwrap();
    assert!(storage.list().unwrap().len() <= 3);
    assert_eq!(open(&storage.crash(), 100).2.lsns(), [101]);
}

/// A file that an earlier process left could hold frames with the salt that it would get when begun again.
#[test]
fn files_of_earlier_processes_are_never_begun_again() {
    let storage = sim();
    let (log, ..) = open(&storage, 0);
    append_many(&log, 100);
    log.sync().unwrap();
    let (log, ..) = open(&storage, 0);
    log.trim(Lsn(101)).unwrap();
    // More than half a file, so that the next one is prepared, and too little to write over what it may hold.
    (0..10).for_each(|_| assert!(log.append(&[9; 40]).is_ok()));
    log.sync().unwrap();
    for name in storage.list().unwrap() {
        let content = storage.content(&name).unwrap();
        assert!(!content.windows(30).any(|window| window == [5; 30]), "{name} holds frames of the earlier process");
    }
}

#[test]
fn opening_again_and_again_does_not_pile_up_files() {
    let storage = sim();
    for round in 0..20 {
        let (log, ..) = open(&storage, 0);
        assert_eq!(log.last(), Lsn(round / 2));
        if round % 2 == 1 {
            log.append(b"one").unwrap();
            log.sync().unwrap();
        }
        assert!(storage.list().unwrap().len() <= 2 + round as usize / 2);
    }
}

#[test]
fn a_full_disk_is_noticed_early_and_everything_accepted_is_written() {
    let storage = SimStorage::new(1, Faults { capacity_bytes: Some(2 * 1024), ..Faults::default() });
    let (log, ..) = open(&storage, 0);
    let mut accepted = 0;
    let error = loop {
        match log.append(&[7; 40]) {
            Ok(lsn) => accepted = lsn.0,
            Err(error) => break error,
        }
        assert!(accepted < 1000);
    };
    assert!(matches!(error, LogError::NoSpace(_)), "{error}");
    assert!(matches!(log.failed(), Some(LogError::NoSpace(_))));
    assert_eq!(log.sync().unwrap(), Lsn(accepted));
    assert_eq!(open(&storage.crash(), 0).2.frames.len() as u64, accepted);
    assert!(log.restart().is_err() && log.append(b"still full").is_err());
    // Space comes back from elsewhere.
    storage.set_faults(Faults::default());
    log.restart().unwrap();
    assert!(log.failed().is_none());
    assert_eq!(log.append(b"again").unwrap(), Lsn(accepted + 1));
    log.sync().unwrap();
    assert_eq!(open(&storage.crash(), 0).2.frames.len() as u64, accepted + 1);
}

#[test]
fn trimming_frees_a_full_disk() {
    let storage = SimStorage::new(1, Faults { capacity_bytes: Some(4 * 1024), ..Faults::default() });
    let (log, ..) = open(&storage, 0);
    for _ in 0..20 {
        while log.append(&[7; 40]).is_ok() {}
        assert_eq!(log.sync().unwrap(), log.last());
        log.trim(log.last().next()).unwrap();
        log.restart().unwrap();
    }
    assert!(log.last() > Lsn(300), "{}", log.last());
}

#[test]
fn a_log_opens_on_a_full_disk_and_refuses_appends() {
    let storage = sim();
    let (log, ..) = open(&storage, 0);
    append_many(&log, 20);
    log.sync().unwrap();
    let next = storage.kill();
    next.set_faults(Faults { capacity_bytes: Some(1), ..Faults::default() });
    next.list().unwrap().iter().skip(2).for_each(|name| next.remove(name).unwrap());
    let (log, _, seen) = open(&next, 0);
    assert_eq!(seen.frames.len(), 20);
    assert!(matches!(log.append(b"no"), Err(LogError::NoSpace(_))));
    next.set_faults(Faults::default());
    log.restart().unwrap();
    assert_eq!(log.append(b"yes").unwrap(), Lsn(21));
}

#[test]
fn a_failed_write_refuses_appends_and_a_restart_writes_what_was_accepted() {
    let storage = sim();
    let (log, ..) = open(&storage, 0);
    append_many(&log, 3);
    log.sync().unwrap();
    append_many(&log, 3);
    storage.set_faults(Faults { fail_write_at: Some(storage.writes()), ..Faults::default() });
    assert!(matches!(log.flush(Lsn(6)), Err(LogError::Failed(_))));
    assert!(log.append(b"no").is_err() && log.flush(Lsn(6)).is_err() && log.sync().is_err());
    log.flush(Lsn(3)).unwrap();
    log.restart().unwrap();
    assert_eq!((log.written(), log.append(b"yes").unwrap(), log.sync().unwrap()), (Lsn(6), Lsn(7), Lsn(7)));
    assert_eq!(open(&storage.crash(), 0).2.lsns(), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn after_a_failed_sync_nothing_is_promised_until_a_checkpoint_covers_what_may_be_lost() {
    let storage = sim();
    let (log, ..) = open(&storage, 0);
    append_many(&log, 3);
    log.sync().unwrap();
    append_many(&log, 3);
    storage.set_faults(Faults { fail_sync_at: Some(storage.syncs()), ..Faults::default() });
    assert!(matches!(log.sync(), Err(LogError::Failed(_))));
    assert!(log.sync().is_err() && log.append(b"no").is_err());
    log.restart().unwrap();
    assert_eq!(log.append(b"yes").unwrap(), Lsn(7));
    assert_eq!(log.sync().unwrap(), Lsn(3), "4 to 6 may be lost");
    log.trim(Lsn(6)).unwrap();
    assert_eq!(log.sync().unwrap(), Lsn(3), "6 may be lost");
    log.trim(Lsn(7)).unwrap();
    assert_eq!(log.sync().unwrap(), Lsn(7));
    assert_eq!(open(&storage.crash(), 6).2.lsns(), [7]);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for options in [
        LogOptions { file_bytes: 100, ..OPTIONS },
        LogOptions { file_bytes: 1 << 40, ..OPTIONS },
        LogOptions { buffer_bytes_max: 0, ..OPTIONS },
    ] {
        let opened = Log::open(Arc::new(sim()), options, Lsn::ZERO, &mut Collect::default());
        assert!(matches!(opened, Err(OpenError::Options(_))));
    }
}

/// Storage that counts how many syncs of files it does, and on which the sync of one file can fail for ever.
struct Counting {
    disk: Disk,
    syncs: Arc<AtomicU64>,
    sick: Arc<Mutex<Option<String>>>,
}

struct CountingFile {
    file: Box<dyn File>,
    name: String,
    syncs: Arc<AtomicU64>,
    sick: Arc<Mutex<Option<String>>>,
}

impl Counting {
    fn new(directory: &Path) -> Counting {
        Counting { disk: Disk::open(directory).unwrap(), syncs: Arc::default(), sick: Arc::default() }
    }

    fn wrap(&self, name: &str, file: Box<dyn File>) -> Box<dyn File> {
        let (syncs, sick) = (Arc::clone(&self.syncs), Arc::clone(&self.sick));
        Box::new(CountingFile { file, name: name.to_owned(), syncs, sick })
    }
}

impl Storage for Counting {
    fn create(&self, name: &str, allocate_bytes: u64) -> Result<Box<dyn File>, IoError> {
        Ok(self.wrap(name, self.disk.create(name, allocate_bytes)?))
    }
    fn open(&self, name: &str) -> Result<Box<dyn File>, IoError> {
        Ok(self.wrap(name, self.disk.open(name)?))
    }
    fn list(&self) -> Result<Vec<String>, IoError> {
        self.disk.list()
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), IoError> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> Result<(), IoError> {
        self.disk.remove(name)
    }
    fn sync_directory(&self) -> Result<(), IoError> {
        self.disk.sync_directory()
    }
}

impl File for CountingFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, IoError> {
        self.file.read_at(offset, buffer)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), IoError> {
        self.file.write_at(offset, bytes)
    }
    fn sync(&self) -> Result<(), IoError> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if self.sick.lock().unwrap().as_ref() == Some(&self.name) {
            return Err(IoError::new("sync", &self.name, std::io::Error::other("sick")));
        }
        self.file.sync()
    }
    fn len(&self) -> Result<u64, IoError> {
        self.file.len()
    }
    fn set_len(&self, bytes: u64) -> Result<(), IoError> {
        self.file.set_len(bytes)
    }
}

#[test]
fn threads_that_append_flush_sync_and_trim_make_one_order_on_a_real_disk() {
    const THREADS: u64 = 8;
    const EACH: u64 = 500;
    let directory = tempfile::tempdir().unwrap();
    let storage = || Disk::open(directory.path()).unwrap();
    let options = LogOptions { file_bytes: 16 * 1024, buffer_bytes_max: 4 * 1024, seed: 9 };
    let (log, _) = Log::open(Arc::new(storage()), options.clone(), Lsn::ZERO, &mut Collect::default()).unwrap();
    let checkpoint = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (log, done, checkpoint) = (&log, &done, &checkpoint);
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let mut last = Lsn::ZERO;
                    for number in 0..EACH {
                        let body = [thread.to_le_bytes(), number.to_le_bytes()].concat();
                        let lsn = log.append(&body).unwrap();
                        assert!(lsn > last);
                        last = lsn;
                        if number % 3 == 0 {
                            log.flush(lsn).unwrap();
                            assert!(log.written() >= lsn);
                        }
                        if number % 100 == 0 {
                            assert!(log.sync().unwrap() >= lsn);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                let synced = log.sync().unwrap();
                log.mark_durable(synced);
                // Half of what is durable goes into a checkpoint.
                checkpoint.store(synced.0 / 2, Ordering::Release);
                log.trim(Lsn(synced.0 / 2 + 1)).unwrap();
                thread::yield_now();
            }
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        done.store(true, Ordering::Release);
    });
    assert_eq!(log.sync().unwrap(), Lsn(THREADS * EACH));
    drop(log);
    let after = checkpoint.load(Ordering::Acquire);
    let mut seen = Collect::default();
    let (_, report) = Log::open(Arc::new(storage()), options, Lsn(after), &mut seen).unwrap();
    assert_eq!((report.damages, report.cut, report.last), (0, None, Lsn(THREADS * EACH)));
    assert_eq!(seen.lsns(), (after + 1..=THREADS * EACH).collect::<Vec<_>>());
    let mut next = [None; THREADS as usize];
    for (_, body, _) in &seen.frames {
        let (thread, number) = body.split_at(8);
        let (thread, number) =
            (u64::from_le_bytes(thread.try_into().unwrap()), u64::from_le_bytes(number.try_into().unwrap()));
        assert!(next[thread as usize].is_none_or(|expected| expected == number), "a thread's own order is kept");
        next[thread as usize] = Some(number + 1);
    }
    // A thread may have ended before the checkpoint.
    assert!(next.iter().all(|&number| number.is_none_or(|number| number == EACH)));
}

#[test]
fn a_file_that_can_never_be_synced_again_is_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Counting::new(directory.path());
    let sick = Arc::clone(&storage.sick);
    let (log, _) = Log::open(Arc::new(storage), OPTIONS, Lsn::ZERO, &mut Collect::default()).unwrap();
    append_many(&log, 3);
    *sick.lock().unwrap() = Some("0000000000000001.wal".to_owned());
    assert!(log.sync().is_err());
    log.restart().unwrap();
    append_many(&log, 1);
    assert_eq!(log.sync().unwrap(), Lsn(0));
    log.trim(Lsn(4)).unwrap();
    assert_eq!(log.sync().unwrap(), Lsn(4));
}

#[test]
fn threads_that_wait_for_a_sync_share_it() {
    const THREADS: u64 = 16;
    const EACH: u64 = 50;
    let directory = tempfile::tempdir().unwrap();
    let storage = Counting::new(directory.path());
    let syncs = Arc::clone(&storage.syncs);
    let (log, _) = Log::open(Arc::new(storage), LogOptions::default(), Lsn::ZERO, &mut Collect::default()).unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let lsn = log.append(b"x").unwrap();
                    assert!(log.sync().unwrap() >= lsn);
                }
            });
        }
    });
    let syncs = syncs.load(Ordering::Relaxed);
    assert!(syncs < THREADS * EACH, "{syncs} syncs for {} waits", THREADS * EACH);
}
