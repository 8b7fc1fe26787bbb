//! The cache of two tiers, for threads that wait.

use super::wait;
use crate::codec::{FromValue, ToValue};
use crate::stats::Snapshot;
use crate::{Answer, CacheBuilder, Compute, DryRun, Embeddings, Entry, Error, Found, Hit, Invalidate, Lookup};
use crate::{Query, Question, Scattered, Search, ShardHealth, Ttl};
use std::sync::Arc;
use std::time::Duration;

/// Why a computation failed, whatever it says.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// [`crate::Cache`] for threads that wait: cheap to clone, used from any number of threads. Each method is that of the same name there, with its
/// errors; [`Cache::run`] makes any other call.
///
/// ```
/// use sutra_cache_client::blocking::Cache;
/// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let url = shard.url();
///
/// let cache = Cache::connect(&url)?;
/// cache.set("greeting", "hello")?;
/// assert_eq!(cache.get::<String>("greeting")?.as_deref(), Some("hello"));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cache {
    inner: crate::Cache,
}

#[expect(clippy::missing_errors_doc, reason = "the errors are those of the async methods of the same names")]
impl Cache {
    /// See [`crate::Cache::connect`].
    pub fn connect(url: &str) -> Result<Cache, Error> {
        Cache::open(crate::Cache::builder(url)?)
    }

    /// Connects with these settings; see [`CacheBuilder::connect`].
    pub fn open(builder: CacheBuilder) -> Result<Cache, Error> {
        wait(builder.connect()).map(|inner| Cache { inner })
    }

    /// A cache that connects by and by; see [`CacheBuilder::build`].
    pub fn build(builder: CacheBuilder) -> Result<Cache, Error> {
        wait(async { builder.build() }).map(|inner| Cache { inner })
    }

    /// The async cache that this one waits for.
    #[must_use]
    pub fn inner(&self) -> &crate::Cache {
        &self.inner
    }

    /// Makes any call of the async cache and waits for it.
    ///
    /// ```
    /// use sutra_cache_client::blocking::Cache;
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let url = shard.url();
    ///
    /// let cache = Cache::connect(&url)?;
    /// let there = cache.run(async |cache| cache.exists("nothing").await)?;
    /// assert!(!there);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn run<T>(&self, call: impl AsyncFnOnce(&crate::Cache) -> Result<T, Error>) -> Result<T, Error> {
        wait(async { call(&self.inner).await })
    }

    /// See [`crate::Cache::ready`].
    pub fn ready(&self) -> Result<(), Error> {
        wait(self.inner.ready())
    }

    /// See [`crate::Cache::get`].
    pub fn get<V: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<Option<V>, Error> {
        wait(self.inner.get(key))
    }

    /// See [`crate::Cache::set`].
    pub fn set<V: ToValue + ?Sized>(&self, key: impl AsRef<[u8]>, value: &V) -> Result<(), Error> {
        wait(self.inner.set(key, value))
    }

    /// See [`crate::Cache::set_for`].
    pub fn set_for<V: ToValue + ?Sized>(
        &self,
        key: impl AsRef<[u8]>,
        value: &V,
        ttl: impl Into<Ttl>,
    ) -> Result<(), Error> {
        wait(self.inner.set_for(key, value, ttl))
    }

    /// See [`crate::Cache::delete`].
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        wait(self.inner.delete(key))
    }

    /// See [`crate::Cache::exists`].
    pub fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        wait(self.inner.exists(key))
    }

    /// See [`crate::Cache::ttl`].
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Duration>, Error> {
        wait(self.inner.ttl(key))
    }

    /// See [`crate::Cache::get_many`].
    pub fn get_many<V: FromValue, K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<V>>, Error> {
        wait(self.inner.get_many(keys))
    }

    /// See [`crate::Cache::set_many`].
    pub fn set_many<K: AsRef<[u8]>, V: ToValue>(&self, entries: &[(K, V)], ttl: impl Into<Ttl>) -> Result<(), Error> {
        wait(self.inner.set_many(entries, ttl))
    }

    /// See [`crate::Cache::delete_many`].
    pub fn delete_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<u64, Error> {
        wait(self.inner.delete_many(keys))
    }

    /// See [`crate::Cache::clear`].
    pub fn clear(&self) -> Result<(), Error> {
        wait(self.inner.clear())
    }

    // ---- computation ----

    /// See [`crate::Cache::get_or_compute`]. The computation runs on a thread of its own, also when nobody waits for it any more or when it
    /// refreshes a value early, and may use blocking clients.
    ///
    /// ```
    /// use sutra_cache_client::Compute;
    /// use sutra_cache_client::blocking::Cache;
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let url = shard.url();
    ///
    /// let cache = Cache::connect(&url)?;
    /// for _ in 0..2 {
    ///     let answer = cache.get_or_compute("k", &Compute::new(), || Ok::<_, std::io::Error>("computed once".to_owned()))?;
    ///     assert_eq!(answer, "computed once");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn get_or_compute<V, F, E>(&self, key: impl AsRef<[u8]>, options: &Compute, compute: F) -> Result<V, Error>
    where
        V: ToValue + FromValue + Send + 'static,
        F: FnOnce() -> Result<V, E> + Send + 'static,
        E: Into<Failure> + 'static,
    {
        wait(self.inner.get_or_compute(key, options, || on_a_thread(compute)))
    }

    /// See [`crate::Cache::find_or_compute`], and [`Cache::get_or_compute`].
    pub fn find_or_compute<V, F, E>(
        &self,
        key: impl AsRef<[u8]>,
        options: &Compute,
        compute: F,
    ) -> Result<Option<V>, Error>
    where
        V: ToValue + FromValue + Send + 'static,
        F: FnOnce() -> Result<Option<V>, E> + Send + 'static,
        E: Into<Failure> + 'static,
    {
        wait(self.inner.find_or_compute(key, options, || on_a_thread(compute)))
    }

    /// See [`crate::Cache::lookup_or_compute`], and [`Cache::get_or_compute`].
    pub fn lookup_or_compute<V, F, E>(
        &self,
        question: &Question,
        options: &Compute,
        compute: F,
    ) -> Result<Answer<V>, Error>
    where
        V: ToValue + FromValue + Send + 'static,
        F: FnOnce() -> Result<V, E> + Send + 'static,
        E: Into<Failure> + 'static,
    {
        wait(self.inner.lookup_or_compute(question, options, || on_a_thread(compute)))
    }

    /// See [`crate::Cache::embeddings`]. Batches are computed on threads of their own, as many at once as the options allow.
    ///
    /// ```
    /// use sutra_cache_client::blocking::Cache;
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let url = shard.url();
    ///
    /// let cache = Cache::connect(&url)?;
    /// let model = |texts: Vec<String>| Ok::<_, std::io::Error>(texts.iter().map(|text| vec![text.len() as f32, 1.0]).collect());
    /// let vectors = cache.embeddings("lengths", &["one", "three", "one"], model)?;
    /// assert_eq!(vectors, [[3.0, 1.0], [5.0, 1.0], [3.0, 1.0]]);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn embeddings<T, F, E>(
        &self,
        options: impl Into<Embeddings>,
        texts: &[T],
        compute: F,
    ) -> Result<Vec<Vec<f32>>, Error>
    where
        T: AsRef<str>,
        F: Fn(Vec<String>) -> Result<Vec<Vec<f32>>, E> + Send + Sync + 'static,
        E: Into<Failure> + 'static,
    {
        let compute = Arc::new(compute);
        wait(self.inner.embeddings(options, texts, |texts| {
            let compute = Arc::clone(&compute);
            on_a_thread(move || compute(texts))
        }))
    }

    /// See [`crate::Cache::catch_up`].
    pub fn catch_up(&self) -> Result<(), Error> {
        wait(self.inner.catch_up())
    }

    /// See [`crate::Cache::shards`].
    #[must_use]
    pub fn shards(&self) -> Vec<ShardHealth> {
        self.inner.shards()
    }

    // ---- meaning, on every shard ----

    /// See [`crate::Cache::set_entry`].
    pub fn set_entry(&self, entry: &Entry) -> Result<(), Error> {
        wait(self.inner.set_entry(entry))
    }

    /// See [`crate::Cache::lookup`].
    pub fn lookup(&self, lookup: &Lookup) -> Result<Option<Hit>, Error> {
        wait(self.inner.lookup(lookup))
    }

    /// See [`crate::Cache::search`].
    pub fn search(&self, search: &Search) -> Result<Vec<Found>, Error> {
        wait(self.inner.search(search))
    }

    // ---- invalidation, on every shard ----

    /// See [`crate::Cache::invalidate`].
    pub fn invalidate(&self, invalidate: &Invalidate) -> Result<Scattered, Error> {
        wait(self.inner.invalidate(invalidate))
    }

    /// See [`crate::Cache::dry_run`].
    pub fn dry_run(&self, invalidate: &Invalidate) -> Result<DryRun, Error> {
        wait(self.inner.dry_run(invalidate))
    }

    /// See [`crate::Cache::semantic_invalidate`].
    pub fn semantic_invalidate(
        &self,
        space: &str,
        query: impl Into<Query>,
        threshold: f64,
    ) -> Result<Scattered, Error> {
        wait(self.inner.semantic_invalidate(space, query, threshold))
    }

    /// See [`crate::Cache::invalidate_pattern`].
    pub fn invalidate_pattern(&self, pattern: impl AsRef<[u8]>) -> Result<Scattered, Error> {
        wait(self.inner.invalidate_pattern(pattern))
    }

    /// See [`crate::Cache::invalidate_tag`].
    pub fn invalidate_tag(&self, tag: impl AsRef<[u8]>) -> Result<Scattered, Error> {
        wait(self.inner.invalidate_tag(tag))
    }

    /// See [`crate::Cache::stats`].
    #[must_use]
    pub fn stats(&self) -> Snapshot {
        self.inner.stats()
    }

    /// See [`crate::Cache::prometheus`].
    #[must_use]
    pub fn prometheus(&self) -> String {
        self.inner.prometheus()
    }
}

/// Computes on a thread that no runtime knows of: on the shared one a computation that waits would stop the connections of all blocking clients.
async fn on_a_thread<T, E>(compute: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Failure>
where
    T: Send + 'static,
    E: Into<Failure> + 'static,
{
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("sutra-cache-compute".to_owned())
        .spawn(move || drop(sender.send(compute().map_err(Into::into))))?;
    receiver.await.unwrap_or_else(|_| Err("the computation panicked".into()))
}
