//! What concerns all shards: entries by meaning, by tag, by pattern.
//!
//! # Removals
//! They are sent to all shards at once. A shard that was not reached, or did not answer, **owes** the removal: it is carried out there before the
//! shard is read again ([`Node::come_back`]), so that what was to go does not come back with it. Too many such debts are one: to delete
//! everything. Who asked is told which shards failed ([`Scattered::failed`]).
//!
//! In this process the effect is there when the call returns. The shard's pushes are on their way when it answers, but they come on each
//! connection for itself, and the answer came on one of them. So the tiers of the shards that removed anything are dropped as a whole
//! instead of waiting for all connections: a removal by predicate is rare beside reads, and what is asked for again costs a round trip.
//! A shard that removed nothing keeps its tier. (Pushes keep the tiers of all *other* processes, entry by entry.)
//!
//! # Finding
//! Shards that are away are left out: the others may have a good answer. What a shard finds is passed over if its key is not that shard's under the routes
//! in force, since it may be outdated there ([`Cache::rebalance`]).

use super::{Cache, Node, OnFault};
use crate::stats::Operation;
use crate::{Error, Reply, Request, reply};
use futures_util::future::join_all;
use std::sync::Arc;

/// What came of a removal on all shards.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Scattered {
    /// How many entries were removed, on the shards that answered.
    pub count: u64,
    /// The shards that did not answer. They carry it out before they are read again.
    pub failed: Vec<(String, Error)>,
}

impl Scattered {
    /// Whether all shards have carried it out.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }
}

impl Cache {
    /// Removes every entry with this tag, on all shards.
    ///
    /// # Errors
    /// What a shard refuses it with; faults, if the cache was asked to return them.
    pub async fn invalidate_tag(&self, tag: impl AsRef<[u8]>) -> Result<Scattered, Error> {
        self.remove(Request::read("CACHE.INVALIDATE").args(["TAG", "1"]).arg(tag), reply::count).await
    }

    /// Removes every entry whose key matches the glob pattern, on all shards.
    ///
    /// # Errors
    /// As [`Cache::invalidate_tag`].
    pub async fn invalidate_pattern(&self, pattern: impl AsRef<[u8]>) -> Result<Scattered, Error> {
        self.remove(Request::read("CACHE.INVALIDATE").arg("MATCH").arg(pattern), reply::count).await
    }

    /// Sends a removal that does no harm twice to all shards.
    pub(super) async fn remove(
        &self,
        request: Request,
        read: impl Fn(Reply) -> Result<u64, Error> + Copy,
    ) -> Result<Scattered, Error> {
        let (mut all, mut refused) = (Scattered::default(), None);
        let mut asked: Vec<Arc<Node>> = Vec::new();
        loop {
            // One that joined meanwhile may have got copies of what is removed.
            let new: Vec<_> =
                self.nodes().into_iter().filter(|node| !asked.iter().any(|a| Arc::ptr_eq(a, node))).collect();
            if new.is_empty() {
                break;
            }
            for (node, removed) in new.iter().zip(join_all(new.iter().map(|node| remove(node, &request, read))).await) {
                match removed {
                    Ok(count) => all.count += count,
                    Err(error) if error.is_fault() => all.failed.push((node.name.clone(), error)),
                    Err(error) => refused = Some(error),
                }
            }
            asked.extend(new);
        }
        match (refused, all.failed.first()) {
            (Some(error), _) => Err(error),
            (None, Some((_, error))) if self.inner.builder.on_fault == OnFault::Error => Err(error.clone()),
            (None, _) => Ok(all),
        }
    }
}

async fn remove(node: &Arc<Node>, request: &Request, read: impl Fn(Reply) -> Result<u64, Error>) -> Result<u64, Error> {
    let mut forgetting = ForgettingAll { node, is_needed: true };
    let answer = node.call(Operation::Invalidate, request.clone()).await.and_then(read);
    match &answer {
        Ok(count) => forgetting.is_needed = *count > 0,
        Err(error) if error.is_fault() => node.owe_invalidation(request.clone()),
        Err(_) => {}
    }
    answer
}

/// Empties the tier in this process when a removal has ended, however it ended.
struct ForgettingAll<'a> {
    node: &'a Node,
    is_needed: bool,
}

impl Drop for ForgettingAll<'_> {
    fn drop(&mut self) {
        if let (true, Some(l1)) = (self.is_needed, &self.node.l1) {
            l1.invalidate_all();
        }
    }
}
