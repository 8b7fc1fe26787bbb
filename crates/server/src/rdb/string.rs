//! Lengths and strings of the RDB format.
//!
//! | first byte | length |
//! | --- | --- |
//! | `00xxxxxx` | the six bits |
//! | `01xxxxxx` | 14 bits with the next byte, big endian |
//! | `10000000` | 32 bits big endian |
//! | `10000001` | 64 bits big endian |
//! | `11000000`, `…01`, `…10` | no length but a string: the digits of the 8, 16 or 32-bit little-endian integer that follows |
//! | `11000011` | no length but a string: compressed length, length, LZF |

use super::lzf;
use super::reader::{Bad, Reader};
use std::borrow::Cow;
use sutra_protocol::number;

/// Strings that are written as integers have no more digits, sign included.
const INTEGER_DIGITS_MAX: usize = 11;

/// Reads a length.
pub(super) fn read_length(reader: &mut Reader<'_>) -> Result<u64, Bad> {
    match read_prefix(reader)? {
        Prefix::Length(length) => Ok(length),
        Prefix::Encoded(_) => Err(Bad),
    }
}

/// Reads a string.
pub(super) fn read_string<'b>(reader: &mut Reader<'b>) -> Result<Cow<'b, [u8]>, Bad> {
    let integer = match read_prefix(reader)? {
        Prefix::Length(length) => return Ok(Cow::Borrowed(reader.take(usize::try_from(length).map_err(|_| Bad)?)?)),
        Prefix::Encoded(0) => i32::from(i8::from_le_bytes(reader.array()?)),
        Prefix::Encoded(1) => i32::from(i16::from_le_bytes(reader.array()?)),
        Prefix::Encoded(2) => i32::from_le_bytes(reader.array()?),
        Prefix::Encoded(3) => {
            let compressed = usize::try_from(read_length(reader)?).map_err(|_| Bad)?;
            let length = usize::try_from(read_length(reader)?).map_err(|_| Bad)?;
            return Ok(Cow::Owned(lzf::decompress(reader.take(compressed)?, length)?));
        }
        Prefix::Encoded(_) => return Err(Bad),
    };
    Ok(Cow::Owned(integer.to_string().into_bytes()))
}

/// Appends a length.
pub(super) fn write_length(output: &mut Vec<u8>, length: u64) {
    if let Ok(short @ 0..0x40) = u8::try_from(length) {
        output.push(short);
    } else if let Ok(middle @ 0..0x4000) = u16::try_from(length) {
        output.extend_from_slice(&(0x4000 | middle).to_be_bytes());
    } else if let Ok(long) = u32::try_from(length) {
        output.push(0x80);
        output.extend_from_slice(&long.to_be_bytes());
    } else {
        output.push(0x81);
        output.extend_from_slice(&length.to_be_bytes());
    }
}

/// Appends a string: as an integer where that gives back the same digits, else as it is.
pub(super) fn write_string(output: &mut Vec<u8>, string: &[u8]) {
    let integer = if string.len() <= INTEGER_DIGITS_MAX { number::parse_i64(string) } else { None };
    let integer = integer.and_then(|integer| i32::try_from(integer).ok());
    match integer.map(|integer| (i8::try_from(integer), i16::try_from(integer), integer)) {
        Some((Ok(byte), _, _)) => output.extend_from_slice(&[0xc0, byte.to_le_bytes()[0]]),
        Some((_, Ok(short), _)) => {
            output.push(0xc1);
            output.extend_from_slice(&short.to_le_bytes());
        }
        Some((_, _, integer)) => {
            output.push(0xc2);
            output.extend_from_slice(&integer.to_le_bytes());
        }
        None => {
            write_length(output, string.len() as u64);
            output.extend_from_slice(string);
        }
    }
}

enum Prefix {
    Length(u64),
    Encoded(u8),
}

fn read_prefix(reader: &mut Reader<'_>) -> Result<Prefix, Bad> {
    let first = reader.byte()?;
    let low = first & 0x3f;
    Ok(match (first >> 6, low) {
        (0, _) => Prefix::Length(u64::from(low)),
        (1, _) => Prefix::Length(u64::from(u16::from_be_bytes([low, reader.byte()?]))),
        (2, 0) => Prefix::Length(u64::from(u32::from_be_bytes(reader.array()?))),
        (2, 1) => Prefix::Length(u64::from_be_bytes(reader.array()?)),
        (2, _) => return Err(Bad),
        (_, encoding) => Prefix::Encoded(encoding),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_back_in_every_form() {
        for (length, bytes) in
            [(0, 1), (63, 1), (64, 2), (16_383, 2), (16_384, 5), (u64::from(u32::MAX), 5), (1 << 32, 9), (u64::MAX, 9)]
        {
            let mut output = Vec::new();
            write_length(&mut output, length);
            assert_eq!((output.len(), read_length(&mut Reader::new(&output))), (bytes, Ok(length)));
        }
    }

    #[test]
    fn strings_read_back_and_integers_are_short() {
        for (string, bytes) in [
            ("", 1),
            ("a", 2),
            ("0", 2),
            ("-128", 2),
            ("127", 2),
            ("128", 3),
            ("-32769", 5),
            ("2147483647", 5),
            ("-2147483648", 5),
            ("2147483648", 11),
            ("007", 4),
            ("-0", 3),
            ("+1", 3),
        ] {
            let mut output = Vec::new();
            write_string(&mut output, string.as_bytes());
            assert_eq!(output.len(), bytes, "{string}");
            assert_eq!(read_string(&mut Reader::new(&output)).as_deref(), Ok(string.as_bytes()));
        }
    }

    #[test]
    fn a_string_cut_short_is_refused_without_allocating_what_it_declares() {
        for bytes in
            [&[][..], &[5, b'a'], &[0x81, 255, 255, 255, 255, 255, 255, 255, 255], &[0xc1, 0], &[0xc4], &[0x82]]
        {
            assert_eq!(read_string(&mut Reader::new(bytes)), Err(Bad), "{bytes:?}");
        }
        let lzf = [0xc3, 4, 0x81, 0, 0, 255, 255, 255, 255, 255, 255, 0, b'a', 0x20, 0];
        assert_eq!(read_string(&mut Reader::new(&lzf)), Err(Bad));
    }
}
