//! Entries that lie on a shard which does not have their key.
//!
//! They are there after a shard has come (what it now has still lies where it was) or was away for long under other routes. Nobody reads them by
//! key, and what is found by meaning is checked against the routes before it is returned. They are a danger at the next change of the shards:
//! if it gives their key back to where they lie, they come back, however often the key was changed elsewhere meanwhile. So whenever routes
//! change, every shard that is to get keys is **swept** before it gets them: all its keys are looked through (SCAN, which finds every key that
//! is there from its beginning to its end), and those that are not its own under the routes that are still in force are deleted. While those
//! routes are in force nobody adds any.

use super::{Cache, Node};
use crate::rendezvous::Rendezvous;
use crate::{Error, Request, reply};
use std::sync::PoisonError;
use sutra_protocol::Frame;

/// Keys that one step of a pass looks at.
const STEP_KEYS: u64 = 1000;

/// What a pass over one shard found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Swept {
    /// Keys that it looked at; one that moves inside the shard's table meanwhile may be counted twice.
    pub scanned: u64,
    /// Entries that were not the shard's, and are deleted.
    pub deleted: u64,
}

impl std::ops::AddAssign for Swept {
    fn add_assign(&mut self, other: Swept) {
        self.scanned += other.scanned;
        self.deleted += other.deleted;
    }
}

/// What a pass over all shards found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Rebalanced {
    /// The shards that were looked through.
    pub swept: Vec<(String, Swept)>,
    /// Those that could not be, or not to the end, and why.
    pub failed: Vec<(String, Error)>,
}

impl Rebalanced {
    /// Entries that were deleted, on all shards.
    #[must_use]
    pub fn deleted(&self) -> u64 {
        self.swept.iter().map(|(_, swept)| swept.deleted).sum()
    }
}

impl Cache {
    /// Deletes on every shard the entries whose keys it does not have: they take memory, and nobody reads them. Coherence does not depend on
    /// it, since every change of the shards sweeps those that are to get keys. It looks at every key of every shard, a thousand at a time.
    ///
    /// The database belongs to the cache: what others keep there under keys of their own is as misplaced as anything.
    pub async fn rebalance(&self) -> Rebalanced {
        let _changing = self.inner.membership.lock().await;
        self.sweep_all(None).await
    }

    /// Sweeps all shards but one under the routes that are in force.
    pub(super) async fn sweep_all(&self, except: Option<&str>) -> Rebalanced {
        let (hashing, nodes) = {
            let routes = self.inner.routes.read().unwrap_or_else(PoisonError::into_inner);
            (routes.hashing.clone(), routes.nodes.clone())
        };
        let sweeps = nodes.iter().filter(|node| except != Some(&node.name)).map(|node| {
            let hashing = &hashing;
            async move {
                let swept = if node.is_away() { Err(Error::BreakerOpen) } else { sweep(node, hashing).await };
                (node.name.clone(), swept)
            }
        });
        let mut all = Rebalanced::default();
        for (name, swept) in futures_util::future::join_all(sweeps).await {
            match swept {
                Ok(swept) => all.swept.push((name, swept)),
                Err(error) => all.failed.push((name, error)),
            }
        }
        all
    }
}

/// Deletes the entries of the shard whose keys these routes do not give to it, whether it is away or not.
pub(super) async fn sweep(node: &Node, routes: &Rendezvous) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    let mut cursor = "0".to_owned();
    loop {
        let step = Request::read("SCAN").arg(&cursor).arg("COUNT").number(STEP_KEYS);
        let mut parts = reply::array(node.client.call(step).await?)?.into_iter();
        cursor = reply::text(parts.next().unwrap_or(Frame::Null))?;
        let keys = reply::array(parts.next().unwrap_or(Frame::Null))?;
        let keys = keys.into_iter().map(reply::bytes).collect::<Result<Vec<_>, _>>()?;
        swept.scanned += keys.len() as u64;
        let misplaced: Vec<_> = keys.into_iter().filter(|key| routes.route(key) != Some(&node.name)).collect();
        swept.deleted += node.unlink(&misplaced).await?;
        if cursor == "0" {
            return Ok(swept);
        }
    }
}
