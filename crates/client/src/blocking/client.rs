//! One shard, and any command on it, for threads that wait.

use super::wait;
use crate::codec::{FromValue, ToValue};
use crate::{
    Config, DryRun, EmbeddingOptions, Entry, Error, Found, Hit, Import, Invalidate, LeaseOptions, LeaseToken, Leased,
    Lifetime, LoggedInvalidation, Lookup, Meta, PoolSnapshot, Query, Reply, Request, Scan, Search, SetOptions,
    ShardStats, SpaceInfo, SpaceOptions, SpaceStats, TopEntry,
};
use bytes::Bytes;
use std::time::Duration;

/// [`crate::Client`] for threads that wait: cheap to clone, used from any number of threads. Each method is that of the same name there, with its
/// errors; [`Client::run`] makes any other call.
///
/// ```
/// use sutra_cache_client::blocking::Client;
/// use sutra_cache_client::Request;
/// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let url = shard.url();
///
/// let client = Client::connect(&url)?;
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| client.incr("visits", 1));
///     }
/// });
/// assert_eq!(client.get::<String>("visits")?.as_deref(), Some("4"));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    inner: crate::Client,
}

#[expect(clippy::missing_errors_doc, reason = "the errors are those of the async methods of the same names")]
impl Client {
    /// See [`crate::Client::connect`].
    pub fn connect(url: &str) -> Result<Client, Error> {
        Client::open(Config::new(url)?)
    }

    /// See [`crate::Client::open`].
    pub fn open(config: Config) -> Result<Client, Error> {
        wait(crate::Client::open(config)).map(|inner| Client { inner })
    }

    /// See [`crate::Client::lazy`].
    pub fn lazy(config: Config) -> Result<Client, Error> {
        wait(async { Ok(Client { inner: crate::Client::lazy(config) }) })
    }

    /// The async client that this one waits for.
    #[must_use]
    pub fn inner(&self) -> &crate::Client {
        &self.inner
    }

    /// Makes any call of the async client and waits for it.
    ///
    /// ```
    /// use sutra_cache_client::blocking::Client;
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let url = shard.url();
    ///
    /// let client = Client::connect(&url)?;
    /// let (a, b) = client.run(async |client| tokio::try_join!(client.incr("a", 1), client.incr("b", 2)))?;
    /// assert_eq!((a, b), (1, 2));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn run<T>(&self, call: impl AsyncFnOnce(&crate::Client) -> Result<T, Error>) -> Result<T, Error> {
        wait(async { call(&self.inner).await })
    }

    /// See [`crate::Client::ready`].
    pub fn ready(&self) -> Result<(), Error> {
        wait(self.inner.ready())
    }

    /// See [`crate::Client::call`].
    pub fn call(&self, request: Request) -> Result<Reply, Error> {
        wait(self.inner.call(request))
    }

    /// See [`crate::Client::pipeline`].
    pub fn pipeline(&self, requests: &[Request]) -> Result<Vec<Result<Reply, Error>>, Error> {
        wait(self.inner.pipeline(requests))
    }

    /// See [`crate::Client::atomic`].
    pub fn atomic(&self, requests: &[Request]) -> Result<Vec<Result<Reply, Error>>, Error> {
        wait(self.inner.atomic(requests))
    }

    /// See [`crate::Client::close`].
    pub fn close(&self) {
        self.inner.close();
    }

    /// See [`crate::Client::connections`].
    #[must_use]
    pub fn connections(&self) -> PoolSnapshot {
        self.inner.connections()
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        self.inner.config()
    }

    // ---- keys ----

    /// See [`crate::Client::get`].
    pub fn get<V: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<Option<V>, Error> {
        wait(self.inner.get(key))
    }

    /// See [`crate::Client::set`].
    pub fn set<V: ToValue + ?Sized>(&self, key: impl AsRef<[u8]>, value: &V) -> Result<(), Error> {
        wait(self.inner.set(key, value))
    }

    /// See [`crate::Client::set_with`].
    pub fn set_with<V: ToValue + ?Sized>(
        &self,
        key: impl AsRef<[u8]>,
        value: &V,
        options: &SetOptions,
    ) -> Result<bool, Error> {
        wait(self.inner.set_with(key, value, options))
    }

    /// See [`crate::Client::delete`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        wait(self.inner.delete(key))
    }

    /// See [`crate::Client::delete_all`].
    pub fn delete_all<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<u64, Error> {
        wait(self.inner.delete_all(keys))
    }

    /// See [`crate::Client::exists`].
    pub fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        wait(self.inner.exists(key))
    }

    /// See [`crate::Client::ttl`].
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Lifetime, Error> {
        wait(self.inner.ttl(key))
    }

    /// See [`crate::Client::expire`].
    pub fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool, Error> {
        wait(self.inner.expire(key, ttl))
    }

    /// See [`crate::Client::mget`].
    pub fn mget<V: FromValue>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Vec<Option<V>>, Error> {
        wait(self.inner.mget(keys))
    }

    /// See [`crate::Client::mset`].
    pub fn mset<K: AsRef<[u8]>, V: ToValue>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
        ttl: Option<Duration>,
    ) -> Result<(), Error> {
        wait(self.inner.mset(pairs, ttl))
    }

    /// See [`crate::Client::incr`].
    pub fn incr(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i64, Error> {
        wait(self.inner.incr(key, by))
    }

    /// See [`crate::Client::clear`].
    pub fn clear(&self) -> Result<(), Error> {
        wait(self.inner.clear())
    }

    /// See [`crate::Client::scan`].
    pub fn scan(&self, pattern: impl AsRef<[u8]>) -> Keys {
        Keys { scan: self.inner.scan(pattern) }
    }

    // ---- entries with what is known of them ----

    /// See [`crate::Client::cache_set`].
    pub fn cache_set(&self, entry: &Entry) -> Result<bool, Error> {
        wait(self.inner.cache_set(entry))
    }

    /// See [`crate::Client::cache_get`].
    pub fn cache_get<V: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<Option<V>, Error> {
        wait(self.inner.cache_get(key))
    }

    /// See [`crate::Client::cache_get_with_meta`].
    pub fn cache_get_with_meta<V: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<Option<(V, Meta)>, Error> {
        wait(self.inner.cache_get_with_meta(key))
    }

    /// See [`crate::Client::lease`].
    pub fn lease(&self, key: impl AsRef<[u8]>, options: &LeaseOptions) -> Result<Leased<Bytes>, Error> {
        wait(self.inner.lease(key, options))
    }

    /// See [`crate::Client::release`].
    pub fn release(&self, key: impl AsRef<[u8]>, token: &LeaseToken) -> Result<bool, Error> {
        wait(self.inner.release(key, token))
    }

    /// See [`crate::Client::embeddings_get`].
    pub fn embeddings_get<T: AsRef<str>>(
        &self,
        model: &str,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Option<Vec<f32>>>, Error> {
        wait(self.inner.embeddings_get(model, texts))
    }

    /// See [`crate::Client::embeddings_put`].
    pub fn embeddings_put<T: AsRef<str>, V: AsRef<[f32]>>(
        &self,
        model: &str,
        pairs: impl IntoIterator<Item = (T, V)>,
        options: &EmbeddingOptions,
    ) -> Result<u64, Error> {
        wait(self.inner.embeddings_put(model, pairs, options))
    }

    /// See [`crate::Client::tags`].
    pub fn tags(&self) -> Result<Vec<(String, u64)>, Error> {
        wait(self.inner.tags())
    }

    /// See [`crate::Client::feedback`].
    pub fn feedback(&self, key: impl AsRef<[u8]>, is_good: bool) -> Result<bool, Error> {
        wait(self.inner.feedback(key, is_good))
    }

    // ---- by meaning ----

    /// See [`crate::Client::lookup`].
    pub fn lookup(&self, lookup: &Lookup) -> Result<Option<Hit>, Error> {
        wait(self.inner.lookup(lookup))
    }

    /// See [`crate::Client::lookup_value`].
    pub fn lookup_value<V: FromValue>(&self, lookup: &Lookup) -> Result<Option<V>, Error> {
        wait(self.inner.lookup_value(lookup))
    }

    /// See [`crate::Client::lookup_or_lease`].
    pub fn lookup_or_lease(&self, lookup: &Lookup, options: &LeaseOptions) -> Result<Leased<Hit>, Error> {
        wait(self.inner.lookup_or_lease(lookup, options))
    }

    /// See [`crate::Client::search`].
    pub fn search(&self, search: &Search) -> Result<Vec<Found>, Error> {
        wait(self.inner.search(search))
    }

    // ---- invalidation ----

    /// See [`crate::Client::invalidate`].
    pub fn invalidate(&self, invalidate: &Invalidate) -> Result<u64, Error> {
        wait(self.inner.invalidate(invalidate))
    }

    /// See [`crate::Client::dry_run`].
    pub fn dry_run(&self, invalidate: &Invalidate) -> Result<DryRun, Error> {
        wait(self.inner.dry_run(invalidate))
    }

    /// See [`crate::Client::semantic_invalidate`].
    pub fn semantic_invalidate(&self, space: &str, query: impl Into<Query>, threshold: f64) -> Result<u64, Error> {
        wait(self.inner.semantic_invalidate(space, query, threshold))
    }

    /// See [`crate::Client::invalidate_pattern`].
    pub fn invalidate_pattern(&self, pattern: impl AsRef<[u8]>) -> Result<u64, Error> {
        wait(self.inner.invalidate_pattern(pattern))
    }

    /// See [`crate::Client::invalidate_tag`].
    pub fn invalidate_tag(&self, tag: impl AsRef<[u8]>) -> Result<u64, Error> {
        wait(self.inner.invalidate_tag(tag))
    }

    /// See [`crate::Client::undo`].
    pub fn undo(&self, lsn: u64) -> Result<u64, Error> {
        wait(self.inner.undo(lsn))
    }

    /// See [`crate::Client::log`].
    pub fn log(&self, count: u64) -> Result<Vec<LoggedInvalidation>, Error> {
        wait(self.inner.log(count))
    }

    // ---- spaces ----

    /// See [`crate::Client::space_create`].
    pub fn space_create(&self, name: &str, options: &SpaceOptions) -> Result<(), Error> {
        wait(self.inner.space_create(name, options))
    }

    /// See [`crate::Client::space_drop`].
    pub fn space_drop(&self, name: &str) -> Result<u64, Error> {
        wait(self.inner.space_drop(name))
    }

    /// See [`crate::Client::space_list`].
    pub fn space_list(&self) -> Result<Vec<String>, Error> {
        wait(self.inner.space_list())
    }

    /// See [`crate::Client::space_info`].
    pub fn space_info(&self, name: &str) -> Result<SpaceInfo, Error> {
        wait(self.inner.space_info(name))
    }

    /// See [`crate::Client::space_bump`].
    pub fn space_bump(&self, name: &str) -> Result<u64, Error> {
        wait(self.inner.space_bump(name))
    }

    // ---- what the shard knows of itself ----

    /// See [`crate::Client::shard_stats`].
    pub fn shard_stats(&self, since: Option<Duration>) -> Result<ShardStats, Error> {
        wait(self.inner.shard_stats(since))
    }

    /// See [`crate::Client::space_stats`].
    pub fn space_stats(&self, space: &str, since: Option<Duration>) -> Result<SpaceStats, Error> {
        wait(self.inner.space_stats(space, since))
    }

    /// See [`crate::Client::ask`].
    pub fn ask(&self, question: &str) -> Result<String, Error> {
        wait(self.inner.ask(question))
    }

    /// See [`crate::Client::top`].
    pub fn top(&self, count: u64, since: Option<Duration>) -> Result<Vec<TopEntry>, Error> {
        wait(self.inner.top(count, since))
    }

    /// See [`crate::Client::warm_from`].
    pub fn warm_from(&self, other: &Client, entries_max: u64, import: &Import) -> Result<u64, Error> {
        wait(self.inner.warm_from(&other.inner, entries_max, import))
    }
}

/// A walk over keys; see [`Scan`].
///
/// ```
/// use sutra_cache_client::blocking::Client;
/// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let url = shard.url();
///
/// let client = Client::connect(&url)?;
/// client.mset([("user:1", "a"), ("user:2", "b"), ("other", "c")], None)?;
/// let keys: Vec<_> = client.scan("user:*").collect::<Result<_, _>>()?;
/// assert_eq!(keys.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Keys {
    scan: Scan,
}

impl Iterator for Keys {
    type Item = Result<Bytes, Error>;

    fn next(&mut self) -> Option<Result<Bytes, Error>> {
        wait(self.scan.next()).transpose()
    }
}
