//! Values by key.

use super::{Condition, Expiry, milliseconds};
use crate::codec::{self, FromValue, ToValue};
use crate::{Client, Error, Reply, Request, reply};
use bytes::Bytes;
use std::time::{Duration, SystemTime};
use sutra_protocol::Frame;

/// How a value is set: when it expires, and under which condition it is set at all.
///
/// ```
/// use sutra_cache_client::{SetOptions, Lifetime};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
/// use std::time::Duration;
///
/// let first = SetOptions::new().ttl(Duration::from_secs(60)).if_absent();
/// assert!(client.set_with("lock", "mine", &first).await?);
/// assert!(!client.set_with("lock", "yours", &first).await?);
/// client.set_with("lock", "still mine", &SetOptions::new().keep_ttl().if_present()).await?;
/// assert!(matches!(client.ttl("lock").await?, Lifetime::Remaining(left) if left <= Duration::from_secs(60)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct SetOptions {
    pub(crate) expiry: Expiry,
    pub(crate) condition: Condition,
}

impl SetOptions {
    /// Set in any case; it expires as the shard is configured.
    pub fn new() -> SetOptions {
        SetOptions::default()
    }

    /// Expires after this time, counted in milliseconds, rounded up.
    pub fn ttl(mut self, ttl: Duration) -> SetOptions {
        self.expiry = Expiry::In(ttl);
        self
    }

    /// Expires at this instant, by the shard's clock.
    pub fn expire_at(mut self, instant: SystemTime) -> SetOptions {
        self.expiry = Expiry::At(instant);
        self
    }

    /// Expires when the value expires that was there before.
    pub fn keep_ttl(mut self) -> SetOptions {
        self.expiry = Expiry::Keep;
        self
    }

    /// Only if there is nothing yet (NX).
    pub fn if_absent(mut self) -> SetOptions {
        self.condition = Condition::IfAbsent;
        self
    }

    /// Only if there is something already (XX).
    pub fn if_present(mut self) -> SetOptions {
        self.condition = Condition::IfPresent;
        self
    }
}

/// How long a value has still to live.
///
/// ```
/// use sutra_cache_client::Lifetime;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
/// use std::time::Duration;
///
/// assert_eq!(client.ttl("k").await?, Lifetime::Missing);
/// client.set("k", "v").await?;
/// assert_eq!(client.ttl("k").await?, Lifetime::Persistent);
/// client.expire("k", Duration::from_secs(5)).await?;
/// assert!(matches!(client.ttl("k").await?, Lifetime::Remaining(_)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// There is no such value.
    Missing,
    /// It does not expire.
    Persistent,
    /// It expires after this time.
    Remaining(Duration),
}

impl Client {
    /// The value of a key; `None` if there is none, or if it is known not to exist ([`codec::NEGATIVE`]).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.set("greeting", "hello").await?;
    /// assert_eq!(client.get::<String>("greeting").await?.as_deref(), Some("hello"));
    /// assert_eq!(client.get::<String>("nothing").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`]; [`Error::Decode`] if the bytes are no value of this type.
    pub async fn get<V: FromValue>(&self, key: impl AsRef<[u8]>) -> Result<Option<V>, Error> {
        value(self.call(Request::read("GET").arg(key)).await?)
    }

    /// Sets a value, whatever is there. It expires as the shard is configured.
    ///
    /// ```
    /// use sutra_cache_client::codec::Json;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.set("vector", &[0.5_f32, 1.0]).await?;
    /// client.set("list", &Json(["a", "b"])).await?;
    /// assert_eq!(client.get::<Vec<f32>>("vector").await?, Some(vec![0.5, 1.0]));
    /// assert_eq!(client.get::<Json<Vec<String>>>("list").await?.map(|json| json.0.len()), Some(2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`]; [`Error::Encode`] if the value cannot be written.
    pub async fn set<V: ToValue + ?Sized>(&self, key: impl AsRef<[u8]>, value: &V) -> Result<(), Error> {
        self.set_with(key, value, &SetOptions::new()).await.map(drop)
    }

    /// Sets a value (see [`SetOptions`]); whether the condition was met.
    ///
    /// ```
    /// use sutra_cache_client::SetOptions;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// use std::time::Duration;
    ///
    /// client.set_with("k", "v", &SetOptions::new().ttl(Duration::from_secs(60))).await?;
    /// assert!(!client.set_with("k", "w", &SetOptions::new().if_absent()).await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::set`].
    pub async fn set_with<V: ToValue + ?Sized>(
        &self,
        key: impl AsRef<[u8]>,
        value: &V,
        options: &SetOptions,
    ) -> Result<bool, Error> {
        reply::done_or_nil(self.call(set_request(key.as_ref(), &codec::encode(value)?, options)).await?)
    }

    /// Deletes a value; whether there was one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.set("k", "v").await?;
    /// assert!(client.delete("k").await?);
    /// assert!(!client.delete("k").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.delete_all([key]).await.map(|deleted| deleted > 0)
    }

    /// Deletes values; how many there were.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.mset([("a", "1"), ("b", "2")], None).await?;
    /// assert_eq!(client.delete_all(["a", "b", "c"]).await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn delete_all<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<u64, Error> {
        self.count_of(Request::read("DEL").args(keys)).await
    }

    /// Whether there is a value.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.set("k", "v").await?;
    /// assert!(client.exists("k").await?);
    /// assert!(!client.exists("nothing").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn exists(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.count_of(Request::read("EXISTS").arg(key)).await.map(|found| found > 0)
    }

    /// How long a value has still to live. See [`Lifetime`] for an example.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Lifetime, Error> {
        let left_ms = reply::integer(self.call(Request::read("PTTL").arg(key)).await?)?;
        match left_ms {
            -2 => Ok(Lifetime::Missing),
            -1 => Ok(Lifetime::Persistent),
            left_ms => u64::try_from(left_ms)
                .map(|left_ms| Lifetime::Remaining(Duration::from_millis(left_ms)))
                .map_err(|_| reply::unexpected("a time to live", &Frame::Integer(left_ms))),
        }
    }

    /// Lets a value expire after this time from now on; whether there is such a value.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// use std::time::Duration;
    ///
    /// client.set("k", "v").await?;
    /// assert!(client.expire("k", Duration::from_secs(60)).await?);
    /// assert!(!client.expire("nothing", Duration::from_secs(60)).await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn expire(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Result<bool, Error> {
        self.count_of(Request::read("PEXPIRE").arg(key).number(milliseconds(ttl))).await.map(|set| set > 0)
    }

    /// The values of keys, in their order, each as [`Client::get`] returns it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.mset([("a", "1"), ("b", "2")], None).await?;
    /// let values: Vec<Option<String>> = client.mget(["a", "x", "b"]).await?;
    /// assert_eq!(values, [Some("1".to_owned()), None, Some("2".to_owned())]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn mget<V: FromValue>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Vec<Option<V>>, Error> {
        let request = Request::read("MGET").args(keys);
        if request.arguments() == 1 {
            return Ok(Vec::new());
        }
        reply::array(self.call(request).await?)?.into_iter().map(value).collect()
    }

    /// Sets values. Without a time to live they are set all at once (MSET) and expire as the shard is configured; with one they are set one after
    /// the other, in one round trip.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// use std::time::Duration;
    ///
    /// client.mset([("a", "1"), ("b", "2")], Some(Duration::from_secs(60))).await?;
    /// assert_eq!(client.get::<String>("b").await?.as_deref(), Some("2"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::set`]. With a time to live, other values than the one that was refused may have been set.
    pub async fn mset<K: AsRef<[u8]>, V: ToValue>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
        ttl: Option<Duration>,
    ) -> Result<(), Error> {
        if let Some(ttl) = ttl {
            let options = SetOptions::new().ttl(ttl);
            let request = |(key, value): (K, V)| {
                codec::encode(&value).map(|value| set_request(key.as_ref(), &value, &options)).map_err(Error::from)
            };
            let requests: Vec<Request> = pairs.into_iter().map(request).collect::<Result<_, Error>>()?;
            return self.pipeline(&requests).await?.into_iter().try_for_each(|answer| reply::done(answer?));
        }
        let mut request = Request::read("MSET");
        for (key, value) in pairs {
            request.push(key.as_ref());
            request.push(&codec::encode(&value)?);
        }
        if request.arguments() == 1 {
            return Ok(());
        }
        reply::done(self.call(request).await?)
    }

    /// Adds to a number, which is 0 if there is none; what it is then. It is never sent twice.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// assert_eq!(client.incr("visits", 2).await?, 2);
    /// assert_eq!(client.incr("visits", -3).await?, -1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`]; if the value is no number, or the sum would be none of 64 bits.
    pub async fn incr(&self, key: impl AsRef<[u8]>, by: i64) -> Result<i64, Error> {
        reply::integer(self.call(Request::new("INCRBY").arg(key).number(by)).await?)
    }

    /// Removes every entry of the database (FLUSHDB).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.set("k", "v").await?;
    /// client.clear().await?;
    /// assert!(!client.exists("k").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn clear(&self) -> Result<(), Error> {
        reply::done(self.call(Request::read("FLUSHDB")).await?)
    }

    /// The keys that match a glob pattern (`*` for all), found part by part while others go on working. See [`Scan`].
    pub fn scan(&self, pattern: impl AsRef<[u8]>) -> Scan {
        Scan {
            client: self.clone(),
            pattern: pattern.as_ref().to_vec(),
            count: None,
            cursor: Some(Bytes::from_static(b"0")),
            part: Vec::new().into_iter(),
        }
    }

    /// The answer to a command that counts.
    pub(crate) async fn count_of(&self, request: Request) -> Result<u64, Error> {
        if request.arguments() == 1 {
            return Ok(0);
        }
        reply::count(self.call(request).await?)
    }
}

/// A walk over keys. A key that is there all the time comes at least once; one that comes or goes meanwhile may be missed or come twice.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
/// client.mset([("user:1", "a"), ("user:2", "b"), ("other", "c")], None).await?;
/// let mut scan = client.scan("user:*").count(100);
/// let mut keys = Vec::new();
/// while let Some(key) = scan.next().await? {
///     keys.push(key);
/// }
/// keys.sort();
/// assert_eq!(keys, ["user:1", "user:2"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Scan {
    client: Client,
    pattern: Vec<u8>,
    count: Option<u64>,
    /// Where to go on; `None` at the end.
    cursor: Option<Bytes>,
    part: std::vec::IntoIter<Bytes>,
}

impl Scan {
    /// About how many keys are looked at in one round trip. More are faster, and keep the shard busy for longer at a stretch.
    pub fn count(mut self, count: u64) -> Scan {
        self.count = Some(count);
        self
    }

    /// The next key.
    ///
    /// # Errors
    /// As [`Client::call`]. It may be called again then, and goes on where it was.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(key) = self.part.next() {
                return Ok(Some(key));
            }
            let Some(cursor) = &self.cursor else { return Ok(None) };
            let mut request = Request::read("SCAN").arg(cursor).arg("MATCH").arg(&self.pattern);
            if let Some(count) = self.count {
                request = request.arg("COUNT").number(count);
            }
            let [next, keys] = super::fields::elements(self.client.call(request).await?, "a cursor and keys")?;
            let next = reply::bytes(next)?;
            let keys: Vec<Bytes> = reply::array(keys)?.into_iter().map(reply::bytes).collect::<Result<_, Error>>()?;
            self.cursor = (next != "0").then_some(next);
            self.part = keys.into_iter();
        }
    }
}

/// A value of the type that was asked for; `None` if there is none, or it is known not to exist.
pub(crate) fn value<V: FromValue>(reply: Reply) -> Result<Option<V>, Error> {
    match reply::bytes_or_nil(reply)? {
        Some(bytes) => Ok(codec::decode(bytes)?),
        None => Ok(None),
    }
}

/// SET, sent again only if no condition makes its own first attempt stand in its way.
pub(crate) fn set_request(key: &[u8], value: &[u8], options: &SetOptions) -> Request {
    let request = match options.condition {
        Condition::IfAbsent => Request::new("SET"),
        Condition::None | Condition::IfPresent => Request::read("SET"),
    };
    options.condition.push(options.expiry.push(request.arg(key).arg(value)))
}
