//! The pieces of which the binary forms of heap values are made: numbers of variable length and pairs of a hash.
//!
//! A number is written seven bits a byte, least significant first, with the high bit set in all bytes but the last.
//! A pair of a hash is
//!
//! | bytes | what |
//! | --- | --- |
//! | number | name length × 2, plus 1 if the field expires |
//! | 0 or 8 | expiry in Unix milliseconds, little endian, not zero |
//! | | name |
//! | number | value length |
//! | | value |
//!
//! which is also how a small hash lies in memory. Lengths are compared with the bytes there are before they are used.

use super::hash::Field;
use std::fmt;
use std::num::NonZeroU64;

/// Why bytes are not the binary form of a heap value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Written by a later version of this program.
    Version {
        /// The version.
        found: u8,
    },
    /// Damaged, or written by a faulty program.
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// The offset in the binary form at which it was noticed.
        offset: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Version { found } => write!(f, "the heap value has version {found}, which is unknown here"),
            DecodeError::Malformed { what, offset } => write!(f, "the heap value is damaged at byte {offset}: {what}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// The bytes of the expiry in a pair.
const EXPIRY_BYTES: usize = 8;
/// A number has at most this many bytes.
const NUMBER_BYTES_MAX: usize = 10;

/// A pair and where it lies.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) field: Field<'a>,
    pub(super) start: usize,
    pub(super) value_start: usize,
    pub(super) end: usize,
}

/// The pair that begins at `start`; `None` if the bytes there are not a whole, sound pair.
pub(super) fn read_pair(bytes: &[u8], start: usize) -> Option<Pair<'_>> {
    let mut at = start;
    let head = read_number(bytes, &mut at)?;
    let expires_at_ms = if head & 1 == 1 {
        let expiry = bytes.get(at..)?.first_chunk::<EXPIRY_BYTES>()?;
        at += EXPIRY_BYTES;
        Some(NonZeroU64::new(u64::from_le_bytes(*expiry))?.get())
    } else {
        None
    };
    let name = read_slice(bytes, &mut at, head >> 1)?;
    let value_bytes = read_number(bytes, &mut at)?;
    let value_start = at;
    let value = read_slice(bytes, &mut at, value_bytes)?;
    Some(Pair { field: Field { name, value, expires_at_ms }, start, value_start, end: at })
}

/// Appends a pair.
pub(super) fn write_pair(out: &mut Vec<u8>, field: Field<'_>) {
    write_number(out, (field.name.len() as u64) << 1 | u64::from(field.expires_at_ms.is_some()));
    if let Some(at_ms) = field.expires_at_ms {
        debug_assert_ne!(at_ms, 0, "an expiry of zero is in the past and never stored");
        out.extend_from_slice(&at_ms.to_le_bytes());
    }
    out.extend_from_slice(field.name);
    write_number(out, field.value.len() as u64);
    out.extend_from_slice(field.value);
}

/// The bytes that [`write_pair`] appends.
pub(super) fn pair_bytes(field: Field<'_>) -> usize {
    number_bytes((field.name.len() as u64) << 1)
        + if field.expires_at_ms.is_some() { EXPIRY_BYTES } else { 0 }
        + field.name.len()
        + number_bytes(field.value.len() as u64)
        + field.value.len()
}

/// The number at `*at`, which is moved behind it.
pub(super) fn read_number(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0;
    for (n, byte) in bytes.get(*at..)?.iter().take(NUMBER_BYTES_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * n as u32;
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            *at += n + 1;
            return Some(number);
        }
    }
    None
}

/// Appends a number.
pub(super) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Makes room for `additional` more items, growing by a quarter at least: Vec would double, which wastes half of a
/// large value.
pub(super) fn reserve_quarter<T>(items: &mut Vec<T>, additional: usize) {
    let spare = items.capacity() - items.len();
    if let Some(short) = additional.checked_sub(spare).filter(|short| *short > 0) {
        items.reserve_exact(spare + short.max(items.capacity() / 4));
    }
}

fn number_bytes(number: u64) -> usize {
    ((u64::BITS - (number | 1).leading_zeros()).div_ceil(7)) as usize
}

fn read_slice<'a>(bytes: &'a [u8], at: &mut usize, length: u64) -> Option<&'a [u8]> {
    let length = usize::try_from(length).ok()?;
    let slice = bytes.get(*at..)?.get(..length)?;
    *at += length;
    Some(slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back_and_cut_ones_do_not(number in prop_oneof![0u64..300, any::<u64>()]) {
            let mut bytes = vec![7];
            write_number(&mut bytes, number);
            let mut at = 1;
            prop_assert_eq!(read_number(&bytes, &mut at), Some(number));
            prop_assert_eq!(at, bytes.len());
            prop_assert_eq!(number_bytes(number), bytes.len() - 1);
            prop_assert_eq!(read_number(&bytes[..bytes.len() - 1], &mut 1), None);
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_refused() {
        assert_eq!(read_number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], &mut 0), Some(u64::MAX));
        assert_eq!(read_number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], &mut 0), None);
        assert_eq!(read_number(&[0x80; 20], &mut 0), None);
    }

    #[test]
    fn room_grows_by_a_quarter() {
        let mut items = vec![0u8; 1000];
        items.shrink_to_fit();
        reserve_quarter(&mut items, 1);
        assert!((1250..1300).contains(&items.capacity()), "{}", items.capacity());
        reserve_quarter(&mut items, 5000);
        assert!((6000..6100).contains(&items.capacity()), "{}", items.capacity());
    }
}
