//! INCRBYFLOAT.

use super::strings::present;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;
use sutra_protocol::number::{format_long_double, parse_long_double};
use sutra_shard::Put;

/// INCRBYFLOAT.
pub static SPEC: Spec = Spec {
    name: "incrbyfloat",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: Keys::FIRST,
    group: "string",
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Increments the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist.",
    syntax: "key increment",
    subcommands: &[],
    run,
};

fn run<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, increment) = (args.take()?, args.take()?);
    let number = |text| parse_long_double(text).ok_or(CommandError::NotAFloat);
    let db = cx.session.db;
    let (after, kept) = match present(cx.txn, db, key)? {
        None => (number(increment)?, Put::default()),
        Some((value, kept)) => (number(value.as_slice())? + number(increment)?, kept),
    };
    if !after.is_finite() {
        return Err(CommandError::text("ERR increment would produce NaN or Infinity"));
    }
    let text = format_long_double(after).into_bytes();
    cx.txn.put(db, key, &text, kept)?;
    Ok(Reply::BulkOwned(text))
}
