//! Filling a cache before it is asked: from another cache, or the tier in this process from the shards.
//!
//! Copies carry their expiry and their age, so nothing lives longer by being copied. They are as new as their source was; what the shard that
//! takes them has already, or what an invalidation that it remembers has covered since the copy was made, is left out.

use super::node::value_and_ttl;
use super::{Cache, Found, Node};
use crate::fallback::Owed;
use crate::link::Observer;
use crate::rendezvous::Rendezvous;
use crate::stats::Stats;
use crate::{Client, Error, Reply, Request, Tracking, reply};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use sutra_protocol::Frame;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Copies that one request asks for.
const PART_COPIES: usize = 1000;
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
            let mut export = Export::new(share);
            while let Some(copies) = export.next(source).await? {
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
            let request = Request::read("CACHE.TOP").number(top.max(1) as u64);
            for entry in reply::array(node.client.call(request).await?)? {
                let (mut key, mut hits) = (None, 0);
                for (name, value) in reply::map(entry)? {
                    match name.as_str() {
                        "key" => key = Some(reply::bytes(value)?),
                        "hits" => hits = reply::count(value)?,
                        _ => {}
                    }
                }
                // One that is not this shard's is never asked for there.
                if let Some(key) = key.filter(|key| Arc::ptr_eq(&self.node(key), &node)) {
                    all.push((hits, Arc::clone(&node), key));
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

/// Copies to a shard that joins, and is away, the most used entries of others that are now its own; how many. Those that change meanwhile are
/// deleted again before the shard is used.
pub(super) async fn fill(node: &Node, routes: &Rendezvous, watches: Vec<Watch>, top: usize) -> u64 {
    let mut filled = 0;
    for watch in watches {
        let mut export = Export::new(top);
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let copied = async {
            while let Some(mut copies) = export.next(&watch.client).await? {
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

/// Copies of the most used entries of a shard, part by part.
struct Export {
    /// Where to go on; none: at the end.
    cursor: Option<String>,
    left: usize,
}

impl Export {
    fn new(top: usize) -> Export {
        Export { cursor: Some("0".to_owned()), left: top }
    }

    async fn next(&mut self, source: &Client) -> Result<Option<Vec<Bytes>>, Error> {
        let Some(cursor) = self.cursor.take().filter(|_| self.left > 0) else { return Ok(None) };
        let count = self.left.min(PART_COPIES) as u64;
        let request = Request::read("CACHE.WARM").args(["EXPORT", "COUNT"]).number(count).arg("CURSOR").arg(&cursor);
        let mut parts = reply::array(source.call(request).await?)?.into_iter();
        let cursor = reply::text(parts.next().unwrap_or(Frame::Null))?;
        let copies = reply::array(parts.next().unwrap_or(Frame::Null))?;
        let copies = copies.into_iter().map(reply::bytes).collect::<Result<Vec<_>, _>>()?;
        self.left = self.left.saturating_sub(copies.len());
        self.cursor = (cursor != "0").then_some(cursor);
        Ok(Some(copies))
    }
}

/// How many of the copies were stored.
async fn import(target: &Client, copies: &[Bytes]) -> Result<u64, Error> {
    let mut stored = 0;
    let mut rest = copies;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(IMPORT_COPIES_MAX).take_while(|copy| {
            bytes += copy.len();
            bytes <= IMPORT_BYTES_MAX
        });
        let (part, others) = rest.split_at(fits.count().max(1));
        // A second time it finds its own entries and leaves them.
        let request = Request::read("CACHE.WARM").arg("IMPORT").args(part);
        stored += reply::count(target.call(request).await?)?;
        rest = others;
    }
    Ok(stored)
}

fn key_of(copy: &[u8]) -> Result<&[u8], Error> {
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
