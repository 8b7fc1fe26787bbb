//! The client library of Sutra Cache.

#![forbid(unsafe_code)]

mod address;
pub mod blocking;
pub mod breaker;
mod cache;
mod client;
pub mod codec;
mod commands;
mod config;
mod error;
pub mod fallback;
mod fault;
pub mod keys;
pub mod l1;
mod link;
mod pool;
pub mod rendezvous;
mod reply;
mod request;
pub mod stats;
pub mod ttl;

pub use address::{Address, DEFAULT_PORT, Target};
pub use cache::{
    Answer, Cache, CacheBuilder, Compute, Embeddings, Joined, Joining, OnFault, Question, Rebalanced, Scattered,
    ShardHealth, Swept, Ttl, WarmSource, WarmUp, WarmUpHandle, WarmUpSnapshot, Warmed, Writes,
};
pub use client::Client;
pub use commands::{
    DryRun, EmbeddingOptions, Entry, Export, Exported, Found, Guard, Hit, Import, Invalidate, InvalidationState,
    LeaseOptions, LeaseToken, Leased, Lifetime, LoggedInvalidation, Lookup, LookupLatency, Meta, Metric, Quantization,
    Query, ReadCounts, Scan, Search, SetOptions, ShardStats, SpaceInfo, SpaceOptions, SpaceStats, TopEntry,
};
pub use config::{Config, Tracking};
pub use error::{Error, ServerError};
#[doc(hidden)]
pub use fault::Fault;
#[cfg(feature = "tls")]
pub use link::tls::TlsConfig;
pub use pool::PoolSnapshot;
pub use reply::Reply;
pub use request::Request;

/// The guide's programs compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/client.md")]
struct Guide;
