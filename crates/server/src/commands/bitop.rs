//! BITOP.

use super::strings::integer;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;
use sutra_shard::Put;

/// BITOP.
pub static SPEC: Spec = Spec {
    name: "bitop",
    arity: -4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::Range { first: 2, last: -1, step: 1 },
    group: "bitmap",
    since: "2.6.0",
    complexity: "O(N) where N is the sum of the lengths of the strings.",
    summary: "Performs bitwise operations on multiple strings, and stores the result.",
    syntax: "<AND | OR | XOR | NOT> destkey key [key ...]",
    subcommands: &[],
    run,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

fn run<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let operation = if args.take_word("AND") {
        Operation::And
    } else if args.take_word("OR") {
        Operation::Or
    } else if args.take_word("XOR") {
        Operation::Xor
    } else if args.take_word("NOT") {
        Operation::Not
    } else {
        return Err(CommandError::Syntax);
    };
    let destination = args.take()?;
    if operation == Operation::Not && args.remaining() != 1 {
        return Err(CommandError::text("ERR BITOP NOT must be called with a single source key."));
    }
    let db = cx.session.db;
    let mut sources: Vec<&[u8]> = Vec::with_capacity(args.remaining());
    for key in args.rest() {
        sources.push(cx.txn.string(db, key)?.map_or(&[], |value| value.as_slice()));
    }
    let result = combine(operation, &sources);
    if result.is_empty() {
        cx.txn.delete(db, destination);
    } else {
        cx.txn.put(db, destination, &result, Put::default())?;
    }
    Ok(integer(result.len()))
}

/// The strings joined bit by bit; shorter ones count as followed by zeros.
fn combine(operation: Operation, sources: &[&[u8]]) -> Vec<u8> {
    let length = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    let mut result = Vec::with_capacity(length);
    result.extend_from_slice(sources.first().copied().unwrap_or(&[]));
    result.resize(length, 0);
    if operation == Operation::Not {
        result.iter_mut().for_each(|byte| *byte = !*byte);
        return result;
    }
    for source in sources.iter().skip(1) {
        let (shared, rest) = result.split_at_mut(source.len());
        let pairs = shared.iter_mut().zip(*source);
        match operation {
            Operation::And => {
                pairs.for_each(|(byte, other)| *byte &= other);
                rest.fill(0);
            }
            Operation::Or => pairs.for_each(|(byte, other)| *byte |= other),
            Operation::Xor | Operation::Not => pairs.for_each(|(byte, other)| *byte ^= other),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_strings_count_as_followed_by_zeros() {
        let sources: &[&[u8]] = &[b"\xF0", b"\x3C\xFF"];
        assert_eq!(combine(Operation::And, sources), [0x30, 0x00]);
        assert_eq!(combine(Operation::Or, sources), [0xFC, 0xFF]);
        assert_eq!(combine(Operation::Xor, sources), [0xCC, 0xFF]);
        assert_eq!(combine(Operation::Not, &[b"\xF0\x00"]), [0x0F, 0xFF]);
        assert!(combine(Operation::Not, &[b""]).is_empty());
    }
}
