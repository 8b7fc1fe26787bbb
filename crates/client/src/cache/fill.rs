//! Filling a shard that joins with copies of what others have of its keys.
//!
//! A copy is outdated as soon as its source changes. So a connection of its own ([`Watch`]) is told of every change on the source from before
//! the first copy is made until after the last is stored, by whichever client; copies of what has changed are deleted before the
//! joining shard is used. Changes that this process makes meanwhile go to the joining shard already, which is away, and are noted for it as in
//! every outage.

use super::Node;
use super::warm::{Copies, import, key_of};
use crate::commands::SpaceOptions;
use crate::fallback::Owed;
use crate::link::Observer;
use crate::rendezvous::Rendezvous;
use crate::stats::Stats;
use crate::{Client, Error, Request, Tracking};
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A connection of its own that is told of every change on a shard.
#[derive(Debug)]
pub(super) struct Watch {
    client: Client,
    changes: Arc<Changes>,
}

#[derive(Debug, Default)]
struct Changes {
    keys: Mutex<HashSet<Bytes>>,
    /// Any key may have changed.
    all: AtomicBool,
}

impl Watch {
    /// One for each of those that can be reached.
    pub(super) async fn all(nodes: &[Arc<Node>]) -> Vec<Watch> {
        let mut all = Vec::new();
        for node in nodes.iter().filter(|node| !node.is_away()) {
            let tracking = Tracking::Broadcast { prefixes: Vec::new(), noloop: false };
            let config = node.client.config().clone().connections(1).tracking(tracking);
            let changes = Arc::new(Changes::default());
            let observer = Arc::clone(&changes) as Arc<dyn Observer>;
            let client = Client::observed(config, Some(observer), Arc::new(Stats::new()));
            match client.ready().await {
                Ok(()) => all.push(Watch { client, changes }),
                Err(error) => tracing::warn!(shard = node.name, %error, "nothing is copied from this shard"),
            }
        }
        all
    }

    /// Those of these keys that have changed since the watch began.
    async fn changed(self, keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        // Pushes and answers come in one order: what changed before this was answered has been told by then.
        let is_there = self.client.call(Request::new("PING")).await.is_ok();
        if !is_there || self.changes.all.load(Ordering::Acquire) {
            return keys;
        }
        let changed = self.changes.keys();
        keys.into_iter().filter(|key| changed.contains(&key[..])).collect()
    }
}

impl Changes {
    fn keys(&self) -> MutexGuard<'_, HashSet<Bytes>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Changes {
    fn connected(&self, _number: usize) {}

    fn lost(&self, _number: usize, _cause: &str) {
        self.all.store(true, Ordering::Release);
    }

    fn changed(&self, keys: &mut dyn Iterator<Item = &Bytes>) {
        // A copy, since what comes shares the memory of all that was read with it.
        self.keys().extend(keys.map(|key| Bytes::copy_from_slice(key)));
    }

    fn all_changed(&self) {
        self.all.store(true, Ordering::Release);
    }
}

/// Makes on a shard that joins the spaces that others have, as they have them: made by its first vector, a space would have neither their metric
/// nor their guard. How many.
pub(super) async fn make_spaces(node: &Node, others: &[Arc<Node>]) -> Result<u64, Error> {
    let mut there = node.client.space_list().await?;
    let mut made = 0;
    for other in others.iter().filter(|other| !other.is_away()) {
        for name in other.client.space_list().await? {
            if there.contains(&name) {
                continue;
            }
            let info = other.client.space_info(&name).await?;
            let options = SpaceOptions::new(info.dimension).metric(info.metric).guard(info.guard);
            let options = options.quantization(info.quantization);
            let options = if info.embedder.is_empty() { options } else { options.embedder(info.embedder) };
            node.client.space_create(&name, &options).await?;
            there.push(name);
            made += 1;
        }
    }
    Ok(made)
}

/// Copies to a shard that joins, and is away, the most used entries of others that are now its own; how many. Those that change meanwhile are
/// deleted again before the shard is used.
pub(super) async fn fill(node: &Node, routes: &Rendezvous, watches: Vec<Watch>, top: usize) -> u64 {
    let mut filled = 0;
    for watch in watches {
        let mut most_used = Copies::most_used(top);
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let copied = async {
            while let Some(mut copies) = most_used.part(&watch.client).await? {
                copies.retain(|copy| key_of(copy).is_ok_and(|key| routes.route(key) == Some(&node.name)));
                // Noted before they are sent: an import that fails may have stored some.
                for copy in &copies {
                    keys.push(key_of(copy)?.to_vec());
                }
                filled += import(&node.client, &copies).await?;
            }
            Ok::<(), Error>(())
        };
        if let Err(error) = copied.await {
            tracing::warn!(shard = node.name, %error, "the shard that joins gets fewer copies");
        }
        let changed = watch.changed(keys).await;
        filled = filled.saturating_sub(changed.len() as u64);
        node.fallback.owe(Owed::Keys(changed));
    }
    filled
}
