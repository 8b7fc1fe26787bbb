//! From whatever a crash left to a log that can be appended to: scan, deliver, then clear away everything behind the
//! log's end, so that a discarded frame cannot come back.

use crate::OpenError;
use crate::frame::FRAME_BYTES_MIN;
use crate::header::{HEADER_BYTES, HeaderState};
use crate::lsn::Lsn;
use crate::replay::{Replay, ReplayReport, deliver};
use crate::scan::scan_files;
use crate::storage::{File, IoError, Storage};

/// How much is read and written again at a time.
const REWRITE_BYTES: u64 = 1 << 20;

/// A file that holds frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFile {
    pub(crate) sequence: u64,
    /// No frame of this or a later file is below.
    pub(crate) base: Lsn,
    pub(crate) bytes: u64,
    /// Whether this process created the file. Only such a file is begun again: sequence numbers, and so salts, are unique
    /// within one process, but after a power loss a number may be given a second time. An old frame could then pass for
    /// a new one.
    pub(crate) ours: bool,
}

/// A log that ends cleanly and is durable up to its end.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) report: ReplayReport,
    pub(crate) files: Vec<LogFile>,
    pub(crate) next_sequence: u64,
}

pub(crate) fn recover(storage: &dyn Storage, after: Lsn, visitor: &mut dyn Replay) -> Result<Recovered, OpenError> {
    let scanned = scan_files(storage, &mut |lsn, body| visitor.preview(lsn, body))?;
    let delivered = deliver(storage, &scanned, after, visitor)?;
    let next_sequence = scanned.last().map_or(1, |file| file.sequence + 1);
    let mut files: Vec<LogFile> = Vec::new();
    // From the last file to the first: a file of unknown base takes the base of the file behind it, so that its
    // predecessor is kept for long enough.
    let mut base_behind = delivered.report.last.next();
    for (index, file) in scanned.iter().enumerate().rev() {
        let holds_frames = delivered.end.is_some_and(|(last, _)| index <= last);
        match file.state {
            HeaderState::Begun { header, .. } if holds_frames => base_behind = header.base,
            HeaderState::Unreadable if holds_frames => {}
            HeaderState::Begun { .. }
            | HeaderState::Unreadable
            | HeaderState::Spare
            | HeaderState::Unsupported { .. } => {
                storage.remove(&file.name)?;
                continue;
            }
        }
        files.push(LogFile { sequence: file.sequence, base: base_behind, bytes: file.bytes, ours: false });
    }
    files.reverse();
    if let Some((last, end)) = delivered.end {
        let (first, mut from) = delivered.unsynced_from.unwrap_or((last, end));
        for file in scanned[first..last].iter().filter(|file| file.base().is_some()) {
            settle(storage, &file.name, from, file.bytes)?;
            from = 0;
        }
        let bytes = cut(storage, &scanned[last].name, end)?;
        settle(storage, &scanned[last].name, from, bytes)?;
        if let Some(file) = files.last_mut() {
            file.bytes = bytes;
        }
    }
    // Names that the last process made may not be durable yet, and what was removed must not come back.
    storage.sync_directory()?;
    Ok(Recovered { report: delivered.report, files, next_sequence })
}

/// Cuts a file at the end of the log and returns its new length. The place of the next frame is overwritten with zeros,
/// even if the file ends there already: what is cut off must be gone from the disk and not only from the kernel's memory.
fn cut(storage: &dyn Storage, name: &str, end: u64) -> Result<u64, IoError> {
    let file = storage.open(name)?;
    let bytes = end + FRAME_BYTES_MIN as u64;
    if file.len()? > bytes {
        file.set_len(bytes)?;
    }
    file.write_at(end, &[0; FRAME_BYTES_MIN])?;
    Ok(bytes)
}

/// Makes the header and the bytes from `from` to `end` durable. They are written again, as they are: if a sync failed in
/// the last process, the kernel may hold pages that it takes for written, and a sync alone would report success. The
/// header is always among them, since the frames before `from` may count as durable only because of a checkpoint.
fn settle(storage: &dyn Storage, name: &str, from: u64, end: u64) -> Result<(), IoError> {
    let file = storage.open(name)?;
    rewrite(file.as_ref(), 0, HEADER_BYTES as u64)?;
    rewrite(file.as_ref(), from.max(HEADER_BYTES as u64), end)?;
    file.sync()
}

fn rewrite(file: &dyn File, from: u64, end: u64) -> Result<(), IoError> {
    let mut at = from;
    let mut chunk = vec![0; end.saturating_sub(from).min(REWRITE_BYTES) as usize];
    while at < end {
        let bytes = (end - at).min(REWRITE_BYTES) as usize;
        let count = file.read_at(at, &mut chunk[..bytes])?;
        if count == 0 {
            break;
        }
        file.write_at(at, &chunk[..count])?;
        at += count as u64;
    }
    Ok(())
}
