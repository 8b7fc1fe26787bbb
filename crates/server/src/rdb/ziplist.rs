//! Ziplists: what Redis before 7.0 had instead of listpacks. Only read.
//!
//! `bytes: u32 LE`, `offset of the last element: u32 LE`, `elements: u16 LE` (65535: count them), elements, `0xff`. An element is the
//! length of the one before (one byte, or `0xfe` and 4 bytes LE), an encoding byte and its payload.
//!
//! | encoding | element |
//! | --- | --- |
//! | `00xxxxxx` | string of so many bytes |
//! | `01xxxxxx` and a byte | string of so many bytes, big endian |
//! | `0x80` and 4 bytes | string of so many bytes, big endian |
//! | `0xc0`, `0xd0`, `0xe0`, `0xf0`, `0xfe` | integer of 2, 4, 8, 3, 1 bytes, little endian |
//! | `0xf1` to `0xfd` | integer 0 to 12 |

use super::listpack::int24;
use super::reader::{Bad, Reader};
use std::borrow::Cow;

const END: u8 = 0xff;
/// The length of the element before takes four more bytes.
const LONG_BEFORE: u8 = 0xfe;
const COUNT_UNKNOWN: u16 = u16::MAX;

/// All elements, as strings. Checks every byte.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, Bad> {
    let mut reader = Reader::new(bytes);
    let declared_bytes = u32::from_le_bytes(reader.array()?);
    let declared_last = u32::from_le_bytes(reader.array()?);
    let declared_count = u16::from_le_bytes(reader.array()?);
    if usize::try_from(declared_bytes) != Ok(bytes.len()) {
        return Err(Bad);
    }
    let mut elements = Vec::new();
    // Where the last element begins; with no element, where the end mark is.
    let mut last = bytes.len() - reader.rest().len();
    let mut length_before = 0;
    loop {
        let start = bytes.len() - reader.rest().len();
        let first = reader.byte()?;
        if first == END {
            break;
        }
        let before = if first == LONG_BEFORE { u32::from_le_bytes(reader.array()?) } else { u32::from(first) };
        if usize::try_from(before) != Ok(length_before) {
            return Err(Bad);
        }
        elements.push(read_element(&mut reader)?);
        last = start;
        length_before = bytes.len() - reader.rest().len() - start;
    }
    let count_fits = declared_count == COUNT_UNKNOWN || usize::from(declared_count) == elements.len();
    let sound = count_fits && usize::try_from(declared_last) == Ok(last) && reader.rest().is_empty();
    if sound { Ok(elements) } else { Err(Bad) }
}

fn read_element<'b>(reader: &mut Reader<'b>) -> Result<Cow<'b, [u8]>, Bad> {
    let encoding = reader.byte()?;
    let integer = match encoding {
        0..=0x3f => return Ok(Cow::Borrowed(reader.take(usize::from(encoding))?)),
        0x40..=0x7f => {
            let length = u16::from_be_bytes([encoding & 0x3f, reader.byte()?]);
            return Ok(Cow::Borrowed(reader.take(usize::from(length))?));
        }
        0x80 => {
            let length = usize::try_from(u32::from_be_bytes(reader.array()?)).map_err(|_| Bad)?;
            return Ok(Cow::Borrowed(reader.take(length)?));
        }
        0xc0 => i64::from(i16::from_le_bytes(reader.array()?)),
        0xd0 => i64::from(i32::from_le_bytes(reader.array()?)),
        0xe0 => i64::from_le_bytes(reader.array()?),
        0xf0 => i64::from(int24(reader.array()?)),
        0xf1..=0xfd => i64::from(encoding - 0xf1),
        0xfe => i64::from(i8::from_le_bytes(reader.array()?)),
        _ => return Err(Bad),
    };
    Ok(Cow::Owned(integer.to_string().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements of every encoding, each behind the length of the one before it.
    fn sample() -> (Vec<u8>, Vec<Vec<u8>>) {
        let long = [b"\x80\0\0\x01\x2c".to_vec(), vec![b'y'; 300]].concat();
        let encoded: [(&[u8], &[u8]); 10] = [
            (b"\x01f", b"f"),
            (b"\x40\x02ab", b"ab"),
            (b"\xf1", b"0"),
            (b"\xfd", b"12"),
            (b"\xfe\x80", b"-128"),
            (b"\xc0\x18\xfc", b"-1000"),
            (b"\xf0\xff\xff\x7f", b"8388607"),
            (b"\xd0\0\0\0\x80", b"-2147483648"),
            (&long, &[b'y'; 300]),
            (b"\xe0\xff\xff\xff\xff\xff\xff\xff\x7f", b"9223372036854775807"),
        ];
        let (mut body, mut before, mut last) = (Vec::new(), 0_u32, 0);
        for (bytes, _) in encoded {
            last = 10 + u32::try_from(body.len()).unwrap();
            if before < 254 {
                body.push(u8::try_from(before).unwrap());
            } else {
                body.push(LONG_BEFORE);
                body.extend_from_slice(&before.to_le_bytes());
            }
            body.extend_from_slice(bytes);
            before = 10 + u32::try_from(body.len()).unwrap() - last;
        }
        let mut ziplist = (u32::try_from(body.len()).unwrap() + 11).to_le_bytes().to_vec();
        ziplist.extend_from_slice(&last.to_le_bytes());
        ziplist.extend_from_slice(&10_u16.to_le_bytes());
        ziplist.extend_from_slice(&body);
        ziplist.push(END);
        (ziplist, encoded.iter().map(|(_, text)| text.to_vec()).collect())
    }

    #[test]
    fn every_kind_of_element_is_read() {
        let (ziplist, texts) = sample();
        assert_eq!(read(&ziplist).unwrap(), texts);
        assert_eq!(read(b"\x0b\0\0\0\x0a\0\0\0\0\0\xff"), Ok(vec![]));
    }

    #[test]
    fn a_ziplist_cut_short_or_changed_in_its_structure_is_refused() {
        let (ziplist, _) = sample();
        for end in 0..ziplist.len() {
            assert_eq!(read(&ziplist[..end]), Err(Bad), "cut at {end}");
        }
        // Total length, last offset, count, the length before an element, the end mark.
        for at in [0, 4, 8, 10, 13, ziplist.len() - 1] {
            let mut changed = ziplist.clone();
            changed[at] ^= 1;
            assert_eq!(read(&changed), Err(Bad), "changed at {at}");
        }
    }
}
