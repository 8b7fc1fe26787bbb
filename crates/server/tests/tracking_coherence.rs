//! Many clients with caches of their own, kept by CLIENT TRACKING, while others write, remove, expire, evict, rename, invalidate and take
//! back: once all is quiet, no cache holds anything but what a read would give. The seed is printed; `SUTRA_SEED` brings it back.

#[path = "support/client.rs"]
mod client;
#[path = "support/random.rs"]
mod random;
#[path = "support/tracker.rs"]
mod tracker;

use client::Client;
use random::{Random, run_seed};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use sutra_cache::clock::Clock;
use sutra_cache::net::{Handle, serve};
use sutra_cache::server::Server;
use sutra_cache::settings::Settings;
use sutra_protocol::Frame;
use sutra_shard::{Fault, Limits, Shard};
use tracker::{Pushed, Tracker};

const PATIENCE: Duration = Duration::from_secs(60);
const KEYS: usize = 120;
/// Fewer than there are keys, so that some are evicted.
const ENTRIES_MAX: u64 = 50;
const WRITERS: usize = 3;
const WRITES: usize = 1200;
/// Reads of each cache at least, so that the writers do not run through before it has begun.
const READS_MIN: usize = 200;

/// A client and its cache, and how it reads.
struct Cached {
    tracker: Tracker,
    cache: BTreeMap<String, Frame>,
    reads: Reads,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    Plain,
    BehindCachingYes,
    /// Writes now and then itself, and is not told of it.
    AndWrites,
    /// Keys that begin so.
    Prefix(&'static str),
}

const CLIENTS: [(&str, Reads); 6] = [
    ("ON", Reads::Plain),
    ("ON OPTIN", Reads::BehindCachingYes),
    ("ON OPTOUT NOLOOP", Reads::AndWrites),
    ("ON BCAST", Reads::Plain),
    ("ON BCAST NOLOOP", Reads::AndWrites),
    ("ON BCAST PREFIX key:1 PREFIX hash", Reads::Prefix("key:1")),
];

impl Cached {
    fn connect(port: u16, (options, reads): (&str, Reads)) -> Cached {
        Cached { tracker: Tracker::connect(port, options), cache: BTreeMap::new(), reads }
    }

    /// Forgets what it was told of. What was pushed before a reply concerns what was read before it.
    fn forget_told(&mut self) {
        for pushed in self.tracker.take_pushed() {
            match pushed {
                Pushed::Key(key) => drop(self.cache.remove(&key)),
                Pushed::Everything => self.cache.clear(),
                Pushed::Lost(id) => panic!("nobody redirects to {id}"),
            }
        }
    }

    fn step(&mut self, random: &mut Random) {
        let key = any_key(random);
        match self.reads {
            Reads::Prefix(prefix) if !key.starts_with(prefix) && !key.starts_with("hash") => return,
            Reads::AndWrites if random.one_in(8) => {
                self.tracker.say(&format!("SET {key} own{}", random.below(1000)));
                self.cache.remove(&key);
                return self.forget_told();
            }
            Reads::BehindCachingYes => drop(self.tracker.say("CLIENT CACHING YES")),
            Reads::Plain | Reads::AndWrites | Reads::Prefix(_) => {}
        }
        if self.cache.contains_key(&key) {
            // A hit asks nobody, so nothing would be received.
            self.tracker.say("PING");
            return self.forget_told();
        }
        let value = self.tracker.say(&read(&key));
        // Pushes that came before the reply are about older reads; those behind it come with the next.
        self.forget_told();
        self.cache.insert(key, value);
    }

    /// What it believes against what is, once all is quiet.
    fn differences(&mut self, other: &mut Client) -> Vec<String> {
        self.tracker.told().into_iter().for_each(|pushed| match pushed {
            Pushed::Key(key) => drop(self.cache.remove(&key)),
            Pushed::Everything => self.cache.clear(),
            Pushed::Lost(id) => panic!("nobody redirects to {id}"),
        });
        let mut differences = Vec::new();
        for (key, believed) in &self.cache {
            let words = read(key);
            let words: Vec<&str> = words.split(' ').collect();
            let is = other.ask(&words).expect("an answer");
            // The other connection speaks RESP2.
            let same = is == *believed || (*believed == Frame::Null && is == Frame::Null);
            if !same {
                differences.push(format!("{key}: believes {believed:?}, is {is:?}"));
            }
        }
        differences
    }
}

fn read(key: &str) -> String {
    if key.starts_with("hash") { format!("HGET {key} f") } else { format!("GET {key}") }
}

fn any_key(random: &mut Random) -> String {
    let number = random.below(KEYS);
    if number.is_multiple_of(6) { format!("hash:{number}") } else { format!("key:{number}") }
}

fn write(client: &mut Client, random: &mut Random, writer: usize) {
    let (key, other) = (any_key(random), any_key(random));
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    let value = format!("{writer}-{}", u64::from_le_bytes(bytes));
    let vector = ["1 0", "0 1", "0.7 0.7"][random.below(3)];
    let tag = random.below(4);
    if key.starts_with("hash") {
        let line = match random.below(8) {
            0 => format!("HDEL {key} f"),
            1 => format!("DEL {key}"),
            2 => format!("HPEXPIRE {key} {} FIELDS 1 f", 1 + random.below(60)),
            3 => format!("PEXPIRE {key} {}", 1 + random.below(60)),
            _ => format!("HSET {key} f {value} g 1"),
        };
        client.say(&line);
        return;
    }
    let line = match random.below(60) {
        0..10 => format!("SET {key} {value}"),
        10..16 => format!("SET {key} {value} PX {}", 1 + random.below(60)),
        16..24 => format!("CACHE.SET {key} {value} TAG 1 t{tag} DEP 1 d {} IN s VALUES 2 {vector}", random.below(9)),
        24..28 => format!("CACHE.SET {key} {value} TAG 1 t{tag}"),
        28..34 => format!("DEL {key}"),
        34..36 => format!("APPEND {key} x"),
        36..38 => format!("SETRANGE {key} 5000 x"),
        38..40 => format!("PEXPIRE {key} {}", random.below(60)),
        40..42 if !other.starts_with("hash") => format!("RENAME {key} {other}"),
        42..44 if !other.starts_with("hash") => format!("COPY {key} {other} REPLACE"),
        44..46 => format!("MSET {key} {value} other:1 {value}"),
        46 => format!("CACHE.INVALIDATE TAG 1 t{tag}"),
        47 => format!("CACHE.INVALIDATE MATCH key:{}*", random.below(10)),
        48 => format!("CACHE.INVALIDATE IN s VALUES 2 {vector} MIN 0.9"),
        49 => format!("CACHE.INVALIDATE DEP d BELOW {}", random.below(9)),
        50 => "CACHE.SPACE BUMP s".to_owned(),
        51 if random.one_in(16) => "FLUSHALL".to_owned(),
        52 if random.one_in(16) => "SWAPDB 0 1".to_owned(),
        53 => "CACHE.INVALIDATE OLDER 1".to_owned(),
        54 => return undo(client, random),
        55..57 => {
            for line in ["MULTI".to_owned(), format!("SET {key} {value}"), format!("DEL {other}"), "EXEC".to_owned()] {
                client.say(&line);
            }
            return;
        }
        _ => format!("GETEX {key} PX {}", 1 + random.below(60)),
    };
    client.say(&line);
}

/// Takes one of the last invalidations back.
fn undo(client: &mut Client, random: &mut Random) {
    let Frame::Array(lines) = client.say("CACHE.LOG 5") else { panic!("an array") };
    if let Some(Frame::Array(line)) = lines.get(random.below(5))
        && let Frame::Integer(lsn) = line[1]
    {
        client.say(&format!("CACHE.UNDO {lsn}"));
    }
}

fn start() -> Handle {
    let settings = Settings { port: 0, io_threads: 2, ..Settings::default() };
    settings.entries_max.store(ENTRIES_MAX, Ordering::Relaxed);
    let shard = Shard::in_memory(&Limits { max_entries: ENTRIES_MAX, ..Limits::default() }, 7).expect("a shard");
    serve(Server::new(settings, shard, Clock::system())).expect("a free port")
}

/// Lets them all run, and says what is wrong afterwards.
fn differences_after_a_run(handle: &Handle, seed: u64) -> Vec<String> {
    let port = handle.address().port();
    let connect = || Client::connect(port).expect("the server listens");
    let written = AtomicBool::new(false);
    let mut caches: Vec<Cached> = CLIENTS.into_iter().map(|options| Cached::connect(port, options)).collect();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let mut client = connect();
                let mut random = Random::new(seed ^ (writer as u64 + 1) << 32);
                scope.spawn(move || (0..WRITES).for_each(|_| write(&mut client, &mut random, writer)))
            })
            .collect();
        for (index, cached) in caches.iter_mut().enumerate() {
            let mut random = Random::new(seed ^ (index as u64 + 101) << 32);
            let written = &written;
            scope.spawn(move || {
                let mut reads = 0;
                while reads < READS_MIN || !written.load(Ordering::Relaxed) {
                    cached.step(&mut random);
                    reads += 1;
                }
            });
        }
        let ended: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        // The readers end in any case, or the test would hang instead of saying what was wrong.
        written.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|ended| ended.expect("the writer's commands are answered"));
    });
    let shard = &handle.server().shard;
    let deadline = Instant::now() + PATIENCE;
    let mut client = connect();
    // What expires has expired, fields included, and what was begun is swept.
    let is_quiet = |client: &mut Client| {
        let fields = (0..KEYS).step_by(6).all(|number| {
            let reply = client.say(&format!("HPTTL hash:{number} FIELDS 1 f"));
            !matches!(&reply, Frame::Array(ttl) if matches!(ttl[..], [Frame::Integer(0..)]))
        });
        fields && shard.database_stats(0).expires == 0 && shard.meaning_stats().active_predicates == 0
    };
    while !is_quiet(&mut client) {
        assert!(Instant::now() < deadline, "everything expires");
        std::thread::yield_now();
    }
    // A field that has just expired is told of by the round that removes it.
    for _ in 0..2 {
        sutra_cache::net::housekeeping::round(handle.server());
    }
    caches
        .iter_mut()
        .zip(CLIENTS)
        .flat_map(|(cached, (options, _))| {
            let differences = cached.differences(&mut client);
            differences.into_iter().map(move |difference| format!("{options}: {difference}"))
        })
        .collect()
}

#[test]
fn no_cache_believes_anything_that_is_not_so() {
    let handle = start();
    let differences = differences_after_a_run(&handle, run_seed("tracking_coherence"));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let shard = &handle.server().shard;
    assert!(shard.stats().evicted_entries > 0 && shard.stats().expired > 0, "the run did what it is to test");
}

#[test]
fn a_change_that_is_not_told_would_be_noticed() {
    let handle = start();
    handle.server().shard.plant_fault(Fault::ChangeUntold);
    let seed = run_seed("tracking_coherence with a fault");
    // One run may end right behind a FLUSHALL, of which everybody is told.
    let noticed = (0..8).any(|run| !differences_after_a_run(&handle, seed ^ run).is_empty());
    assert_eq!(noticed, cfg!(debug_assertions));
}
