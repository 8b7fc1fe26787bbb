//! HGET, HMGET, HEXISTS, HLEN, HSTRLEN: looking at single fields.

use super::{BASE, bulk_or_null, count};
use crate::command::{Args, CommandError, Context, Spec};
use sutra_protocol::Reply;

/// HGET.
pub(in crate::commands) static HGET: Spec = Spec {
    name: "hget",
    arity: 3,
    summary: "Returns the value of a field in a hash.",
    syntax: "key field",
    run: hget,
    ..BASE
};

/// HMGET.
pub(in crate::commands) static HMGET: Spec = Spec {
    name: "hmget",
    arity: -3,
    complexity: "O(N) where N is the number of fields being requested.",
    summary: "Returns the values of all fields in a hash.",
    syntax: "key field [field ...]",
    run: hmget,
    ..BASE
};

/// HEXISTS.
pub(in crate::commands) static HEXISTS: Spec = Spec {
    name: "hexists",
    arity: 3,
    summary: "Determines whether a field exists in a hash.",
    syntax: "key field",
    run: hexists,
    ..BASE
};

/// HLEN.
pub(in crate::commands) static HLEN: Spec = Spec {
    name: "hlen",
    arity: 2,
    summary: "Returns the number of fields in a hash.",
    syntax: "key",
    run: hlen,
    ..BASE
};

/// HSTRLEN.
pub(in crate::commands) static HSTRLEN: Spec = Spec {
    name: "hstrlen",
    arity: 3,
    since: "3.2.0",
    summary: "Returns the length of the value of a field.",
    syntax: "key field",
    run: hstrlen,
    ..BASE
};

fn hget<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(bulk_or_null(field(args, cx)?))
}

fn hmget<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let now_ms = cx.now_ms;
    let hash = cx.txn.hash(cx.db(), args.take()?)?;
    let value = |field: &&[u8]| bulk_or_null(hash.and_then(|hash| hash.get(field, now_ms)));
    Ok(Reply::Array(args.rest().iter().map(value).collect()))
}

fn hexists<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::Integer(i64::from(field(args, cx)?.is_some())))
}

fn hlen<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let hash = cx.txn.hash(cx.db(), args.take()?)?;
    Ok(count(hash.map_or(0, |hash| hash.len(cx.now_ms))))
}

fn hstrlen<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(count(field(args, cx)?.map_or(0, <[u8]>::len)))
}

/// The value of the field that key and field name.
fn field<'t>(mut args: Args<'t>, cx: &'t Context<'_, '_>) -> Result<Option<&'t [u8]>, CommandError> {
    let (key, field) = (args.take()?, args.take()?);
    Ok(cx.txn.hash(cx.db(), key)?.and_then(|hash| hash.get(field, cx.now_ms)))
}
