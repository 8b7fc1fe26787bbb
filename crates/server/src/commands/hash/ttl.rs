//! HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME.

use super::BASE;
use super::fields::{COUNT_NOT_POSITIVE, TimeForm, fields};
use crate::command::{Args, CommandError, Context, Spec};
use sutra_protocol::Reply;

/// HTTL.
pub(in crate::commands) static HTTL: Spec = Spec {
    name: "httl",
    summary: "Returns the TTL of fields in seconds.",
    run: |args, cx| ttl(args, cx, TimeForm::EX),
    ..ROW
};

/// HPTTL.
pub(in crate::commands) static HPTTL: Spec = Spec {
    name: "hpttl",
    summary: "Returns the TTL of fields in milliseconds.",
    run: |args, cx| ttl(args, cx, TimeForm::PX),
    ..ROW
};

/// HEXPIRETIME.
pub(in crate::commands) static HEXPIRETIME: Spec = Spec {
    name: "hexpiretime",
    summary: "Returns the expiry of fields as a Unix time in seconds.",
    run: |args, cx| ttl(args, cx, TimeForm::EXAT),
    ..ROW
};

/// HPEXPIRETIME.
pub(in crate::commands) static HPEXPIRETIME: Spec = Spec {
    name: "hpexpiretime",
    summary: "Returns the expiry of fields as a Unix time in milliseconds.",
    run: |args, cx| ttl(args, cx, TimeForm::PXAT),
    ..ROW
};

const ROW: Spec = Spec {
    arity: -5,
    since: "7.4.0",
    complexity: "O(N) where N is the number of specified fields.",
    syntax: "key FIELDS numfields field [field ...]",
    ..BASE
};

const NO_FIELD: i64 = -2;
const NO_EXPIRY: i64 = -1;

fn ttl<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>, form: TimeForm) -> Result<Reply<'t>, CommandError> {
    let now_ms = cx.now_ms;
    let hash = cx.txn.hash(cx.db(), args.take()?)?;
    let fields = fields(&mut args, COUNT_NOT_POSITIVE)?;
    let base_ms = if form.absolute { 0 } else { now_ms };
    let replies = fields.iter().map(|field| {
        Reply::Integer(match hash.and_then(|hash| hash.field_expiry(field, now_ms)) {
            None => NO_FIELD,
            Some(None) => NO_EXPIRY,
            Some(Some(at_ms)) => {
                let left_ms = at_ms.saturating_sub(base_ms);
                // Seconds are rounded up, unlike those of TTL, which rounds to the nearest.
                let left = if form.seconds { left_ms.div_ceil(1000) } else { left_ms };
                i64::try_from(left).unwrap_or(i64::MAX)
            }
        })
    });
    Ok(Reply::Array(replies.collect()))
}
