//! The client library of Sutra Cache.

#![forbid(unsafe_code)]

pub mod codec;
pub mod keys;
pub mod l1;
pub mod stats;
