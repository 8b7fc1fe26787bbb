//! What native commands have in common when they answer.

use super::text::similarity;
use crate::command::CommandError;
use crate::job::OwnedReply;
use crate::server::Server;
use std::sync::atomic::Ordering;
use sutra_protocol::Reply;
use sutra_shard::{Details, MeaningError};

/// A refusal of the shard as a reply.
pub(super) fn meaning_error(error: MeaningError) -> CommandError {
    if let MeaningError::Write(error) = error {
        // Worded as for plain writes.
        return CommandError::from(error);
    }
    CommandError::text(format!("{} {error}", error.prefix()))
}

/// When an entry of a native command expires that names no time.
pub(super) fn default_expiry_ms(server: &Server, now_ms: u64) -> Option<u64> {
    match server.settings.default_ttl_s.load(Ordering::Relaxed) {
        0 => None,
        seconds => Some(now_ms.saturating_add(seconds.saturating_mul(1000))),
    }
}

/// A map whose keys are words.
pub(super) fn map(pairs: Vec<(&'static str, OwnedReply)>) -> OwnedReply {
    Reply::Map(pairs.into_iter().map(|(key, value)| (Reply::Bulk(key.as_bytes()), value)).collect())
}

/// A word as a bulk string.
pub(super) fn word(text: &'static str) -> OwnedReply {
    Reply::Bulk(text.as_bytes())
}

/// A count.
pub(super) fn integer(value: u64) -> OwnedReply {
    Reply::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

/// A count that may be unknown.
pub(super) fn integer_or_null(value: Option<u64>) -> OwnedReply {
    value.map_or(Reply::Null, integer)
}

/// A number of 32 bits as the decimal that a person has given.
pub(super) fn number(value: f32) -> OwnedReply {
    similarity(value)
}

/// The metadata of an entry, in the order of the reference.
pub(super) fn details(details: Details) -> Vec<(&'static str, OwnedReply)> {
    let sources = details.deps.into_iter();
    vec![
        ("ttl_ms", integer_or_null(details.ttl_ms)),
        ("age_ms", integer_or_null(details.age_ms)),
        ("lsn", integer_or_null(details.lsn)),
        ("tags", Reply::Array(details.tags.into_iter().map(Reply::BulkOwned).collect())),
        (
            "deps",
            Reply::Array(
                sources.map(|(name, version)| Reply::Array(vec![Reply::BulkOwned(name), integer(version)])).collect(),
            ),
        ),
        ("meta", details.meta.map_or(Reply::Null, Reply::BulkOwned)),
        ("cost", details.cost.map_or(Reply::Null, number)),
        ("space", details.space.map_or(Reply::Null, Reply::BulkOwned)),
        ("hits", integer(details.hits)),
    ]
}
