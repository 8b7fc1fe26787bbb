//! Finding by meaning.

use super::fields::{Fields, elements, or_nil};
use super::lease::{LeaseOptions, Leased, leased};
use super::query::VECTOR_SPACE;
use super::{Meta, Query, push_counted, push_seconds};
use crate::codec::{self, FromValue};
use crate::{Client, Error, Reply, Request, reply};
use bytes::Bytes;
use std::time::Duration;

/// How near is near enough: a similarity, or a distance, which is 1 minus the similarity. What is exactly as near is near enough.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Threshold {
    Similarity(f64),
    Distance(f64),
}

impl Threshold {
    pub(crate) fn push(threshold: Option<Threshold>, request: Request) -> Request {
        match threshold {
            Some(Threshold::Similarity(similarity)) => request.arg("MIN").float(similarity),
            Some(Threshold::Distance(distance)) => request.arg("WITHIN").float(distance),
            None => request,
        }
    }
}

/// What an entry has to be, beside near.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Filter {
    pub(crate) tags: Vec<Vec<u8>>,
    pub(crate) matching: Option<Vec<u8>>,
}

impl Filter {
    pub(crate) fn push(&self, request: Request) -> Request {
        let request = push_counted(request, "TAG", &self.tags);
        match &self.matching {
            Some(pattern) => request.arg("MATCH").arg(pattern),
            None => request,
        }
    }
}

/// How thoroughly is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Effort {
    /// As the shard finds best for the size of the space.
    #[default]
    Default,
    Exact,
    Width(u64),
}

/// What [`Lookup`] and [`Search`] have in common.
#[derive(Debug, Clone, PartialEq)]
struct Near {
    space: Option<String>,
    query: Option<Query>,
    threshold: Option<Threshold>,
    filter: Filter,
    max_age: Option<Duration>,
    effort: Effort,
}

impl Near {
    fn new(space: Option<String>) -> Near {
        Near { space, query: None, threshold: None, filter: Filter::default(), max_age: None, effort: Effort::Default }
    }

    fn push(&self, request: Request) -> Request {
        let default_space = self.query.as_ref().map_or(VECTOR_SPACE, Query::default_space);
        let mut request = request.arg(self.space.as_deref().unwrap_or(default_space));
        if let Some(query) = &self.query {
            request = query.push(request);
        }
        request = self.filter.push(Threshold::push(self.threshold, request));
        request = push_seconds(request, "MAXAGE", self.max_age);
        match self.effort {
            Effort::Default => request,
            Effort::Exact => request.arg("EXACT"),
            Effort::Width(width) => request.arg("EF").number(width),
        }
    }
}

/// A question: which entry is the best answer, if one is near enough (CACHE.LOOKUP).
///
/// ```
/// use sutra_cache_client::{Entry, Lookup};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
/// client.cache_set(&Entry::new("a:1", "Within 30 days.").space("faq").text("How do I return an item?").tag("v2")).await?;
/// let question = Lookup::new("faq").text("how do I return an item").min(0.8).tag("v2").matching("a:*");
/// let hit = client.lookup(&question).await?.expect("it is near enough");
/// assert_eq!((hit.key.as_ref(), hit.decode::<String>()?.as_deref()), (&b"a:1"[..], Some("Within 30 days.")));
/// assert!(hit.similarity >= 0.8);
/// assert!(client.lookup(&Lookup::new("faq").text("Who is the king of France?").min(0.8)).await?.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Lookup {
    near: Near,
    question: Option<String>,
}

impl Lookup {
    /// In this space. A vector or a text, and a threshold, have to be given too: the shard refuses a lookup without.
    pub fn new(space: impl Into<String>) -> Lookup {
        Lookup { near: Near::new(Some(space.into())), question: None }
    }

    /// What is near this vector or this text, in its default space: vectors are in `default`, texts in `text`.
    pub fn of(query: impl Into<Query>) -> Lookup {
        Lookup { near: Near::new(None), question: None }.query(query)
    }

    /// The vector whose neighbour is looked for.
    pub fn vector(self, vector: &[f32]) -> Lookup {
        self.query(vector)
    }

    /// The text whose neighbour is looked for.
    pub fn text(self, text: impl Into<String>) -> Lookup {
        self.query(text.into())
    }

    /// The vector or the text whose neighbour is looked for.
    pub fn query(mut self, query: impl Into<Query>) -> Lookup {
        self.near.query = Some(query.into());
        self
    }

    /// The least similarity that is near enough.
    pub fn min(mut self, similarity: f64) -> Lookup {
        self.near.threshold = Some(Threshold::Similarity(similarity));
        self
    }

    /// The greatest distance that is near enough: 1 minus the similarity.
    pub fn within(mut self, distance: f64) -> Lookup {
        self.near.threshold = Some(Threshold::Distance(distance));
        self
    }

    /// Only entries with this tag, and with every other that is given.
    pub fn tag(mut self, tag: impl AsRef<[u8]>) -> Lookup {
        self.near.filter.tags.push(tag.as_ref().to_vec());
        self
    }

    /// Only entries whose keys match this glob pattern.
    pub fn matching(mut self, pattern: impl AsRef<[u8]>) -> Lookup {
        self.near.filter.matching = Some(pattern.as_ref().to_vec());
        self
    }

    /// Only entries that were written within this time.
    pub fn max_age(mut self, age: Duration) -> Lookup {
        self.near.max_age = Some(age);
        self
    }

    /// The question in words that belongs to a vector: what a space with a guard compares.
    pub fn question(mut self, question: impl Into<String>) -> Lookup {
        self.question = Some(question.into());
        self
    }

    /// Compares with every entry, so that none is missed, however large the space is.
    pub fn exact(mut self) -> Lookup {
        self.near.effort = Effort::Exact;
        self
    }

    /// How widely a graph is searched (its `ef`): wider misses less and takes longer.
    pub fn ef(mut self, width: u64) -> Lookup {
        self.near.effort = Effort::Width(width);
        self
    }

    pub(crate) fn request(&self) -> Request {
        self.push(Request::read("CACHE.LOOKUP"))
    }

    /// What is nearest without a threshold.
    pub(crate) fn neighbours(&self, count: u64) -> Search {
        Search { near: Near { threshold: None, ..self.near.clone() }, count: Some(count), with_values: false }
    }

    fn push(&self, request: Request) -> Request {
        let request = self.near.push(request);
        match &self.question {
            Some(question) => request.arg("QUESTION").arg(question),
            None => request,
        }
    }
}

/// An entry that was found by meaning.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// Its key.
    pub key: Bytes,
    /// Its value as it is stored ([`Hit::decode`]).
    pub value: Bytes,
    /// How similar it is: with cosine, from -1 to 1.
    pub similarity: f64,
    /// By how much the next best one is less similar; `None` if there is none.
    pub margin: Option<f64>,
    /// Whether it is certain that no better one was missed.
    pub exact: bool,
    /// How many nearer ones were passed over, since their questions differ in numbers, dates, identifiers or negation.
    pub guarded: u64,
    /// What is known of it beside.
    pub meta: Meta,
}

impl Hit {
    /// The value; `None` if it is known not to exist ([`codec::NEGATIVE`]).
    ///
    /// # Errors
    /// [`Error::Decode`] if the bytes are no value of this type.
    pub fn decode<V: FromValue>(&self) -> Result<Option<V>, Error> {
        Ok(codec::decode(self.value.clone())?)
    }

    pub(crate) fn of(answer: Reply) -> Result<Hit, Error> {
        let mut fields = Fields::of(answer)?;
        Ok(Hit {
            key: reply::bytes(fields.take("key"))?,
            value: reply::bytes(fields.take("value"))?,
            similarity: reply::float(fields.take("similarity"))?,
            margin: fields.float_or_nil("margin")?,
            exact: reply::bytes(fields.take("exact"))? == "certified",
            guarded: fields.count("guarded")?,
            meta: Meta::of(&mut fields)?,
        })
    }
}

/// The nearest entries, for a look at them: nothing is counted as a hit or a miss, and no entry's recency is refreshed (CACHE.SEARCH).
///
/// ```
/// use sutra_cache_client::{Entry, Search};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
/// for (key, vector) in [("a", [1.0, 0.0]), ("b", [0.8, 0.6]), ("c", [0.0, 1.0])] {
///     client.cache_set(&Entry::new(key, key).space("points").vector(&vector)).await?;
/// }
/// let found = client.search(&Search::new("points").vector(&[1.0, 0.0]).count(2).with_values()).await?;
/// assert_eq!((found[0].key.as_ref(), found[0].similarity), (&b"a"[..], 1.0));
/// assert_eq!(found[1].value.as_deref(), Some(&b"b"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Search {
    near: Near,
    count: Option<u64>,
    with_values: bool,
}

impl Search {
    /// In this space. A vector or a text has to be given too: the shard refuses a search without.
    pub fn new(space: impl Into<String>) -> Search {
        Search { near: Near::new(Some(space.into())), count: None, with_values: false }
    }

    /// What is near this vector or this text, in its default space: vectors are in `default`, texts in `text`.
    pub fn of(query: impl Into<Query>) -> Search {
        Search { near: Near::new(None), count: None, with_values: false }.query(query)
    }

    /// The vector whose neighbours are looked for.
    pub fn vector(self, vector: &[f32]) -> Search {
        self.query(vector)
    }

    /// The text whose neighbours are looked for.
    pub fn text(self, text: impl Into<String>) -> Search {
        self.query(text.into())
    }

    /// The vector or the text whose neighbours are looked for.
    pub fn query(mut self, query: impl Into<Query>) -> Search {
        self.near.query = Some(query.into());
        self
    }

    /// At most so many; without it, 10.
    pub fn count(mut self, count: u64) -> Search {
        self.count = Some(count);
        self
    }

    /// None that are less similar.
    pub fn min(mut self, similarity: f64) -> Search {
        self.near.threshold = Some(Threshold::Similarity(similarity));
        self
    }

    /// None that are farther: a distance is 1 minus the similarity.
    pub fn within(mut self, distance: f64) -> Search {
        self.near.threshold = Some(Threshold::Distance(distance));
        self
    }

    /// Only entries with this tag, and with every other that is given.
    pub fn tag(mut self, tag: impl AsRef<[u8]>) -> Search {
        self.near.filter.tags.push(tag.as_ref().to_vec());
        self
    }

    /// Only entries whose keys match this glob pattern.
    pub fn matching(mut self, pattern: impl AsRef<[u8]>) -> Search {
        self.near.filter.matching = Some(pattern.as_ref().to_vec());
        self
    }

    /// Only entries that were written within this time.
    pub fn max_age(mut self, age: Duration) -> Search {
        self.near.max_age = Some(age);
        self
    }

    /// Compares with every entry, so that none is missed, however large the space is.
    pub fn exact(mut self) -> Search {
        self.near.effort = Effort::Exact;
        self
    }

    /// How widely a graph is searched (its `ef`): wider misses less and takes longer.
    pub fn ef(mut self, width: u64) -> Search {
        self.near.effort = Effort::Width(width);
        self
    }

    /// With the values, not only the keys.
    pub fn with_values(mut self) -> Search {
        self.with_values = true;
        self
    }

    pub(crate) fn request(&self) -> Request {
        let mut request = self.near.push(Request::read("CACHE.SEARCH"));
        if let Some(count) = self.count {
            request = request.arg("COUNT").number(count);
        }
        if self.with_values { request.arg("WITHVALUES") } else { request }
    }

    pub(crate) fn count_given(&self) -> Option<usize> {
        self.count.map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }
}

/// One of the nearest entries.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Found {
    /// Its key.
    pub key: Bytes,
    /// How similar it is.
    pub similarity: f64,
    /// Its value as it is stored, if it was asked for ([`Search::with_values`]).
    pub value: Option<Bytes>,
}

impl Client {
    /// The best entry that is near enough, with all that is known of it. See [`Lookup`] for an example.
    ///
    /// # Errors
    /// As [`Client::call`]; if the vector is none of the space (dimension, NaN, all zero), or no threshold is given.
    pub async fn lookup(&self, lookup: &Lookup) -> Result<Option<Hit>, Error> {
        or_nil(self.call(lookup.request().arg("WITHMETA")).await?, Hit::of)
    }

    /// The value of the best entry that is near enough and nothing else, which takes the shard least; `None` also if it is known not to exist.
    ///
    /// ```
    /// use sutra_cache_client::{Entry, Lookup};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.cache_set(&Entry::new("k", "v").space("s").vector(&[1.0, 0.0])).await?;
    /// let lookup = Lookup::new("s").vector(&[1.0, 0.1]).within(0.1);
    /// assert_eq!(client.lookup_value::<String>(&lookup).await?.as_deref(), Some("v"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::lookup`]; [`Error::Decode`] if the bytes are no value of this type.
    pub async fn lookup_value<V: FromValue>(&self, lookup: &Lookup) -> Result<Option<V>, Error> {
        super::keys::value(self.call(lookup.request()).await?)
    }

    /// The best entry that is near enough, or the right to compute an answer, or how long somebody has it who computes the answer to a question
    /// that is as similar.
    ///
    /// ```
    /// use sutra_cache_client::{Entry, LeaseOptions, Leased, Lookup};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// let lookup = Lookup::new("faq").text("How do I return an item?").min(0.9);
    /// let Leased::Lease(token) = client.lookup_or_lease(&lookup, &LeaseOptions::new()).await? else {
    ///     panic!("nobody else is here")
    /// };
    /// let similar = Lookup::new("faq").text("how do i return an item").min(0.9);
    /// assert!(matches!(client.lookup_or_lease(&similar, &LeaseOptions::new()).await?, Leased::Wait(_)));
    /// let answer = Entry::new("a:1", "Within 30 days.").space("faq").text("How do I return an item?").lease(token);
    /// client.cache_set(&answer).await?;
    /// assert!(matches!(client.lookup_or_lease(&similar, &LeaseOptions::new()).await?, Leased::Hit(_)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::lookup`].
    pub async fn lookup_or_lease(&self, lookup: &Lookup, options: &LeaseOptions) -> Result<Leased<Hit>, Error> {
        leased(self.call(lookup_lease_request(lookup, options)).await?, Hit::of)
    }

    /// The nearest entries, best first. See [`Search`] for an example.
    ///
    /// # Errors
    /// As [`Client::lookup`], but it needs no threshold.
    pub async fn search(&self, search: &Search) -> Result<Vec<Found>, Error> {
        found(self.call(search.request()).await?)
    }
}

/// `CACHE.LOOKUP ... LEASE`, which is not sent again, as no lease is.
pub(crate) fn lookup_lease_request(lookup: &Lookup, options: &LeaseOptions) -> Request {
    let request = lookup.push(Request::new("CACHE.LOOKUP")).arg("WITHMETA").arg("LEASE");
    let request = match options.time_ms() {
        Some(time_ms) => request.number(time_ms),
        None => request,
    };
    options.push_revalidate(request)
}

/// `[[key, similarity], ...]`, with the values if they were asked for.
pub(crate) fn found(answer: Reply) -> Result<Vec<Found>, Error> {
    let one = |answer: Reply| {
        let mut parts = reply::array(answer)?;
        let value = if parts.len() == 3 { parts.pop().map(reply::bytes).transpose()? } else { None };
        let [key, similarity] = elements(Reply::Array(parts), "a key and its similarity")?;
        Ok(Found { key: reply::bytes(key)?, similarity: reply::float(similarity)?, value })
    };
    reply::array(answer)?.into_iter().map(one).collect()
}
