//! Entries with all that is known of them: what they are found by, what they were made from, what they cost.

use super::fields::{Fields, elements, or_nil};
use super::{Condition, Expiry, Query, SetOptions, push_counted};
use crate::codec::{self, EncodeError, FromValue, ToValue};
use crate::{Client, Error, LeaseToken, Reply, Request, reply};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, SystemTime};

/// A value to be stored, with the vector it is found by, tags, sources, metadata and cost (CACHE.SET).
///
/// ```
/// use sutra_cache_client::Entry;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
/// use std::time::Duration;
///
/// let entry = Entry::new("answer:1", "Within 30 days.")
///     .space("faq")
///     .text("How do I return an item?")
///     .tag("policy")
///     .dep("doc:17", 3)
///     .cost(0.002)
///     .ttl(Duration::from_secs(3600));
/// assert!(client.cache_set(&entry).await?);
/// assert_eq!(client.cache_get::<String>("answer:1").await?.as_deref(), Some("Within 30 days."));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Entry {
    pub(crate) key: Vec<u8>,
    /// Or why it cannot be written, which is said when it is sent.
    pub(crate) value: Result<Bytes, Error>,
    pub(crate) space: Option<String>,
    pub(crate) query: Option<Query>,
    itself: Option<String>,
    question: Option<String>,
    tags: Vec<Vec<u8>>,
    deps: Vec<(Vec<u8>, u64)>,
    meta: Option<Result<Vec<u8>, Error>>,
    cost: Option<f64>,
    options: SetOptions,
    lease: Option<LeaseToken>,
}

impl Entry {
    /// A value by its key, and nothing else. A value that cannot be written is an error when it is sent.
    pub fn new<V: ToValue + ?Sized>(key: impl AsRef<[u8]>, value: &V) -> Entry {
        let value = codec::encode(value).map(|value| Bytes::from(value.into_owned())).map_err(Error::from);
        Entry::of(key.as_ref(), value)
    }

    /// The mark of a value that was looked for and does not exist ([`codec::NEGATIVE`]): who reads it is told so and need not look again.
    pub fn negative(key: impl AsRef<[u8]>) -> Entry {
        Entry::of(key.as_ref(), Ok(Bytes::from_static(codec::NEGATIVE)))
    }

    fn of(key: &[u8], value: Result<Bytes, Error>) -> Entry {
        Entry {
            key: key.to_vec(),
            value,
            space: None,
            query: None,
            itself: None,
            question: None,
            tags: Vec::new(),
            deps: Vec::new(),
            meta: None,
            cost: None,
            options: SetOptions::new(),
            lease: None,
        }
    }

    /// The space of its vector. Without one, vectors are in `default`, and texts in `text`.
    pub fn space(mut self, space: impl Into<String>) -> Entry {
        self.space = Some(space.into());
        self
    }

    /// The vector that it is found by.
    pub fn vector(self, vector: &[f32]) -> Entry {
        self.query(vector)
    }

    /// The text that it is found by, whose vector the shard's embedder makes.
    pub fn text(self, text: impl Into<String>) -> Entry {
        self.query(text.into())
    }

    /// The vector or the text that it is found by.
    pub fn query(mut self, query: impl Into<Query>) -> Entry {
        self.query = Some(query.into());
        self
    }

    /// The value is its own vector, in this space, and is stored once.
    pub fn self_space(mut self, space: impl Into<String>) -> Entry {
        self.itself = Some(space.into());
        self
    }

    /// The question in words that belongs to a vector: what a space with a guard compares.
    pub fn question(mut self, question: impl Into<String>) -> Entry {
        self.question = Some(question.into());
        self
    }

    /// A tag, one more of them.
    pub fn tag(mut self, tag: impl AsRef<[u8]>) -> Entry {
        self.tags.push(tag.as_ref().to_vec());
        self
    }

    /// More tags.
    pub fn tags<T: AsRef<[u8]>>(mut self, tags: impl IntoIterator<Item = T>) -> Entry {
        self.tags.extend(tags.into_iter().map(|tag| tag.as_ref().to_vec()));
        self
    }

    /// A source that it was made from, and its version; one more of them.
    pub fn dep(mut self, name: impl AsRef<[u8]>, version: u64) -> Entry {
        self.deps.push((name.as_ref().to_vec(), version));
        self
    }

    /// More sources.
    pub fn deps<N: AsRef<[u8]>>(mut self, deps: impl IntoIterator<Item = (N, u64)>) -> Entry {
        self.deps.extend(deps.into_iter().map(|(name, version)| (name.as_ref().to_vec(), version)));
        self
    }

    /// Anything that is to be kept beside the value, as JSON ([`Meta::read`]).
    pub fn meta<T: Serialize + ?Sized>(mut self, meta: &T) -> Entry {
        self.meta = Some(serde_json::to_vec(meta).map_err(|error| EncodeError::Json(error).into()));
        self
    }

    /// What it would cost to compute it again, in US dollars: each hit counts that as saved.
    pub fn cost(mut self, usd: f64) -> Entry {
        self.cost = Some(usd);
        self
    }

    /// Expires after this time, counted in milliseconds, rounded up.
    pub fn ttl(mut self, ttl: Duration) -> Entry {
        self.options = self.options.ttl(ttl);
        self
    }

    /// Expires at this instant, by the shard's clock.
    pub fn expire_at(mut self, instant: SystemTime) -> Entry {
        self.options = self.options.expire_at(instant);
        self
    }

    /// Expires when the value expires that was there before.
    pub fn keep_ttl(mut self) -> Entry {
        self.options = self.options.keep_ttl();
        self
    }

    /// Only if there is nothing yet (NX).
    pub fn if_absent(mut self) -> Entry {
        self.options = self.options.if_absent();
        self
    }

    /// Only if there is something already (XX).
    pub fn if_present(mut self) -> Entry {
        self.options = self.options.if_present();
        self
    }

    /// Written with the lease under which it was computed: refused (`STALELEASE`) if what it was computed from has been invalidated meanwhile.
    pub fn lease(mut self, token: LeaseToken) -> Entry {
        self.lease = Some(token);
        self
    }

    pub(crate) fn expiry(&self) -> Expiry {
        self.options.expiry
    }

    /// The command, or why the value cannot be written.
    pub(crate) fn request(&self) -> Result<Request, Error> {
        let value = self.value.as_ref().map_err(Error::clone)?;
        let (name, lease) = ("CACHE.SET", self.lease.as_ref());
        let is_absolute = lease.is_none() && self.options.condition != Condition::IfAbsent;
        let mut request = if is_absolute { Request::read(name) } else { Request::new(name) };
        request = request.arg(&self.key).arg(value);
        if let Some(space) = &self.itself {
            request = request.arg("SELF").arg(space);
        }
        match (&self.space, &self.query) {
            (space, Some(query)) => {
                request = request.arg("IN").arg(space.as_deref().unwrap_or(query.default_space()));
                request = query.push(request);
            }
            // Refused by the shard, in its words.
            (Some(space), None) => request = request.arg("IN").arg(space),
            (None, None) => {}
        }
        if let Some(question) = &self.question {
            request = request.arg("QUESTION").arg(question);
        }
        request = push_counted(request, "TAG", &self.tags);
        if !self.deps.is_empty() {
            request = request.arg("DEP").number(self.deps.len() as u64);
            for (name, version) in &self.deps {
                request = request.arg(name).number(*version);
            }
        }
        if let Some(meta) = &self.meta {
            request = request.arg("META").arg(meta.as_ref().map_err(Error::clone)?);
        }
        if let Some(cost) = self.cost {
            request = request.arg("COST").float(cost);
        }
        request = self.options.condition.push(self.options.expiry.push(request));
        Ok(match lease {
            Some(token) => request.arg("LEASE").arg(token.as_bytes()),
            None => request,
        })
    }
}

/// What is known of an entry beside its value.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Meta {
    /// How long it has still to live; `None`: it does not expire.
    pub ttl: Option<Duration>,
    /// How long ago it was written; `None` for what Redis's own commands wrote.
    pub age: Option<Duration>,
    /// The position of its writing in the shard's log.
    pub lsn: Option<u64>,
    /// Its tags; what is not UTF-8 in them is replaced.
    pub tags: Vec<String>,
    /// The sources it was made from, with their versions.
    pub deps: Vec<(String, u64)>,
    /// What was kept beside the value, as JSON ([`Meta::read`]).
    pub meta: Option<Bytes>,
    /// What it would cost to compute it again, in US dollars.
    pub cost: Option<f64>,
    /// The space of its vector.
    pub space: Option<String>,
    /// How often native commands have served it.
    pub hits: u64,
}

impl Meta {
    /// What was kept beside the value ([`Entry::meta`]); `None` if there is nothing.
    ///
    /// # Errors
    /// [`Error::Decode`] if it is not of this type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        match &self.meta {
            Some(meta) => Ok(Some(codec::Json::<T>::from_value(meta.clone())?.0)),
            None => Ok(None),
        }
    }

    pub(crate) fn of(fields: &mut Fields) -> Result<Meta, Error> {
        Ok(Meta {
            ttl: fields.time_or_nil("ttl_ms")?,
            age: fields.time_or_nil("age_ms")?,
            lsn: fields.count_or_nil("lsn")?,
            tags: texts(fields.take("tags"))?,
            deps: or_nil(fields.take("deps"), reply::array)?
                .unwrap_or_default()
                .into_iter()
                .map(|dep| {
                    let [name, version] = elements(dep, "a source and its version")?;
                    Ok((reply::text(name)?, reply::count(version)?))
                })
                .collect::<Result<_, Error>>()?,
            meta: reply::bytes_or_nil(fields.take("meta"))?,
            cost: fields.float_or_nil("cost")?,
            space: fields.text_or_nil("space")?,
            hits: fields.count("hits")?,
        })
    }
}

impl Client {
    /// Stores an entry; whether its condition was met. See [`Entry`] for an example.
    ///
    /// # Errors
    /// As [`Client::call`]; `STALELEASE` if what the value was computed from has been invalidated since the lease was given; `HELD` if an
    /// invalidation that covers it is held in force; [`Error::Encode`] if the value cannot be written.
    pub async fn cache_set(&self, entry: &Entry) -> Result<bool, Error> {
        reply::done_or_nil(self.call(entry.request()?).await?)
    }

    /// The value of a key, as [`Client::get`] returns it, counted among the shard's statistics of the cache.
    ///
    /// ```
    /// use sutra_cache_client::Entry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.cache_set(&Entry::new("k", "v").tag("t")).await?;
    /// assert_eq!(client.cache_get::<String>("k").await?.as_deref(), Some("v"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn cache_get<V: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<Option<V>, Error> {
        super::keys::value(self.call(Request::read("CACHE.GET").arg(key)).await?)
    }

    /// The same with the time that it has still to live (`None`: it does not expire), which a cache in front of this one has to know.
    ///
    /// ```
    /// use sutra_cache_client::Entry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// use std::time::Duration;
    ///
    /// client.cache_set(&Entry::new("k", "v").ttl(Duration::from_secs(60))).await?;
    /// let (value, ttl) = client.cache_get_with_ttl::<String>("k").await?.expect("it was just set");
    /// assert_eq!(value, "v");
    /// assert!(ttl.is_some_and(|ttl| ttl <= Duration::from_secs(60)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn cache_get_with_ttl<V: FromValue>(
        &self,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<(V, Option<Duration>)>, Error> {
        let Some((value, ttl)) = value_and_ttl(self.call(get_with_ttl_request(key.as_ref())).await?)? else {
            return Ok(None);
        };
        Ok(codec::decode(value)?.map(|value| (value, ttl)))
    }

    /// The same with all that is known of the entry.
    ///
    /// ```
    /// use sutra_cache_client::Entry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// let entry = Entry::new("k", "v").tags(["a", "b"]).dep("doc:1", 7).meta(&[1, 2]).cost(0.25);
    /// client.cache_set(&entry).await?;
    /// let (value, meta) = client.cache_get_with_meta::<String>("k").await?.expect("it was just set");
    /// assert_eq!((value.as_str(), meta.tags.len(), meta.cost), ("v", 2, Some(0.25)));
    /// assert_eq!(meta.deps, [("doc:1".to_owned(), 7)]);
    /// assert_eq!(meta.read::<Vec<u8>>()?, Some(vec![1, 2]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn cache_get_with_meta<V: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<Option<(V, Meta)>, Error> {
        let answer = self.call(Request::read("CACHE.GET").arg(key).arg("WITHMETA")).await?;
        let Some(mut fields) = or_nil(answer, Fields::of)? else { return Ok(None) };
        let value = codec::decode(reply::bytes(fields.take("value"))?)?;
        let meta = Meta::of(&mut fields)?;
        Ok(value.map(|value| (value, meta)))
    }
}

/// Text of every element.
pub(crate) fn texts(reply: Reply) -> Result<Vec<String>, Error> {
    or_nil(reply, reply::array)?.unwrap_or_default().into_iter().map(reply::text).collect()
}

/// `CACHE.GET key WITHTTL`
pub(crate) fn get_with_ttl_request(key: &[u8]) -> Request {
    Request::read("CACHE.GET").arg(key).arg("WITHTTL")
}

/// What it answers: the stored bytes, the mark of a value that does not exist included, and how long they have to live.
pub(crate) fn value_and_ttl(reply: Reply) -> Result<Option<(Bytes, Option<Duration>)>, Error> {
    or_nil(reply, |reply| {
        let [value, ttl_ms] = elements(reply, "a value and its time to live")?;
        // -1: it does not expire.
        let ttl =
            if let Reply::Integer(-1) = ttl_ms { None } else { Some(Duration::from_millis(reply::count(ttl_ms)?)) };
        Ok((reply::bytes(value)?, ttl))
    })
}
