//! HGETEX.

use super::fields::{COUNT_NOT_POSITIVE, TimeForm, fields};
use super::{BASE, WRITES, bulk_or_null, peek};
use crate::command::{Args, CommandError, Context, Spec};
use std::collections::HashSet;
use sutra_protocol::Reply;

/// HGETEX.
pub(in crate::commands) static HGETEX: Spec = Spec {
    name: "hgetex",
    arity: -5,
    flags: WRITES,
    since: "8.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Gets the values of fields and sets or removes their expiry.",
    syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] \
             FIELDS numfields field [field ...]",
    run: hgetex,
    ..BASE
};

fn hgetex<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (db, key, now_ms) = (cx.db(), args.take()?, cx.now_ms);
    peek(cx, key)?;
    // The outer option: whether the expiry changes at all; the inner: to when, or to none.
    let mut change: Option<Option<u64>> = None;
    if let Some(form) = args.peek().and_then(TimeForm::from_word) {
        args.take()?;
        change = Some(Some(form.take(&mut args, now_ms, "hgetex")?));
    } else if args.take_word("PERSIST") {
        change = Some(None);
    }
    let fields = fields(&mut args, COUNT_NOT_POSITIVE)?;
    let Some(at_ms) = change else {
        let hash = peek(cx, key)?;
        let value = |field: &&[u8]| bulk_or_null(hash.and_then(|hash| hash.get(field, now_ms)));
        return Ok(Reply::Array(fields.iter().map(value).collect()));
    };
    let removes = at_ms.is_some_and(|at_ms| at_ms <= now_ms);
    let Some(hash) = peek(cx, key)? else { return Ok(Reply::Array(fields.iter().map(|_| Reply::Null).collect())) };
    // Copies: what the expiry removes is gone when the reply is encoded, also for a second look at the same field.
    let mut seen = HashSet::new();
    let mut value = |field: &&'t [u8]| {
        let first = seen.insert(*field);
        hash.get(field, now_ms).filter(|_| first || !removes).map(<[u8]>::to_vec)
    };
    let values: Vec<Option<Vec<u8>>> = fields.iter().map(&mut value).collect();
    cx.txn.hash_expire(db, key, fields, at_ms)?;
    Ok(Reply::Array(values.into_iter().map(|value| value.map_or(Reply::Null, Reply::BulkOwned)).collect()))
}
