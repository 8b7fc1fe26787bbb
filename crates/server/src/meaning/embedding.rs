//! The server's embedder, and how texts get to it.

use super::settings::MeaningSettings;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use sutra_embed::{
    Batcher, BatcherOptions, Builtin, Circuit, EmbedError, Embedder, HttpOptions, OnVector, SettingError, from_setting,
};

/// The embedder, or none. One that makes its callers wait is asked by threads of its own, many texts at once.
pub struct Embedding {
    embedder: Option<Arc<dyn Embedder>>,
    batcher: Option<Batcher>,
}

/// Why there is no embedder though one is wanted.
#[derive(Debug)]
pub enum EmbeddingError {
    /// The setting names none.
    Setting(SettingError),
    /// The system gives no threads.
    Threads(io::Error),
}

impl fmt::Display for EmbeddingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmbeddingError::Setting(error) => write!(f, "EMBEDDER (embedder): {error}"),
            EmbeddingError::Threads(error) => {
                write!(f, "the threads that ask the embedder could not be started: {error}")
            }
        }
    }
}

impl std::error::Error for EmbeddingError {}

impl Embedding {
    /// The model that is compiled in.
    #[must_use]
    pub fn builtin() -> Embedding {
        Embedding { embedder: Some(Arc::new(Builtin)), batcher: None }
    }

    /// No embedder: vectors come from clients alone.
    #[must_use]
    pub fn none() -> Embedding {
        Embedding { embedder: None, batcher: None }
    }

    /// This embedder.
    ///
    /// # Errors
    /// [`EmbeddingError::Threads`].
    pub fn of(embedder: Arc<dyn Embedder>) -> Result<Embedding, EmbeddingError> {
        let batcher = if embedder.is_immediate() {
            None
        } else {
            let batcher = Batcher::new(Arc::clone(&embedder), BatcherOptions::default());
            Some(batcher.map_err(EmbeddingError::Threads)?)
        };
        Ok(Embedding { embedder: Some(embedder), batcher })
    }

    /// The embedder that the operator has chosen.
    ///
    /// # Errors
    /// What is wrong with the setting; whether an address answers is not tried.
    pub fn from_settings(settings: &MeaningSettings) -> Result<Embedding, EmbeddingError> {
        let options = HttpOptions {
            model: settings.embedder_model.clone(),
            api_key: settings.embedder_key.reveal().map(str::to_owned),
            timeout: Duration::from_millis(settings.embedder_timeout_ms),
            ..HttpOptions::default()
        };
        match from_setting(&settings.embedder, &options).map_err(EmbeddingError::Setting)? {
            Some(embedder) => Embedding::of(Arc::from(embedder)),
            None => Ok(Embedding::none()),
        }
    }

    /// The embedder.
    #[must_use]
    pub fn embedder(&self) -> Option<&dyn Embedder> {
        self.embedder.as_deref()
    }

    /// Its name, as spaces remember it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.embedder().map(Embedder::name)
    }

    /// Whether an embedder behind an address is left alone for now because it failed too often.
    #[must_use]
    pub fn is_circuit_open(&self) -> bool {
        self.embedder().and_then(Embedder::http_stats).is_some_and(|stats| stats.circuit == Circuit::Open)
    }

    /// The vector of one text; waits for it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn embed(&self, text: &str) -> Result<Vec<f32>, EmbedError> {
        let embedder = self.embedder().ok_or(EmbedError::Closed)?;
        let mut vectors = Vec::with_capacity(1);
        embedder.embed(&[text], &mut vectors)?;
        vectors.pop().ok_or(EmbedError::BadAnswer { reason: "no vector".to_owned() })
    }

    /// Has a text embedded by another thread, which then calls `on_vector`.
    ///
    /// # Errors
    /// Too many texts wait; `on_vector` is not called.
    pub(crate) fn submit(&self, text: String, on_vector: OnVector) -> Result<(), EmbedError> {
        match &self.batcher {
            Some(batcher) => batcher.submit(text, on_vector),
            None => {
                on_vector(self.embed(&text));
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Embedding").field(&self.name()).finish()
    }
}
