//! Under a limit on the number of entries, those that are worth least go, one for each that comes.

use std::collections::{BTreeMap, HashMap};
use sutra_eviction::Policy;
use sutra_shard::{HashValue, HeapValue, Limits, Put, Scope, Shard, WriteError};

const NOW_MS: u64 = 1_800_000_000_000;
/// The hashes of keys follow from it, and nothing else is random: these tests see the same evictions in every run.
const SEED: u64 = 7;

fn limited(max_entries: u64, policy: Policy) -> Shard {
    let limits = Limits { max_entries, policy, ..Limits::default() };
    Shard::in_memory(&limits, SEED).expect("the default memory allows a shard")
}

fn try_set(shard: &Shard, key: &str, expires_at_ms: Option<u64>, now_ms: u64) -> Result<(), WriteError> {
    shard.make_room(key.len() as u64 + 5, now_ms)?;
    put(shard, key, expires_at_ms, now_ms);
    Ok(())
}

fn put(shard: &Shard, key: &str, expires_at_ms: Option<u64>, now_ms: u64) {
    let mut txn = shard.begin(Scope::Key(key.as_bytes()), now_ms);
    txn.put(0, key.as_bytes(), b"value", Put { expires_at_ms, cost: None }).expect("stored");
    txn.commit().expect("committed");
}

fn set(shard: &Shard, key: &str, now_ms: u64) {
    try_set(shard, key, None, now_ms).expect("there is something to evict");
}

fn get(shard: &Shard, key: &str, now_ms: u64) -> bool {
    shard.begin(Scope::Key(key.as_bytes()), now_ms).get(0, key.as_bytes()).is_some()
}

fn is_there(shard: &Shard, key: &str, now_ms: u64) -> bool {
    shard.begin(Scope::Key(key.as_bytes()), now_ms).peek(0, key.as_bytes()).is_some()
}

/// The exact answer: what was used last stays.
#[derive(Default)]
struct ExactLru {
    by_key: HashMap<u64, u64>,
    by_time: BTreeMap<u64, u64>,
    time: u64,
}

impl ExactLru {
    /// Reads through the cache; whether it was a hit.
    fn ask(&mut self, key: u64, entries_max: usize) -> bool {
        self.time += 1;
        let before = self.by_key.insert(key, self.time);
        if let Some(before) = before {
            self.by_time.remove(&before);
        }
        self.by_time.insert(self.time, key);
        if self.by_key.len() > entries_max {
            let (_, oldest) = self.by_time.pop_first().expect("it is full");
            self.by_key.remove(&oldest);
        }
        before.is_some()
    }
}

fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

#[test]
fn a_skewed_trace_hits_almost_as_often_as_with_an_exact_list() {
    const ENTRIES: usize = 2_000;
    const KEYS: f64 = 40_000.0;
    const OPERATIONS: u64 = 200_000;
    let shard = limited(ENTRIES as u64, Policy::AllkeysLru);
    let mut exact = ExactLru::default();
    let (mut hits, mut hits_exact, mut asked) = (0u32, 0u32, 0u32);
    let mut state = SEED;
    for operation in 0..OPERATIONS {
        // Four operations in a millisecond: the clock does not tell all of them apart.
        let now_ms = NOW_MS + operation / 4;
        let number = next_random(&mut state);
        let fraction = (number >> 11) as f64 / (1u64 << 53) as f64;
        // Few keys are asked for often; what is popular drifts, so that the past alone does not decide.
        let key = (fraction.powi(4) * KEYS) as u64 + operation / 50;
        let name = format!("key:{key}");
        let hit = get(&shard, &name, now_ms);
        if !hit {
            set(&shard, &name, now_ms);
        }
        let hit_exact = exact.ask(key, ENTRIES);
        if operation > 20_000 {
            asked += 1;
            hits += u32::from(hit);
            hits_exact += u32::from(hit_exact);
        }
    }
    let ratio = f64::from(hits) / f64::from(asked);
    let ratio_exact = f64::from(hits_exact) / f64::from(asked);
    println!("hit ratio {ratio:.4}, with an exact list {ratio_exact:.4}");
    assert!(ratio > ratio_exact - 0.01, "hit ratio {ratio:.4}, with an exact list {ratio_exact:.4}");
}

#[test]
fn of_entries_that_nobody_reads_the_first_written_go_first() {
    let shard = limited(1_000, Policy::AllkeysLru);
    for number in 0..1_500u64 {
        set(&shard, &format!("key:{number}"), NOW_MS + number);
    }
    let gone: Vec<u64> =
        (0..1_500).filter(|number| !is_there(&shard, &format!("key:{number}"), NOW_MS + 1_500)).collect();
    assert_eq!(gone.len(), 500, "one goes for each that comes");
    let rightly = gone.iter().filter(|number| **number < 500).count();
    let youngest = gone.last().copied().unwrap_or_default();
    println!("{rightly} of 500 are those that an exact list evicts; the youngest that went is number {youngest}");
    assert!(rightly > 450 && youngest < 700, "{rightly} of 500, the youngest {youngest}");
}

#[test]
fn an_entry_that_is_read_again_and_again_stays() {
    let shard = limited(100, Policy::AllkeysLru);
    set(&shard, "wanted", NOW_MS);
    for number in 0..2_000u64 {
        let now_ms = NOW_MS + number;
        assert!(get(&shard, "wanted", now_ms), "after {number} others");
        set(&shard, &format!("key:{number}"), now_ms);
    }
}

#[test]
fn a_limit_of_one_entry_refuses_no_write() {
    let shard = limited(1, Policy::AllkeysLru);
    for number in 0..200u64 {
        try_set(&shard, &format!("key:{number}"), None, NOW_MS).unwrap();
        assert_eq!(shard.database_len(0), 1);
    }
}

/// Samples that showed only entries which must stay were taken for all that there is, and the write was refused.
#[test]
fn the_one_entry_that_may_go_is_found_among_many_that_may_not() {
    let shard = limited(5_001, Policy::VolatileLru);
    for number in 0..5_000 {
        set(&shard, &format!("kept:{number}"), NOW_MS);
    }
    for number in 0..20u64 {
        try_set(&shard, &format!("key:{number}"), Some(NOW_MS + 60_000), NOW_MS).unwrap();
    }
    assert_eq!(shard.database_len(0), 5_001);
    assert!(is_there(&shard, "key:19", NOW_MS));
    try_set(&shard, "last", None, NOW_MS).unwrap();
    assert!(!is_there(&shard, "key:19", NOW_MS));
    assert!(matches!(try_set(&shard, "too many", None, NOW_MS), Err(WriteError::OutOfMemory)));
}

#[test]
fn without_eviction_a_write_beyond_the_limit_is_refused() {
    let shard = limited(10, Policy::NoEviction);
    for number in 0..10 {
        set(&shard, &format!("key:{number}"), NOW_MS);
    }
    assert!(matches!(try_set(&shard, "key:10", None, NOW_MS), Err(WriteError::OutOfMemory)));
    assert_eq!(shard.stats().evicted_entries, 0);
}

/// Each write evicted 64 and was refused, until the limit was reached.
#[test]
fn after_the_limit_was_lowered_writes_are_served_while_the_excess_goes() {
    let shard = limited(0, Policy::AllkeysLru);
    for number in 0..20_000u64 {
        set(&shard, &format!("key:{number}"), NOW_MS + number);
    }
    shard.set_max_entries(100);
    let now_ms = NOW_MS + 20_000;
    let mut writes = 0u64;
    while shard.database_len(0) > 100 {
        try_set(&shard, &format!("new:{writes}"), None, now_ms).unwrap();
        writes += 1;
        assert!(writes < 100, "{} entries after {writes} writes", shard.database_len(0));
    }
}

#[test]
fn after_the_limit_was_lowered_ticks_alone_reach_it() {
    let shard = limited(0, Policy::AllkeysRandom);
    for number in 0..15_000 {
        set(&shard, &format!("key:{number}"), NOW_MS);
    }
    shard.set_max_entries(100);
    shard.tick(NOW_MS);
    shard.tick(NOW_MS);
    assert_eq!(shard.database_len(0), 100);
}

#[test]
fn writes_of_many_entries_at_once_do_not_outrun_the_limit() {
    let shard = limited(1_000, Policy::AllkeysLru);
    for round in 0..100u64 {
        shard.make_room(5_000, NOW_MS + round).unwrap();
        (0..1_000).for_each(|number| put(&shard, &format!("key:{round}:{number}"), None, NOW_MS + round));
        assert!(shard.database_len(0) < 10_000, "{} entries after round {round}", shard.database_len(0));
    }
}

#[test]
fn after_a_change_of_policy_the_new_one_decides_at_once() {
    let shard = limited(40, Policy::AllkeysLru);
    for number in 0..40u64 {
        try_set(&shard, &format!("key:{number}"), Some(NOW_MS + 600_000 - number), NOW_MS + number).unwrap();
    }
    set(&shard, "new", NOW_MS + 100);
    // Those that lie idle longest, which were carried over, are those that expire last.
    shard.set_policy(Policy::VolatileTtl);
    set(&shard, "newer", NOW_MS + 100);
    let gone: Vec<u64> = (0..40).filter(|number| !is_there(&shard, &format!("key:{number}"), NOW_MS + 100)).collect();
    assert_eq!(gone.len(), 2);
    assert!(gone[1] >= 20, "{gone:?}");
}

#[test]
fn hashes_and_records_share_the_limit() {
    let shard = limited(100, Policy::AllkeysLru);
    for number in 0..1_000u64 {
        let (key, now_ms) = (format!("key:{number}"), NOW_MS + number);
        shard.make_room(100, now_ms).unwrap();
        if number % 2 == 0 {
            put(&shard, &key, None, now_ms);
        } else {
            let mut hash = HashValue::default();
            hash.set(b"f", b"v", false, now_ms, &sutra_shard::heap::HashOptions::default());
            let mut txn = shard.begin(Scope::Key(key.as_bytes()), now_ms);
            txn.put_heap(0, key.as_bytes(), HeapValue::Hash(hash), Put { expires_at_ms: None, cost: None }).unwrap();
            txn.commit().unwrap();
        }
    }
    let there: Vec<u64> =
        (0..1_000).filter(|number| is_there(&shard, &format!("key:{number}"), NOW_MS + 1_000)).collect();
    assert_eq!(there.len(), 100);
    assert!(there[0] > 800, "{there:?}");
}
