//! What a shard answers, and how it is taken for what was expected.

use crate::{Error, ServerError};
use bytes::Bytes;
use sutra_protocol::Frame;

/// An answer of a shard. Its bulk strings share the memory of the buffer that they were read into.
pub type Reply = Frame<Bytes>;

/// Longest part of an unexpected reply that an error repeats.
const SHOWN_BYTES_MAX: usize = 120;

/// The reply, or the shard's error as an error.
pub(crate) fn checked(reply: Reply) -> Result<Reply, Error> {
    if let Frame::Error(text) = reply { Err(Error::Server(ServerError::new(&text))) } else { Ok(reply) }
}

/// `OK`, or any other status.
pub(crate) fn done(reply: Reply) -> Result<(), Error> {
    if let Frame::Simple(_) = reply { Ok(()) } else { Err(unexpected("OK", &reply)) }
}

/// `OK` is true, nil is false: what was asked under a condition.
pub(crate) fn done_or_nil(reply: Reply) -> Result<bool, Error> {
    if let Frame::Null = reply { Ok(false) } else { done(reply).map(|()| true) }
}

/// A number.
pub(crate) fn integer(reply: Reply) -> Result<i64, Error> {
    if let Frame::Integer(number) = reply { Ok(number) } else { Err(unexpected("an integer", &reply)) }
}

/// A count.
pub(crate) fn count(reply: Reply) -> Result<u64, Error> {
    let number = integer(reply)?;
    u64::try_from(number).map_err(|_| unexpected("a count", &Frame::Integer(number)))
}

/// Bytes or nil.
pub(crate) fn bytes_or_nil(reply: Reply) -> Result<Option<Bytes>, Error> {
    if let Frame::Null = reply { Ok(None) } else { bytes(reply).map(Some) }
}

/// Bytes, of whichever type of string.
pub(crate) fn bytes(reply: Reply) -> Result<Bytes, Error> {
    if let Frame::Bulk(bytes) | Frame::Verbatim { text: bytes, .. } = reply {
        return Ok(bytes);
    }
    if let Frame::Simple(text) | Frame::BigNumber(text) = reply {
        return Ok(text.into());
    }
    Err(unexpected("a string", &reply))
}

/// Text; what is not UTF-8 in it is replaced.
pub(crate) fn text(reply: Reply) -> Result<String, Error> {
    bytes(reply).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A number with a fraction.
pub(crate) fn float(reply: Reply) -> Result<f64, Error> {
    match reply {
        Frame::Double(number) => Ok(number),
        #[expect(clippy::cast_precision_loss, reason = "a count that is asked for as a float")]
        Frame::Integer(number) => Ok(number as f64),
        Frame::Bulk(ref bytes) => std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| unexpected("a number", &reply)),
        Frame::Simple(_)
        | Frame::Error(_)
        | Frame::Null
        | Frame::Array(_)
        | Frame::Map(_)
        | Frame::Set(_)
        | Frame::Push(_)
        | Frame::Boolean(_)
        | Frame::BigNumber(_)
        | Frame::Verbatim { .. }
        | Frame::Attribute { .. } => Err(unexpected("a number", &reply)),
    }
}

/// The elements of an array or a set.
pub(crate) fn array(reply: Reply) -> Result<Vec<Reply>, Error> {
    if let Frame::Array(frames) | Frame::Set(frames) = reply { Ok(frames) } else { Err(unexpected("an array", &reply)) }
}

/// The entries of a map whose keys are text.
pub(crate) fn map(reply: Reply) -> Result<Vec<(String, Reply)>, Error> {
    if let Frame::Map(pairs) = reply {
        pairs.into_iter().map(|(key, value)| Ok((text(key)?, value))).collect()
    } else {
        Err(unexpected("a map", &reply))
    }
}

/// The error for a reply that is not what the command answers.
pub(crate) fn unexpected(expected: &'static str, got: &Reply) -> Error {
    Error::Unexpected { expected, got: shortened(got) }
}

/// A reply as a person reads it, of bounded length.
pub(crate) fn shortened(reply: &Reply) -> String {
    let mut text = format!("{reply:?}");
    if text.len() > SHOWN_BYTES_MAX {
        let end = (0..=SHOWN_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}
