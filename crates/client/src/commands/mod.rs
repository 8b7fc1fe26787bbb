//! The commands of a shard with types: arguments that cannot be misspelt, answers that are taken apart.
//!
//! Each is a method of [`Client`](crate::Client), and each has the names and the meaning of the command behind it (`docs/native.md`). What has
//! many options is described by a value first ([`Entry`], [`Lookup`], [`Invalidate`]), which may be kept, cloned and sent to several shards. An
//! option that is given twice holds as it was given last.
//!
//! # What is sent again
//! If a connection ends before the answer has come, nobody knows whether the command was carried out. It is sent again, by itself, if that
//! does no harm:
//!
//! - reads;
//! - writes whose effect is absolute: what is stored is the same, once or twice. Not those under a condition (NX), which would find their own
//!   first attempt, nor those with a lease, which ends with the first;
//! - removals, and invalidations above all. What a second one removes in addition was written in between, and costs one computation; an
//!   invalidation that was lost would cost wrong answers. The count that is returned is that of the last attempt.
//!
//! Everything else (leases, counters, the undoing of an invalidation) fails with [`Error::Lost`](crate::Error::Lost).

mod analytics;
mod embeddings;
mod entry;
mod fields;
mod invalidate;
mod keys;
mod lease;
mod lookup;
mod query;
mod space;
mod warm;

pub use analytics::{LookupLatency, ReadCounts, ShardStats, SpaceStats, TopEntry};
pub use embeddings::EmbeddingOptions;
pub(crate) use embeddings::embeddings_request;
pub use entry::{Entry, Meta};
pub use invalidate::{DryRun, Invalidate, InvalidationState, LoggedInvalidation};
pub use keys::{Lifetime, Scan, SetOptions};
pub(crate) use lease::leased;
pub use lease::{LeaseOptions, LeaseToken, Leased};
pub(crate) use lookup::lookup_lease_request;
pub use lookup::{Found, Hit, Lookup, Search};
pub use query::Query;
pub use space::{Guard, Metric, Quantization, SpaceInfo, SpaceOptions};
pub use warm::{Export, Exported, Import};

use crate::Request;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When what is written expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Expiry {
    /// As the shard is configured.
    #[default]
    Default,
    In(Duration),
    At(SystemTime),
    /// As what was there before.
    Keep,
}

impl Expiry {
    pub(crate) fn push(self, request: Request) -> Request {
        match self {
            Expiry::Default => request,
            Expiry::In(ttl) => request.arg("PX").number(milliseconds(ttl)),
            Expiry::At(instant) => {
                // The shard takes no 0, nor what lies before it: what expires a millisecond later has expired as much.
                let since = instant.duration_since(UNIX_EPOCH).unwrap_or_default();
                request.arg("PXAT").number(milliseconds(since).max(1))
            }
            Expiry::Keep => request.arg("KEEPTTL"),
        }
    }
}

/// Under which condition something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Condition {
    #[default]
    None,
    IfAbsent,
    IfPresent,
}

impl Condition {
    pub(crate) fn push(self, request: Request) -> Request {
        match self {
            Condition::None => request,
            Condition::IfAbsent => request.arg("NX"),
            Condition::IfPresent => request.arg("XX"),
        }
    }
}

/// Whole milliseconds, rounded up: what is to live for a moment lives for a moment.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).min(i64::MAX as u64)
}

/// Adds an option and its time in seconds, with a fraction.
pub(crate) fn push_seconds(request: Request, option: &str, time: Option<Duration>) -> Request {
    match time {
        Some(time) => request.arg(option).float(time.as_secs_f64()),
        None => request,
    }
}

/// Adds a count and so many names behind an option, if there are any.
pub(crate) fn push_counted(request: Request, option: &str, names: &[Vec<u8>]) -> Request {
    if names.is_empty() { request } else { request.arg(option).number(names.len() as u64).args(names) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::NEGATIVE;
    use crate::{Error, Reply, reply};
    use bytes::Bytes;
    use sutra_protocol::Frame;

    #[test]
    fn milliseconds_are_rounded_up_and_never_more_than_the_shard_can_read() {
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_millis(1500)), 1500);
        assert_eq!(milliseconds(Duration::from_micros(1_000_001)), 1001);
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::MAX), i64::MAX as u64);
    }

    fn token() -> LeaseToken {
        let bulk = |text: &'static str| Frame::Bulk(Bytes::from_static(text.as_bytes()));
        let granted = lease::leased(Frame::Array(vec![bulk("LEASE"), bulk("t1")]), reply::bytes);
        let Ok(Leased::Lease(token)) = granted else { panic!("a lease, got {granted:?}") };
        token
    }

    #[test]
    fn what_has_an_absolute_effect_is_sent_again_and_what_would_find_its_own_first_attempt_is_not() {
        let entry = Entry::new("k", "v").ttl(Duration::from_secs(1));
        let lookup = Lookup::of("a question").min(0.9);
        for (request, is_repeatable) in [
            (entry.request(), true),
            (entry.clone().if_present().request(), true),
            (entry.clone().if_absent().request(), false),
            (entry.lease(token()).request(), false),
            (Ok(keys::set_request(b"k", b"v", &SetOptions::new())), true),
            (Ok(keys::set_request(b"k", b"v", &SetOptions::new().if_absent())), false),
            (Ok(Invalidate::new().tag("t").request()), true),
            (Ok(lookup.request()), true),
            (Ok(lookup::lookup_lease_request(&lookup, &LeaseOptions::new())), false),
            (Ok(lease::lease_request(b"k", &LeaseOptions::new())), false),
        ] {
            let request = request.unwrap();
            assert_eq!(request.is_repeatable(), is_repeatable, "{request:?}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_written_is_an_error_before_anything_is_sent() {
        assert!(matches!(Entry::new("k", NEGATIVE).request(), Err(Error::Encode(_))));
        let no_json = std::collections::HashMap::from([((1, 2), 3)]);
        assert!(matches!(Entry::new("k", "v").meta(&no_json).request(), Err(Error::Encode(_))));
        assert!(Entry::negative("k").request().is_ok());
    }

    #[test]
    fn an_answer_that_is_none_of_the_command_is_an_error_and_nothing_worse() {
        let bulk = |text: &'static str| Frame::Bulk(Bytes::from_static(text.as_bytes()));
        let array = Frame::Array;
        let odd: Vec<Reply> = vec![
            Frame::Integer(-1),
            Frame::Simple("QUEUED".to_owned()),
            Frame::Boolean(true),
            Frame::Map(vec![(bulk("key"), Frame::Boolean(true)), (bulk("value"), Frame::Null)]),
            array(vec![Frame::Null]),
            array(vec![bulk("PERHAPS"), bulk("x")]),
            array(vec![bulk("LEASE")]),
            array(vec![bulk("WAIT"), Frame::Integer(-5)]),
            array(vec![array(vec![bulk("k"), bulk("not a number")])]),
            array(vec![Frame::Integer(1), array(vec![array(Vec::new())]), array(Vec::new())]),
            array(vec![Frame::Integer(1), array(Vec::new()), Frame::Null]),
        ];
        for answer in odd {
            let results = [
                lease::leased(answer.clone(), reply::bytes).map(drop),
                lease::leased(answer.clone(), Hit::of).map(drop),
                Hit::of(answer.clone()).map(drop),
                lookup::found(answer.clone()).map(drop),
                invalidate::dry_run(answer.clone()).map(drop),
                entry::value_and_ttl(answer.clone()).map(drop),
            ];
            for result in results {
                assert!(matches!(result, Err(Error::Unexpected { .. })), "{answer:?}: {result:?}");
            }
        }
    }
}
