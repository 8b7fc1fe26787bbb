//! Warming a cache again and again, in the background.

use super::{Cache, WarmSource, Warmed};
use crate::Error;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Warms a cache again and again, until the handle is dropped.
///
/// ```
/// # use sutra_cache::embedded::Embedded;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let shard = Embedded::start(&[])?;
/// use std::time::Duration;
/// use sutra_cache_client::{Cache, WarmUp};
///
/// let cache = Cache::connect(&shard.url()).await?;
/// let warm_up = WarmUp::every(Duration::from_secs(60)).l1(1000).start(&cache);
/// warm_up.ran(1).await;
/// assert_eq!(warm_up.snapshot().failures, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct WarmUp {
    interval: Duration,
    l1: usize,
    from: Option<(WarmSource, usize)>,
}

impl WarmUp {
    /// The first time at once, then so long after the end of each.
    pub fn every(interval: Duration) -> WarmUp {
        WarmUp { interval, l1: 0, from: None }
    }

    /// The tier in this process, with so many entries ([`Cache::warm_l1`]).
    pub fn l1(mut self, top: usize) -> WarmUp {
        self.l1 = top;
        self
    }

    /// The shards, with so many entries of another cache ([`Cache::warm_from`]).
    pub fn from(mut self, source: impl Into<WarmSource>, top: usize) -> WarmUp {
        self.from = Some((source.into(), top));
        self
    }

    /// Begins, in the background.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use = "it ends when the handle is dropped"]
    pub fn start(self, cache: &Cache) -> WarmUpHandle {
        let (sender, snapshot) = watch::channel(WarmUpSnapshot::default());
        let cache = cache.clone();
        let task = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                let done = self.run(&cache).await;
                sender.send_modify(|now| now.note(done, began.elapsed()));
                tokio::time::sleep(self.interval).await;
            }
        });
        WarmUpHandle { task: task.abort_handle(), snapshot }
    }

    async fn run(&self, cache: &Cache) -> (Warmed, u64, Option<Error>) {
        let (mut warmed, mut read, mut error) = (Warmed::default(), 0, None);
        if let Some((source, top)) = &self.from {
            match cache.warm_from(source.clone(), *top).await {
                Ok(done) => warmed = done,
                Err(failed) => error = Some(failed),
            }
        }
        if self.l1 > 0 {
            match cache.warm_l1(self.l1).await {
                Ok(done) => read = done,
                Err(failed) => error = Some(failed),
            }
        }
        (warmed, read, error)
    }
}

/// What a warm-up did since it began.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct WarmUpSnapshot {
    /// How often it ran.
    pub runs: u64,
    /// How often it could not do all that it was to do.
    pub failures: u64,
    /// Entries that were copied, and those of them that were stored.
    pub warmed: Warmed,
    /// Entries that were read into the tier in this process.
    pub l1_entries: u64,
    /// How long the last run took.
    pub took: Duration,
    /// Why the last run that failed did.
    pub last_error: Option<Error>,
}

impl WarmUpSnapshot {
    fn note(&mut self, (warmed, read, error): (Warmed, u64, Option<Error>), took: Duration) {
        self.runs += 1;
        self.warmed.copied += warmed.copied;
        self.warmed.stored += warmed.stored;
        self.l1_entries += read;
        self.took = took;
        if let Some(error) = error {
            tracing::warn!(%error, "a warm-up could not do all that it was to do");
            self.failures += 1;
            self.last_error = Some(error);
        }
    }
}

/// A warm-up that goes on; dropping this ends it.
#[derive(Debug)]
pub struct WarmUpHandle {
    task: AbortHandle,
    snapshot: watch::Receiver<WarmUpSnapshot>,
}

impl WarmUpHandle {
    /// What it did so far.
    #[must_use]
    pub fn snapshot(&self) -> WarmUpSnapshot {
        self.snapshot.borrow().clone()
    }

    /// Waits until it has run so often.
    pub async fn ran(&self, runs: u64) {
        // It ends only with this handle.
        drop(self.snapshot.clone().wait_for(|now| now.runs >= runs).await);
    }
}

impl Drop for WarmUpHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
