//! SET, SETNX, SETEX, PSETEX.

use super::expiry::{TimeOption, TimeUnit};
use super::strings::owned;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;
use sutra_shard::Put;

/// SET.
pub static SET: Spec = Spec {
    name: "set",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::FIRST,
    group: "string",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Sets the string value of a key, ignoring its type. The key is created if it doesn't exist.",
    syntax: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
    subcommands: &[],
    run: set,
};

/// SETNX.
pub static SETNX: Spec = Spec {
    name: "setnx",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: Keys::FIRST,
    group: "string",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Sets the string value of a key only when the key doesn't exist.",
    syntax: "key value",
    subcommands: &[],
    run: setnx,
};

/// SETEX.
pub static SETEX: Spec = Spec {
    name: "setex",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::FIRST,
    group: "string",
    since: "2.0.0",
    complexity: "O(1)",
    summary: "Sets the string value and expiration time of a key. Creates the key if it doesn't exist.",
    syntax: "key seconds value",
    subcommands: &[],
    run: setex,
};

/// PSETEX.
pub static PSETEX: Spec = Spec {
    name: "psetex",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::FIRST,
    group: "string",
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Sets both string value and expiration time in milliseconds of a key. The key is created if it doesn't exist.",
    syntax: "key milliseconds value",
    subcommands: &[],
    run: psetex,
};

/// When SET stores at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

#[derive(Debug)]
struct Options<'t> {
    condition: Condition,
    get: bool,
    keep_ttl: bool,
    time: Option<TimeOption<'t>>,
}

impl<'t> Options<'t> {
    fn read(args: &mut Args<'t>) -> Result<Options<'t>, CommandError> {
        let mut options = Options { condition: Condition::Always, get: false, keep_ttl: false, time: None };
        while args.remaining() > 0 {
            if options.condition != Condition::IfPresent && args.take_word("NX") {
                options.condition = Condition::IfAbsent;
            } else if options.condition != Condition::IfAbsent && args.take_word("XX") {
                options.condition = Condition::IfPresent;
            } else if args.take_word("GET") {
                options.get = true;
            } else if options.time.is_none() && args.take_word("KEEPTTL") {
                options.keep_ttl = true;
            } else if !options.keep_ttl
                && let Some(time) = TimeOption::take(args, options.time)?
            {
                options.time = Some(time);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

fn set<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, value) = (args.take()?, args.take()?);
    if args.remaining() == 0 {
        cx.txn.put(cx.session.db, key, value, Put::default())?;
        return Ok(Reply::Ok);
    }
    let options = Options::read(&mut args)?;
    let db = cx.session.db;
    let mut expires_at_ms = options.time.map(|time| time.instant_ms(cx.now_ms, "set")).transpose()?;
    let before = if options.get { Some(owned(cx.txn.string(db, key)?)) } else { None };
    if options.condition != Condition::Always || options.keep_ttl {
        let present = cx.txn.peek(db, key);
        let met = match options.condition {
            Condition::Always => true,
            Condition::IfAbsent => present.is_none(),
            Condition::IfPresent => present.is_some(),
        };
        if !met {
            return Ok(before.unwrap_or(Reply::Null));
        }
        if options.keep_ttl {
            expires_at_ms = present.and_then(|entry| entry.expires_at_ms);
        }
    }
    store(cx, key, value, expires_at_ms)?;
    Ok(before.unwrap_or(Reply::Ok))
}

fn setnx<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, value) = (args.take()?, args.take()?);
    let db = cx.session.db;
    if cx.txn.peek(db, key).is_some() {
        return Ok(Reply::Integer(0));
    }
    cx.txn.put(db, key, value, Put::default())?;
    Ok(Reply::Integer(1))
}

fn setex<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    set_for(args, cx, TimeUnit::Ex, "setex")
}

fn psetex<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    set_for(args, cx, TimeUnit::Px, "psetex")
}

fn set_for<'t>(
    mut args: Args<'t>,
    cx: &'t mut Context<'_, '_>,
    unit: TimeUnit,
    command: &str,
) -> Result<Reply<'t>, CommandError> {
    let (key, amount, value) = (args.take()?, args.take()?, args.take()?);
    let expires_at_ms = TimeOption::new(unit, amount).instant_ms(cx.now_ms, command)?;
    store(cx, key, value, Some(expires_at_ms))?;
    Ok(Reply::Ok)
}

/// Stores the value; with an expiry that is not after now (EXAT in the past) the key is gone at once.
fn store(cx: &mut Context<'_, '_>, key: &[u8], value: &[u8], expires_at_ms: Option<u64>) -> Result<(), CommandError> {
    let db = cx.session.db;
    if expires_at_ms.is_some_and(|at| at <= cx.now_ms) {
        cx.txn.delete(db, key);
    } else {
        cx.txn.put(db, key, value, Put { expires_at_ms, cost: None })?;
    }
    Ok(())
}
