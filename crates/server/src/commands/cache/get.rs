//! CACHE.GET.

use super::answer::{details, map};
use super::words::Words;
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
    let db = cx.session.db;
    if with_meta {
        let Some((value, found)) = cx.txn.details(db, key)? else {
            cx.session.client.worker.native.missed();
            return Ok(Reply::Null);
        };
        cx.session.client.worker.native.hit(found.cost);
        let mut pairs = vec![("value", Reply::BulkShared(value.to_shared()))];
        pairs.extend(details(found));
        return Ok(map(pairs));
    }
    let Some(entry) = cx.txn.get(db, key) else {
        cx.session.client.worker.native.missed();
        return Ok(Reply::Null);
    };
    match entry.value {
        Value::String(value) => {
            cx.session.client.worker.native.hit(entry.as_put().cost);
            Ok(bulk(value))
        }
        Value::Hash(_) => Err(CommandError::WrongType),
    }
}
