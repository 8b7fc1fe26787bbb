//! QUIT and RESET.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::session::Replies;
use crate::tracking;
use std::sync::atomic::Ordering;
use sutra_protocol::{Reply, Version};

/// QUIT.
pub static QUIT: Spec = Spec {
    name: "quit",
    arity: -1,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::FAST).and(Flags::NO_AUTH).and(Flags::NO_MULTI),
    keys: Keys::None,
    group: "connection",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Closes the connection.",
    syntax: "",
    subcommands: &[],
    run: quit,
};

/// RESET.
pub static RESET: Spec = Spec {
    name: "reset",
    arity: 1,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::FAST).and(Flags::NO_AUTH).and(Flags::NO_MULTI),
    keys: Keys::None,
    group: "connection",
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Resets the connection.",
    syntax: "",
    subcommands: &[],
    run: reset,
};

fn quit<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    cx.session.close = true;
    Ok(Reply::Ok)
}

fn reset<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let session = &mut *cx.session;
    session.discard();
    session.db = 0;
    session.version = Version::Resp2;
    session.replies = Replies::On;
    session.no_touch = false;
    tracking::end(cx.server, session);
    session.authenticated = !cx.server.settings.has_password();
    let client = &session.client;
    cx.server.remove_monitor(client);
    client.no_evict.store(false, Ordering::Relaxed);
    client.no_touch.store(false, Ordering::Relaxed);
    client.rename(|names| {
        names.name.clear();
        "default".clone_into(&mut names.user);
    });
    Ok(Reply::Simple("RESET".into()))
}
