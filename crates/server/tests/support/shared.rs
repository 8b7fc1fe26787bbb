//! Keys that all connections write at once: counters that add up, and pairs that only MSET writes, so both halves are always equal.

use crate::ledger::Broken;
use crate::support::client::Client;
use crate::support::random::Random;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use sutra_protocol::{Frame, encode_request};

const COUNTERS: usize = 3;
const PAIRS: usize = 8;

pub(crate) struct Shared {
    counters: Vec<Counter>,
    pairs: Vec<Mutex<Pair>>,
}

#[derive(Default)]
struct Counter {
    sent: AtomicI64,
    acknowledged: AtomicI64,
}

/// What the writers, by number, have written to a pair.
struct Pair {
    /// The versions of each writer that may still be there: from the last acknowledged to the last sent.
    writers: Vec<Versions>,
    /// What was there when the server was last started, if that still may be.
    recovered: Option<String>,
    any_acknowledged: bool,
}

#[derive(Clone, Copy)]
struct Versions {
    least: u64,
    sent: u64,
}

impl Shared {
    pub(crate) fn new(writers: usize) -> Shared {
        let pair = || Pair {
            writers: vec![Versions { least: 1, sent: 0 }; writers],
            recovered: None,
            any_acknowledged: false,
        };
        Shared {
            counters: (0..COUNTERS).map(|_| Counter::default()).collect(),
            pairs: (0..PAIRS).map(|_| Mutex::new(pair())).collect(),
        }
    }

    /// One INCR, one MSET and one MGET of writer `writer`, pipelined. Errors of the connection end the inner result.
    pub(crate) fn round(
        &self,
        client: &mut Client,
        writer: usize,
        random: &mut Random,
    ) -> io::Result<Result<(), Broken>> {
        let (counter, pair, looked_at) = (random.below(COUNTERS), random.below(PAIRS), random.below(PAIRS));
        self.counters[counter].sent.fetch_add(1, Ordering::SeqCst);
        let version = {
            let mut pair = self.pairs[pair].lock().expect("no writer panics");
            pair.writers[writer].sent += 1;
            pair.writers[writer].sent
        };
        let value = format!("{writer}:{version}");
        let mut requests = Vec::new();
        encode_request(&["INCR", &format!("n{counter}")], &mut requests);
        encode_request(&["MSET", &format!("p{pair}a"), &value, &format!("p{pair}b"), &value], &mut requests);
        encode_request(&["MGET", &format!("p{looked_at}a"), &format!("p{looked_at}b")], &mut requests);
        client.send(&requests)?;
        let count = client.receive()?;
        self.counters[counter].acknowledged.fetch_add(1, Ordering::SeqCst);
        let set = client.receive()?;
        {
            let mut pair = self.pairs[pair].lock().expect("no writer panics");
            pair.writers[writer].least = version;
            pair.any_acknowledged = true;
            pair.recovered = None;
        }
        let halves = client.receive()?;
        Ok(match (&count, &set, &halves) {
            (Frame::Integer(_), Frame::Simple(ok), Frame::Array(halves)) if ok == "OK" && halves[0] == halves[1] => {
                Ok(())
            }
            _ => Err(Broken(format!("INCR, MSET, MGET of a pair answered {count:?}, {set:?}, {halves:?}"))),
        })
    }

    /// Checks what a server that was started again has; that is the truth from now on.
    pub(crate) fn recovered(&self, client: &mut Client) -> Result<(), Broken> {
        for (index, counter) in self.counters.iter().enumerate() {
            let (sent, acknowledged) =
                (counter.sent.load(Ordering::SeqCst), counter.acknowledged.load(Ordering::SeqCst));
            let found = if let Frame::Bulk(text) = client.say(&format!("GET n{index}")) {
                String::from_utf8_lossy(&text).parse().unwrap_or(-1)
            } else {
                0
            };
            if !(acknowledged..=sent).contains(&found) {
                return Err(Broken(format!(
                    "counter {index} is {found}: {acknowledged} increments were acknowledged, {sent} sent"
                )));
            }
            counter.sent.store(found, Ordering::SeqCst);
            counter.acknowledged.store(found, Ordering::SeqCst);
        }
        for (index, pair) in self.pairs.iter().enumerate() {
            let Frame::Array(halves) = client.say(&format!("MGET p{index}a p{index}b")) else {
                return Err(Broken(format!("pair {index} cannot be read")));
            };
            let found = match &halves[..] {
                [Frame::Null, Frame::Null] => None,
                [Frame::Bulk(a), Frame::Bulk(b)] if a == b => Some(String::from_utf8_lossy(a).into_owned()),
                _ => return Err(Broken(format!("the halves of pair {index} differ: {halves:?}"))),
            };
            pair.lock().expect("no writer panics").settle(index, found)?;
        }
        Ok(())
    }
}

impl Pair {
    fn settle(&mut self, index: usize, found: Option<String>) -> Result<(), Broken> {
        let is_possible = match &found {
            None => !self.any_acknowledged,
            Some(found) => {
                let parts = found
                    .split_once(':')
                    .and_then(|(writer, version)| Some((writer.parse::<usize>().ok()?, version.parse::<u64>().ok()?)));
                let is_recent = parts.is_some_and(|(writer, version)| {
                    self.writers.get(writer).is_some_and(|known| (known.least..=known.sent).contains(&version))
                });
                is_recent || self.recovered.as_ref() == Some(found)
            }
        };
        if !is_possible {
            return Err(Broken(format!("pair {index} is {found:?}, which is lost, stale or was never written")));
        }
        // What was sent before and is not there now can never be seen again.
        self.writers.iter_mut().for_each(|known| known.least = known.sent + 1);
        self.any_acknowledged = found.is_some();
        self.recovered = found;
        Ok(())
    }
}
