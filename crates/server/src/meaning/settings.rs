//! What the operator has chosen for spaces, vectors, tags and leases.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// The settings whose names stand at each. Limits hold for one command; what was stored under a higher one stays.
#[derive(Debug)]
pub struct MeaningSettings {
    /// `embedder`: `builtin`, an address, `local:` and a directory, or `none`.
    pub embedder: String,
    /// `embedder-model`: the model that an address is asked for.
    pub embedder_model: String,
    /// `embedder-api-key`.
    pub embedder_key: Secret,
    /// `embedder-timeout-ms`: for the whole of one text, retries included.
    pub embedder_timeout_ms: u64,
    /// `vector-quantization`: whether new spaces keep codes of 8 bits only.
    pub int8_only: bool,
    /// `graph-min-rows`.
    pub graph_min_rows: AtomicU64,
    /// `vector-dimension-max`.
    pub dimension_max: AtomicU64,
    /// `text-bytes-max`: of a text to be embedded or compared.
    pub text_bytes_max: AtomicU64,
    /// `entry-tags-max`: of an entry, and of a filter.
    pub tags_max: AtomicU64,
    /// `tag-bytes-max`: also of a source's name.
    pub tag_bytes_max: AtomicU64,
    /// `entry-sources-max`.
    pub sources_max: AtomicU64,
    /// `meta-bytes-max`.
    pub meta_bytes_max: AtomicU64,
    /// `search-count-max`: results of one SEARCH, samples of one dry run, lines of one list.
    pub count_max: AtomicU64,
    /// `embedding-batch-max`: texts of one CACHE.EMB.MGET or MSET.
    pub batch_max: AtomicU64,
    /// `lease-ms`: how long a lease lasts that names no time.
    pub lease_ms: AtomicU64,
    /// `lease-ms-max`.
    pub lease_ms_max: AtomicU64,
    /// `hold-seconds-max`.
    pub hold_seconds_max: AtomicU64,
    /// `undo-window-seconds`.
    pub undo_seconds: AtomicU64,
    /// `undo-bytes-max`.
    pub undo_bytes_max: AtomicU64,
}

impl Default for MeaningSettings {
    fn default() -> MeaningSettings {
        MeaningSettings {
            embedder: "builtin".to_owned(),
            embedder_model: "text-embedding-3-small".to_owned(),
            embedder_key: Secret::default(),
            embedder_timeout_ms: 10_000,
            int8_only: false,
            graph_min_rows: AtomicU64::new(200_000),
            dimension_max: AtomicU64::new(16_384),
            text_bytes_max: AtomicU64::new(64 << 10),
            tags_max: AtomicU64::new(64),
            tag_bytes_max: AtomicU64::new(256),
            sources_max: AtomicU64::new(64),
            meta_bytes_max: AtomicU64::new(16 << 10),
            count_max: AtomicU64::new(10_000),
            batch_max: AtomicU64::new(2048),
            lease_ms: AtomicU64::new(10_000),
            lease_ms_max: AtomicU64::new(600_000),
            hold_seconds_max: AtomicU64::new(86_400),
            undo_seconds: AtomicU64::new(600),
            undo_bytes_max: AtomicU64::new(64 << 20),
        }
    }
}

/// A secret of the operator's; shown to nobody.
#[derive(Default, Clone)]
pub struct Secret(Option<String>);

impl Secret {
    /// Keeps it; an empty text is none.
    pub fn set(&mut self, text: &str) {
        self.0 = (!text.is_empty()).then(|| text.to_owned());
    }

    /// The secret, for whoever it is meant for.
    #[must_use]
    pub fn reveal(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Secret(set)" } else { "Secret(none)" })
    }
}

/// The limits of one command, taken once when it begins.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// See [`MeaningSettings::dimension_max`].
    pub dimension_max: usize,
    /// See [`MeaningSettings::text_bytes_max`].
    pub text_bytes_max: usize,
    /// See [`MeaningSettings::tags_max`].
    pub tags_max: usize,
    /// See [`MeaningSettings::tag_bytes_max`].
    pub tag_bytes_max: usize,
    /// See [`MeaningSettings::sources_max`].
    pub sources_max: usize,
    /// See [`MeaningSettings::meta_bytes_max`].
    pub meta_bytes_max: usize,
    /// See [`MeaningSettings::count_max`].
    pub count_max: usize,
    /// See [`MeaningSettings::batch_max`].
    pub batch_max: usize,
    /// See [`MeaningSettings::lease_ms`].
    pub lease_ms: u64,
    /// See [`MeaningSettings::lease_ms_max`].
    pub lease_ms_max: u64,
    /// See [`MeaningSettings::hold_seconds_max`].
    pub hold_seconds_max: u64,
}

impl MeaningSettings {
    /// The limits as they are now.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let size = |setting: &AtomicU64| usize::try_from(setting.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        Limits {
            dimension_max: size(&self.dimension_max),
            text_bytes_max: size(&self.text_bytes_max),
            tags_max: size(&self.tags_max),
            tag_bytes_max: size(&self.tag_bytes_max),
            sources_max: size(&self.sources_max),
            meta_bytes_max: size(&self.meta_bytes_max),
            count_max: size(&self.count_max),
            batch_max: size(&self.batch_max),
            lease_ms: self.lease_ms.load(Ordering::Relaxed),
            lease_ms_max: self.lease_ms_max.load(Ordering::Relaxed),
            hold_seconds_max: self.hold_seconds_max.load(Ordering::Relaxed),
        }
    }
}
