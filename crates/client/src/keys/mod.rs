//! Names of entries, built from what they are about so that two different things never share one.
//!
//! | key | for |
//! | --- | --- |
//! | `emb:{model}:{sha256 of the text}` | [`EmbeddingKey`]: the vector of a text by a model; the shard computes the same for `CACHE.EMB.MGET` |
//! | `cache:{name}:{tenant}:{key}` | [`CacheKey`]: an entry of a cache, of one tenant |
//! | `cache:{name}:{tenant}:q:{sha256}` | [`QuestionKey`]: the answer to a question, however it is spaced and capitalised |
//!
//! All are *injective*: from a key its parts can be read back, so that different parts make different keys. `:` and `%` in a name or
//! a tenant are written `%3A` and `%25`; a text and a question stand there as their SHA-256 (FIPS 180-4), for which nobody knows two
//! of the same. Each kind has `parse`, which gives the parts back, and `verify`, which says whether a key that was read is the one that
//! was meant.
//!
//! ```
//! use sutra_cache_client::keys::{CacheKey, EmbeddingKey, QuestionKey};
//!
//! let key = CacheKey::new("answers", "acme:eu", "42")?;
//! assert_eq!(key.to_string(), "cache:answers:acme%3Aeu:42");
//! assert_eq!(CacheKey::parse(key.as_bytes())?.tenant(), "acme:eu");
//! assert_eq!(CacheKey::pattern("answers", "acme*"), r"cache:answers:acme\*:*");
//!
//! let asked = QuestionKey::new("answers", "acme").question("What is  a shard?").build();
//! let again = QuestionKey::new("answers", "acme").question(" what is a SHARD?\n").build();
//! assert_eq!(asked, again);
//! assert_ne!(asked, QuestionKey::new("answers", "acme").question("what is a shard?").session("7").build());
//!
//! let key = EmbeddingKey::new("minilm", "hello")?;
//! assert!(key.verify("minilm", "hello").is_ok());
//! assert!(key.verify("minilm", "hallo").is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod digest;
mod embedding;
mod escape;
mod question;

pub use cache::CacheKey;
pub use digest::Digest;
pub use embedding::{EmbeddingKey, MODEL_BYTES_MAX};
pub use question::{QuestionKey, QuestionKeyBuilder, normalise};

use std::fmt;

/// Why bytes are no key of a kind, or parts make none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// It does not have the form, which is given.
    Form(&'static str),
    /// This part is no UTF-8.
    NotText(&'static str),
    /// This part has a `%` that no key of ours has: only `%3A` and `%25` are written.
    Escape(&'static str),
    /// What should be a SHA-256 is not 64 digits of `0-9a-f`.
    NotADigest,
    /// A model's name has 1 to [`MODEL_BYTES_MAX`] bytes, as the shard demands it.
    ModelLength {
        /// How many it has.
        bytes: usize,
    },
    /// It has the form of the key of a question, and would be taken for one: make it as [`QuestionKey`].
    IsAQuestion,
}

/// A key that is not the one that was meant: this part differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// `model`, `text`, `name`, `tenant`, `key` or `question`.
    pub part: &'static str,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Form(form) => write!(f, "the key is not of the form {form}"),
            KeyError::NotText(part) => write!(f, "the {part} in the key is not UTF-8"),
            KeyError::Escape(part) => write!(f, "the {part} in the key has a `%` that is neither %3A nor %25"),
            KeyError::NotADigest => f.write_str("the key does not end with the 64 hexadecimal digits of a SHA-256"),
            KeyError::ModelLength { bytes } => {
                write!(f, "a model's name has 1 to {MODEL_BYTES_MAX} bytes, got {bytes}")
            }
            KeyError::IsAQuestion => f.write_str("the key has the form of a question's key"),
        }
    }
}

impl std::error::Error for KeyError {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key has another {}", self.part)
    }
}

impl std::error::Error for Mismatch {}

fn same(are_equal: bool, part: &'static str) -> Result<(), Mismatch> {
    if are_equal { Ok(()) } else { Err(Mismatch { part }) }
}
