//! WAIT and TIME.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;
use sutra_protocol::number::parse_i64;

/// WAIT. There are no replicas, so it never waits.
pub static WAIT: Spec = Spec {
    name: "wait",
    arity: 3,
    flags: Flags::NOSCRIPT,
    keys: Keys::None,
    group: "generic",
    since: "3.0.0",
    complexity: "O(1)",
    summary: "Blocks until the asynchronous replication of all preceding write commands sent by the connection is completed.",
    syntax: "numreplicas timeout",
    subcommands: &[],
    run: wait,
};

/// TIME.
pub static TIME: Spec = Spec {
    name: "time",
    arity: 1,
    flags: Flags::LOADING.and(Flags::FAST),
    keys: Keys::None,
    group: "server",
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Returns the server time.",
    syntax: "",
    subcommands: &[],
    run: time,
};

fn wait<'t>(mut args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    args.take_i64()?;
    let timeout_ms =
        parse_i64(args.take()?).ok_or(CommandError::text("ERR timeout is not an integer or out of range"))?;
    if timeout_ms < 0 {
        return Err(CommandError::text("ERR timeout is negative"));
    }
    Ok(Reply::Integer(0))
}

fn time<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let now_us = cx.server.clock.now_us();
    let part = |number: u64| Reply::BulkOwned(number.to_string().into_bytes());
    Ok(Reply::Array(vec![part(now_us / 1_000_000), part(now_us % 1_000_000)]))
}
