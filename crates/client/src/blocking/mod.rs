//! The same clients for threads that wait: no async, no runtime to set up.
//!
//! All of them share one runtime on one thread in the background, which is started by the first; the connections live there, and calls of many
//! threads are pipelined on them as calls of many tasks are. A call polls its own future on the thread that makes it, and parks that thread until
//! the answer is there.
//!
//! Inside of a tokio runtime a call would park the thread that others' tasks run on, so it is refused with [`Error::Config`]; also in
//! `spawn_blocking`, where one cannot be told from the other: use the async [`Client`](crate::Client) there, with `Handle::block_on`.
//!
//! ```
//! use sutra_cache_client::blocking::Client;
//! # let shard = sutra_cache::embedded::Embedded::start(&[])?;
//! # let url = shard.url();
//!
//! let client = Client::connect(&url)?;
//! client.set("greeting", "hello")?;
//! assert_eq!(client.get::<String>("greeting")?.as_deref(), Some("hello"));
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```

mod cache;
mod client;

pub use cache::Cache;
pub use client::{Client, Keys};

use crate::Error;
use std::future::Future;
use std::sync::OnceLock;
use tokio::runtime::{Builder, Handle};

/// Waits for a call on the calling thread, with the timers and sockets of the shared runtime.
fn wait<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    runtime()?.block_on(call)
}

/// The runtime that all blocking clients share.
fn runtime() -> Result<&'static Handle, Error> {
    static RUNTIME: OnceLock<Result<Handle, Error>> = OnceLock::new();
    if Handle::try_current().is_ok() {
        return Err(Error::Config(
            "a blocking client was called inside of an async runtime, whose other tasks it would stop: use the async client there".to_owned(),
        ));
    }
    RUNTIME.get_or_init(start).as_ref().map_err(Clone::clone)
}

fn start() -> Result<Handle, Error> {
    let failed =
        |error: std::io::Error| Error::Config(format!("the thread of the blocking clients cannot start: {error}"));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let handle = runtime.handle().clone();
    // It serves for as long as the process lives: clients come and go, and none of them can know that it is the last.
    std::thread::Builder::new()
        .name("sutra-cache-client".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .map_err(failed)?;
    Ok(handle)
}
