//! HSCAN.

use super::BASE;
use crate::command::{Args, CommandError, Context, Flags, Spec};
use crate::glob;
use sutra_protocol::{Reply, number};

/// HSCAN.
pub(in crate::commands) static HSCAN: Spec = Spec {
    name: "hscan",
    arity: -3,
    flags: Flags::READONLY,
    since: "2.8.0",
    complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return \
                 back to 0. N is the number of elements inside the collection.",
    summary: "Iterates over fields and values of a hash.",
    syntax: "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
    run: hscan,
    ..BASE
};

/// Fields visited by a call that does not say how many.
const COUNT_DEFAULT: usize = 10;

fn hscan<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (db, key) = (cx.db(), args.take()?);
    let cursor = number::parse_u64(args.take()?).ok_or(CommandError::text("ERR invalid cursor"))?;
    // As in Redis a hash that does not exist is scanned before the options are read.
    let Some(hash) = cx.txn.hash(db, key)? else { return Ok(reply(0, Vec::new())) };
    let (mut pattern, mut count, mut values) = (None, COUNT_DEFAULT, true);
    while args.peek().is_some() {
        if args.remaining() > 1 && args.take_word("MATCH") {
            pattern = Some(args.take()?).filter(|pattern| *pattern != b"*");
        } else if args.remaining() > 1 && args.take_word("COUNT") {
            let wanted = args.take_i64()?;
            count = usize::try_from(wanted).ok().filter(|&count| count > 0).ok_or(CommandError::Syntax)?;
        } else if args.take_word("NOVALUES") {
            values = false;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let mut items = Vec::new();
    let next = hash.scan(cursor, count, cx.now_ms, &mut |field, value| {
        if pattern.is_none_or(|pattern| glob::matches(pattern, field)) {
            items.push(Reply::Bulk(field));
            if values {
                items.push(Reply::Bulk(value));
            }
        }
    });
    Ok(reply(next, items))
}

fn reply(cursor: u64, items: Vec<Reply<'_>>) -> Reply<'_> {
    Reply::Array(vec![Reply::BulkOwned(itoa::Buffer::new().format(cursor).into()), Reply::Array(items)])
}
