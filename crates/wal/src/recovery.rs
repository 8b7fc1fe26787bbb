//! From whatever a crash left to a log that can be appended to: scan, deliver, then clear away everything behind the
//! log's end, so that a discarded frame cannot come back.

use std::collections::HashSet;

use crate::OpenError;
use crate::header::HeaderState;
use crate::log::LogOptions;
use crate::lsn::Lsn;
use crate::replay::{Replay, ReplayReport, deliver};
use crate::scan::{ScannedFile, scan_files};
use crate::storage::{IoError, Storage};

/// A file that holds frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFile {
    pub(crate) sequence: u64,
    /// No frame of this or a later file is below.
    pub(crate) base: Lsn,
    pub(crate) bytes: u64,
}

/// A log that ends cleanly and is durable up to its end.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) report: ReplayReport,
    pub(crate) files: Vec<LogFile>,
    /// A file of full length that can be begun.
    pub(crate) spare: Option<String>,
    pub(crate) next_sequence: u64,
}

pub(crate) fn recover(
    storage: &dyn Storage,
    options: &LogOptions,
    after: Lsn,
    visitor: &mut dyn Replay,
) -> Result<Recovered, OpenError> {
    let scanned = scan_files(storage)?;
    let delivered = deliver(storage, &scanned, after, visitor)?;
    let next_sequence = scanned.last().map_or(1, |file| file.sequence + 1);
    let mut spare = None;
    let mut files: Vec<LogFile> = Vec::new();
    // From the last file to the first: a file of unknown base takes the base of the file behind it, so that its
    // predecessor is kept for long enough.
    let mut base_behind = delivered.report.last.next();
    for (index, file) in scanned.iter().enumerate().rev() {
        let holds_frames = delivered.end.is_some_and(|(last, _)| index <= last);
        match file.state {
            HeaderState::Begun { header, .. } if holds_frames => base_behind = header.base,
            HeaderState::Unreadable if holds_frames => {}
            HeaderState::Spare if spare.is_none() && file.bytes == options.file_bytes => {
                spare = Some(file.name.clone());
                continue;
            }
            HeaderState::Begun { .. }
            | HeaderState::Unreadable
            | HeaderState::Spare
            | HeaderState::Unsupported { .. } => {
                storage.remove(&file.name)?;
                continue;
            }
        }
        files.push(LogFile { sequence: file.sequence, base: base_behind, bytes: file.bytes });
    }
    files.reverse();
    if let Some((last, end)) = delivered.end {
        settle(storage, &scanned, last, end, delivered.report.durable)?;
        if let Some(file) = files.last_mut() {
            file.bytes = end;
        }
    }
    // Names that the last process made may not be durable yet, and what was removed must not come back.
    storage.sync_directory()?;
    Ok(Recovered { report: delivered.report, files, spare, next_sequence })
}

/// Cuts the last file at the end of the log and syncs every file that may not have been synced by the last process.
fn settle(storage: &dyn Storage, scanned: &[ScannedFile], last: usize, end: u64, durable: Lsn) -> Result<(), IoError> {
    let mut unsynced: HashSet<usize> = HashSet::from([last]);
    unsynced.extend((0..last).filter(|&index| scanned[index].frames.runs.iter().any(|run| run.last > durable)));
    for index in unsynced {
        let file = storage.open(&scanned[index].name)?;
        if index == last && file.len()? > end {
            file.set_len(end)?;
        }
        file.sync()?;
    }
    Ok(())
}
