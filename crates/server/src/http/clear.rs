//! POST /cache/clear.

use super::front::Serving;
use super::page::Page;
use crate::server::Server;
use crate::settings::DATABASES;
use crate::statistics::InvalidationKind;
use hyper::StatusCode;
use serde_json::json;
use sutra_shard::{Scope, WriteError};

pub(super) fn page(serving: &Serving) -> Page {
    match clear(&serving.server) {
        Ok(entries) => {
            tracing::info!(entries, "all entries were removed over HTTP");
            Page::json(StatusCode::OK, &json!({ "status": "cleared", "entries": entries }))
        }
        Err(error) => Page::error(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

/// As FLUSHALL: answered when the log has been written, and with a sync interval of 0 when it is durable.
fn clear(server: &Server) -> Result<u64, WriteError> {
    if let Some(cause) = server.shard.failure() {
        return Err(WriteError::Unavailable(cause));
    }
    let mut txn = server.shard.begin(Scope::All, server.clock.now_ms());
    let entries = server.shard.entries();
    for db in 0..DATABASES {
        txn.flush_database(db)?;
    }
    if let Some(lsn) = txn.commit()? {
        server.shard.flush_log(lsn)?;
    }
    server.invalidations.count(InvalidationKind::Clear);
    if server.settings.sync_interval_ms.load(std::sync::atomic::Ordering::Relaxed) == 0 {
        server.shard.sync()?;
    }
    Ok(entries)
}
