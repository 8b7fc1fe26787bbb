//! CLIENT TRACKING over real sockets: every way in which an entry changes is told, in time, and to whom it should be. What Redis does too stands in
//! `conversations/tracking.resp`.

#[path = "support/client.rs"]
mod client;
#[path = "support/tracker.rs"]
mod tracker;

use client::Client;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use sutra_cache::clock::Clock;
use sutra_cache::digest::sha256_hex;
use sutra_cache::meaning::embedding::Embedding;
use sutra_cache::net::{Handle, housekeeping, serve};
use sutra_cache::server::Server;
use sutra_cache::settings::Settings;
use sutra_embed::{EmbedError, Embedder};
use sutra_protocol::Frame;
use sutra_shard::{Limits, Options, Shard};
use tracker::{Pushed, Tracker};

/// A test that hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(60);
const STARTS_AT_MS: u64 = 1_700_000_000_000;

fn start_with(shard: Shard) -> Handle {
    let settings = Settings { port: 0, io_threads: 2, ..Settings::default() };
    serve(Server::new(settings, shard, Clock::manual(STARTS_AT_MS))).expect("a free port")
}

fn start() -> Handle {
    start_with(Shard::in_memory(&Limits::default(), 7).expect("the default limits allow a shard"))
}

fn connect(handle: &Handle) -> Client {
    Client::connect(handle.address().port()).expect("the server listens")
}

fn track(handle: &Handle, options: &str) -> Tracker {
    Tracker::connect(handle.address().port(), options)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waiting for: {what}");
        std::thread::yield_now();
    }
}

/// What was told, which are keys alone.
fn told_keys(tracker: &mut Tracker) -> Vec<String> {
    let key = |pushed| match pushed {
        Pushed::Key(key) => key,
        Pushed::Everything | Pushed::Lost(_) => panic!("keys alone, not {pushed:?}"),
    };
    tracker.told().into_iter().map(key).collect()
}

#[test]
fn every_kind_of_change_is_told_before_it_is_answered() {
    // Before, read, change, and the key that is told of.
    let embedding = format!("emb:m:{}", sha256_hex(b"text"));
    let cases: &[(&[&str], &str, &[&str], &str)] = &[
        (&["SET k v"], "GET k", &["SET k w"], "k"),
        (&["SET k v"], "EXISTS j k", &["DEL k"], "k"),
        (&["SET k v"], "GET k", &["UNLINK k"], "k"),
        (&["SET k v"], "GET k", &["GETDEL k"], "k"),
        (&["SET k v"], "GET k", &["GETSET k w"], "k"),
        (&["SET k v"], "GET k", &["APPEND k w"], "k"),
        (&["SET k v"], "GET k", &["SETRANGE k 8000 w"], "k"),
        (&["SETRANGE k 8000 w"], "GETRANGE k 0 1", &["SETRANGE k 1 w"], "k"),
        (&["SET k 1"], "GET k", &["INCR k"], "k"),
        (&["SET k 1"], "GET k", &["INCRBYFLOAT k 1.5"], "k"),
        (&["SET k v"], "GETBIT k 1", &["SETBIT k 1 0"], "k"),
        (&["SET k v"], "GET k", &["BITOP NOT k k"], "k"),
        (&["SET k v"], "GET k", &["MSET j 1 k 2"], "k"),
        (&[], "GET k", &["MSETNX j 1 k 2"], "k"),
        (&[], "GET k", &["SET k v NX"], "k"),
        (&["SET k v"], "TTL k", &["EXPIRE k 100"], "k"),
        (&["SET k v"], "TTL k", &["PEXPIREAT k 1"], "k"),
        (&["SET k v EX 100"], "TTL k", &["PERSIST k"], "k"),
        (&["SET k v"], "TTL k", &["GETEX k EX 100"], "k"),
        (&["SET k v"], "GET k", &["RENAME k j"], "k"),
        (&["SET j v"], "GET k", &["RENAME j k"], "k"),
        (&["SET j v"], "GET k", &["COPY j k"], "k"),
        (&["SET k v"], "GET k", &["MOVE k 1"], "k"),
        (&["SET j v"], "GET k", &["SORT l STORE k", "RENAME j k"], "k"),
        (&["SET k v"], "GET k", &["MULTI", "SET j w", "SET k w", "EXEC"], "k"),
        (&["HSET k f v"], "HGET k f", &["HSET k f w"], "k"),
        (&["HSET k f v"], "HGETALL k", &["HDEL k f"], "k"),
        (&["HSET k f 1"], "HMGET k f g", &["HINCRBY k f 1"], "k"),
        (&["HSET k f 1 g 2"], "HLEN k", &["HGETDEL k FIELDS 1 f"], "k"),
        (&["HSET k f 1"], "HTTL k FIELDS 1 f", &["HEXPIRE k 100 FIELDS 1 f"], "k"),
        (&["HSET k f 1"], "HGET k f", &["HPEXPIREAT k 1 FIELDS 1 f"], "k"),
        (&["CACHE.SET k v TAG 1 t"], "CACHE.GET k", &["CACHE.SET k w"], "k"),
        (&["CACHE.SET k v TAG 1 t"], "CACHE.GET k WITHMETA", &["SET k w"], "k"),
        (&["CACHE.SET k v"], "CACHE.LEASE k", &["DEL k"], "k"),
        (&[], "CACHE.LEASE k", &["SET k v"], "k"),
        (&["CACHE.SET k v IN s VALUES 2 1 0"], "CACHE.LOOKUP s VALUES 2 1 0 MIN 0.9", &["DEL k"], "k"),
        (&["CACHE.SET k v IN s VALUES 2 1 0"], "CACHE.LOOKUP s VALUES 2 1 0 MIN 0.9 LEASE", &["SET k w"], "k"),
        (&["CACHE.SET k v IN s VALUES 2 1 0"], "CACHE.SEARCH s VALUES 2 1 0 WITHVALUES", &["DEL k"], "k"),
        (&[], "CACHE.EMB.MGET m text", &["CACHE.EMB.MSET m text 12345678"], &embedding),
        (&["CACHE.SET k v TAG 1 t"], "GET k", &["CACHE.INVALIDATE TAG 1 t"], "k"),
        (&["SET k v"], "GET k", &["CACHE.INVALIDATE MATCH k*"], "k"),
        (&["HSET k f v"], "HGET k f", &["CACHE.INVALIDATE MATCH k*"], "k"),
        (&["CACHE.SET k v IN s VALUES 2 1 0"], "GET k", &["CACHE.INVALIDATE IN s VALUES 2 1 0 MIN 0.9"], "k"),
        (&["CACHE.SET k v"], "GET k", &["CACHE.INVALIDATE OLDER 0"], "k"),
        (&["CACHE.SET k v DEP 1 d 1"], "GET k", &["CACHE.INVALIDATE DEP d BELOW 2"], "k"),
        (&["CACHE.SET k v IN s VALUES 2 1 0"], "GET k", &["CACHE.SPACE DROP s"], "k"),
    ];
    let handle = start();
    let mut other = connect(&handle);
    for options in ["ON", "ON BCAST", "ON OPTOUT NOLOOP"] {
        for (before, read, change, key) in cases {
            other.say("FLUSHALL");
            before.iter().for_each(|line| drop(other.say(line)));
            let mut tracker = track(&handle, options);
            let value = tracker.say(read);
            assert!(!matches!(value, Frame::Error(_)), "{read}: {value:?}");
            assert!(tracker.told().is_empty(), "{read} changes nothing");
            for line in *change {
                let reply = other.say(line);
                assert!(!matches!(reply, Frame::Error(_)), "{line}: {reply:?}");
            }
            let told = told_keys(&mut tracker);
            let count = told.iter().filter(|told| told == key).count();
            // MOVE changes a key in two databases.
            let is_twice = count == 2 && options == "ON BCAST" && change[0].starts_with("MOVE");
            assert!(count == 1 || is_twice, "{options} {read} {change:?}: {told:?}");
        }
    }
}

#[test]
fn an_invalidation_that_is_taken_back_is_told_twice() {
    let handle = start();
    let (mut tracker, mut other) = (track(&handle, "ON"), connect(&handle));
    other.say("CACHE.SET k v TAG 1 t");
    tracker.say("GET k");
    other.say("CACHE.INVALIDATE TAG 1 t");
    assert_eq!(tracker.say("GET k"), Frame::Null);
    assert_eq!(told_keys(&mut tracker), ["k"]);
    let Frame::Array(log) = other.say("CACHE.LOG 1") else { panic!("an array") };
    let Frame::Array(line) = &log[0] else { panic!("an array") };
    let Frame::Integer(lsn) = line[1] else { panic!("a log position: {line:?}") };
    assert_eq!(other.say(&format!("CACHE.UNDO {lsn}")), Frame::Integer(1));
    assert_eq!(told_keys(&mut tracker), ["k"]);
    assert_eq!(tracker.say("GET k"), Frame::Bulk(b"v".to_vec()));
}

#[test]
fn a_new_generation_is_told_as_soon_as_it_is_swept() {
    let handle = start();
    let (mut tracker, mut other) = (track(&handle, "ON BCAST PREFIX k"), connect(&handle));
    other.say("CACHE.SET k v IN s VALUES 2 1 0");
    assert_eq!(told_keys(&mut tracker), ["k"]);
    other.say("CACHE.SPACE BUMP s");
    until("the sweep", || told_keys(&mut tracker) == ["k"]);
}

#[test]
fn expiry_is_told_by_whoever_comes_upon_it_and_otherwise_by_the_next_round() {
    let handle = start();
    let server = handle.server();
    let (mut tracker, mut other) = (track(&handle, "ON"), connect(&handle));
    for (write, read, key) in [
        ("SET k v PX 100", "GET k", "k"),
        ("CACHE.SET k v TAG 1 t EX 1", "CACHE.GET k", "k"),
        ("HSET h f v", "HGET h f", "h"),
    ] {
        other.say(write);
        if key == "h" {
            // A field alone expires; the hash remains.
            other.say("HSET h g v");
            other.say("HPEXPIRE h 100 FIELDS 1 f");
        }
        assert!(!matches!(tracker.say(read), Frame::Null), "{read}");
        server.clock.advance(1000);
        housekeeping::round(server);
        until(write, || told_keys(&mut tracker) == [key]);
    }
    server.shard.set_active_expiry(false);
    for finder in ["GET k", "EXISTS k", "DEL k", "SET k w XX", "GETEX k"] {
        other.say("SET k v PX 100");
        tracker.say("GET k");
        server.clock.advance(100);
        assert!(tracker.told().is_empty(), "nobody has noticed");
        other.say(finder);
        assert_eq!(told_keys(&mut tracker), ["k"], "{finder}");
    }
}

#[test]
fn what_is_evicted_is_told_whether_by_entries_or_by_bytes_mapped_or_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let few = Limits { max_entries: 50, ..Limits::default() };
    let small = Limits { max_memory_bytes: 24 << 20, ..Limits::default() };
    let in_files = Options { limits: small, ..Options::new(directory.path()) };
    let shards = [
        Shard::in_memory(&few, 7).expect("a shard"),
        Shard::in_memory(&small, 7).expect("a shard"),
        Shard::open(&in_files, STARTS_AT_MS).expect("a shard").0,
    ];
    for shard in shards {
        let limits = if shard.memory().max_bytes == small.max_memory_bytes { small } else { few };
        let settings = Settings { port: 0, io_threads: 2, ..Settings::default() };
        settings.memory_bytes_max.store(limits.max_memory_bytes, std::sync::atomic::Ordering::Relaxed);
        settings.entries_max.store(limits.max_entries, std::sync::atomic::Ordering::Relaxed);
        let handle = serve(Server::new(settings, shard, Clock::manual(STARTS_AT_MS))).expect("a free port");
        let (mut tracker, mut listener, mut other) =
            (track(&handle, "ON"), track(&handle, "ON BCAST PREFIX k"), connect(&handle));
        let large = "x".repeat(40_000);
        let mut told: Vec<String> = Vec::new();
        for number in 0..1000 {
            // Values in segments and on the heap, with metadata and without.
            let write = match number % 3 {
                0 => format!("SET k{number} {large}"),
                1 => format!("CACHE.SET k{number} {large} TAG 1 t"),
                _ => format!("HSET k{number} f {large}"),
            };
            other.say(&write);
            tracker.say(&format!("EXISTS k{number}"));
            told.extend(told_keys(&mut listener));
        }
        // The rounds go on making room for a while.
        let (mut gone, mut pushed) = (BTreeSet::new(), Vec::new());
        until("what is gone is what was told", || {
            let is_gone = |key: &String| other.say(&format!("EXISTS {key}")) == Frame::Integer(0);
            gone = (0..1000).map(|number| format!("k{number}")).filter(is_gone).collect();
            pushed.extend(told_keys(&mut tracker));
            told.extend(told_keys(&mut listener));
            told.sort();
            // Whoever knows the prefix is told of each twice: it was written, and it is gone.
            let twice = told.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone());
            BTreeSet::from_iter(pushed.iter().cloned()) == gone && twice.collect::<BTreeSet<String>>() == gone
        });
        assert!(gone.len() > 50, "there was too much: {}", gone.len());
        assert_eq!(pushed.len(), gone.len(), "each once");
        assert_eq!(told.len(), 1000 + gone.len(), "each twice, or once");
    }
}

#[test]
fn a_client_may_be_told_by_another_connection_until_that_one_ends() {
    let handle = start();
    let (mut reader, mut listener, mut other) = (track(&handle, "OFF"), track(&handle, "OFF"), connect(&handle));
    let Frame::Integer(id) = listener.say("CLIENT ID") else { panic!("a number") };
    let Frame::Integer(resp2) = other.say("CLIENT ID") else { panic!("a number") };
    assert!(
        matches!(reader.say(&format!("CLIENT TRACKING ON REDIRECT {resp2}")), Frame::Error(error) if error.contains("RESP2"))
    );
    assert_eq!(reader.say(&format!("CLIENT TRACKING ON REDIRECT {id}")), Frame::Simple("OK".into()));
    assert_eq!(reader.say("CLIENT GETREDIR"), Frame::Integer(id));
    reader.say("GET k");
    other.say("SET k v");
    assert_eq!((reader.told(), told_keys(&mut listener)), (vec![], vec!["k".to_owned()]));
    reader.say("GET k");
    drop(listener);
    until("the connection has ended", || handle.server().clients.count() == 2);
    other.say("SET k w");
    assert_eq!(reader.told(), [Pushed::Lost(id)]);
    let Frame::Map(pairs) = reader.say("CLIENT TRACKINGINFO") else { panic!("a map") };
    assert!(format!("{:?}", pairs[0]).contains(&format!("{:?}", Frame::Bulk(b"broken_redirect".to_vec()))));
    let Frame::Bulk(list) = other.say("CLIENT LIST") else { panic!("text") };
    let list = String::from_utf8(list).expect("text");
    assert!(list.contains("flags=tR ") && list.contains(&format!("redir={id} ")), "{list}");
}

#[test]
fn beyond_the_limit_keys_are_told_of_and_forgotten() {
    let handle = start();
    let (mut tracker, mut other) = (track(&handle, "ON"), connect(&handle));
    for max in [1000, 3] {
        other.say(&format!("CONFIG SET tracking-table-max-keys {max}"));
        for number in 0..2000 {
            tracker.say(&format!("GET k{number}"));
        }
        until("a round", || {
            housekeeping::round(handle.server());
            handle.server().shard.tracking_stats().keys <= max
        });
        let told = told_keys(&mut tracker);
        let left: BTreeSet<String> = (0..2000).map(|number| format!("k{number}")).collect();
        let left: BTreeSet<String> = left.difference(&told.iter().cloned().collect()).cloned().collect();
        assert!(left.len() as u64 <= max, "{} of at most {max} are left", left.len());
        // Those that are left are told of, and no others.
        for number in 0..2000 {
            other.say(&format!("SET k{number} v"));
        }
        let told: BTreeSet<String> = told_keys(&mut tracker).into_iter().collect();
        assert_eq!(told, left);
    }
    assert_eq!(handle.server().shard.tracking_stats().keys, 0);
}

#[test]
fn who_is_gone_is_forgotten_and_costs_nothing() {
    let handle = start();
    let mut staying = track(&handle, "ON");
    let (mut leaving, prefixed) = (track(&handle, "ON"), track(&handle, "ON BCAST PREFIX a PREFIX b"));
    for number in 0..1000 {
        leaving.say(&format!("GET k{number}"));
    }
    staying.say("GET k7");
    let stats = handle.server().shard.tracking_stats();
    assert_eq!((stats.subscribers, stats.keys, stats.items, stats.prefixes), (3, 1000, 1001, 2));
    assert!(stats.bytes > 1000 * 40);
    drop((leaving, prefixed));
    until("what they read is forgotten", || {
        housekeeping::round(handle.server());
        let stats = handle.server().shard.tracking_stats();
        (stats.subscribers, stats.keys, stats.items, stats.prefixes) == (1, 1, 1, 0)
    });
    assert!(handle.server().shard.tracking_stats().bytes < 1000);
    connect(&handle).say("SET k7 v");
    assert_eq!(told_keys(&mut staying), ["k7"]);
    assert_eq!(handle.server().shard.tracking_stats().bytes, 0);
}

#[test]
fn a_client_that_does_not_read_what_it_is_told_is_closed_and_until_then_counted() {
    let handle = start();
    let (silent, mut other) = (track(&handle, "ON BCAST"), connect(&handle));
    let long = "k".repeat(60_000);
    let mut largest = 0;
    let mut number = 0;
    until("the client is closed", || {
        other.say(&format!("SET {long}{number} v"));
        other.say(&format!("DEL {long}{number}"));
        number += 1;
        largest = largest.max(handle.server().clients_bytes());
        handle.server().clients.count() == 1
    });
    assert!(largest > 30 << 20, "{largest} bytes were counted");
    until("its mailbox is counted no more", || handle.server().clients_bytes() < 1 << 20);
    assert_eq!(handle.server().shard.tracking_stats().subscribers, 0);
    drop(silent);
}

/// An embedder behind a network, as far as the server can tell: it answers when the test lets it.
struct Slow {
    begun: Mutex<Sender<()>>,
    release: Mutex<Receiver<Vec<f32>>>,
}

impl Embedder for Slow {
    fn name(&self) -> &str {
        "http:slow"
    }
    fn dimension(&self) -> Option<usize> {
        None
    }
    fn is_immediate(&self) -> bool {
        false
    }
    fn embed(&self, texts: &[&str], out: &mut Vec<Vec<f32>>) -> Result<(), EmbedError> {
        out.clear();
        for _ in texts {
            self.begun.lock().expect("no test panics in here").send(()).expect("the test listens");
            out.push(self.release.lock().expect("no test panics in here").recv().map_err(|_| EmbedError::Closed)?);
        }
        Ok(())
    }
}

#[test]
fn a_push_that_overtakes_an_answer_is_repeated_behind_it() {
    let ((begin, begun), (release, released)) = (channel(), channel());
    let embedding = Embedding::of(Arc::new(Slow { begun: Mutex::new(begin), release: Mutex::new(released) }));
    let shard = Shard::in_memory(&Limits::default(), 7).expect("the default limits allow a shard");
    let settings = Settings { port: 0, io_threads: 2, ..Settings::default() };
    let server = Server::new(settings, shard, Clock::system()).with_embedding(embedding.expect("threads"));
    let handle = serve(server).expect("a free port");
    let mut other = connect(&handle);
    other.say("CACHE.SPACE CREATE s DIM 2 EMBEDDER http:slow");
    other.say("CACHE.SET k v IN s VALUES 2 1 0");
    let mut tracker = track(&handle, "ON BCAST");
    tracker.send("CACHE.LOOKUP s TEXT hello MIN 0.9");
    begun.recv_timeout(PATIENCE).expect("the text is embedded");
    other.say("SET j w");
    let push = Frame::Push(vec![Frame::Bulk(b"invalidate".to_vec()), Frame::Array(vec![Frame::Bulk(b"j".to_vec())])]);
    // It does not wait for the embedder.
    assert_eq!(tracker.client.receive().expect("a push"), push);
    release.send(vec![1.0, 0.0]).expect("the embedder listens");
    assert_eq!(tracker.client.receive().expect("the answer"), Frame::Bulk(b"v".to_vec()));
    assert_eq!(tracker.client.receive().expect("the push again"), push);
    assert!(tracker.told().is_empty());
}
