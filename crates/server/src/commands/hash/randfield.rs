//! HRANDFIELD.

use super::BASE;
use crate::command::{Args, CommandError, Context, Flags, Spec};
use crate::random;
use std::collections::HashSet;
use sutra_protocol::{Reply, Version};
use sutra_shard::HashValue;

/// HRANDFIELD.
pub(in crate::commands) static HRANDFIELD: Spec = Spec {
    name: "hrandfield",
    arity: -2,
    flags: Flags::READONLY,
    since: "6.2.0",
    complexity: "O(N) where N is the number of fields returned.",
    summary: "Returns one or more random fields from a hash.",
    syntax: "key [count [WITHVALUES]]",
    run: hrandfield,
    ..BASE
};

/// Fields and their values.
type Pairs<'h> = Vec<(&'h [u8], &'h [u8])>;

/// How many fields a negative count may ask for. Redis would go on until its memory is gone.
const REPEATS_MAX: usize = 1 << 20;

fn hrandfield<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (db, key, now_ms) = (cx.db(), args.take()?, cx.now_ms);
    if args.peek().is_none() {
        let hash = cx.txn.hash(db, key)?;
        let chosen = hash.and_then(|hash| hash.random(random::number(), now_ms));
        return Ok(chosen.map_or(Reply::Null, |(field, _)| Reply::Bulk(field)));
    }
    let count = args.take_i64()?;
    if count == i64::MIN {
        return Err(out_of_range());
    }
    let with_values = args.take_word("WITHVALUES");
    args.finish()?;
    if with_values && count.unsigned_abs() > i64::MAX.unsigned_abs() / 2 {
        return Err(CommandError::text("ERR value is out of range"));
    }
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let hash = cx.txn.hash(db, key)?;
    let Some(hash) = hash.filter(|_| wanted > 0) else { return Ok(Reply::Array(Vec::new())) };
    let chosen = if count > 0 { distinct(hash, wanted, now_ms) } else { repeated(hash, wanted, now_ms)? };
    Ok(reply(chosen, with_values, cx.session.version))
}

fn out_of_range() -> CommandError {
    CommandError::text(format!("ERR value is out of range, value must between {} and {}", -i64::MAX, i64::MAX))
}

fn reply<'t>(chosen: Pairs<'t>, with_values: bool, version: Version) -> Reply<'t> {
    let mut items = Vec::with_capacity(chosen.len() * if with_values { 2 } else { 1 });
    for (field, value) in chosen {
        match (with_values, version) {
            (false, _) => items.push(Reply::Bulk(field)),
            (true, Version::Resp2) => items.extend([Reply::Bulk(field), Reply::Bulk(value)]),
            (true, Version::Resp3) => items.push(Reply::Array(vec![Reply::Bulk(field), Reply::Bulk(value)])),
        }
    }
    Reply::Array(items)
}

/// So many fields, each chosen independently.
fn repeated(hash: &HashValue, wanted: usize, now_ms: u64) -> Result<Pairs<'_>, CommandError> {
    if wanted > REPEATS_MAX {
        return Err(CommandError::text("ERR value is out of range"));
    }
    Ok((0..wanted).map_while(|_| hash.random(random::number(), now_ms)).collect())
}

/// So many different fields, or all.
fn distinct(hash: &HashValue, wanted: usize, now_ms: u64) -> Pairs<'_> {
    let len = hash.len(now_ms);
    if wanted >= len {
        return hash.iter(now_ms).collect();
    }
    // Few of many: draw until enough differ, at most about 1.5 draws a field. An unlucky or uneven draw falls through.
    if wanted.saturating_mul(3) <= len {
        let mut seen = HashSet::with_capacity(wanted);
        let mut chosen = Vec::with_capacity(wanted);
        for _ in 0..wanted * 8 + 32 {
            let Some((field, value)) = hash.random(random::number(), now_ms) else { break };
            if seen.insert(field) {
                chosen.push((field, value));
            }
            if chosen.len() == wanted {
                return chosen;
            }
        }
    }
    // Selection sampling (Knuth, TAOCP 2, 3.4.2, algorithm S): each field is taken with the chance that makes all sets equal.
    let (mut left, mut missing) = (len, wanted);
    let mut chosen = Vec::with_capacity(wanted);
    for pair in hash.iter(now_ms) {
        if missing > 0 && random::below(left.max(1)) < missing {
            chosen.push(pair);
            missing -= 1;
        }
        left = left.saturating_sub(1);
    }
    chosen
}
