//! What a command answers, before it is known which protocol the connection speaks.

use bytes::Bytes;
use std::borrow::Cow;

/// The protocol that a connection chose with HELLO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// RESP2, until HELLO 3.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

/// A reply. Types that RESP2 lacks are sent as the type that Redis sends instead, named at each.
///
/// It may borrow from the request and from stored values, so that nothing is copied before it is encoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply<'a> {
    /// `+OK`
    Ok,
    /// A simple string. Line ends in it would break the framing and are sent as spaces.
    Simple(Cow<'a, str>),
    /// An error: the whole text with its prefix (`ERR …`), without the dash. Line ends are sent as spaces, as Redis does.
    Error(Cow<'a, str>),
    /// An integer.
    Integer(i64),
    /// A bulk string, copied when encoded.
    Bulk(&'a [u8]),
    /// A bulk string that the command made.
    BulkOwned(Vec<u8>),
    /// A bulk string that can be sent from where it lies: not copied if it is at least
    /// [`SHARED_BYTES_MIN`](crate::SHARED_BYTES_MIN) long.
    BulkShared(Bytes),
    /// No value: `$-1`, or `_` in RESP3.
    Null,
    /// No array (an aborted EXEC, a timed out blocking command): `*-1`, or `_` in RESP3.
    NullArray,
    /// An array.
    Array(Vec<Reply<'a>>),
    /// A map; in RESP2 an array of keys and values in turn.
    Map(Vec<(Reply<'a>, Reply<'a>)>),
    /// A set; in RESP2 an array.
    Set(Vec<Reply<'a>>),
    /// Out-of-band data; in RESP2 an array.
    Push(Vec<Reply<'a>>),
    /// A double; in RESP2 a bulk string of the same digits.
    Double(f64),
    /// A boolean; in RESP2 the integer 1 or 0.
    Boolean(bool),
    /// An integer of any size, in decimal digits; in RESP2 a bulk string.
    BigNumber(Cow<'a, str>),
    /// Text that says how to show it; in RESP2 a bulk string without the format.
    Verbatim {
        /// `txt` or `mkd`: three bytes.
        format: [u8; 3],
        /// The text.
        text: Cow<'a, str>,
    },
    /// A reply with remarks that a client may ignore; in RESP2 the reply alone.
    Attribute {
        /// The remarks.
        attributes: Vec<(Reply<'a>, Reply<'a>)>,
        /// The reply.
        reply: Box<Reply<'a>>,
    },
    /// Nothing is sent: the command has already written, or never answers.
    None,
}

impl<'a> Reply<'a> {
    /// A simple string.
    #[must_use]
    pub fn simple(text: impl Into<Cow<'a, str>>) -> Self {
        Reply::Simple(text.into())
    }

    /// An error with this whole text, prefix included.
    #[must_use]
    pub fn error(text: impl Into<Cow<'a, str>>) -> Self {
        Reply::Error(text.into())
    }

    /// Text for people, such as INFO's: verbatim in RESP3, a bulk string in RESP2.
    #[must_use]
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Reply::Verbatim { format: *b"txt", text: text.into() }
    }
}
