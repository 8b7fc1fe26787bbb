//! Removing by predicate, looking at what would be removed, and taking it back.

use super::fields::{Fields, elements, or_nil};
use super::lookup::{Filter, Threshold};
use super::{Query, push_seconds};
use crate::{Client, Error, Reply, Request, reply};
use bytes::Bytes;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Which entries are to be removed: those that meet every condition, of which there has to be one at least (CACHE.INVALIDATE).
///
/// Once it has been answered, none of them is served again, by any command, to any client, also after a crash of the shard.
///
/// ```
/// use sutra_cache_client::{Entry, Invalidate};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
/// use std::time::Duration;
///
/// let entry = Entry::new("a:1", "Within 30 days.").space("faq").text("How do I return an item?");
/// client.cache_set(&entry.tag("policy").dep("doc:17", 3)).await?;
///
/// let outdated = Invalidate::new().dep_below("doc:17", 4).reason("the policy has changed");
/// assert_eq!(client.dry_run(&outdated).await?.count, 1);
/// assert_eq!(client.invalidate(&outdated).await?, 1);
/// assert!(!client.exists("a:1").await?);
///
/// let by_meaning = Invalidate::new().space("faq").text("returning items").min(0.7).older_than(Duration::from_secs(60));
/// assert_eq!(client.invalidate(&by_meaning).await?, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use]
pub struct Invalidate {
    space: Option<String>,
    query: Option<Query>,
    threshold: Option<Threshold>,
    filter: Filter,
    older_than: Option<Duration>,
    dep_below: Option<(Vec<u8>, u64)>,
    hold: Option<Duration>,
    reason: Option<String>,
    samples: Option<u64>,
    timeout: Option<Duration>,
}

impl Invalidate {
    /// Without a condition yet.
    pub fn new() -> Invalidate {
        Invalidate::default()
    }

    /// Entries of this space: all of them, if neither a vector nor a text is given.
    pub fn space(mut self, space: impl Into<String>) -> Invalidate {
        self.space = Some(space.into());
        self
    }

    /// Entries near this vector; [`Invalidate::min`] or [`Invalidate::within`] says how near. Without a space: `default`.
    pub fn vector(self, vector: &[f32]) -> Invalidate {
        self.query(vector)
    }

    /// Entries near this text; [`Invalidate::min`] or [`Invalidate::within`] says how near. Without a space: `text`.
    pub fn text(self, text: impl Into<String>) -> Invalidate {
        self.query(text.into())
    }

    /// Entries near this vector or this text.
    pub fn query(mut self, query: impl Into<Query>) -> Invalidate {
        self.query = Some(query.into());
        self
    }

    /// The least similarity that is near enough.
    pub fn min(mut self, similarity: f64) -> Invalidate {
        self.threshold = Some(Threshold::Similarity(similarity));
        self
    }

    /// The greatest distance that is near enough: 1 minus the similarity.
    pub fn within(mut self, distance: f64) -> Invalidate {
        self.threshold = Some(Threshold::Distance(distance));
        self
    }

    /// Entries with this tag, and with every other that is given.
    pub fn tag(mut self, tag: impl AsRef<[u8]>) -> Invalidate {
        self.filter.tags.push(tag.as_ref().to_vec());
        self
    }

    /// Entries whose keys match this glob pattern.
    pub fn matching(mut self, pattern: impl AsRef<[u8]>) -> Invalidate {
        self.filter.matching = Some(pattern.as_ref().to_vec());
        self
    }

    /// Entries that were written longer ago. Those of Redis's own commands carry no time of writing, and are never meant.
    pub fn older_than(mut self, age: Duration) -> Invalidate {
        self.older_than = Some(age);
        self
    }

    /// Entries that were made from this source in a version below this.
    pub fn dep_below(mut self, name: impl AsRef<[u8]>, version: u64) -> Invalidate {
        self.dep_below = Some((name.as_ref().to_vec(), version));
        self
    }

    /// Stays in force so long, while the source settles: writes that it covers are refused with `HELD`.
    pub fn hold(mut self, time: Duration) -> Invalidate {
        self.hold = Some(time);
        self
    }

    /// Why, for the log of invalidations.
    pub fn reason(mut self, reason: impl Into<String>) -> Invalidate {
        self.reason = Some(reason.into());
        self
    }

    /// How many samples a dry run shows; without it, 10.
    pub fn samples(mut self, count: u64) -> Invalidate {
        self.samples = Some(count);
        self
    }

    /// How long its answer is waited for, instead of the client's `read_timeout`: many millions of entries take longer.
    pub fn timeout(mut self, timeout: Duration) -> Invalidate {
        self.timeout = Some(timeout);
        self
    }

    /// The command. It may be sent again: what is removed twice is gone as well, and what was written in between costs one computation.
    pub(crate) fn request(&self) -> Request {
        let mut request = Request::read("CACHE.INVALIDATE");
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout);
        }
        match (&self.space, &self.query) {
            (space, Some(query)) => {
                request = request.arg("IN").arg(space.as_deref().unwrap_or(query.default_space()));
                request = query.push(request);
            }
            (Some(space), None) => request = request.arg("IN").arg(space),
            (None, None) => {}
        }
        request = self.filter.push(Threshold::push(self.threshold, request));
        request = push_seconds(request, "OLDER", self.older_than);
        if let Some((name, version)) = &self.dep_below {
            request = request.arg("DEP").arg(name).arg("BELOW").number(*version);
        }
        request = push_seconds(request, "HOLD", self.hold);
        match &self.reason {
            Some(reason) => request.arg("REASON").arg(reason),
            None => request,
        }
    }

    /// The space that it names.
    pub(crate) fn space_name(&self) -> Option<&str> {
        self.space.as_deref().or(self.query.as_ref().map(Query::default_space))
    }

    pub(crate) fn samples_given(&self) -> Option<usize> {
        self.samples.map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    pub(crate) fn dry_run_request(&self) -> Request {
        let request = self.request().arg("DRYRUN");
        match self.samples {
            Some(samples) => request.arg("COUNT").number(samples),
            None => request,
        }
    }
}

/// What an invalidation would remove.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct DryRun {
    /// How many entries.
    pub count: u64,
    /// Some of their keys, those nearest to the threshold first, with their similarities if the invalidation is by meaning.
    pub samples: Vec<(Bytes, Option<f64>)>,
    /// How many entries have which similarity around the threshold: the lower edge of each bin, and how many are in it.
    pub histogram: Vec<(f64, u64)>,
}

/// A line of the log of invalidations.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoggedInvalidation {
    /// Its position in the shard's log, by which it is undone.
    pub lsn: u64,
    /// When it was, by the shard's clock.
    pub at: SystemTime,
    /// Whose it was: user and address.
    pub who: String,
    /// What was to be removed, in words.
    pub predicate: String,
    /// Why.
    pub reason: String,
    /// How many entries were removed.
    pub count: u64,
    /// How far it is.
    pub state: InvalidationState,
}

/// How far an invalidation is. Nothing that it covers is served in any of these states, but for what was undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidationState {
    /// The memory of the entries is still being reclaimed.
    Sweeping,
    /// It is done.
    Complete,
    /// It has been taken back.
    Undone,
}

impl Client {
    /// Removes every entry that meets the conditions; how many. See [`Invalidate`] for an example.
    ///
    /// # Errors
    /// As [`Client::call`]; if no condition is given, or the vector is none of the space.
    pub async fn invalidate(&self, invalidate: &Invalidate) -> Result<u64, Error> {
        reply::count(self.call(invalidate.request()).await?)
    }

    /// Says what would be removed, and removes nothing.
    ///
    /// ```
    /// use sutra_cache_client::{Entry, Invalidate};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.cache_set(&Entry::new("a", "v").space("s").vector(&[1.0, 0.0])).await?;
    /// client.cache_set(&Entry::new("b", "v").space("s").vector(&[0.0, 1.0])).await?;
    /// let near = Invalidate::new().space("s").vector(&[1.0, 0.0]).min(0.9);
    /// let would = client.dry_run(&near).await?;
    /// assert_eq!((would.count, would.samples), (1, vec![("a".into(), Some(1.0))]));
    /// assert!(client.exists("a").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::invalidate`].
    pub async fn dry_run(&self, invalidate: &Invalidate) -> Result<DryRun, Error> {
        dry_run(self.call(invalidate.dry_run_request()).await?)
    }

    /// Removes every entry of a space that is at least so similar to a vector or a text; how many.
    ///
    /// ```
    /// use sutra_cache_client::Entry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.cache_set(&Entry::new("a", "v").space("faq").text("How do I return an item?")).await?;
    /// assert_eq!(client.semantic_invalidate("faq", "how do I return an item", 0.8).await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::invalidate`].
    pub async fn semantic_invalidate(
        &self,
        space: &str,
        query: impl Into<Query>,
        threshold: f64,
    ) -> Result<u64, Error> {
        self.invalidate(&Invalidate::new().space(space).query(query).min(threshold)).await
    }

    /// Removes every entry whose key matches this glob pattern; how many.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.mset([("user:1", "a"), ("user:2", "b"), ("other", "c")], None).await?;
    /// assert_eq!(client.invalidate_pattern("user:*").await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::invalidate`].
    pub async fn invalidate_pattern(&self, pattern: impl AsRef<[u8]>) -> Result<u64, Error> {
        self.invalidate(&Invalidate::new().matching(pattern)).await
    }

    /// Removes every entry with this tag; how many.
    ///
    /// ```
    /// use sutra_cache_client::Entry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.cache_set(&Entry::new("a", "v").tag("doc:17")).await?;
    /// assert_eq!(client.invalidate_tag("doc:17").await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::invalidate`].
    pub async fn invalidate_tag(&self, tag: impl AsRef<[u8]>) -> Result<u64, Error> {
        self.invalidate(&Invalidate::new().tag(tag)).await
    }

    /// Takes back an invalidation, as far as what it has removed is still kept (`undo-window-seconds`); how many entries were set again.
    /// [`Client::log`] knows its position.
    ///
    /// ```
    /// use sutra_cache_client::Entry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.cache_set(&Entry::new("a", "v").tag("doc:17")).await?;
    /// client.invalidate_tag("doc:17").await?;
    /// let last = client.log(1).await?.remove(0);
    /// assert_eq!(client.undo(last.lsn).await?, 1);
    /// assert!(client.exists("a").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`]; if there is no such invalidation, or it is too long ago.
    pub async fn undo(&self, lsn: u64) -> Result<u64, Error> {
        reply::count(self.call(Request::new("CACHE.UNDO").number(lsn)).await?)
    }

    /// The last invalidations, newest first, at most so many.
    ///
    /// ```
    /// use sutra_cache_client::Invalidate;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.invalidate(&Invalidate::new().tag("doc:17").reason("a new edition")).await?;
    /// assert_eq!(client.log(10).await?[0].reason, "a new edition");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn log(&self, count: u64) -> Result<Vec<LoggedInvalidation>, Error> {
        let lines = reply::array(self.call(Request::read("CACHE.LOG").number(count)).await?)?;
        lines.into_iter().map(logged).collect()
    }
}

fn logged(line: Reply) -> Result<LoggedInvalidation, Error> {
    let mut fields = Fields::of(line)?;
    Ok(LoggedInvalidation {
        lsn: fields.count("lsn")?,
        at: UNIX_EPOCH + fields.time_or_nil("at_ms")?.unwrap_or_default(),
        who: fields.text("who")?,
        predicate: fields.text("predicate")?,
        reason: fields.text("reason")?,
        count: fields.count("count")?,
        state: match fields.text("state")?.as_str() {
            "sweeping" => InvalidationState::Sweeping,
            "undone" => InvalidationState::Undone,
            _ => InvalidationState::Complete,
        },
    })
}

/// `[count, [[key, similarity or nil], ...], [[lower edge, entries], ...]]`
pub(crate) fn dry_run(answer: Reply) -> Result<DryRun, Error> {
    let [count, samples, histogram] = elements(answer, "a count, samples and a histogram")?;
    let sample = |sample: Reply| {
        let [key, similarity] = elements(sample, "a key and its similarity")?;
        Ok((reply::bytes(key)?, or_nil(similarity, reply::float)?))
    };
    let bin = |bin: Reply| {
        let [edge, entries] = elements(bin, "an edge and a count")?;
        Ok((reply::float(edge)?, reply::count(entries)?))
    };
    Ok(DryRun {
        count: reply::count(count)?,
        samples: reply::array(samples)?.into_iter().map(sample).collect::<Result<_, Error>>()?,
        histogram: reply::array(histogram)?.into_iter().map(bin).collect::<Result<_, Error>>()?,
    })
}
