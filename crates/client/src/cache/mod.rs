//! The cache that applications use: two tiers, faults that are misses, values of any type, one shard or several.

mod adaptive;
mod answers;
mod compute;
mod debts;
mod embeddings;
mod fill;
mod flight;
mod lease;
mod node;
mod rebalance;
mod refresh;
mod scatter;
mod settings;
mod shards;
mod warm;
mod warm_up;

pub use answers::{Answer, Question};
pub use compute::Compute;
pub use embeddings::Embeddings;
pub(crate) use node::{Found, Node};
pub use rebalance::{Rebalanced, Swept};
pub use scatter::Scattered;
pub use settings::{CacheBuilder, OnFault, Writes};
pub use shards::{Joined, Joining, ShardHealth};
pub use warm::{WarmSource, Warmed};
pub use warm_up::{WarmUp, WarmUpHandle, WarmUpSnapshot};

use compute::Computing;

use crate::codec::{FromValue, ToValue, decode, encode};
use crate::l1::{About, L1Snapshot, Removals};
use crate::rendezvous::Rendezvous;
use crate::stats::{Counter, Operation, Snapshot, Stats};
use crate::{Config, Error, Request, reply};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// A cache in two tiers: entries in this process, kept coherent by what the shard pushes, in front of one shard or several.
///
/// Cheap to clone, and shared by all tasks. A fault of a shard is a miss (see [`OnFault`]): what is read is either not there or was valid
/// when the shard last spoke, and what could not be written or deleted is deleted before the shard is read again.
#[derive(Debug, Clone)]
pub struct Cache {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) routes: RwLock<Routes>,
    pub(crate) builder: CacheBuilder,
    pub(crate) stats: Arc<Stats>,
    pub(crate) background: Arc<Semaphore>,
    adaptive: adaptive::Observations,
    /// Shards come and go one at a time.
    pub(crate) membership: Arc<tokio::sync::Mutex<()>>,
    pub(crate) computing: Computing,
}

/// Which shard has which keys.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    pub(crate) hashing: Rendezvous,
    /// In the order of `hashing`'s nodes.
    pub(crate) nodes: Vec<Arc<Node>>,
}

impl Routes {
    pub(crate) fn of(&self, key: &[u8]) -> &Arc<Node> {
        if let [only] = &self.nodes[..] {
            return only;
        }
        &self.nodes[self.hashing.route_index(key).expect("a cache has at least one shard")]
    }

    /// Whether a shard of this name and weight could be added.
    pub(crate) fn check(&self, name: &str, weight: f64) -> Result<(), Error> {
        self.hashing.clone().add(name, weight).map_err(|error| Error::Config(format!("shard {name}: {error}")))
    }

    pub(crate) fn add(&mut self, node: Arc<Node>, weight: f64) -> Result<(), Error> {
        let refused = |error: crate::rendezvous::NodeError| Error::Config(error.to_string());
        self.hashing.add(&node.name, weight).map_err(refused)?;
        let place = self.nodes.partition_point(|other| other.name < node.name);
        self.nodes.insert(place, node);
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.hashing.remove(name);
        self.nodes.retain(|node| node.name != name);
    }
}

/// Writes that one call has under way at once. Thousands of futures that one task waits for starve each other of the task's share of time.
const WAVE_LEN: usize = 512;

/// How long a written value is to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ttl {
    /// As long as the cache's settings say.
    #[default]
    Default,
    /// So long, to the millisecond.
    For(Duration),
    /// Until it is deleted or evicted.
    Forever,
    /// As long as the [rule](crate::ttl) says for what this process has seen of the key: longer, the longer its value stays the same when it is
    /// written anew, shorter with every change ([`CacheBuilder::adaptive_ttl`]).
    Adaptive,
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Ttl {
        Ttl::For(duration)
    }
}

impl Cache {
    /// The default settings, for the shard at this URL.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::builder(&shard.url())?.ttl(std::time::Duration::from_secs(60)).connect().await?;
    /// cache.set("k", "v").await?;
    /// assert!(cache.ttl("k").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] if it is no URL of a shard.
    pub fn builder(url: &str) -> Result<CacheBuilder, Error> {
        Ok(CacheBuilder::of(Config::new(url)?))
    }

    /// A cache with the default settings, connected.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::connect(&shard.url()).await?;
    /// assert_eq!(cache.get::<String>("k").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the shard cannot be reached in time.
    pub async fn connect(url: &str) -> Result<Cache, Error> {
        Cache::builder(url)?.connect().await
    }

    pub(crate) fn new(builder: CacheBuilder) -> Result<Cache, Error> {
        let stats = Arc::new(Stats::new());
        let mut routes = Routes::default();
        let computing = Computing::default();
        for (name, weight, config) in &builder.shards {
            routes.check(name, *weight)?;
            routes.add(Node::new(name, config.clone(), &builder, &stats, &computing.times), *weight)?;
        }
        let background = Arc::new(Semaphore::new(builder.background_max));
        let (routes, membership) = (RwLock::new(routes), Arc::default());
        let adaptive = adaptive::Observations::new(builder.adaptive_ttl);
        Ok(Cache { inner: Arc::new(Inner { routes, builder, stats, background, adaptive, membership, computing }) })
    }

    /// Waits until every shard is connected.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::builder(&shard.url())?.build()?;
    /// cache.ready().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The first that is not in time.
    pub async fn ready(&self) -> Result<(), Error> {
        for node in self.nodes() {
            node.client.ready().await?;
        }
        Ok(())
    }

    // ---- one key ----

    /// The value, from this process or else from the shard; `None`: there is none, it is known not to exist, or the shard is away.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::connect(&shard.url()).await?;
    /// cache.set("k", "v").await?;
    /// assert_eq!(cache.get::<String>("k").await?.as_deref(), Some("v"));
    /// assert_eq!(cache.get::<String>("other").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If what is there is no value of this type; and faults, if the cache was asked to return them.
    pub async fn get<V: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<Option<V>, Error> {
        let found = self.find(key.as_ref()).await?;
        found.map_or(Ok(None), |found| self.decoded(found))
    }

    /// Writes the value, to live as long as the cache's settings say.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::connect(&shard.url()).await?;
    /// cache.set("vector", &[0.5_f32, -1.0]).await?;
    /// assert_eq!(cache.get::<Vec<f32>>("vector").await?, Some(vec![0.5, -1.0]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the value cannot be written; and faults, if the cache was asked to return them.
    pub async fn set<V: ToValue + ?Sized>(&self, key: impl AsRef<[u8]>, value: &V) -> Result<(), Error> {
        self.set_for(key, value, Ttl::Default).await
    }

    /// Writes the value, to live for a time.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::connect(&shard.url()).await?;
    /// cache.set_for("k", "v", std::time::Duration::from_secs(60)).await?;
    /// assert!(cache.ttl("k").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Cache::set`].
    pub async fn set_for<V: ToValue + ?Sized>(
        &self,
        key: impl AsRef<[u8]>,
        value: &V,
        ttl: impl Into<Ttl>,
    ) -> Result<(), Error> {
        let (key, value) = (key.as_ref(), encode(value)?);
        let ttl = self.ttl_for(ttl.into(), key, &value);
        let mut request = Request::new("SET").arg(key).arg(&value);
        if let Some(ttl) = ttl {
            request = request.arg("PX").number(millis(ttl));
        }
        self.write(key, &value, ttl, request.repeatable()).await
    }

    /// Deletes the entry; whether there was one, as far as is known.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::connect(&shard.url()).await?;
    /// cache.set("k", "v").await?;
    /// assert!(cache.delete("k").await?);
    /// assert!(!cache.exists("k").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Faults, if the cache was asked to return them. Else a deletion that could not be sent is made up for before the shard is read again.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let key = key.as_ref();
        let node = self.node(key);
        if let Some(outage) = node.fallback.outage()
            && node.fallback.delete(outage, key)
        {
            return self.forgiven(Err(Error::BreakerOpen), false);
        }
        let deleted = node.change(Operation::Manage, &[key], Request::read("UNLINK").arg(key)).await;
        self.forgiven(deleted.and_then(reply::count).map(|count| count > 0), false)
    }

    /// Whether there is an entry.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::connect(&shard.url()).await?;
    /// cache.set("k", "v").await?;
    /// assert!(cache.exists("k").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Faults, if the cache was asked to return them.
    pub async fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let key = key.as_ref();
        let node = self.node(key);
        if node.look(key, Instant::now()).is_some_and(|found| !found.is_negative()) {
            return Ok(true);
        }
        let answer = node.call(Operation::Manage, Request::read("EXISTS").arg(key)).await;
        self.forgiven(answer.and_then(reply::count).map(|count| count > 0), false)
    }

    /// How long the entry has to live; `None`: there is none, or it lives until it is deleted or evicted.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::connect(&shard.url()).await?;
    /// cache.set("k", "v").await?;
    /// assert_eq!(cache.ttl("k").await?, None, "it lives until it is deleted or evicted");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Faults, if the cache was asked to return them.
    pub async fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Duration>, Error> {
        let key = key.as_ref();
        let answer = self.node(key).call(Operation::Manage, Request::read("PTTL").arg(key)).await;
        self.forgiven(answer.and_then(reply::integer).map(|ms| u64::try_from(ms).ok().map(Duration::from_millis)), None)
    }

    // ---- several keys ----

    /// The values of several keys in their order: what is in this process, and the rest in one round trip to each shard that has any.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::connect(&shard.url()).await?;
    /// cache.set("a", "1").await?;
    /// assert_eq!(cache.get_many::<String, _>(&["a", "b"]).await?, [Some("1".to_owned()), None]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub async fn get_many<V: FromValue, K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<V>>, Error> {
        let found = self.find_many(&keys.iter().map(AsRef::as_ref).collect::<Vec<_>>()).await?;
        found.into_iter().map(|found| found.map_or(Ok(None), |found| self.decoded(found))).collect()
    }

    /// Writes several values, pipelined: a round trip for each 512 of them.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::connect(&shard.url()).await?;
    /// cache.set_many(&[("a", "1"), ("b", "2")], std::time::Duration::from_secs(60)).await?;
    /// assert_eq!(cache.get::<String>("b").await?.as_deref(), Some("2"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Cache::set`]; of several errors the first. The other values may have been written.
    pub async fn set_many<K: AsRef<[u8]>, V: ToValue>(
        &self,
        entries: &[(K, V)],
        ttl: impl Into<Ttl>,
    ) -> Result<(), Error> {
        let ttl = ttl.into();
        let mut result = Ok(());
        for wave in entries.chunks(WAVE_LEN) {
            // Each is queued before any is waited for, and those who were not the first to fail are written all the same.
            let writes = wave.iter().map(|(key, value)| self.set_for(key, value, ttl));
            result = futures_util::future::join_all(writes).await.into_iter().fold(result, Result::and);
        }
        result
    }

    /// Deletes several entries; how many there were, as far as is known.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::connect(&shard.url()).await?;
    /// cache.set("a", "1").await?;
    /// assert_eq!(cache.delete_many(&["a", "b"]).await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Cache::delete`].
    pub async fn delete_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<u64, Error> {
        let mut deleted = Ok(0);
        for wave in keys.chunks(WAVE_LEN) {
            for one in futures_util::future::join_all(wave.iter().map(|key| self.delete(key))).await {
                deleted = deleted.and_then(|count: u64| Ok(count + u64::from(one?)));
            }
        }
        deleted
    }

    /// Deletes everything in the database that the cache is connected to, on every shard.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::connect(&shard.url()).await?;
    /// cache.set("a", "1").await?;
    /// cache.clear().await?;
    /// assert!(!cache.exists("a").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Faults, if the cache was asked to return them.
    pub async fn clear(&self) -> Result<(), Error> {
        for node in self.nodes() {
            if let Some(outage) = node.fallback.outage()
                && node.fallback.delete_unknown(outage)
            {
                self.forgiven(Err(Error::BreakerOpen), ())?;
                continue;
            }
            let cleared = node.call(Operation::Invalidate, Request::read("FLUSHDB")).await.and_then(reply::done);
            if let Some(l1) = &node.l1 {
                l1.invalidate_all();
            }
            if cleared.as_ref().is_err_and(Error::is_fault) {
                node.owe(crate::fallback::Owed::Everything);
            }
            self.forgiven(cleared, ())?;
        }
        Ok(())
    }

    /// Waits until everything that the shards had to tell of changes so far is obeyed here: whatever was acknowledged to anybody before this call
    /// is seen by reads after it. For who heard of a change by another way than through the cache, and cannot wait the moment until its
    /// push has come by itself. Two round trips on every connection.
    ///
    /// ```
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// use sutra_cache_client::Cache;
    ///
    /// let (reader, writer) = (Cache::connect(&shard.url()).await?, Cache::connect(&shard.url()).await?);
    /// writer.set("price", "10").await?;
    /// assert_eq!(reader.get::<String>("price").await?.as_deref(), Some("10"));
    /// writer.set("price", "12").await?;
    /// reader.catch_up().await?;
    /// assert_eq!(reader.get::<String>("price").await?.as_deref(), Some("12"));
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// If a connection is not there, whatever [`OnFault`] says: then nothing is known.
    pub async fn catch_up(&self) -> Result<(), Error> {
        let nodes = self.nodes();
        let waits = nodes.iter().filter(|node| node.l1.is_some()).map(|node| node.client.catch_up());
        futures_util::future::try_join_all(waits).await.map(drop)
    }

    // ---- what it did ----

    /// Counters, latencies and money since the cache was made.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::connect(&shard.url()).await?;
    /// cache.get::<String>("k").await?;
    /// assert_eq!((cache.stats().hits, cache.stats().misses), (0, 1));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        self.inner.stats.snapshot().with_l1(self.l1_snapshot())
    }

    /// The same as text for Prometheus.
    ///
    /// ```
    /// use sutra_cache_client::Cache;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let cache = Cache::connect(&shard.url()).await?;
    /// assert!(cache.prometheus().contains("# TYPE"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn prometheus(&self) -> String {
        self.inner.stats.prometheus(Some(&self.l1_snapshot()))
    }

    // ---- for the other files of the cache ----

    pub(crate) fn node(&self, key: &[u8]) -> Arc<Node> {
        let routes = self.inner.routes.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(routes.of(key))
    }

    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.inner.routes.read().unwrap_or_else(PoisonError::into_inner).nodes.clone()
    }

    pub(crate) fn counters(&self) -> &Stats {
        &self.inner.stats
    }

    pub(crate) async fn find(&self, key: &[u8]) -> Result<Option<Found>, Error> {
        let began = Instant::now();
        let node = self.node(key);
        if let Some(found) = node.look(key, began) {
            self.counters().took(Operation::Get, began.elapsed());
            return Ok(Some(found));
        }
        if node.is_away() {
            self.counters().count(Counter::Misses);
            return self.forgiven(Err(Error::BreakerOpen), None);
        }
        let fetched = node.fetch(key).await;
        self.missed(fetched, None, 1)
    }

    pub(crate) async fn find_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Found>>, Error> {
        let now = Instant::now();
        let mut found: Vec<Option<Found>> = Vec::with_capacity(keys.len());
        let mut wanted: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let node = self.node(key);
            let here = node.look(key, now);
            if here.is_none() {
                match wanted.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &node)) {
                    Some((_, indexes)) => indexes.push(index),
                    None => wanted.push((node, vec![index])),
                }
            }
            found.push(here);
        }
        let fetches = wanted.iter().map(|(node, indexes)| async move {
            let keys: Vec<&[u8]> = indexes.iter().map(|index| keys[*index]).collect();
            (indexes, if node.is_away() { Err(Error::BreakerOpen) } else { node.fetch_all(&keys).await })
        });
        for (indexes, fetched) in futures_util::future::join_all(fetches).await {
            let fetched = self.missed(fetched, vec![None; indexes.len()], indexes.len() as u64)?;
            for (index, fetched) in indexes.iter().zip(fetched) {
                found[*index] = fetched;
            }
        }
        Ok(found)
    }

    /// Sends a write of one value, or keeps it here while the shard is away.
    pub(crate) async fn write(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
        request: Request,
    ) -> Result<(), Error> {
        let node = self.node(key);
        let now = Instant::now();
        if let Some(outage) = node.fallback.outage() {
            let about = About { expires_at: ttl.and_then(|ttl| now.checked_add(ttl)), ..About::default() };
            if node.fallback.put(outage, key, value, about, now) {
                self.counters().count(Counter::WriteFaults);
                return self.forgiven(Err(Error::BreakerOpen), ());
            }
        }
        if self.inner.builder.writes == Writes::BestEffort
            && let Ok(permit) = Arc::clone(&self.inner.background).try_acquire_owned()
        {
            let (cache, key) = (self.clone(), key.to_vec());
            tokio::spawn(async move {
                // What became of it is counted.
                drop(cache.write_now(&node, &key, request).await);
                drop(permit);
            });
            return Ok(());
        }
        let written = self.write_now(&node, key, request).await;
        self.forgiven(written, ())
    }

    async fn write_now(&self, node: &Arc<Node>, key: &[u8], request: Request) -> Result<(), Error> {
        let written = node.change(Operation::Set, &[key], request).await.and_then(reply::done);
        self.counters().count(if written.is_ok() { Counter::Writes } else { Counter::WriteFaults });
        written
    }

    /// A failed read counts as so many misses, and is one unless faults are to be returned.
    pub(crate) fn missed<T>(&self, result: Result<T, Error>, nothing: T, misses: u64) -> Result<T, Error> {
        if result.is_err() {
            self.counters().add(Counter::Misses, misses);
        }
        self.forgiven(result, nothing)
    }

    /// The stand-in for a result that a fault prevented, unless faults are to be returned.
    pub(crate) fn forgiven<T>(&self, result: Result<T, Error>, instead: T) -> Result<T, Error> {
        match result {
            Err(error) if error.is_fault() && self.inner.builder.on_fault == OnFault::Miss => {
                tracing::debug!(%error, "a fault of the cache, taken for a miss");
                Ok(instead)
            }
            other => other,
        }
    }

    pub(crate) fn ttl_of(&self, ttl: Ttl) -> Option<Duration> {
        match ttl {
            Ttl::Default | Ttl::Adaptive => self.inner.builder.ttl,
            Ttl::For(ttl) => Some(ttl),
            Ttl::Forever => None,
        }
    }

    /// How long this value of this key is to live.
    pub(crate) fn ttl_for(&self, ttl: Ttl, key: &[u8], value: &[u8]) -> Option<Duration> {
        if ttl == Ttl::Adaptive {
            return Some(self.inner.adaptive.written(key, value, Instant::now()));
        }
        self.ttl_of(ttl)
    }

    pub(crate) fn decoded<V: FromValue>(&self, found: Found) -> Result<Option<V>, Error> {
        let decoded = decode(found.value).map_err(Error::from);
        match &decoded {
            Ok(None) => self.counters().count(Counter::NegativeHits),
            Ok(Some(_)) => {}
            Err(error) => self.counters().failed(error),
        }
        decoded
    }

    fn l1_snapshot(&self) -> L1Snapshot {
        let each = self.nodes().into_iter().filter_map(|node| node.l1.as_ref().map(|l1| l1.snapshot()));
        each.fold(L1Snapshot::default(), |sum, one| L1Snapshot {
            entries: sum.entries + one.entries,
            bytes: sum.bytes + one.bytes,
            removals: Removals {
                expired: sum.removals.expired + one.removals.expired,
                invalidated: sum.removals.invalidated + one.removals.invalidated,
                entries_limit: sum.removals.entries_limit + one.removals.entries_limit,
                bytes_limit: sum.removals.bytes_limit + one.removals.bytes_limit,
                replaced: sum.removals.replaced + one.removals.replaced,
                cleared: sum.removals.cleared + one.removals.cleared,
            },
            outdated: sum.outdated + one.outdated,
        })
    }
}

/// A time to live as the shard takes it: a value that is written lives at least a millisecond.
pub(crate) fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 4)
}
