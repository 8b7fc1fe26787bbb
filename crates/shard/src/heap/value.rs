//! A value on the heap, of whichever type, and its binary form.
//!
//! The binary form (a record of a checkpoint; length and checksum are the file's affair):
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | version, now 1 |
//! | 1 | type and form: 1 byte string, 2 hash "listpack", 3 hash "listpackex", 4 hash "hashtable" |
//! | byte string: all | the bytes |
//! | hash 4: 8 | seed of the field hashes, little endian: HSCAN cursors outlive a restart |
//! | hash: number | fields |
//! | hash: all | pairs, see the `codec` module; no name occurs twice |
//!
//! A change of the form takes a new version; the old ones stay readable.

use super::bytes::{BYTES_MAX, BytesValue};
use super::codec::DecodeError;
use super::hash::HashValue;

const VERSION: u8 = 1;
const TYPE_BYTES: u8 = 1;
/// The forms of hashes follow each other; [`HashValue`] knows them.
pub(super) const TYPE_HASH_LISTPACK: u8 = 2;
pub(super) const TYPE_HASH_LISTPACKEX: u8 = 3;
pub(super) const TYPE_HASH_TABLE: u8 = 4;
/// Version and type.
pub(super) const HEADER_BYTES: usize = 2;

/// A value on the heap.
#[derive(Clone, Debug)]
pub enum HeapValue {
    /// A hash.
    Hash(HashValue),
    /// A string that is changed in place.
    Bytes(BytesValue),
}

impl HeapValue {
    /// Redis's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            HeapValue::Hash(_) => "hash",
            HeapValue::Bytes(_) => "string",
        }
    }

    /// Redis's name of the encoding.
    pub fn encoding_name(&self) -> &'static str {
        match self {
            HeapValue::Hash(hash) => hash.encoding_name(),
            HeapValue::Bytes(_) => "raw",
        }
    }

    /// Bytes on the heap. Takes no time that grows with the value.
    pub fn memory_bytes(&self) -> usize {
        match self {
            HeapValue::Hash(hash) => hash.memory_bytes(),
            HeapValue::Bytes(bytes) => bytes.memory_bytes(),
        }
    }

    /// Appends the binary form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match self {
            HeapValue::Hash(hash) => hash.encode(out),
            HeapValue::Bytes(bytes) => {
                out.push(TYPE_BYTES);
                out.extend_from_slice(bytes.as_slice());
            }
        }
    }

    /// The value of a binary form, which must end where `bytes` end. Never panics, and allocates in proportion to the
    /// bytes there are, not to the counts they claim.
    pub fn decode(bytes: &[u8]) -> Result<HeapValue, DecodeError> {
        let &[version, kind, ref body @ ..] = bytes else {
            return Err(DecodeError::Malformed { what: "shorter than the header", offset: bytes.len() });
        };
        if version != VERSION {
            return Err(DecodeError::Version { found: version });
        }
        match kind {
            TYPE_BYTES if body.len() > BYTES_MAX => {
                Err(DecodeError::Malformed { what: "the string is too long", offset: BYTES_MAX + HEADER_BYTES })
            }
            TYPE_BYTES => Ok(HeapValue::Bytes(BytesValue::from(body))),
            TYPE_HASH_LISTPACK | TYPE_HASH_LISTPACKEX | TYPE_HASH_TABLE => {
                HashValue::decode(kind, bytes).map(HeapValue::Hash)
            }
            _ => Err(DecodeError::Malformed { what: "unknown type", offset: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::HashOptions;
    use proptest::prelude::*;

    fn encoded(value: &HeapValue) -> Vec<u8> {
        let mut out = Vec::new();
        value.encode(&mut out);
        out
    }

    fn hash(fields: usize, options: &HashOptions) -> HeapValue {
        let mut hash = HashValue::default();
        for n in 0..fields {
            let name = format!("field{n}");
            hash.set(name.as_bytes(), n.to_string().as_bytes(), false, 0, options);
            if n % 3 == 1 {
                hash.expire(name.as_bytes(), 1000 + n as u64, 0);
            }
        }
        HeapValue::Hash(hash)
    }

    #[test]
    fn version_one_stays_as_it_was_written() {
        let golden_string: &[u8] = b"\x01\x01hello\0";
        let golden_listpack: &[u8] = b"\x01\x02\x02\x02a\x011\x04bc\x00";
        let golden_listpackex: &[u8] = b"\x01\x03\x01\x03\xe8\x03\0\0\0\0\0\0a\x011";
        let golden_table: &[u8] = b"\x01\x04\x2a\0\0\0\0\0\0\0\x01\x02a\x0c0123456789ab";
        let mut listpack = HashValue::default();
        let options = HashOptions { item_bytes_max: 10, seed: 42, ..HashOptions::default() };
        listpack.set(b"a", b"1", false, 0, &options);
        let mut listpackex = listpack.clone();
        listpackex.expire(b"a", 1000, 0);
        let mut table = listpack.clone();
        table.set(b"a", b"0123456789ab", false, 0, &options);
        listpack.set(b"bc", b"", false, 0, &options);
        for (value, golden) in [
            (HeapValue::Bytes(BytesValue::from(&b"hello\0"[..])), golden_string),
            (HeapValue::Hash(listpack), golden_listpack),
            (HeapValue::Hash(listpackex), golden_listpackex),
            (HeapValue::Hash(table), golden_table),
        ] {
            assert_eq!(encoded(&value), golden, "{}", value.encoding_name());
            let decoded = HeapValue::decode(golden).unwrap();
            assert_eq!(encoded(&decoded), golden, "{}", value.encoding_name());
            assert_eq!(decoded.encoding_name(), value.encoding_name());
            assert_eq!(decoded.type_name(), value.type_name());
        }
    }

    #[test]
    fn bytes_that_are_no_value_are_refused() {
        let malformed = |bytes: &[u8]| match HeapValue::decode(bytes) {
            Err(DecodeError::Malformed { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(malformed(b""), "shorter than the header");
        assert_eq!(malformed(b"\x01"), "shorter than the header");
        assert_eq!(HeapValue::decode(b"\x02\x01").unwrap_err(), DecodeError::Version { found: 2 });
        assert_eq!(malformed(b"\x01\x09"), "unknown type");
        assert_eq!(malformed(b"\x01\x02"), "no count of fields");
        assert_eq!(malformed(b"\x01\x04\0\0\0"), "no seed");
        assert_eq!(malformed(b"\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "more fields than bytes");
        assert_eq!(malformed(b"\x01\x02\x02\x02a\x011\x02a\x012"), "a name occurs twice");
        assert_eq!(malformed(b"\x01\x02\x01\x02a\x011\x02b\x012"), "bytes after the last field");
        assert_eq!(malformed(b"\x01\x02\x03\x02a\x011"), "more fields than bytes");
        assert_eq!(malformed(b"\x01\x02\x02\x02abcd\x011"), "not a field");
        assert_eq!(malformed(b"\x01\x02\x01\x03\x01\0\0\0\0\0\0\0a\x00"), "an expiry in a listpack");
        assert_eq!(malformed(b"\x01\x03\x01\x03\0\0\0\0\0\0\0\0a\x00"), "not a field");
    }

    proptest! {
        #[test]
        fn a_damaged_form_is_refused_or_is_a_sound_value(
            fields in 0usize..40,
            table: bool,
            damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let fields_max = if table { 2 } else { 512 };
            let bytes = encoded(&hash(fields, &HashOptions { fields_max, ..HashOptions::default() }));
            prop_assert!(HeapValue::decode(&bytes[..cut.index(bytes.len())]).is_err(), "a cut form was accepted");
            let mut damaged = bytes;
            for (at, byte) in damages {
                let at = at.index(damaged.len());
                damaged[at] = byte;
            }
            if let Ok(value) = HeapValue::decode(&damaged) {
                if let HeapValue::Hash(hash) = &value {
                    prop_assert_eq!(hash.fields(0).count(), hash.len(0));
                    for field in hash.fields(0) {
                        prop_assert_eq!(hash.get(field.name, 0), Some(field.value));
                    }
                }
                let again = HeapValue::decode(&encoded(&value)).unwrap();
                prop_assert_eq!(encoded(&again), encoded(&value));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..60), kind in 0u8..6) {
            let bytes = [&[VERSION, kind][..], &body].concat();
            if let Ok(HeapValue::Hash(hash)) = HeapValue::decode(&bytes) {
                prop_assert_eq!(hash.fields(0).count(), hash.len(0));
            }
        }
    }
}
