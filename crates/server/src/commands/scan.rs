//! KEYS, SCAN, RANDOMKEY, DBSIZE: looking over the whole keyspace.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::{glob, random};
use sutra_protocol::Reply;
use sutra_protocol::number::parse_u64;

/// KEYS.
pub static KEYS: Spec = Spec {
    name: "keys",
    arity: 2,
    flags: Flags::READONLY.and(Flags::ALL_KEYS),
    keys: Keys::None,
    group: "generic",
    since: "1.0.0",
    complexity: "O(N) with N being the number of keys in the database.",
    summary: "Returns all key names that match a pattern.",
    syntax: "pattern",
    subcommands: &[],
    run: keys,
};

/// SCAN.
pub static SCAN: Spec = Spec {
    name: "scan",
    arity: -2,
    flags: Flags::READONLY.and(Flags::ALL_KEYS),
    keys: Keys::None,
    group: "generic",
    since: "2.8.0",
    complexity: "O(1) for every call. O(N) for a complete iteration, N being the number of keys in the database.",
    summary: "Iterates over the key names in the database.",
    syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
    subcommands: &[],
    run: scan,
};

/// RANDOMKEY.
pub static RANDOMKEY: Spec = Spec {
    name: "randomkey",
    arity: 1,
    flags: Flags::READONLY.and(Flags::ALL_KEYS),
    keys: Keys::None,
    group: "generic",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns a random key name from the database.",
    syntax: "",
    subcommands: &[],
    run: randomkey,
};

/// DBSIZE.
pub static DBSIZE: Spec = Spec {
    name: "dbsize",
    arity: 1,
    flags: Flags::READONLY.and(Flags::FAST).and(Flags::ALL_KEYS),
    keys: Keys::None,
    group: "server",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns the number of keys in the database.",
    syntax: "",
    subcommands: &[],
    run: dbsize,
};

/// Entries that SCAN looks at if not told otherwise.
const SCAN_COUNT: usize = 10;
/// Entries that one SCAN looks at whatever it is told, since it holds the locks of all of them: some milliseconds' worth.
const SCAN_COUNT_MAX: usize = 1 << 20;
/// Entries that KEYS asks for at a time.
const KEYS_COUNT: usize = 1024;

fn keys<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let pattern = args.take()?;
    let mut found = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = cx.txn.scan(cx.session.db, cursor, KEYS_COUNT, &mut |key, _| {
            if glob::matches(pattern, key) {
                found.push(Reply::BulkOwned(key.to_vec()));
            }
        });
        if cursor == 0 {
            return Ok(Reply::Array(found));
        }
    }
}

fn scan<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let cursor = cursor(args.take()?)?;
    let (mut count, mut pattern, mut kind) = (SCAN_COUNT, None, None);
    while args.remaining() > 0 {
        if args.remaining() > 1 && args.take_word("COUNT") {
            count = match args.take_i64()? {
                ..=0 => return Err(CommandError::Syntax),
                count => usize::try_from(count).map_or(SCAN_COUNT_MAX, |count| count.min(SCAN_COUNT_MAX)),
            };
        } else if args.remaining() > 1 && args.take_word("MATCH") {
            pattern = Some(args.take()?);
        } else if args.remaining() > 1 && args.take_word("TYPE") {
            // A type that nothing can have is no mistake in Redis 7: nothing is found.
            kind = Some(args.take()?);
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let mut found = Vec::new();
    let next = cx.txn.scan(cx.session.db, cursor, count, &mut |key, of_kind| {
        if kind.is_none_or(|kind| kind.eq_ignore_ascii_case(of_kind.name().as_bytes()))
            && pattern.is_none_or(|pattern| glob::matches(pattern, key))
        {
            found.push(Reply::BulkOwned(key.to_vec()));
        }
    });
    let next = Reply::BulkOwned(itoa::Buffer::new().format(next).as_bytes().to_vec());
    Ok(Reply::Array(vec![next, Reply::Array(found)]))
}

/// The cursor of SCAN, HSCAN and their like: an unsigned 64-bit number.
pub(super) fn cursor(text: &[u8]) -> Result<u64, CommandError> {
    parse_u64(text).ok_or_else(|| CommandError::text("ERR invalid cursor"))
}

fn randomkey<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(cx.txn.random_key(cx.session.db, random::number()).map_or(Reply::Null, Reply::BulkOwned))
}

fn dbsize<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::Integer(i64::try_from(cx.txn.database_len(cx.session.db)).unwrap_or(i64::MAX)))
}
