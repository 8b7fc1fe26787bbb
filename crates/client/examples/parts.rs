//! What the small parts of a request cost, in nanoseconds: keys, routes, the breaker, the figures.
//!
//! `cargo run --release -p sutra-cache-client --example parts`

use std::hint::black_box;
use std::time::{Duration, Instant};
use sutra_cache_client::breaker::{Breaker, BreakerSettings};
use sutra_cache_client::codec::encode;
use sutra_cache_client::keys::{CacheKey, Digest, EmbeddingKey, QuestionKey, normalise};
use sutra_cache_client::rendezvous::Rendezvous;
use sutra_cache_client::stats::{Counter, Operation, Stats};

const TIMES: u32 = 200_000;
const QUESTION: &str = "How do I  reset the password of my account, if I no longer have the phone?";

fn main() {
    measure("key of an embedding, 76 bytes of text", || EmbeddingKey::new("text-embedding-3-small", QUESTION));
    measure("key of a cache", || CacheKey::new("answers", "tenant-17", "account:42:summary"));
    measure("key of a question, 76 bytes", || QuestionKey::new("answers", "tenant-17").question(QUESTION).build());
    measure("normalise it", || normalise(QUESTION));
    measure("SHA-256 of it", || Digest::of(QUESTION.as_bytes()));
    let vector = vec![0.25_f32; 768];
    measure("encode 768 components", || encode(&vector).map(|bytes| bytes.len()));

    let mut shards = Rendezvous::new();
    for index in 0..8 {
        shards.add(&format!("shard-{index}"), 1.0).expect("names differ");
    }
    measure("route over 8 shards", || shards.route_index(black_box(b"cache:answers:tenant-17:account:42:summary")));

    let (breaker, now) = (Breaker::new(BreakerSettings::default(), 1), Instant::now());
    measure("breaker, closed: ask and report", || breaker.ask(now).map(|permit| permit.succeeded(now)));
    let stats = Stats::new();
    measure("count", || stats.count(Counter::L1Hits));
    measure("record a latency", || stats.took(Operation::Get, black_box(Duration::from_nanos(70_000))));
    measure("read the clock", Instant::now);
}

/// The fastest of several rounds: what others do on the machine only adds.
fn measure<T>(what: &str, mut run: impl FnMut() -> T) {
    let mut best = f64::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        for _ in 0..TIMES / 10 {
            black_box(run());
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(TIMES / 10));
    }
    println!("{best:8.1} ns  {what}");
}
