//! Texts to vectors: a small model compiled in, an OpenAI-compatible endpoint, a local transformer. Knows no keys, no
//! spaces, no tokio.
//!
//! - [`Builtin`] costs microseconds and needs nothing; it is the default.
//! - [`HttpEmbedder`] asks an endpoint, and blocks; a [`Batcher`] gathers many callers into few requests.
//! - `LocalEmbedder` runs a transformer from a directory, in milliseconds; only with the cargo feature `local`.
//!
//! [`from_setting`] makes one of them from the words of a configuration.
//!
//! Invariants:
//! - vectors are unit vectors, finite, of one dimension for each embedder;
//! - a text that the model knows nothing of is an error, never a vector of zeros.
#![forbid(unsafe_code)]

mod batcher;
mod builtin;
mod embedder;
mod http;
#[cfg(feature = "local")]
mod local;
mod setting;
mod unit;

pub use batcher::{Batcher, BatcherOptions, OnVector};
pub use builtin::Builtin;
pub use embedder::{EmbedError, Embedder};
pub use http::{Circuit, HttpEmbedder, HttpOptions, HttpStats};
#[cfg(feature = "local")]
pub use local::LocalEmbedder;
pub use setting::{SettingError, from_setting};
