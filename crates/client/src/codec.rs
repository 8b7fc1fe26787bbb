//! Values to bytes and back: bytes, text, vectors, JSON, and the mark of a value that is known not to exist.
//!
//! A value has no type on the shard: what is read is what was written, byte for byte, and the caller says what it is. Whoever reads
//! bytes as something that they are not gets a [`DecodeError`] that says what was expected and what was there.
//!
//! [`encode`] and [`decode`] are the two doors. They alone know [`NEGATIVE`]: a user's value can never be mistaken for it, since
//! writing the same bytes is refused, and it can never be mistaken for a user's value, since reading it is `None`.
//!
//! ```
//! use bytes::Bytes;
//! use sutra_cache_client::codec::{Json, decode, encode};
//!
//! let stored = encode(&[0.5_f32, -1.0][..])?.into_owned();
//! assert_eq!(stored, [0, 0, 0, 63, 0, 0, 128, 191]);
//! assert_eq!(decode::<Vec<f32>>(Bytes::from(stored))?, Some(vec![0.5, -1.0]));
//!
//! let stored = encode(&Json(vec!["a", "b"]))?.into_owned();
//! assert_eq!(stored, br#"["a","b"]"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::fmt;

/// What stands in the place of a value that was looked for at its source and is not there ("negative caching").
///
/// Its length is no multiple of four, so that no vector of `f32` has these bytes, and a zero byte at the front keeps it apart from
/// text and JSON; [`encode`] refuses whatever is equal to it anyway.
pub const NEGATIVE: &[u8] = b"\0sutra-cache:negative:1";

const _: () = assert!(!NEGATIVE.len().is_multiple_of(F32_BYTES));
const F32_BYTES: usize = size_of::<f32>();

/// Whether these bytes are the mark of a value that is known not to exist.
#[must_use]
pub fn is_negative(value: &[u8]) -> bool {
    value == NEGATIVE
}

/// The bytes of a value, borrowed where they lie if they need no conversion.
///
/// # Errors
/// If the value cannot be written (JSON whose map has keys that are no text), is not what its type promises ([`Finite`]), or is
/// equal to [`NEGATIVE`].
pub fn encode<V: ToValue + ?Sized>(value: &V) -> Result<Cow<'_, [u8]>, EncodeError> {
    let bytes = value.to_value()?;
    if is_negative(&bytes) { Err(EncodeError::Reserved) } else { Ok(bytes) }
}

/// The value of these bytes; `None` if they are [`NEGATIVE`].
///
/// # Errors
/// If the bytes are no value of this type.
pub fn decode<V: FromValue>(value: Bytes) -> Result<Option<V>, DecodeError> {
    if is_negative(&value) { Ok(None) } else { V::from_value(value).map(Some) }
}

/// What can be stored. Store it through [`encode`], which keeps [`NEGATIVE`] apart.
pub trait ToValue {
    /// The bytes to be stored.
    ///
    /// # Errors
    /// If the value cannot be written as its type says.
    fn to_value(&self) -> Result<Cow<'_, [u8]>, EncodeError>;
}

/// What can be read. Read it through [`decode`], which keeps [`NEGATIVE`] apart.
pub trait FromValue: Sized {
    /// The value of what is stored. `Bytes` come back as they are, without a copy.
    ///
    /// # Errors
    /// If the bytes are no value of this type.
    fn from_value(value: Bytes) -> Result<Self, DecodeError>;
}

/// A value of any type that serde knows, as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Json<T>(pub T);

/// A vector without NaN and infinity, which is checked when it is written and when it is read. A plain `Vec<f32>` may hold any bits.
#[derive(Debug, Clone, PartialEq, PartialOrd, Default)]
pub struct Finite(pub Vec<f32>);

/// Why a value is not written.
#[derive(Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// It is equal to [`NEGATIVE`], and would be read as "there is no such value".
    Reserved,
    /// This component of a [`Finite`] vector is NaN or infinite.
    NotFinite {
        /// Which, counted from 0.
        index: usize,
    },
    /// serde could not write it.
    Json(serde_json::Error),
}

/// Bytes that are no value of the type they were read as.
#[derive(Debug)]
pub struct DecodeError {
    /// The type.
    pub expected: &'static str,
    /// How many bytes there were.
    pub got_bytes: usize,
    /// What is wrong with them.
    pub why: DecodeFault,
}

/// What is wrong with bytes that are no value of the expected type.
#[derive(Debug)]
#[non_exhaustive]
pub enum DecodeFault {
    /// Vectors have four bytes for each component.
    NotWholeComponents,
    /// This component of a [`Finite`] vector is NaN or infinite.
    NotFinite {
        /// Which, counted from 0.
        index: usize,
    },
    /// Text is UTF-8, and was so up to this byte.
    NotUtf8 {
        /// How many bytes at the front are text.
        valid_bytes: usize,
    },
    /// An array has a length of its own.
    OtherLength {
        /// How many bytes it should have.
        expected_bytes: usize,
    },
    /// serde could not read it.
    Json(serde_json::Error),
    /// It is [`NEGATIVE`], where there has to be a value.
    Absent,
}

impl ToValue for [u8] {
    fn to_value(&self) -> Result<Cow<'_, [u8]>, EncodeError> {
        Ok(Cow::Borrowed(self))
    }
}

impl<const N: usize> ToValue for [u8; N] {
    fn to_value(&self) -> Result<Cow<'_, [u8]>, EncodeError> {
        self.as_slice().to_value()
    }
}

impl ToValue for Vec<u8> {
    fn to_value(&self) -> Result<Cow<'_, [u8]>, EncodeError> {
        self.as_slice().to_value()
    }
}

impl ToValue for Bytes {
    fn to_value(&self) -> Result<Cow<'_, [u8]>, EncodeError> {
        (**self).to_value()
    }
}

impl ToValue for str {
    fn to_value(&self) -> Result<Cow<'_, [u8]>, EncodeError> {
        self.as_bytes().to_value()
    }
}

impl ToValue for String {
    fn to_value(&self) -> Result<Cow<'_, [u8]>, EncodeError> {
        self.as_bytes().to_value()
    }
}

impl ToValue for [f32] {
    fn to_value(&self) -> Result<Cow<'_, [u8]>, EncodeError> {
        let mut bytes = Vec::with_capacity(size_of_val(self));
        bytes.extend(self.iter().flat_map(|component| component.to_le_bytes()));
        Ok(Cow::Owned(bytes))
    }
}

impl<const N: usize> ToValue for [f32; N] {
    fn to_value(&self) -> Result<Cow<'_, [u8]>, EncodeError> {
        self.as_slice().to_value()
    }
}

impl ToValue for Vec<f32> {
    fn to_value(&self) -> Result<Cow<'_, [u8]>, EncodeError> {
        self.as_slice().to_value()
    }
}

impl ToValue for Finite {
    fn to_value(&self) -> Result<Cow<'_, [u8]>, EncodeError> {
        match not_finite(&self.0) {
            Some(index) => Err(EncodeError::NotFinite { index }),
            None => self.0.to_value(),
        }
    }
}

impl<T: Serialize> ToValue for Json<T> {
    fn to_value(&self) -> Result<Cow<'_, [u8]>, EncodeError> {
        serde_json::to_vec(&self.0).map(Cow::Owned).map_err(EncodeError::Json)
    }
}

impl<V: ToValue + ?Sized> ToValue for &V {
    fn to_value(&self) -> Result<Cow<'_, [u8]>, EncodeError> {
        (**self).to_value()
    }
}

impl FromValue for Bytes {
    fn from_value(value: Bytes) -> Result<Bytes, DecodeError> {
        Ok(value)
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Bytes) -> Result<Vec<u8>, DecodeError> {
        Ok(value.into())
    }
}

impl<const N: usize> FromValue for [u8; N] {
    fn from_value(value: Bytes) -> Result<[u8; N], DecodeError> {
        value.as_ref().try_into().map_err(|_| DecodeError {
            expected: "an array of bytes",
            got_bytes: value.len(),
            why: DecodeFault::OtherLength { expected_bytes: N },
        })
    }
}

impl FromValue for String {
    fn from_value(value: Bytes) -> Result<String, DecodeError> {
        let got_bytes = value.len();
        String::from_utf8(value.into()).map_err(|error| DecodeError {
            expected: "text",
            got_bytes,
            why: DecodeFault::NotUtf8 { valid_bytes: error.utf8_error().valid_up_to() },
        })
    }
}

impl FromValue for Vec<f32> {
    fn from_value(value: Bytes) -> Result<Vec<f32>, DecodeError> {
        components(&value, "a vector of f32")
    }
}

impl FromValue for Finite {
    fn from_value(value: Bytes) -> Result<Finite, DecodeError> {
        let expected = "a vector of finite f32";
        let vector = components(&value, expected)?;
        match not_finite(&vector) {
            Some(index) => Err(DecodeError { expected, got_bytes: value.len(), why: DecodeFault::NotFinite { index } }),
            None => Ok(Finite(vector)),
        }
    }
}

impl<T: DeserializeOwned> FromValue for Json<T> {
    fn from_value(value: Bytes) -> Result<Json<T>, DecodeError> {
        serde_json::from_slice(&value).map(Json).map_err(|error| DecodeError {
            expected: std::any::type_name::<T>(),
            got_bytes: value.len(),
            why: DecodeFault::Json(error),
        })
    }
}

fn components(bytes: &[u8], expected: &'static str) -> Result<Vec<f32>, DecodeError> {
    let (components, rest) = bytes.as_chunks::<F32_BYTES>();
    if !rest.is_empty() {
        return Err(DecodeError { expected, got_bytes: bytes.len(), why: DecodeFault::NotWholeComponents });
    }
    Ok(components.iter().map(|component| f32::from_le_bytes(*component)).collect())
}

fn not_finite(vector: &[f32]) -> Option<usize> {
    vector.iter().position(|component| !component.is_finite())
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::Reserved => f.write_str("the value is equal to the mark of a value that does not exist"),
            EncodeError::NotFinite { index } => write!(f, "component {index} of the vector is not finite"),
            EncodeError::Json(_) => f.write_str("the value cannot be written as JSON"),
        }
    }
}

impl std::error::Error for EncodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            EncodeError::Json(error) => Some(error),
            EncodeError::Reserved | EncodeError::NotFinite { .. } => None,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, got {} bytes: ", self.expected, self.got_bytes)?;
        match &self.why {
            DecodeFault::NotWholeComponents => f.write_str("the length is no multiple of 4"),
            DecodeFault::NotFinite { index } => write!(f, "component {index} is not finite"),
            DecodeFault::NotUtf8 { valid_bytes } => write!(f, "not UTF-8 after byte {valid_bytes}"),
            DecodeFault::OtherLength { expected_bytes } => write!(f, "the length is {expected_bytes}"),
            DecodeFault::Json(_) => f.write_str("it cannot be read from JSON"),
            DecodeFault::Absent => f.write_str("it says that there is no such value"),
        }
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            DecodeFault::Json(error) => Some(error),
            DecodeFault::NotWholeComponents
            | DecodeFault::NotFinite { .. }
            | DecodeFault::NotUtf8 { .. }
            | DecodeFault::OtherLength { .. }
            | DecodeFault::Absent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn stored<V: ToValue + ?Sized>(value: &V) -> Bytes {
        Bytes::from(encode(value).expect("it can be written").into_owned())
    }

    fn read<V: FromValue>(bytes: Bytes) -> V {
        decode(bytes).expect("it can be read").expect("it is not negative")
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            bytes: Vec<u8>, text: String, bits: Vec<u32>, map: BTreeMap<String, Option<i64>>,
        ) {
            prop_assert_eq!(&read::<Vec<u8>>(stored(&bytes)), &bytes);
            prop_assert_eq!(&read::<String>(stored(text.as_str())), &text);
            let vector: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
            let back: Vec<u32> = read::<Vec<f32>>(stored(&vector)).iter().map(|component| component.to_bits()).collect();
            prop_assert_eq!(back, bits);
            prop_assert_eq!(read::<Json<BTreeMap<String, Option<i64>>>>(stored(&Json(&map))).0, map);
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let whole = bytes.len() % 4 == 0;
            prop_assert_eq!(decode::<Vec<f32>>(bytes.clone()).is_ok(), whole);
            prop_assert_eq!(decode::<String>(bytes.clone()).is_ok(), std::str::from_utf8(&bytes).is_ok());
            prop_assert!(decode::<Finite>(bytes.clone()).is_ok() <= whole);
            let _ = decode::<Json<Vec<u8>>>(bytes);
        }
    }

    #[test]
    fn bytes_are_neither_copied_when_written_nor_when_read() {
        let value = Bytes::from(vec![7; 3 << 10]);
        assert!(matches!(encode(&value), Ok(Cow::Borrowed(bytes)) if bytes.as_ptr() == value.as_ptr()));
        assert_eq!(read::<Bytes>(value.clone()).as_ptr(), value.as_ptr());
    }

    #[test]
    fn the_negative_mark_is_no_value_and_no_value_is_the_mark() {
        assert!(matches!(encode(NEGATIVE), Err(EncodeError::Reserved)));
        assert!(matches!(encode(std::str::from_utf8(NEGATIVE).unwrap()), Err(EncodeError::Reserved)));
        assert_eq!(decode::<Bytes>(Bytes::from_static(NEGATIVE)).unwrap(), None);
        assert_eq!(decode::<Vec<f32>>(Bytes::from_static(NEGATIVE)).unwrap(), None);
        assert_eq!(decode::<Bytes>(Bytes::new()).unwrap(), Some(Bytes::new()));
    }

    #[test]
    fn a_finite_vector_is_finite_on_both_sides() {
        let broken = vec![1.0, f32::NAN];
        assert!(matches!(encode(&Finite(broken.clone())), Err(EncodeError::NotFinite { index: 1 })));
        let error = decode::<Finite>(stored(&broken)).unwrap_err();
        assert_eq!(error.to_string(), "expected a vector of finite f32, got 8 bytes: component 1 is not finite");
        assert_eq!(read::<Finite>(stored(&Finite(vec![0.25]))), Finite(vec![0.25]));
    }

    #[test]
    fn an_error_says_what_was_expected_and_what_was_there() {
        let error = decode::<Vec<f32>>(Bytes::from_static(b"12345")).unwrap_err();
        assert_eq!(error.to_string(), "expected a vector of f32, got 5 bytes: the length is no multiple of 4");
        let error = decode::<String>(Bytes::from_static(b"ab\xff")).unwrap_err();
        assert_eq!(error.to_string(), "expected text, got 3 bytes: not UTF-8 after byte 2");
        let error = decode::<[u8; 4]>(Bytes::from_static(b"123")).unwrap_err();
        assert_eq!(error.to_string(), "expected an array of bytes, got 3 bytes: the length is 4");
        let error = decode::<Json<u8>>(Bytes::from_static(b"300")).unwrap_err();
        assert_eq!(error.to_string(), "expected u8, got 3 bytes: it cannot be read from JSON");
        assert!(std::error::Error::source(&error).is_some());
    }
}
