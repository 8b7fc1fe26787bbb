//! What every embedder promises, and the ways in which it may fail.

use std::fmt;
use std::time::Duration;

/// Turns texts into vectors of one model. Vectors of different embedders are never compared, so an embedder has a name
/// that stays the same for as long as its vectors do.
///
/// It is shared by threads; a call blocks until its vectors are there.
pub trait Embedder: Send + Sync {
    /// The name that a vector space remembers: `builtin:static-256-v1`, `http:<model>`, `local:<directory>`.
    fn name(&self) -> &str;

    /// How many components each vector has; `None` while an endpoint has not told yet.
    fn dimension(&self) -> Option<usize>;

    /// Whether a call takes microseconds and touches neither network nor disk, so that a thread that serves clients
    /// may make it. All others are called from a thread that may wait, for example through a [`crate::Batcher`].
    fn is_immediate(&self) -> bool;

    /// What an embedder behind an address has done so far; `None` for all others.
    fn http_stats(&self) -> Option<crate::HttpStats> {
        None
    }

    /// Replaces what is in `out` with one unit vector for each text, in their order.
    ///
    /// # Errors
    /// If one text has no vector, there are none: `out` is empty then.
    fn embed(&self, texts: &[&str], out: &mut Vec<Vec<f32>>) -> Result<(), EmbedError>;
}

/// Why texts have no vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmbedError {
    /// The model knows nothing in this text (it is empty, or in a script that the vocabulary lacks). `index` counts the
    /// texts of the call from 0. Asking again does not help.
    NoKnownTokens {
        /// Which of the texts.
        index: usize,
    },
    /// A text is longer than what is accepted. Asking again does not help.
    TextTooLong {
        /// Which of the texts.
        index: usize,
        /// Its length.
        bytes: usize,
        /// The longest that is accepted.
        bytes_max: usize,
    },
    /// The endpoint has failed several times in a row and is left alone for a while.
    CircuitOpen {
        /// When it will be tried again.
        retry_in: Duration,
    },
    /// No answer within the total time that a call may take.
    Timeout {
        /// That time.
        after: Duration,
    },
    /// The endpoint could not be reached, or the connection broke, at each attempt.
    Transport {
        /// What the client library says.
        reason: String,
    },
    /// The endpoint refused: a wrong key, an unknown model, or it was overloaded at each attempt.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The beginning of what it said.
        message: String,
    },
    /// The endpoint answered something that is no list of embeddings for these texts.
    BadAnswer {
        /// What is wrong with it.
        reason: String,
    },
    /// The vectors do not have the dimension that this embedder has.
    WrongDimension {
        /// What was set, or what the first answer had.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// The queue of a [`crate::Batcher`] is full.
    QueueFull {
        /// How many texts it holds at most.
        texts_max: usize,
    },
    /// The [`crate::Batcher`] is being dropped.
    Closed,
    /// The local model could not compute.
    Model {
        /// What the library that runs it says.
        reason: String,
    },
}

impl fmt::Display for EmbedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmbedError::NoKnownTokens { index } => {
                write!(f, "the embedder knows no word of text {index}")
            }
            EmbedError::TextTooLong { index, bytes, bytes_max } => {
                write!(f, "text {index} has {bytes} bytes, at most {bytes_max} can be embedded")
            }
            EmbedError::CircuitOpen { retry_in } => {
                write!(f, "the embedding endpoint keeps failing and is tried again in {} ms", retry_in.as_millis())
            }
            EmbedError::Timeout { after } => {
                write!(f, "the embedding endpoint did not answer within {} ms", after.as_millis())
            }
            EmbedError::Transport { reason } => write!(f, "the embedding endpoint cannot be reached: {reason}"),
            EmbedError::Refused { status, message } if message.is_empty() => {
                write!(f, "the embedding endpoint answered with status {status}")
            }
            EmbedError::Refused { status, message } => {
                write!(f, "the embedding endpoint answered with status {status}: {message}")
            }
            EmbedError::BadAnswer { reason } => write!(f, "the embedding endpoint's answer is no good: {reason}"),
            EmbedError::WrongDimension { expected, found } => {
                write!(f, "the embedder gave vectors of dimension {found}, expected {expected}")
            }
            EmbedError::QueueFull { texts_max } => {
                write!(f, "the embedder's queue is full ({texts_max} texts are waiting)")
            }
            EmbedError::Closed => f.write_str("the embedder is shutting down"),
            EmbedError::Model { reason } => write!(f, "the local embedding model failed: {reason}"),
        }
    }
}

impl std::error::Error for EmbedError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_look_at() {
        let refused = EmbedError::Refused { status: 401, message: "bad key".into() };
        assert_eq!(refused.to_string(), "the embedding endpoint answered with status 401: bad key");
        let open = EmbedError::CircuitOpen { retry_in: Duration::from_millis(1500) };
        assert_eq!(open.to_string(), "the embedding endpoint keeps failing and is tried again in 1500 ms");
    }
}
