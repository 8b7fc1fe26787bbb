//! The client library of Sutra Cache: what a service links instead of a Redis client and a cache manager of its own.
//!
//! - [`Cache`] is what applications use: a tier in the process that the shard keeps coherent, in front of one shard or several; values of any type;
//!   computation of what is missing, once for all who ask ([`Cache::get_or_compute`], [`Cache::embeddings`], [`Cache::lookup_or_compute`]); removal by name,
//!   label, source or meaning ([`Cache::invalidate`]). A fault of the cache is a miss, not an error of the application.
//! - [`Client`] is one shard and every command of it, typed where it has a type and [`Request`] for the others. Its errors are returned ([`Error`]).
//! - [`blocking`] has both for threads that wait.
//!
//! The parts can be used by themselves: [`keys`], [`codec`], [`l1`], [`breaker`], [`fallback`], [`rendezvous`], [`ttl`], [`stats`].
//!
//! ```
//! # let shard = sutra_cache::embedded::Embedded::start(&[])?;
//! # let url = shard.url();
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! use std::time::Duration;
//! use sutra_cache_client::{Cache, Compute, Invalidate};
//!
//! let cache = Cache::connect(&url).await?;
//! let options = Compute::new().ttl(Duration::from_secs(3600)).dep("doc:7", 1);
//! for _ in 0..2 {
//!     let summary = async || Ok::<_, std::io::Error>("computed once".to_owned());
//!     let summary: String = cache.get_or_compute("cache:summaries:acme:7", &options, summary).await?;
//!     assert_eq!(summary, "computed once");
//! }
//! // The document has a new version: what was made from an older one is gone, here and in every other process.
//! assert_eq!(cache.invalidate(&Invalidate::new().dep_below("doc:7", 2)).await?.count, 1);
//! assert_eq!(cache.get::<String>("cache:summaries:acme:7").await?, None);
//! # Ok::<(), sutra_cache_client::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```

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
