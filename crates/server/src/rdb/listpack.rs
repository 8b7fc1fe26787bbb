//! Listpacks: Redis's compact lists of strings and integers.
//!
//! `bytes: u32 LE`, `elements: u16 LE` (65535: count them), elements, `0xff`. An element is an encoding byte, its payload, and the
//! length of both written so that it can be read backwards.
//!
//! | encoding | element |
//! | --- | --- |
//! | `0xxxxxxx` | integer 0 to 127 |
//! | `10xxxxxx` | string of so many bytes |
//! | `110xxxxx` and a byte | integer of 13 bits, two's complement, big endian |
//! | `1110xxxx` and a byte | string of so many bytes, big endian |
//! | `0xf0` and 4 bytes | string of so many bytes, little endian |
//! | `0xf1`, `0xf2`, `0xf3`, `0xf4` | integer of 2, 3, 4, 8 bytes, little endian |

use super::reader::{Bad, Reader};
use std::borrow::Cow;
use sutra_protocol::number;

const HEADER_BYTES: usize = 6;
const END: u8 = 0xff;
/// The count says only that there are at least so many.
const COUNT_UNKNOWN: u16 = u16::MAX;
/// Longer texts are no 64-bit integers.
const INTEGER_DIGITS_MAX: usize = 20;

/// All elements, as strings. Checks every byte.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, Bad> {
    let mut reader = Reader::new(bytes);
    let declared_bytes = u32::from_le_bytes(reader.array()?);
    let declared_count = u16::from_le_bytes(reader.array()?);
    if usize::try_from(declared_bytes) != Ok(bytes.len()) {
        return Err(Bad);
    }
    let mut elements = Vec::new();
    loop {
        let before = reader.rest().len();
        let encoding = reader.byte()?;
        if encoding == END {
            break;
        }
        elements.push(read_element(encoding, &mut reader)?);
        let mut back = Vec::with_capacity(5);
        write_back_length(&mut back, before - reader.rest().len());
        if reader.take(back.len())? != back {
            return Err(Bad);
        }
    }
    let count_fits = declared_count == COUNT_UNKNOWN || usize::from(declared_count) == elements.len();
    if count_fits && reader.rest().is_empty() { Ok(elements) } else { Err(Bad) }
}

/// Writes a listpack of these elements; `None` if it would be too large for its header.
pub(super) fn write<'e>(elements: impl Iterator<Item = &'e [u8]>) -> Option<Vec<u8>> {
    let mut output = vec![0; HEADER_BYTES];
    let mut count = 0_u16;
    for element in elements {
        count = count.saturating_add(1);
        let start = output.len();
        write_element(&mut output, element)?;
        let length = output.len() - start;
        write_back_length(&mut output, length);
    }
    output.push(END);
    let bytes = u32::try_from(output.len()).ok()?;
    output[..4].copy_from_slice(&bytes.to_le_bytes());
    output[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
    Some(output)
}

fn read_element<'b>(encoding: u8, reader: &mut Reader<'b>) -> Result<Cow<'b, [u8]>, Bad> {
    let integer = match encoding {
        0..=0x7f => i64::from(encoding),
        0x80..=0xbf => return Ok(Cow::Borrowed(reader.take(usize::from(encoding & 0x3f))?)),
        0xc0..=0xdf => {
            // The 13 bits are moved to the top and back to repeat the sign.
            let bits = u16::from_be_bytes([encoding & 0x1f, reader.byte()?]) << 3;
            i64::from(bits.cast_signed() >> 3)
        }
        0xe0..=0xef => {
            let length = u16::from_be_bytes([encoding & 0x0f, reader.byte()?]);
            return Ok(Cow::Borrowed(reader.take(usize::from(length))?));
        }
        0xf0 => {
            let length = usize::try_from(u32::from_le_bytes(reader.array()?)).map_err(|_| Bad)?;
            return Ok(Cow::Borrowed(reader.take(length)?));
        }
        0xf1 => i64::from(i16::from_le_bytes(reader.array()?)),
        0xf2 => i64::from(int24(reader.array()?)),
        0xf3 => i64::from(i32::from_le_bytes(reader.array()?)),
        0xf4 => i64::from_le_bytes(reader.array()?),
        0xf5.. => return Err(Bad),
    };
    Ok(Cow::Owned(integer.to_string().into_bytes()))
}

/// A little-endian integer of three bytes.
pub(super) fn int24([low, middle, high]: [u8; 3]) -> i32 {
    i32::from_le_bytes([0, low, middle, high]) >> 8
}

fn write_element(output: &mut Vec<u8>, element: &[u8]) -> Option<()> {
    let integer = if element.len() <= INTEGER_DIGITS_MAX { number::parse_i64(element) } else { None };
    if let Some(integer) = integer {
        write_integer(output, integer);
        return Some(());
    }
    match element.len() {
        length @ 0..=0x3f => output.push(0x80 | u8::try_from(length).ok()?),
        length @ 0x40..=0xfff => output.extend_from_slice(&(0xe000 | u16::try_from(length).ok()?).to_be_bytes()),
        length => {
            output.push(0xf0);
            output.extend_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        }
    }
    output.extend_from_slice(element);
    Some(())
}

fn write_integer(output: &mut Vec<u8>, integer: i64) {
    let bytes = integer.to_le_bytes();
    let (encoding, payload) = match integer {
        0..=127 => (bytes[0], 0),
        -4096..=4095 => {
            output.push(0xc0 | (bytes[1] & 0x1f));
            output.push(bytes[0]);
            return;
        }
        -0x8000..=0x7fff => (0xf1, 2),
        -0x80_0000..=0x7f_ffff => (0xf2, 3),
        -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
        _ => (0xf4, 8),
    };
    output.push(encoding);
    output.extend_from_slice(&bytes[..payload]);
}

/// The length, seven bits a byte, most significant first; every byte but the first has its top bit set. Redis's own limits of
/// each size, one short of what fits, must be kept: they say how long a written element is.
fn write_back_length(output: &mut Vec<u8>, length: usize) {
    let bytes = match length {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    for index in (0..bytes).rev() {
        let low = (length >> (7 * index)).to_le_bytes()[0] & 0x7f;
        output.push(if index + 1 == bytes { low } else { low | 0x80 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Vec<u8>> {
        let integers = [0, 1, 127, 128, -1, 4095, 4096, -4096, -4097, 32_767, -32_769, 8_388_607, -8_388_609];
        let mut samples: Vec<Vec<u8>> = integers.iter().map(|number: &i64| number.to_string().into_bytes()).collect();
        samples.extend([i64::MAX, i64::MIN, 1 << 31].map(|number| number.to_string().into_bytes()));
        samples.extend([0, 1, 63, 64, 126, 127, 4095, 4096, 16_377, 16_378, 16_379, 70_000].map(|n| vec![b'x'; n]));
        samples.extend(["007", "-0", " 1", "9223372036854775808"].map(|text| text.as_bytes().to_vec()));
        samples
    }

    #[test]
    fn every_kind_of_element_reads_back() {
        let samples = samples();
        let written = write(samples.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(read(&written).unwrap(), samples);
        assert_eq!(read(&write([].into_iter()).unwrap()), Ok(vec![]));
    }

    #[test]
    fn the_bytes_are_those_that_redis_writes() {
        // Seen in the payload of DUMP on redis 7.0.15 for HSET h f 1000.
        assert_eq!(write([&b"f"[..], b"1000"].into_iter()).unwrap(), b"\x0d\0\0\0\x02\0\x81f\x02\xc3\xe8\x02\xff");
    }

    #[test]
    fn a_listpack_cut_short_or_padded_is_refused() {
        let written = write(samples().iter().map(Vec::as_slice).take(20)).unwrap();
        for end in 0..written.len() {
            assert_eq!(read(&written[..end]), Err(Bad), "cut at {end}");
        }
        assert_eq!(read(&[written, vec![0]].concat()), Err(Bad));
        // Too few declared, a wrong length backwards, no encoding of that number.
        assert_eq!(read(b"\x0a\0\0\0\x02\0\x81f\x02\xff"), Err(Bad));
        assert_eq!(read(b"\x0a\0\0\0\x01\0\x81f\x03\xff"), Err(Bad));
        assert_eq!(read(b"\x09\0\0\0\x01\0\xf5\x01\xff"), Err(Bad));
    }
}
