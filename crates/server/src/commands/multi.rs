//! MULTI, EXEC, DISCARD, WATCH, UNWATCH. What EXEC does is in `transaction.rs`, since it runs other commands.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::session::Watched;
use sutra_protocol::Reply;

const CONTROL: Flags = Flags::NOSCRIPT.and(Flags::LOADING);

/// MULTI.
pub static MULTI: Spec = Spec {
    name: "multi",
    arity: 1,
    flags: CONTROL.and(Flags::FAST).and(Flags::NO_MULTI),
    keys: Keys::None,
    group: "transactions",
    since: "1.2.0",
    complexity: "O(1)",
    summary: "Starts a transaction.",
    syntax: "",
    subcommands: &[],
    run: multi,
};

/// EXEC.
pub static EXEC: Spec = Spec {
    name: "exec",
    arity: 1,
    flags: CONTROL.and(Flags::SKIP_SLOWLOG).and(Flags::NO_MULTI),
    keys: Keys::None,
    group: "transactions",
    since: "1.2.0",
    complexity: "Depends on commands in the transaction",
    summary: "Executes all commands in a transaction.",
    syntax: "",
    subcommands: &[],
    run: exec,
};

/// DISCARD.
pub static DISCARD: Spec = Spec {
    name: "discard",
    arity: 1,
    flags: CONTROL.and(Flags::FAST).and(Flags::NO_MULTI),
    keys: Keys::None,
    group: "transactions",
    since: "2.0.0",
    complexity: "O(N), when N is the number of queued commands",
    summary: "Discards a transaction.",
    syntax: "",
    subcommands: &[],
    run: discard,
};

/// WATCH.
pub static WATCH: Spec = Spec {
    name: "watch",
    arity: -2,
    flags: CONTROL.and(Flags::FAST).and(Flags::NO_MULTI),
    keys: Keys::Range { first: 1, last: -1, step: 1 },
    group: "transactions",
    since: "2.2.0",
    complexity: "O(1) for every key.",
    summary: "Monitors changes to keys to determine the execution of a transaction.",
    syntax: "key [key ...]",
    subcommands: &[],
    run: watch,
};

/// UNWATCH.
pub static UNWATCH: Spec = Spec {
    name: "unwatch",
    arity: 1,
    flags: CONTROL.and(Flags::FAST),
    keys: Keys::None,
    group: "transactions",
    since: "2.2.0",
    complexity: "O(1)",
    summary: "Forgets about watched keys of a transaction.",
    syntax: "",
    subcommands: &[],
    run: unwatch,
};

fn multi<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    if cx.session.transaction.is_some() {
        return Err(CommandError::text("ERR MULTI calls can not be nested"));
    }
    cx.session.transaction = Some(Box::default());
    Ok(Reply::Ok)
}

/// Only reached where dispatch does not treat EXEC itself, which is nowhere.
fn exec<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Err(CommandError::text("ERR EXEC without MULTI"))
}

fn discard<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    if cx.session.transaction.is_none() {
        return Err(CommandError::text("ERR DISCARD without MULTI"));
    }
    cx.session.discard();
    Ok(Reply::Ok)
}

fn watch<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    if cx.session.transaction.is_some() {
        return Err(CommandError::text("ERR WATCH inside MULTI is not allowed"));
    }
    let db = cx.session.db;
    let watches = cx.session.watches.get_or_insert_default();
    for key in args.rest() {
        if watches.keys.iter().any(|watched| watched.db == db && &*watched.key == *key) {
            continue;
        }
        let live = cx.txn.peek(db, key).is_some();
        cx.txn.watch(db, key, &watches.flag);
        watches.keys.push(Watched { db, key: Box::from(*key), live });
    }
    Ok(Reply::Ok)
}

fn unwatch<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    cx.session.watches = None;
    Ok(Reply::Ok)
}
