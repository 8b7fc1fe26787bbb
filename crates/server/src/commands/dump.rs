//! DUMP.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::rdb;
use sutra_protocol::Reply;

/// DUMP.
pub(super) static SPEC: Spec = Spec {
    name: "dump",
    arity: 2,
    flags: Flags::READONLY,
    keys: Keys::FIRST,
    group: "generic",
    since: "2.6.0",
    complexity: "O(1) to access the key and additional O(N*M) to serialize it, where N is the number of Redis objects composing \
                 the value and M their average size.",
    summary: "Returns a serialized representation of the value stored at a key.",
    syntax: "key",
    subcommands: &[],
    run,
};

fn run<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    // As in Redis a look that is no use: it refreshes nothing.
    let entry = cx.txn.peek(cx.db(), args.take()?);
    Ok(entry.map_or(Reply::Null, |entry| Reply::BulkOwned(rdb::dump(entry.value, cx.now_ms))))
}
