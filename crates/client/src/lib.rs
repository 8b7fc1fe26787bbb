//! The client library of Sutra Cache.

#![forbid(unsafe_code)]

pub mod breaker;
pub mod codec;
pub mod fallback;
pub mod keys;
pub mod l1;
pub mod rendezvous;
pub mod stats;
pub mod ttl;
