//! SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE. All of them mean a checkpoint here: a copy of the index, after which the log starts anew.

use crate::command::{Args, CommandError, Context, Flags, Keys, Run, Spec};
use crate::server::Server;
use std::sync::atomic::Ordering;
use sutra_protocol::Reply;

/// SAVE.
pub static SAVE: Spec = spec("save", 1, "1.0.0", "Synchronously saves the database(s) to disk.", "", true, save);
/// BGSAVE.
pub static BGSAVE: Spec =
    spec("bgsave", -1, "1.0.0", "Asynchronously saves the database(s) to disk.", "[SCHEDULE]", false, bgsave);
/// BGREWRITEAOF.
pub static BGREWRITEAOF: Spec =
    spec("bgrewriteaof", 1, "1.0.0", "Asynchronously rewrites the append-only file to disk.", "", false, bgrewriteaof);
/// LASTSAVE.
pub static LASTSAVE: Spec = Spec {
    name: "lastsave",
    arity: 1,
    flags: Flags::LOADING.and(Flags::FAST),
    keys: Keys::None,
    group: "server",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns the Unix timestamp of the last successful save to disk.",
    syntax: "",
    subcommands: &[],
    run: lastsave,
};

const fn spec(
    name: &'static str,
    arity: i16,
    since: &'static str,
    summary: &'static str,
    syntax: &'static str,
    no_multi: bool,
    run: Run,
) -> Spec {
    let flags = Flags::ADMIN.and(Flags::NOSCRIPT);
    let flags = if no_multi { flags.and(Flags::NO_MULTI) } else { flags };
    let complexity = "O(N) where N is the total number of keys in all databases";
    Spec {
        name,
        arity,
        flags,
        keys: Keys::None,
        group: "server",
        since,
        complexity,
        summary,
        syntax,
        subcommands: &[],
        run,
    }
}

/// Writing the checkpoint takes the locks one by one, so it must not be part of an EXEC that holds some.
fn save<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    if let Some(transaction) = &mut cx.session.transaction {
        transaction.aborted = true;
        return Err(CommandError::text("ERR Command not allowed inside a transaction"));
    }
    check_log(cx.server)?;
    if cx.server.is_checkpoint_under_way() {
        return Err(CommandError::text("ERR Background save already in progress"));
    }
    match cx.server.checkpoint(cx.now_ms) {
        Ok(()) => Ok(Reply::Ok),
        Err(error) => {
            tracing::error!(%error, "could not write a checkpoint; the log stays as it is");
            Err(CommandError::text(format!("ERR {error}")))
        }
    }
}

fn bgsave<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let may_wait = args.take_word("SCHEDULE");
    args.finish()?;
    check_log(cx.server)?;
    let waits = cx.server.is_checkpoint_under_way();
    if waits && !may_wait {
        return Err(CommandError::text("ERR Background save already in progress"));
    }
    cx.server.checkpoint_wanted.store(true, Ordering::Release);
    Ok(Reply::simple(if waits { "Background saving scheduled" } else { "Background saving started" }))
}

fn bgrewriteaof<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    check_log(cx.server)?;
    if cx.server.is_checkpoint_under_way() {
        return Err(CommandError::text("ERR Background append only file rewriting already in progress"));
    }
    cx.server.checkpoint_wanted.store(true, Ordering::Release);
    Ok(Reply::simple("Background append only file rewriting started"))
}

fn lastsave<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::Integer(i64::try_from(last_save_ms(cx.server) / 1000).unwrap_or(i64::MAX)))
}

/// When the last checkpoint was written; before the first one, the start, as in Redis.
pub(crate) fn last_save_ms(server: &Server) -> u64 {
    match server.shard.persistence().last_checkpoint_ms {
        0 => server.started_ms,
        last_ms => last_ms,
    }
}

/// An OK would be a lie: what is not logged is not kept.
fn check_log(server: &Server) -> Result<(), CommandError> {
    if server.shard.persistence().log {
        Ok(())
    } else {
        Err(CommandError::text(
            "ERR There is nothing to save to: the server keeps no log (WAL_SYNC_INTERVAL_MS is off)",
        ))
    }
}
