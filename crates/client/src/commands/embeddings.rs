//! The vectors of texts by a model.

use super::milliseconds;
use super::query::blob;
use crate::codec::{self, FromValue};
use crate::{Client, Error, Reply, Request, reply};
use bytes::Bytes;
use std::time::Duration;

/// How vectors of texts are stored.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[must_use]
pub struct EmbeddingOptions {
    ttl: Option<Duration>,
    cost: Option<f64>,
    store_text: bool,
}

impl EmbeddingOptions {
    /// They expire as the shard is configured; no cost; the texts themselves are not stored.
    pub fn new() -> EmbeddingOptions {
        EmbeddingOptions::default()
    }

    /// They expire after this time, counted in milliseconds, rounded up.
    pub fn ttl(mut self, ttl: Duration) -> EmbeddingOptions {
        self.ttl = Some(ttl);
        self
    }

    /// What it would cost to compute one of them again, in US dollars: each hit counts that as saved.
    pub fn cost(mut self, usd: f64) -> EmbeddingOptions {
        self.cost = Some(usd);
        self
    }

    /// The texts are stored beside their vectors, as the `text` of their metadata.
    pub fn store_text(mut self) -> EmbeddingOptions {
        self.store_text = true;
        self
    }
}

impl Client {
    /// The stored vectors of texts by a model, in the order of the texts (CACHE.EMB.MGET). What is stored there and is no vector is none.
    ///
    /// ```
    /// use sutra_cache_client::EmbeddingOptions;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.embeddings_put("model-a", [("apple", [0.1_f32, 0.9])], &EmbeddingOptions::new().cost(0.0001)).await?;
    /// let vectors = client.embeddings_get("model-a", ["pear", "apple"]).await?;
    /// assert_eq!(vectors, [None, Some(vec![0.1, 0.9])]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`]; if there are more texts than the shard takes at once (`embedding-batch-max`).
    pub async fn embeddings_get<T: AsRef<str>>(
        &self,
        model: &str,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Option<Vec<f32>>>, Error> {
        let request = embeddings_request(model, texts);
        if request.arguments() == 2 {
            return Ok(Vec::new());
        }
        embeddings(self.call(request).await?)
    }

    /// Stores the vectors of texts by a model, under the keys that [`EmbeddingKey`](crate::keys::EmbeddingKey) computes too, and in the space
    /// that has the name of the model (CACHE.EMB.MSET); how many. See [`Client::embeddings_get`] for an example.
    ///
    /// # Errors
    /// As [`Client::call`]; if one of the vectors is refused, or there are more than the shard takes at once (`embedding-batch-max`), none is
    /// stored.
    pub async fn embeddings_put<T: AsRef<str>, V: AsRef<[f32]>>(
        &self,
        model: &str,
        pairs: impl IntoIterator<Item = (T, V)>,
        options: &EmbeddingOptions,
    ) -> Result<u64, Error> {
        let mut request = Request::read("CACHE.EMB.MSET").arg(model);
        if let Some(ttl) = options.ttl {
            request = request.arg("PX").number(milliseconds(ttl));
        }
        if let Some(cost) = options.cost {
            request = request.arg("COST").float(cost);
        }
        if options.store_text {
            request = request.arg("STORETEXT");
        }
        let options = request.arguments();
        for (text, vector) in pairs {
            request.push(text.as_ref().as_bytes());
            request.push(&blob(vector.as_ref()));
        }
        if request.arguments() == options {
            return Ok(0);
        }
        reply::count(self.call(request).await?)
    }
}

/// `CACHE.EMB.MGET model text...`
pub(crate) fn embeddings_request<T: AsRef<str>>(model: &str, texts: impl IntoIterator<Item = T>) -> Request {
    texts.into_iter().fold(Request::read("CACHE.EMB.MGET").arg(model), |request, text| request.arg(text.as_ref()))
}

/// What it answers.
pub(crate) fn embeddings(answer: Reply) -> Result<Vec<Option<Vec<f32>>>, Error> {
    let vector = |bytes: Bytes| if codec::is_negative(&bytes) { None } else { Vec::<f32>::from_value(bytes).ok() };
    reply::array(answer)?.into_iter().map(|answer| Ok(reply::bytes_or_nil(answer)?.and_then(vector))).collect()
}
