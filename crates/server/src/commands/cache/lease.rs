//! CACHE.LEASE and CACHE.RELEASE: a miss that is exclusive, and a write that is conditional.

use super::answer::word;
use super::lookup::of_grant;
use super::noted::{Watch, note_key};
use super::words::{SECONDS_MAX, Words};
use crate::analytics::ring::Kind;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec, bulk};
use sutra_protocol::Reply;
use sutra_shard::{LeaseGrant, Value, ValueKind};

/// CACHE.LEASE.
pub static LEASE: Spec = Spec {
    name: "cache.lease",
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(1)",
    summary: "Returns the value, or a lease to compute it, or how long somebody else's lease lasts.",
    syntax: "key [milliseconds] [REVALIDATE seconds] [WITHTTL]",
    subcommands: &[],
    run: lease,
};

/// CACHE.RELEASE.
pub static RELEASE: Spec = Spec {
    name: "cache.release",
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(1)",
    summary: "Gives a lease back without a value, so that the next caller gets one; whether it was out.",
    syntax: "key token",
    subcommands: &[],
    run: release,
};

fn lease<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut words = Words::new("CACHE.LEASE", args, cx.server);
    let key = words.need("the key")?;
    let (mut lease_ms, mut revalidate_ms, mut with_ttl) = (None, None, false);
    while words.any() {
        if words.word("REVALIDATE") {
            words.once(&revalidate_ms, "REVALIDATE")?;
            revalidate_ms = Some(words.seconds_ms("REVALIDATE", SECONDS_MAX)?);
        } else if !with_ttl && words.word("WITHTTL") {
            with_ttl = true;
        } else if lease_ms.is_none() {
            lease_ms = Some(words.number("LEASE", "milliseconds", 1, words.limits.lease_ms_max)?);
        } else {
            return Err(words.not_understood());
        }
    }
    let lease_ms = lease_ms.unwrap_or(words.limits.lease_ms.min(words.limits.lease_ms_max));
    let (db, owner, now_ms) = (cx.session.db, cx.session.client.id, cx.now_ms);
    let (server, watch) = (cx.server, Watch::start_sometimes(cx));
    let native = &cx.session.client.worker.native;
    let Some(entry) = cx.txn.get(db, key) else {
        native.missed();
        note_key(server, Kind::Lease, key, None, watch, now_ms);
        return Ok(of_grant(cx.txn.lease(db, key, lease_ms, owner)));
    };
    if entry.value.kind() != ValueKind::String {
        return Err(CommandError::WrongType);
    }
    let cost = entry.as_put().cost;
    native.hit(cost);
    note_key(server, Kind::Lease, key, Some(cost), watch, now_ms);
    let ttl_ms = entry.expires_at_ms.map(|at| at.saturating_sub(now_ms));
    let expires_soon = revalidate_ms.zip(ttl_ms).is_some_and(|(within, ttl)| ttl < within);
    let grant = expires_soon.then(|| cx.txn.lease(db, key, lease_ms, owner));
    let value = match cx.txn.peek(db, key).map(|entry| entry.value) {
        Some(Value::String(value)) => bulk(value),
        Some(Value::Hash(_)) | None => Reply::Null,
    };
    let mut parts = match grant {
        Some(LeaseGrant::Granted { token }) => vec![word("REVALIDATE"), value, Reply::BulkOwned(token.into_bytes())],
        Some(LeaseGrant::Wait { .. }) | None => vec![word("HIT"), value],
    };
    if with_ttl {
        parts.push(Reply::Integer(ttl_ms.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX))));
    }
    Ok(Reply::Array(parts))
}

fn release<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, token) = (args.take()?, args.take()?);
    Ok(Reply::Integer(i64::from(cx.txn.release_lease(cx.session.db, key, token))))
}
