//! What one connection's requests mean: the entries they make, and the replies they should get.

use std::collections::BTreeMap;
use sutra_protocol::{Frame, encode_request};

pub(crate) type Key = Vec<u8>;
pub(crate) type State = BTreeMap<Key, Entry>;

/// The value of a key, as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(Vec<u8>),
    Fields(BTreeMap<Vec<u8>, Vec<u8>>),
}

/// A key's value and when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    pub(crate) expires_at_ms: Option<u64>,
}

/// One step of a program: applied as a whole or not at all.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Set {
        key: Key,
        value: Vec<u8>,
        expires_at_ms: Option<u64>,
    },
    SetMany(Vec<(Key, Vec<u8>)>),
    Delete(Vec<Key>),
    ExpireAt {
        key: Key,
        at_ms: u64,
    },
    Persist(Key),
    Append {
        key: Key,
        suffix: Vec<u8>,
    },
    Increment(Key),
    SetFields {
        key: Key,
        fields: Vec<(Vec<u8>, Vec<u8>)>,
    },
    DeleteField {
        key: Key,
        field: Vec<u8>,
    },
    Rename {
        from: Key,
        to: Key,
    },
    Flush,
    Get(Key),
    /// MULTI, these, EXEC.
    Together(Vec<Op>),
}

/// When something happened: not before `from_ms`, not after `to_ms` (Unix milliseconds).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) from_ms: u64,
    pub(crate) to_ms: u64,
}

impl Entry {
    pub(crate) fn text(value: impl Into<Vec<u8>>) -> Entry {
        Entry { value: Value::Text(value.into()), expires_at_ms: None }
    }

    /// Whether it may still be served at some instant of the window.
    pub(crate) fn may_live(&self, window: Window) -> bool {
        self.expires_at_ms.is_none_or(|at_ms| window.from_ms < at_ms)
    }

    /// Whether it must be served at every instant of the window.
    pub(crate) fn must_live(&self, window: Window) -> bool {
        self.expires_at_ms.is_none_or(|at_ms| window.to_ms < at_ms)
    }
}

impl Op {
    /// Appends the request, or requests.
    pub(crate) fn encode(&self, output: &mut Vec<u8>) {
        let mut request = |arguments: &[&[u8]]| encode_request(arguments, output);
        match self {
            Op::Set { key, value, expires_at_ms: None } => request(&[b"SET", key, value]),
            Op::Set { key, value, expires_at_ms: Some(at_ms) } => {
                request(&[b"SET", key, value, b"PXAT", at_ms.to_string().as_bytes()]);
            }
            Op::SetMany(pairs) => {
                let pairs = pairs.iter().flat_map(|(key, value)| [&key[..], value]);
                request(&[&b"MSET"[..]].into_iter().chain(pairs).collect::<Vec<_>>());
            }
            Op::Delete(keys) => {
                let keys = keys.iter().map(Vec::as_slice);
                request(&[&b"DEL"[..]].into_iter().chain(keys).collect::<Vec<_>>());
            }
            Op::ExpireAt { key, at_ms } => request(&[b"PEXPIREAT", key, at_ms.to_string().as_bytes()]),
            Op::Persist(key) => request(&[b"PERSIST", key]),
            Op::Append { key, suffix } => request(&[b"APPEND", key, suffix]),
            Op::Increment(key) => request(&[b"INCR", key]),
            Op::SetFields { key, fields } => {
                let fields = fields.iter().flat_map(|(field, value)| [&field[..], value]);
                request(&[&b"HSET"[..], key].into_iter().chain(fields).collect::<Vec<_>>());
            }
            Op::DeleteField { key, field } => request(&[b"HDEL", key, field]),
            Op::Rename { from, to } => request(&[b"RENAME", from, to]),
            Op::Flush => request(&[b"FLUSHDB"]),
            Op::Get(key) => request(&[b"GET", key]),
            Op::Together(ops) => {
                request(&[b"MULTI"]);
                ops.iter().for_each(|op| op.encode(output));
                encode_request(&[b"EXEC"], output);
            }
        }
    }

    /// How many replies come before the one that counts: those of MULTI and of what it queues.
    pub(crate) fn preliminary_replies(&self) -> usize {
        match self {
            Op::Together(ops) => 1 + ops.len(),
            Op::Set { .. }
            | Op::SetMany(_)
            | Op::Delete(_)
            | Op::ExpireAt { .. }
            | Op::Persist(_)
            | Op::Append { .. }
            | Op::Increment(_)
            | Op::SetFields { .. }
            | Op::DeleteField { .. }
            | Op::Rename { .. }
            | Op::Flush
            | Op::Get(_) => 0,
        }
    }

    /// The op itself, or those that it holds together.
    pub(crate) fn parts(&self) -> &[Op] {
        if let Op::Together(ops) = self { ops } else { std::slice::from_ref(self) }
    }

    /// The keys that a single op names.
    pub(crate) fn keys(&self) -> Vec<&Key> {
        match self {
            Op::Set { key, .. }
            | Op::ExpireAt { key, .. }
            | Op::Append { key, .. }
            | Op::SetFields { key, .. }
            | Op::DeleteField { key, .. }
            | Op::Persist(key)
            | Op::Increment(key)
            | Op::Get(key) => vec![key],
            Op::SetMany(pairs) => pairs.iter().map(|(key, _)| key).collect(),
            Op::Delete(keys) => keys.iter().collect(),
            Op::Rename { from, to } => vec![from, to],
            Op::Flush => Vec::new(),
            Op::Together(ops) => ops.iter().flat_map(Op::keys).collect(),
        }
    }

    /// Does to the state what the server does, and returns the replies that a server which evicts nothing may give.
    pub(crate) fn apply(&self, state: &mut State) -> Expected {
        let ok = || Expected::Exactly(Frame::Simple("OK".to_owned()));
        match self {
            Op::Set { key, value, expires_at_ms } => {
                let entry = Entry { value: Value::Text(value.clone()), expires_at_ms: *expires_at_ms };
                state.insert(key.clone(), entry);
                ok()
            }
            Op::SetMany(pairs) => {
                for (key, value) in pairs {
                    state.insert(key.clone(), Entry::text(value.clone()));
                }
                ok()
            }
            Op::Delete(keys) => Expected::count(keys.iter().filter(|key| state.remove(*key).is_some()).count()),
            Op::ExpireAt { key, at_ms } => {
                let entry = state.get_mut(key);
                let found = entry.is_some();
                if let Some(entry) = entry {
                    entry.expires_at_ms = Some(*at_ms);
                }
                Expected::count(usize::from(found))
            }
            Op::Persist(key) => {
                let had = state.get_mut(key).and_then(|entry| entry.expires_at_ms.take());
                Expected::count(usize::from(had.is_some()))
            }
            Op::Append { key, suffix } => {
                let entry = state.entry(key.clone()).or_insert_with(|| Entry::text(""));
                let Value::Text(text) = &mut entry.value else { panic!("programs keep kinds of keys apart") };
                text.extend_from_slice(suffix);
                Expected::Exactly(Frame::Integer(text.len() as i64))
            }
            Op::Increment(key) => {
                let entry = state.entry(key.clone()).or_insert_with(|| Entry::text("0"));
                let Value::Text(text) = &mut entry.value else { panic!("programs keep kinds of keys apart") };
                let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
                let number = number.expect("programs increment counters only") + 1;
                *text = number.to_string().into_bytes();
                Expected::Exactly(Frame::Integer(number))
            }
            Op::SetFields { key, fields } => {
                let empty = || Entry { value: Value::Fields(BTreeMap::new()), expires_at_ms: None };
                let Value::Fields(map) = &mut state.entry(key.clone()).or_insert_with(empty).value else {
                    panic!("programs keep kinds of keys apart")
                };
                let new = fields.iter().filter(|(field, value)| map.insert(field.clone(), value.clone()).is_none());
                Expected::AtLeast { count: new.count(), most: fields.len() }
            }
            Op::DeleteField { key, field } => {
                let Some(Entry { value: Value::Fields(map), .. }) = state.get_mut(key) else {
                    return Expected::count(0);
                };
                let had = map.remove(field).is_some();
                if map.is_empty() {
                    state.remove(key);
                }
                Expected::count(usize::from(had))
            }
            Op::Rename { from, to } => match state.remove(from) {
                Some(entry) => {
                    state.insert(to.clone(), entry);
                    ok()
                }
                None => Expected::Exactly(Frame::Error("ERR no such key".to_owned())),
            },
            Op::Flush => {
                state.clear();
                ok()
            }
            Op::Get(key) => Expected::Entry(state.get(key).cloned()),
            Op::Together(ops) => Expected::All(ops.iter().map(|op| op.apply(state)).collect()),
        }
    }
}

/// The reply that an op should get.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    Exactly(Frame),
    /// Entries found; fewer when some were evicted.
    AtMost {
        count: usize,
    },
    /// Fields that are new; more, up to `most`, when the hash was evicted.
    AtLeast {
        count: usize,
        most: usize,
    },
    /// The entry's text; nothing if it has expired or was evicted.
    Entry(Option<Entry>),
    All(Vec<Expected>),
}

impl Expected {
    fn count(count: usize) -> Expected {
        Expected::AtMost { count }
    }

    /// Whether this is a reply that the op may get within the window.
    pub(crate) fn allows(&self, reply: &Frame, window: Window, may_evict: bool) -> bool {
        match (self, reply) {
            (Expected::Exactly(expected), reply) => expected == reply,
            (Expected::AtMost { count }, Frame::Integer(found)) => {
                let count = *count as i64;
                *found == count || (may_evict && (0..count).contains(found))
            }
            (Expected::AtLeast { count, most }, Frame::Integer(found)) => {
                let (count, most) = (*count as i64, *most as i64);
                *found == count || (may_evict && (count..=most).contains(found))
            }
            (Expected::Entry(None), reply) => *reply == Frame::Null,
            (Expected::Entry(Some(entry)), Frame::Null) => may_evict || !entry.must_live(window),
            (Expected::Entry(Some(entry)), Frame::Bulk(bytes)) => {
                entry.may_live(window) && matches!(&entry.value, Value::Text(text) if text == bytes)
            }
            (Expected::All(expected), Frame::Array(replies)) => {
                expected.len() == replies.len()
                    && expected.iter().zip(replies).all(|(expected, reply)| expected.allows(reply, window, may_evict))
            }
            (Expected::AtMost { .. } | Expected::AtLeast { .. } | Expected::Entry(Some(_)) | Expected::All(_), _) => {
                false
            }
        }
    }
}
