//! Reading LZF (Marc Lehmann), with which Redis compresses strings of more than 20 bytes in dumps. We never write it.
//!
//! A control byte below 32 announces so many literals, plus one. Any other is a repetition: its upper three bits are the length
//! less two (seven: a byte more of length follows), its lower five with the next byte how far back it begins, less one.

use super::{Bad, Reader};

/// Restores exactly `length` bytes.
pub(super) fn decompress(compressed: &[u8], length: usize) -> Result<Vec<u8>, Bad> {
    let mut reader = Reader::new(compressed);
    // What is declared is only believed as far as the input could make it true: a repetition of 264 bytes takes three.
    let mut output: Vec<u8> = Vec::with_capacity(length.min(compressed.len().saturating_mul(88)));
    while let Some(control) = reader.next() {
        let control = usize::from(control);
        if control < 32 {
            output.extend_from_slice(reader.take(control + 1)?);
        } else {
            let mut run = control >> 5;
            if run == 7 {
                run += usize::from(reader.byte()?);
            }
            let back = ((control & 31) << 8 | usize::from(reader.byte()?)) + 1;
            let start = output.len().checked_sub(back).ok_or(Bad)?;
            // Byte by byte in effect: the run may overlap what it writes.
            for at in start..start + run + 2 {
                output.push(output[at]);
            }
        }
        if output.len() > length {
            return Err(Bad);
        }
    }
    if output.len() == length { Ok(output) } else { Err(Bad) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_repetitions_are_restored() {
        for (compressed, plain) in [
            (&[][..], &b""[..]),
            (&[2, b'a', b'b', b'c'], b"abc"),
            // "ab" and then 6 bytes from 2 back, overlapping
            (&[1, b'a', b'b', 0x80, 1], b"abababab"),
            // A long run: 7 + 3 + 2 bytes from 1 back
            (&[0, b'x', 0xe0, 3, 0], b"xxxxxxxxxxxxx"),
        ] {
            assert_eq!(decompress(compressed, plain.len()).as_deref(), Ok(plain));
        }
    }

    #[test]
    fn damage_is_refused() {
        for (compressed, length) in [
            (&[2, b'a'][..], 3),
            (&[0, b'a'], 2),
            (&[0, b'a'], 0),
            (&[0x20, 0], 3),
            (&[0, b'a', 0x20, 1], 4),
            (&[0, b'a', 0xe0], 10),
            (&[0, b'a', 0x20, 0], usize::MAX),
        ] {
            assert!(decompress(compressed, length).is_err(), "{compressed:?} {length}");
        }
    }
}
