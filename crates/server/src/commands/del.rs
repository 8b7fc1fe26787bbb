//! DEL, UNLINK, EXISTS, TOUCH, TYPE.

use super::strings::integer;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;

const ALL_ARGUMENTS: Keys = Keys::Range { first: 1, last: -1, step: 1 };

/// DEL.
pub static DEL: Spec = Spec {
    name: "del",
    arity: -2,
    flags: Flags::WRITE,
    keys: ALL_ARGUMENTS,
    group: "generic",
    since: "1.0.0",
    complexity: "O(N) where N is the number of keys.",
    summary: "Deletes one or more keys.",
    syntax: "key [key ...]",
    subcommands: &[],
    run: delete,
};

/// UNLINK: here DEL by another name, since no value takes long to free under its lock.
pub static UNLINK: Spec = Spec {
    name: "unlink",
    arity: -2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: ALL_ARGUMENTS,
    group: "generic",
    since: "4.0.0",
    complexity: "O(1) for each key.",
    summary: "Deletes one or more keys.",
    syntax: "key [key ...]",
    subcommands: &[],
    run: delete,
};

/// EXISTS.
pub static EXISTS: Spec = Spec {
    name: "exists",
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: ALL_ARGUMENTS,
    group: "generic",
    since: "1.0.0",
    complexity: "O(N) where N is the number of keys to check.",
    summary: "Determines whether one or more keys exist.",
    syntax: "key [key ...]",
    subcommands: &[],
    run: exists,
};

/// TOUCH.
pub static TOUCH: Spec = Spec {
    name: "touch",
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: ALL_ARGUMENTS,
    group: "generic",
    since: "3.2.1",
    complexity: "O(N) where N is the number of keys.",
    summary: "Returns the number of existing keys out of those specified after updating the time they were last accessed.",
    syntax: "key [key ...]",
    subcommands: &[],
    run: touch,
};

/// TYPE.
pub static TYPE: Spec = Spec {
    name: "type",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "generic",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Determines the type of value stored at a key.",
    syntax: "key",
    subcommands: &[],
    run: type_of,
};

fn delete<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let db = cx.session.db;
    Ok(integer(args.rest().iter().filter(|key| cx.txn.delete(db, key)).count()))
}

fn exists<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    // A key that is named twice counts twice.
    Ok(integer(args.rest().iter().filter(|key| cx.txn.peek(cx.session.db, key).is_some()).count()))
}

fn touch<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(integer(args.rest().iter().filter(|key| cx.txn.get(cx.session.db, key).is_some()).count()))
}

fn type_of<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let entry = cx.txn.peek(cx.session.db, args.take()?);
    Ok(Reply::Simple(entry.map_or("none", |entry| entry.value.kind().name()).into()))
}
