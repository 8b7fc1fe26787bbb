//! RENAME, RENAMENX, COPY, MOVE.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::settings::DATABASES;
use sutra_protocol::Reply;

/// RENAME.
pub static RENAME: Spec = Spec {
    name: "rename",
    arity: 3,
    flags: Flags::WRITE,
    keys: Keys::Range { first: 1, last: 2, step: 1 },
    group: "generic",
    since: "1.0.0",
    complexity: "O(1) for a collection, O(N) for a string of N bytes, which is written anew under its new key.",
    summary: "Renames a key and overwrites the destination.",
    syntax: "key newkey",
    subcommands: &[],
    run: rename,
};

/// RENAMENX.
pub static RENAMENX: Spec = Spec {
    name: "renamenx",
    arity: 3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::Range { first: 1, last: 2, step: 1 },
    group: "generic",
    since: "1.0.0",
    complexity: "O(1) for a collection, O(N) for a string of N bytes, which is written anew under its new key.",
    summary: "Renames a key only when the target key name doesn't exist.",
    syntax: "key newkey",
    subcommands: &[],
    run: renamenx,
};

/// COPY.
pub static COPY: Spec = Spec {
    name: "copy",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::Range { first: 1, last: 2, step: 1 },
    group: "generic",
    since: "6.2.0",
    complexity: "O(N) where N is the number of nested items, or bytes of a string.",
    summary: "Copies the value of a key to a new key.",
    syntax: "source destination [DB destination-db] [REPLACE]",
    subcommands: &[],
    run: copy,
};

/// MOVE.
pub static MOVE: Spec = Spec {
    name: "move",
    arity: 3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "generic",
    since: "1.0.0",
    complexity: "O(1) for a collection, O(N) for a string of N bytes, which is written anew.",
    summary: "Moves a key to another database.",
    syntax: "key db",
    subcommands: &[],
    run: move_key,
};

fn rename<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (source, destination) = (args.take()?, args.take()?);
    rename_unless_taken(cx, source, destination, true)?;
    Ok(Reply::Ok)
}

fn renamenx<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (source, destination) = (args.take()?, args.take()?);
    let renamed = rename_unless_taken(cx, source, destination, false)?;
    Ok(Reply::Integer(i64::from(renamed)))
}

/// Whether the key has the new name now; a key that had it already does not count.
fn rename_unless_taken(
    cx: &mut Context<'_, '_>,
    source: &[u8],
    destination: &[u8],
    replace: bool,
) -> Result<bool, CommandError> {
    let db = cx.session.db;
    if cx.txn.peek(db, source).is_none() {
        return Err(CommandError::NoSuchKey);
    }
    if source == destination || !replace && cx.txn.peek(db, destination).is_some() {
        return Ok(false);
    }
    Ok(cx.txn.copy((db, source), (db, destination), true)?)
}

fn copy<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (source, destination) = (args.take()?, args.take()?);
    let (from_db, mut to_db, mut replace) = (cx.session.db, cx.session.db, false);
    while args.remaining() > 0 {
        if args.take_word("REPLACE") {
            replace = true;
        } else if args.remaining() > 1 && args.take_word("DB") {
            to_db = take_database(&mut args)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if from_db == to_db && source == destination {
        return Err(same_object());
    }
    let refused = !replace && cx.txn.peek(to_db, destination).is_some();
    let copied = !refused && cx.txn.copy((from_db, source), (to_db, destination), false)?;
    Ok(Reply::Integer(i64::from(copied)))
}

fn move_key<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, from_db, to_db) = (args.take()?, cx.session.db, take_database(&mut args)?);
    if from_db == to_db {
        return Err(same_object());
    }
    let taken = cx.txn.peek(to_db, key).is_some();
    let moved = !taken && cx.txn.copy((from_db, key), (to_db, key), true)?;
    Ok(Reply::Integer(i64::from(moved)))
}

fn take_database(args: &mut Args<'_>) -> Result<u8, CommandError> {
    let number = args.take_i64()?;
    if i32::try_from(number).is_err() {
        return Err(CommandError::text("ERR value is out of range, value must between -2147483648 and 2147483647"));
    }
    u8::try_from(number)
        .ok()
        .filter(|db| *db < DATABASES)
        .ok_or_else(|| CommandError::text("ERR DB index is out of range"))
}

fn same_object() -> CommandError {
    CommandError::text("ERR source and destination objects are the same")
}
