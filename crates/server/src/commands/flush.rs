//! FLUSHDB, FLUSHALL.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::settings::DATABASES;
use crate::statistics::InvalidationKind;
use sutra_protocol::Reply;

/// FLUSHDB.
pub static FLUSHDB: Spec = Spec {
    name: "flushdb",
    arity: -1,
    flags: Flags::WRITE.and(Flags::ALL_KEYS),
    keys: Keys::None,
    group: "server",
    since: "1.0.0",
    complexity: "O(N) where N is the number of keys in the selected database.",
    summary: "Removes all keys from the current database.",
    syntax: "[ASYNC | SYNC]",
    subcommands: &[],
    run: flushdb,
};

/// FLUSHALL.
pub static FLUSHALL: Spec = Spec {
    name: "flushall",
    arity: -1,
    flags: Flags::WRITE.and(Flags::ALL_KEYS),
    keys: Keys::None,
    group: "server",
    since: "1.0.0",
    complexity: "O(N) where N is the total number of keys in all databases.",
    summary: "Removes all keys from all databases.",
    syntax: "[ASYNC | SYNC]",
    subcommands: &[],
    run: flushall,
};

fn flushdb<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    read_mode(&mut args)?;
    cx.txn.flush_database(cx.session.db)?;
    cx.server.invalidations.count(InvalidationKind::Clear);
    Ok(Reply::Ok)
}

fn flushall<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    read_mode(&mut args)?;
    for db in 0..DATABASES {
        cx.txn.flush_database(db)?;
    }
    cx.server.invalidations.count(InvalidationKind::Clear);
    Ok(Reply::Ok)
}

/// Both modes do the same here: dropping the index is all there is to do, segments are freed as they are reused.
fn read_mode(args: &mut Args<'_>) -> Result<(), CommandError> {
    if !args.take_word("ASYNC") {
        args.take_word("SYNC");
    }
    args.finish()
}
