//! `FP32 blob` | `VALUES n f1 … fn` | `TEXT string`: a vector as commands write it.

use super::words::{Words, shown};
use crate::command::CommandError;
use std::borrow::Cow;
use sutra_protocol::number::parse_i64;

/// A vector, or the text that one is to be made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Vector<'t> {
    /// Little-endian values of four bytes: finite, not all zero, at most `vector-dimension-max`.
    Values(Cow<'t, [u8]>),
    /// A text for the embedder.
    Text(&'t str),
}

impl<'t> Vector<'t> {
    /// Takes a vector if one is next.
    pub(super) fn take(words: &mut Words<'t>) -> Result<Option<Vector<'t>>, CommandError> {
        let vector = if words.word("FP32") {
            Vector::Values(Cow::Borrowed(words.need("the vector behind FP32")?))
        } else if words.word("VALUES") {
            Vector::Values(Cow::Owned(values(words)?))
        } else if words.word("TEXT") {
            return words.text("TEXT").map(|text| Some(Vector::Text(text)));
        } else {
            return Ok(None);
        };
        if let Vector::Values(blob) = &vector {
            check(words, blob)?;
        }
        Ok(Some(vector))
    }

    /// Takes a vector.
    pub(super) fn need(words: &mut Words<'t>) -> Result<Vector<'t>, CommandError> {
        Vector::take(words)?.ok_or_else(|| {
            let got = words.peek().map_or_else(|| "nothing".to_owned(), shown);
            words.mistake(format_args!(
                "a vector is FP32 <blob of little-endian floats>, VALUES <count> <numbers> or TEXT <text>, got {got}"
            ))
        })
    }
}

/// `VALUES` has been taken.
fn values(words: &mut Words<'_>) -> Result<Vec<u8>, CommandError> {
    let word = words.need("the count behind VALUES")?;
    let count = parse_i64(word).and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
    let count = count.ok_or_else(|| {
        words.mistake(format_args!("VALUES takes a count and so many numbers, got {} for the count", shown(word)))
    })?;
    let Some(numbers) = words.rest().get(..count) else {
        let left = words.rest().len();
        return Err(words.mistake(format_args!(
            "VALUES takes a count and so many numbers, got a count of {count} and {left} arguments behind it"
        )));
    };
    let mut blob = Vec::with_capacity(count * 4);
    for number in numbers {
        let value = std::str::from_utf8(number).ok().and_then(|text| text.parse::<f32>().ok());
        let value = value.ok_or_else(|| {
            words.mistake(format_args!("value {} of the vector is no number: {}", blob.len() / 4 + 1, shown(number)))
        })?;
        blob.extend_from_slice(&value.to_le_bytes());
    }
    words.skip(count);
    Ok(blob)
}

/// Refuses what is no vector of any space.
pub(super) fn check(words: &Words<'_>, blob: &[u8]) -> Result<(), CommandError> {
    if blob.is_empty() || !blob.len().is_multiple_of(4) {
        let bytes = blob.len();
        return Err(words.mistake(format_args!("a vector has four bytes for each dimension, got {bytes} bytes")));
    }
    let (dimension, most) = (blob.len() / 4, words.limits.dimension_max);
    if dimension > most {
        return Err(words.mistake(format_args!(
            "the vector has {dimension} dimensions, at most {most} are accepted (vector-dimension-max)"
        )));
    }
    let mut is_zero = true;
    for (index, bytes) in blob.chunks_exact(4).enumerate() {
        let value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if !value.is_finite() {
            return Err(words.mistake(format_args!("value {} of the vector is not a finite number", index + 1)));
        }
        is_zero &= value == 0.0;
    }
    if is_zero {
        return Err(words.mistake("the vector has length zero, so it has no direction"));
    }
    Ok(())
}

/// The vector as commands carry it.
pub(super) fn blob_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(items: &[&[u8]]) -> Result<Option<Vec<u8>>, String> {
        let vector = Vector::take(&mut Words::of("CACHE.TEST", items));
        match vector.map_err(|error| error.to_string())? {
            None => Ok(None),
            Some(Vector::Values(blob)) => Ok(Some(blob.into_owned())),
            Some(Vector::Text(text)) => Ok(Some(text.as_bytes().to_vec())),
        }
    }

    #[test]
    fn a_vector_is_the_same_as_bytes_and_as_numbers() {
        let blob = blob_of(&[1.0, -0.5, 3e-7]);
        assert_eq!(take(&[b"fp32", &blob]), Ok(Some(blob.clone())));
        assert_eq!(take(&[b"VALUES", b"3", b"1", b"-0.5", b"3e-7"]), Ok(Some(blob)));
        assert_eq!(take(&[b"TEXT", b"how?"]), Ok(Some(b"how?".to_vec())));
        assert_eq!(take(&[b"MIN", b"1"]), Ok(None));
    }

    #[test]
    fn what_is_no_vector_is_refused_with_the_reason() {
        let (nan, zero) = (blob_of(&[1.0, f32::NAN]), blob_of(&[0.0, -0.0]));
        let long = vec![1; 4 * 16_385];
        for (items, why) in [
            (&[&b"FP32"[..]][..], "the vector behind FP32 is missing"),
            (&[b"FP32", b""], "a vector has four bytes for each dimension, got 0 bytes"),
            (&[b"FP32", b"12345"], "a vector has four bytes for each dimension, got 5 bytes"),
            (&[b"FP32", &nan], "value 2 of the vector is not a finite number"),
            (&[b"FP32", &zero], "the vector has length zero, so it has no direction"),
            (&[b"FP32", &long], "the vector has 16385 dimensions, at most 16384 are accepted (vector-dimension-max)"),
            (&[b"VALUES", b"0"], "VALUES takes a count and so many numbers, got '0' for the count"),
            (
                &[b"VALUES", b"3", b"1", b"2"],
                "VALUES takes a count and so many numbers, got a count of 3 and 2 arguments behind it",
            ),
            (
                &[b"VALUES", b"99999999999999"],
                "VALUES takes a count and so many numbers, got a count of 99999999999999 and 0 arguments behind it",
            ),
            (&[b"VALUES", b"2", b"1", b"x"], "value 2 of the vector is no number: 'x'"),
            (&[b"VALUES", b"2", b"1", b"-inf"], "value 2 of the vector is not a finite number"),
            (&[b"TEXT", b"\xff"], "TEXT takes text in UTF-8"),
        ] {
            assert_eq!(take(items), Err(format!("ERR CACHE.TEST: {why}")));
        }
    }

    #[test]
    fn a_missing_vector_says_what_a_vector_is() {
        let error = Vector::need(&mut Words::of("CACHE.TEST", &[b"MIN"])).expect_err("no vector").to_string();
        assert!(error.contains("FP32") && error.ends_with("got 'MIN'"), "{error}");
    }
}
