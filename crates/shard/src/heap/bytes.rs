//! A byte string that is changed in place: SETRANGE, APPEND and SETBIT on a large value write only what changes.

use super::codec::reserve_quarter;
use std::fmt;

/// A string has at most this many bytes: 512 MiB, as in Redis.
pub const BYTES_MAX: usize = 512 << 20;

/// A growable byte string. Its buffer is at most a quarter larger than it needs to be (beyond the first growth, which
/// fits exactly).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BytesValue {
    bytes: Vec<u8>,
}

/// The string would have more than [`BYTES_MAX`] bytes. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string has at most {BYTES_MAX} bytes")
    }
}

impl std::error::Error for TooLong {}

impl BytesValue {
    /// An empty string.
    pub fn new() -> BytesValue {
        BytesValue::default()
    }

    /// The whole string.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True if there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Overwrites the bytes from `offset` on, growing the string as needed; a hole between its old end and `offset`
    /// is filled with zeros. Writing nothing changes nothing, as SETRANGE has it.
    pub fn write_range(&mut self, offset: usize, data: &[u8]) -> Result<(), TooLong> {
        if data.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(data.len()).filter(|end| *end <= BYTES_MAX).ok_or(TooLong)?;
        let additional = end.saturating_sub(self.bytes.len());
        reserve_quarter(&mut self.bytes, additional);
        if self.bytes.len() < offset {
            self.bytes.resize(offset, 0);
        }
        let (over, beyond) = data.split_at(data.len().min(self.bytes.len() - offset));
        self.bytes[offset..offset + over.len()].copy_from_slice(over);
        self.bytes.extend_from_slice(beyond);
        Ok(())
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, data: &[u8]) -> Result<(), TooLong> {
        self.write_range(self.bytes.len(), data)
    }

    /// Bytes on the heap: the buffer with its spare room.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

impl From<&[u8]> for BytesValue {
    /// A copy without spare room.
    fn from(bytes: &[u8]) -> BytesValue {
        BytesValue { bytes: bytes.to_vec() }
    }
}

impl From<Vec<u8>> for BytesValue {
    fn from(bytes: Vec<u8>) -> BytesValue {
        BytesValue { bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_write_beyond_the_limit_changes_nothing() {
        let mut value = BytesValue::from(&b"abc"[..]);
        assert_eq!(value.write_range(BYTES_MAX, b"x"), Err(TooLong));
        assert_eq!(value.write_range(usize::MAX, b"x"), Err(TooLong));
        assert_eq!(value.as_slice(), b"abc");
    }

    #[test]
    fn an_empty_write_far_beyond_the_end_changes_nothing() {
        let mut value = BytesValue::from(&b"abc"[..]);
        assert_eq!(value.write_range(usize::MAX, b""), Ok(()));
        assert_eq!(value.as_slice(), b"abc");
    }

    #[test]
    fn a_string_grown_byte_by_byte_wastes_at_most_a_quarter() {
        let mut value = BytesValue::new();
        let mut buffers = 0;
        let mut capacity = 0;
        for n in 0..100_000 {
            value.append(&[n as u8]).unwrap();
            buffers += usize::from(value.memory_bytes() != capacity);
            capacity = value.memory_bytes();
            assert!(capacity <= value.len() + value.len() / 4 + 8, "{capacity} bytes for {}", value.len());
        }
        assert!(buffers < 60, "{buffers} buffers");
    }

    proptest! {
        #[test]
        fn writes_leave_what_a_byte_by_byte_model_has(
            writes in prop::collection::vec((any::<bool>(), 0usize..300, prop::collection::vec(any::<u8>(), 0..40)), 0..40),
        ) {
            let mut value = BytesValue::new();
            let mut model: Vec<u8> = Vec::new();
            for (append, offset, data) in writes {
                let offset = if append { model.len() } else { offset };
                if append { value.append(&data).unwrap() } else { value.write_range(offset, &data).unwrap() }
                for (n, byte) in data.iter().enumerate() {
                    while model.len() <= offset + n {
                        model.push(0);
                    }
                    model[offset + n] = *byte;
                }
                prop_assert_eq!(value.as_slice(), &model[..]);
                prop_assert_eq!((value.len(), value.is_empty()), (model.len(), model.is_empty()));
                prop_assert!(value.memory_bytes() >= model.len());
            }
        }
    }
}
