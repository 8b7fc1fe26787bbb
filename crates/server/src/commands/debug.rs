//! DEBUG, its harmless part: what clients' test suites use. Whoever may use it can still hold up a thread, so by default only clients
//! of this machine may.

use super::object::string_encoding;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::glob::matches;
use std::sync::atomic::Ordering;
use std::time::Duration;
use sutra_protocol::Reply;
use sutra_protocol::number::parse_f64;
use sutra_shard::Value;

/// DEBUG.
pub static SPEC: Spec = Spec {
    name: "debug",
    arity: -2,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING),
    keys: Keys::Custom(keys),
    group: "server",
    since: "1.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for debugging commands.",
    syntax: "subcommand [argument [argument ...]]",
    subcommands: &[],
    run,
};

/// The longest sleep, in seconds: what a test may want, not what stops a server for good.
const SLEEP_SECONDS_MAX: f64 = 3600.0;

fn keys(args: &[&[u8]]) -> Option<Vec<usize>> {
    let is_object = args.len() == 3 && args[1].eq_ignore_ascii_case(b"object");
    is_object.then(|| vec![2])
}

fn run<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let allowed = match cx.server.settings.debug_command.load(Ordering::Relaxed) {
        0 => false,
        1 => true,
        _ => cx.session.client.address.ip().is_loopback(),
    };
    if !allowed {
        return Err(CommandError::text(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local \
             connection, otherwise you need to set this option in the configuration file, and then restart the server.",
        ));
    }
    let word = args.take()?;
    match (word.to_ascii_lowercase().as_slice(), args.rest()) {
        (b"help", []) => Ok(help()),
        (b"sleep", [seconds]) => {
            let seconds = parse_f64(seconds).unwrap_or(0.0).clamp(0.0, SLEEP_SECONDS_MAX);
            sleep(Duration::from_secs_f64(seconds));
            Ok(Reply::Ok)
        }
        (b"set-active-expire", [active]) => {
            cx.server.shard.set_active_expiry(*active != b"0");
            Ok(Reply::Ok)
        }
        // Names our own map of the shard, as the tools of that name do of other heaps.
        (b"jmap", []) => Ok(Reply::text(map(cx))),
        (b"object", [key]) => object(key, cx),
        (b"stringmatch-len", [pattern, text]) => Ok(Reply::Integer(i64::from(matches(pattern, text)))),
        (b"error", [text]) => Ok(Reply::Error(String::from_utf8_lossy(text))),
        (b"protocol", [kind]) => protocol(kind),
        _ => Err(CommandError::text(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try DEBUG HELP.",
            String::from_utf8_lossy(word)
        ))),
    }
}

/// Holds up this thread and all its clients, which is the point.
fn sleep(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "the command's meaning is to sleep")]
    std::thread::sleep(duration);
}

fn object<'t>(key: &[u8], cx: &'t Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let entry = cx.txn.peek(cx.session.db, key).ok_or(CommandError::NoSuchKey)?;
    let (encoding, length) = match entry.value {
        Value::String(value) => (string_encoding(value.as_slice()), value.as_slice().len() as u64),
        Value::Hash(hash) => (hash.encoding_name(), entry.memory_bytes),
    };
    let idle_s = entry.idle_ms / 1000;
    Ok(Reply::simple(format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{length} lru:0 lru_seconds_idle:{idle_s} \
         frequency:{} memory_bytes:{}",
        entry.frequency, entry.memory_bytes
    )))
}

fn map(cx: &Context<'_, '_>) -> String {
    let shard = &cx.server.shard;
    format!("entries: {}\n{:#?}\n{:#?}\n", shard.entries(), shard.memory(), shard.persistence())
}

/// A reply of the named kind, for tests of clients; the values are Redis's.
fn protocol(kind: &[u8]) -> Result<Reply<'static>, CommandError> {
    let numbers = || (0..3).map(Reply::Integer);
    Ok(match kind.to_ascii_lowercase().as_slice() {
        b"string" => Reply::Bulk(b"Hello World"),
        b"integer" => Reply::Integer(12345),
        // Redis's value: pi, cut off.
        b"double" => Reply::Double(f64::from(3141) / 1000.0),
        b"null" => Reply::Null,
        b"array" => Reply::Array(numbers().collect()),
        b"set" => Reply::Set(numbers().collect()),
        b"map" => Reply::Map((0..3).map(|number| (Reply::Integer(number), Reply::Boolean(number == 1))).collect()),
        b"attrib" => Reply::Attribute {
            attributes: vec![(
                Reply::Bulk(b"key-popularity"),
                Reply::Array(vec![Reply::Bulk(b"key:123"), Reply::Integer(90)]),
            )],
            reply: Box::new(Reply::Bulk(b"Some real reply following the attribute")),
        },
        b"bignum" => Reply::BigNumber("1234567999999999999999999999999999999".into()),
        b"true" => Reply::Boolean(true),
        b"false" => Reply::Boolean(false),
        b"verbatim" => Reply::text("This is a verbatim\nstring"),
        _ => {
            return Err(CommandError::text(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    })
}

fn help() -> Reply<'static> {
    super::help(
        "DEBUG",
        &[
            "ERROR <string>",
            "    Return a Redis protocol error with <string> as message. Useful for clients",
            "    unit tests to simulate Redis errors.",
            "JMAP",
            "    Show entries, memory and log of the shard.",
            "OBJECT <key>",
            "    Show low level info about `key` and associated value.",
            "PROTOCOL <type>",
            "    Reply with a test value of the specified type. <type> can be: string,",
            "    integer, double, bignum, null, array, set, map, attrib, verbatim,",
            "    true, false.",
            "SET-ACTIVE-EXPIRE <0|1>",
            "    Setting it to 0 disables expiring keys in background when they are not",
            "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
            "    default.",
            "SLEEP <seconds>",
            "    Stop the server for <seconds>. Decimals allowed.",
            "STRINGMATCH-LEN <pattern> <string>",
            "    Whether the glob-like pattern covers the string.",
        ],
    )
}
