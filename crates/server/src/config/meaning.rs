//! The rows of the table that are about meaning: the embedder, spaces, and the limits of native commands.

use super::kind::Kind;
use super::setting::Setting;
use super::table::{live, number, shown, start};
use crate::settings::Settings;
use std::sync::atomic::Ordering::Relaxed;

const MILLISECONDS: Kind = Kind::Integer { min: 1, max: 86_400_000 };

pub(super) const EMBEDDER: Setting = start(
    "embedder",
    Kind::Text,
    "builtin",
    |s| s.meaning.embedder.clone(),
    |s, v| s.meaning.embedder = v.to_owned(),
)
.variables(&["EMBEDDER"])
.doc(
    "What makes vectors of texts: `builtin` (a small model in this program), an address like `http://localhost:11434/v1/embeddings`, \
     `local:` and the directory of a transformer, or `none`.",
);

pub(super) const EMBEDDER_MODEL: Setting = start(
    "embedder-model",
    Kind::Text,
    "text-embedding-3-small",
    |s| s.meaning.embedder_model.clone(),
    |s, v| s.meaning.embedder_model = v.to_owned(),
)
.variables(&["EMBEDDER_MODEL"])
.doc("The model that is asked for where the embedder is an address.");

pub(super) const EMBEDDER_KEY: Setting =
    start("embedder-api-key", Kind::Secret, "", |_| String::new(), |s, v| s.meaning.embedder_key.set(v))
        .variables(&["EMBEDDER_API_KEY"])
        .rival("embedder-api-key-file")
        .doc("The key that is shown to an embedder behind an address. CONFIG GET never shows it.");

pub(super) const EMBEDDER_KEY_FILE: Setting =
    start("embedder-api-key-file", Kind::SecretFile, "", |_| String::new(), read_key)
        .variables(&["EMBEDDER_API_KEY_FILE"])
        .doc("A file that holds the key, such as a mounted secret; line ends at its end are not part of it.");

pub(super) const EMBEDDER_TIMEOUT: Setting = start(
    "embedder-timeout-ms",
    MILLISECONDS,
    "10000",
    |s| s.meaning.embedder_timeout_ms.to_string(),
    |s, v| s.meaning.embedder_timeout_ms = number(v),
)
.variables(&["EMBEDDER_TIMEOUT_MS"])
.doc("Milliseconds that an embedder behind an address may take for a request, repeated attempts included.");

pub(super) const DIMENSION: Setting = start(
    "vector-dimension",
    Kind::Integer { min: 0, max: 65_536 },
    "0",
    |s| s.vector_dimension.to_string(),
    |s, v| s.vector_dimension = number(v),
)
.variables(&["VECTOR_DIMENSION"])
.doc("The only dimension of the vectors that clients bring into the spaces `default` and `text`; 0: any. Texts have the embedder's dimension.");

pub(super) const QUANTIZATION: Setting = start(
    "vector-quantization",
    Kind::OneOf(&["cascade", "int8-only"]),
    "cascade",
    |s| if s.meaning.int8_only { "int8-only" } else { "cascade" }.to_owned(),
    |s, v| s.meaning.int8_only = v == "int8-only",
)
.variables(&["VECTOR_QUANTIZATION"])
.doc(
    "How new spaces keep vectors unless they are told: `cascade` has codes to scan and the vectors themselves to be exact; `int8-only` has \
     codes of 8 bits a dimension alone, four times smaller, and similarities within known bounds instead of exact ones.",
);

pub(super) const GRAPH_MIN_ROWS: Setting = live(
    "graph-min-rows",
    Kind::Integer { min: 0, max: i64::MAX },
    "200000",
    |s| shown(&s.meaning.graph_min_rows),
    |s, v| s.meaning.graph_min_rows.store(number(v), Relaxed),
)
.variables(&["GRAPH_MIN_ROWS"])
.doc("Entries from which a space also keeps a graph, which finds the nearest without a scan; 0: never.");

pub(super) const DIMENSION_MAX: Setting = live(
    "vector-dimension-max",
    Kind::Integer { min: 1, max: sutra_shard::DIMENSION_MAX as i64 },
    "16384",
    |s| shown(&s.meaning.dimension_max),
    |s, v| s.meaning.dimension_max.store(number(v), Relaxed),
)
.doc("Dimensions of the longest vector.");

pub(super) const TEXT_BYTES_MAX: Setting = live(
    "text-bytes-max",
    Kind::Bytes { min: 1 },
    "64kb",
    |s| shown(&s.meaning.text_bytes_max),
    |s, v| s.meaning.text_bytes_max.store(number(v), Relaxed),
)
.doc("Bytes of the longest text that is made a vector of.");

pub(super) const TAGS_MAX: Setting = live(
    "entry-tags-max",
    Kind::Integer { min: 0, max: 1024 },
    "64",
    |s| shown(&s.meaning.tags_max),
    |s, v| s.meaning.tags_max.store(number(v), Relaxed),
)
.doc("Tags of an entry, and of a condition on tags.");

pub(super) const TAG_BYTES_MAX: Setting = live(
    "tag-bytes-max",
    Kind::Integer { min: 1, max: 4096 },
    "256",
    |s| shown(&s.meaning.tag_bytes_max),
    |s, v| s.meaning.tag_bytes_max.store(number(v), Relaxed),
)
.doc("Bytes of a tag and of a source's name.");

pub(super) const SOURCES_MAX: Setting = live(
    "entry-sources-max",
    Kind::Integer { min: 0, max: 1024 },
    "64",
    |s| shown(&s.meaning.sources_max),
    |s, v| s.meaning.sources_max.store(number(v), Relaxed),
)
.doc("Sources (`DEP`) of an entry.");

pub(super) const META_BYTES_MAX: Setting = live(
    "meta-bytes-max",
    Kind::Bytes { min: 0 },
    "16kb",
    |s| shown(&s.meaning.meta_bytes_max),
    |s, v| s.meaning.meta_bytes_max.store(number(v), Relaxed),
)
.doc("Bytes of an entry's JSON metadata.");

pub(super) const COUNT_MAX: Setting = live(
    "search-count-max",
    Kind::Integer { min: 1, max: 1_000_000 },
    "10000",
    |s| shown(&s.meaning.count_max),
    |s, v| s.meaning.count_max.store(number(v), Relaxed),
)
.doc("Results of one CACHE.SEARCH, samples of one dry run, lines of one CACHE.LOG or CACHE.TOP.");

pub(super) const BATCH_MAX: Setting = live(
    "embedding-batch-max",
    Kind::Integer { min: 1, max: 1_000_000 },
    "2048",
    |s| shown(&s.meaning.batch_max),
    |s, v| s.meaning.batch_max.store(number(v), Relaxed),
)
.doc("Texts of one CACHE.EMB.MGET or CACHE.EMB.MSET.");

pub(super) const LEASE_MS: Setting = live(
    "lease-ms",
    MILLISECONDS,
    "10000",
    |s| shown(&s.meaning.lease_ms),
    |s, v| s.meaning.lease_ms.store(number(v), Relaxed),
)
.doc("How long a lease lasts that names no time, in milliseconds.");

pub(super) const LEASE_MS_MAX: Setting = live(
    "lease-ms-max",
    Kind::Integer { min: 1, max: sutra_shard::LEASE_MS_MAX as i64 },
    "600000",
    |s| shown(&s.meaning.lease_ms_max),
    |s, v| s.meaning.lease_ms_max.store(number(v), Relaxed),
)
.doc("The longest lease, in milliseconds.");

pub(super) const HOLD_MAX: Setting = live(
    "hold-seconds-max",
    Kind::Integer { min: 0, max: 31_536_000 },
    "86400",
    |s| shown(&s.meaning.hold_seconds_max),
    |s, v| s.meaning.hold_seconds_max.store(number(v), Relaxed),
)
.doc("How long an invalidation may hold off writes that it covers, in seconds.");

pub(super) const UNDO_SECONDS: Setting = live(
    "undo-window-seconds",
    Kind::Integer { min: 0, max: 31_536_000 },
    "600",
    |s| shown(&s.meaning.undo_seconds),
    |s, v| s.meaning.undo_seconds.store(number(v), Relaxed),
)
.doc("How long what an invalidation removed is kept for CACHE.UNDO, in seconds; 0: not at all.");

pub(super) const UNDO_BYTES: Setting = live(
    "undo-bytes-max",
    Kind::Bytes { min: 0 },
    "64mb",
    |s| shown(&s.meaning.undo_bytes_max),
    |s, v| s.meaning.undo_bytes_max.store(number(v), Relaxed),
)
.doc("Bytes of memory for what CACHE.UNDO could bring back; the oldest invalidation is forgotten first.");

/// The file was read once when its name was checked; that it is gone now is caught by the embedder, which finds no key.
fn read_key(settings: &mut Settings, path: &str) {
    if path.is_empty() {
        return;
    }
    if let Ok(key) = super::load::secret_file(path) {
        settings.meaning.embedder_key.set(&String::from_utf8_lossy(&key));
    }
}
