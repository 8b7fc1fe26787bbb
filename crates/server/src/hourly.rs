//! A line in the log every hour: what has been done since the last one, for whoever has nothing but the log.

use crate::http::Facts;
use crate::server::Server;

const HOUR_MS: u64 = 3_600_000;

/// What is counted up, at one instant.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    hits: u64,
    misses: u64,
    commands: u64,
    errors: u64,
    evicted: u64,
    expired: u64,
    invalidated: u64,
    saved_micro_usd: u64,
}

/// When the next line is due, and what had been counted at the last one.
#[derive(Debug)]
pub(crate) struct Hourly {
    next_ms: u64,
    last: Totals,
}

impl Hourly {
    /// The first line is due in an hour.
    pub(crate) fn new(server: &Server) -> Hourly {
        Hourly { next_ms: server.clock.now_ms() + HOUR_MS, last: Totals::of(&Facts::of(server)) }
    }

    /// Writes the line if its time has come; whether it has.
    pub(crate) fn report_if_due(&mut self, server: &Server) -> bool {
        let now_ms = server.clock.now_ms();
        if now_ms < self.next_ms {
            return false;
        }
        self.next_ms = now_ms + HOUR_MS;
        let facts = Facts::of(server);
        let now = Totals::of(&facts);
        // CONFIG RESETSTAT may have set a counter back in between.
        let since = |of: fn(&Totals) -> u64| of(&now).saturating_sub(of(&self.last));
        let (hits, misses) = (since(|it| it.hits), since(|it| it.misses));
        let hit_percent = if hits + misses == 0 { 0.0 } else { hits as f64 * 100.0 / (hits + misses) as f64 };
        let used: u64 = facts.memory_kinds().iter().map(|(_, bytes)| bytes).sum();
        tracing::info!(
            commands = since(|it| it.commands),
            hits,
            misses,
            hit_percent = format_args!("{hit_percent:.1}"),
            errors = since(|it| it.errors),
            evicted = since(|it| it.evicted),
            expired = since(|it| it.expired),
            invalidated = since(|it| it.invalidated),
            saved_usd = format_args!("{:.2}", since(|it| it.saved_micro_usd) as f64 / 1e6),
            entries = server.shard.entries(),
            memory_bytes = used,
            memory_limit_bytes = facts.memory.max_bytes,
            clients = server.clients.count(),
            "the last hour"
        );
        self.last = now;
        true
    }
}

impl Totals {
    fn of(facts: &Facts<'_>) -> Totals {
        let spaces = facts.spaces.values().map(|space| space.saved_micro_usd).sum::<u64>();
        Totals {
            hits: facts.hits(),
            misses: facts.misses(),
            commands: facts.server.workers().iter().map(|worker| worker.calls()).sum(),
            errors: facts.server.error_counts().values().sum(),
            evicted: facts.stats.evicted_memory + facts.stats.evicted_entries,
            expired: facts.stats.expired,
            invalidated: facts.meaning.invalidated,
            saved_micro_usd: spaces + facts.saved_by_key_micro_usd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::settings::Settings;
    use sutra_shard::{Limits, Shard};

    #[test]
    fn a_line_is_due_once_an_hour_and_counts_from_the_last() {
        let shard = Shard::in_memory(&Limits::default(), 1).expect("limits");
        let server = Server::new(Settings::default(), shard, Clock::manual(1000));
        let mut hourly = Hourly::new(&server);
        assert!(!hourly.report_if_due(&server));
        server.worker().commands[0].calls.add(7);
        server.clock.advance(HOUR_MS);
        assert!(hourly.report_if_due(&server));
        assert_eq!(hourly.last.commands, 7);
        assert!(!hourly.report_if_due(&server));
        server.clock.advance(HOUR_MS);
        assert!(hourly.report_if_due(&server));
    }
}
