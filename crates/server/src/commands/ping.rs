//! PING and ECHO.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;

/// PING.
pub static PING: Spec = Spec {
    name: "ping",
    arity: -1,
    flags: Flags::FAST,
    keys: Keys::None,
    group: "connection",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns the server's liveliness response.",
    syntax: "[message]",
    subcommands: &[],
    run: ping,
};

/// ECHO.
pub static ECHO: Spec = Spec {
    name: "echo",
    arity: 2,
    flags: Flags::FAST.and(Flags::LOADING),
    keys: Keys::None,
    group: "connection",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns the given string.",
    syntax: "message",
    subcommands: &[],
    run: echo,
};

fn ping<'t>(mut args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    match (args.take_optional(), args.remaining()) {
        (None, _) => Ok(Reply::Simple("PONG".into())),
        (Some(message), 0) => Ok(Reply::Bulk(message)),
        (Some(_), _) => Err(CommandError::Arity("ping".into())),
    }
}

fn echo<'t>(mut args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::Bulk(args.take()?))
}
