//! Hashes too large for a conversation: scanning and choosing at random in the table form.

use std::collections::{BTreeSet, HashSet};
use sutra_cache::clock::Clock;
use sutra_cache::dispatch::dispatch;
use sutra_cache::server::Server;
use sutra_cache::session::Session;
use sutra_cache::settings::Settings;
use sutra_protocol::Output;
use sutra_shard::{Limits, Shard};
use sutra_testkit::conversation::Value;

const FIELDS: usize = 2_000;

struct Client {
    server: Server,
    session: Session,
}

impl Client {
    /// A client of a server that holds the hash `h` of the fields 0 to `FIELDS`, each with its own name as value.
    fn with_hash() -> Client {
        let shard = Shard::in_memory(&Limits::default(), 7).expect("the default limits allow a shard");
        let server =
            Server::new(Settings { io_threads: 1, ..Settings::default() }, shard, Clock::manual(1_700_000_000_000));
        let mut client = Client { session: Session::new(&server), server };
        for field in 0..FIELDS {
            assert_eq!(client.call(&format!("HSET h {field} {field}")), Value::Integer(1));
        }
        client
    }

    fn call(&mut self, line: &str) -> Value {
        let arguments: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut output = Output::new();
        dispatch(&self.server, &mut self.session, &arguments, &mut output);
        let bytes: Vec<u8> = output.chunks().flatten().copied().collect();
        Value::read(&bytes).expect("a reply").expect("a whole reply").0
    }

    fn texts(&mut self, line: &str) -> Vec<String> {
        texts(&self.call(line))
    }
}

fn texts(value: &Value) -> Vec<String> {
    let Value::Array(items) = value else { panic!("no array but {value}") };
    items.iter().map(|item| String::from_utf8_lossy(&item.text()).into_owned()).collect()
}

/// Scans to the end, calling `between` after each call; all fields seen, repeats included.
fn scan(client: &mut Client, options: &str, mut between: impl FnMut(&mut Client, usize)) -> Vec<String> {
    let (mut cursor, mut seen) = ("0".to_string(), Vec::new());
    for turn in 0..10 * FIELDS {
        let Value::Array(reply) = client.call(&format!("HSCAN h {cursor} {options}")) else { panic!("no array") };
        cursor = String::from_utf8_lossy(&reply[0].text()).into_owned();
        seen.extend(texts(&reply[1]));
        if cursor == "0" {
            return seen;
        }
        between(client, turn);
    }
    panic!("the scan does not end");
}

#[test]
fn a_scan_in_small_steps_sees_every_field_and_its_value() {
    let mut client = Client::with_hash();
    let seen = scan(&mut client, "COUNT 7", |_, _| {});
    let pairs: BTreeSet<(&String, &String)> = seen.chunks(2).map(|pair| (&pair[0], &pair[1])).collect();
    assert_eq!(pairs.len(), FIELDS);
    assert!(pairs.iter().all(|(field, value)| field == value));
    let fields = scan(&mut client, "NOVALUES COUNT 1 MATCH 1?", |_, _| {});
    assert_eq!(fields.into_iter().collect::<HashSet<_>>().len(), 10);
    assert_eq!(client.texts("HSCAN h 0 NOVALUES COUNT 9223372036854775807")[0], "0");
}

#[test]
fn a_field_that_stays_is_seen_while_others_come_and_go() {
    let mut client = Client::with_hash();
    let seen = scan(&mut client, "NOVALUES COUNT 10", |client, turn| {
        for n in 0..20 {
            client.call(&format!("HSET h new{turn}x{n} v"));
        }
        // The odd ones of the first fields go.
        client.call(&format!("HDEL h {}", (2 * turn + 1) % FIELDS));
    });
    let seen: HashSet<String> = seen.into_iter().collect();
    assert!((0..FIELDS).step_by(2).all(|field| seen.contains(&field.to_string())));
}

#[test]
fn random_fields_differ_if_they_shall_and_reach_the_whole_hash() {
    let mut client = Client::with_hash();
    for wanted in [1, 50, 666, 667, 1500, 1999, 2000, 5000] {
        let chosen: HashSet<String> = client.texts(&format!("HRANDFIELD h {wanted}")).into_iter().collect();
        assert_eq!(chosen.len(), wanted.min(FIELDS), "{wanted}");
    }
    assert_eq!(client.texts("HRANDFIELD h -3000").len(), 3000);
    let reached: HashSet<String> = (0..60).flat_map(|_| client.texts("HRANDFIELD h 1000")).collect();
    assert_eq!(reached.len(), FIELDS, "every field has a chance of one half each time");
    for pair in client.texts("HRANDFIELD h 100 WITHVALUES").chunks(2) {
        assert_eq!(pair[0], pair[1]);
    }
}
