//! What an endpoint is asked with, and how patiently.

use std::fmt;
use std::time::Duration;

/// The settings of an [`super::HttpEmbedder`]. Change what differs from the default.
#[derive(Clone)]
pub struct HttpOptions {
    /// The model that is asked for. It is part of the embedder's name: vectors of another model are others.
    pub model: String,
    /// The key, sent as `Authorization: Bearer`; to hosts below `azure.com` as `api-key`.
    pub api_key: Option<String>,
    /// The dimension that vectors must have. `None`: that of the first answer.
    pub dimension: Option<usize>,
    /// How long a connection may take to come about, TLS included.
    pub connect_timeout: Duration,
    /// How long one request may take with all its attempts and the waits between them. A call with more texts than one
    /// request takes makes several, one after another.
    pub timeout: Duration,
    /// How often one request is made before it is given up.
    pub attempts_max: u32,
    /// The longest wait before the second attempt; it doubles with each.
    pub backoff_first: Duration,
    /// The longest wait before any attempt, unless the endpoint asks for a longer one.
    pub backoff_max: Duration,
    /// How many texts go into one request. Small servers take 32.
    pub request_texts_max: usize,
    /// How many bytes of text go into one request, if it is more than one text.
    pub request_bytes_max: usize,
    /// The longest text that is sent at all.
    pub text_bytes_max: usize,
    /// The longest answer that is read.
    pub answer_bytes_max: usize,
    /// After so many failures in a row the endpoint is left alone.
    pub circuit_failures_max: u32,
    /// For so long.
    pub circuit_open_for: Duration,
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        HttpOptions {
            model: "text-embedding-3-small".to_owned(),
            api_key: None,
            dimension: None,
            connect_timeout: Duration::from_secs(2),
            timeout: Duration::from_secs(10),
            attempts_max: 4,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
            request_texts_max: 32,
            request_bytes_max: 256 << 10,
            text_bytes_max: 64 << 10,
            answer_bytes_max: 16 << 20,
            circuit_failures_max: 5,
            circuit_open_for: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for HttpOptions {
    /// Everything but the key, so that no log line shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOptions")
            .field("model", &self.model)
            .field("api_key", &self.api_key.as_ref().map(|_| "(hidden)"))
            .field("dimension", &self.dimension)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_not_shown() {
        let options = HttpOptions { api_key: Some("very secret".into()), ..HttpOptions::default() };
        let shown = format!("{options:?}");
        assert!(shown.contains("(hidden)") && !shown.contains("secret"), "{shown}");
    }
}
