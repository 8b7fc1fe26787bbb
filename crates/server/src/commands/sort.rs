//! SORT and SORT_RO.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;
use sutra_shard::Value;

/// SORT.
pub(super) static SORT: Spec = Spec {
    name: "sort",
    arity: -2,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLE_KEYS),
    keys: Keys::Custom(sort_keys),
    group: "generic",
    since: "1.0.0",
    complexity: "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned \
                 elements. When the elements are not sorted, complexity is O(N).",
    summary: "Sorts the elements in a list, a set, or a sorted set, optionally storing the result.",
    syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] [STORE destination]",
    subcommands: &[],
    run: |args, cx| sort(args, cx, true),
};

/// SORT_RO.
pub(super) static SORT_RO: Spec = Spec {
    name: "sort_ro",
    arity: -2,
    flags: Flags::READONLY.and(Flags::MOVABLE_KEYS),
    keys: Keys::FIRST,
    group: "generic",
    since: "7.0.0",
    complexity: "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned \
                 elements. When the elements are not sorted, complexity is O(N).",
    summary: "Returns the sorted elements of a list, a set, or a sorted set.",
    syntax: "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
    subcommands: &[],
    run: |args, cx| sort(args, cx, false),
};

fn sort<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>, may_store: bool) -> Result<Reply<'t>, CommandError> {
    let (db, key) = (cx.db(), args.take()?);
    let options = options(&mut args, may_store)?;
    let entry = cx.txn.get(db, key);
    entry.map_or(Ok(()), |entry| elements(entry.value))?;
    // Nothing to sort: an empty result, which as a stored one is no entry.
    Ok(match options.store {
        None => Reply::Array(Vec::new()),
        Some(destination) => {
            cx.txn.delete(db, destination);
            Reply::Integer(0)
        }
    })
}

/// The elements of a value that can be sorted. Neither strings nor hashes can; lists and sets will return theirs from here, and
/// [`Options`] is then read whole.
fn elements(value: Value<'_>) -> Result<(), CommandError> {
    match value {
        Value::String(_) | Value::Hash(_) => Err(CommandError::WrongType),
    }
}

#[derive(Debug, Default)]
struct Options<'t> {
    store: Option<&'t [u8]>,
}

/// Reads the options in any order. Only STORE matters while nothing can be sorted; of the others the form is checked.
fn options<'t>(args: &mut Args<'t>, may_store: bool) -> Result<Options<'t>, CommandError> {
    let mut options = Options::default();
    while args.peek().is_some() {
        let followed_by = args.remaining() - 1;
        if args.take_word("ASC") || args.take_word("DESC") || args.take_word("ALPHA") {
        } else if followed_by >= 2 && args.take_word("LIMIT") {
            args.take_i64()?;
            args.take_i64()?;
        } else if followed_by >= 1 && may_store && args.take_word("STORE") {
            options.store = Some(args.take()?);
        } else if followed_by >= 1 && (args.take_word("BY") || args.take_word("GET")) {
            args.take()?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(options)
}

/// The key to sort and, of the last STORE, the destination.
fn sort_keys(args: &[&[u8]]) -> Option<Vec<usize>> {
    args.get(1)?;
    let mut keys = vec![1];
    let mut destination = None;
    let mut at = 2;
    while let Some(word) = args.get(at) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("STORE") && at + 1 < args.len() {
            destination = Some(at + 1);
        }
        at += match () {
            () if is("LIMIT") => 3,
            () if is("BY") || is("GET") || is("STORE") => 2,
            () => 1,
        };
    }
    keys.extend(destination);
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(line: &str) -> Option<Vec<usize>> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        sort_keys(&args)
    }

    #[test]
    fn the_destination_is_a_key_and_words_behind_other_options_are_not() {
        assert_eq!(keys("SORT k"), Some(vec![1]));
        assert_eq!(keys("SORT k BY store GET store LIMIT 0 store STORE d"), Some(vec![1, 10]));
        assert_eq!(keys("SORT k STORE a store b ALPHA"), Some(vec![1, 5]));
        assert_eq!(keys("SORT k STORE"), Some(vec![1]));
        assert_eq!(keys("SORT"), None);
    }
}
