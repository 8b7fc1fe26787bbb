//! What the commands on bits share. Bit 0 of a string is the highest bit of its first byte.

use super::strings::string_bytes_max;
use crate::command::{Args, CommandError};
use crate::server::Server;
use sutra_protocol::number::parse_i64;

/// Takes the offset of a bit. With a field's width, `#n` is the n-th field of that width.
pub(super) fn take_offset(args: &mut Args<'_>, field_bits: Option<u32>, server: &Server) -> Result<u64, CommandError> {
    let refused = || CommandError::text("ERR bit offset is not an integer or out of range");
    let text = args.take()?;
    let (text, factor) = match (text, field_bits) {
        ([b'#', count @ ..], Some(bits)) => (count, u64::from(bits)),
        (text, _) => (text, 1),
    };
    let number = parse_i64(text).and_then(|number| u64::try_from(number).ok()).ok_or_else(refused)?;
    number.checked_mul(factor).filter(|offset| offset / 8 < string_bytes_max(server) as u64).ok_or_else(refused)
}

/// What the start and end of a range count: `BIT` or `BYTE`, the default.
pub(super) fn take_unit_is_bit(args: &mut Args<'_>) -> Result<bool, CommandError> {
    if args.take_word("BIT") {
        return Ok(true);
    }
    if args.remaining() > 0 && !args.take_word("BYTE") {
        return Err(CommandError::Syntax);
    }
    Ok(false)
}

/// Set bits of all these bytes.
pub(super) fn count_ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let in_words: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    in_words + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// The first bit within `first..=last` that is set (or clear).
pub(super) fn position(bytes: &[u8], set: bool, first: usize, last: usize) -> Option<usize> {
    let skipped = if set { 0x00 } else { 0xFF };
    let (first_byte, last_byte) = (first / 8, last / 8);
    let mut index = first_byte;
    while index <= last_byte {
        let byte = bytes[index];
        // The bits looked for are ones; those before the range are cleared.
        let wanted = (byte ^ skipped) & if index == first_byte { 0xFF >> (first % 8) } else { 0xFF };
        if wanted != 0 {
            let found = index * 8 + wanted.leading_zeros() as usize;
            return (found <= last).then_some(found);
        }
        index += 1;
        // Long runs are skipped a word at a time.
        let words = bytes[index.min(last_byte)..last_byte].as_chunks::<8>().0;
        index += 8 * words.iter().take_while(|word| word.iter().all(|byte| *byte == skipped)).count();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bit_of_a_range_is_found_as_by_looking_at_each() {
        let mut bytes = vec![0; 20];
        bytes.extend([0x10, 0xFF, 0xFE]);
        bytes.extend(vec![0xFF; 20]);
        let bit = |at: usize| bytes[at / 8] & (0x80 >> (at % 8)) != 0;
        let bits = bytes.len() * 8;
        for first in 0..bits {
            for last in (first..bits).step_by(5) {
                for set in [false, true] {
                    let expected = (first..=last).find(|at| bit(*at) == set);
                    assert_eq!(position(&bytes, set, first, last), expected, "{set} in {first}..={last}");
                }
            }
        }
    }

    #[test]
    fn ones_are_counted_in_words_and_in_the_rest() {
        assert_eq!(count_ones(b""), 0);
        assert_eq!(count_ones(&[0xFF; 8]), 64);
        assert_eq!(count_ones(&[0x81; 11]), 22);
    }
}
