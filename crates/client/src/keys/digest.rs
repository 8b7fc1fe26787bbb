//! A SHA-256 and its digits.

use super::KeyError;
use sha2::Digest as _;
use sha2::Sha256;
use std::fmt;

/// A SHA-256 (FIPS 180-4), shown as 64 digits of `0-9a-f`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// The length of its digits.
pub(super) const DIGITS: usize = 64;

impl Digest {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// Of parts that may be absent, so that different parts never make the same input: each is one byte that says whether it is
    /// there, its length in eight bytes, and itself; in front stands what kind of input this is.
    pub(super) fn of_parts(kind: &[u8], parts: &[Option<&[u8]>]) -> Digest {
        let length: usize = parts.iter().flatten().map(|part| part.len()).sum();
        let mut input = Vec::with_capacity(kind.len() + length + (1 + parts.len()) * 9);
        for part in std::iter::once(&Some(kind)).chain(parts) {
            input.push(u8::from(part.is_some()));
            if let Some(bytes) = part {
                input.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                input.extend_from_slice(bytes);
            }
        }
        Digest::of(&input)
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From its digits, which are written in one way only: small letters.
    pub(super) fn parse(digits: &[u8]) -> Result<Digest, KeyError> {
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(KeyError::NotADigest),
        };
        let (pairs, rest) = digits.as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(KeyError::NotADigest);
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Ok(Digest(bytes))
    }

    pub(super) fn push_to(&self, text: &mut String) {
        const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
        for byte in self.0 {
            text.push(HEX[usize::from(byte >> 4)]);
            text.push(HEX[usize::from(byte & 15)]);
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = String::with_capacity(DIGITS);
        self.push_to(&mut digits);
        f.write_str(&digits)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_digest_is_sha_256() {
        // The first example of FIPS 180-4's test vectors.
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), digits);
        assert_eq!(Digest::parse(digits.as_bytes()), Ok(Digest::of(b"abc")));
    }

    #[test]
    fn digits_are_written_in_one_way() {
        for wrong in [&b""[..], b"ba78", &[b'A'; 64], &[b'0'; 63], &[b'0'; 65], &[b'g'; 64], &[b'0'; 66]] {
            assert_eq!(Digest::parse(wrong), Err(KeyError::NotADigest));
        }
    }

    proptest! {
        #[test]
        fn different_parts_make_different_digests(
            a in proptest::collection::vec(proptest::option::of("[ab]{0,2}"), 3),
            b in proptest::collection::vec(proptest::option::of("[ab]{0,2}"), 3),
        ) {
            let digest = |parts: &[Option<String>]| {
                let parts: Vec<_> = parts.iter().map(|part| part.as_deref().map(str::as_bytes)).collect();
                Digest::of_parts(b"test", &parts)
            };
            prop_assert_eq!(a == b, digest(&a) == digest(&b));
        }
    }
}
