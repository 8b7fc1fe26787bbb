//! HELLO: the protocol, and who speaks.

use super::auth::authenticate;
use super::client::names::{NAME_REFUSED, valid_name};
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::server::Server;
use crate::session::Session;
use sutra_protocol::{Reply, Version};

/// The version of Redis whose commands and replies these are; clients switch features by it. Ours stands in INFO.
pub const REDIS_VERSION: &str = "7.4.0";

/// HELLO.
pub static SPEC: Spec = Spec {
    name: "hello",
    arity: -1,
    flags: Flags::NOSCRIPT
        .and(Flags::LOADING)
        .and(Flags::FAST)
        .and(Flags::NO_AUTH)
        .and(Flags::SKIP_MONITOR)
        .and(Flags::SKIP_SLOWLOG),
    keys: Keys::None,
    group: "connection",
    since: "6.0.0",
    complexity: "O(1)",
    summary: "Handshakes with the Redis server.",
    syntax: "[protover [AUTH username password] [SETNAME clientname]]",
    subcommands: &[],
    run,
};

fn run<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    run_hello(cx.server, cx.session, args.all())
}

/// HELLO apart from its context: dispatch needs the session back before it encodes the reply, which is written in the protocol
/// that was just chosen.
pub(crate) fn run_hello(
    server: &Server,
    session: &mut Session,
    items: &[&[u8]],
) -> Result<Reply<'static>, CommandError> {
    let mut args = Args::new(items, 1);
    let version = match args.take_optional() {
        None => None,
        Some(word) => match sutra_protocol::number::parse_i64(word) {
            None => return Err(CommandError::text("ERR Protocol version is not an integer or out of range")),
            Some(2) => Some(Version::Resp2),
            Some(3) => Some(Version::Resp3),
            Some(_) => return Err(CommandError::text("NOPROTO unsupported protocol version")),
        },
    };
    let mut credentials = None;
    let mut name = None;
    while let Some(option) = args.take_optional() {
        if option.eq_ignore_ascii_case(b"AUTH") && args.remaining() >= 2 {
            credentials = Some((args.take()?, args.take()?));
        } else if option.eq_ignore_ascii_case(b"SETNAME") && args.remaining() >= 1 {
            name = Some(valid_name(args.take()?).ok_or(CommandError::text(NAME_REFUSED))?);
        } else {
            let option = String::from_utf8_lossy(option).into_owned();
            return Err(CommandError::text(format!("ERR Syntax error in HELLO option '{option}'")));
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(server, session, user, password)?;
    }
    if !session.authenticated {
        return Err(CommandError::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time",
        ));
    }
    if let Some(name) = name {
        session.client.rename(|names| name.clone_into(&mut names.name));
    }
    if let Some(version) = version {
        session.version = version;
    }
    let protocol = match session.version {
        Version::Resp2 => 2,
        Version::Resp3 => 3,
    };
    let id = i64::try_from(session.client.id).unwrap_or(i64::MAX);
    Ok(Reply::Map(vec![
        (Reply::Bulk(b"server"), Reply::Bulk(b"redis")),
        (Reply::Bulk(b"version"), Reply::Bulk(REDIS_VERSION.as_bytes())),
        (Reply::Bulk(b"proto"), Reply::Integer(protocol)),
        (Reply::Bulk(b"id"), Reply::Integer(id)),
        (Reply::Bulk(b"mode"), Reply::Bulk(b"standalone")),
        (Reply::Bulk(b"role"), Reply::Bulk(b"master")),
        (Reply::Bulk(b"modules"), Reply::Array(Vec::new())),
    ]))
}
