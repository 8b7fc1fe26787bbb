//! A visitor that remembers, and a model of what a log must hold.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "each test binary uses a part of this"
)]

use std::sync::Arc;

use sutra_testkit::storage::{Random, SimStorage};
use sutra_wal::{Damage, Log, LogOptions, Lsn, OpenError, Replay, ReplayReport, Verdict};

/// Small files, so that short programs fill several.
pub const OPTIONS: LogOptions = LogOptions { file_bytes: 1024, buffer_bytes_max: 600, seed: 42 };

/// Remembers everything it is told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collect {
    pub frames: Vec<(u64, Vec<u8>, bool)>,
    pub damages: Vec<Damage>,
    /// Cuts before this frame, if it may.
    pub cut_at: Option<u64>,
}

impl Replay for Collect {
    fn frame(&mut self, lsn: Lsn, body: &[u8], durable: bool) -> Verdict {
        if self.cut_at == Some(lsn.0) && !durable {
            return Verdict::Cut;
        }
        self.frames.push((lsn.0, body.to_vec(), durable));
        Verdict::Accept
    }

    fn damaged(&mut self, damage: &Damage) {
        self.damages.push(damage.clone());
    }
}

impl Collect {
    pub fn lsns(&self) -> Vec<u64> {
        self.frames.iter().map(|frame| frame.0).collect()
    }
}

pub fn open(storage: &SimStorage, after: u64) -> (Log, ReplayReport, Collect) {
    let mut collect = Collect::default();
    let (log, report) = try_open(storage, after, &mut collect).unwrap();
    (log, report, collect)
}

pub fn try_open(storage: &SimStorage, after: u64, collect: &mut Collect) -> Result<(Log, ReplayReport), OpenError> {
    Log::open(Arc::new(storage.clone()), OPTIONS, Lsn(after), collect)
}

/// What was appended, and what the log has promised about it.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Frame n is at n - 1.
    pub bodies: Vec<Vec<u8>>,
    /// What a power loss must leave.
    pub synced: u64,
    /// What the death of the process must leave.
    pub written: u64,
    /// How far the log was told that everything is durable.
    pub durable: u64,
    /// Where the caller's checkpoint is.
    pub checkpoint: u64,
}

/// How the last process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    PowerLoss,
    Kill,
}

impl Model {
    /// Takes random steps until the storage fails for good or the steps are done. `generation` makes the bodies differ from
    /// those of an earlier life that had the same numbers.
    pub fn run(&mut self, log: &Log, random: &mut Random, steps: usize, generation: u8) {
        for _ in 0..steps {
            if log.failed().is_some() {
                // Whatever failed is mended, unless the whole world stands still: then the restart fails too.
                if log.restart().is_err() {
                    break;
                }
            }
            match random.below(16) {
                0..=7 => {
                    let bytes = if random.one_in(12) { random.below(2500) } else { random.below(90) } as usize;
                    let mut body = random.number().to_le_bytes().repeat(bytes / 8 + 1);
                    body.truncate(bytes);
                    body.push(generation);
                    if let Ok(lsn) = log.append(&body) {
                        self.bodies.push(body);
                        assert_eq!(lsn.0, self.bodies.len() as u64);
                    }
                }
                8..=10 => {
                    let _ = log.flush(log.last());
                }
                11..=12 => {
                    if let Ok(synced) = log.sync() {
                        self.synced = self.synced.max(synced.0);
                    }
                }
                13..=14 => {
                    let lsn = random.below(self.synced + 1);
                    log.mark_durable(Lsn(lsn));
                    self.durable = self.durable.max(lsn);
                }
                _ => {
                    self.checkpoint += random.below(self.bodies.len() as u64 - self.checkpoint + 1);
                    self.durable = self.durable.max(self.checkpoint);
                    let _ = log.trim(Lsn(self.checkpoint + 1));
                }
            }
            self.written = self.written.max(log.written().0);
            assert!(log.durable() <= Lsn(self.durable), "the log claims more than it was told");
        }
    }

    /// Opens what the last process left and checks it. The model then is what the log holds now. `None`: the storage
    /// stopped within the opening.
    pub fn reopen(&mut self, storage: &SimStorage, end: End, cut_at: Option<u64>) -> Result<Option<Log>, String> {
        let mut collect = Collect { cut_at, ..Collect::default() };
        let opened = try_open(storage, self.checkpoint, &mut collect);
        let result = match opened {
            Ok((log, report)) => {
                self.check(&collect, &report, end, cut_at)?;
                self.bodies.truncate(report.last.0 as usize);
                (self.synced, self.written) = (report.last.0, report.last.0);
                Some(log)
            }
            Err(OpenError::Io(_)) => {
                // The cut may or may not have been made.
                let cut = cut_at.map_or(u64::MAX, |lsn| lsn - 1);
                self.synced = self.synced.min(cut);
                self.written = match end {
                    End::PowerLoss => self.synced,
                    End::Kill => self.written.min(cut),
                };
                None
            }
            Err(error) => return Err(error.to_string()),
        };
        Ok(result)
    }

    fn check(&self, seen: &Collect, report: &ReplayReport, end: End, cut_at: Option<u64>) -> Result<(), String> {
        let complain = |problem: String| {
            let Model { bodies, synced, written, durable, checkpoint } = self;
            let model = (("appended", bodies.len()), synced, written, durable, checkpoint);
            Err(format!("{problem}\nmodel: {model:?}\nreport: {report:?}"))
        };
        if !seen.damages.is_empty() {
            return complain(format!("damage where nothing was damaged: {:?}", seen.damages));
        }
        for (&(lsn, ref body, durable), expected) in seen.frames.iter().zip(self.checkpoint + 1..) {
            if lsn != expected {
                return complain(format!("frame {lsn} came where {expected} was due"));
            }
            if self.bodies.get(lsn as usize - 1) != Some(body) {
                return complain(format!("frame {lsn} is not what was appended"));
            }
            if durable && lsn > self.durable {
                return complain(format!("frame {lsn} is called durable"));
            }
        }
        let last = self.checkpoint + seen.frames.len() as u64;
        if report.last.0 != last || report.frames != seen.frames.len() as u64 {
            return complain(format!("the report's last frame is not {last}"));
        }
        let floor = match end {
            End::PowerLoss => self.synced,
            End::Kill => self.written,
        };
        let floor = floor.min(cut_at.map_or(u64::MAX, |lsn| lsn - 1));
        if last < floor {
            return complain(format!("frames {} to {floor} are lost", last + 1));
        }
        Ok(())
    }
}
