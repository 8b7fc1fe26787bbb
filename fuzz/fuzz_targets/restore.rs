//! Payloads of RESTORE, with a sound checksum put behind most. Nothing panics; what is restored, dumped again, is the same value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use sutra_cache::rdb::{Restored, dump, restore};
use sutra_fuzz::input::Input;
use sutra_fuzz::world::NOW_MS;
use sutra_shard::{HashValue, HeapValue, Limits, Put, Scope, Shard};

fn shard() -> &'static Shard {
    static SHARD: OnceLock<Shard> = OnceLock::new();
    SHARD.get_or_init(|| Shard::in_memory(&Limits::default(), 7).expect("the default limits allow a shard"))
}

/// CRC-64 of Jones, reflected, as Redis puts it behind payloads.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc: u64, byte| {
        (0..8).fold(
            crc ^ u64::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x95ac_9329_ac4b_c9b5 } else { crc >> 1 },
        )
    })
}

/// Fields that have not expired by 1970, which RESTORE leaves out.
fn fields<'a>(restored: &'a Restored<'_>) -> Option<BTreeMap<&'a [u8], (&'a [u8], Option<u64>)>> {
    match restored {
        Restored::String(_) => None,
        Restored::Hash(fields) => {
            let left = fields.iter().filter(|field| field.expires_at_ms != Some(0));
            Some(left.map(|field| (&*field.field, (&*field.value, field.expires_at_ms))).collect())
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let sealed = input.byte() & 1 == 0;
    let mut payload = input.rest().to_vec();
    if sealed {
        payload.extend_from_slice(&10u16.to_le_bytes());
        let crc = crc64(&payload);
        payload.extend_from_slice(&crc.to_le_bytes());
    }
    let Ok(restored) = restore(&payload) else { return };
    let mut txn = shard().begin(Scope::Key(b"k"), NOW_MS);
    match &restored {
        Restored::String(value) => txn.put(0, b"k", value, Put::default()).expect("stored"),
        Restored::Hash(fields) => {
            let mut hash = HashValue::default();
            for field in fields {
                assert!(
                    hash.set(&field.field, &field.value, false, 0, &sutra_shard::heap::HashOptions::default()),
                    "a field came twice"
                );
                if let Some(at_ms) = field.expires_at_ms {
                    hash.expire(&field.field, at_ms, 0);
                }
            }
            assert!(!fields.is_empty(), "a hash has a field");
            txn.put_heap(0, b"k", HeapValue::Hash(hash), Put::default()).expect("stored");
        }
    }
    let now_ms = 0;
    let Some(entry) = txn.peek(0, b"k") else { return };
    let again = dump(entry.value, now_ms);
    let again = restore(&again).expect("what we dump we restore");
    match (&restored, &again) {
        (Restored::String(first), Restored::String(second)) => assert_eq!(first, second),
        _ => assert_eq!(fields(&restored), fields(&again)),
    }
});
