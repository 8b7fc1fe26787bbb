//! A shard in the program that uses it: for tests, examples, and programs that want no second process.

use crate::clock::Clock;
use crate::config;
use crate::meaning::embedding::Embedding;
use crate::net::{Handle, serve};
use crate::server::{Server, Stop};
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A shard that serves on a port of its own until it is dropped.
///
/// ```
/// let shard = sutra_cache::embedded::Embedded::start(&[("MAX_MEMORY", "64mb")])?;
/// assert!(shard.url().starts_with("sutra://127.0.0.1:"));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Debug)]
pub struct Embedded {
    handle: Option<Handle>,
    address: SocketAddr,
    /// Removed at the end, if it was made for this shard alone.
    temporary: Option<PathBuf>,
}

impl Embedded {
    /// Starts a shard with these settings, by any name that they have: in the environment, as flags, or in CONFIG. Without `STORAGE_PATH` its data lie in a directory that
    /// goes with it; without `STORAGE_PORT` it has a port that is free, on the loopback interface.
    ///
    /// # Errors
    /// If a setting is not accepted, or the data directory or the port cannot be used.
    pub fn start(settings: &[(&str, &str)]) -> Result<Embedded, Box<dyn Error + Send + Sync>> {
        let is_given = |wanted: &str| settings.iter().any(|(name, _)| *name == wanted);
        let mut flags: Vec<String> = settings.iter().map(|(name, value)| format!("--{name}={value}")).collect();
        if !is_given("STORAGE_PORT") {
            flags.push("--STORAGE_PORT=0".to_owned());
        }
        let temporary = if is_given("STORAGE_PATH") { None } else { Some(temporary_directory()?) };
        if let Some(directory) = &temporary {
            flags.push(format!("--STORAGE_PATH={}", directory.display()));
        }
        let mut embedded = Embedded { handle: None, address: SocketAddr::from(([127, 0, 0, 1], 0)), temporary };
        let handle = start(&flags).map_err(|error| error.to_string())?;
        embedded.address = handle.address();
        embedded.handle = Some(handle);
        Ok(embedded)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL for the client library.
    #[must_use]
    pub fn url(&self) -> String {
        format!("sutra://{}", self.address)
    }

    /// Stops it; everything is made durable. Dropping it does the same.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.stop(Stop::Save);
        }
        if let Some(directory) = self.temporary.take() {
            // What cannot be removed is left to the system's own cleaning of temporary files.
            drop(std::fs::remove_dir_all(directory));
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.end();
    }
}

fn start(flags: &[String]) -> Result<Handle, Box<dyn Error>> {
    let settings = config::load(flags, &[], Path::new("/nonexistent"))?.settings;
    let clock = Clock::system();
    let (shard, recovery) = crate::cli::open_shard(&settings, &clock, std::sync::Arc::default())?;
    settings.apply(&shard);
    let embedding = Embedding::from_settings(&settings.meaning)?;
    Ok(serve(Server::new(settings, shard, clock).with_recovery(recovery).with_embedding(embedding))?)
}

fn temporary_directory() -> std::io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sutra-cache-{}-{number}", std::process::id()));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_go_by_any_of_their_names_and_others_are_refused() {
        let shard = Embedded::start(&[("maxclients", "7"), ("REDIS_AUTH", "secret")]).expect("a shard");
        let server = shard.handle.as_ref().expect("it runs").server();
        assert_eq!(server.settings.maxclients.load(Ordering::Relaxed), 7);
        assert!(server.settings.has_password());
        let error = Embedded::start(&[("MAX_CLIENTZ", "7")]).expect_err("there is no such setting").to_string();
        assert!(error.contains("MAX_CLIENTZ"), "{error}");
    }
}
