//! One frame: 20 bytes of header, the body, zeros up to a multiple of 8. Offsets: `docs/formats/wal.md`.

use crate::lsn::Lsn;
use crate::repair::one_byte_fix;

/// Frames begin at multiples of this, so that a lost place in a file can be found again.
pub(crate) const ALIGNMENT: usize = 8;
pub(crate) const FRAME_HEADER_BYTES: usize = 20;
/// The shortest frame: an empty body, padded.
pub(crate) const FRAME_BYTES_MIN: usize = 24;
/// The longest body: a heap value of 512 MiB fits with all that surrounds it.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 30;

/// Frames up to this long are repaired if one byte is wrong.
pub(crate) const REPAIR_BYTES_MAX: usize = 64 * 1024;

const CRC_AT: usize = 0;
const LENGTH_AT: usize = 4;
const LSN_AT: usize = 8;
const UNSYNCED_AT: usize = 16;
const BODY_AT: usize = 20;

const _: () = assert!(CRC_AT + 4 == LENGTH_AT && LENGTH_AT + 4 == LSN_AT && LSN_AT + 8 == UNSYNCED_AT);
const _: () = assert!(UNSYNCED_AT + 4 == BODY_AT && BODY_AT == FRAME_HEADER_BYTES);
const _: () = assert!(FRAME_BYTES_MIN == FRAME_HEADER_BYTES.next_multiple_of(ALIGNMENT));
const _: () = assert!(BODY_BYTES_MAX + FRAME_HEADER_BYTES + ALIGNMENT <= u32::MAX as usize);

/// A frame that passed its check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) lsn: Lsn,
    /// How far store and log were durable when the frame was written; zero if that was too long ago to say.
    pub(crate) durable: Lsn,
    pub(crate) body: &'a [u8],
    /// Header, body and padding.
    pub(crate) bytes: usize,
}

/// A repaired frame: one byte to change, counted from the frame's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) at: usize,
    pub(crate) value: u8,
}

/// How many bytes of the file a body takes with header and padding.
pub(crate) fn frame_bytes(body_bytes: usize) -> usize {
    (FRAME_HEADER_BYTES + body_bytes).next_multiple_of(ALIGNMENT)
}

/// Appends a frame whose CRC and durable mark are still missing: [`seal`] fills them in when the frame is written,
/// because only then is it known which file (and so which salt) it goes to, and because the CRC is then out of the lock.
pub(crate) fn push(buffer: &mut Vec<u8>, lsn: Lsn, body: &[u8]) {
    let bytes = frame_bytes(body.len());
    buffer.reserve(bytes);
    let mut header = [0; FRAME_HEADER_BYTES];
    header[LENGTH_AT..LSN_AT].copy_from_slice(&(body.len() as u32).to_le_bytes());
    header[LSN_AT..UNSYNCED_AT].copy_from_slice(&lsn.0.to_le_bytes());
    buffer.extend_from_slice(&header);
    buffer.extend_from_slice(body);
    buffer.extend_from_slice(&[0; ALIGNMENT][..bytes - FRAME_HEADER_BYTES - body.len()]);
}

/// Completes all frames of `buffer`, which holds nothing but frames made by [`push`]. Sealing again is allowed.
pub(crate) fn seal(buffer: &mut [u8], salt: u32, durable: Lsn) {
    let mut rest = buffer;
    while let Some(header) = rest.first_chunk::<FRAME_HEADER_BYTES>() {
        let (body_bytes, lsn) = (length_in(header), lsn_in(header));
        let (frame, after) = rest.split_at_mut(frame_bytes(body_bytes));
        let unsynced = u32::try_from(lsn.0.saturating_sub(durable.0)).unwrap_or(u32::MAX);
        frame[UNSYNCED_AT..BODY_AT].copy_from_slice(&unsynced.to_le_bytes());
        let crc = checksum(&frame[LENGTH_AT..BODY_AT + body_bytes], salt);
        frame[CRC_AT..LENGTH_AT].copy_from_slice(&crc.to_le_bytes());
        rest = after;
    }
}

/// The frame at the start of `bytes`, if a sound one is there. `plausible` judges the LSN before the CRC is computed.
pub(crate) fn check(bytes: &[u8], salt: u32, plausible: impl Fn(Lsn) -> bool) -> Option<Frame<'_>> {
    let header = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
    let (body_bytes, lsn) = (length_in(header), lsn_in(header));
    if body_bytes > BODY_BYTES_MAX || lsn == Lsn::ZERO || !plausible(lsn) {
        return None;
    }
    let frame = bytes.get(..frame_bytes(body_bytes))?;
    let covered = frame.get(LENGTH_AT..BODY_AT + body_bytes)?;
    if checksum(covered, salt) != crc_in(header) {
        return None;
    }
    Some(Frame {
        lsn,
        durable: durable_in(header),
        body: frame.get(BODY_AT..BODY_AT + body_bytes)?,
        bytes: frame.len(),
    })
}

/// The body length that the bytes claim, if they could be a frame's start at all: what a failed [`check`] may have cost.
pub(crate) fn claimed_bytes(bytes: &[u8], plausible: impl Fn(Lsn) -> bool) -> Option<usize> {
    let header = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
    plausible(lsn_in(header)).then(|| length_in(header))
}

/// The one byte that makes the unsound frame at the start of `bytes` the sound frame `expected`.
pub(crate) fn repair(bytes: &[u8], salt: u32, expected: Lsn) -> Option<Patch> {
    let header = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
    let stored = crc_in(header);
    let wrong_lsn_bytes: Vec<usize> =
        (0..8).filter(|&index| header[LSN_AT + index] != expected.0.to_le_bytes()[index]).collect();
    match wrong_lsn_bytes[..] {
        [] => {}
        [index] => {
            let patch = Patch { at: LSN_AT + index, value: expected.0.to_le_bytes()[index] };
            let mut mended = *header;
            mended[patch.at] = patch.value;
            return passes(bytes, &mended, salt).then_some(patch);
        }
        _ => return None,
    }
    let mut found = None;
    if let Some(covered) = repairable(bytes, length_in(header)).and_then(|frame| frame.get(LENGTH_AT..))
        && let Some(fix) = one_byte_fix(covered, salt, stored)
    {
        match fix.covered_at {
            None => {
                let right = checksum(covered, salt).to_le_bytes();
                let at = (0..4).find(|&at| right[at] != header[at])?;
                found = Some(Patch { at, value: right[at] });
            }
            // Length and LSN were taken as right to get here, so a wrong byte in them explains nothing.
            Some(at) if LENGTH_AT + at >= UNSYNCED_AT => {
                found = Some(Patch { at: LENGTH_AT + at, value: covered[at] ^ fix.flip });
            }
            Some(_) => {}
        }
    }
    for at in LENGTH_AT..LSN_AT {
        for value in 0..=255 {
            let mut mended = *header;
            mended[at] = value;
            if value != header[at] && passes(bytes, &mended, salt) {
                if found.is_some() {
                    return None;
                }
                found = Some(Patch { at, value });
            }
        }
    }
    found
}

/// The length of the frame at the start of `bytes` once it is repaired.
pub(crate) fn patched_bytes(bytes: &[u8], patch: Patch) -> usize {
    let Some(mut header) = bytes.first_chunk::<FRAME_HEADER_BYTES>().copied() else { return 0 };
    if let Some(byte) = header.get_mut(patch.at) {
        *byte = patch.value;
    }
    frame_bytes(length_in(&header))
}

/// Whether the frame at the start of `bytes` is sound once its header is replaced by `mended`.
fn passes(bytes: &[u8], mended: &[u8; FRAME_HEADER_BYTES], salt: u32) -> bool {
    repairable(bytes, length_in(mended)).is_some_and(|frame| {
        let mut hasher = crc32fast::Hasher::new_with_initial(salt);
        hasher.update(&mended[LENGTH_AT..]);
        hasher.update(&frame[BODY_AT..]);
        hasher.finalize() == crc_in(mended)
    })
}

/// Header and body of a frame with this body length, if it is there in full and short enough to be repaired.
fn repairable(bytes: &[u8], body_bytes: usize) -> Option<&[u8]> {
    if body_bytes > REPAIR_BYTES_MAX || bytes.len() < frame_bytes(body_bytes) {
        return None;
    }
    bytes.get(..BODY_AT + body_bytes)
}

fn checksum(covered: &[u8], salt: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(covered);
    hasher.finalize()
}

fn crc_in(header: &[u8; FRAME_HEADER_BYTES]) -> u32 {
    u32_in(header, CRC_AT)
}

fn length_in(header: &[u8; FRAME_HEADER_BYTES]) -> usize {
    u32_in(header, LENGTH_AT) as usize
}

fn lsn_in(header: &[u8; FRAME_HEADER_BYTES]) -> Lsn {
    Lsn(u64::from(u32_in(header, LSN_AT)) | u64::from(u32_in(header, LSN_AT + 4)) << 32)
}

fn durable_in(header: &[u8; FRAME_HEADER_BYTES]) -> Lsn {
    match u32_in(header, UNSYNCED_AT) {
        // Saturated: the true distance is at least this, so the true mark is unknown.
        u32::MAX => Lsn::ZERO,
        unsynced => Lsn(lsn_in(header).0.saturating_sub(u64::from(unsynced))),
    }
}

fn u32_in(header: &[u8; FRAME_HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: u32 = 0x1234_5678;

    fn sealed(lsn: Lsn, durable: Lsn, body: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        push(&mut buffer, lsn, body);
        seal(&mut buffer, SALT, durable);
        buffer
    }

    #[test]
    fn the_bytes_of_a_frame_are_as_documented() {
        let bytes = sealed(Lsn(0x0102), Lsn(0x0100), b"abc");
        assert_eq!(bytes.len(), 24);
        assert_eq!(bytes[4..], [3, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, b'a', b'b', b'c', 0]);
        // With no salt the checksum is plain CRC-32; the salt takes the place of the checksum of what came before.
        assert_eq!(checksum(b"123456789", 0), 0xcbf4_3926);
        assert_eq!(bytes[..4], checksum(&bytes[4..23], SALT).to_le_bytes());
    }

    #[test]
    fn a_distance_too_long_to_state_makes_no_claim() {
        let frame = |lsn, durable| check(&sealed(lsn, durable, b""), SALT, |_| true).map(|frame| frame.durable);
        assert_eq!(frame(Lsn(1 << 40), Lsn(7)), Some(Lsn::ZERO));
        assert_eq!(frame(Lsn(u64::from(u32::MAX) + 7), Lsn(7)), Some(Lsn::ZERO));
        assert_eq!(frame(Lsn(u64::from(u32::MAX) + 6), Lsn(7)), Some(Lsn(7)));
    }

    #[test]
    fn frames_with_another_salt_are_not_frames() {
        let bytes = sealed(Lsn(5), Lsn(1), b"body");
        assert!(check(&bytes, SALT, |_| true).is_some());
        assert!(check(&bytes, SALT + 1, |_| true).is_none());
    }

    #[test]
    fn every_wrong_byte_before_the_padding_is_repaired() {
        let sound = sealed(Lsn(777), Lsn(700), &[0x5a; 45]);
        for at in 0..FRAME_HEADER_BYTES + 45 {
            for flip in 1..=255u8 {
                let mut bytes = sound.clone();
                bytes[at] ^= flip;
                // What follows a frame in its file must not confuse the search for its length.
                bytes.extend_from_slice(&sealed(Lsn(778), Lsn(700), &[7; 600]));
                assert!(check(&bytes, SALT, |_| true).is_none());
                let patch = repair(&bytes, SALT, Lsn(777));
                assert_eq!(patch, Some(Patch { at, value: sound[at] }), "byte {at} flipped by {flip}");
            }
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_not_repaired() {
        let mut bytes = sealed(Lsn(1), Lsn(0), &vec![1; REPAIR_BYTES_MAX + 1]);
        bytes[100] ^= 1;
        assert_eq!(repair(&bytes, SALT, Lsn(1)), None);
    }

    proptest! {
        #[test]
        fn frames_are_read_back_as_pushed(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..70), 1..20),
            first in 1u64..1 << 50,
        ) {
            let mut buffer = Vec::new();
            for (lsn, body) in (first..).zip(&bodies) {
                push(&mut buffer, Lsn(lsn), body);
            }
            seal(&mut buffer, SALT, Lsn(first - 1));
            let mut rest = &buffer[..];
            for (lsn, body) in (first..).zip(&bodies) {
                let frame = check(rest, SALT, |_| true).unwrap();
                prop_assert_eq!((frame.lsn, frame.durable, frame.body), (Lsn(lsn), Lsn(first - 1), &body[..]));
                prop_assert_eq!(frame.bytes % ALIGNMENT, 0);
                rest = &rest[frame.bytes..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn arbitrary_bytes_are_no_frame_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(check(&bytes, SALT, |_| true).is_none());
            let _ = repair(&bytes, SALT, Lsn(3));
        }
    }
}
