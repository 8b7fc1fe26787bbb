//! COMMAND and COMMAND INFO: arity, flags, key positions, categories.

use super::keys::access;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::table::{Command, table};
use sutra_protocol::Reply;

pub(super) fn all<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::Array(table().top().iter().map(describe).collect()))
}

pub(super) fn run<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    if args.remaining() == 0 {
        return all(args, cx);
    }
    let of = |name: &&[u8]| table().find_full_name(name).map_or(Reply::Null, describe);
    Ok(Reply::Array(args.rest().iter().map(of).collect()))
}

/// The ten facts of COMMAND INFO.
fn describe(command: &Command) -> Reply<'static> {
    let spec = command.spec;
    let (first, last, step) = match spec.keys {
        Keys::Range { first, last, step } => (first as i64, last as i64, step as i64),
        Keys::None | Keys::Custom(_) | Keys::Computed(_) => (0, 0, 0),
    };
    Reply::Array(vec![
        Reply::Bulk(spec.name.as_bytes()),
        Reply::Integer(spec.arity.into()),
        Reply::Set(flag_names(spec).into_iter().map(Reply::simple).collect()),
        Reply::Integer(first),
        Reply::Integer(last),
        Reply::Integer(step),
        Reply::Set(categories(spec).into_iter().map(|name| Reply::Simple(format!("@{name}").into())).collect()),
        Reply::Array(Vec::new()),
        Reply::Array(key_spec(spec).into_iter().collect()),
        Reply::Array(table().children(command).iter().map(describe).collect()),
    ])
}

/// Flags in Redis's words and order.
fn flag_names(spec: &Spec) -> Vec<&'static str> {
    let has = |flag| spec.flags.has(flag);
    let opens =
        matches!(spec.name, "auth" | "discard" | "exec" | "hello" | "multi" | "quit" | "reset" | "unwatch" | "watch");
    [
        ("write", has(Flags::WRITE)),
        ("readonly", has(Flags::READONLY)),
        ("denyoom", has(Flags::DENYOOM)),
        ("admin", has(Flags::ADMIN)),
        ("noscript", has(Flags::NOSCRIPT)),
        ("loading", has(Flags::LOADING)),
        // Redis's word for "allowed on a replica that lost its master", which holds of the same commands.
        ("stale", has(Flags::LOADING)),
        ("skip_monitor", has(Flags::SKIP_MONITOR)),
        ("skip_slowlog", has(Flags::SKIP_SLOWLOG)),
        ("fast", has(Flags::FAST)),
        ("no_auth", has(Flags::NO_AUTH)),
        ("no_multi", (has(Flags::NO_MULTI) && !opens) || has(Flags::ALONE)),
        ("movablekeys", has(Flags::MOVABLE_KEYS)),
        ("allow_busy", opens && spec.name != "exec"),
    ]
    .into_iter()
    .filter_map(|(name, set)| set.then_some(name))
    .collect()
}

/// ACL categories, in Redis's order, without the `@`.
#[must_use]
pub fn categories(spec: &Spec) -> Vec<&'static str> {
    let has = |flag| spec.flags.has(flag);
    let group = match spec.group {
        "generic" => "keyspace",
        "transactions" => "transaction",
        "sorted-set" => "sortedset",
        group => group,
    };
    let keyspace = group == "keyspace" || matches!(spec.name, "dbsize" | "flushall" | "flushdb" | "swapdb");
    let dangerous =
        has(Flags::ADMIN) || matches!(spec.name, "flushall" | "flushdb" | "keys" | "restore" | "sort" | "swapdb");
    let connection = group == "connection" || spec.name.starts_with("command");
    [
        ("keyspace", keyspace && spec.name != "wait"),
        ("read", has(Flags::READONLY)),
        ("write", has(Flags::WRITE)),
        ("set", group == "set"),
        ("sortedset", group == "sortedset"),
        ("list", group == "list"),
        ("hash", group == "hash"),
        ("string", group == "string"),
        ("bitmap", group == "bitmap"),
        ("hyperloglog", group == "hyperloglog"),
        ("geo", group == "geo"),
        ("stream", group == "stream"),
        ("pubsub", group == "pubsub"),
        ("admin", has(Flags::ADMIN)),
        ("fast", has(Flags::FAST)),
        ("slow", !has(Flags::FAST)),
        ("dangerous", dangerous),
        ("connection", connection || spec.name == "wait"),
        ("transaction", group == "transaction"),
        ("scripting", group == "scripting"),
        ("cache", group == "cache"),
    ]
    .into_iter()
    .filter_map(|(name, set)| set.then_some(name))
    .collect()
}

/// Where the keys are, in the words of Redis 7's key specifications.
fn key_spec(spec: &Spec) -> Option<Reply<'static>> {
    let map = |pairs: Vec<(&'static str, Reply<'static>)>| {
        Reply::Map(pairs.into_iter().map(|(key, value)| (Reply::Bulk(key.as_bytes()), value)).collect())
    };
    let (begin, find) = match spec.keys {
        Keys::None | Keys::Computed(_) => return None,
        Keys::Custom(_) => {
            let unknown = || map(vec![("type", Reply::Bulk(b"unknown")), ("spec", Reply::Map(Vec::new()))]);
            (unknown(), unknown())
        }
        Keys::Range { first, last, step } => {
            let first = first as i64;
            // Counted from the first key here, unless it is counted from the end.
            let last = if last < 0 { last as i64 } else { last as i64 - first };
            let begin =
                map(vec![("type", Reply::Bulk(b"index")), ("spec", map(vec![("index", Reply::Integer(first))]))]);
            let range = map(vec![
                ("lastkey", Reply::Integer(last)),
                ("keystep", Reply::Integer(step as i64)),
                ("limit", Reply::Integer(0)),
            ]);
            (begin, map(vec![("type", Reply::Bulk(b"range")), ("spec", range)]))
        }
    };
    let flags = Reply::Set(access(spec).iter().map(|flag| Reply::simple(*flag)).collect());
    Some(map(vec![("flags", flags), ("begin_search", begin), ("find_keys", find)]))
}
