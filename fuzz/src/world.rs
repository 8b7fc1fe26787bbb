//! A simulated machine with a shard on it, what every state of that shard was, and what a shard holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use sutra_eviction::Policy;
use sutra_mmap_store::{Anonymous, SegmentSpace};
use sutra_shard::{Limits, OpenError, Options, Put, Recovery, Scope, Shard, Value};
use sutra_testkit::segments::SimSegments;
use sutra_testkit::storage::{Faults, SimStorage};
use sutra_wal::{Lsn, Storage};

/// Some day in 2027, in Unix milliseconds.
pub const NOW_MS: u64 = 1_800_000_000_000;

/// What a shard shows: keys of database 0, and their values in one notation.
pub type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// Files and segments.
#[derive(Clone, Default)]
pub struct Image {
    pub files: Vec<(String, Vec<u8>)>,
    pub segments: Vec<(u16, Vec<u8>)>,
    pub mapped: bool,
}

/// Small files and segments, so that short programs fill several.
pub fn options(mapped: bool) -> Options {
    let limits = Limits { max_memory_bytes: 2 << 20, max_entries: 0, policy: Policy::NoEviction };
    Options {
        mapped,
        limits,
        log_file_bytes: 4 << 10,
        checkpoint_log_bytes: 1 << 20,
        seed: 3,
        ..Options::new("simulated")
    }
}

/// A machine's disks.
#[derive(Clone)]
pub struct World {
    pub storage: SimStorage,
    pub segments: SimSegments,
}

impl Default for World {
    fn default() -> World {
        World { storage: SimStorage::new(1, Faults::default()), segments: SimSegments::new() }
    }
}

impl World {
    pub fn open(&self, options: &Options, now_ms: u64) -> Result<(Shard, Recovery), OpenError> {
        let space: Box<dyn SegmentSpace> =
            if options.mapped { Box::new(self.segments.clone()) } else { Box::new(Anonymous) };
        Shard::open_on(Arc::new(self.storage.clone()), space, options, now_ms)
    }

    /// The disks as the next process finds them.
    pub fn kill(&self) -> World {
        World { storage: self.storage.kill(), segments: self.segments.kill() }
    }

    pub fn image(&self, mapped: bool) -> Image {
        let names = self.storage.list().expect("no fault is planned");
        let files = names.into_iter().filter_map(|name| Some((name.clone(), self.storage.content(&name)?))).collect();
        let segments =
            self.segments.ids().into_iter().filter_map(|id| Some((id, self.segments.content(id)?))).collect();
        Image { files, segments, mapped }
    }
}

impl Image {
    pub fn world(&self) -> World {
        let world = World::default();
        for (name, content) in &self.files {
            world.storage.put(name, content.clone());
        }
        for (id, content) in &self.segments {
            world.segments.set_content(*id, content.clone());
        }
        world
    }
}

/// Everything in database 0.
pub fn content(shard: &Shard, now_ms: u64) -> State {
    let txn = shard.begin(Scope::All, now_ms);
    let mut keys = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = txn.scan(0, cursor, 100, &mut |key, _| keys.push(key.to_vec()));
        if cursor == 0 {
            break;
        }
    }
    keys.into_iter().filter_map(|key| Some((key.clone(), shown(txn.peek(0, &key)?.value, now_ms)))).collect()
}

/// A value in one notation.
pub fn shown(value: Value<'_>, now_ms: u64) -> Vec<u8> {
    match value {
        Value::String(string) => string.as_slice().to_vec(),
        Value::Hash(hash) => {
            let mut fields: Vec<_> = hash.iter(now_ms).map(|(field, value)| [field, b"=", value].concat()).collect();
            fields.sort();
            [b"hash:".to_vec(), fields.join(&b","[..])].concat()
        }
    }
}

/// A machine after a fixed program of puts, hashes, deletes, a checkpoint and more of the same, and every state on the way.
pub fn lived_in(mapped: bool, with_checkpoint: bool) -> (Image, Vec<State>) {
    let world = World::default();
    let (shard, _) = world.open(&options(mapped), NOW_MS).expect("an empty world opens");
    let mut states = vec![State::new()];
    for step in 0..60u64 {
        let key = format!("key:{}", step * 7 % 13).into_bytes();
        let mut state = states.last().cloned().unwrap_or_default();
        let mut txn = shard.begin(Scope::Key(&key), NOW_MS);
        match step % 5 {
            0..=2 => {
                let value = format!("{step}:").repeat([1, 40, 900][step as usize % 3]).into_bytes();
                txn.put(0, &key, &value, Put::default()).expect("room");
                state.insert(key, value);
            }
            3 => {
                let number = step.to_string();
                txn.delete(0, &key);
                txn.hash_set(0, &key, &[(b"field", number.as_bytes()), (b"other", b"x")], false).expect("a hash");
                state.insert(key, format!("hash:field={number},other=x").into_bytes());
            }
            _ => {
                txn.delete(0, &key);
                state.remove(&key);
            }
        }
        txn.commit().expect("logged");
        states.push(state);
        if step % 9 == 8 {
            shard.sync().expect("synced");
        }
        if with_checkpoint && step == 30 {
            shard.checkpoint(NOW_MS).expect("a checkpoint");
        }
    }
    shard.flush_log(Lsn(shard.persistence().last_lsn)).expect("flushed");
    drop(shard);
    (world.kill().image(mapped), states)
}
