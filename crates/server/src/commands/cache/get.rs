//! CACHE.GET.

use super::answer::{details, map};
use super::noted::{Watch, note_key};
use super::words::Words;
use crate::analytics::ring::Kind;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec, bulk};
use sutra_protocol::Reply;
use sutra_shard::Value;

/// CACHE.GET.
pub static SPEC: Spec = Spec {
    name: "cache.get",
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(1)",
    summary: "Returns a value; with its metadata if asked to.",
    syntax: "key [WITHMETA]",
    subcommands: &[],
    run,
};

fn run<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut words = Words::new("CACHE.GET", args, cx.server);
    let key = words.need("the key")?;
    let with_meta = words.word("WITHMETA");
    words.finish()?;
    let (db, server, now_ms) = (cx.session.db, cx.server, cx.now_ms);
    let watch = Watch::start_sometimes(cx);
    if with_meta {
        let Some((value, found)) = cx.txn.details(db, key)? else {
            cx.session.client.worker.native.missed();
            note_key(server, Kind::Get, key, None, watch, now_ms);
            return Ok(Reply::Null);
        };
        cx.session.client.worker.native.hit(found.cost);
        note_key(server, Kind::Get, key, Some(found.cost), watch, now_ms);
        let mut pairs = vec![("value", Reply::BulkShared(value.to_shared()))];
        pairs.extend(details(found));
        return Ok(map(pairs));
    }
    let Some(entry) = cx.txn.get(db, key) else {
        cx.session.client.worker.native.missed();
        note_key(server, Kind::Get, key, None, watch, now_ms);
        return Ok(Reply::Null);
    };
    match entry.value {
        Value::String(value) => {
            let cost = entry.as_put().cost;
            cx.session.client.worker.native.hit(cost);
            note_key(server, Kind::Get, key, Some(cost), watch, now_ms);
            Ok(bulk(value))
        }
        Value::Hash(_) => Err(CommandError::WrongType),
    }
}
