//! HINCRBY and HINCRBYFLOAT.

use super::{BASE, GROWS, peek};
use crate::command::{Args, CommandError, Context, Spec};
use sutra_protocol::{Reply, number};

/// HINCRBY.
pub(in crate::commands) static HINCRBY: Spec = Spec {
    name: "hincrby",
    arity: 4,
    flags: GROWS,
    summary: "Increments the integer value of a field in a hash by a number. Uses 0 as initial value if the field doesn't exist.",
    syntax: "key field increment",
    run: hincrby,
    ..BASE
};

/// HINCRBYFLOAT.
pub(in crate::commands) static HINCRBYFLOAT: Spec = Spec {
    name: "hincrbyfloat",
    arity: 4,
    flags: GROWS,
    since: "2.6.0",
    summary: "Increments the floating point value of a field by a number. Uses 0 as initial value if the field doesn't exist.",
    syntax: "key field increment",
    run: hincrbyfloat,
    ..BASE
};

fn hincrby<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (db, key, field, increment) = (cx.db(), args.take()?, args.take()?, args.take_i64()?);
    let old = match peek(cx, key)?.and_then(|hash| hash.get(field, cx.now_ms)) {
        None => 0,
        Some(value) => number::parse_i64(value).ok_or(CommandError::text("ERR hash value is not an integer"))?,
    };
    let new = old.checked_add(increment).ok_or(CommandError::text("ERR increment or decrement would overflow"))?;
    cx.txn.hash_set(db, key, &[(field, itoa::Buffer::new().format(new).as_bytes())], true)?;
    Ok(Reply::Integer(new))
}

fn hincrbyfloat<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (db, key, field) = (cx.db(), args.take()?, args.take()?);
    let increment = number::parse_long_double(args.take()?).ok_or(CommandError::NotAFloat)?;
    if !increment.is_finite() {
        return Err(CommandError::text("ERR value is NaN or Infinity"));
    }
    let new = match peek(cx, key)?.and_then(|hash| hash.get(field, cx.now_ms)) {
        None => increment,
        Some(value) => {
            let old = number::parse_long_double(value).ok_or(CommandError::text("ERR hash value is not a float"))?;
            old + increment
        }
    };
    if !new.is_finite() {
        return Err(CommandError::text("ERR increment would produce NaN or Infinity"));
    }
    let text = number::format_long_double(new).into_bytes();
    cx.txn.hash_set(db, key, &[(field, &text)], true)?;
    Ok(Reply::BulkOwned(text))
}
