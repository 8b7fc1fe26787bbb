//! How the cache does, and what it holds.

use crate::{Client, Error, Request, reply};

impl Client {
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
}
