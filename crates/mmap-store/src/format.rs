#![doc = include_str!("../../../docs/formats/segment.md")]
//!
//! The constants below are that page's numbers.

/// First bytes of every segment.
pub const MAGIC: [u8; 8] = *b"SUTRASEG";
/// The version this program writes, and the newest it reads.
pub const VERSION: u32 = 1;

/// Bytes of a segment's header; the first record begins here.
pub const SEGMENT_HEADER_BYTES: u32 = 64;
/// Offset of the version in a segment's header.
pub const VERSION_AT: usize = 8;
/// Offset of the segment's id.
pub const ID_AT: usize = 12;
/// Offset of the generation.
pub const GENERATION_AT: usize = 16;
/// Offset of the capacity.
pub const CAPACITY_AT: usize = 24;
/// Offset of the class.
pub const CLASS_AT: usize = 32;
/// Offset of the flags.
pub const SEGMENT_FLAGS_AT: usize = 33;
/// Offset of the header's CRC, which covers all bytes before it.
pub const SEGMENT_CRC_AT: usize = 60;
/// Segment flag: the segment was made for one large record.
pub const DEDICATED: u8 = 1;

/// Offset of a record's expiry word.
pub const EXPIRY_AT: u32 = 0;
/// Offset of a record's CRC.
pub const CRC_AT: u32 = 8;
/// Offset of the first byte that the CRC covers, the value's length.
pub const VALUE_LENGTH_AT: u32 = 12;
/// Offset of a record's flags.
pub const FLAGS_AT: u32 = 16;
/// Offset of the key's length, 1 or 4 bytes.
pub const KEY_LENGTH_AT: u32 = 17;
/// Record flag: the key's length takes 4 bytes.
pub const LONG_KEY: u8 = 1;
/// Record flag: a cost follows the key's length.
pub const HAS_COST: u8 = 2;
/// Record flag: the annex's length ends the header, and the annex lies between key and value.
pub const HAS_ANNEX: u8 = 4;
/// Every record flag that has a meaning; a record with another one is not believed.
pub const RECORD_FLAGS: u8 = LONG_KEY | HAS_COST | HAS_ANNEX;
/// Shortest header: key up to 255 bytes, no cost, no annex.
pub const RECORD_HEADER_BYTES_MIN: u32 = 18;
/// Longest header: long key, cost and annex.
pub const RECORD_HEADER_BYTES_MAX: u32 = 29;
/// Records begin at multiples of this.
pub const RECORD_ALIGNMENT: u32 = 8;
/// Smallest record: an empty key and an empty value.
pub const RECORD_BYTES_MIN: u32 = 24;

/// Longest key, 512 MiB.
pub const KEY_BYTES_MAX: usize = 512 << 20;
/// Longest value, 512 MiB.
pub const VALUE_BYTES_MAX: usize = 512 << 20;
/// Longest annex, 1 MiB.
pub const ANNEX_BYTES_MAX: usize = 1 << 20;
/// Smallest segment of the pool.
pub const SEGMENT_BYTES_MIN: u32 = 64 << 10;
/// Largest segment of the pool: an offset in units of 8 bytes has 20 bits.
pub const SEGMENT_BYTES_MAX: u32 = 8 << 20;
/// Segments are whole pages.
pub const PAGE_BYTES: u32 = 4096;
/// Largest segment made for one record.
pub const DEDICATED_BYTES_MAX: u32 =
    (SEGMENT_HEADER_BYTES + RECORD_HEADER_BYTES_MAX + (KEY_BYTES_MAX + ANNEX_BYTES_MAX + VALUE_BYTES_MAX) as u32)
        .next_multiple_of(PAGE_BYTES);
/// Most classes of open segments.
pub const CLASSES_MAX: usize = 64;
/// Latest expiry that fits the expiry word, in Unix milliseconds; later ones are stored as this (year 10889).
pub const EXPIRES_AT_MS_MAX: u64 = (1 << EXPIRY_BITS) - 1;

/// Bits of a location's offset, in units of 8 bytes.
pub(crate) const OFFSET_BITS: u32 = 20;
/// Bits of a location.
pub(crate) const LOCATION_BITS: u32 = 36;
/// Bits of the expiry word that are the time.
const EXPIRY_BITS: u32 = 48;
/// Multiplier of the expiry word's check.
const CHECK_MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

const _: () = {
    assert!(SEGMENT_BYTES_MAX == RECORD_ALIGNMENT << OFFSET_BITS);
    assert!(
        SEGMENT_HEADER_BYTES.is_multiple_of(RECORD_ALIGNMENT) && SEGMENT_HEADER_BYTES as usize == SEGMENT_CRC_AT + 4
    );
    assert!(SEGMENT_BYTES_MIN.is_multiple_of(PAGE_BYTES) && SEGMENT_BYTES_MAX.is_multiple_of(PAGE_BYTES));
    assert!(RECORD_HEADER_BYTES_MIN == KEY_LENGTH_AT + 1 && RECORD_HEADER_BYTES_MAX == KEY_LENGTH_AT + 4 + 4 + 4);
    assert!(RECORD_BYTES_MIN == RECORD_HEADER_BYTES_MIN.next_multiple_of(RECORD_ALIGNMENT));
    assert!(CLASSES_MAX <= u8::MAX as usize);
    assert!(ID_AT == VERSION_AT + 4 && CAPACITY_AT == GENERATION_AT + 8 && CLASS_AT == CAPACITY_AT + 8);
    // A flipped bit of the time adds or subtracts 2^bit × multiplier; if the top 16 bits of that are neither all zero nor all one, no
    // carry can leave the check as it was. So every single flipped bit of an expiry word is noticed.
    let mut bit = 0;
    while bit < EXPIRY_BITS {
        let top = (CHECK_MULTIPLIER << bit) >> EXPIRY_BITS;
        assert!(top != 0 && top != 0xffff);
        bit += 1;
    }
};

/// The header of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) id: u32,
    pub(crate) generation: u64,
    pub(crate) capacity: u64,
    pub(crate) class: u8,
    pub(crate) dedicated: bool,
}

/// Why 64 bytes are no header.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum BadHeader {
    Damaged,
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        bytes[..VERSION_AT].copy_from_slice(&MAGIC);
        bytes[VERSION_AT..ID_AT].copy_from_slice(&VERSION.to_le_bytes());
        bytes[ID_AT..GENERATION_AT].copy_from_slice(&self.id.to_le_bytes());
        bytes[GENERATION_AT..CAPACITY_AT].copy_from_slice(&self.generation.to_le_bytes());
        bytes[CAPACITY_AT..CLASS_AT].copy_from_slice(&self.capacity.to_le_bytes());
        bytes[CLASS_AT] = self.class;
        bytes[SEGMENT_FLAGS_AT] = if self.dedicated { DEDICATED } else { 0 };
        let crc = crc32fast::hash(&bytes[..SEGMENT_CRC_AT]);
        bytes[SEGMENT_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The CRC is checked before the version is believed, so that a flipped bit is damage and not a newer program.
    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES as usize]) -> Result<SegmentHeader, BadHeader> {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        if bytes[..VERSION_AT] != MAGIC || half(SEGMENT_CRC_AT) != crc32fast::hash(&bytes[..SEGMENT_CRC_AT]) {
            return Err(BadHeader::Damaged);
        }
        if half(VERSION_AT) != VERSION {
            return Err(BadHeader::Version(half(VERSION_AT)));
        }
        Ok(SegmentHeader {
            id: half(ID_AT),
            generation: word(GENERATION_AT),
            capacity: word(CAPACITY_AT),
            class: bytes[CLASS_AT],
            dedicated: bytes[SEGMENT_FLAGS_AT] & DEDICATED != 0,
        })
    }
}

/// The expiry word of the record at `location`: the time in the low 48 bits (0 = never), a check in the high 16. The check covers the
/// location as well, so that neither a page of zeros nor a record's image within another's value passes for one.
pub(crate) fn expiry_word(location: crate::Location, expires_at_ms: Option<u64>) -> u64 {
    // An expiry at or before 1970 is long past; millisecond 1 says so without looking like "never".
    let ms = expires_at_ms.map_or(0, |ms| ms.clamp(1, EXPIRES_AT_MS_MAX));
    check_word(location, ms) << EXPIRY_BITS | ms
}

/// The time in an expiry word, if its check holds.
pub(crate) fn decode_expiry(location: crate::Location, word: u64) -> Result<Option<u64>, crate::Damaged> {
    let ms = word & EXPIRES_AT_MS_MAX;
    if check_word(location, ms) != word >> EXPIRY_BITS {
        return Err(crate::Damaged);
    }
    Ok((ms != 0).then_some(ms))
}

fn check_word(location: crate::Location, ms: u64) -> u64 {
    // The complement keeps a zero word from being sound at location 0 and its like.
    !((ms ^ location.to_bits()).wrapping_mul(CHECK_MULTIPLIER)) >> EXPIRY_BITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Location;

    #[test]
    fn every_flipped_bit_of_an_expiry_word_is_noticed() {
        for expires in [None, Some(0), Some(1), Some(1_760_000_000_000), Some(u64::MAX)] {
            for location in [Location::new(1, 64), Location::new(9, 8), Location::new(u16::MAX, 4096)] {
                let word = expiry_word(location, expires);
                assert_eq!(decode_expiry(location, word), Ok(expires.map(|ms| ms.clamp(1, EXPIRES_AT_MS_MAX))));
                for bit in 0..64 {
                    assert!(decode_expiry(location, word ^ 1 << bit).is_err(), "bit {bit} of {word:#x}");
                }
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_damage() {
        let header = SegmentHeader { id: 7, generation: 3, capacity: 65536, class: 2, dedicated: true };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&flipped), Err(BadHeader::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn a_sound_header_of_a_newer_version_is_not_called_damage() {
        let mut bytes = SegmentHeader { id: 7, generation: 3, capacity: 65536, class: 2, dedicated: false }.encode();
        bytes[VERSION_AT] = 2;
        let crc = crc32fast::hash(&bytes[..SEGMENT_CRC_AT]);
        bytes[SEGMENT_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Version(2)));
    }
}
