//! What a hit of the first tier costs: nanoseconds for a value of 3 KiB, by one thread and by several at once.
//!
//! `cargo run --release -p sutra-cache-client --example l1`

use std::hint::black_box;
use std::time::Instant;
use sutra_cache_client::l1::{About, L1, L1Settings};

const ENTRIES: usize = 5_000;
const VALUE_BYTES: usize = 3 << 10;
const HITS: usize = 2_000_000;

fn main() {
    let l1 = L1::new(L1Settings::default());
    let keys: Vec<Vec<u8>> =
        (0..ENTRIES).map(|index| format!("cache:answers:tenant-1:{index:032}").into_bytes()).collect();
    for key in &keys {
        let ticket = l1.begin(key);
        assert!(l1.insert(ticket, key, &[7; VALUE_BYTES], About::default()), "there is room for all");
    }
    for threads in [1, 2, 4] {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (l1, keys) = (&l1, &keys);
                scope.spawn(move || hits(l1, keys, thread));
            }
        });
        let ns = start.elapsed().as_nanos() as f64 / HITS as f64;
        println!(
            "{threads} threads: {ns:.0} ns per hit and thread ({ENTRIES} entries of {VALUE_BYTES} bytes, the clock included)"
        );
    }
}

fn hits(l1: &L1, keys: &[Vec<u8>], seed: usize) {
    // An order without a pattern: multiplication by an odd constant.
    let mut at = seed;
    for _ in 0..HITS {
        at = at.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let hit = l1.get(&keys[(at >> 33) % ENTRIES], Instant::now());
        assert!(black_box(hit).is_some(), "nothing was evicted");
    }
}
