//! The second pass over a log: frames are handed to the visitor, damage is reported, and the log's end is decided.

use crate::OpenError;
use crate::frame;
use crate::header::HeaderState;
use crate::lsn::Lsn;
use crate::scan::{Run, ScannedFile, read_file};
use crate::storage::Storage;

/// Beyond the durable mark a frame that fails its check is either torn by a power loss or damaged. Only short ones are
/// repaired there: the chance to take torn bytes for a damaged byte grows with the length (see `repair.rs`).
const TAIL_REPAIR_BYTES_MAX: usize = 4096;

/// Receives the frames of a log as it is opened.
pub trait Replay {
    /// One sound frame, in order, before any frame is delivered: a look ahead for those who need to know what later frames say in order
    /// to judge earlier ones. Frames up to the caller's checkpoint are shown too, and some of these may be cut off later.
    fn preview(&mut self, lsn: Lsn, body: &[u8]) {
        let _ = (lsn, body);
    }

    /// One frame, in order of LSN. `durable` says that store and log had been synced through it, so everything it
    /// refers to must be there; the visitor's verdict is then ignored. Otherwise a power loss may have lost what it
    /// refers to, and the visitor may cut the log before it.
    fn frame(&mut self, lsn: Lsn, body: &[u8], durable: bool) -> Verdict;

    /// Frames that were durable and cannot be read. Frames behind them may still follow.
    fn damaged(&mut self, damage: &Damage);
}

/// The visitor's word on a frame that is not known durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The frame was applied.
    Accept,
    /// The frame was not applied: the log ends before it, now and after the next crash.
    Cut,
}

/// Frames that are lost to damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file in which the first lost frame was expected.
    pub file: String,
    /// Where in the file it was expected, in bytes.
    pub offset: u64,
    /// The first lost frame.
    pub first: Lsn,
    /// The last lost frame.
    pub last: Lsn,
}

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Files that hold frames of the log.
    pub files: u64,
    /// Frames handed to the visitor and accepted.
    pub frames: u64,
    /// Their bytes, with headers and padding.
    pub bytes: u64,
    /// The last frame of the log, or the position of the checkpoint if that is later.
    pub last: Lsn,
    /// How far the log proves that store and log were durable, at least the position of the checkpoint.
    pub durable: Lsn,
    /// Frames that had one wrong byte and were repaired before they were handed on, and headers mended likewise.
    pub repaired: Vec<Repaired>,
    /// How many ranges of frames were reported as damaged.
    pub damages: u64,
    /// Files whose header could not be read, so that all their frames are lost.
    pub unreadable: Vec<String>,
    /// Where and why the log was cut; `None` if it ended cleanly.
    pub cut: Option<Cut>,
}

/// One repaired byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The file.
    pub file: String,
    /// Where the frame or header begins.
    pub offset: u64,
    /// The frame; `None` if it was the file's header.
    pub lsn: Option<Lsn>,
}

/// Where the log was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file in which the first discarded frame was expected.
    pub file: String,
    /// Where in the file it was expected.
    pub offset: u64,
    /// The first discarded frame.
    pub lsn: Lsn,
    /// Why.
    pub reason: CutReason,
    /// How many sound frames were discarded with it.
    pub frames_discarded: u64,
}

/// Why a log was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// A frame beyond the durable mark is not sound.
    Torn,
    /// A frame beyond the durable mark is missing, but later ones are there.
    Missing,
    /// The visitor said so.
    Visitor,
}

/// The outcome of the second pass.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) report: ReplayReport,
    /// The file that holds the end of the log and the offset of that end; `None` if no frame is left.
    pub(crate) end: Option<(usize, u64)>,
    /// The file and offset of the first frame that is not known durable, if there is one.
    pub(crate) unsynced_from: Option<(usize, u64)>,
}

pub(crate) fn deliver(
    storage: &dyn Storage,
    files: &[ScannedFile],
    after: Lsn,
    visitor: &mut dyn Replay,
) -> Result<Delivered, OpenError> {
    let mark = files.iter().map(|file| file.frames.durable).max().unwrap_or_default().max(after);
    let mut walk = Walk {
        files,
        mark,
        expected: after.next(),
        end: None,
        unsynced_from: None,
        report: ReplayReport { durable: mark, ..ReplayReport::default() },
        visitor,
    };
    for (index, file) in files.iter().enumerate() {
        match file.state {
            HeaderState::Begun { mended, .. } => {
                walk.report.files += u64::from(!file.frames.runs.is_empty());
                if mended {
                    walk.report.repaired.push(Repaired { file: file.name.clone(), offset: 0, lsn: None });
                }
            }
            HeaderState::Unreadable => walk.report.unreadable.push(file.name.clone()),
            HeaderState::Spare | HeaderState::Unsupported { .. } => {}
        }
        if !walk.file(storage, index)? {
            break;
        }
    }
    walk.report_lost_end();
    walk.note_torn_end();
    walk.report.last = walk.expected.previous();
    Ok(Delivered { report: walk.report, end: walk.end, unsynced_from: walk.unsynced_from })
}

struct Walk<'a> {
    files: &'a [ScannedFile],
    mark: Lsn,
    /// The next frame to hand on. What is below was handed on, is in the checkpoint, or was reported lost.
    expected: Lsn,
    end: Option<(usize, u64)>,
    unsynced_from: Option<(usize, u64)>,
    report: ReplayReport,
    visitor: &'a mut dyn Replay,
}

impl Walk<'_> {
    /// Hands on one file; false if the log ends in or before it.
    fn file(&mut self, storage: &dyn Storage, index: usize) -> Result<bool, OpenError> {
        let files = self.files;
        let file = &files[index];
        let HeaderState::Begun { header, .. } = file.state else { return Ok(true) };
        // A file ends where a later one begins: what a failed write left behind that is written there again.
        let superseded = files[index + 1..].iter().filter_map(ScannedFile::base).min();
        let mut bytes = Vec::new();
        for run in &file.frames.runs {
            let last = run.last.min(superseded.map_or(run.last, Lsn::previous));
            if last < run.first {
                break;
            }
            if last < self.expected && last == run.last {
                self.end = Some((index, run.end as u64));
                continue;
            }
            if run.first > self.expected && !self.gap(run.first) {
                return Ok(false);
            }
            if run.patch.is_some() && run.first > self.mark && run.end - run.offset > TAIL_REPAIR_BYTES_MAX {
                self.cut(CutReason::Torn);
                return Ok(false);
            }
            if bytes.is_empty() {
                let frames_end = file.frames.runs.last().map_or(0, |last| last.end);
                bytes = read_file(storage, &file.name, frames_end as u64)?;
            }
            if let Some(patch) = run.patch {
                let offset = run.offset as u64;
                let byte = bytes.get_mut(run.offset + patch.at);
                *byte.ok_or_else(|| OpenError::Unstable { file: file.name.clone(), offset })? = patch.value;
                self.report.repaired.push(Repaired { file: file.name.clone(), offset, lsn: Some(run.first) });
            }
            if !self.run(index, run, last, header.salt, &bytes)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Hands on the frames of a run up to `last`; false if the visitor cuts.
    fn run(&mut self, index: usize, run: &Run, last: Lsn, salt: u32, bytes: &[u8]) -> Result<bool, OpenError> {
        let mut at = run.offset;
        let mut lsn = run.first;
        while lsn <= last {
            let found = frame::check(bytes.get(at..).unwrap_or_default(), salt, |found| found == lsn);
            let unstable = || OpenError::Unstable { file: self.files[index].name.clone(), offset: at as u64 };
            let frame = found.ok_or_else(unstable)?;
            // Frames below are in the checkpoint.
            if lsn >= self.expected {
                let durable = lsn <= self.mark;
                if self.visitor.frame(lsn, frame.body, durable) == Verdict::Cut && !durable {
                    self.end = Some((index, at as u64));
                    self.cut(CutReason::Visitor);
                    return Ok(false);
                }
                if !durable && self.unsynced_from.is_none() {
                    self.unsynced_from = Some((index, at as u64));
                }
                self.report.frames += 1;
                self.report.bytes += frame.bytes as u64;
                self.expected = lsn.next();
            }
            at += frame.bytes;
            lsn = lsn.next();
        }
        self.end = Some((index, at as u64));
        Ok(true)
    }

    /// Frames are missing before `found`. Those that were durable are damage; if others are missing too, the log is
    /// cut there (false): after a power loss it is a prefix.
    fn gap(&mut self, found: Lsn) -> bool {
        let last_durable = found.previous().min(self.mark);
        if self.expected <= last_durable {
            let (file, offset) = self.place();
            self.visitor.damaged(&Damage { file, offset, first: self.expected, last: last_durable });
            self.report.damages += 1;
            self.expected = last_durable.next();
        }
        if self.expected < found {
            self.cut(CutReason::Missing);
            return false;
        }
        true
    }

    /// The header of a last file can prove that frames before it were durable when no frame behind them is left to
    /// show the gap.
    fn report_lost_end(&mut self) {
        if self.expected <= self.mark {
            let found = self.mark.next();
            self.gap(found);
        }
    }

    fn cut(&mut self, reason: CutReason) {
        let (file, offset) = self.place();
        let sound = |first: Lsn, last: Lsn| (last.0 + 1).saturating_sub(first.max(self.expected).0);
        let runs = self.files.iter().flat_map(|file| &file.frames.runs);
        let frames_discarded = runs.map(|run| sound(run.first, run.last)).sum();
        self.report.cut = Some(Cut { file, offset, lsn: self.expected, reason, frames_discarded });
    }

    /// Reports a last frame that is there but not sound, if nothing else ended the log.
    fn note_torn_end(&mut self) {
        let last = self.files.iter().rposition(|file| matches!(file.state, HeaderState::Begun { .. }));
        let Some(file) = last.map(|index| &self.files[index]) else { return };
        if let (None, Some(at)) = (&self.report.cut, file.frames.torn_at) {
            let (file, offset) = (file.name.clone(), at as u64);
            let (lsn, reason) = (self.expected, CutReason::Torn);
            self.report.cut = Some(Cut { file, offset, lsn, reason, frames_discarded: 0 });
        }
    }

    /// Where the expected frame should be: behind the last one, or at the start of the first file.
    fn place(&self) -> (String, u64) {
        match self.end {
            Some((index, offset)) => (self.files[index].name.clone(), offset),
            None => (self.files.first().map(|file| file.name.clone()).unwrap_or_default(), 0),
        }
    }
}
