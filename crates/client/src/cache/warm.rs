//! Filling a cache before it is asked: from another cache, or the tier in this process from the shards.
//!
//! Copies carry their expiry and their age, so nothing lives longer by being copied. They are as new as their source was; what the shard that
//! takes them has already, or what an invalidation that it remembers has covered since the copy was made, is left out.

use super::node::value_and_ttl;
use super::{Cache, Found, Node};
use crate::commands::{Export, Import};
use crate::{Client, Error, Reply, Request, reply};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Copies that one request asks for.
const PART_COPIES: u64 = 1000;
/// Bytes of copies that one request carries to a shard, unless a single one is larger.
const IMPORT_BYTES_MAX: usize = 1 << 20;
/// Copies that one request carries to a shard.
const IMPORT_COPIES_MAX: usize = 200;
/// Values that one round trip reads into the tier in this process.
const READ_KEYS_MAX: usize = 200;
/// Where a copy of an entry says how long its key is, and where the key begins (`docs/formats/warm.md`).
const COPY_KEY_BYTES_AT: usize = 44;
const COPY_KEY_AT: usize = 60;

/// What entries are copied from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WarmSource {
    /// One shard.
    Client(Client),
    /// All shards of another cache.
    Cache(Cache),
}

impl From<&Client> for WarmSource {
    fn from(client: &Client) -> WarmSource {
        WarmSource::Client(client.clone())
    }
}

impl From<&Cache> for WarmSource {
    fn from(cache: &Cache) -> WarmSource {
        WarmSource::Cache(cache.clone())
    }
}

/// What came of copying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Warmed {
    /// Copies that were made.
    pub copied: u64,
    /// Those of them that were stored.
    pub stored: u64,
}

impl Cache {
    /// Copies the most used entries of another cache to the shards that have their keys. At most `top`, in the order in which the source's
    /// shards value them; what is there already stays.
    ///
    /// ```
    /// # use sutra_cache::embedded::Embedded;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let (old, new) = (Embedded::start(&[])?, Embedded::start(&[])?);
    /// use sutra_cache_client::{Cache, Client};
    ///
    /// let (old, new) = (Client::connect(&old.url()).await?, Cache::connect(&new.url()).await?);
    /// # old.call(sutra_cache_client::Request::new("SET").args(["k", "v"])).await?;
    /// let warmed = new.warm_from(&old, 10_000).await?;
    /// println!("{} of {} entries were new", warmed.stored, warmed.copied);
    /// # assert_eq!(new.get::<String>("k").await?.as_deref(), Some("v"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the source cannot be read, or a shard refuses a copy (a space of another dimension). Shards that are away get nothing.
    pub async fn warm_from(&self, source: impl Into<WarmSource>, top: usize) -> Result<Warmed, Error> {
        let sources = match source.into() {
            WarmSource::Client(client) => vec![client],
            WarmSource::Cache(cache) => cache.nodes().iter().map(|node| node.client.clone()).collect(),
        };
        let mut warmed = Warmed::default();
        let share = top.div_ceil(sources.len().max(1));
        for source in &sources {
            let mut most_used = Copies::most_used(share);
            while let Some(copies) = most_used.part(source).await? {
                warmed.copied += copies.len() as u64;
                let mut each: HashMap<String, (Arc<Node>, Vec<Bytes>)> = HashMap::new();
                for copy in copies {
                    let node = self.node(key_of(&copy)?);
                    each.entry(node.name.clone()).or_insert_with(|| (node, Vec::new())).1.push(copy);
                }
                for (node, copies) in each.values().filter(|(node, _)| !node.is_away()) {
                    warmed.stored += import(&node.client, copies).await?;
                }
            }
        }
        Ok(warmed)
    }

    /// Reads the entries that native commands have served most often into the tier in this process, at most `top` of them; how many it
    /// holds that it did not hold before. They count neither as hits nor as misses of this cache.
    ///
    /// ```
    /// # use sutra_cache::embedded::Embedded;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = Embedded::start(&[])?;
    /// use sutra_cache_client::Cache;
    ///
    /// let cache = Cache::connect(&shard.url()).await?;
    /// let entries = cache.warm_l1(1000).await?;
    /// println!("{entries} answers will not leave this process");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If a shard that is not away fails.
    pub async fn warm_l1(&self, top: usize) -> Result<u64, Error> {
        let mut all: Vec<(u64, Arc<Node>, Bytes)> = Vec::new();
        for node in self.nodes().into_iter().filter(|node| node.l1.is_some() && !node.is_away()) {
            for entry in node.client.top(top.max(1) as u64, None).await? {
                // One that is not this shard's is never asked for there.
                if Arc::ptr_eq(&self.node(&entry.key), &node) {
                    all.push((entry.hits, Arc::clone(&node), entry.key));
                }
            }
        }
        all.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.2.cmp(&other.2)));
        all.truncate(top);
        let mut read = 0;
        for node in self.nodes() {
            let mine = all.iter().filter(|(_, other, _)| Arc::ptr_eq(other, &node)).map(|(_, _, key)| key.as_ref());
            let keys: Vec<&[u8]> = mine.collect();
            for keys in keys.chunks(READ_KEYS_MAX) {
                read += read_into_l1(&node, keys).await?;
            }
        }
        Ok(read)
    }
}

/// Copies of the most used entries of a shard, part by part.
pub(super) struct Copies {
    /// Where to go on; none: at the end.
    next: Option<Export>,
    left: u64,
}

impl Copies {
    pub(super) fn most_used(count: usize) -> Copies {
        Copies { next: Some(Export::new()), left: count as u64 }
    }

    pub(super) async fn part(&mut self, source: &Client) -> Result<Option<Vec<Bytes>>, Error> {
        let Some(export) = self.next.take().filter(|_| self.left > 0) else { return Ok(None) };
        let part = source.warm_export(&export.clone().count(self.left.min(PART_COPIES))).await?;
        self.left = self.left.saturating_sub(part.copies.len() as u64);
        self.next = part.next.map(|cursor| export.cursor(cursor));
        Ok(Some(part.copies))
    }
}

/// How many of the copies were stored.
pub(super) async fn import(target: &Client, copies: &[Bytes]) -> Result<u64, Error> {
    let mut stored = 0;
    let mut rest = copies;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(IMPORT_COPIES_MAX).take_while(|copy| {
            bytes += copy.len();
            bytes <= IMPORT_BYTES_MAX
        });
        let (part, others) = rest.split_at(fits.count().max(1));
        stored += target.warm_import(part, &Import::new()).await?;
        rest = others;
    }
    Ok(stored)
}

pub(super) fn key_of(copy: &[u8]) -> Result<&[u8], Error> {
    let bytes: Option<[u8; 4]> =
        copy.get(COPY_KEY_BYTES_AT..COPY_KEY_BYTES_AT + 4).and_then(|bytes| bytes.try_into().ok());
    let key_bytes = bytes.map_or(usize::MAX, |bytes| u32::from_le_bytes(bytes) as usize);
    let key = copy.get(COPY_KEY_AT..).and_then(|behind| behind.get(..key_bytes));
    key.filter(|_| copy.starts_with(b"SCWE\x01")).ok_or_else(|| {
        reply::unexpected(
            "a copy of an entry, version 1",
            &Reply::Bulk(Bytes::copy_from_slice(&copy[..copy.len().min(16)])),
        )
    })
}

/// Reads what is not there yet; how many there were.
async fn read_into_l1(node: &Node, keys: &[&[u8]]) -> Result<u64, Error> {
    let Some(l1) = &node.l1 else { return Ok(0) };
    let now = Instant::now();
    let missing: Vec<&[u8]> = keys.iter().copied().filter(|key| l1.get(key, now).is_none()).collect();
    let tickets: Vec<_> = missing.iter().map(|key| node.begin(key)).collect();
    let requests: Vec<_> = missing.iter().map(|key| Request::read("CACHE.GET").arg(key).arg("WITHTTL")).collect();
    let mut read = 0;
    let replies = node.client.pipeline_tracked(&requests).await?;
    for ((key, ticket), answer) in missing.into_iter().zip(tickets).zip(replies) {
        let found: Option<Found> = value_and_ttl(answer?)?;
        if let Some(found) = found {
            node.keep(ticket, key, &found);
            read += 1;
        }
    }
    Ok(read)
}
