//! SETBIT, GETBIT.

use super::bits::take_offset;
use super::strings::present;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;
use sutra_protocol::number::parse_i64;

/// SETBIT.
pub static SETBIT: Spec = Spec {
    name: "setbit",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::FIRST,
    group: "bitmap",
    since: "2.2.0",
    complexity: "O(1)",
    summary: "Sets or clears the bit at offset of the string value. Creates the key if it doesn't exist.",
    syntax: "key offset value",
    subcommands: &[],
    run: setbit,
};

/// GETBIT.
pub static GETBIT: Spec = Spec {
    name: "getbit",
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "bitmap",
    since: "2.2.0",
    complexity: "O(1)",
    summary: "Returns a bit value by offset.",
    syntax: "key offset",
    subcommands: &[],
    run: getbit,
};

fn setbit<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, offset) = (args.take()?, take_offset(&mut args, None, cx.server)?);
    let set = match parse_i64(args.take()?) {
        Some(0) => false,
        Some(1) => true,
        Some(_) | None => return Err(CommandError::text("ERR bit is not an integer or out of range")),
    };
    let db = cx.session.db;
    let (index, mask) = place(offset);
    let before = present(cx.txn, db, key)?.and_then(|(value, _)| value.as_slice().get(index).copied());
    let after = if set { before.unwrap_or(0) | mask } else { before.unwrap_or(0) & !mask };
    // A bit that is as asked for needs no write, unless the string has to grow up to it.
    if before != Some(after) {
        cx.txn.write_range(db, key, index, &[after])?;
    }
    Ok(Reply::Integer(i64::from(before.unwrap_or(0) & mask != 0)))
}

fn getbit<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, offset) = (args.take()?, take_offset(&mut args, None, cx.server)?);
    let (index, mask) = place(offset);
    let byte = cx.txn.string(cx.session.db, key)?.and_then(|value| value.as_slice().get(index).copied());
    Ok(Reply::Integer(i64::from(byte.unwrap_or(0) & mask != 0)))
}

/// The byte of a bit, and the bit in it: the first bit of a string is the highest of its first byte.
fn place(offset: u64) -> (usize, u8) {
    (usize::try_from(offset / 8).unwrap_or(usize::MAX), 0x80 >> (offset % 8))
}
