//! The 64 bytes at the start of a log file, and the name the file has. Offsets: `docs/formats/wal.md`.

use crate::lsn::Lsn;
use crate::repair::one_byte_fix;

pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"SUTRAWAL";
const VERSION_AT: usize = 8;
const SALT_AT: usize = 12;
const SEQUENCE_AT: usize = 16;
const BASE_AT: usize = 24;
const DURABLE_AT: usize = 32;
const RESERVED_AT: usize = 40;
const CRC_AT: usize = 60;

const _: () = assert!(MAGIC.len() == VERSION_AT && VERSION_AT + 4 == SALT_AT && SALT_AT + 4 == SEQUENCE_AT);
const _: () = assert!(SEQUENCE_AT + 8 == BASE_AT && BASE_AT + 8 == DURABLE_AT && DURABLE_AT + 8 == RESERVED_AT);
const _: () = assert!(CRC_AT + 4 == HEADER_BYTES);
// Frames follow at once and must be aligned; the header must not straddle a sector.
const _: () = assert!(HEADER_BYTES.is_multiple_of(crate::frame::ALIGNMENT) && HEADER_BYTES <= 512);

const NAME_SUFFIX: &str = ".wal";
const NAME_DIGITS: usize = 16;

/// No log has so many frames: a million a second for two thousand years.
const LSN_MAX: u64 = 1 << 56;

/// What the header of a begun file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// The initial value of every frame's CRC in this file, so that frames of the file's earlier life, and bytes in a
    /// body that look like a frame, do not pass for frames.
    pub(crate) salt: u32,
    /// The number in the file's name when it was begun. A recycled file that has been renamed but not begun again
    /// still has its old number here, and so holds nothing.
    pub(crate) sequence: u64,
    /// The LSN of the first frame.
    pub(crate) base: Lsn,
    /// How far store and log were known durable when the file was begun.
    pub(crate) durable: Lsn,
}

/// What the first bytes of a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderState {
    /// Sound, or mended.
    Begun {
        header: FileHeader,
        mended: bool,
    },
    /// Allocated but never begun under its present name: no frames.
    Spare,
    /// Of a version that is not known here.
    Unsupported {
        version: u32,
    },
    Unreadable,
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..VERSION_AT].copy_from_slice(&MAGIC);
        bytes[VERSION_AT..SALT_AT].copy_from_slice(&VERSION.to_le_bytes());
        bytes[SALT_AT..SEQUENCE_AT].copy_from_slice(&self.salt.to_le_bytes());
        bytes[SEQUENCE_AT..BASE_AT].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[BASE_AT..DURABLE_AT].copy_from_slice(&self.base.0.to_le_bytes());
        bytes[DURABLE_AT..RESERVED_AT].copy_from_slice(&self.durable.0.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the start of the file that is named after `sequence`.
    pub(crate) fn decode(bytes: &[u8], sequence: u64) -> HeaderState {
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else { return HeaderState::Spare };
        if bytes.iter().all(|&byte| byte == 0) {
            return HeaderState::Spare;
        }
        let stored = u32_at(bytes, CRC_AT);
        let mut fixed = *bytes;
        let mut mended = false;
        if crc32fast::hash(&bytes[..CRC_AT]) != stored {
            let Some(fix) = one_byte_fix(&bytes[..CRC_AT], 0, stored) else { return HeaderState::Unreadable };
            if let Some(at) = fix.covered_at {
                fixed[at] ^= fix.flip;
            }
            mended = true;
        }
        if fixed[..VERSION_AT] != MAGIC {
            return HeaderState::Unreadable;
        }
        let version = u32_at(&fixed, VERSION_AT);
        if version != VERSION {
            return HeaderState::Unsupported { version };
        }
        let header = FileHeader {
            salt: u32_at(&fixed, SALT_AT),
            sequence: u64_at(&fixed, SEQUENCE_AT),
            base: Lsn(u64_at(&fixed, BASE_AT)),
            durable: Lsn(u64_at(&fixed, DURABLE_AT)),
        };
        // A number that no log reaches: the checksum protects a mistake, or the mended byte was not the wrong one.
        if header.base.0 > LSN_MAX || header.durable.0 > LSN_MAX {
            return HeaderState::Unreadable;
        }
        if header.sequence == sequence { HeaderState::Begun { header, mended } } else { HeaderState::Spare }
    }
}

/// The name of the file with this number: numbers only ever grow, and names sort as numbers do.
pub(crate) fn file_name(sequence: u64) -> String {
    format!("{sequence:0NAME_DIGITS$}{NAME_SUFFIX}")
}

/// The number in a log file's name; other names are not the log's.
pub(crate) fn file_sequence(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(NAME_SUFFIX)?;
    let plain = digits.len() == NAME_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Spreads seed and number over the salt (the finaliser of SplitMix64, Steele et al. 2014).
pub(crate) fn salt(seed: u64, sequence: u64) -> u32 {
    let mut mixed = seed ^ sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as u32
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: FileHeader = FileHeader { salt: 0xdead_beef, sequence: 7, base: Lsn(1_000), durable: Lsn(990) };

    #[test]
    fn a_header_is_read_back_as_written() {
        assert_eq!(FileHeader::decode(&HEADER.encode(), 7), HeaderState::Begun { header: HEADER, mended: false });
    }

    #[test]
    fn every_damaged_byte_of_a_header_is_mended() {
        for at in 0..HEADER_BYTES {
            for flip in 1..=255u8 {
                let mut bytes = HEADER.encode();
                bytes[at] ^= flip;
                let read = FileHeader::decode(&bytes, 7);
                assert_eq!(read, HeaderState::Begun { header: HEADER, mended: true }, "byte {at} flipped by {flip}");
            }
        }
    }

    #[test]
    fn a_header_damaged_in_two_places_is_never_read_as_another() {
        for at in 0..HEADER_BYTES - 8 {
            let mut bytes = HEADER.encode();
            bytes[at] ^= 0x11;
            bytes[at + 8] ^= 0x80;
            assert_eq!(FileHeader::decode(&bytes, 7), HeaderState::Unreadable, "byte {at}");
        }
    }

    #[test]
    fn a_file_that_was_not_begun_under_its_name_is_spare() {
        assert_eq!(FileHeader::decode(&HEADER.encode(), 8), HeaderState::Spare);
        assert_eq!(FileHeader::decode(&[0; 100], 8), HeaderState::Spare);
        assert_eq!(FileHeader::decode(&[], 8), HeaderState::Spare);
    }

    #[test]
    fn a_sound_header_of_another_version_is_refused_by_name() {
        let mut bytes = HEADER.encode();
        bytes[VERSION_AT] = 2;
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FileHeader::decode(&bytes, 7), HeaderState::Unsupported { version: 2 });
    }

    #[test]
    fn a_sound_header_with_a_number_that_no_log_reaches_is_unreadable() {
        for header in [
            FileHeader { base: Lsn(u64::MAX), ..HEADER },
            FileHeader { durable: Lsn(u64::MAX), ..HEADER },
            FileHeader { durable: Lsn(LSN_MAX + 1), ..HEADER },
        ] {
            assert_eq!(FileHeader::decode(&header.encode(), 7), HeaderState::Unreadable, "{header:?}");
        }
    }

    #[test]
    fn names_and_numbers_convert_into_each_other_and_nothing_else_is_a_name() {
        assert_eq!(file_name(42), "0000000000000042.wal");
        assert_eq!(file_sequence("0000000000000042.wal"), Some(42));
        for name in ["42.wal", "0000000000000042", "000000000000004x.wal", "+000000000000042.wal", "LOCK", ""] {
            assert_eq!(file_sequence(name), None, "{name}");
        }
    }

    #[test]
    fn files_and_seeds_have_salts_of_their_own() {
        let mut salts: Vec<u32> = (0..8).flat_map(|seed| (0..500).map(move |sequence| salt(seed, sequence))).collect();
        salts.sort_unstable();
        salts.dedup();
        assert_eq!(salts.len(), 4_000);
    }
}
