//! GETSET, GETDEL, GETEX: reads that change something.

use super::expiry::TimeOption;
use super::strings::{bulk_or_null, owned, present};
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;
use sutra_shard::Put;

/// GETSET.
pub static GETSET: Spec = Spec {
    name: "getset",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: Keys::FIRST,
    group: "string",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns the previous string value of a key after setting it to a new value.",
    syntax: "key value",
    subcommands: &[],
    run: getset,
};

/// GETDEL.
pub static GETDEL: Spec = Spec {
    name: "getdel",
    arity: 2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "string",
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Returns the string value of a key after deleting the key.",
    syntax: "key",
    subcommands: &[],
    run: getdel,
};

/// GETEX.
pub static GETEX: Spec = Spec {
    name: "getex",
    arity: -2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "string",
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Returns the string value of a key after setting its expiration time.",
    syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
    subcommands: &[],
    run: getex,
};

fn getset<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, value) = (args.take()?, args.take()?);
    let before = owned(cx.txn.string(cx.session.db, key)?);
    cx.txn.put(cx.session.db, key, value, Put::default())?;
    Ok(before)
}

fn getdel<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let key = args.take()?;
    let before = owned(cx.txn.string(cx.session.db, key)?);
    cx.txn.delete(cx.session.db, key);
    Ok(before)
}

fn getex<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let key = args.take()?;
    let (mut persist, mut time) = (false, None);
    while args.remaining() > 0 {
        if time.is_none() && args.take_word("PERSIST") {
            persist = true;
        } else if !persist && let Some(option) = TimeOption::take(&mut args, time)? {
            time = Some(option);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let db = cx.session.db;
    // The time is read only once the key is found to hold a string, as Redis orders it.
    if let Some((_, kept)) = present(cx.txn, db, key)? {
        if let Some(time) = time {
            let at_ms = time.instant_ms(cx.now_ms, "getex")?;
            if at_ms <= cx.now_ms {
                let before = owned(cx.txn.string(db, key)?);
                cx.txn.delete(db, key);
                return Ok(before);
            }
            cx.txn.set_expiry(db, key, Some(at_ms))?;
        } else if persist && kept.expires_at_ms.is_some() {
            cx.txn.set_expiry(db, key, None)?;
        }
    }
    Ok(bulk_or_null(cx.txn.string(db, key)?))
}
