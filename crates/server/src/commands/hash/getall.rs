//! HGETALL, HKEYS, HVALS.

use super::BASE;
use crate::command::{Args, CommandError, Context, Flags, Spec};
use sutra_protocol::Reply;
use sutra_shard::HashValue;

/// HGETALL.
pub(in crate::commands) static HGETALL: Spec = Spec {
    name: "hgetall",
    arity: 2,
    flags: Flags::READONLY,
    complexity: "O(N) where N is the size of the hash.",
    summary: "Returns all fields and values in a hash.",
    syntax: "key",
    run: hgetall,
    ..BASE
};

/// HKEYS.
pub(in crate::commands) static HKEYS: Spec = Spec {
    name: "hkeys",
    arity: 2,
    flags: Flags::READONLY,
    complexity: "O(N) where N is the size of the hash.",
    summary: "Returns all fields in a hash.",
    syntax: "key",
    run: hkeys,
    ..BASE
};

/// HVALS.
pub(in crate::commands) static HVALS: Spec = Spec {
    name: "hvals",
    arity: 2,
    flags: Flags::READONLY,
    complexity: "O(N) where N is the size of the hash.",
    summary: "Returns all values in a hash.",
    syntax: "key",
    run: hvals,
    ..BASE
};

fn hgetall<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let hash = cx.txn.hash(cx.db(), args.take()?)?;
    let pairs = pairs(hash, cx.now_ms).map(|(field, value)| (Reply::Bulk(field), Reply::Bulk(value)));
    Ok(Reply::Map(pairs.collect()))
}

fn hkeys<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let hash = cx.txn.hash(cx.db(), args.take()?)?;
    Ok(Reply::Array(pairs(hash, cx.now_ms).map(|(field, _)| Reply::Bulk(field)).collect()))
}

fn hvals<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let hash = cx.txn.hash(cx.db(), args.take()?)?;
    Ok(Reply::Array(pairs(hash, cx.now_ms).map(|(_, value)| Reply::Bulk(value)).collect()))
}

/// The live fields and values; none of a hash that does not exist.
fn pairs(hash: Option<&HashValue>, now_ms: u64) -> impl Iterator<Item = (&[u8], &[u8])> {
    hash.into_iter().flat_map(move |hash| hash.iter(now_ms))
}
