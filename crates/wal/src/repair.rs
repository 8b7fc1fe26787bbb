//! Mending damage that is confined to one byte, from the CRC alone.
//!
//! A CRC is linear: the difference between the computed and the stored CRC (the syndrome) depends only on which bits are
//! wrong, not on the data. A wrong byte leaves `TABLE[flip]`, advanced by one table step for each byte behind it. The step
//! can be undone (the top byte of a table entry names the entry), so one walk from the last byte to the first finds
//! every byte that could explain the syndrome: the cost of one slow CRC, where trying all values would cost 255 per byte.
//!
//! The odds of a wrong repair: damage that is *not* confined to one byte looks like it with a probability of about
//! `255 × bytes ÷ 2^32`: 4 in a million for a frame of 64 bytes, 0.02 % at 4 KiB, 0.4 % at 64 KiB. That is why callers
//! bound the length, why two explanations are no explanation, and why a repaired frame must also have the right LSN.

/// How a block with a wrong CRC becomes right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fix {
    /// Which covered byte is wrong; `None` if the stored CRC itself is.
    pub(crate) covered_at: Option<usize>,
    /// What to XOR the covered byte with.
    pub(crate) flip: u8,
}

/// The one byte whose change makes the CRC-32 of `covered` (begun at `initial`) equal `stored`. `None` if there is none,
/// if there are several, or if nothing is wrong.
pub(crate) fn one_byte_fix(covered: &[u8], initial: u32, stored: u32) -> Option<Fix> {
    let mut hasher = crc32fast::Hasher::new_with_initial(initial);
    hasher.update(covered);
    let syndrome = hasher.finalize() ^ stored;
    let mut found = None;
    let stored_bytes_wrong = syndrome.to_le_bytes().iter().filter(|&&byte| byte != 0).count();
    if stored_bytes_wrong == 0 {
        return None;
    }
    if stored_bytes_wrong == 1 {
        found = Some(Fix { covered_at: None, flip: 0 });
    }
    let mut state = syndrome;
    for at in (0..covered.len()).rev() {
        let index = INDEX_OF_TOP_BYTE[(state >> 24) as usize];
        state = ((state ^ TABLE[index as usize]) << 8) | u32::from(index);
        // Before the wrong byte both registers agreed, so all that is left is the byte itself.
        if state < 256 {
            if found.is_some() {
                return None;
            }
            found = Some(Fix { covered_at: Some(at), flip: state as u8 });
        }
    }
    found
}

/// The reflected polynomial of CRC-32 (IEEE 802.3).
const POLYNOMIAL: u32 = 0xedb8_8320;
const TABLE: [u32; 256] = table();
const INDEX_OF_TOP_BYTE: [u8; 256] = index_of_top_byte();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

const fn index_of_top_byte() -> [u8; 256] {
    let mut indexes = [0; 256];
    let mut index = 0;
    while index < 256 {
        indexes[(TABLE[index] >> 24) as usize] = index as u8;
        index += 1;
    }
    indexes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn crc(bytes: &[u8], initial: u32) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(initial);
        hasher.update(bytes);
        hasher.finalize()
    }

    proptest! {
        #[test]
        fn any_one_wrong_byte_is_found(
            mut bytes in proptest::collection::vec(any::<u8>(), 1..300),
            initial: u32,
            position: prop::sample::Index,
            flip in 1..=255u8,
        ) {
            let stored = crc(&bytes, initial);
            let at = position.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(one_byte_fix(&bytes, initial, stored), Some(Fix { covered_at: Some(at), flip }));
        }

        #[test]
        fn a_wrong_byte_of_the_stored_crc_is_told_from_wrong_data(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            at in 0..4,
            flip in 1..=255u32,
        ) {
            let stored = crc(&bytes, 0) ^ flip << (8 * at);
            prop_assert_eq!(one_byte_fix(&bytes, 0, stored), Some(Fix { covered_at: None, flip: 0 }));
        }
    }

    #[test]
    fn sound_bytes_need_no_fix() {
        assert_eq!(one_byte_fix(b"sound", 9, crc(b"sound", 9)), None);
    }

    #[test]
    fn two_wrong_bytes_have_no_fix() {
        let bytes: Vec<u8> = (0..60).collect();
        let stored = crc(&bytes, 0);
        for first in 0..59 {
            let mut damaged = bytes.clone();
            damaged[first] ^= 0x40;
            damaged[59] ^= 0x21;
            assert_eq!(one_byte_fix(&damaged, 0, stored), None, "bytes {first} and 59");
        }
    }
}
