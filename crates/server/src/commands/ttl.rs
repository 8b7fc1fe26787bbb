//! TTL, PTTL, EXPIRETIME, PEXPIRETIME, PERSIST.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;

/// TTL.
pub static TTL: Spec = Spec {
    name: "ttl",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "generic",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns the expiration time in seconds of a key.",
    syntax: "key",
    subcommands: &[],
    run: ttl,
};

/// PTTL.
pub static PTTL: Spec = Spec {
    name: "pttl",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "generic",
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Returns the expiration time in milliseconds of a key.",
    syntax: "key",
    subcommands: &[],
    run: pttl,
};

/// EXPIRETIME.
pub static EXPIRETIME: Spec = Spec {
    name: "expiretime",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "generic",
    since: "7.0.0",
    complexity: "O(1)",
    summary: "Returns the expiration time of a key as a Unix timestamp.",
    syntax: "key",
    subcommands: &[],
    run: expiretime,
};

/// PEXPIRETIME.
pub static PEXPIRETIME: Spec = Spec {
    name: "pexpiretime",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "generic",
    since: "7.0.0",
    complexity: "O(1)",
    summary: "Returns the expiration time of a key as a Unix milliseconds timestamp.",
    syntax: "key",
    subcommands: &[],
    run: pexpiretime,
};

/// PERSIST.
pub static PERSIST: Spec = Spec {
    name: "persist",
    arity: 2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "generic",
    since: "2.2.0",
    complexity: "O(1)",
    summary: "Removes the expiration time of a key.",
    syntax: "key",
    subcommands: &[],
    run: persist,
};

fn ttl<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let now_ms = cx.now_ms;
    show(args, cx, |at_ms| to_seconds(at_ms.saturating_sub(now_ms)))
}

fn pttl<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let now_ms = cx.now_ms;
    show(args, cx, |at_ms| at_ms.saturating_sub(now_ms))
}

fn expiretime<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    show(args, cx, to_seconds)
}

fn pexpiretime<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    show(args, cx, |at_ms| at_ms)
}

fn persist<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (db, key) = (cx.session.db, args.take()?);
    let expires = cx.txn.peek(db, key).is_some_and(|entry| entry.expires_at_ms.is_some());
    if expires {
        cx.txn.set_expiry(db, key, None)?;
    }
    Ok(Reply::Integer(i64::from(expires)))
}

/// -2 for no such key, -1 for no expiry.
fn show<'t>(mut args: Args<'t>, cx: &Context<'_, '_>, shown: impl Fn(u64) -> u64) -> Result<Reply<'t>, CommandError> {
    let number = match cx.txn.peek(cx.session.db, args.take()?).map(|entry| entry.expires_at_ms) {
        None => -2,
        Some(None) => -1,
        Some(Some(at_ms)) => i64::try_from(shown(at_ms)).unwrap_or(i64::MAX),
    };
    Ok(Reply::Integer(number))
}

/// Seconds are rounded to the nearest, as in Redis.
fn to_seconds(milliseconds: u64) -> u64 {
    milliseconds.saturating_add(500) / 1000
}
