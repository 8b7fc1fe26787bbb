//! Tests of the hash against a plain map, in both forms.

use super::*;
use crate::heap::HeapValue;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Name to value and expiry; expired fields stay until they are written, removed or collected, as in the real one.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

#[derive(Clone, Debug)]
enum Op {
    Set { name: Vec<u8>, value: Vec<u8>, keep_ttl: bool },
    Remove(Vec<u8>),
    Expire(Vec<u8>, u64),
    Persist(Vec<u8>),
    RemoveExpired(usize),
    Wait(u64),
    Reload,
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0u8..12).prop_map(|n| vec![b'a' + n]),
        Just(Vec::new()),
        (0u16..200).prop_map(|n| n.to_string().into_bytes()),
    ]
}

fn any_op(value_bytes_max: usize) -> impl Strategy<Value = Op> {
    let value = prop::collection::vec(any::<u8>(), 0..=value_bytes_max);
    prop_oneof![
        8 => (any_name(), value, any::<bool>()).prop_map(|(name, value, keep_ttl)| Op::Set { name, value, keep_ttl }),
        3 => any_name().prop_map(Op::Remove),
        5 => (any_name(), 0u64..60).prop_map(|(name, after_ms)| Op::Expire(name, after_ms)),
        2 => any_name().prop_map(Op::Persist),
        1 => prop_oneof![Just(usize::MAX), 0usize..4].prop_map(Op::RemoveExpired),
        2 => (1u64..20).prop_map(Op::Wait),
        1 => Just(Op::Reload),
    ]
}

fn live(expires_at_ms: Option<u64>, now_ms: u64) -> bool {
    expires_at_ms.is_none_or(|at_ms| at_ms > now_ms)
}

fn reloaded(hash: &HashValue) -> HashValue {
    let mut bytes = Vec::new();
    HeapValue::Hash(hash.clone()).encode(&mut bytes);
    match HeapValue::decode(&bytes) {
        Ok(HeapValue::Hash(hash)) => hash,
        other => panic!("{other:?}"),
    }
}

fn play(hash: &mut HashValue, model: &mut Model, now_ms: &mut u64, options: &HashOptions, op: &Op) {
    let now = *now_ms;
    let known = |model: &Model, name: &Vec<u8>| model.get(name).filter(|(_, expiry)| live(*expiry, now)).cloned();
    match op {
        Op::Set { name, value, keep_ttl } => {
            let old = known(model, name);
            assert_eq!(hash.set(name, value, *keep_ttl, now, options), old.is_none());
            let expiry = old.and_then(|(_, expiry)| expiry).filter(|_| *keep_ttl);
            model.insert(name.clone(), (value.clone(), expiry));
        }
        Op::Remove(name) => {
            assert_eq!(hash.remove(name, now), known(model, name).is_some());
            model.remove(name);
        }
        Op::Expire(name, after_ms) => {
            // Up to twenty milliseconds in the past.
            let at_ms = (now + after_ms).saturating_sub(20);
            let expected = match known(model, name) {
                None => FieldExpire::Missing,
                Some(_) if at_ms <= now => {
                    model.remove(name);
                    FieldExpire::Removed
                }
                Some((value, _)) => {
                    model.insert(name.clone(), (value, Some(at_ms)));
                    FieldExpire::Set
                }
            };
            assert_eq!(hash.expire(name, at_ms, now), expected);
        }
        Op::Persist(name) => {
            let expected = match known(model, name) {
                None => FieldPersist::Missing,
                Some((_, None)) => FieldPersist::NoExpiry,
                Some((value, Some(_))) => {
                    model.insert(name.clone(), (value, None));
                    FieldPersist::Done
                }
            };
            assert_eq!(hash.persist(name, now), expected);
        }
        Op::RemoveExpired(limit) => {
            let removed = hash.remove_expired(now, *limit);
            let expired = model.values().filter(|(_, expiry)| !live(*expiry, now)).count();
            assert_eq!(removed.len(), expired.min(*limit));
            for name in removed {
                let (_, expiry) = model.remove(&name).expect("removed fields were there");
                assert!(!live(expiry, now));
            }
        }
        Op::Wait(ms) => *now_ms += ms,
        Op::Reload => *hash = reloaded(hash),
    }
}

fn assert_same(hash: &HashValue, model: &Model, now_ms: u64) {
    if let Form::Table(table) = &hash.form {
        table.validate();
    }
    let living: Model =
        model.iter().filter(|(_, (_, at))| live(*at, now_ms)).map(|(n, v)| (n.clone(), v.clone())).collect();
    let found: Model = hash.fields(now_ms).map(|f| (f.name.to_vec(), (f.value.to_vec(), f.expires_at_ms))).collect();
    assert_eq!(found, living);
    assert_eq!(hash.fields(now_ms).count(), living.len(), "a field is shown twice");
    assert_eq!((hash.len(now_ms), hash.is_empty(now_ms)), (living.len(), living.is_empty()));
    assert_eq!(hash.next_expiry(), model.values().filter_map(|(_, expiry)| *expiry).min());
    for (name, (value, expiry)) in model {
        let is_live = live(*expiry, now_ms);
        assert_eq!(hash.get(name, now_ms), Some(&value[..]).filter(|_| is_live));
        assert_eq!(hash.field_expiry(name, now_ms), Some(*expiry).filter(|_| is_live));
        assert_eq!(hash.contains(name, now_ms), is_live);
    }
    assert_eq!(hash.get(b"no such field", now_ms), None);
    for number in 0..3 {
        let chosen = hash.random(number, now_ms);
        assert_eq!(chosen.is_some(), !living.is_empty());
        assert!(chosen.is_none_or(|(name, value)| living[name].0 == value));
    }
}

fn hash_of(count: usize, options: &HashOptions) -> HashValue {
    let mut hash = HashValue::default();
    for n in 0..count {
        hash.set(n.to_string().as_bytes(), b"value", false, 0, options);
    }
    hash
}

proptest! {
    #[test]
    fn a_hash_holds_what_a_plain_map_holds(
        fields_max in prop_oneof![Just(0usize), 3usize..12, Just(512)],
        item_bytes_max in prop_oneof![Just(6usize), Just(64)],
        seed: u64,
        ops in prop::collection::vec(any_op(7), 1..120),
    ) {
        let options = HashOptions { fields_max, item_bytes_max, seed };
        let (mut hash, mut model, mut now_ms) = (HashValue::default(), Model::new(), 1000);
        for op in &ops {
            play(&mut hash, &mut model, &mut now_ms, &options, op);
            assert_same(&hash, &model, now_ms);
        }
    }

    #[test]
    fn a_scan_shows_all_that_stays_once_through_every_change(
        fields_max in prop_oneof![Just(0usize), 30usize..70],
        stay in 0usize..60,
        count in 0usize..12,
        seed: u64,
        ops in prop::collection::vec(prop::collection::vec(any_op(7), 0..12), 1..20),
    ) {
        let options = HashOptions { fields_max, seed, ..HashOptions::default() };
        let (mut hash, mut model, mut now_ms) = (HashValue::default(), Model::new(), 1000);
        for n in 0..stay {
            hash.set(format!("stay{n}").as_bytes(), b"here", false, now_ms, &options);
        }
        let mut seen: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let mut cursor = 0;
        let mut ops = ops.iter();
        loop {
            cursor = hash.scan(cursor, count, now_ms, &mut |name, _| *seen.entry(name.to_vec()).or_default() += 1);
            if cursor == 0 {
                break;
            }
            for op in ops.next().into_iter().flatten() {
                play(&mut hash, &mut model, &mut now_ms, &options, op);
            }
        }
        for n in 0..stay {
            prop_assert_eq!(seen.get(format!("stay{n}").as_bytes()), Some(&1), "stay{}", n);
        }
    }
}

#[test]
fn the_form_changes_beyond_the_limits_and_never_back() {
    let options = HashOptions::default();
    let mut hash = hash_of(512, &options);
    assert_eq!(hash.encoding_name(), "listpack");
    hash.set(b"7", b"another value", false, 0, &options);
    assert_eq!(hash.encoding_name(), "listpack");
    hash.set(b"one more", b"", false, 0, &options);
    assert_eq!(hash.encoding_name(), "hashtable");
    for n in 0..512 {
        assert!(hash.remove(n.to_string().as_bytes(), 0));
    }
    assert_eq!((hash.encoding_name(), hash.len(0)), ("hashtable", 1));

    for (name, value) in [(&[b'n'; 65][..], &b""[..]), (b"", &[b'v'; 65])] {
        let mut hash = hash_of(2, &options);
        hash.set(&name[..name.len().min(64)], &value[..value.len().min(64)], false, 0, &options);
        assert_eq!(hash.encoding_name(), "listpack");
        hash.set(name, value, false, 0, &options);
        assert_eq!(hash.encoding_name(), "hashtable");
    }
}

#[test]
fn a_compact_hash_with_an_expiry_is_a_listpackex_from_then_on() {
    let mut hash = hash_of(2, &HashOptions::default());
    assert_eq!(hash.expire(b"0", 10, 0), FieldExpire::Set);
    assert_eq!(hash.encoding_name(), "listpackex");
    assert_eq!(hash.persist(b"0", 0), FieldPersist::Done);
    assert_eq!(hash.encoding_name(), "listpackex");
    assert_eq!(reloaded(&hash).encoding_name(), "listpackex");
}

#[test]
fn a_compact_hash_keeps_the_order_of_insertion() {
    let options = HashOptions::default();
    let mut hash = hash_of(3, &options);
    hash.set(b"1", b"a longer value", false, 0, &options);
    hash.expire(b"0", 10, 0);
    let names: Vec<&[u8]> = hash.iter(0).map(|(name, _)| name).collect();
    assert_eq!(names, [b"0", b"1", b"2"]);
}

#[test]
fn a_field_is_expired_from_the_very_millisecond_on() {
    for fields_max in [0, 512] {
        let mut hash = hash_of(1, &HashOptions { fields_max, ..HashOptions::default() });
        hash.expire(b"0", 1000, 0);
        assert_eq!(hash.get(b"0", 999), Some(&b"value"[..]));
        assert_eq!(hash.get(b"0", 1000), None);
        assert_eq!(hash.remove_expired(999, 9), Vec::<Vec<u8>>::new());
        assert_eq!(hash.remove_expired(1000, 9), [b"0"]);
    }
}

#[test]
fn every_field_is_chosen_by_some_random_number() {
    for fields_max in [0, 512] {
        let mut hash = hash_of(50, &HashOptions { fields_max, ..HashOptions::default() });
        for n in 0..25 {
            hash.expire(n.to_string().as_bytes(), 1, 0);
        }
        let chosen: BTreeSet<&[u8]> =
            (0..50).filter_map(|number| hash.random(number, 5)).map(|(name, _)| name).collect();
        assert_eq!(chosen.len(), 25);
        assert_eq!(hash.random(3, 5).map(|_| ()), Some(()));
    }
    assert_eq!(HashValue::default().random(3, 0), None);
}

#[test]
fn a_cursor_from_nowhere_ends_the_scan_without_harm() {
    let hash = hash_of(50, &HashOptions { fields_max: 0, ..HashOptions::default() });
    assert_eq!(hash.scan(u64::MAX, 10, 0, &mut |_, _| panic!("nothing is there")), 0);
}

#[test]
fn a_scan_of_a_table_goes_in_steps_of_about_the_count() {
    let hash = hash_of(1000, &HashOptions { fields_max: 0, ..HashOptions::default() });
    let (mut cursor, mut calls) = (0, 0);
    loop {
        let mut visited = 0;
        cursor = hash.scan(cursor, 10, 0, &mut |_, _| visited += 1);
        calls += 1;
        if cursor == 0 {
            break;
        }
        assert!((10..13).contains(&visited));
    }
    assert!((95..=100).contains(&calls), "{calls}");
}

#[test]
fn memory_follows_what_is_stored_and_goes_when_fields_go() {
    for (fields_max, overhead) in [(0, 100), (10_000, 8)] {
        let options = HashOptions { fields_max, ..HashOptions::default() };
        let mut hash = hash_of(1000, &options);
        let payload: usize = hash.iter(0).map(|(name, value)| name.len() + value.len()).sum();
        let full = hash.memory_bytes();
        assert!((payload..payload + 1000 * overhead).contains(&full), "{full} for {payload}");
        for n in 0..990 {
            hash.remove(n.to_string().as_bytes(), 0);
        }
        assert!(hash.memory_bytes() < full / 10, "{} of {full}", hash.memory_bytes());
    }
}
