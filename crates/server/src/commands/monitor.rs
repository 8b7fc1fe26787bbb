//! MONITOR: every command that is executed, as it comes.

use crate::clients::Client;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;

/// MONITOR.
pub static SPEC: Spec = Spec {
    name: "monitor",
    arity: 1,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING),
    keys: Keys::None,
    group: "server",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Listens for all requests received by the server in real-time.",
    syntax: "",
    subcommands: &[],
    run,
};

fn run<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    cx.server.add_monitor(&cx.session.client);
    Ok(Reply::Ok)
}

/// `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`
pub(crate) fn line(now_us: u64, db: u8, client: &Client, args: &[&[u8]]) -> Vec<u8> {
    let (seconds, micros) = (now_us / 1_000_000, now_us % 1_000_000);
    let mut line = format!("+{seconds}.{micros:06} [{db} {}]", client.address).into_bytes();
    for arg in args {
        line.push(b' ');
        quote(arg, &mut line);
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// In double quotes, with escapes for whatever does not print, as Redis writes strings into texts.
pub(crate) fn quote(bytes: &[u8], text: &mut Vec<u8>) {
    text.push(b'"');
    for byte in bytes {
        match byte {
            b'\\' | b'"' => text.extend_from_slice(&[b'\\', *byte]),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            0x07 => text.extend_from_slice(b"\\a"),
            0x08 => text.extend_from_slice(b"\\b"),
            b' '..=b'~' => text.push(*byte),
            other => text.extend_from_slice(format!("\\x{other:02x}").as_bytes()),
        }
    }
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_print_is_escaped() {
        let mut text = Vec::new();
        quote(b"a\"\\\r\n\t\x07\x08\x00\xff ~", &mut text);
        assert_eq!(text, br#""a\"\\\r\n\t\a\b\x00\xff ~""#);
    }
}
