//! SELECT and SWAPDB.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::settings::DATABASES;
use sutra_protocol::Reply;
use sutra_protocol::number::parse_i64;

/// SELECT.
pub static SELECT: Spec = Spec {
    name: "select",
    arity: 2,
    flags: Flags::LOADING.and(Flags::FAST),
    keys: Keys::None,
    group: "connection",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Changes the selected database.",
    syntax: "index",
    subcommands: &[],
    run: select,
};

/// SWAPDB.
pub static SWAPDB: Spec = Spec {
    name: "swapdb",
    arity: 3,
    flags: Flags::WRITE.and(Flags::FAST).and(Flags::ALL_KEYS),
    keys: Keys::None,
    group: "server",
    since: "4.0.0",
    complexity: "O(N) where N is the count of clients watching or blocking on keys from both databases.",
    summary: "Swaps two Redis databases.",
    syntax: "index1 index2",
    subcommands: &[],
    run: swap,
};

const OUT_OF_RANGE: CommandError = CommandError::Text(std::borrow::Cow::Borrowed("ERR DB index is out of range"));

fn select<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    cx.session.db = database(args.take_i64()?)?;
    Ok(Reply::Ok)
}

fn swap<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let first = parse_i64(args.take()?).ok_or(CommandError::text("ERR invalid first DB index"))?;
    let second = parse_i64(args.take()?).ok_or(CommandError::text("ERR invalid second DB index"))?;
    let (first, second) = (database(first)?, database(second)?);
    if first != second {
        cx.txn.swap_databases(first, second)?;
    }
    Ok(Reply::Ok)
}

fn database(index: i64) -> Result<u8, CommandError> {
    u8::try_from(index).ok().filter(|db| *db < DATABASES).ok_or(OUT_OF_RANGE)
}
