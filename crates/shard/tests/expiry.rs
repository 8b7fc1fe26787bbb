//! Entries go when their time has come, also those that nobody reads and whose slot cannot tell when that is.

use sutra_shard::{HashValue, HeapValue, Limits, Put, Scope, Shard};

const NOW_MS: u64 = 1_800_000_000_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A slot knows expiries of up to six days; one further away once was never looked at again.
#[test]
fn an_entry_that_expires_in_weeks_is_removed_without_being_read() {
    let shard = Shard::in_memory(&Limits::default(), 7).expect("the default limits allow a shard");
    for number in 0..50u64 {
        let key = format!("key:{number}");
        let put = Put { expires_at_ms: Some(NOW_MS + (number % 20 + 1) * DAY_MS), cost: None };
        let mut txn = shard.begin(Scope::Key(key.as_bytes()), NOW_MS);
        if number % 5 == 0 {
            let mut hash = HashValue::default();
            hash.set(b"f", b"v", false, NOW_MS, &sutra_shard::heap::HashOptions::default());
            txn.put_heap(0, key.as_bytes(), HeapValue::Hash(hash), put).expect("stored");
        } else {
            txn.put(0, key.as_bytes(), b"value", put).expect("stored");
        }
        txn.commit().expect("committed");
    }
    for minute in 0..21 * 24 * 60 {
        shard.tick(NOW_MS + minute * 60_000);
        if minute % (24 * 60) == 5 {
            let live = (0..50).filter(|number| (number % 20 + 1) * DAY_MS > minute * 60_000).count();
            assert_eq!(shard.database_len(0), live as u64, "day {}", minute / (24 * 60));
        }
    }
    assert_eq!(shard.database_len(0), 0);
}
