//! The cache of two tiers, for threads that wait.

use super::wait;
use crate::codec::{FromValue, ToValue};
use crate::stats::Snapshot;
use crate::{CacheBuilder, Error, Ttl};
use std::time::Duration;

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
