//! HGETEX.

use super::fields::{COUNT_NOT_POSITIVE, TimeForm, fields};
use super::{BASE, WRITES};
use crate::command::{Args, CommandError, Context, Spec};
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
    cx.txn.hash(db, key)?;
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
        let hash = cx.txn.hash(db, key)?;
        let value = |field: &&[u8]| super::bulk_or_null(hash.and_then(|hash| hash.get(field, now_ms)));
        return Ok(Reply::Array(fields.iter().map(value).collect()));
    };
    let mut values = Vec::with_capacity(fields.len());
    // One at a time: a time in the past removes the field, which its second turn must not find.
    for field in fields {
        let value = cx.txn.hash(db, key)?.and_then(|hash| hash.get(field, now_ms)).map(<[u8]>::to_vec);
        if value.is_some() {
            cx.txn.hash_expire(db, key, &[field], at_ms)?;
        }
        values.push(value.map_or(Reply::Null, Reply::BulkOwned));
    }
    Ok(Reply::Array(values))
}
