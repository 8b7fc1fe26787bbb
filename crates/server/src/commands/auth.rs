//! AUTH.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::server::Server;
use crate::session::Session;
use sutra_protocol::Reply;

/// AUTH.
pub static SPEC: Spec = Spec {
    name: "auth",
    arity: -2,
    flags: Flags::NOSCRIPT
        .and(Flags::LOADING)
        .and(Flags::FAST)
        .and(Flags::NO_AUTH)
        .and(Flags::SKIP_MONITOR)
        .and(Flags::SKIP_SLOWLOG),
    keys: Keys::None,
    group: "connection",
    since: "1.0.0",
    complexity: "O(N) where N is the number of passwords defined for the user",
    summary: "Authenticates the connection.",
    syntax: "[username] password",
    subcommands: &[],
    run,
};

fn run<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let first = args.take()?;
    match (args.take_optional(), args.remaining()) {
        (None, _) if !cx.server.settings.has_password() => Err(CommandError::text(
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?",
        )),
        (None, _) => authenticate(cx.server, cx.session, b"default", first),
        (Some(password), 0) => authenticate(cx.server, cx.session, first, password),
        (Some(_), _) => Err(CommandError::Syntax),
    }
    .map(|()| Reply::Ok)
}

/// Lets the session in if user and password are right. A session that was in stays in as who it was.
pub(crate) fn authenticate(
    server: &Server,
    session: &mut Session,
    user: &[u8],
    password: &[u8],
) -> Result<(), CommandError> {
    if user == b"default" && server.settings.is_password(password) {
        session.authenticated = true;
        session.client.rename(|names| "default".clone_into(&mut names.user));
        Ok(())
    } else {
        Err(CommandError::text("WRONGPASS invalid username-password pair or user is disabled."))
    }
}
