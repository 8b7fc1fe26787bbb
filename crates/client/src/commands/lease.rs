//! Leases: one caller computes, the others wait, and nothing is stored that was invalidated meanwhile.

use super::{milliseconds, push_seconds};
use crate::{Client, Error, Reply, Request, reply};
use bytes::Bytes;
use std::time::Duration;

/// The right to compute a value and to store it ([`Entry::lease`](crate::Entry::lease)). It ends with its time, with the writing, with
/// [`Client::release`], and with the connection over which it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseToken(Bytes);

impl LeaseToken {
    /// As the shard has written it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a caller gets who would compute the value if there is none: `T` is the value, or the hit of a lookup.
#[derive(Debug, Clone, PartialEq)]
pub enum Leased<T> {
    /// It is there.
    Hit(T),
    /// It is not there, and nobody else is to compute it: compute it, and store it with this token.
    Lease(LeaseToken),
    /// Somebody else computes it, and has so much time left: ask again, after a part of it.
    Wait(Duration),
    /// It is there and will soon expire. Use it, and compute it anew; others get it as a hit meanwhile.
    Revalidate(T, LeaseToken),
}

/// How long a lease is to last, and whether what will soon expire is to be computed before it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct LeaseOptions {
    time: Option<Duration>,
    revalidate: Option<Duration>,
}

impl LeaseOptions {
    /// As long as the shard is configured to give, and without revalidation.
    pub fn new() -> LeaseOptions {
        LeaseOptions::default()
    }

    /// So long, in milliseconds, rounded up: longer than the computation takes. The shard has a limit (`lease-ms-max`).
    pub fn time(mut self, time: Duration) -> LeaseOptions {
        self.time = Some(time);
        self
    }

    /// An entry that has less than this to live is to be computed anew ([`Leased::Revalidate`]), by one caller.
    pub fn revalidate(mut self, below: Duration) -> LeaseOptions {
        self.revalidate = Some(below);
        self
    }

    pub(crate) fn time_ms(&self) -> Option<u64> {
        self.time.map(milliseconds)
    }

    pub(crate) fn push_revalidate(&self, request: Request) -> Request {
        push_seconds(request, "REVALIDATE", self.revalidate)
    }
}

impl Client {
    /// The value of a key as it is stored ([`codec::decode`](crate::codec::decode) reads it), or the right to compute it, or how long somebody
    /// else has it (CACHE.LEASE).
    ///
    /// ```
    /// use sutra_cache_client::{Entry, LeaseOptions, Leased};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// let Leased::Lease(token) = client.lease("k", &LeaseOptions::new()).await? else { panic!("nobody else is here") };
    /// assert!(matches!(client.lease("k", &LeaseOptions::new()).await?, Leased::Wait(_)));
    /// client.cache_set(&Entry::new("k", "computed").lease(token)).await?;
    /// assert_eq!(client.lease("k", &LeaseOptions::new()).await?, Leased::Hit("computed".into()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn lease(&self, key: impl AsRef<[u8]>, options: &LeaseOptions) -> Result<Leased<Bytes>, Error> {
        leased(self.call(lease_request(key.as_ref(), options)).await?, reply::bytes)
    }

    /// Gives a lease back without a value, so that the next caller gets one at once; whether it was still out. For a lease on a question (of
    /// [`Client::lookup_or_lease`]) any key will do.
    ///
    /// ```
    /// use sutra_cache_client::{LeaseOptions, Leased};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// let Leased::Lease(token) = client.lease("k", &LeaseOptions::new()).await? else { panic!("nobody else is here") };
    /// assert!(client.release("k", &token).await?);
    /// assert!(!client.release("k", &token).await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn release(&self, key: impl AsRef<[u8]>, token: &LeaseToken) -> Result<bool, Error> {
        let request = Request::new("CACHE.RELEASE").arg(key).arg(token.as_bytes());
        reply::integer(self.call(request).await?).map(|released| released != 0)
    }
}

/// `CACHE.LEASE key`. It is not sent again: a lease that was given on the connection that has ended has ended with it, and one that has not
/// yet ended would answer "wait".
pub(crate) fn lease_request(key: &[u8], options: &LeaseOptions) -> Request {
    let request = Request::new("CACHE.LEASE").arg(key);
    let request = match options.time_ms() {
        Some(time_ms) => request.number(time_ms),
        None => request,
    };
    options.push_revalidate(request)
}

/// `["HIT", ...]`, `["LEASE", token]`, `["WAIT", milliseconds]` or `["REVALIDATE", ..., token]`
pub(crate) fn leased<T>(answer: Reply, hit: impl FnOnce(Reply) -> Result<T, Error>) -> Result<Leased<T>, Error> {
    const EXPECTED: &str = "HIT, LEASE, WAIT or REVALIDATE";
    let mut parts = reply::array(answer)?.into_iter();
    let mut part = || parts.next().unwrap_or(Reply::Null);
    let word = reply::bytes(part())?;
    match &*word {
        b"HIT" => hit(part()).map(Leased::Hit),
        b"LEASE" => reply::bytes(part()).map(|token| Leased::Lease(LeaseToken(token))),
        b"WAIT" => reply::count(part()).map(|ms| Leased::Wait(Duration::from_millis(ms))),
        b"REVALIDATE" => Ok(Leased::Revalidate(hit(part())?, LeaseToken(reply::bytes(part())?))),
        _ => Err(reply::unexpected(EXPECTED, &Reply::Bulk(word))),
    }
}
