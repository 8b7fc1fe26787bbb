use super::*;
use crate::hash::KeyHash;
use crate::{Limits, Put, Scope};

const NOW_MS: u64 = 1_700_000_000_000;

/// A shard, a subscriber to it, and what that one is told.
fn subscribed(id: u64, prefixes: &[&[u8]]) -> (Shard, Arc<Subscriber>, Arc<Mutex<Vec<String>>>) {
    let shard = Shard::in_memory(&Limits::default(), 7).expect("the default limits allow a shard");
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&told);
    let subscriber = Subscriber::new(
        id,
        Box::new(move |told| {
            let line = match told {
                Told::Key(key) => String::from_utf8_lossy(key).into_owned(),
                Told::Everything => "everything".to_owned(),
            };
            notes.lock().expect("nobody panics with it").push(line);
        }),
    );
    shard.subscribe(&subscriber, prefixes);
    (shard, subscriber, told)
}

fn taken(told: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut told.lock().expect("nobody panics with it"))
}

fn put(shard: &Shard, key: &[u8], author: u64) {
    let mut txn = shard.begin(Scope::Key(key), NOW_MS);
    txn.set_author(author);
    txn.put(0, key, b"v", Put::default()).expect("there is room");
}

fn read(shard: &Shard, key: &[u8], reader: &Arc<Subscriber>) {
    shard.begin(Scope::Key(key), NOW_MS).track(key, reader);
}

#[test]
fn a_change_is_told_once_and_forgotten_and_no_memory_is_left_of_it() {
    let (shard, reader, told) = subscribed(1, &[]);
    for round in 0..3 {
        (0..500).for_each(|number: u32| read(&shard, number.to_string().as_bytes(), &reader));
        (0..500).for_each(|number: u32| read(&shard, number.to_string().as_bytes(), &reader));
        assert_eq!((shard.tracking_stats().keys, shard.tracking_stats().items), (500, 500));
        (0..500).for_each(|number: u32| put(&shard, number.to_string().as_bytes(), 0));
        (0..500).for_each(|number: u32| put(&shard, number.to_string().as_bytes(), 0));
        assert_eq!(taken(&told).len(), 500, "round {round}");
        assert_eq!(shard.tracking_stats().keys, 0);
    }
    shard.unsubscribe(&reader);
    for _ in 0..20 {
        shard.tick(NOW_MS);
    }
    assert_eq!(shard.tracking_stats(), TrackingStats::default());
}

#[test]
fn an_author_is_not_told_and_remains_a_reader() {
    let (shard, reader, told) = subscribed(5, &[]);
    read(&shard, b"k", &reader);
    put(&shard, b"k", 5);
    assert!(taken(&told).is_empty());
    put(&shard, b"k", 6);
    assert_eq!(taken(&told), ["k"]);
}

#[test]
fn if_a_record_no_longer_says_whose_it_is_all_keys_of_its_hash_are_told() {
    let (shard, reader, told) = subscribed(1, &[]);
    read(&shard, b"k", &reader);
    read(&shard, b"other", &reader);
    let hash = KeyHash::of(b"k", shard.seed);
    for damaged in [Some(&b"x"[..]), None] {
        read(&shard, b"k", &reader);
        let mut txn = shard.begin(Scope::Key(b"k"), NOW_MS);
        txn.tell_removed(hash, damaged);
        drop(txn);
        assert_eq!(taken(&told), ["k"]);
    }
    let (shard, _, told) = subscribed(1, &[b"k"]);
    shard.begin(Scope::Key(b"k"), NOW_MS).tell_removed(hash, None);
    assert_eq!(taken(&told), ["everything"]);
}

#[test]
fn who_unsubscribes_is_told_nothing_more_whatever_it_had_read() {
    let (shard, reader, told) = subscribed(1, &[b"a", b"b"]);
    read(&shard, b"c", &reader);
    put(&shard, b"ab", 0);
    assert_eq!(taken(&told), ["ab"]);
    shard.unsubscribe(&reader);
    put(&shard, b"ab", 0);
    put(&shard, b"c", 0);
    assert!(taken(&told).is_empty());
}

#[test]
fn the_limit_on_keys_is_kept_by_reads_and_by_the_next_tick() {
    let (shard, reader, told) = subscribed(1, &[]);
    shard.set_tracked_keys_max(1000);
    (0..20_000).for_each(|number: u32| read(&shard, number.to_string().as_bytes(), &reader));
    // A stripe that remembers one key alone keeps it until the next tick.
    let keys = shard.tracking_stats().keys;
    assert!((1000..=1000 + STRIPES as u64).contains(&keys), "{keys}");
    shard.tick(NOW_MS);
    assert_eq!(shard.tracking_stats().keys, 1000);
    assert_eq!(taken(&told).len(), 19_000);
    shard.set_tracked_keys_max(2);
    shard.tick(NOW_MS);
    assert_eq!((shard.tracking_stats().keys, taken(&told).len()), (2, 998));
    shard.set_tracked_keys_max(0);
    (0..5000).for_each(|number: u32| read(&shard, number.to_string().as_bytes(), &reader));
    assert!(shard.tracking_stats().keys >= 5000);
}
