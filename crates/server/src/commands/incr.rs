//! INCR, DECR, INCRBY, DECRBY: counters.

use super::strings::present;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;
use sutra_protocol::number::parse_i64;

/// INCR.
pub static INCR: Spec = Spec {
    name: "incr",
    arity: 2,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: Keys::FIRST,
    group: "string",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
    syntax: "key",
    subcommands: &[],
    run: incr,
};

/// DECR.
pub static DECR: Spec = Spec {
    name: "decr",
    arity: 2,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: Keys::FIRST,
    group: "string",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist.",
    syntax: "key",
    subcommands: &[],
    run: decr,
};

/// INCRBY.
pub static INCRBY: Spec = Spec {
    name: "incrby",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: Keys::FIRST,
    group: "string",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
    syntax: "key increment",
    subcommands: &[],
    run: incrby,
};

/// DECRBY.
pub static DECRBY: Spec = Spec {
    name: "decrby",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: Keys::FIRST,
    group: "string",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist.",
    syntax: "key decrement",
    subcommands: &[],
    run: decrby,
};

fn incr<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    add(cx, args.take()?, 1)
}

fn decr<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    add(cx, args.take()?, -1)
}

fn incrby<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    add(cx, args.take()?, args.take_i64()?)
}

fn decrby<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, decrement) = (args.take()?, args.take_i64()?);
    let increment = decrement.checked_neg().ok_or_else(|| CommandError::text("ERR decrement would overflow"))?;
    add(cx, key, increment)
}

fn add(cx: &mut Context<'_, '_>, key: &[u8], increment: i64) -> Result<Reply<'static>, CommandError> {
    let db = cx.session.db;
    let (before, kept) = match present(cx.txn, db, key)? {
        None => (0, sutra_shard::Put::default()),
        Some((value, kept)) => (parse_i64(value.as_slice()).ok_or(CommandError::NotAnInteger)?, kept),
    };
    let after =
        before.checked_add(increment).ok_or_else(|| CommandError::text("ERR increment or decrement would overflow"))?;
    cx.txn.put(db, key, itoa::Buffer::new().format(after).as_bytes(), kept)?;
    Ok(Reply::Integer(after))
}
