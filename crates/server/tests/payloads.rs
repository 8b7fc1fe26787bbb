//! DUMP and RESTORE against the machine's redis-server, if there is one: random values go both ways and come back the same.

use std::io;
use sutra_cache::clock::Clock;
use sutra_cache::dispatch::dispatch;
use sutra_cache::server::Server;
use sutra_cache::session::Session;
use sutra_cache::settings::Settings;
use sutra_protocol::Output;
use sutra_shard::{Limits, Shard};
use sutra_testkit::conversation::{Peer, Reference, Value, encode_request};

const SEED: u64 = 0x000d_0b5e_55ed;
const VALUES: usize = 200;

#[test]
fn values_of_every_shape_survive_the_way_to_a_real_redis_and_back() {
    let Some(mut reference) = Reference::start().unwrap() else { return };
    let mut ours = Ours::new();
    let mut random = Random(SEED);
    for round in 0..VALUES {
        let place = format!("seed {SEED:#x} round {round}");
        let value = Stored::random(&mut random);

        // Ours dumps, Redis restores and reads.
        ours.call(&[b"FLUSHALL"]);
        value.store(&mut |arguments| ours.call(arguments));
        let payload = bulk(ours.call(&[b"DUMP", b"k"]));
        let restored = call(&mut reference, &[b"RESTORE", b"k", b"0", &payload, b"REPLACE"]);
        assert_eq!(restored, Value::Simple("OK".into()), "{place}: Redis refuses {payload:?}");
        let read = value.read(&mut |arguments| call(&mut reference, arguments));
        assert_eq!(read, value.expected(), "{place}: Redis reads something else from our payload");

        // Redis stores and dumps, ours restores and reads.
        call(&mut reference, &[b"FLUSHALL"]);
        value.store(&mut |arguments| call(&mut reference, arguments));
        let payload = bulk(call(&mut reference, &[b"DUMP", b"k"]));
        let restored = ours.call(&[b"RESTORE", b"k", b"0", &payload, b"REPLACE"]);
        assert_eq!(restored, Value::Simple("OK".into()), "{place}: we refuse {payload:?}");
        let read = value.read(&mut |arguments| ours.call(arguments));
        assert_eq!(read, value.expected(), "{place}: we read something else from Redis's payload");
    }
}

/// A value and how it is stored and read by commands.
enum Stored {
    String(Vec<u8>),
    Hash(Vec<(Vec<u8>, Vec<u8>)>),
}

impl Stored {
    fn random(random: &mut Random) -> Stored {
        if random.below(2) == 0 {
            return Stored::String(random.bytes());
        }
        // Around the sizes at which Redis changes the encoding (512 fields, 64 bytes) and the listpack its length forms.
        let count = [1, 2, 10, 100, 511, 513, 2000][random.below(7)];
        let mut fields: Vec<(Vec<u8>, Vec<u8>)> = (0..count).map(|_| (random.bytes(), random.bytes())).collect();
        fields.sort();
        fields.dedup_by(|a, b| a.0 == b.0);
        Stored::Hash(fields)
    }

    fn store(&self, call: &mut dyn FnMut(&[&[u8]]) -> Value) {
        match self {
            Stored::String(string) => assert_eq!(call(&[b"SET", b"k", string]), Value::Simple("OK".into())),
            Stored::Hash(fields) => {
                let mut arguments: Vec<&[u8]> = vec![b"HSET", b"k"];
                arguments.extend(fields.iter().flat_map(|(field, value)| [field.as_slice(), value]));
                assert_eq!(call(&arguments), Value::Integer(i64::try_from(fields.len()).expect("few fields")));
            }
        }
    }

    fn read(&self, call: &mut dyn FnMut(&[&[u8]]) -> Value) -> Value {
        let Value::Array(items) = call(match self {
            Stored::String(_) => &[b"MGET", b"k"],
            Stored::Hash(_) => &[b"HGETALL", b"k"],
        }) else {
            return Value::Nil;
        };
        let mut pairs: Vec<Value> = items.chunks(2).map(|pair| Value::Array(pair.to_vec())).collect();
        pairs.sort();
        Value::Array(pairs)
    }

    /// What [`Stored::read`] gives if nothing was lost.
    fn expected(&self) -> Value {
        Value::Array(match self {
            Stored::String(string) => vec![Value::Array(vec![Value::Bulk(string.clone())])],
            Stored::Hash(fields) => {
                let pair = |(field, value): &(Vec<u8>, Vec<u8>)| {
                    Value::Array(vec![Value::Bulk(field.clone()), Value::Bulk(value.clone())])
                };
                fields.iter().map(pair).collect()
            }
        })
    }
}

fn call(peer: &mut Reference, arguments: &[&[u8]]) -> Value {
    let arguments: Vec<Vec<u8>> = arguments.iter().map(|argument| argument.to_vec()).collect();
    let exchange = |peer: &mut Reference| -> io::Result<Value> {
        peer.send(1, &encode_request(&arguments))?;
        let mut bytes = Vec::new();
        loop {
            bytes.extend(peer.receive(1)?);
            if let Some((value, _)) = Value::read(&bytes).map_err(io::Error::other)? {
                return Ok(value);
            }
        }
    };
    exchange(peer).expect("an answer of the reference")
}

fn bulk(value: Value) -> Vec<u8> {
    let Value::Bulk(bytes) = value else { panic!("no payload but {value}") };
    bytes
}

/// Our server, in process.
struct Ours {
    server: Server,
    session: Session,
}

impl Ours {
    fn new() -> Ours {
        let shard = Shard::in_memory(&Limits::default(), SEED).expect("the default limits allow a shard");
        let server =
            Server::new(Settings { io_threads: 1, ..Settings::default() }, shard, Clock::manual(1_700_000_000_000));
        Ours { session: Session::new(&server), server }
    }

    fn call(&mut self, arguments: &[&[u8]]) -> Value {
        let mut output = Output::new();
        dispatch(&self.server, &mut self.session, arguments, &mut output);
        let bytes: Vec<u8> = output.chunks().flatten().copied().collect();
        Value::read(&bytes).expect("a reply").expect("a whole reply").0
    }
}

/// SplitMix64, so that a seed gives the same values everywhere.
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % bound as u64).expect("less than bound")
    }

    /// An integer of any size, a text that Redis compresses, or any bytes, of lengths around the limits of the format.
    fn bytes(&mut self) -> Vec<u8> {
        match self.below(4) {
            0 => (self.number().cast_signed() >> self.below(64)).to_string().into_bytes(),
            1 => {
                let word: Vec<u8> = (0..=self.below(9)).map(|_| b'a' + self.number().to_le_bytes()[0] % 26).collect();
                word.repeat(1 + self.below(60))
            }
            2 => (0..self.below(20)).map(|_| self.number().to_le_bytes()[0]).collect(),
            _ => {
                let length = [63, 64, 65, 127, 4095, 4096, 16_383, 16_384, 70_000][self.below(9)];
                if self.below(50) > 0 { self.number().to_le_bytes().to_vec() } else { vec![b'x'; length] }
            }
        }
    }
}
