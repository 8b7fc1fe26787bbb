//! Where a record lies.

use crate::format::{LOCATION_BITS, OFFSET_BITS};

/// Where a record lies: segment (16 bits) and offset ÷ 8 (20 bits), 36 bits in all, so that it fits an index slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Location(u64);

impl Location {
    /// A location from a segment and an offset in bytes.
    ///
    /// # Panics
    /// If the offset is not a multiple of 8 below 8 MiB: no writer of this crate makes such a record.
    #[must_use]
    pub fn new(segment: u16, offset_bytes: u32) -> Location {
        assert!(
            offset_bytes.is_multiple_of(8) && offset_bytes < 8 << OFFSET_BITS,
            "offset {offset_bytes} names no record"
        );
        Location(u64::from(segment) << OFFSET_BITS | u64::from(offset_bytes / 8))
    }

    /// The location packed in the low 36 bits; higher bits are dropped.
    #[must_use]
    pub fn from_bits(bits: u64) -> Location {
        Location(bits & ((1 << LOCATION_BITS) - 1))
    }

    /// The 36 bits.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The segment's id.
    #[must_use]
    pub fn segment(self) -> u16 {
        (self.0 >> OFFSET_BITS) as u16
    }

    /// Where the record begins in its segment, in bytes; always a multiple of 8.
    #[must_use]
    pub fn offset_bytes(self) -> u32 {
        ((self.0 & ((1 << OFFSET_BITS) - 1)) as u32) * 8
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "segment {:05} offset {}", self.segment(), self.offset_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_and_offset_survive_packing() {
        for (segment, offset) in [(0, 64), (1, 64), (u16::MAX, 8 * ((1 << 20) - 1)), (513, 4096)] {
            let location = Location::new(segment, offset);
            assert!(location.to_bits() < 1 << 36);
            let again = Location::from_bits(location.to_bits() | 1 << 36);
            assert_eq!((again.segment(), again.offset_bytes()), (segment, offset));
        }
    }
}
