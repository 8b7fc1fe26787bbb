//! BITFIELD, BITFIELD_RO: integers of 1 to 64 bits at any bit of a string.

use super::bits::take_offset;
use super::strings::present;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::server::Server;
use sutra_protocol::Reply;
use sutra_protocol::number::parse_u64;

/// BITFIELD.
pub static BITFIELD: Spec = Spec {
    name: "bitfield",
    arity: -2,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::FIRST,
    group: "bitmap",
    since: "3.2.0",
    complexity: "O(1) for each subcommand specified",
    summary: "Performs arbitrary bitfield integer operations on strings.",
    syntax: "key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | INCRBY encoding offset increment> ...]",
    subcommands: &[],
    run: bitfield,
};

/// BITFIELD_RO.
pub static BITFIELD_RO: Spec = Spec {
    name: "bitfield_ro",
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "bitmap",
    since: "6.0.0",
    complexity: "O(1) for each subcommand specified",
    summary: "Performs arbitrary read-only bitfield integer operations on strings.",
    syntax: "key [GET encoding offset [GET encoding offset ...]]",
    subcommands: &[],
    run: bitfield_ro,
};

/// A field's type: `u1` to `u63`, `i1` to `i64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FieldType {
    signed: bool,
    bits: u32,
}

/// What becomes of a number that its field cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    /// Its low bits are stored.
    Wrap,
    /// The nearest number that fits is stored.
    Saturate,
    /// Nothing is stored, and the reply is nil.
    Fail,
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

#[derive(Debug, Clone, Copy)]
struct Operation {
    field: FieldType,
    offset: u64,
    action: Action,
}

impl Operation {
    fn bytes(&self) -> std::ops::Range<usize> {
        let index = |bit: u64| usize::try_from(bit / 8).unwrap_or(usize::MAX);
        index(self.offset)..index(self.offset + u64::from(self.field.bits) - 1) + 1
    }

    fn writes(&self) -> bool {
        !matches!(self.action, Action::Get)
    }
}

fn bitfield<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let key = args.take()?;
    let operations = operations(&mut args, cx.server)?;
    let Some(span) = written(&operations) else { return read_only(cx, key, &operations) };
    let db = cx.session.db;
    // All writes go to a copy of the bytes they reach, which is stored at once: either every operation or none takes effect.
    let value = present(cx.txn, db, key)?.map_or(&[][..], |(value, _)| value.as_slice());
    let mut window = Window { bytes: Vec::new(), start: span.start, value };
    window.bytes.extend_from_slice(value.get(span.start..span.end.min(value.len())).unwrap_or(&[]));
    window.bytes.resize(span.len(), 0);
    let replies = operations.iter().map(|operation| window.apply(operation)).collect();
    let unchanged = value.get(span.clone()) == Some(&window.bytes[..]);
    let bytes = window.bytes;
    if !unchanged {
        cx.txn.write_range(db, key, span.start, &bytes)?;
    }
    Ok(Reply::Array(replies))
}

fn bitfield_ro<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let key = args.take()?;
    let operations = operations(&mut args, cx.server)?;
    if operations.iter().any(Operation::writes) {
        return Err(CommandError::text("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    read_only(cx, key, &operations)
}

fn read_only(cx: &Context<'_, '_>, key: &[u8], operations: &[Operation]) -> Result<Reply<'static>, CommandError> {
    let value = cx.txn.string(cx.session.db, key)?.map_or(&[][..], |value| value.as_slice());
    let mut window = Window { bytes: Vec::new(), start: 0, value };
    Ok(Reply::Array(operations.iter().map(|operation| window.apply(operation)).collect()))
}

/// The bytes that the writing operations reach; `None` if none writes.
fn written(operations: &[Operation]) -> Option<std::ops::Range<usize>> {
    operations
        .iter()
        .filter(|operation| operation.writes())
        .map(Operation::bytes)
        .reduce(|all, bytes| all.start.min(bytes.start)..all.end.max(bytes.end))
}

fn operations(args: &mut Args<'_>, server: &Server) -> Result<Vec<Operation>, CommandError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    while args.remaining() > 0 {
        let more = args.remaining() - 1;
        if more >= 1 && args.take_word("OVERFLOW") {
            overflow = take_overflow(args)?;
            continue;
        }
        let get = more >= 2 && args.take_word("GET");
        let set = !get && more >= 3 && args.take_word("SET");
        let add = !get && !set && more >= 3 && args.take_word("INCRBY");
        if !get && !set && !add {
            return Err(CommandError::Syntax);
        }
        let field = take_type(args)?;
        let offset = take_offset(args, Some(field.bits), server)?;
        let action = if get {
            Action::Get
        } else if set {
            Action::Set(args.take_i64()?, overflow)
        } else {
            Action::Add(args.take_i64()?, overflow)
        };
        operations.push(Operation { field, offset, action });
    }
    Ok(operations)
}

fn take_overflow(args: &mut Args<'_>) -> Result<Overflow, CommandError> {
    if args.take_word("WRAP") {
        Ok(Overflow::Wrap)
    } else if args.take_word("SAT") {
        Ok(Overflow::Saturate)
    } else if args.take_word("FAIL") {
        Ok(Overflow::Fail)
    } else {
        Err(CommandError::text("ERR Invalid OVERFLOW type specified"))
    }
}

fn take_type(args: &mut Args<'_>) -> Result<FieldType, CommandError> {
    let (signed, digits) = match args.take()? {
        [b'i', digits @ ..] => (true, digits),
        [b'u', digits @ ..] => (false, digits),
        _ => (false, &b""[..]),
    };
    let bits = parse_u64(digits).and_then(|bits| u32::try_from(bits).ok());
    match bits {
        Some(bits) if (1..=if signed { 64 } else { 63 }).contains(&bits) => Ok(FieldType { signed, bits }),
        Some(_) | None => Err(CommandError::text(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        )),
    }
}

impl FieldType {
    /// The number that these low bits mean.
    fn number(self, bits: u64) -> i128 {
        let unused = 64 - self.bits;
        if self.signed {
            i128::from((bits << unused).cast_signed() >> unused)
        } else {
            i128::from(bits << unused >> unused)
        }
    }

    /// The nearest number the field can hold, if it cannot hold this one.
    fn nearest(self, number: i128) -> Option<i128> {
        let max = (1_i128 << (self.bits - u32::from(self.signed))) - 1;
        let min = if self.signed { -max - 1 } else { 0 };
        (number < min || number > max).then_some(number.clamp(min, max))
    }

    /// The number to store, `None` if it does not fit and nothing is to be stored.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        match (self.nearest(number), overflow) {
            (None, _) => Some(number),
            (Some(_), Overflow::Wrap) => Some(self.number(low_bits(number))),
            (Some(nearest), Overflow::Saturate) => Some(nearest),
            (Some(_), Overflow::Fail) => None,
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the low bits are what is wanted")]
fn low_bits(number: i128) -> u64 {
    number as u64
}

/// A string with a copy of those of its bytes that are to change, zeros behind its end.
struct Window<'t> {
    bytes: Vec<u8>,
    start: usize,
    value: &'t [u8],
}

impl Window<'_> {
    fn apply(&mut self, operation: &Operation) -> Reply<'static> {
        let field = operation.field;
        let before = field.number(self.load(operation));
        let (wanted, overflow) = match operation.action {
            Action::Get => return reply(before),
            // An unsigned field takes the two's complement of a negative number for a large one, as Redis does.
            Action::Set(number, overflow) if field.signed => (i128::from(number), overflow),
            Action::Set(number, overflow) => (i128::from(number.cast_unsigned()), overflow),
            Action::Add(number, overflow) => (before + i128::from(number), overflow),
        };
        let Some(after) = field.fit(wanted, overflow) else { return Reply::Null };
        self.store(operation, low_bits(after));
        reply(if matches!(operation.action, Action::Set(..)) { before } else { after })
    }

    fn byte(&self, index: usize) -> u8 {
        let written = index.checked_sub(self.start).and_then(|at| self.bytes.get(at));
        written.or_else(|| self.value.get(index)).copied().unwrap_or(0)
    }

    /// The bytes of a field (9 at most), as one number, and how many bits of them are behind the field.
    fn around(&self, operation: &Operation) -> (u128, u32) {
        let number = operation.bytes().fold(0, |number, index| number << 8 | u128::from(self.byte(index)));
        let end = operation.offset + u64::from(operation.field.bits);
        (number, (8 - (end % 8) as u32) % 8)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the mask leaves at most 64 bits")]
    fn load(&self, operation: &Operation) -> u64 {
        let (number, behind) = self.around(operation);
        (number >> behind & mask(operation.field.bits)) as u64
    }

    fn store(&mut self, operation: &Operation, bits: u64) {
        let (number, behind) = self.around(operation);
        let mask = mask(operation.field.bits) << behind;
        let number = number & !mask | u128::from(bits) << behind & mask;
        let range = operation.bytes();
        let bytes = &number.to_be_bytes()[16 - range.len()..];
        self.bytes[range.start - self.start..range.end - self.start].copy_from_slice(bytes);
    }
}

fn mask(bits: u32) -> u128 {
    (1 << bits) - 1
}

fn reply(number: i128) -> Reply<'static> {
    Reply::Integer(i64::try_from(number).expect("a field holds 64 bits if signed, else 63"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(signed: bool, bits: u32) -> FieldType {
        FieldType { signed, bits }
    }

    #[test]
    fn what_is_stored_at_any_bit_is_loaded_again_and_leaves_its_neighbours() {
        for bits in 1..=64 {
            for offset in 0..20 {
                let operation = Operation { field: field(true, bits), offset, action: Action::Get };
                for filler in [0x00, 0xFF] {
                    let mut window = Window { bytes: vec![filler; 12], start: 0, value: &[] };
                    let pattern = 0xA5C3_96F0_1234_5678 & u64::MAX >> (64 - bits);
                    window.store(&operation, pattern);
                    assert_eq!(window.load(&operation), pattern, "{bits} bits at {offset}");
                    window.store(&operation, if filler == 0 { 0 } else { u64::MAX });
                    assert_eq!(window.bytes, [filler; 12], "{bits} bits at {offset}");
                }
            }
        }
    }

    #[test]
    fn numbers_that_do_not_fit_wrap_saturate_or_fail() {
        let i8 = field(true, 8);
        assert_eq!(i8.fit(128, Overflow::Wrap), Some(-128));
        assert_eq!(i8.fit(-129, Overflow::Wrap), Some(127));
        assert_eq!(i8.fit(1000, Overflow::Saturate), Some(127));
        assert_eq!(i8.fit(-1000, Overflow::Saturate), Some(-128));
        assert_eq!(i8.fit(128, Overflow::Fail), None);
        assert_eq!(i8.fit(-128, Overflow::Fail), Some(-128));
        let u4 = field(false, 4);
        assert_eq!(u4.fit(16, Overflow::Wrap), Some(0));
        assert_eq!(u4.fit(-1, Overflow::Wrap), Some(15));
        assert_eq!(u4.fit(-1, Overflow::Saturate), Some(0));
        assert_eq!(field(true, 64).fit(i128::from(i64::MAX) + 1, Overflow::Wrap), Some(i128::from(i64::MIN)));
    }
}
