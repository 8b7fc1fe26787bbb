//! A client's bytes against the whole server but its sockets. Nothing panics, memory stays bounded, and what is answered is well-formed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use sutra_cache::clock::Clock;
use sutra_cache::dispatch::dispatch;
use sutra_cache::server::Server;
use sutra_cache::session::Session;
use sutra_cache::settings::Settings;
use sutra_eviction::Policy;
use sutra_fuzz::world::NOW_MS;
use sutra_protocol::{Decoder, FrameDecoder, FrameLimits, Limits, Output};
use sutra_shard::Shard;

/// What would end the process, sleep, or write files of this machine; and strings of hundreds of megabytes, or a fuzzer would find
/// nothing else to do.
fn is_left_out(arguments: &[&[u8]]) -> bool {
    const DIGITS_MAX: usize = 7;
    let grows = [&b"setrange"[..], b"setbit", b"bitfield"];
    if arguments.first().is_some_and(|name| grows.iter().any(|grows| name.eq_ignore_ascii_case(grows))) {
        return arguments
            .iter()
            .skip(2)
            .any(|argument| argument.iter().filter(|byte| byte.is_ascii_digit()).count() > DIGITS_MAX);
    }
    let word = |at: usize, text: &str| arguments.get(at).is_some_and(|word| word.eq_ignore_ascii_case(text.as_bytes()));
    word(0, "shutdown") || word(0, "debug") || (word(0, "config") && word(1, "rewrite"))
}

fuzz_target!(|bytes: &[u8]| {
    let limits = sutra_shard::Limits { max_memory_bytes: 8 << 20, max_entries: 0, policy: Policy::AllkeysLru };
    let server = Server::new(
        Settings { port: 0, io_threads: 1, ..Settings::default() },
        Shard::in_memory(&limits, 7).expect("the limits allow a shard"),
        Clock::manual(NOW_MS),
    );
    let mut connections: BTreeMap<u8, (Session, Decoder)> = BTreeMap::new();
    let mut rest = bytes;
    let mut connection = 0;
    loop {
        // A line `@n` changes to another connection; `+n` lets milliseconds pass.
        if let [b'@', number, b'\n', tail @ ..] = rest {
            connection = number % 4;
            rest = tail;
        }
        if let [b'+', number, b'\n', tail @ ..] = rest {
            server.clock.advance(u64::from(*number));
            server.shard.tick(server.clock.now_ms());
            rest = tail;
        }
        let (session, decoder) =
            connections.entry(connection).or_insert_with(|| (Session::new(&server), Decoder::new()));
        let Ok(Some(consumed)) = decoder.decode(rest, &Limits::default(), true) else { return };
        let arguments: Vec<&[u8]> = decoder.arguments(rest).iter().collect();
        let mut output = Output::new();
        if !is_left_out(&arguments) {
            dispatch(&server, session, &arguments, &mut output);
        }
        let reply = output.chunks().collect::<Vec<_>>().concat();
        let (mut frames, mut at) = (FrameDecoder::new(), 0);
        while at < reply.len() {
            match frames.decode(&reply[at..], &FrameLimits::default()) {
                Ok(Some((_, consumed))) => at += consumed,
                other => panic!("{other:?} in the reply {:?} to {arguments:?}", reply.escape_ascii().to_string()),
            }
        }
        rest = &rest[consumed..];
    }
});
