//! Interim engine: the public surface over a plain map, so that the server can be built while the stores are.
#![expect(missing_docs, reason = "interim, replaced by the engine")]
use crate::api::*;
use crate::heap::{HashValue, HeapValue};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Clone, Default)]
pub struct Options {}

/// Set once any watched key has changed.
pub type WatchFlag = Arc<AtomicBool>;

enum Stored {
    Bytes(Vec<u8>),
    Heap(HeapValue),
}
struct Item {
    stored: Stored,
    expires_at_ms: Option<u64>,
    cost: f32,
}
#[derive(Default)]
struct State {
    map: HashMap<(u8, Vec<u8>), Item>,
    watchers: Vec<(u8, Vec<u8>, WatchFlag)>,
}
pub struct Shard {
    state: Mutex<State>,
}
pub struct Txn<'s> {
    state: MutexGuard<'s, State>,
    now_ms: u64,
}

impl Shard {
    #[must_use]
    pub fn interim() -> Shard {
        Shard { state: Mutex::default() }
    }
    /// Locks what `scope` names. Everything seen and done through the transaction happens at one instant.
    pub fn begin(&self, _scope: Scope<'_>, now_ms: u64) -> Txn<'_> {
        Txn { state: self.state.lock().unwrap_or_else(PoisonError::into_inner), now_ms }
    }
    /// Entries in a database (may count some that have expired but are not yet removed, as Redis does).
    pub fn database_len(&self, db: u8) -> u64 {
        self.begin(Scope::All, 0).state.map.keys().filter(|k| k.0 == db).count() as u64
    }
    pub fn database_stats(&self, db: u8) -> DatabaseStats {
        DatabaseStats { keys: self.database_len(db), expires: 0, average_ttl_ms: 0 }
    }
}

impl std::fmt::Debug for Txn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Txn").field("now_ms", &self.now_ms).finish_non_exhaustive()
    }
}

impl Txn<'_> {
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }
    fn item(&self, db: u8, key: &[u8]) -> Option<&Item> {
        self.state.map.get(&(db, key.to_vec())).filter(|i| i.expires_at_ms.is_none_or(|e| e > self.now_ms))
    }
    fn entry<'t>(&'t self, item: &'t Item) -> Entry<'t> {
        let value = match &item.stored {
            Stored::Bytes(b) => Value::String(StringRef { bytes: b }),
            Stored::Heap(HeapValue::Hash(h)) => Value::Hash(h),
        };
        Entry { value, expires_at_ms: item.expires_at_ms, idle_ms: 0, frequency: 5, cost: item.cost, memory_bytes: 64 }
    }
    /// The live entry, for reading: counts a keyspace hit or miss and refreshes recency.
    pub fn get(&self, db: u8, key: &[u8]) -> Option<Entry<'_>> {
        self.item(db, key).map(|i| self.entry(i))
    }
    /// The live entry, for looking at: counts nothing, refreshes nothing (OBJECT, TTL, writes that check first).
    pub fn peek(&self, db: u8, key: &[u8]) -> Option<Entry<'_>> {
        self.item(db, key).map(|i| self.entry(i))
    }
    /// `get` for commands on strings.
    pub fn string(&self, db: u8, key: &[u8]) -> Result<Option<StringRef<'_>>, WriteError> {
        match self.get(db, key).map(|e| e.value) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(Value::Hash(_)) => Err(WriteError::WrongType),
        }
    }
    /// `get` for commands on hashes.
    pub fn hash(&self, db: u8, key: &[u8]) -> Result<Option<&HashValue>, WriteError> {
        match self.get(db, key).map(|e| e.value) {
            None => Ok(None),
            Some(Value::Hash(h)) => Ok(Some(h)),
            Some(Value::String(_)) => Err(WriteError::WrongType),
        }
    }
    fn touched(&mut self, db: u8, key: &[u8]) {
        for (d, k, flag) in &self.state.watchers {
            if *d == db && k == key {
                flag.store(true, Ordering::Relaxed);
            }
        }
    }
    /// Stores a string, replacing whatever was there, its expiry included.
    pub fn put(&mut self, db: u8, key: &[u8], value: &[u8], put: Put) -> Result<(), WriteError> {
        self.touched(db, key);
        self.state.map.insert(
            (db, key.to_vec()),
            Item { stored: Stored::Bytes(value.to_vec()), expires_at_ms: put.expires_at_ms, cost: put.cost.unwrap_or(1.0) },
        );
        Ok(())
    }
    /// Stores a heap value (RESTORE, COPY, RENAME of collections), replacing whatever was there.
    pub fn put_heap(&mut self, db: u8, key: &[u8], value: HeapValue, put: Put) -> Result<(), WriteError> {
        self.touched(db, key);
        self.state.map.insert(
            (db, key.to_vec()),
            Item { stored: Stored::Heap(value), expires_at_ms: put.expires_at_ms, cost: put.cost.unwrap_or(1.0) },
        );
        Ok(())
    }
    /// Removes an entry; whether a live one was there.
    pub fn delete(&mut self, db: u8, key: &[u8]) -> bool {
        let live = self.item(db, key).is_some();
        if live {
            self.touched(db, key);
        }
        self.state.map.remove(&(db, key.to_vec()));
        live
    }
    /// Sets or clears (`None`) the expiry of a live entry; whether there is one. A time that is not after now removes the entry.
    pub fn set_expiry(&mut self, db: u8, key: &[u8], expires_at_ms: Option<u64>) -> Result<bool, WriteError> {
        if self.item(db, key).is_none() {
            return Ok(false);
        }
        if expires_at_ms.is_some_and(|at| at <= self.now_ms) {
            self.delete(db, key);
            return Ok(true);
        }
        self.touched(db, key);
        if let Some(i) = self.state.map.get_mut(&(db, key.to_vec())) {
            i.expires_at_ms = expires_at_ms;
        }
        Ok(true)
    }
    /// Copies the entry as it is (value, expiry, cost) over `to`, which may be in another database; whether there was one.
    /// With `remove_source` it is moved (RENAME, MOVE).
    pub fn copy(&mut self, from: (u8, &[u8]), to: (u8, &[u8]), remove_source: bool) -> Result<bool, WriteError> {
        let Some(item) = self.item(from.0, from.1) else { return Ok(false) };
        let stored = match &item.stored {
            Stored::Bytes(b) => Stored::Bytes(b.clone()),
            Stored::Heap(h) => Stored::Heap(h.clone()),
        };
        let copy = Item { stored, expires_at_ms: item.expires_at_ms, cost: item.cost };
        if remove_source {
            self.delete(from.0, from.1);
        }
        self.touched(to.0, to.1);
        self.state.map.insert((to.0, to.1.to_vec()), copy);
        Ok(true)
    }
    /// Writes `data` at `offset` of a string, zero-filling a gap and keeping the expiry; creates the entry. Returns the new length.
    /// (SETRANGE, APPEND with the present length as offset, SETBIT, BITFIELD: cheap on large values.)
    pub fn write_range(&mut self, db: u8, key: &[u8], offset: usize, data: &[u8]) -> Result<usize, WriteError> {
        let (mut bytes, expiry) = match self.peek(db, key) {
            None => (Vec::new(), None),
            Some(Entry { value: Value::String(s), expires_at_ms, .. }) => (s.as_slice().to_vec(), expires_at_ms),
            Some(Entry { value: Value::Hash(_), .. }) => return Err(WriteError::WrongType),
        };
        if bytes.len() < offset + data.len() {
            bytes.resize(offset + data.len(), 0);
        }
        bytes[offset..offset + data.len()].copy_from_slice(data);
        let len = bytes.len();
        self.put(db, key, &bytes, Put { expires_at_ms: expiry, cost: None })?;
        Ok(len)
    }
    fn hash_mut(&mut self, db: u8, key: &[u8]) -> Result<&mut HashValue, WriteError> {
        if self.item(db, key).is_none() {
            self.put_heap(db, key, HeapValue::Hash(HashValue::default()), Put::default())?;
        }
        self.touched(db, key);
        match self.state.map.get_mut(&(db, key.to_vec())) {
            Some(Item { stored: Stored::Heap(HeapValue::Hash(h)), .. }) => Ok(h),
            Some(_) | None => Err(WriteError::WrongType),
        }
    }
    /// Sets fields, creating the hash; `keep_ttl` keeps the expiry of fields that had one (HINCRBY), otherwise it is cleared
    /// (HSET). Returns how many fields are new.
    pub fn hash_set(&mut self, db: u8, key: &[u8], fields: &[(&[u8], &[u8])], keep_ttl: bool) -> Result<usize, WriteError> {
        let now = self.now_ms;
        let hash = self.hash_mut(db, key)?;
        let mut new = 0;
        for (f, v) in fields {
            let old = hash.field_expiry(f, now);
            new += usize::from(old.is_none());
            let expiry = if keep_ttl { old.flatten() } else { None };
            hash.fields.insert(f.to_vec(), (v.to_vec(), expiry));
        }
        Ok(new)
    }
    /// Removes fields, and the entry with its last field. Returns how many live fields went.
    pub fn hash_remove(&mut self, db: u8, key: &[u8], fields: &[&[u8]]) -> Result<usize, WriteError> {
        let now = self.now_ms;
        if self.hash(db, key)?.is_none() {
            return Ok(0);
        }
        let hash = self.hash_mut(db, key)?;
        let mut gone = 0;
        for f in fields {
            gone += usize::from(hash.field_expiry(f, now).is_some());
            hash.fields.remove(*f);
        }
        if hash.is_empty(now) {
            self.delete(db, key);
        }
        Ok(gone)
    }
    /// Sets or clears the expiry of fields; a time not after now removes the field (and the entry with its last field).
    /// Returns, per field, whether it was there.
    pub fn hash_expire(&mut self, db: u8, key: &[u8], fields: &[&[u8]], at_ms: Option<u64>) -> Result<Vec<bool>, WriteError> {
        let now = self.now_ms;
        if self.hash(db, key)?.is_none() {
            return Ok(vec![false; fields.len()]);
        }
        let hash = self.hash_mut(db, key)?;
        let found = fields
            .iter()
            .map(|f| {
                let there = hash.field_expiry(f, now).is_some();
                if there && at_ms.is_some_and(|at| at <= now) {
                    hash.fields.remove(*f);
                } else if let Some(x) = hash.fields.get_mut(*f) {
                    x.1 = at_ms;
                }
                there
            })
            .collect();
        if hash.is_empty(now) {
            self.delete(db, key);
        }
        Ok(found)
    }
    /// Visits about `count` live entries of a database from `cursor` on (0 = start) and returns the next cursor (0 = done).
    /// An entry that stays for the whole iteration is visited. Needs `Scope::All`.
    pub fn scan(&self, db: u8, _cursor: u64, _count: usize, visit: &mut dyn FnMut(&[u8], ValueKind)) -> u64 {
        for ((d, k), i) in &self.state.map {
            if *d == db && i.expires_at_ms.is_none_or(|e| e > self.now_ms) {
                visit(k, self.entry(i).value.kind());
            }
        }
        0
    }
    /// Entries in a database, as this transaction has left it (may count some that have expired but are not yet removed).
    /// Needs no scope.
    pub fn database_len(&self, db: u8) -> u64 {
        self.state.map.keys().filter(|k| k.0 == db).count() as u64
    }
    /// A live key of the database, chosen by a random number. Needs `Scope::All`.
    pub fn random_key(&self, db: u8, number: u64) -> Option<Vec<u8>> {
        let mut keys = Vec::new();
        self.scan(db, 0, 0, &mut |k, _| keys.push(k.to_vec()));
        (!keys.is_empty()).then(|| keys.swap_remove((number % keys.len() as u64) as usize))
    }
    /// Removes every entry of a database. Needs `Scope::All`.
    pub fn flush_database(&mut self, db: u8) -> Result<(), WriteError> {
        let keys: Vec<_> = self.state.map.keys().filter(|k| k.0 == db).cloned().collect();
        for (d, k) in keys {
            self.delete(d, &k);
        }
        Ok(())
    }
    /// Exchanges two databases. Needs `Scope::All`.
    pub fn swap_databases(&mut self, a: u8, b: u8) -> Result<(), WriteError> {
        let old = std::mem::take(&mut self.state.map);
        for ((d, k), i) in old {
            let d = if d == a { b } else if d == b { a } else { d };
            self.state.map.insert((d, k), i);
        }
        for (d, _, flag) in &self.state.watchers {
            if *d == a || *d == b {
                flag.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }
    /// Raises `flag` as soon as the entry changes, is removed or expires (WATCH). Dropping every clone of the flag ends the watch.
    pub fn watch(&mut self, db: u8, key: &[u8], flag: &WatchFlag) {
        self.state.watchers.push((db, key.to_vec(), flag.clone()));
    }
}
