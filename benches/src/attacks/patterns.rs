//! The patterns. None of them stores more than a few keys of its own, so whatever else goes missing was taken from others.

use super::attack::{Attack, Ends, Reads};
use super::{BIG_KEY, HASH_KEY};
use crate::random::{Random, key};
use sutra_protocol::encode_request;

/// Every pattern, grouped by what it abuses.
pub(super) fn all() -> Vec<Attack> {
    let groups =
        [declarations(), malformed(), lines(), halves(), silent(), slow_readers(), cheap_floods(), dear_commands()];
    groups.into_iter().flatten().collect()
}

fn request(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_request(arguments, &mut bytes);
    bytes
}

/// `SET k` with a declared length and nothing behind it.
fn declares(length: &str) -> Vec<u8> {
    format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${length}\r\n").into_bytes()
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    crate::random::fill(99, &mut noise);
    noise
}

/// A command with `count` keys that exist.
fn of_keys(command: &[u8], count: u64, last: &[&[u8]]) -> Vec<u8> {
    let names: Vec<_> = (0..count).map(key).collect();
    let mut arguments = vec![command];
    arguments.extend(names.iter().map(|name| name.as_slice()));
    arguments.extend(last);
    request(&arguments)
}

/// Lengths that are declared and never arrive.
fn declarations() -> Vec<Attack> {
    let mut started = declares("536870912");
    started.extend(noise(1 << 20));
    vec![
        Attack::says("declares a value of 512 MB", 1, declares("536870912")),
        Attack::says("declares a value of 512 MB, 1000 times", 1000, declares("536870912")),
        Attack::says("declares 512 MB, sends 1 MiB, 16 times", 16, started),
        Attack::floods("declares a value one byte too long", 20, declares("536870913")),
        Attack::floods("declares a value of 2^63 - 1 bytes", 20, declares("9223372036854775807")),
        Attack::floods("declares a value of 10^30 bytes", 20, declares("1000000000000000000000000000000")),
        Attack::floods("declares a negative value", 20, declares("-5")),
        Attack::floods("declares a null argument", 20, declares("-1")),
        Attack::says("declares 1,048,576 arguments", 200, "*1048576\r\n"),
        Attack::floods("declares 2^31 - 1 arguments", 20, "*2147483647\r\n"),
        Attack::floods("declares 10^20 arguments", 20, "*99999999999999999999\r\n"),
        Attack::floods("declares -2^31 arguments", 20, "*-2147483648\r\n"),
        Attack::says("a million empty arguments", 4, "*1000000\r\n").then_floods("$0\r\n\r\n".repeat(1000)),
        Attack::says("a million arguments, a byte at a time", 50, "*1000000\r\n")
            .then_floods("$0\r\n\r\n")
            .in_pieces_of(1),
    ]
}

/// What is no RESP.
fn malformed() -> Vec<Attack> {
    let hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &noise(506)].concat();
    vec![
        Attack::floods("random bytes", 20, noise(65_536)),
        Attack::floods("zero bytes", 20, vec![0; 65_536]),
        Attack::floods("a TLS handshake", 20, hello),
        Attack::floods("HTTP GET", 20, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        Attack::floods("HTTP POST that carries a command", 20, "POST / HTTP/1.1\r\nHost: a\r\n\r\nFLUSHALL\r\n"),
        Attack::floods("an argument without its type", 20, "*1\r\nPING\r\n"),
        Attack::floods("a count that is no number", 20, "*a\r\n"),
        Attack::floods("a length that is no number", 20, "*1\r\n$x\r\nPING\r\n"),
        Attack::floods("a value longer than declared", 20, "*2\r\n$4\r\nECHO\r\n$2\r\nabcdef\r\n"),
        Attack::floods("a value without its line end", 20, "*1\r\n$4\r\nPINGxx"),
        Attack::floods("line feeds alone", 20, "*1\n$4\nPING\n"),
        Attack::floods("arrays nested without end", 20, "*1\r\n".repeat(10_000)),
        Attack::floods(
            "RESP3 maps, sets, attributes as requests",
            20,
            "%1\r\n+a\r\n+b\r\n~1\r\n+a\r\n|1\r\n+a\r\n+b\r\n>1\r\n+a\r\n",
        ),
        Attack::floods("unbalanced quotes", 20, "SET \"a 'b\r\n"),
        Attack::floods("empty arrays", 20, "*0\r\n".repeat(4000)),
        Attack::floods("null arrays", 20, "*-1\r\n".repeat(4000)),
        Attack::floods("empty lines", 20, "\r\n".repeat(16_000)),
    ]
}

/// Lines without an end.
fn lines() -> Vec<Attack> {
    vec![
        Attack::floods("an inline command without end", 8, "a".repeat(65_536)),
        Attack::says("a count without end", 8, "*").then_floods("1".repeat(65_536)),
        Attack::says("a length without end", 8, "*1\r\n$").then_floods("0".repeat(65_536)),
        Attack::floods("an inline command of 30,000 words", 8, format!("PING {}\r\n", "a ".repeat(30_000))),
        Attack::floods("an inline command of 64 KiB escapes", 8, format!("ECHO \"{}\"\r\n", "\\x00".repeat(16_000))),
    ]
}

/// Requests that stop in the middle.
fn halves() -> Vec<Attack> {
    let mut half_value = declares("1048576");
    half_value.extend(noise(524_288));
    let get = request(&[b"GET", &key(1)]);
    vec![
        Attack::says("half a request, 1000 connections", 1000, "*2\r\n$3\r\nGET\r\n$16\r\nkey:"),
        Attack::says("half of a value of 1 MiB, 40 connections", 40, half_value),
        Attack::floods("a byte at a time, 200 connections", 200, get.clone()).in_pieces_of(1),
        Attack::floods("seven bytes at a time, 200 connections", 200, get.clone()).in_pieces_of(7),
        Attack::says("asks and closes its side", 50, get.clone()).ending(Ends::HalfCloses),
        Attack::says("asks and is gone before the answer", 50, get.repeat(100)).ending(Ends::Closes),
        Attack::says("half a request, and gone", 50, "*2\r\n$3\r\nGE").ending(Ends::Closes),
    ]
}

/// Connections that cost by being there.
fn silent() -> Vec<Attack> {
    vec![
        Attack::says("3000 connections that say nothing", 3000, ""),
        Attack::says("connects and closes", 100, "").ending(Ends::Closes),
        Attack::says("connects, asks, closes", 100, "PING\r\n").ending(Ends::Closes),
        Attack::says("1000 open transactions", 1000, "MULTI\r\nPING\r\n"),
        Attack::says("1000 connections that watch 100 keys", 1000, of_keys(b"WATCH", 100, &[])),
    ]
}

/// Answers that nobody takes.
fn slow_readers() -> Vec<Attack> {
    let big = request(&[b"GET", BIG_KEY]);
    let small = request(&[b"GET", &key(2)]).repeat(64);
    let echo = request(&[b"ECHO", &noise(262_144)]);
    vec![
        Attack::floods("GETs of 1 MiB, never read", 10, big.repeat(64)).reading(Reads::Nothing),
        Attack::floods("GETs of 1 MiB, read 1 KiB at a time", 10, big.repeat(64)).reading(Reads::Slowly(1024)),
        Attack::floods("GETs of 3 KiB, never read, 100 connections", 100, small).reading(Reads::Nothing),
        Attack::floods("PINGs, never read", 50, "PING\r\n".repeat(1000)).reading(Reads::Nothing),
        Attack::floods("ECHOs of 256 KiB, never read", 10, echo).reading(Reads::Nothing),
        Attack::floods("KEYS *, never read", 4, request(&[b"KEYS", b"*"])).reading(Reads::Nothing),
        Attack::floods("MGET of 1000 keys, never read", 8, of_keys(b"MGET", 1000, &[])).reading(Reads::Nothing),
        Attack::says("MONITOR, never read", 20, "MONITOR\r\n").reading(Reads::Nothing),
        Attack::floods("COMMAND, never read", 8, "COMMAND\r\n".repeat(64)).reading(Reads::Nothing),
    ]
}

/// Many commands that fail or do little.
fn cheap_floods() -> Vec<Attack> {
    let mut random = Random::new(5);
    let mut guesses = Vec::new();
    for _ in 0..200 {
        guesses.extend(request(&[b"AUTH", format!("{:x}", random.next()).as_bytes()]));
    }
    let wrong_type =
        [request(&[b"INCR", &key(3)]), request(&[b"GET", HASH_KEY]), request(&[b"HGET", &key(3), b"f"])].concat();
    vec![
        Attack::floods("inline PINGs", 50, "PING\r\n".repeat(100)),
        Attack::floods("unknown commands", 20, "NOSUCHCOMMAND a b c\r\n".repeat(100)),
        Attack::floods("unknown commands with names of 16 KiB", 20, request(&[&noise(16_384), b"a"])),
        Attack::floods("wrong numbers of arguments", 20, "GET\r\nSET a\r\nHSET a b\r\n".repeat(100)),
        Attack::floods("wrong types", 20, wrong_type.repeat(50)),
        Attack::floods("guesses of a password", 20, guesses),
        Attack::floods("switches between RESP2 and RESP3", 20, "HELLO 3\r\nHELLO 2\r\n".repeat(50)),
        Attack::floods("databases that do not exist", 20, "SELECT 99999\r\n".repeat(100)),
        Attack::floods("keys of 64 KiB that do not exist", 20, request(&[b"GET", &noise(65_536)])),
    ]
}

/// Single commands that want much time or memory.
fn dear_commands() -> Vec<Attack> {
    let queued = request(&[b"ECHO", &noise(1024)]).repeat(16);
    vec![
        Attack::says("a transaction that never executes", 4, "MULTI\r\n").then_floods(queued),
        Attack::asks("SETBIT at 2^32 - 1", 2, request(&[b"SETBIT", b"attack:bits", b"4294967295", b"1"])),
        Attack::asks("SETRANGE at 512 MB", 2, request(&[b"SETRANGE", b"attack:range", b"536870911", b"x"])),
        Attack::asks("KEYS with a hostile pattern", 2, request(&[b"KEYS", b"*0*0*0*0*0*0*0*0*0*0*0*x"])),
        Attack::asks("SCAN that wants all at once", 4, request(&[b"SCAN", b"0", b"COUNT", b"1000000000"])),
        Attack::floods("RESTORE of garbage", 8, request(&[b"RESTORE", b"attack:dump", b"0", &noise(4096)])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn there_are_seventy_two_patterns_and_each_has_its_own_name() {
        let patterns = all();
        assert_eq!(patterns.len(), 72);
        assert_eq!(patterns.iter().map(|attack| attack.name).collect::<HashSet<_>>().len(), 72);
        assert!(patterns.iter().all(|attack| attack.connections > 0));
    }
}
