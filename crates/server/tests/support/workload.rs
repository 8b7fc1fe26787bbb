//! Random programs for one connection. Kinds of keys are told apart by their first letter, so that no op meets a value of the wrong kind.

use super::model::{Key, Op};
use crate::support::random::Random;

/// Half of what a connection sends and receives in one batch may be so much: neither side then waits for the other to read.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Longer than any test runs.
const FAR_MS: u64 = 3_600_000;

pub(crate) struct Workload {
    random: Random,
    keys: usize,
    /// Every value is a new one.
    version: u64,
    may_evict: bool,
}

impl Workload {
    /// A program over so many keys of each kind. With `may_evict` it holds only ops whose result does not depend on what was there.
    pub(crate) fn new(random: Random, keys: usize, may_evict: bool) -> Workload {
        Workload { random, keys, version: 0, may_evict }
    }

    /// Ops to be sent in one go, in Unix milliseconds `now_ms`.
    pub(crate) fn batch(&mut self, now_ms: u64) -> Vec<Op> {
        let most = 1 + self.random.below(48);
        let (mut ops, mut bytes) = (Vec::new(), 0);
        while ops.len() < most && bytes < BATCH_BYTES_MAX {
            let op = if self.random.one_in(12) {
                Op::Together((0..2 + self.random.below(6)).map(|_| self.op(now_ms)).collect())
            } else {
                self.op(now_ms)
            };
            let mut request = Vec::new();
            op.encode(&mut request);
            bytes += if matches!(op, Op::Get(_)) { 16 * 1024 } else { request.len() };
            ops.push(op);
        }
        ops
    }

    fn op(&mut self, now_ms: u64) -> Op {
        let number = self.random.below(100);
        match number {
            0..25 => {
                let key = self.key('s');
                let value = self.value(&key);
                let expires_at_ms = self.random.one_in(4).then(|| now_ms + FAR_MS + self.random.below(10_000) as u64);
                Op::Set { key, value, expires_at_ms }
            }
            25..32 => {
                let key = self.key('t');
                let value = self.value(&key);
                Op::Set { key, value, expires_at_ms: Some(now_ms + 1 + self.random.below(600) as u64) }
            }
            32..40 => Op::SetMany(
                (0..2 + self.random.below(4))
                    .map(|_| {
                        let key = self.key('s');
                        let value = self.value(&key);
                        (key, value)
                    })
                    .collect(),
            ),
            40..50 => {
                let mut keys: Vec<Key> = (0..1 + self.random.below(3)).map(|_| self.key('s')).collect();
                keys.dedup();
                Op::Delete(keys)
            }
            50..55 => Op::ExpireAt { key: self.key('s'), at_ms: now_ms + FAR_MS + self.random.below(10_000) as u64 },
            55..57 => Op::Persist(self.key('s')),
            57..67 => {
                let key = self.key('h');
                let count = if self.may_evict { 4 } else { 1 + self.random.below(4) };
                let first = self.random.below(12);
                let fields = (0..count).map(|index| {
                    let field = if self.may_evict { index } else { (first + index) % 12 };
                    (format!("f{field}").into_bytes(), self.short_value(&key))
                });
                Op::SetFields { fields: fields.collect(), key: key.clone() }
            }
            67..69 => Op::Delete(vec![self.key('h')]),
            69..74 => Op::Get(self.key('t')),
            74..85 => Op::Get(self.key('s')),
            _ if self.may_evict => Op::Get(self.key('s')),
            85..88 => Op::DeleteField { key: self.key('h'), field: format!("f{}", self.random.below(12)).into_bytes() },
            88..93 => Op::Increment(self.key('c')),
            93..96 => {
                let key = self.key('a');
                Op::Append { suffix: self.short_value(&key), key }
            }
            96..97 => Op::Delete(vec![self.key('a')]),
            97..99 => Op::Rename { from: self.key('s'), to: self.key('s') },
            _ if self.random.one_in(30) => Op::Flush,
            _ => Op::Increment(self.key('c')),
        }
    }

    fn key(&mut self, kind: char) -> Key {
        format!("{kind}{}", self.random.below(self.keys)).into_bytes()
    }

    /// Key and version in clear, so that a value in the wrong place tells where it is from; then bytes that do not compress.
    fn value(&mut self, key: &[u8]) -> Vec<u8> {
        let bytes = match self.random.below(100) {
            0..40 => self.random.below(64),
            40..75 => 64 + self.random.below(1024),
            75..97 => 1024 + self.random.below(6 * 1024),
            97..99 => 8 * 1024 + self.random.below(32 * 1024),
            _ => 100_000 + self.random.below(100_000),
        };
        let mut value = self.short_value(key);
        let start = value.len();
        value.resize(start + bytes, 0);
        self.random.fill(&mut value[start..]);
        value
    }

    fn short_value(&mut self, key: &[u8]) -> Vec<u8> {
        self.version += 1;
        let mut value = key.to_vec();
        value.extend_from_slice(format!("|{}|", self.version).as_bytes());
        value
    }
}
