//! How long a cache returns what was before a write, counted from the answer to the writer.

use crate::cache;
use std::time::{Duration, Instant};
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{Cache, Client, Request, Tracking};

const WRITES: u64 = 300;
const CACHES: usize = 4;

/// Reads until the version is there; how long it took since.
async fn seen(cache: &Cache, version: u64, since: Instant) -> Duration {
    loop {
        let value = cache.get::<String>("k").await.expect("a fault is a miss");
        if value.is_some_and(|value| value.parse::<u64>().expect("a number") >= version) {
            return since.elapsed();
        }
        assert!(since.elapsed() < Duration::from_secs(20), "version {version} is never seen");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_before_an_acknowledged_write_is_gone_when_its_push_has_come() {
    let shard = Embedded::start(&[]).unwrap();
    let writer = Client::connect(&shard.url()).await.unwrap();
    for tracking in [
        Tracking::Keys { noloop: true },
        Tracking::OptIn { noloop: false },
        Tracking::Broadcast { prefixes: Vec::new(), noloop: true },
    ] {
        let mut caches = Vec::new();
        for _ in 0..CACHES {
            caches.push(cache(shard.address(), tracking.clone(), 2).await);
        }
        let mut times = Vec::new();
        for version in 1..=WRITES {
            writer.call(Request::new("SET").arg("k").number(version)).await.unwrap();
            let answered = Instant::now();
            let waits = caches.iter().map(|cache| seen(cache, version, answered));
            times.extend(futures_util::future::join_all(waits).await);
        }
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        eprintln!(
            "{tracking:?}: a write is seen by {CACHES} caches {:?} (p50), {:?} (p99) after its answer",
            at(50),
            at(99)
        );
        // A push on the loopback interface; what is allowed here is a machine with other things to do.
        assert!(at(50) < Duration::from_millis(250), "{:?}", at(50));
        let hits: u64 = caches.iter().map(|cache| cache.stats().l1_hits).sum();
        assert!(caches.iter().all(|cache| cache.stats().pushes > 0), "it was pushes that told, {hits} hits");
    }
}
