//! Random programs of string, bitmap and key commands: our replies must be those of the machine's redis-server, if there is one.
//!
//! `PROGRAM_SEED=…` plays a program again. Expiries lie in the far future or in the past, so that the clock decides nothing.

use std::hash::{BuildHasher, RandomState};
use sutra_cache::clock::Clock;
use sutra_cache::dispatch::dispatch;
use sutra_cache::server::Server;
use sutra_cache::session::Session;
use sutra_cache::settings::Settings;
use sutra_protocol::Output;
use sutra_shard::{Limits, Shard};
use sutra_testkit::conversation::{Peer, Reference, Value, encode_request};

/// What is played. Lower-case words stand for random ones: see [`Program::word`].
const FORMS: &[&str] = &[
    "GET k",
    "SET k v",
    "SET k v NX GET",
    "SET k v XX",
    "SET k v GET EXAT time",
    "SET k v KEEPTTL",
    "SETNX k v",
    "SETEX k time v",
    "GETSET k v",
    "GETDEL k",
    "GETEX k EXAT time",
    "GETEX k PERSIST",
    "MGET k k k",
    "MSET k v k v",
    "MSETNX k v k v",
    "APPEND k v",
    "STRLEN k",
    "GETRANGE k int int",
    "SETRANGE k small v",
    "SETRANGE big large v",
    "APPEND big v",
    "GET big",
    "GETRANGE big int large",
    "BITCOUNT big large int unit",
    "DEL big",
    "SET k int",
    "INCR k",
    "DECRBY k number",
    "INCRBY k number",
    "SET k float",
    "INCRBYFLOAT k float",
    "LCS k k",
    "LCS k k IDX WITHMATCHLEN",
    "LCS k k IDX MINMATCHLEN small",
    "SETBIT k small bit",
    "SETBIT big large bit",
    "GETBIT k small",
    "BITCOUNT k",
    "BITCOUNT k int int unit",
    "BITPOS k bit",
    "BITPOS k bit int",
    "BITPOS k bit int int unit",
    "BITOP AND k k k",
    "BITOP XOR k k k k",
    "BITOP OR k k",
    "BITOP NOT k k",
    "BITFIELD k SET type small number GET type small",
    "BITFIELD k INCRBY type #small number OVERFLOW FAIL SET type small number",
    "BITFIELD k OVERFLOW SAT INCRBY type small number INCRBY type small number OVERFLOW WRAP INCRBY type small number",
    "BITFIELD_RO k GET type small GET type small",
    "DEL k k",
    "UNLINK k",
    "EXISTS k k k",
    "TYPE k",
    "EXPIREAT k time",
    "EXPIREAT k time GT",
    "EXPIREAT k time LT",
    "EXPIREAT k past",
    "EXPIRETIME k",
    "PERSIST k",
    "RENAME k k",
    "RENAMENX k k",
    "COPY k k",
    "COPY k k REPLACE DB 1",
    "MOVE k 1",
    "SELECT db",
    "HSET k f v",
    "KEYS glob",
    "DBSIZE",
];

/// What stands instead of a word now and then. Nothing that could be a time in the near future.
const MISTAKES: &[&str] = &["", "x", "-1", "0", "1.5", "NX", "GET", "LEN", "FAIL", "9223372036854775808", "-0", "u8"];

#[test]
fn random_programs_answer_as_redis_does() {
    let Some(mut reference) = Reference::start().unwrap() else { return };
    reference.reset().unwrap();
    let mut program = Program::new();
    let mut ours = InProcess::new();
    for protocol in ["2", "3"] {
        // Its reply names the server.
        ours.ask(&words(&["HELLO", protocol]));
        ask(&mut reference, &words(&["HELLO", protocol]));
        for step in 0..10_000 {
            let request = program.request();
            let (mut our, mut their) = (ours.ask(&request), ask(&mut reference, &request));
            if request[0] == b"KEYS" {
                (our, their) = (our.sorted(), their.sorted());
            }
            assert_eq!(our.to_string(), their.to_string(), "step {step} of seed {}: {}", program.seed, shown(&request));
        }
    }
}

#[test]
fn scan_visits_every_key_that_stays_while_others_come_and_go() {
    let mut program = Program::new();
    let mut ours = InProcess::new();
    let stays: Vec<Vec<u8>> = (0..1000).map(|number| format!("stays:{number}").into_bytes()).collect();
    for key in &stays {
        ours.ask(&[b"SET".to_vec(), key.clone(), b"v".to_vec()]);
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut cursor = b"0".to_vec();
    loop {
        let reply = ours.ask(&[b"SCAN".to_vec(), cursor.clone(), b"COUNT".to_vec(), b"7".to_vec()]);
        let Value::Array(parts) = reply else { panic!("{reply}") };
        let [Value::Bulk(next), Value::Array(keys)] = &parts[..] else { panic!("{parts:?}") };
        for key in keys {
            let Value::Bulk(key) = key else { panic!("{key}") };
            seen.insert(key.clone());
        }
        if next == b"0" {
            break;
        }
        cursor.clone_from(next);
        for _ in 0..5 {
            let key = format!("goes:{}", program.below(3000)).into_bytes();
            ours.ask(&[b"SET".to_vec(), key, b"v".to_vec()]);
            let key = format!("goes:{}", program.below(3000)).into_bytes();
            ours.ask(&[b"DEL".to_vec(), key]);
        }
    }
    assert!(stays.iter().all(|key| seen.contains(key)), "seed {}", program.seed);
}

/// Writes requests: a generator of random numbers and what it is used for.
struct Program {
    seed: u64,
    state: u64,
}

impl Program {
    fn new() -> Program {
        let given = std::env::var("PROGRAM_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one("program"));
        println!("PROGRAM_SEED={seed}");
        Program { seed, state: seed }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn request(&mut self) -> Vec<Vec<u8>> {
        let form = self.pick(FORMS);
        // Redis 7.0 looks at the key before it looks at mistakes in these.
        let strict = form.starts_with("BITCOUNT") || form.starts_with("BITPOS") || form.starts_with("SELECT");
        let mut request = Vec::new();
        for (index, word) in form.split(' ').enumerate() {
            let chance = if index == 0 || strict { 1 } else { self.below(60) };
            match chance {
                0 => request.push(self.pick(MISTAKES).into()),
                2 => {}
                _ => request.push(self.word(word)),
            }
        }
        request
    }

    fn word(&mut self, word: &str) -> Vec<u8> {
        let sign = self.pick(&["", "-"]);
        match word {
            "k" => self.pick(&["a", "b", "c", "d", "e", "f"]).into(),
            // Long strings have keys of their own: LCS would take long over them.
            "big" => self.pick(&["big1", "big2"]).into(),
            "v" => {
                let length = self.below(12);
                let any = self.below(3) == 0;
                (0..length).map(|_| if any { self.next() as u8 } else { b"abcd0123"[self.below(8)] }).collect()
            }
            "int" => (self.below(40).cast_signed() - 20).to_string().into_bytes(),
            "small" => self.below(100).to_string().into_bytes(),
            "#small" => format!("#{}", self.below(20)).into_bytes(),
            // Beyond the size from which strings are changed in place, and from which replies are not copied.
            "large" => self.below(25_000).to_string().into_bytes(),
            "number" => (self.next().cast_signed() >> self.below(64)).to_string().into_bytes(),
            "float" => format!("{sign}{}.{}", self.below(1000), self.below(100_000)).into_bytes(),
            "bit" => self.pick(&["0", "1"]).into(),
            "unit" => self.pick(&["BIT", "BYTE"]).into(),
            "type" => match self.below(2) {
                0 => format!("u{}", 1 + self.below(63)).into_bytes(),
                _ => format!("i{}", 1 + self.below(64)).into_bytes(),
            },
            "time" => format!("33177117{}", 100 + self.below(5)).into_bytes(),
            "past" => self.pick(&["1", "-1", "0"]).into(),
            "db" => self.pick(&["0", "0", "1"]).into(),
            "glob" => self.pick(&["*", "?", "[a-c]", "[^a]", "\\a", "a*"]).into(),
            word => word.into(),
        }
    }
}

struct InProcess {
    server: Server,
    session: Session,
}

impl InProcess {
    fn new() -> InProcess {
        let shard = Shard::in_memory(&Limits::default(), 7).expect("the default limits allow a shard");
        let settings = Settings { io_threads: 1, ..Settings::default() };
        let server = Server::new(settings, shard, Clock::system());
        let session = Session::new(&server);
        InProcess { server, session }
    }

    fn ask(&mut self, request: &[Vec<u8>]) -> Value {
        let arguments: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        let mut output = Output::new();
        dispatch(&self.server, &mut self.session, &arguments, &mut output);
        let bytes: Vec<u8> = output.chunks().flatten().copied().collect();
        let (value, length) = Value::read(&bytes).expect("a reply").expect("a whole reply");
        assert_eq!(length, bytes.len(), "one reply to {}", shown(request));
        value
    }
}

fn ask(reference: &mut Reference, request: &[Vec<u8>]) -> Value {
    reference.send(1, &encode_request(request)).expect("the reference server runs");
    let mut bytes = Vec::new();
    loop {
        bytes.extend(reference.receive(1).expect("the reference server answers"));
        if let Some((value, _)) = Value::read(&bytes).expect("a reply") {
            return value;
        }
    }
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn shown(request: &[Vec<u8>]) -> String {
    Value::Array(request.iter().cloned().map(Value::Bulk).collect()).to_string()
}
