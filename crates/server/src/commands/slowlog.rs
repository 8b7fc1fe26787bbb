//! SLOWLOG.

use super::container::{ADMIN, HELP, container, subcommand, too_many};
use crate::command::{Args, CommandError, Context, Spec};
use crate::slowlog::SlowCall;
use sutra_protocol::Reply;
use sutra_protocol::number::parse_i64;

/// Calls that GET answers unless told otherwise.
const COUNT_DEFAULT: usize = 10;

/// SLOWLOG.
pub static SPEC: Spec =
    container("slowlog", "2.2.12", "A container for slow log commands.", SUBCOMMANDS, without_subcommand);

static SUBCOMMANDS: &[Spec] = &[
    subcommand("slowlog|get", -2, ADMIN, "2.2.12", "Returns the slow log's entries.", "[count]", get)
        .complexity("O(N) where N is the number of entries returned"),
    subcommand("slowlog|help", 2, HELP, "6.2.0", "Show helpful text about the different subcommands.", "", help),
    subcommand("slowlog|len", 2, ADMIN, "2.2.12", "Returns the number of entries in the slow log.", "", len),
    subcommand("slowlog|reset", 2, ADMIN, "2.2.12", "Clears all entries from the slow log.", "", reset)
        .complexity("O(N) where N is the number of entries in the slowlog"),
];

fn without_subcommand<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Err(CommandError::Arity("slowlog".into()))
}

fn get<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let count = match args.take_optional() {
        None => COUNT_DEFAULT,
        Some(word) => match parse_i64(word) {
            Some(-1) => usize::MAX,
            Some(count @ 0..) => usize::try_from(count).unwrap_or(usize::MAX),
            Some(_) | None => {
                return Err(CommandError::text("ERR count should be greater than or equal to -1"));
            }
        },
    };
    if args.remaining() > 0 {
        return Err(too_many(&args));
    }
    Ok(Reply::Array(cx.server.slowlog.newest(count).into_iter().map(shown).collect()))
}

fn shown(call: SlowCall) -> Reply<'static> {
    let integer = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    Reply::Array(vec![
        integer(call.id),
        integer(call.at_ms / 1000),
        integer(call.took_us),
        Reply::Array(call.arguments.into_iter().map(Reply::BulkOwned).collect()),
        Reply::BulkOwned(call.address.into_bytes()),
        Reply::BulkOwned(call.name.into_bytes()),
    ])
}

fn len<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::Integer(i64::try_from(cx.server.slowlog.len()).unwrap_or(i64::MAX)))
}

fn reset<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    cx.server.slowlog.clear();
    Ok(Reply::Ok)
}

fn help<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(super::help(
        "SLOWLOG",
        &[
            "GET [<count>]",
            "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
            "    Entries are made of:",
            "    id, timestamp, time in microseconds, arguments array, client IP and port,",
            "    client name",
            "LEN",
            "    Return the length of the slowlog.",
            "RESET",
            "    Reset the slowlog.",
        ],
    ))
}
