//! LCS: the longest common subsequence of two strings, by the textbook table of all prefixes.

use super::strings::{integer, string_bytes_max};
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;
use sutra_shard::{StringRef, WriteError};

/// LCS.
pub static SPEC: Spec = Spec {
    name: "lcs",
    arity: -3,
    flags: Flags::READONLY,
    keys: Keys::Range { first: 1, last: 2, step: 1 },
    group: "string",
    since: "7.0.0",
    complexity: "O(N*M) where N and M are the lengths of the two strings.",
    summary: "Finds the longest common substring.",
    syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
    subcommands: &[],
    run,
};

fn run<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (first, second) = (args.take()?, args.take()?);
    let db = cx.session.db;
    let a = text(cx.txn.string(db, first))?;
    let b = text(cx.txn.string(db, second))?;
    let (mut length_only, mut indexes, mut with_lengths, mut length_min) = (false, false, false, 0);
    while args.remaining() > 0 {
        if args.take_word("IDX") {
            indexes = true;
        } else if args.take_word("LEN") {
            length_only = true;
        } else if args.take_word("WITHMATCHLEN") {
            with_lengths = true;
        } else if args.remaining() > 1 && args.take_word("MINMATCHLEN") {
            length_min = usize::try_from(args.take_i64()?.max(0)).unwrap_or(usize::MAX);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if indexes && length_only {
        return Err(CommandError::text("ERR If you want both the length and indexes, please just use IDX."));
    }
    let table = Table::new(a, b, string_bytes_max(cx.server))?;
    let length = integer(table.length());
    if length_only {
        return Ok(length);
    }
    let matches = table.matches();
    if !indexes {
        let common = matches.iter().rev().flat_map(|m| &a[m.in_a..m.in_a + m.bytes]).copied().collect();
        return Ok(Reply::BulkOwned(common));
    }
    let shown = matches.iter().filter(|m| m.bytes >= length_min).map(|m| m.reply(with_lengths)).collect();
    Ok(Reply::Map(vec![(Reply::Bulk(b"matches"), Reply::Array(shown)), (Reply::Bulk(b"len"), length)]))
}

/// A missing key counts as the empty string; another type has an error text of its own here.
fn text(found: Result<Option<StringRef<'_>>, WriteError>) -> Result<&[u8], CommandError> {
    match found {
        Ok(value) => Ok(value.map_or(&[][..], |value| value.as_slice())),
        Err(_) => Err(CommandError::text("ERR The specified keys must contain string values")),
    }
}

/// A run of common bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Match {
    in_a: usize,
    in_b: usize,
    bytes: usize,
}

impl Match {
    fn reply(self, with_length: bool) -> Reply<'static> {
        let span = |start: usize| Reply::Array(vec![integer(start), integer(start + self.bytes - 1)]);
        let mut reply = vec![span(self.in_a), span(self.in_b)];
        if with_length {
            reply.push(integer(self.bytes));
        }
        Reply::Array(reply)
    }
}

/// The lengths of the longest common subsequences of all prefixes of two strings, a row for each prefix of `a`.
struct Table<'t> {
    a: &'t [u8],
    b: &'t [u8],
    lengths: Vec<u32>,
}

impl<'t> Table<'t> {
    /// `bytes_max` bounds the table, and so the time it takes.
    fn new(a: &'t [u8], b: &'t [u8], bytes_max: usize) -> Result<Table<'t>, CommandError> {
        let width = b.len() + 1;
        let cells = (a.len() + 1).checked_mul(width).filter(|cells| *cells <= bytes_max / size_of::<u32>());
        let cells = cells.ok_or_else(|| {
            CommandError::text("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
        })?;
        let mut lengths = vec![0; cells];
        for (row, byte) in a.iter().enumerate() {
            let (above, below) = lengths[row * width..(row + 2) * width].split_at_mut(width);
            for (column, other) in b.iter().enumerate() {
                below[column + 1] =
                    if byte == other { above[column] + 1 } else { above[column + 1].max(below[column]) };
            }
        }
        Ok(Table { a, b, lengths })
    }

    fn at(&self, in_a: usize, in_b: usize) -> u32 {
        self.lengths[in_a * (self.b.len() + 1) + in_b]
    }

    fn length(&self) -> usize {
        self.at(self.a.len(), self.b.len()) as usize
    }

    /// The runs of one longest common subsequence, the last first (that is how Redis lists them). Of two equally good ways
    /// back the one that shortens `b` is taken, as Redis does, so that the same subsequence is found.
    fn matches(&self) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        let (mut i, mut j) = (self.a.len(), self.b.len());
        while i > 0 && j > 0 {
            if self.a[i - 1] == self.b[j - 1] {
                i -= 1;
                j -= 1;
                match matches.last_mut() {
                    Some(run) if run.in_a == i + 1 && run.in_b == j + 1 => {
                        *run = Match { in_a: i, in_b: j, bytes: run.bytes + 1 };
                    }
                    Some(_) | None => matches.push(Match { in_a: i, in_b: j, bytes: 1 }),
                }
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_the_subsequence_are_found_from_the_end() {
        let table = Table::new(b"ohmytext", b"mynewtext", 360).unwrap();
        assert_eq!(table.length(), 6);
        assert_eq!(table.matches(), [Match { in_a: 4, in_b: 5, bytes: 4 }, Match { in_a: 2, in_b: 0, bytes: 2 }]);
    }

    #[test]
    fn strings_whose_table_would_be_too_large_are_refused() {
        assert!(Table::new(b"ohmytext", b"mynewtext", 359).is_err());
    }
}
