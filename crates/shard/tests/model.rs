//! Seeded random programs against a plain map, with time steps, sync, checkpoints, merges and reopening after process death.

#![expect(clippy::unwrap_used, reason = "a failure of any step of the program is a failure of the test")]

use std::collections::BTreeMap;
use sutra_eviction::Policy;
use sutra_shard::{Limits, Options, Put, Scope, Shard, Value};

type Key = (u8, Vec<u8>);

#[derive(Clone, Debug, PartialEq)]
enum Held {
    Bytes(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>),
}

#[derive(Clone, Debug, PartialEq)]
struct Item {
    held: Held,
    expires_at_ms: Option<u64>,
}

struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

fn options(directory: &std::path::Path, mapped: bool) -> Options {
    let limits = Limits { max_memory_bytes: 64 << 20, max_entries: 0, policy: Policy::NoEviction };
    Options { mapped, limits, log_file_bytes: 64 << 10, seed: 7, ..Options::new(directory) }
}

fn check(shard: &Shard, model: &BTreeMap<Key, Item>, now: u64, keys: u64, seed: u64, step: u64) {
    for db in 0..3u8 {
        for k in 0..keys {
            let key = format!("key:{k}").into_bytes();
            let txn = shard.begin(Scope::Key(&key), now);
            let expected = model.get(&(db, key.clone())).filter(|item| item.expires_at_ms.is_none_or(|at| at > now));
            let found = txn.peek(db, &key).map(|entry| Item {
                held: match entry.value {
                    Value::String(s) => Held::Bytes(s.as_slice().to_vec()),
                    Value::Hash(h) => Held::Hash(
                        h.fields(now).map(|f| (f.name.to_vec(), (f.value.to_vec(), f.expires_at_ms))).collect(),
                    ),
                },
                expires_at_ms: entry.expires_at_ms,
            });
            assert!(found.as_ref() == expected, "seed {seed} step {step} db {db} key {k}");
        }
    }
    // SCAN sees exactly the live keys.
    for db in 0..3u8 {
        let txn = shard.begin(Scope::All, now);
        let (mut cursor, mut seen) = (0, Vec::new());
        loop {
            cursor = txn.scan(db, cursor, 7, &mut |key, _| seen.push(key.to_vec()));
            if cursor == 0 {
                break;
            }
        }
        seen.sort();
        let expected: Vec<Vec<u8>> = model
            .iter()
            .filter(|((d, _), item)| *d == db && item.expires_at_ms.is_none_or(|at| at > now))
            .map(|((_, k), _)| k.clone())
            .collect();
        assert_eq!(seen, expected, "seed {seed} step {step} scan of db {db}");
    }
}

fn purge_hash(model: &mut BTreeMap<Key, Item>, now: u64) {
    model.retain(|_, item| match &mut item.held {
        Held::Bytes(_) => true,
        Held::Hash(fields) => {
            fields.retain(|_, (_, at)| at.is_none_or(|at| at > now));
            !fields.is_empty()
        }
    });
}

fn run(seed: u64, steps: u64, mapped: bool) {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path(), mapped);
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut now = 1_800_000_000_000u64;
    let (mut shard, _) = Shard::open(&options, now).unwrap();
    let mut model: BTreeMap<Key, Item> = BTreeMap::new();
    const KEYS: u64 = 40;
    for step in 0..steps {
        let db = random.below(3) as u8;
        let key = format!("key:{}", random.below(KEYS)).into_bytes();
        model.retain(|_, item| item.expires_at_ms.is_none_or(|at| at > now));
        purge_hash(&mut model, now);
        let at = (random.below(3) == 0).then(|| now + 1 + random.below(5000));
        let mut last = None;
        match random.below(20) {
            0..=6 => {
                let len = [0, 3, 60, 700, 5000, 40_000][random.below(6) as usize];
                let value: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
                let mut txn = shard.begin(Scope::Key(&key), now);
                txn.put(db, &key, &value, Put { expires_at_ms: at, cost: None }).unwrap();
                last = txn.commit().unwrap();
                model.insert((db, key), Item { held: Held::Bytes(value), expires_at_ms: at });
            }
            7..=8 => {
                let mut txn = shard.begin(Scope::Key(&key), now);
                let was = txn.delete(db, &key);
                last = txn.commit().unwrap();
                assert_eq!(was, model.remove(&(db, key)).is_some(), "seed {seed} step {step} delete");
            }
            9 => {
                let mut txn = shard.begin(Scope::Key(&key), now);
                let was = txn.set_expiry(db, &key, at).unwrap();
                last = txn.commit().unwrap();
                let item = model.get_mut(&(db, key));
                assert_eq!(was, item.is_some(), "seed {seed} step {step} expire");
                if let Some(item) = item {
                    item.expires_at_ms = at;
                }
            }
            10..=12 => {
                let fields: Vec<Vec<u8>> =
                    (0..1 + random.below(3)).map(|_| format!("f{}", random.below(9)).into_bytes()).collect();
                let value = vec![b'v'; random.below(90) as usize];
                let pairs: Vec<(&[u8], &[u8])> = fields.iter().map(|f| (f.as_slice(), value.as_slice())).collect();
                let mut txn = shard.begin(Scope::Key(&key), now);
                let result = txn.hash_set(db, &key, &pairs, false);
                last = txn.commit().unwrap();
                match model
                    .entry((db, key))
                    .or_insert_with(|| Item { held: Held::Hash(BTreeMap::new()), expires_at_ms: None })
                {
                    Item { held: Held::Hash(map), .. } => {
                        let new =
                            fields.iter().filter(|f| map.insert((*f).clone(), (value.clone(), None)).is_none()).count();
                        assert_eq!(result, Ok(new), "seed {seed} step {step}");
                    }
                    Item { held: Held::Bytes(_), .. } => assert!(result.is_err()),
                }
            }
            13 => {
                let field = format!("f{}", random.below(9)).into_bytes();
                let mut txn = shard.begin(Scope::Key(&key), now);
                let _ = txn.hash_expire(db, &key, &[&field], at);
                last = txn.commit().unwrap();
                if let Some(Item { held: Held::Hash(map), .. }) = model.get_mut(&(db, key))
                    && let Some(item) = map.get_mut(&field)
                {
                    item.1 = at;
                }
            }
            14 => {
                let field = format!("f{}", random.below(9)).into_bytes();
                let mut txn = shard.begin(Scope::Key(&key), now);
                let _ = txn.hash_remove(db, &key, &[&field]);
                last = txn.commit().unwrap();
                if let Some(Item { held: Held::Hash(map), .. }) = model.get_mut(&(db, key)) {
                    map.remove(&field);
                }
                purge_hash(&mut model, now);
            }
            15 => {
                let offset = random.below(6000) as usize;
                let data = vec![b'w'; 1 + random.below(50) as usize];
                let mut txn = shard.begin(Scope::Key(&key), now);
                let result = txn.write_range(db, &key, offset, &data);
                last = txn.commit().unwrap();
                match model
                    .entry((db, key))
                    .or_insert_with(|| Item { held: Held::Bytes(Vec::new()), expires_at_ms: None })
                {
                    Item { held: Held::Bytes(bytes), .. } => {
                        if bytes.len() < offset + data.len() {
                            bytes.resize(offset + data.len(), 0);
                        }
                        bytes[offset..offset + data.len()].copy_from_slice(&data);
                        assert_eq!(result, Ok(bytes.len()), "seed {seed} step {step}");
                    }
                    Item { held: Held::Hash(_), .. } => assert!(result.is_err()),
                }
            }
            16 => {
                let to = format!("key:{}", random.below(KEYS)).into_bytes();
                let to_db = random.below(3) as u8;
                let moved = random.below(2) == 0;
                let mut txn = shard.begin(Scope::Keys(&[&key, &to]), now);
                let was = txn.copy((db, &key), (to_db, &to), moved).unwrap();
                last = txn.commit().unwrap();
                let item = model.get(&(db, key.clone())).cloned();
                assert_eq!(was, item.is_some(), "seed {seed} step {step} copy");
                if let Some(item) = item {
                    if moved {
                        model.remove(&(db, key));
                    }
                    model.insert((to_db, to), item);
                }
            }
            17 => match random.below(12) {
                0 => {
                    let mut txn = shard.begin(Scope::All, now);
                    txn.flush_database(db).unwrap();
                    last = txn.commit().unwrap();
                    model.retain(|(d, _), _| *d != db);
                }
                1 => {
                    let mut txn = shard.begin(Scope::All, now);
                    txn.swap_databases(0, 2).unwrap();
                    last = txn.commit().unwrap();
                    model = std::mem::take(&mut model)
                        .into_iter()
                        .map(|((d, k), v)| ((if d == 1 { 1 } else { 2 - d }, k), v))
                        .collect();
                }
                2..=5 => {
                    shard.sync().unwrap();
                }
                6..=7 => shard.checkpoint(now).unwrap(),
                _ => {
                    now += random.below(2000);
                    shard.tick(now);
                }
            },
            18 => now += random.below(300),
            _ => {
                if random.below(10) == 0 {
                    // Process death: only what was written to files is left.
                    if let Some(log) = Some(shard.persistence().last_lsn) {
                        shard.flush_log(sutra_wal::Lsn(log)).unwrap();
                    }
                    drop(shard);
                    let (opened, recovery) = Shard::open(&options, now).unwrap();
                    assert!(recovery.damage.is_empty(), "seed {seed} step {step}: {recovery:?}");
                    shard = opened;
                    model.retain(|_, item| item.expires_at_ms.is_none_or(|at| at > now));
                    purge_hash(&mut model, now);
                    check(&shard, &model, now, KEYS, seed, step);
                }
            }
        }
        if let Some(lsn) = last {
            shard.flush_log(lsn).unwrap();
        }
    }
    model.retain(|_, item| item.expires_at_ms.is_none_or(|at| at > now));
    purge_hash(&mut model, now);
    check(&shard, &model, now, KEYS, seed, steps);
}

#[test]
fn random_programs_agree_with_a_map_in_mapped_memory() {
    for seed in 1..=12 {
        run(seed, 1500, true);
    }
}

#[test]
fn random_programs_agree_with_a_map_in_anonymous_memory() {
    for seed in 1..=8 {
        run(seed, 1500, false);
    }
}

#[test]
fn a_write_far_beyond_the_end_of_a_string_is_refused_where_memory_does_not_hold_it() {
    let limits = Limits { max_memory_bytes: 64 << 20, ..Limits::default() };
    let shard = Shard::in_memory(&limits, 7).unwrap();
    let mut txn = shard.begin(Scope::Key(b"k"), 1);
    assert_eq!(txn.write_range(0, b"k", 512 << 20, b"x"), Err(sutra_shard::WriteError::OutOfMemory));
    assert_eq!(txn.write_range(0, b"k", 1 << 20, b"x"), Ok((1 << 20) + 1));
}
