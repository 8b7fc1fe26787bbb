//! A program of operations on a shard and on a plain map, with time, syncs, checkpoints, merges, process deaths. Both hold the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use sutra_fuzz::input::Input;
use sutra_fuzz::world::{NOW_MS, World, options, shown};
use sutra_shard::{Lsn, Put, Scope, Shard, WriteError};

const KEYS: usize = 12;
const DATABASES: u8 = 2;

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

type Model = BTreeMap<(u8, Vec<u8>), Item>;

fn forget_expired(model: &mut Model, now_ms: u64) {
    model.retain(|_, item| {
        if let Held::Hash(fields) = &mut item.held {
            fields.retain(|_, (_, at)| at.is_none_or(|at| at > now_ms));
            if fields.is_empty() {
                return false;
            }
        }
        item.expires_at_ms.is_none_or(|at| at > now_ms)
    });
}

fn check(shard: &Shard, model: &Model, now_ms: u64) {
    for db in 0..DATABASES {
        for number in 0..KEYS {
            let key = key(number);
            let txn = shard.begin(Scope::Key(&key), now_ms);
            let found = txn.peek(db, &key).map(|entry| (shown(entry.value, now_ms), entry.expires_at_ms));
            let expected = model.get(&(db, key.clone())).map(|item| {
                let shown = match &item.held {
                    Held::Bytes(bytes) => bytes.clone(),
                    Held::Hash(fields) => {
                        let fields: Vec<_> =
                            fields.iter().map(|(name, (value, _))| [name, &b"="[..], value].concat()).collect();
                        let mut fields = fields;
                        fields.sort();
                        [b"hash:".to_vec(), fields.join(&b","[..])].concat()
                    }
                };
                (shown, item.expires_at_ms)
            });
            assert!(found == expected, "database {db} key {number}: {found:?} instead of {expected:?}");
        }
    }
}

fn key(number: usize) -> Vec<u8> {
    format!("key:{number}").into_bytes()
}

/// The result, unless there was no room, which is no fault: then nothing has changed.
fn unless_full<T>(result: Result<T, WriteError>) -> Option<Result<T, WriteError>> {
    if result.as_ref().is_err_and(|error| *error == WriteError::OutOfMemory) { None } else { Some(result) }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let options = options(input.byte() & 1 == 0);
    let mut world = World::default();
    let mut now_ms = NOW_MS;
    let (mut shard, _) = world.open(&options, now_ms).expect("an empty world opens");
    let mut model = Model::new();
    while !input.is_empty() {
        forget_expired(&mut model, now_ms);
        let (choice, db, name) = (input.byte(), input.byte() % DATABASES, key(input.below(KEYS)));
        let at_ms = (choice & 0x80 != 0).then(|| now_ms + 1 + input.below(1 << 16) as u64);
        let place = (db, name.clone());
        match choice & 0x1f {
            0..=7 => {
                let value = vec![input.byte(); [0, 9, 300, 5000, 30_000][input.below(5)]];
                let mut txn = shard.begin(Scope::Key(&name), now_ms);
                let result = unless_full(txn.put(db, &name, &value, Put { expires_at_ms: at_ms, cost: None }));
                txn.commit().expect("logged");
                if let Some(result) = result {
                    result.expect("stored");
                    model.insert(place, Item { held: Held::Bytes(value), expires_at_ms: at_ms });
                }
            }
            8..=9 => {
                let mut txn = shard.begin(Scope::Key(&name), now_ms);
                let was = txn.delete(db, &name);
                txn.commit().expect("logged");
                assert_eq!(was, model.remove(&place).is_some());
            }
            10 => {
                let mut txn = shard.begin(Scope::Key(&name), now_ms);
                let was = txn.set_expiry(db, &name, at_ms).expect("set");
                txn.commit().expect("logged");
                assert_eq!(was, model.contains_key(&place));
                model.entry(place).and_modify(|item| item.expires_at_ms = at_ms);
            }
            11..=14 => {
                let value = vec![b'v'; input.below(90)];
                let fields: Vec<Vec<u8>> = (0..=input.below(3)).map(|_| vec![b'f', b'0' + input.byte() % 8]).collect();
                let pairs: Vec<(&[u8], &[u8])> = fields.iter().map(|field| (&field[..], &value[..])).collect();
                let mut txn = shard.begin(Scope::Key(&name), now_ms);
                let result = unless_full(txn.hash_set(db, &name, &pairs, false));
                txn.commit().expect("logged");
                let Some(result) = result else { continue };
                let empty = Item { held: Held::Hash(BTreeMap::new()), expires_at_ms: None };
                match &mut model.entry(place).or_insert(empty).held {
                    Held::Hash(map) => {
                        let new =
                            fields.iter().filter(|field| map.insert((*field).clone(), (value.clone(), None)).is_none());
                        assert_eq!(result, Ok(new.count()));
                    }
                    Held::Bytes(_) => assert_eq!(result, Err(WriteError::WrongType)),
                }
            }
            15 => {
                let field = vec![b'f', b'0' + input.byte() % 8];
                let mut txn = shard.begin(Scope::Key(&name), now_ms);
                let _ = txn.hash_expire(db, &name, &[&field], at_ms);
                txn.commit().expect("logged");
                if let Some(Item { held: Held::Hash(map), .. }) = model.get_mut(&place)
                    && let Some(item) = map.get_mut(&field)
                {
                    item.1 = at_ms;
                }
            }
            16 => {
                let field = vec![b'f', b'0' + input.byte() % 8];
                let mut txn = shard.begin(Scope::Key(&name), now_ms);
                let _ = txn.hash_remove(db, &name, &[&field]);
                txn.commit().expect("logged");
                if let Some(Item { held: Held::Hash(map), .. }) = model.get_mut(&place) {
                    map.remove(&field);
                }
            }
            17 => {
                let (offset, data) = (input.below(6000), vec![b'w'; 1 + input.below(50)]);
                let mut txn = shard.begin(Scope::Key(&name), now_ms);
                let result = unless_full(txn.write_range(db, &name, offset, &data));
                txn.commit().expect("logged");
                let Some(result) = result else { continue };
                let empty = Item { held: Held::Bytes(Vec::new()), expires_at_ms: None };
                match &mut model.entry(place).or_insert(empty).held {
                    Held::Bytes(bytes) => {
                        bytes.resize(bytes.len().max(offset + data.len()), 0);
                        bytes[offset..offset + data.len()].copy_from_slice(&data);
                        assert_eq!(result, Ok(bytes.len()));
                    }
                    Held::Hash(_) => assert_eq!(result, Err(WriteError::WrongType)),
                }
            }
            18 => {
                let (to_db, to, moved) = (input.byte() % DATABASES, key(input.below(KEYS)), choice & 0x40 != 0);
                let mut txn = shard.begin(Scope::Keys(&[&name, &to]), now_ms);
                let result = unless_full(txn.copy((db, &name), (to_db, &to), moved));
                txn.commit().expect("logged");
                let Some(result) = result else { continue };
                let item = model.get(&place).cloned();
                assert_eq!(result, Ok(item.is_some()));
                if let Some(item) = item {
                    if moved {
                        model.remove(&place);
                    }
                    model.insert((to_db, to), item);
                }
            }
            19 => {
                let mut txn = shard.begin(Scope::All, now_ms);
                txn.flush_database(db).expect("flushed");
                txn.commit().expect("logged");
                model.retain(|(held, _), _| *held != db);
            }
            20 => {
                let mut txn = shard.begin(Scope::All, now_ms);
                txn.swap_databases(0, 1).expect("swapped");
                txn.commit().expect("logged");
                model = std::mem::take(&mut model).into_iter().map(|((db, key), item)| ((1 - db, key), item)).collect();
            }
            21 => drop(shard.sync().expect("synced")),
            22 => shard.checkpoint(now_ms).expect("a checkpoint"),
            23..=25 => {
                shard.tick(now_ms);
            }
            26..=27 => now_ms += input.below(1 << 16) as u64,
            28 => {
                let _ = shard.make_room(60_000, now_ms);
            }
            _ => {
                shard.flush_log(Lsn(shard.persistence().last_lsn)).expect("flushed");
                drop(shard);
                world = world.kill();
                let (opened, recovery) = world.open(&options, now_ms).expect("opens");
                assert!(recovery.damage.is_empty(), "{recovery:?}");
                shard = opened;
                forget_expired(&mut model, now_ms);
                check(&shard, &model, now_ms);
            }
        }
    }
    forget_expired(&mut model, now_ms);
    check(&shard, &model, now_ms);
});
