//! APPEND, STRLEN, GETRANGE, SUBSTR, SETRANGE: parts of a string.

use super::strings::{check_length, integer, present, range};
use crate::command::{Args, CommandError, Context, Flags, Keys, SHARED_BYTES_MIN, Spec};
use sutra_protocol::Reply;
use sutra_shard::Put;

/// APPEND.
pub static APPEND: Spec = Spec {
    name: "append",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: Keys::FIRST,
    group: "string",
    since: "2.0.0",
    complexity: "O(1) amortised for small values; a value in the log is copied when it grows.",
    summary: "Appends a string to the value of a key. Creates the key if it doesn't exist.",
    syntax: "key value",
    subcommands: &[],
    run: append,
};

/// STRLEN.
pub static STRLEN: Spec = Spec {
    name: "strlen",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "string",
    since: "2.2.0",
    complexity: "O(1)",
    summary: "Returns the length of a string value.",
    syntax: "key",
    subcommands: &[],
    run: strlen,
};

/// GETRANGE.
pub static GETRANGE: Spec = Spec {
    name: "getrange",
    arity: 4,
    flags: Flags::READONLY,
    keys: Keys::FIRST,
    group: "string",
    since: "2.4.0",
    complexity: "O(N) where N is the length of the returned string.",
    summary: "Returns a substring of the string stored at a key.",
    syntax: "key start end",
    subcommands: &[],
    run: getrange,
};

/// SUBSTR, the older name of GETRANGE.
pub static SUBSTR: Spec = Spec {
    name: "substr",
    arity: 4,
    flags: Flags::READONLY,
    keys: Keys::FIRST,
    group: "string",
    since: "1.0.0",
    complexity: "O(N) where N is the length of the returned string.",
    summary: "Returns a substring from a string value.",
    syntax: "key start end",
    subcommands: &[],
    run: getrange,
};

/// SETRANGE.
pub static SETRANGE: Spec = Spec {
    name: "setrange",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::FIRST,
    group: "string",
    since: "2.2.0",
    complexity: "O(N) where N is the length of the value argument, or of the string if it has to grow.",
    summary: "Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist.",
    syntax: "key offset value",
    subcommands: &[],
    run: setrange,
};

fn append<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, value) = (args.take()?, args.take()?);
    let db = cx.session.db;
    let Some(length) = present(cx.txn, db, key)?.map(|(old, _)| old.as_slice().len()) else {
        cx.txn.put(db, key, value, Put::default())?;
        return Ok(integer(value.len()));
    };
    check_length(cx.server, length, value.len())?;
    Ok(integer(cx.txn.write_range(db, key, length, value)?))
}

fn strlen<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let key = args.take()?;
    Ok(integer(cx.txn.string(cx.session.db, key)?.map_or(0, |value| value.as_slice().len())))
}

fn getrange<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, start, end) = (args.take()?, args.take_i64()?, args.take_i64()?);
    let Some(value) = cx.txn.string(cx.session.db, key)? else { return Ok(Reply::Bulk(b"")) };
    let bytes = value.as_slice();
    Ok(match range(start, end, bytes.len()) {
        None => Reply::Bulk(b""),
        Some(range) if range.end() - range.start() < SHARED_BYTES_MIN => Reply::Bulk(&bytes[range]),
        Some(range) => Reply::BulkShared(value.to_shared().slice(range)),
    })
}

fn setrange<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, offset, value) = (args.take()?, args.take_i64()?, args.take()?);
    let offset = usize::try_from(offset).map_err(|_| CommandError::text("ERR offset is out of range"))?;
    let db = cx.session.db;
    let present = present(cx.txn, db, key)?;
    if value.is_empty() {
        return Ok(integer(present.map_or(0, |(old, _)| old.as_slice().len())));
    }
    check_length(cx.server, offset, value.len())?;
    Ok(integer(cx.txn.write_range(db, key, offset, value)?))
}
