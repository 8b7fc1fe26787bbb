//! What can go wrong, and what the caller can do about it.

use crate::codec::{DecodeError, EncodeError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a call failed. [`Error::advice`] says in a sentence what a caller can do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// A URL or a setting is not what is accepted.
    Config(String),
    /// There is no connection, and none could be made in time. Nothing was sent.
    Unavailable {
        /// The shard.
        address: String,
        /// What the last attempt ended with.
        cause: String,
    },
    /// The answer did not come in time. The command may have been carried out, or may yet be.
    Timeout {
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection ended after the command was sent. It may have been carried out.
    Lost {
        /// What ended it.
        cause: String,
    },
    /// As much as is allowed to wait is waiting to be sent already. Nothing was sent.
    Full {
        /// The limit that was reached.
        limit_bytes: usize,
    },
    /// The client was closed.
    Closed,
    /// The shard refused the command.
    Server(ServerError),
    /// The shard answered with something else than the command's answer: it is not a Sutra Cache, or not of a version that this client knows.
    Unexpected {
        /// What was expected.
        expected: &'static str,
        /// What came, shortened.
        got: String,
    },
    /// What was read is not a value of the type that was asked for.
    Decode(Arc<DecodeError>),
    /// The value cannot be written.
    Encode(Arc<EncodeError>),
    /// The caller's own computation failed.
    Compute(Arc<dyn std::error::Error + Send + Sync>),
    /// The circuit breaker is open: the shard has failed lately and is not asked until it had time to recover.
    BreakerOpen,
}

/// An error that the shard answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    text: Arc<str>,
}

impl ServerError {
    pub(crate) fn new(text: &str) -> ServerError {
        ServerError { text: text.into() }
    }

    /// The prefix by which programs tell errors apart: `WRONGTYPE`, `OOM`, `STALELEASE`.
    #[must_use]
    pub fn code(&self) -> &str {
        self.text.split_whitespace().next().unwrap_or_default()
    }

    /// The whole text, with its prefix.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Error {
    /// Whether the cache, and not the request, is at fault: unreachable, slow, out of memory, closing. What a cache is used for can go on
    /// without it then.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        match self {
            Error::Unavailable { .. }
            | Error::Timeout { .. }
            | Error::Lost { .. }
            | Error::Full { .. }
            | Error::BreakerOpen
            | Error::Unexpected { .. } => true,
            Error::Server(error) => {
                matches!(
                    error.code(),
                    "OOM" | "LOADING" | "MISCONF" | "BUSY" | "TRYAGAIN" | "NOAUTH" | "WRONGPASS" | "NOPERM"
                )
            }
            Error::Config(_) | Error::Closed | Error::Decode(_) | Error::Encode(_) | Error::Compute(_) => false,
        }
    }

    /// Whether the command may have been carried out nevertheless.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        matches!(self, Error::Timeout { .. } | Error::Lost { .. } | Error::Unexpected { .. } | Error::Decode(_))
    }

    /// The prefix of the shard's error, if it is one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        if let Error::Server(error) = self { Some(error.code()) } else { None }
    }

    /// A short name of the kind, for counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Config(_) => "config",
            Error::Unavailable { .. } => "unavailable",
            Error::Timeout { .. } => "timeout",
            Error::Lost { .. } => "lost",
            Error::Full { .. } => "full",
            Error::Closed => "closed",
            Error::Server(_) => "server",
            Error::Unexpected { .. } => "unexpected",
            Error::Decode(_) => "decode",
            Error::Encode(_) => "encode",
            Error::Compute(_) => "compute",
            Error::BreakerOpen => "breaker_open",
        }
    }

    /// What a caller can do.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Error::Config(_) => "correct the URL or the setting",
            Error::Unavailable { .. } | Error::BreakerOpen => {
                "go on without the cache and try again later: nothing was sent"
            }
            Error::Timeout { .. } | Error::Lost { .. } => "repeat it if doing it twice does no harm",
            Error::Full { .. } => "send less at once, or allow more to wait: nothing was sent",
            Error::Closed => "use a client that is not closed",
            Error::Server(error) => match error.code() {
                "STALELEASE" => "do not use the value for others: what it was made from has changed; compute it anew",
                "HELD" => "write it when the hold of the invalidation has ended",
                "OOM" => "raise the shard's MAX_MEMORY or its eviction policy",
                "NOAUTH" | "WRONGPASS" | "NOPERM" => "give a user and a password that may do this",
                "WRONGTYPE" => "use another key, or the commands of the type that it holds",
                _ => "correct the command",
            },
            Error::Unexpected { .. } => "check that the address is that of a Sutra Cache of this version",
            Error::Decode(_) => "read it as what was written, or delete the entry",
            Error::Encode(_) => "write another value",
            Error::Compute(_) => "see what the computation says",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(text) => f.write_str(text),
            Error::Unavailable { address, cause } => write!(f, "no connection to {address}: {cause}"),
            Error::Timeout { after } => write!(f, "no answer within {} ms", after.as_millis()),
            Error::Lost { cause } => write!(f, "the connection ended before the answer came: {cause}"),
            Error::Full { limit_bytes } => write!(f, "{limit_bytes} bytes are waiting to be sent, which is the limit"),
            Error::Closed => f.write_str("the client is closed"),
            Error::Server(error) => f.write_str(error.text()),
            Error::Unexpected { expected, got } => write!(f, "expected {expected} from the shard, got {got}"),
            Error::Decode(error) => error.fmt(f),
            Error::Encode(error) => error.fmt(f),
            Error::Compute(error) => write!(f, "the computation failed: {error}"),
            Error::BreakerOpen => f.write_str("the circuit breaker is open"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Decode(error) => Some(&**error),
            Error::Encode(error) => Some(&**error),
            Error::Compute(error) => Some(&**error),
            Error::Config(_)
            | Error::Unavailable { .. }
            | Error::Timeout { .. }
            | Error::Lost { .. }
            | Error::Full { .. }
            | Error::Closed
            | Error::Server(_)
            | Error::Unexpected { .. }
            | Error::BreakerOpen => None,
        }
    }
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Error {
        Error::Decode(Arc::new(error))
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Error {
        Error::Encode(Arc::new(error))
    }
}
