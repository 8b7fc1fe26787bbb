//! Texts to vectors: a small model compiled in, an OpenAI-compatible endpoint, a local transformer. Knows no keys, no
//! spaces, no tokio.
//!
//! - [`Builtin`] costs microseconds and needs nothing; it is the default.
//!
//! Invariants:
//! - vectors are unit vectors, finite, of one dimension for each embedder;
//! - a text that the model knows nothing of is an error, never a vector of zeros.
#![forbid(unsafe_code)]

mod builtin;
mod embedder;

pub use builtin::Builtin;
pub use embedder::{EmbedError, Embedder};
