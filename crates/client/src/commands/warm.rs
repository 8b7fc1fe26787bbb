//! Filling one shard with what another one is asked for most.

use super::fields::elements;
use super::{milliseconds, push_seconds};
use crate::{Client, Error, Request, reply};
use bytes::Bytes;
use std::time::Duration;

/// Which entries are copied: the most used first.
///
/// ```
/// use sutra_cache_client::{Entry, Export, Import};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
/// use std::time::Duration;
///
/// # let other_shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let other = sutra_cache_client::Client::connect(&other_shard.url()).await?;
/// client.cache_set(&Entry::new("k", "v").tag("t")).await?;
/// let part = client.warm_export(&Export::new().count(100).since(Duration::from_secs(3600))).await?;
/// assert_eq!((part.copies.len(), part.next), (1, None));
/// assert_eq!(other.warm_import(&part.copies, &Import::new().replace()).await?, 1);
/// assert_eq!(other.cache_get::<String>("k").await?.as_deref(), Some("v"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Export {
    count: Option<u64>,
    since: Option<Duration>,
    matching: Option<Vec<u8>>,
    cursor: Option<Bytes>,
}

impl Export {
    /// All entries of the database, in parts of 1000.
    pub fn new() -> Export {
        Export::default()
    }

    /// At most so many in a part.
    pub fn count(mut self, count: u64) -> Export {
        self.count = Some(count);
        self
    }

    /// Only what a native command has written within this time.
    pub fn since(mut self, time: Duration) -> Export {
        self.since = Some(time);
        self
    }

    /// Only entries whose keys match this glob pattern.
    pub fn matching(mut self, pattern: impl AsRef<[u8]>) -> Export {
        self.matching = Some(pattern.as_ref().to_vec());
        self
    }

    /// The part behind one that said this ([`Exported::next`]).
    pub fn cursor(mut self, cursor: Bytes) -> Export {
        self.cursor = Some(cursor);
        self
    }

    fn request(&self) -> Request {
        let mut request = Request::read("CACHE.WARM").arg("EXPORT");
        if let Some(count) = self.count {
            request = request.arg("COUNT").number(count);
        }
        request = push_seconds(request, "SINCE", self.since);
        if let Some(pattern) = &self.matching {
            request = request.arg("MATCH").arg(pattern);
        }
        match &self.cursor {
            Some(cursor) => request.arg("CURSOR").arg(cursor),
            None => request,
        }
    }
}

/// A part of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Where the next part begins; `None`: this was the last.
    pub next: Option<Bytes>,
    /// Copies of entries, most used first. They may be kept in files.
    pub copies: Vec<Bytes>,
}

/// What is to be done with copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Import {
    replace: bool,
    ttl_min: Option<Duration>,
}

impl Import {
    /// Entries that are there stay.
    pub fn new() -> Import {
        Import::default()
    }

    /// Entries that are there are replaced.
    pub fn replace(mut self) -> Import {
        self.replace = true;
        self
    }

    /// Copies that live no longer than this are left out.
    pub fn ttl_min(mut self, ttl: Duration) -> Import {
        self.ttl_min = Some(ttl);
        self
    }
}

impl Client {
    /// Copies of the most used entries, a part of them. See [`Export`] for an example.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn warm_export(&self, export: &Export) -> Result<Exported, Error> {
        let [next, copies] = elements(self.call(export.request()).await?, "a cursor and copies")?;
        let next = reply::bytes(next)?;
        let copies = reply::array(copies)?.into_iter().map(reply::bytes).collect::<Result<_, Error>>()?;
        Ok(Exported { next: (next != "0").then_some(next), copies })
    }

    /// Stores such copies, with expiry and age as they were; how many. What has expired, or what an invalidation of this shard has covered since
    /// the copy was made, is left out.
    ///
    /// # Errors
    /// As [`Client::call`]; if a copy is damaged or does not fit to a space that is there, nothing is stored.
    pub async fn warm_import<C: AsRef<[u8]>>(
        &self,
        copies: impl IntoIterator<Item = C>,
        import: &Import,
    ) -> Result<u64, Error> {
        let mut request = Request::read("CACHE.WARM").arg("IMPORT");
        if import.replace {
            request = request.arg("REPLACE");
        }
        if let Some(ttl) = import.ttl_min {
            request = request.arg("TTLMIN").number(milliseconds(ttl));
        }
        let options = request.arguments();
        let request = request.args(copies);
        if request.arguments() == options {
            return Ok(0);
        }
        reply::count(self.call(request).await?)
    }

    /// Copies the most used entries of another shard into this one, at most so many, part by part; how many were stored.
    ///
    /// ```
    /// use sutra_cache_client::Import;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// # let cold_shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let cold = sutra_cache_client::Client::connect(&cold_shard.url()).await?;
    /// client.mset([("a", "1"), ("b", "2"), ("c", "3")], None).await?;
    /// assert_eq!(cold.warm_from(&client, 2, &Import::new()).await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::warm_export`] and [`Client::warm_import`]: what was stored before stays.
    pub async fn warm_from(&self, other: &Client, entries_max: u64, import: &Import) -> Result<u64, Error> {
        let (mut left, mut stored) = (entries_max, 0);
        let mut export = Export::new();
        while left > 0 {
            let part = other.warm_export(&export.clone().count(left.min(PART_ENTRIES))).await?;
            left = left.saturating_sub(part.copies.len() as u64);
            stored += self.warm_import(&part.copies, import).await?;
            let Some(next) = part.next else { break };
            export = export.cursor(next);
        }
        Ok(stored)
    }
}

/// Entries that are copied at once: few enough to be stored well within a read timeout.
const PART_ENTRIES: u64 = 1000;
