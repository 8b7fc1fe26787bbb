//! HSET, HMSET, HSETNX.

use super::{BASE, GROWS, count, peek};
use crate::command::{Args, CommandError, Context, Spec};
use sutra_protocol::Reply;

/// HSET.
pub(in crate::commands) static HSET: Spec = Spec {
    name: "hset",
    arity: -4,
    flags: GROWS,
    complexity: "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called with \
                 multiple field/value pairs.",
    summary: "Creates or modifies the value of a field in a hash.",
    syntax: "key field value [field value ...]",
    run: hset,
    ..BASE
};

/// HMSET.
pub(in crate::commands) static HMSET: Spec = Spec {
    name: "hmset",
    arity: -4,
    flags: GROWS,
    complexity: "O(N) where N is the number of fields being set.",
    summary: "Sets the values of multiple fields.",
    syntax: "key field value [field value ...]",
    run: hmset,
    ..BASE
};

/// HSETNX.
pub(in crate::commands) static HSETNX: Spec = Spec {
    name: "hsetnx",
    arity: 4,
    flags: GROWS,
    summary: "Sets the value of a field in a hash only when the field doesn't exist.",
    syntax: "key field value",
    run: hsetnx,
    ..BASE
};

fn hset<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    set_all(args, cx, "hset").map(count)
}

fn hmset<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    set_all(args, cx, "hmset").map(|_| Reply::Ok)
}

fn hsetnx<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, field, value) = (args.take()?, args.take()?, args.take()?);
    if peek(cx, key)?.is_some_and(|hash| hash.contains(field, cx.now_ms)) {
        return Ok(Reply::Integer(0));
    }
    cx.txn.hash_set(cx.db(), key, &[(field, value)], false)?;
    Ok(Reply::Integer(1))
}

/// Sets the pairs that follow the key, clearing their fields' expiry; how many fields are new.
fn set_all(mut args: Args<'_>, cx: &mut Context<'_, '_>, name: &'static str) -> Result<usize, CommandError> {
    let key = args.take()?;
    let (pairs, odd) = args.rest().as_chunks::<2>();
    if !odd.is_empty() {
        return Err(CommandError::Arity(name.into()));
    }
    let db = cx.db();
    // One field is the common case and needs no list.
    if let [[field, value]] = pairs {
        return Ok(cx.txn.hash_set(db, key, &[(field, value)], false)?);
    }
    let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|&[field, value]| (field, value)).collect();
    Ok(cx.txn.hash_set(db, key, &pairs, false)?)
}
