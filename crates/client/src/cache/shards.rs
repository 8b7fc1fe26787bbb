//! Shards that come and go.
//!
//! Keys are spread by weighted [rendezvous hashing](crate::rendezvous): a shard that comes takes its share from all others, one that goes leaves its
//! keys to all others, and nothing else moves.
//!
//! # Why nothing comes back
//! What lies on a shard was written when the shard had the key. Once another has it, changes go there, and the old entry becomes
//! outdated without anybody telling it. The rule that keeps it from being read is: **before a shard gets a key, it has no entry of it.**
//!
//! - **A shard comes.** What it still has is from an earlier time. It joins as a shard that is *away*: from the moment that the routes name it, its keys are
//!   neither read in it nor written to it; reads miss, and changes are noted, as in every outage. In this state it is swept (all that it has is
//!   deleted, by SCAN and UNLINK), perhaps filled with copies, told what was noted, and only then it is used. If the process that adds it goes away
//!   in between, nothing has happened but a sweep. With [`Joining::Trusted`] the sweep is left out: you say that nothing in it is outdated.
//! - **A shard goes.** Its keys fall to the others, where copies may lie from the time before it came. So the others are swept *before* the
//!   routes change, under those that are in force: whatever is not theirs goes ([`Cache::rebalance`] describes the pass). One that is away at that time, or
//!   fails, owes the sweep: it stays away until it is done. What the shard had is computed anew. On the shard itself nothing is
//!   deleted: others may still use it.
//! - **In this process** the first tiers and the stand-ins of outages are emptied when routes change, and an answer to a read that began before is
//!   not kept (the tiers' generations see to that).
//!
//! A call that is under way while the routes change may be carried out where the key was before. A read then finds what was true when it began; a write
//! is lost with the old place, and the key is missed. Neither is ever read later, by the rule above.
//!
//! # Several processes
//! Each has its own list of shards, and while they differ, one may read on the old shard what another changes on the new one: what is read
//! is then as old as the change of the lists takes. Those who cannot bear that make the lists equal while nobody reads. When all have the same
//! list again, nothing of that time is left in what they read: each sweeps for itself before it changes its routes. (That is why
//! [`Joining::Swept`] is the default for every process and costs what others have written to the shard already; who can bear an entry
//! from the minutes of the change says [`Joining::Trusted`] in all processes but the first.)

use super::fill::{Watch, fill, make_spaces};
use super::{Cache, Node};
use crate::breaker::Phase;
use crate::rendezvous::Rendezvous;
use crate::stats::HistogramSnapshot;
use crate::{Config, Error, PoolSnapshot, Rebalanced, Swept};
use std::sync::{Arc, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// What becomes of the entries that a shard has when it joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Joining {
    /// They are deleted: they may have been changed elsewhere since.
    #[default]
    Swept,
    /// They are deleted; then the most used entries of the other shards that are now its own are copied to it.
    Filled {
        /// At most so many from each of the others are looked at.
        top: usize,
    },
    /// They stay: the caller knows that none of them is outdated.
    Trusted,
}

/// How a shard came.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Joined {
    /// Whether it is used. If not, it failed while it joined, and is used when it is there again and has been swept.
    pub ready: bool,
    /// What it had.
    pub swept: Swept,
    /// Spaces that were made on it as the others have them.
    pub spaces: u64,
    /// Entries that were copied to it.
    pub filled: u64,
    /// What was deleted on the others, since it now belongs to this one.
    pub others: Rebalanced,
}

/// How a shard is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShardHealth {
    /// Its name, by which keys are spread.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// Its weight.
    pub weight: f64,
    /// The share of all keys that belong to it.
    pub share: f64,
    /// Whether requests are let through to it.
    pub phase: Phase,
    /// Whether it is neither read nor written at present: until it is there again and has been told what has changed.
    pub away: bool,
    /// Its connections.
    pub connections: PoolSnapshot,
    /// How long calls on it took, those that failed among them.
    pub latency: HistogramSnapshot,
}

impl Cache {
    /// The shards, by name, and how each of them is doing.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardHealth> {
        let routes = self.inner.routes.read().unwrap_or_else(PoisonError::into_inner);
        let weights: f64 = routes.hashing.nodes().iter().map(|node| node.weight()).sum();
        let each = routes.hashing.nodes().iter().zip(&routes.nodes);
        each.map(|(place, node)| ShardHealth {
            name: node.name.clone(),
            address: node.client.config().target().address.to_string(),
            weight: place.weight(),
            share: place.weight() / weights,
            phase: node.breaker.phase(),
            away: node.is_away(),
            connections: node.client.connections(),
            latency: node.latency.snapshot(),
        })
        .collect()
    }

    /// The name of the shard that has the key.
    #[must_use]
    pub fn shard_of(&self, key: impl AsRef<[u8]>) -> String {
        self.node(key.as_ref()).name.clone()
    }

    /// Adds a shard, which takes its share of the keys from all others, and waits until it is used. What is read is never
    /// outdated meanwhile (the rules are in `cache/shards.rs`): the keys that it takes are missed until it has been swept. Afterwards
    /// they are deleted where they were.
    ///
    /// ```
    /// # use sutra_cache::embedded::Embedded;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let (one, other) = (Embedded::start(&[])?, Embedded::start(&[])?);
    /// use sutra_cache_client::{Cache, Config, Joining};
    ///
    /// let cache = Cache::connect(&one.url()).await?;
    /// let joined = cache.add_shard("second", 1.0, Config::new(&other.url())?, Joining::Filled { top: 1000 }).await?;
    /// assert!(joined.ready);
    /// assert_eq!(cache.shards().len(), 2);
    /// cache.remove_shard("second").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] if there is a shard of this name or the weight is no positive number; as [`Client::open`](crate::Client::open) if it
    /// cannot be reached. Nothing has changed then.
    pub async fn add_shard(&self, name: &str, weight: f64, config: Config, joining: Joining) -> Result<Joined, Error> {
        let changing = Arc::clone(&self.inner.membership).lock_owned().await;
        let before = Arc::new(self.hashing());
        self.inner.routes.read().unwrap_or_else(PoisonError::into_inner).check(name, weight)?;
        let node = Node::new(name, config, &self.inner.builder, &self.inner.stats, &self.inner.computing.times);
        node.client.ready().await?;
        // From here on nothing waits until the task has it: a caller who goes away does not leave it away for ever.
        node.begin_away((joining != Joining::Trusted).then_some(before));
        self.inner.routes.write().unwrap_or_else(PoisonError::into_inner).add(Arc::clone(&node), weight)?;
        let joining = tokio::spawn(join(self.clone(), node, joining, changing));
        joining.await.map_err(|_| Error::Closed)
    }

    /// Removes a shard; its keys go to the others, which are swept before. See `cache/shards.rs` for what that is good for. What it had is
    /// not moved, and stays on it.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no shard of this name, or no other; what a sweep was refused with. Nothing has changed then. A shard that
    /// is away or fails is no error: it is swept before it is used again.
    pub async fn remove_shard(&self, name: &str) -> Result<Rebalanced, Error> {
        let _changing = self.inner.membership.lock().await;
        let (routes, nodes) = (Arc::new(self.hashing()), self.nodes());
        if !nodes.iter().any(|node| node.name == name) {
            return Err(Error::Config(format!("there is no shard {name}")));
        }
        if nodes.len() == 1 {
            return Err(Error::Config("the last shard cannot be removed".to_owned()));
        }
        let swept = self.sweep_all(Some(name)).await;
        if let Some((_, error)) = swept.failed.iter().find(|(_, error)| !error.is_fault()) {
            return Err(error.clone());
        }
        let others = nodes.iter().filter(|node| node.name != name);
        for node in others.clone() {
            if swept.failed.iter().any(|(failed, _)| *failed == node.name) {
                node.owe_sweep(Arc::clone(&routes));
            }
        }
        let mut routes = self.inner.routes.write().unwrap_or_else(PoisonError::into_inner);
        // While nobody can begin anything with the new routes.
        for node in others {
            node.fallback.forget();
            if let Some(l1) = &node.l1 {
                l1.invalidate_all();
            }
        }
        routes.remove(name);
        Ok(swept)
    }

    pub(super) fn hashing(&self) -> Rendezvous {
        self.inner.routes.read().unwrap_or_else(PoisonError::into_inner).hashing.clone()
    }
}

/// What remains to be done once the routes name a shard that is away.
async fn join(cache: Cache, node: Arc<Node>, joining: Joining, _changing: OwnedMutexGuard<()>) -> Joined {
    let mut joined = Joined::default();
    let others: Vec<_> = cache.nodes().into_iter().filter(|other| !Arc::ptr_eq(other, &node)).collect();
    match make_spaces(&node, &others).await {
        Ok(spaces) => joined.spaces = spaces,
        Err(error) => tracing::warn!(shard = node.name, %error, "the shard that joins lacks spaces of others"),
    }
    match joining {
        Joining::Trusted => {}
        Joining::Swept => joined.swept = node.sweep_first().await.unwrap_or_default(),
        Joining::Filled { top } => {
            // Told of changes before the first copy is made, so that none of them is missed.
            let watches = Watch::all(&others).await;
            // Only swept: what is noted has to be told behind the copies, which may be older than it.
            if let Some(swept) = node.sweep_first().await {
                joined.swept = swept;
                joined.filled = fill(&node, &cache.hashing(), watches, top).await;
            }
        }
    }
    joined.ready = node.come_back().await;
    if !joined.ready {
        node.keep_returning();
    }
    joined.others = cache.sweep_all(Some(&node.name)).await;
    joined
}
