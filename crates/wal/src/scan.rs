//! The first pass over a log: which bytes of which files are sound frames, and how far they say the store was durable.

use crate::frame::{self, FRAME_BYTES_MIN, Patch};
use crate::header::{FileHeader, HEADER_BYTES, HeaderState, VERSION, file_name, file_sequence};
use crate::lsn::Lsn;
use crate::storage::{IoError, Storage};
use crate::{LOG_FILE_BYTES_MAX, OpenError};

/// How much checking the search behind a damaged frame may cost, in multiples of the file's length. Without a bound a
/// body full of bytes that look like long frames would make the search quadratic.
const RESYNC_COST_FACTOR: usize = 4;

/// One file as the first pass found it.
#[derive(Debug)]
pub(crate) struct ScannedFile {
    pub(crate) name: String,
    pub(crate) sequence: u64,
    pub(crate) bytes: u64,
    pub(crate) state: HeaderState,
    pub(crate) frames: FrameScan,
}

impl ScannedFile {
    /// The first frame that the file was begun for, if it was begun.
    pub(crate) fn base(&self) -> Option<Lsn> {
        match self.state {
            HeaderState::Begun { header, .. } => Some(header.base),
            HeaderState::Spare | HeaderState::Unsupported { .. } | HeaderState::Unreadable => None,
        }
    }
}

/// The frames of one file.
#[derive(Debug, Default)]
pub(crate) struct FrameScan {
    pub(crate) runs: Vec<Run>,
    /// How far the header and the sound frames say store and log were durable.
    pub(crate) durable: Lsn,
    /// Where a frame began, next in order behind the last run, that is not sound.
    pub(crate) torn_at: Option<usize>,
}

/// Sound frames that follow each other without a gap, or one repaired frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) offset: usize,
    pub(crate) end: usize,
    pub(crate) first: Lsn,
    pub(crate) last: Lsn,
    pub(crate) patch: Option<Patch>,
}

/// Reads and checks every file of the log, in order.
pub(crate) fn scan_files(
    storage: &dyn Storage,
    preview: &mut dyn FnMut(Lsn, &[u8]),
) -> Result<Vec<ScannedFile>, OpenError> {
    let mut sequences: Vec<u64> = storage.list()?.iter().filter_map(|name| file_sequence(name)).collect();
    sequences.sort_unstable();
    let mut files = Vec::with_capacity(sequences.len());
    for sequence in sequences {
        let name = file_name(sequence);
        let bytes = read_file(storage, &name, LOG_FILE_BYTES_MAX)?;
        let state = FileHeader::decode(&bytes, sequence);
        let frames = match state {
            HeaderState::Begun { header, .. } => scan_frames(&bytes, &header, preview),
            HeaderState::Spare | HeaderState::Unreadable => FrameScan::default(),
            HeaderState::Unsupported { version } => {
                return Err(OpenError::Version { file: name, found: version, supported: VERSION });
            }
        };
        files.push(ScannedFile { name, sequence, bytes: bytes.len() as u64, state, frames });
    }
    Ok(files)
}

/// A file's content, up to `bytes_max`.
pub(crate) fn read_file(storage: &dyn Storage, name: &str, bytes_max: u64) -> Result<Vec<u8>, IoError> {
    let file = storage.open(name)?;
    let mut bytes = vec![0; file.len()?.min(bytes_max) as usize];
    let count = file.read_at(0, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

fn scan_frames(bytes: &[u8], header: &FileHeader, preview: &mut dyn FnMut(Lsn, &[u8])) -> FrameScan {
    let mut scan = FrameScan { durable: header.durable, ..FrameScan::default() };
    let mut expected = header.base;
    let mut at = HEADER_BYTES;
    let mut budget = bytes.len().saturating_mul(RESYNC_COST_FACTOR);
    while let Some(rest) = bytes.get(at..) {
        if let Some(found) = frame::check(rest, header.salt, |lsn| lsn == expected) {
            scan.durable = scan.durable.max(found.durable);
            preview(found.lsn, found.body);
            scan.extend(at, at + found.bytes, expected, None);
            at += found.bytes;
            expected = expected.next();
        } else if let Some(patch) = frame::repair(rest, header.salt, expected) {
            // A repair is a guess, if a good one: it has no vote on what must exist.
            let end = at + frame::patched_bytes(rest, patch);
            // It will be delivered, so it is shown; what was patched is short, so a copy is cheap.
            let mut mended = bytes.get(at..end).unwrap_or_default().to_vec();
            if let Some(byte) = mended.get_mut(patch.at) {
                *byte = patch.value;
            }
            if let Some(found) = frame::check(&mended, header.salt, |lsn| lsn == expected) {
                preview(found.lsn, found.body);
            }
            scan.extend(at, end, expected, Some(patch));
            at = end;
            expected = expected.next();
        } else if let Some((found_at, lsn)) = resync(bytes, at, header.salt, expected, &mut budget) {
            at = found_at;
            expected = lsn;
        } else {
            scan.torn_at = frame::claimed_bytes(rest, |lsn| lsn == expected).map(|_| at);
            break;
        }
    }
    scan
}

impl FrameScan {
    fn extend(&mut self, offset: usize, end: usize, lsn: Lsn, patch: Option<Patch>) {
        match self.runs.last_mut() {
            Some(run) if run.end == offset && run.last.next() == lsn && run.patch.is_none() && patch.is_none() => {
                run.end = end;
                run.last = lsn;
            }
            Some(_) | None => self.runs.push(Run { offset, end, first: lsn, last: lsn, patch }),
        }
    }
}

/// The next sound frame behind the damaged one at `at`. What lies between can only have held so many frames, which
/// bounds the LSN: bytes that happen to look like a frame have to get that right as well as the salted CRC.
fn resync(bytes: &[u8], at: usize, salt: u32, expected: Lsn, budget: &mut usize) -> Option<(usize, Lsn)> {
    let mut candidate = at + FRAME_BYTES_MIN;
    while let Some(rest) = bytes.get(candidate..).filter(|rest| rest.len() >= FRAME_BYTES_MIN) {
        let lost_max = ((candidate - at) / FRAME_BYTES_MIN) as u64;
        let plausible = |lsn: Lsn| lsn > expected && lsn.0 - expected.0 <= lost_max;
        if let Some(cost) = frame::claimed_bytes(rest, plausible).filter(|&cost| cost <= rest.len()) {
            *budget = budget.checked_sub(cost)?;
            if let Some(found) = frame::check(rest, salt, plausible) {
                return Some((candidate, found.lsn));
            }
        }
        candidate += frame::ALIGNMENT;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FileHeader = FileHeader { salt: 99, sequence: 1, base: Lsn(10), durable: Lsn(3) };

    fn file(bodies: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
        let mut frames = Vec::new();
        let mut offsets = Vec::new();
        for (lsn, body) in (10..).zip(bodies) {
            offsets.push(HEADER_BYTES + frames.len());
            frame::push(&mut frames, Lsn(lsn), body);
        }
        frame::seal(&mut frames, HEADER.salt, Lsn(5));
        let mut bytes = HEADER.encode().to_vec();
        bytes.extend(frames);
        bytes.resize(bytes.len() + 256, 0);
        (bytes, offsets)
    }

    fn lsns(scan: &FrameScan) -> Vec<(u64, u64)> {
        scan.runs.iter().map(|run| (run.first.0, run.last.0)).collect()
    }

    #[test]
    fn a_sound_file_is_one_run_with_the_highest_mark() {
        let (bytes, _) = file(&[b"a", b"bb", b"ccc"]);
        let scan = scan_frames(&bytes, &HEADER, &mut |_, _| {});
        assert_eq!((lsns(&scan), scan.durable, scan.torn_at), (vec![(10, 12)], Lsn(5), None));
    }

    #[test]
    fn one_wrong_byte_makes_a_repaired_run_and_two_make_a_gap() {
        let (mut bytes, offsets) = file(&[b"a", b"bb", b"ccc", b"dddd"]);
        bytes[offsets[1] + 20] ^= 4;
        let scan = scan_frames(&bytes, &HEADER, &mut |_, _| {});
        assert_eq!(lsns(&scan), [(10, 10), (11, 11), (12, 13)]);
        assert_eq!(scan.runs[1].patch, Some(Patch { at: 20, value: b'b' }));
        bytes[offsets[1] + 17] ^= 4;
        let scan = scan_frames(&bytes, &HEADER, &mut |_, _| {});
        assert_eq!(lsns(&scan), [(10, 10), (12, 13)]);
    }

    #[test]
    fn a_frame_hidden_in_a_body_is_not_found_by_the_search_behind_a_damaged_one() {
        let mut forged = vec![0; 4];
        frame::push(&mut forged, Lsn(11), b"forged");
        frame::seal(&mut forged[4..], 0, Lsn::ZERO);
        let (mut bytes, offsets) = file(&[&forged, b"true"]);
        assert_eq!((offsets[0] + 20 + 4) % 8, 0, "the forged frame is aligned");
        bytes[offsets[0]] ^= 1;
        bytes[offsets[0] + 20] ^= 1;
        let scan = scan_frames(&bytes, &HEADER, &mut |_, _| {});
        assert_eq!((lsns(&scan), scan.runs[0].offset), (vec![(11, 11)], offsets[1]));
    }

    #[test]
    fn the_search_behind_a_damaged_frame_has_a_bounded_cost() {
        // Every aligned place claims to be a plausible frame of 50,000 bytes: an LSN's upper half is a length, too.
        let length = 50_000u64;
        let header = FileHeader { base: Lsn(length << 32 | 11), ..HEADER };
        let mut bytes = header.encode().to_vec();
        while bytes.len() < 1 << 17 {
            bytes.extend_from_slice(&(length << 32 | 12).to_le_bytes());
        }
        let mut budget = bytes.len();
        assert_eq!(resync(&bytes, HEADER_BYTES, header.salt, header.base, &mut budget), None);
        assert!((budget as u64) < length, "the search went on with {budget} left");
        assert!(scan_frames(&bytes, &header, &mut |_, _| {}).runs.is_empty());
    }

    #[test]
    fn the_search_behind_a_damaged_frame_passes_over_numbers_that_cannot_be() {
        let mut bytes = HEADER.encode().to_vec();
        for lsn in [10, 11, 500, 13] {
            let mut frame = Vec::new();
            frame::push(&mut frame, Lsn(lsn), b"body");
            frame::seal(&mut frame, HEADER.salt, Lsn(5));
            if lsn == 11 {
                frame[0] ^= 1;
                frame[20] ^= 1;
            }
            bytes.extend(frame);
        }
        assert_eq!(lsns(&scan_frames(&bytes, &HEADER, &mut |_, _| {})), [(10, 10), (13, 13)]);
    }

    #[test]
    fn repaired_frames_are_previewed_as_they_will_be_delivered() {
        let (mut bytes, offsets) = file(&[b"a", b"bb", b"ccc"]);
        bytes[offsets[1] + 21] ^= 4;
        bytes[offsets[2] + 8] ^= 4;
        let mut seen = Vec::new();
        scan_frames(&bytes, &HEADER, &mut |lsn, body| seen.push((lsn.0, body.to_vec())));
        assert_eq!(seen, [(10, b"a".to_vec()), (11, b"bb".to_vec()), (12, b"ccc".to_vec())]);
    }

    #[test]
    fn a_torn_frame_is_told_from_the_clean_end() {
        let (mut bytes, offsets) = file(&[b"a", &[7; 100]]);
        bytes[offsets[1] + 50..offsets[1] + 120].fill(0);
        let scan = scan_frames(&bytes, &HEADER, &mut |_, _| {});
        assert_eq!((lsns(&scan), scan.torn_at), (vec![(10, 10)], Some(offsets[1])));
    }
}
