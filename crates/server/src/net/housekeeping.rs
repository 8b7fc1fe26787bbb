//! What no request triggers: expiry and merges in the shard, syncs and checkpoints of its log, idle clients, readers that are too slow,
//! pauses that end.

use crate::clients::{Client, Signal};
use crate::hourly::Hourly;
use crate::logging::RateLimit;
use crate::server::Server;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the rounds are made; limits are kept to within so much.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long after a failure of the log, or of an attempt to mend it, the next attempt is made.
const RESTART_INTERVAL_MS: u64 = 1000;
/// How much the thread that keeps graphs steps back.
const GRAPHS_NICE: i32 = 10;
/// How often the log is synced when nobody asked for it: as often as the system would write it back by itself, so that the log's length
/// is looked at and checkpoints are written.
const UNASKED_SYNC_INTERVAL_MS: u64 = 30_000;

/// The share of `maxmemory` that may wait for a sync, one part in so many; what is written within [`INTERVAL`] comes on top.
const UNSYNCED_SHARE: u64 = 8;
/// So much may wait however small the memory is: a sync for each few megabytes would be slow.
const UNSYNCED_BYTES_MIN: u64 = 16 << 20;
static RESTARTS: RateLimit = RateLimit::one_in(30_000);

/// Rows taken into graphs between two looks at whether the server stops.
const GRAPH_ROWS_AT_ONCE: usize = 64;

/// Makes rounds until the server stops. The caller wakes the thread (`unpark`) for it to notice at once.
pub(super) fn run(server: &Arc<Server>) {
    std::thread::scope(|scope| {
        // A thread of its own: a long merge or checkpoint must not delay what power loss may cost.
        let syncing = std::thread::Builder::new().name("syncer".to_owned()).spawn_scoped(scope, || keep_synced(server));
        if let Err(error) = &syncing {
            tracing::error!(%error, "could not start the thread that syncs the log; the housekeeper syncs it");
        }
        let gardening =
            std::thread::Builder::new().name("gardener".to_owned()).spawn_scoped(scope, || keep_graphs(server));
        if let Err(error) = &gardening {
            tracing::error!(%error, "could not start the thread that keeps the graphs of large spaces; they are scanned");
        }
        let mut last_sync_ms = server.clock.now_ms();
        let mut last_restart_ms = 0;
        let mut hourly = Hourly::new(server);
        while !server.is_stopping() {
            if syncing.is_err() {
                sync_if_due(server, &mut last_sync_ms);
            }
            round(server);
            hourly.report_if_due(server);
            let now_ms = server.clock.now_ms();
            if server.shard.failure().is_some() && now_ms.saturating_sub(last_restart_ms) >= RESTART_INTERVAL_MS {
                last_restart_ms = now_ms;
                match server.shard.restart_log(now_ms) {
                    Ok(()) => tracing::info!("the log is whole again; writes are accepted"),
                    Err(error) => {
                        if let Some(held_back) = RESTARTS.pass(now_ms) {
                            tracing::warn!(%error, held_back, "the log cannot be taken into service again yet");
                        }
                    }
                }
            }
            std::thread::park_timeout(INTERVAL);
        }
        for thread in [syncing, gardening].into_iter().flatten() {
            thread.thread().unpark();
        }
    });
}

/// Takes what was written into large spaces into their graphs. A thread of its own: one row takes tenths of a millisecond.
fn keep_graphs(server: &Server) {
    // Behind everything else that wants the processor.
    if let Err(error) = rustix::process::nice(GRAPHS_NICE) {
        tracing::debug!(%error, "the thread that keeps graphs has the priority of the others");
    }
    while !server.is_stopping() {
        if server.shard.maintain_graphs(GRAPH_ROWS_AT_ONCE) == 0 {
            std::thread::park_timeout(INTERVAL);
        }
    }
}

fn keep_synced(server: &Server) {
    let mut last_sync_ms = server.clock.now_ms();
    while !server.is_stopping() {
        // With a short interval the pause is short too, so that power loss costs no more than promised.
        let interval_ms = server.settings.sync_interval_ms.load(Ordering::Relaxed);
        let pause_ms = u64::try_from(interval_ms).ok().filter(|ms| *ms > 0);
        std::thread::park_timeout(pause_ms.map_or(INTERVAL, |ms| INTERVAL.min(Duration::from_millis(ms))));
        sync_if_due(server, &mut last_sync_ms);
    }
}

fn sync_if_due(server: &Server, last_sync_ms: &mut u64) {
    let interval_ms = match server.settings.sync_interval_ms.load(Ordering::Relaxed) {
        // Connections ask for what they need.
        0 => return,
        ms => u64::try_from(ms).unwrap_or(UNASKED_SYNC_INTERVAL_MS),
    };
    let now_ms = server.clock.now_ms();
    let is_due = now_ms.saturating_sub(*last_sync_ms) >= interval_ms || has_much_to_sync(server);
    if !is_due || server.shard.failure().is_some() {
        return;
    }
    *last_sync_ms = now_ms;
    let synced = measured(server, "log-sync", || server.shard.sync());
    if let Err(error) = synced {
        tracing::error!(%error, "could not sync; writes are refused until disk or space is back");
    }
}

/// Whether so much memory waits to be written to the disk that it should be now, however long the interval is: the system cannot take it
/// back before, and in a container with a memory limit it would run out.
fn has_much_to_sync(server: &Server) -> bool {
    let share = server.settings.memory_bytes_max.load(Ordering::Relaxed) / UNSYNCED_SHARE;
    server.shard.unsynced_bytes() > share.max(UNSYNCED_BYTES_MIN)
}

/// One round, at the server's present time.
pub fn round(server: &Server) {
    let now_ms = server.clock.now_ms();
    // A client that does not read notices nothing itself of what others put into its mailbox.
    server.evict_clients();
    server.shard.set_outside_bytes(server.clients_bytes());
    let is_due = measured(server, "maintenance", || server.shard.tick(now_ms)).checkpoint_due;
    // Taken before it begins: what is asked for while it is written is written after it.
    if server.checkpoint_wanted.load(Ordering::Acquire) || is_due {
        server.checkpoint_running.store(true, Ordering::Release);
        server.checkpoint_wanted.store(false, Ordering::Release);
        if let Err(error) = measured(server, "checkpoint", || server.checkpoint(now_ms)) {
            tracing::error!(%error, "could not write a checkpoint; the log stays as it is");
        }
        server.checkpoint_running.store(false, Ordering::Release);
    }
    server.trends.sample(server, now_ms);
    server.analytics.sample(server, now_ms);
    let failure = server.shard.failure();
    server.gate.set_read_only(failure.as_deref());
    server.end_pause_at(now_ms);
    let timeout_ms = server.settings.timeout_s.load(Ordering::Relaxed).saturating_mul(1000);
    let soft_ms = match server.settings.output_soft_bytes_max.load(Ordering::Relaxed) {
        0 => None,
        _ => Some(server.settings.output_soft_seconds.load(Ordering::Relaxed).saturating_mul(1000)),
    };
    if timeout_ms == 0 && soft_ms.is_none() {
        return;
    }
    for client in server.clients.list() {
        if let Some(reason) = reason_to_close(&client, now_ms, timeout_ms, soft_ms) {
            tracing::info!(client = client.id, address = %client.address, reason, "closed a client");
            client.signal(Signal::KILL);
        }
    }
}

/// Does it, and notes for LATENCY if it took long.
fn measured<T>(server: &Server, event: &'static str, work: impl FnOnce() -> T) -> T {
    let began_ns = server.clock.stamp_ns();
    let result = work();
    let took_ms = server.clock.stamp_ns().saturating_sub(began_ns) / 1_000_000;
    let threshold_ms = server.settings.latency_threshold_ms.load(Ordering::Relaxed);
    server.latency.note(event, took_ms, threshold_ms, server.clock.now_ms());
    result
}

fn reason_to_close(client: &Client, now_ms: u64, timeout_ms: u64, soft_ms: Option<u64>) -> Option<&'static str> {
    let idle_ms = now_ms.saturating_sub(client.active_ms.load(Ordering::Relaxed));
    // MONITOR listens; that it says nothing is no sign of idleness.
    if timeout_ms > 0 && idle_ms > timeout_ms && !client.monitor.load(Ordering::Relaxed) {
        return Some("idle longer than the timeout");
    }
    let over_since_ms = client.over_soft_limit_ms.load(Ordering::Relaxed);
    if over_since_ms > 0 && soft_ms.is_some_and(|soft_ms| now_ms.saturating_sub(over_since_ms) >= soft_ms) {
        return Some("replies waited over the soft output limit for too long");
    }
    None
}
