//! Tests of the table against a plain list of slots.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

/// The naive model: slots in any order, told apart by hash and location.
type Model = BTreeMap<(u32, u64), Slot>;

fn slot(hash: u32, location: u64) -> Slot {
    Slot::new(hash, SlotKind::Record, location)
}

fn position_of(table: &Table, slot: Slot) -> usize {
    table.find_exact(slot.hash(), slot.location(), slot.kind()).expect("the slot is in the table")
}

/// A well mixed 32-bit hash of a number (the finalizer of MurmurHash3, a bijection).
fn mixed(number: u32) -> u32 {
    let mut hash = number;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

fn assert_same(table: &Table, model: &Model) {
    table.validate().unwrap();
    assert_eq!(table.len(), model.len());
    let mut found = Vec::new();
    table.for_each(|position, slot| {
        assert_eq!(table.slot(position), Some(slot));
        found.push(slot);
    });
    assert!(found.is_sorted_by_key(|slot| slot.hash()));
    let by_key: Model = found.iter().map(|slot| ((slot.hash(), slot.location()), *slot)).collect();
    assert_eq!(by_key.len(), found.len(), "a slot is there twice");
    assert_eq!(&by_key, model);
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32),
    InsertMany(u32, usize),
    Remove(usize),
    Refresh(usize, u8),
    Move(usize),
    RetainOdd,
    RetainEighth,
    Reload,
}

/// Many equal hashes, neighbours, both ends of the range, and evenly spread ones.
fn any_hash() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(0),
        Just(u32::MAX),
        Just(0x8000_0000),
        0u32..4,
        (0u32..40).prop_map(|n| u32::MAX - n),
        (0u32..40).prop_map(|n| n << 26),
        any::<u32>(),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => any_hash().prop_map(Op::Insert),
        1 => (any_hash(), 1usize..60).prop_map(|(hash, count)| Op::InsertMany(hash, count)),
        6 => any::<usize>().prop_map(Op::Remove),
        3 => (any::<usize>(), any::<u8>()).prop_map(|(n, frequency)| Op::Refresh(n, frequency)),
        3 => any::<usize>().prop_map(Op::Move),
        1 => Just(Op::RetainOdd),
        1 => Just(Op::RetainEighth),
        1 => Just(Op::Reload),
    ]
}

/// Plays one operation on both; `number` gives each slot a location of its own.
fn play(table: &mut Table, model: &mut Model, number: &mut u64, op: &Op) {
    let nth = |model: &Model, n: usize| model.values().nth(n % model.len().max(1)).copied();
    let mut insert = |table: &mut Table, model: &mut Model, hash| {
        *number += 1;
        let new = slot(hash, *number);
        let position = table.insert(new);
        assert_eq!(table.slot(position), Some(new));
        model.insert((hash, *number), new);
    };
    match *op {
        Op::Insert(hash) => insert(table, model, hash),
        Op::InsertMany(hash, count) => (0..count).for_each(|_| insert(table, model, hash)),
        Op::Remove(n) => {
            let Some(old) = nth(model, n) else { return };
            assert_eq!(table.remove(position_of(table, old)), old);
            model.remove(&(old.hash(), old.location()));
            assert_eq!(table.find_exact(old.hash(), old.location(), old.kind()), None);
        }
        Op::Refresh(n, frequency) => {
            let Some(old) = nth(model, n) else { return };
            let new = old.with_frequency(frequency).with_clock(u64::from(frequency) * 77);
            table.refresh(position_of(table, old), new);
            model.insert((old.hash(), old.location()), new);
        }
        Op::Move(n) => {
            let Some(old) = nth(model, n) else { return };
            *number += 1;
            let new = old.with_location(*number).with_kind(SlotKind::Heap);
            table.replace(position_of(table, old), new);
            model.remove(&(old.hash(), old.location()));
            model.insert((new.hash(), new.location()), new);
        }
        Op::RetainOdd => {
            table.retain(|slot| slot.location() % 2 == 1);
            model.retain(|(_, location), _| location % 2 == 1);
        }
        Op::RetainEighth => {
            table.retain(|slot| slot.location() % 8 == 1);
            model.retain(|(_, location), _| location % 8 == 1);
        }
        Op::Reload => *table = Table::from_words(&table.to_words()).unwrap(),
    }
}

proptest! {
    #[test]
    fn a_table_holds_what_a_plain_list_holds(ops in prop::collection::vec(any_op(), 1..250)) {
        let (mut table, mut model, mut number) = (Table::new(), Model::new(), 0);
        for op in &ops {
            play(&mut table, &mut model, &mut number, op);
            assert_same(&table, &model);
        }
        for hash in model.keys().map(|(hash, _)| *hash).collect::<HashSet<_>>() {
            let mut found: Vec<Slot> = table.candidates(hash).map(|(_, slot)| slot).collect();
            found.sort_by_key(|slot| slot.location());
            let expected: Vec<Slot> = model.range((hash, 0)..=(hash, u64::MAX)).map(|(_, slot)| *slot).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_scan_returns_all_that_stays_once_through_every_change(
        stay in prop::collection::vec(any_hash(), 0..80),
        limit in 0usize..9,
        ops in prop::collection::vec(prop::collection::vec(any_op(), 0..8), 1..60),
    ) {
        let (mut table, mut model, mut number) = (Table::new(), Model::new(), 0);
        // These stay: their locations lie beyond those of all others, and they are in no model.
        let stay: Vec<Slot> = (0..).zip(&stay).map(|(n, hash)| slot(*hash, 1 << 30 | n << 3 | 1)).collect();
        for slot in &stay {
            table.insert(*slot);
        }
        let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
        let mut ops = ops.iter().cycle();
        let mut cursor = Some(0);
        let mut calls = 0;
        while let Some(from_hash) = cursor {
            let mut last_hash = from_hash;
            cursor = table.scan(from_hash, limit, |position, slot| {
                assert_eq!(table.slot(position), Some(slot));
                assert!(slot.hash() >= last_hash);
                last_hash = slot.hash();
                *seen.entry(slot.location()).or_default() += 1;
            });
            if let Some(next) = cursor {
                prop_assert!(next > last_hash, "a hash was cut in two");
            }
            calls += 1;
            // Changes end after a while, so that the scan does.
            for op in ops.next().into_iter().flatten().filter(|_| calls < 200) {
                play(&mut table, &mut model, &mut number, op);
            }
        }
        for slot in &stay {
            prop_assert_eq!(seen.get(&slot.location()), Some(&1), "{:?}", slot);
        }
    }

    #[test]
    fn a_damaged_image_is_refused_or_is_a_sound_table(
        hashes in prop::collection::vec(any_hash(), 0..60),
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>(), 0u32..65), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut table = Table::new();
        (0..).zip(&hashes).for_each(|(n, hash)| { table.insert(slot(*hash, n)); });
        let words = table.to_words();
        prop_assert!(Table::from_words(&words[..cut.index(words.len())]).is_err(), "a cut image was accepted");
        let mut damaged = words;
        for (at, with, bits) in damages {
            let at = at.index(damaged.len());
            damaged[at] ^= with.checked_shr(bits).unwrap_or(1);
        }
        if let Ok(table) = Table::from_words(&damaged) {
            prop_assert_eq!(table.validate(), Ok(()));
            prop_assert_eq!(table.to_words(), damaged);
        }
    }
}

#[test]
fn growing_and_shrinking_keep_the_load_between_a_half_and_nine_tenths() {
    let mut table = Table::new();
    let load = |table: &Table| table.len() as f64 / table.capacity as f64;
    for n in 0..50_000 {
        table.insert(slot(mixed(n), u64::from(n)));
        assert!(load(&table) <= 0.9);
        assert!(n < 100 || load(&table) > 0.78, "{table:?}");
    }
    table.validate().unwrap();
    for n in 0..50_000 {
        table.remove(position_of(&table, slot(mixed(n), u64::from(n))));
        assert!(n > 49_900 || load(&table) >= 0.49, "{table:?}");
    }
    assert_eq!(table.memory_bytes(), 0);
}

#[test]
fn a_table_that_swings_around_a_limit_is_not_rebuilt_each_time() {
    let mut table = Table::new();
    let mut rebuilt = 0;
    let mut capacity = 0;
    for n in 0..1000 {
        table.insert(slot(mixed(n), u64::from(n)));
    }
    for _ in 0..20 {
        for n in 1000..1100 {
            table.insert(slot(mixed(n), u64::from(n)));
        }
        for n in 1000..1100 {
            table.remove(position_of(&table, slot(mixed(n), u64::from(n))));
        }
        rebuilt += usize::from(table.capacity != capacity);
        capacity = table.capacity;
    }
    assert!(rebuilt <= 2, "rebuilt {rebuilt} times");
}

#[test]
fn a_present_slot_is_found_within_four_slots_of_its_home_on_average() {
    let mut table = Table::new();
    for n in 0..100_000 {
        table.insert(slot(mixed(n), u64::from(n)));
    }
    table.rebuild(table.len() * 20 / 17, 0);
    let mut looked_at = 0;
    table.for_each(|position, slot| looked_at += position - home(slot.hash(), table.capacity) + 1);
    let mean = looked_at as f64 / table.len() as f64;
    assert!((3.5..4.1).contains(&mean), "{mean} slots at load 0.85, theory says 3.83");
}

#[test]
fn slots_of_one_hash_at_the_very_end_do_not_blow_up_the_table() {
    let mut table = Table::new();
    for n in 0..5000 {
        table.insert(slot(u32::MAX, n));
    }
    table.validate().unwrap();
    assert!(table.memory_bytes() < 5000 * 16 * 4, "{} bytes", table.memory_bytes());
    assert_eq!(table.candidates(u32::MAX).count(), 5000);
    let order: Vec<u64> = table.candidates(u32::MAX).map(|(_, slot)| slot.location()).collect();
    assert!(order.is_sorted(), "slots of one hash stay in the order of their insertion");
}

#[test]
fn an_empty_table_answers_everything_and_holds_no_memory() {
    let mut table = Table::new();
    assert_eq!(table.candidates(7).next(), None);
    assert_eq!(table.scan(0, 10, |_, _| panic!("nothing to visit")), None);
    assert_eq!(table.scan(u32::MAX, 10, |_, _| panic!("nothing to visit")), None);
    assert_eq!(table.slot(0), None);
    assert_eq!(table.position_range(3, 5).count(), 0);
    table.retain(|_| panic!("nothing to ask about"));
    assert_eq!(table.memory_bytes(), 0);
    assert_eq!(Table::from_words(&table.to_words()).unwrap().len(), 0);
}

#[test]
fn room_that_was_asked_for_is_enough() {
    for count in [1, 2, 7, 8, 9, 100, 1000, 12_345] {
        let mut table = Table::with_room_for(count);
        let capacity = table.capacity;
        for n in 0..count as u32 {
            table.insert(slot(mixed(n), u64::from(n)));
        }
        table.validate().unwrap();
        assert_eq!(table.capacity, capacity, "for {count}");
    }
}

#[test]
fn ranges_of_positions_cover_the_table_in_pieces() {
    let mut table = Table::new();
    (0..300).for_each(|n| {
        table.insert(slot(mixed(n), u64::from(n)));
    });
    let pieces: usize = (0..table.positions()).step_by(7).map(|start| table.position_range(start, 7).count()).sum();
    assert_eq!(pieces, 300);
    assert_eq!(table.position_range(table.positions() + 5, 7).count(), 0);
}

#[test]
fn images_with_each_kind_of_fault_are_told_apart() {
    let mut table = Table::new();
    (0..5).for_each(|n| {
        table.insert(slot(n << 29, u64::from(n)));
    });
    let good = table.to_words();
    let with = |at: usize, value: u64| {
        let mut words = good.clone();
        words[at] = value;
        Table::from_words(&words).unwrap_err()
    };
    let first = 3 + 2 * table.position_range(0, 99).next().unwrap().0;
    assert_eq!(Table::from_words(&[]).unwrap_err(), ImageError::Length { expected: 3, found: 0 });
    assert!(matches!(with(1, u64::MAX), ImageError::Length { .. }));
    assert!(matches!(with(0, 1 << 40), ImageError::Capacity { .. }));
    assert!(matches!(with(0, 5), ImageError::Capacity { .. }));
    assert!(matches!(with(2, u64::MAX), ImageError::Capacity { .. }));
    assert!(matches!(with(2, 4), ImageError::Count { expected: 4, found: 5 }));
    assert!(matches!(with(first, good[first] & !3 | 4), ImageError::Kind { position: 0 }));
    assert!(matches!(with(first, u64::MAX << 32 | 1), ImageError::Order { position: 0 }));
    let mut no_last_gap = good.clone();
    let end = no_last_gap.len();
    no_last_gap[end - 2..].copy_from_slice(&slot(u32::MAX, 9).words());
    no_last_gap[2] += 1;
    assert!(matches!(Table::from_words(&no_last_gap).unwrap_err(), ImageError::Order { .. }));
}

#[test]
#[should_panic(expected = "keeps its hash")]
fn replacing_a_slot_by_one_of_another_hash_is_a_bug() {
    let mut table = Table::new();
    let position = table.insert(slot(1, 1));
    table.replace(position, slot(2, 1));
}
