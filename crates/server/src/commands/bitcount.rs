//! BITCOUNT, BITPOS.

use super::bits::{count_ones, position, take_unit_is_bit};
use super::strings::{clamped_range, integer, range};
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;

/// BITCOUNT.
pub static BITCOUNT: Spec = Spec {
    name: "bitcount",
    arity: -2,
    flags: Flags::READONLY,
    keys: Keys::FIRST,
    group: "bitmap",
    since: "2.6.0",
    complexity: "O(N) where N is the length of the string.",
    summary: "Counts the number of set bits (population counting) in a string.",
    syntax: "key [start end [BYTE | BIT]]",
    subcommands: &[],
    run: bitcount,
};

/// BITPOS.
pub static BITPOS: Spec = Spec {
    name: "bitpos",
    arity: -3,
    flags: Flags::READONLY,
    keys: Keys::FIRST,
    group: "bitmap",
    since: "2.8.7",
    complexity: "O(N) where N is the length of the string.",
    summary: "Finds the first set (1) or clear (0) bit in a string.",
    syntax: "key bit [start [end [BYTE | BIT]]]",
    subcommands: &[],
    run: bitpos,
};

fn bitcount<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let key = args.take()?;
    let bounds = match args.remaining() {
        0 => None,
        2 | 3 => Some((args.take_i64()?, args.take_i64()?, take_unit_is_bit(&mut args)?)),
        _ => return Err(CommandError::Syntax),
    };
    let Some(value) = cx.txn.string(cx.session.db, key)? else { return Ok(Reply::Integer(0)) };
    let bytes = value.as_slice();
    let ones = match bounds {
        None => count_ones(bytes),
        Some((start, end, false)) => range(start, end, bytes.len()).map_or(0, |range| count_ones(&bytes[range])),
        Some((start, end, true)) => range(start, end, bytes.len() * 8).map_or(0, |range| {
            let (first, last) = range.into_inner();
            let whole = count_ones(&bytes[first / 8..=last / 8]);
            let before = bytes[first / 8] & !(0xFF >> (first % 8));
            let after = bytes[last / 8] & (0x7F >> (last % 8));
            whole - u64::from(before.count_ones()) - u64::from(after.count_ones())
        }),
    };
    Ok(Reply::Integer(i64::try_from(ones).unwrap_or(i64::MAX)))
}

fn bitpos<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let key = args.take()?;
    let set = match args.take_i64()? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::text("ERR The bit argument must be 1 or 0.")),
    };
    let start = if args.remaining() > 0 { args.take_i64()? } else { 0 };
    let end_and_unit = match args.remaining() {
        0 => None,
        1 | 2 => Some((args.take_i64()?, take_unit_is_bit(&mut args)?)),
        _ => return Err(CommandError::Syntax),
    };
    // A missing key is an endless row of zeros.
    let Some(value) = cx.txn.string(cx.session.db, key)? else { return Ok(Reply::Integer(if set { -1 } else { 0 })) };
    let bytes = value.as_slice();
    let (end, unit_is_bit) = end_and_unit.unwrap_or((-1, false));
    let bounds = if unit_is_bit {
        clamped_range(start, end, bytes.len() * 8).map(std::ops::RangeInclusive::into_inner)
    } else {
        clamped_range(start, end, bytes.len()).map(|range| (range.start() * 8, range.end() * 8 + 7))
    };
    let Some((first, last)) = bounds else { return Ok(Reply::Integer(-1)) };
    Ok(match position(bytes, set, first, last) {
        Some(found) => integer(found),
        // Without an end the string counts as followed by zeros.
        None if !set && end_and_unit.is_none() => integer(bytes.len() * 8),
        None => Reply::Integer(-1),
    })
}
