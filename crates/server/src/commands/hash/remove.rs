//! HDEL and HGETDEL.

use super::fields::{COUNT_NOT_POSITIVE, fields};
use super::{BASE, WRITES, count, peek};
use crate::command::{Args, CommandError, Context, Spec};
use std::collections::HashSet;
use sutra_protocol::Reply;

/// HDEL.
pub(in crate::commands) static HDEL: Spec = Spec {
    name: "hdel",
    arity: -3,
    flags: WRITES,
    complexity: "O(N) where N is the number of fields to be removed.",
    summary: "Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain.",
    syntax: "key field [field ...]",
    run: hdel,
    ..BASE
};

/// HGETDEL.
pub(in crate::commands) static HGETDEL: Spec = Spec {
    name: "hgetdel",
    arity: -5,
    flags: WRITES,
    since: "8.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Returns the value of a field and deletes it from the hash.",
    syntax: "key FIELDS numfields field [field ...]",
    run: hgetdel,
    ..BASE
};

fn hdel<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let key = args.take()?;
    Ok(count(cx.txn.hash_remove(cx.db(), key, args.rest())?))
}

fn hgetdel<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (db, key) = (cx.db(), args.take()?);
    let hash = peek(cx, key)?;
    let fields = fields(&mut args, COUNT_NOT_POSITIVE)?;
    let Some(hash) = hash else { return Ok(Reply::Array(fields.iter().map(|_| Reply::Null).collect())) };
    // Copies: the values are gone when the reply is encoded. A field that is named twice is found once.
    let mut taken = HashSet::new();
    let mut take = |field: &&'t [u8]| hash.get(field, cx.now_ms).filter(|_| taken.insert(*field)).map(<[u8]>::to_vec);
    let values: Vec<Option<Vec<u8>>> = fields.iter().map(&mut take).collect();
    cx.txn.hash_remove(db, key, fields)?;
    Ok(Reply::Array(values.into_iter().map(|value| value.map_or(Reply::Null, Reply::BulkOwned)).collect()))
}
