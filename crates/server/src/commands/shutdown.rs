//! SHUTDOWN.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::server::Stop;
use sutra_protocol::Reply;

/// SHUTDOWN.
pub static SPEC: Spec = Spec {
    name: "shutdown",
    arity: -1,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::NO_MULTI),
    keys: Keys::None,
    group: "server",
    since: "1.0.0",
    complexity: "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
    summary: "Synchronously saves the database(s) to disk and shuts down the Redis server.",
    syntax: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
    subcommands: &[],
    run,
};

fn run<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    if let Some(transaction) = &mut cx.session.transaction {
        transaction.aborted = true;
        return Err(CommandError::text("ERR Command not allowed inside a transaction"));
    }
    let (mut save, mut no_save, mut hurry, mut abort) = (false, false, false, false);
    while args.remaining() > 0 {
        if args.take_word("NOSAVE") {
            no_save = true;
        } else if args.take_word("SAVE") {
            save = true;
        } else if args.take_word("NOW") || args.take_word("FORCE") {
            hurry = true;
        } else if args.take_word("ABORT") {
            abort = true;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if (abort && (save || no_save || hurry)) || (save && no_save) {
        return Err(CommandError::Syntax);
    }
    if abort {
        // A stop takes no longer than the batches under way: there is never one to call back.
        return Err(CommandError::text("ERR No shutdown in progress."));
    }
    cx.server.request_stop(if no_save { Stop::NoSave } else { Stop::Save });
    cx.session.close = true;
    Ok(Reply::None)
}
