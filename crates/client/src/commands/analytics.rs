//! How the cache does, and what it holds.

use super::fields::{Fields, or_nil};
use super::push_seconds;
use crate::{Client, Error, Reply, Request, reply};
use bytes::Bytes;
use std::time::Duration;

/// How well a shard's native commands do.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ShardStats {
    /// What was found by meaning, in all spaces.
    pub meaning: ReadCounts,
    /// What native commands have found by key.
    pub keys: ReadCounts,
    /// How long lookups take, in microseconds; not of a window.
    pub lookup_latency: Option<LookupLatency>,
    /// What all hits would have cost to compute, in US dollars.
    pub cost_saved_usd: f64,
    /// What was found by meaning in each space, by name.
    pub spaces: Vec<(String, ReadCounts)>,
    /// For how long these counts are exact, if a window was asked for; it may be a little longer.
    pub window: Option<Duration>,
    /// The longest window that is remembered, if one was asked for.
    pub available: Option<Duration>,
}

/// How well one space, or model, does.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct SpaceStats {
    /// Its name.
    pub space: String,
    /// What was found in it by meaning.
    pub meaning: ReadCounts,
    /// What [`Client::embeddings_get`] has found of the model.
    pub embeddings: ReadCounts,
    /// For how long these counts are exact, if a window was asked for; it may be a little longer.
    pub window: Option<Duration>,
    /// The longest window that is remembered, if one was asked for.
    pub available: Option<Duration>,
}

/// Reads and what came of them.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ReadCounts {
    /// Entries that are there, where spaces are counted; not of a window.
    pub entries: Option<u64>,
    /// The bytes of memory that they take.
    pub bytes: Option<u64>,
    /// How often something was looked for.
    pub lookups: u64,
    /// How often it was found.
    pub hits: u64,
    /// How often it was not.
    pub misses: u64,
    /// Hits by lookups; `None` before the first.
    pub hit_rate: Option<f64>,
    /// What the hits would have cost to compute, in US dollars.
    pub cost_saved_usd: f64,
    /// Entries that were passed over by a guard.
    pub guarded: u64,
    /// Entries that were removed by invalidations.
    pub invalidated: u64,
}

/// How long lookups take, waiting for the embedder included, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LookupLatency {
    /// Half of them, no longer than this.
    pub p50_us: u64,
    /// 95 of 100.
    pub p95_us: u64,
    /// 99 of 100.
    pub p99_us: u64,
}

/// An entry that is often found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TopEntry {
    /// Its key.
    pub key: Bytes,
    /// The space of its vector.
    pub space: Option<String>,
    /// How often native commands have served it.
    pub hits: u64,
    /// How long ago it was written.
    pub age: Duration,
    /// How large it is.
    pub bytes: u64,
}

impl Client {
    /// Hits, misses, latency and cost saved of the shard's native commands: since its start, or in the last time.
    ///
    /// ```
    /// use sutra_cache_client::Entry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.cache_set(&Entry::new("k", "v").cost(0.5)).await?;
    /// client.cache_get::<String>("k").await?;
    /// client.cache_get::<String>("nothing").await?;
    /// let stats = client.shard_stats(None).await?;
    /// assert_eq!((stats.keys.hits, stats.keys.misses, stats.keys.hit_rate), (1, 1, Some(0.5)));
    /// assert_eq!(stats.cost_saved_usd, 0.5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn shard_stats(&self, since: Option<Duration>) -> Result<ShardStats, Error> {
        shard_stats(self.call(push_seconds(Request::read("CACHE.STATS"), "SINCE", since)).await?)
    }

    /// The same of one space, which is a model for embeddings.
    ///
    /// ```
    /// use sutra_cache_client::EmbeddingOptions;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.embeddings_put("m", [("apple", [0.1_f32, 0.9])], &EmbeddingOptions::new()).await?;
    /// client.embeddings_get("m", ["apple", "pear"]).await?;
    /// let stats = client.space_stats("m", None).await?;
    /// assert_eq!((stats.embeddings.hits, stats.embeddings.misses, stats.meaning.entries), (1, 1, Some(1)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`]; if there is no such space.
    pub async fn space_stats(&self, space: &str, since: Option<Duration>) -> Result<SpaceStats, Error> {
        let request = Request::read("CACHE.STATS").args(["SPACE", space]);
        space_stats(self.call(push_seconds(request, "SINCE", since)).await?)
    }

    /// The answer to a question about the cache in words.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// let answer = client.ask("How many entries are there?").await?;
    /// assert!(answer.contains('0'), "{answer}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn ask(&self, question: &str) -> Result<String, Error> {
        reply::text(self.call(Request::read("CACHE.ASK").arg(question)).await?)
    }

    /// The entries that native commands have served most often, at most so many; of those that were written in the last time, if it is given.
    ///
    /// ```
    /// use sutra_cache_client::Entry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.cache_set(&Entry::new("k", "v")).await?;
    /// client.cache_get::<String>("k").await?;
    /// let top = client.top(10, None).await?;
    /// assert_eq!((top[0].key.as_ref(), top[0].hits), (&b"k"[..], 1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn top(&self, count: u64, since: Option<Duration>) -> Result<Vec<TopEntry>, Error> {
        let request = push_seconds(Request::read("CACHE.TOP").number(count), "SINCE", since);
        reply::array(self.call(request).await?)?.into_iter().map(top_entry).collect()
    }

    /// The tags of the database's entries, and how many entries have each, most first.
    ///
    /// ```
    /// use sutra_cache_client::Entry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.cache_set(&Entry::new("a", "1").tags(["x", "y"])).await?;
    /// client.cache_set(&Entry::new("b", "2").tag("x")).await?;
    /// assert_eq!(client.tags().await?, [("x".to_owned(), 2), ("y".to_owned(), 1)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn tags(&self) -> Result<Vec<(String, u64)>, Error> {
        let tags = reply::map(self.call(Request::read("CACHE.TAGS")).await?)?;
        tags.into_iter().map(|(tag, entries)| Ok((tag, reply::count(entries)?))).collect()
    }

    /// Notes whether an entry that was found by meaning was a good answer; whether it was found by meaning lately. What is noted suggests a
    /// threshold ([`SpaceInfo::suggested_threshold`](crate::SpaceInfo::suggested_threshold)).
    ///
    /// ```
    /// use sutra_cache_client::{Entry, Lookup};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.cache_set(&Entry::new("k", "v").space("s").vector(&[1.0, 0.0])).await?;
    /// assert!(!client.feedback("k", true).await?);
    /// client.lookup(&Lookup::new("s").vector(&[1.0, 0.0]).min(0.9)).await?;
    /// assert!(client.feedback("k", true).await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn feedback(&self, key: impl AsRef<[u8]>, is_good: bool) -> Result<bool, Error> {
        let request = Request::new("CACHE.FEEDBACK").arg(key).arg(if is_good { "good" } else { "bad" });
        reply::count(self.call(request).await?).map(|noted| noted > 0)
    }
}

fn counts(fields: &mut Fields) -> Result<ReadCounts, Error> {
    Ok(ReadCounts {
        entries: fields.count_or_nil("entries")?,
        bytes: fields.count_or_nil("bytes")?,
        lookups: fields.count("lookups")?,
        hits: fields.count("hits")?,
        misses: fields.count("misses")?,
        hit_rate: fields.float_or_nil("hit_rate")?,
        cost_saved_usd: fields.float("cost_saved_usd")?,
        guarded: fields.count("guarded")?,
        invalidated: fields.count("invalidated")?,
    })
}

fn shard_stats(answer: Reply) -> Result<ShardStats, Error> {
    let mut fields = Fields::of(answer)?;
    let latency = |answer: Reply| {
        let mut fields = Fields::of(answer)?;
        let (p50_us, p95_us, p99_us) = (fields.count("p50")?, fields.count("p95")?, fields.count("p99")?);
        Ok(LookupLatency { p50_us, p95_us, p99_us })
    };
    let space = |(name, answer): (Reply, Reply)| Ok((reply::text(name)?, counts(&mut Fields::of(answer)?)?));
    Ok(ShardStats {
        window: fields.time_or_nil("window_ms")?,
        available: fields.time_or_nil("available_ms")?,
        meaning: counts(&mut fields.inner("meaning")?)?,
        keys: counts(&mut fields.inner("keys")?)?,
        lookup_latency: or_nil(fields.take("lookup_latency_us"), latency)?,
        cost_saved_usd: fields.float("cost_saved_usd")?,
        spaces: fields.inner("spaces")?.rest().into_iter().map(space).collect::<Result<_, Error>>()?,
    })
}

fn space_stats(answer: Reply) -> Result<SpaceStats, Error> {
    let mut fields = Fields::of(answer)?;
    Ok(SpaceStats {
        space: fields.text("space")?,
        window: fields.time_or_nil("window_ms")?,
        available: fields.time_or_nil("available_ms")?,
        meaning: counts(&mut fields)?,
        embeddings: counts(&mut fields.inner("embeddings")?)?,
    })
}

fn top_entry(answer: Reply) -> Result<TopEntry, Error> {
    let mut fields = Fields::of(answer)?;
    Ok(TopEntry {
        key: reply::bytes(fields.take("key"))?,
        space: fields.text_or_nil("space")?,
        hits: fields.count("hits")?,
        age: fields.time_or_nil("age_ms")?.unwrap_or_default(),
        bytes: fields.count("bytes")?,
    })
}
