//! GET.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::logging::Hashed;
use sutra_protocol::Reply;

/// GET.
pub static SPEC: Spec = Spec {
    name: "get",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "string",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns the string value of a key.",
    syntax: "key",
    subcommands: &[],
    run,
};

fn run<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let key = args.take()?;
    Ok(match cx.txn.string(cx.session.db, key)? {
        None => {
            tracing::debug!(key = %Hashed(key), "a miss");
            Reply::Null
        }
        Some(value) => crate::command::bulk(value),
    })
}
