//! Whether it lives, serves, and does all that it should.

use super::front::{Front, Serving};
use super::page::Page;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// Whoever can answer this lives.
pub(super) fn alive() -> Page {
    Page::json(StatusCode::OK, &json!({ "status": "healthy" }))
}

/// Whether clients are served.
pub(super) fn ready(front: &Front) -> Page {
    let Some(serving) = front.serving() else { return not_yet(front) };
    if serving.server.is_stopping() {
        return Page::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "stopping" }));
    }
    let mut document = json!({ "status": "ready", "entries": serving.server.shard.entries() });
    if let Some(report) = &serving.server.recovery {
        document["recovery"] = json!({
            "milliseconds": report.milliseconds,
            "entries": report.recovery.entries,
            "frames": report.recovery.frames,
            "damages": report.recovery.damage.len(),
        });
    }
    Page::json(StatusCode::OK, &document)
}

/// The answer while the data directory is read.
pub(super) fn not_yet(front: &Front) -> Page {
    let progress = front.progress();
    let document = json!({
        "status": "recovering",
        "stage": progress.stage(),
        "entries": progress.entries(),
        "frames": progress.frames(),
        "elapsed_ms": front.elapsed_ms(),
    });
    Page::json(StatusCode::SERVICE_UNAVAILABLE, &document)
}

/// `healthy`, or `degraded` and why: it serves in both cases.
pub(super) fn cache_health(serving: &Serving) -> Page {
    let server = &serving.server;
    let persistence = server.shard.persistence();
    let mut problems: Vec<String> = Vec::new();
    problems.extend(persistence.failure.map(|failure| format!("writes are refused: {failure}")));
    if persistence.checkpoint_failed {
        problems.push("the last checkpoint failed; the log grows until one succeeds".to_owned());
    }
    if server.gate.is_out_of_memory() {
        problems.push("there is no memory for writes, and nothing may be evicted".to_owned());
    }
    if server.embedding.is_circuit_open() {
        problems.push("the embedder fails; texts have no vectors until it is back".to_owned());
    }
    let connected = server.clients.count();
    let status = if problems.is_empty() { "healthy" } else { "degraded" };
    let mut document = json!({
        "status": status,
        "backend": "sutra",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": server.clock.now_ms().saturating_sub(server.started_ms) / 1000,
        "entries": server.shard.entries(),
        "connected_clients": connected,
        "writes_accepted": !server.gate.is_closed(),
    });
    if !problems.is_empty() {
        document["problems"] = Value::from(problems);
    }
    let slots = server.settings.maxclients.load(Ordering::Relaxed);
    document["clients_limit"] = Value::from(slots);
    Page::json(StatusCode::OK, &document)
}
