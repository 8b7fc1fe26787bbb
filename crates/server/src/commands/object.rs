//! OBJECT.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;
use sutra_protocol::number::parse_i64;
use sutra_shard::{Entry, Value};

/// OBJECT.
pub static SPEC: Spec = Spec {
    name: "object",
    arity: -2,
    flags: Flags::NONE,
    keys: Keys::None,
    group: "generic",
    since: "2.2.3",
    complexity: "Depends on subcommand.",
    summary: "A container for object introspection commands.",
    syntax: "",
    subcommands: &[ENCODING, FREQ, HELP, IDLETIME, REFCOUNT],
    run: container,
};

const ENCODING: Spec = Spec {
    name: "object|encoding",
    arity: 3,
    flags: Flags::READONLY,
    keys: SECOND,
    group: "generic",
    since: "2.2.3",
    complexity: "O(1)",
    summary: "Returns the internal encoding of an object.",
    syntax: "key",
    subcommands: &[],
    run: encoding,
};

const FREQ: Spec = Spec {
    name: "object|freq",
    arity: 3,
    flags: Flags::READONLY,
    keys: SECOND,
    group: "generic",
    since: "4.0.0",
    complexity: "O(1)",
    summary: "Returns the logarithmic access frequency counter of an object.",
    syntax: "key",
    subcommands: &[],
    run: freq,
};

const HELP: Spec = Spec {
    name: "object|help",
    arity: 2,
    flags: Flags::LOADING,
    keys: Keys::None,
    group: "generic",
    since: "6.2.0",
    complexity: "O(1)",
    summary: "Returns helpful text about the different subcommands.",
    syntax: "",
    subcommands: &[],
    run: help,
};

const IDLETIME: Spec = Spec {
    name: "object|idletime",
    arity: 3,
    flags: Flags::READONLY,
    keys: SECOND,
    group: "generic",
    since: "2.2.3",
    complexity: "O(1)",
    summary: "Returns the time since the last access to an object.",
    syntax: "key",
    subcommands: &[],
    run: idletime,
};

const REFCOUNT: Spec = Spec {
    name: "object|refcount",
    arity: 3,
    flags: Flags::READONLY,
    keys: SECOND,
    group: "generic",
    since: "2.2.3",
    complexity: "O(1)",
    summary: "Returns the reference count of a value of a key.",
    syntax: "key",
    subcommands: &[],
    run: refcount,
};

const SECOND: Keys = Keys::Range { first: 2, last: 2, step: 1 };

/// Strings up to this length are called `embstr`, as in Redis, where they share an allocation with their header.
const EMBSTR_BYTES_MAX: usize = 44;

fn container<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Err(CommandError::Arity("object".into()))
}

fn encoding<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    of_entry(args, cx, |entry| {
        Reply::Bulk(match entry.value {
            Value::String(value) => string_encoding(value.as_slice()).as_bytes(),
            Value::Hash(hash) => hash.encoding_name().as_bytes(),
        })
    })
}

/// Both counters are kept under every policy, so that FREQ and IDLETIME never have to answer that they are not.
fn freq<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    of_entry(args, cx, |entry| Reply::Integer(i64::from(entry.frequency)))
}

fn idletime<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    of_entry(args, cx, |entry| Reply::Integer(i64::try_from(entry.idle_ms / 1000).unwrap_or(i64::MAX)))
}

/// No value is shared between keys.
fn refcount<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    of_entry(args, cx, |_| Reply::Integer(1))
}

fn help<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let lines = [
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
        "HELP",
        "    Prints this help.",
    ];
    Ok(Reply::Array(lines.into_iter().map(|line| Reply::Simple(line.into())).collect()))
}

fn of_entry<'t>(
    mut args: Args<'t>,
    cx: &'t Context<'_, '_>,
    shown: impl Fn(Entry<'t>) -> Reply<'t>,
) -> Result<Reply<'t>, CommandError> {
    Ok(cx.txn.peek(cx.session.db, args.take()?).map_or(Reply::Null, shown))
}

/// Redis's name for how it would keep a string that was just set.
pub(super) fn string_encoding(value: &[u8]) -> &'static str {
    if parse_i64(value).is_some() {
        "int"
    } else if value.len() <= EMBSTR_BYTES_MAX {
        "embstr"
    } else {
        "raw"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_follows_from_the_bytes() {
        for (value, encoding) in [
            ("12345", "int"),
            ("-1", "int"),
            ("9223372036854775807", "int"),
            ("9223372036854775808", "embstr"),
            ("007", "embstr"),
            ("1.5", "embstr"),
            ("", "embstr"),
            ("01234567890123456789012345678901234567890123", "embstr"),
            ("012345678901234567890123456789012345678901234", "raw"),
        ] {
            assert_eq!(string_encoding(value.as_bytes()), encoding, "{value}");
        }
    }
}
