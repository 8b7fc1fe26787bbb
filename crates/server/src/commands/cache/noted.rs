//! What native commands leave for CACHE.ASK to count.

use crate::analytics::micro_usd;
use crate::analytics::ring::{Kind, NO_SPACE, NOT_TIMED, Note, Outcome, tag_hash};
use crate::command::Context;
use crate::logging::Hashed;
use crate::server::Server;

/// One read by key in so many is timed: looking at the clock twice takes longer than finding the key. A power of two.
const TIMED_ONE_IN: u32 = 16;

/// A watch that runs, or was never started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Watch(Option<u64>);

impl Watch {
    /// Starts it.
    pub(super) fn start(server: &Server) -> Watch {
        Watch(Some(server.clock.stamp_ns()))
    }

    /// Starts it for some of the calls.
    pub(super) fn start_sometimes(cx: &Context<'_, '_>) -> Watch {
        if cx.session.tick.is_multiple_of(TIMED_ONE_IN) { Watch::start(cx.server) } else { Watch::default() }
    }

    fn microseconds(self, server: &Server) -> u32 {
        self.0.map_or(NOT_TIMED, |began_ns| {
            u32::try_from(server.clock.stamp_ns().saturating_sub(began_ns) / 1000).unwrap_or(NOT_TIMED - 1)
        })
    }
}

/// Notes a read by key; `cost` is that of what was found.
pub(super) fn note_key(server: &Server, kind: Kind, key: &[u8], found: Option<Option<f32>>, watch: Watch, now_ms: u64) {
    let outcome = if found.is_some() { Outcome::Hit } else { Outcome::Miss };
    let noted = Noted { kind, outcome, text: key, amount: micro_usd(found.flatten()), ..Noted::default() };
    noted.note(server, watch, now_ms);
}

/// What is to be noted, but for when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noted<'a> {
    pub(super) kind: Kind,
    pub(super) outcome: Outcome,
    pub(super) text: &'a [u8],
    pub(super) space: u32,
    pub(super) tag: Option<&'a [u8]>,
    pub(super) amount: u64,
}

impl Default for Noted<'_> {
    fn default() -> Self {
        Noted { kind: Kind::Get, outcome: Outcome::Miss, text: b"", space: NO_SPACE, tag: None, amount: 0 }
    }
}

impl Noted<'_> {
    /// Notes it.
    pub(super) fn note(self, server: &Server, watch: Watch, now_ms: u64) {
        let Noted { kind, outcome, text, space, tag, amount } = self;
        if outcome == Outcome::Miss {
            tracing::debug!(asked = %Hashed(text), ?kind, "a miss");
        }
        let latency_us = watch.microseconds(server);
        let tag = tag.map_or(0, tag_hash);
        server.analytics.note(&Note { at_ms: now_ms, kind, outcome, text, space, tag, latency_us, amount });
    }
}
