//! What the first tier of a cache believes when the network falls silent or is cut.

#[expect(dead_code, reason = "part of what a network can do is enough here")]
#[path = "support/proxy.rs"]
mod proxy;
mod support;

use proxy::{Cut, Passage, Proxy};
use std::time::{Duration, Instant};
use support::until;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{Cache, CacheBuilder, Client, Config, Error, OnFault, Tracking};

const HEARTBEAT: Duration = Duration::from_millis(200);

async fn behind_proxy(tracking: Tracking) -> (Embedded, Proxy, Cache, Client) {
    let shard = Embedded::start(&[]).expect("a shard");
    let proxy = Proxy::before(shard.address()).await;
    let config = Config::new(&proxy.url()).expect("a URL").connections(1).heartbeat(HEARTBEAT).retries(0);
    let config = config.connect_timeout(HEARTBEAT).read_timeout(HEARTBEAT * 4);
    let cache = CacheBuilder::of(config).tracking(tracking).on_fault(OnFault::Error).connect().await;
    let writer = Client::connect(&shard.url()).await.expect("a connection");
    (shard, proxy, cache.expect("a connection"), writer)
}

fn ways() -> [Tracking; 3] {
    let broadcast = Tracking::Broadcast { prefixes: Vec::new(), noloop: false };
    [Tracking::Keys { noloop: false }, Tracking::OptIn { noloop: false }, broadcast]
}

/// Reads until the value comes from the first tier.
async fn warm(cache: &Cache, expected: &str) {
    until("the first tier to hold the value", async || {
        let hits = cache.stats().l1_hits;
        let value = cache.get::<String>("k").await;
        matches!(value, Ok(Some(value)) if value == expected) && cache.stats().l1_hits > hits
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_network_falls_silent_nothing_outdated_is_served_for_long() {
    for tracking in ways() {
        let (_shard, proxy, cache, writer) = behind_proxy(tracking.clone()).await;
        writer.set("k", "old").await.unwrap();
        warm(&cache, "old").await;
        proxy.to_client(Passage::Stalled);
        proxy.to_shard(Passage::Stalled);
        writer.set("k", "new").await.unwrap();
        let silent = Instant::now();
        // The writer's word never arrives. The cache must find out by itself that it is cut off.
        until("doubt", async || !matches!(cache.get::<String>("k").await, Ok(Some(value)) if value == "old")).await;
        // Twice the heartbeat is the promise; the rest is for a machine that does other things.
        let waited = silent.elapsed();
        assert!(waited < HEARTBEAT * 2 + Duration::from_secs(2), "{tracking:?}: {waited:?}");
        proxy.to_client(Passage::Open);
        proxy.to_shard(Passage::Open);
        warm(&cache, "new").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_while_the_connection_was_cut_is_not_served_afterwards() {
    for tracking in ways() {
        for cut in [Cut::Finish, Cut::Reset, Cut::HalfClose] {
            let (_shard, proxy, cache, writer) = behind_proxy(tracking.clone()).await;
            writer.set("k", "old").await.unwrap();
            warm(&cache, "old").await;
            // The push is on its way and is lost with the connection.
            proxy.to_client(Passage::Stalled);
            writer.set("k", "new").await.unwrap();
            proxy.cut(cut);
            proxy.to_client(Passage::Open);
            until("the new value", async || match cache.get::<String>("k").await {
                Ok(value) => value.as_deref() == Some("new"),
                Err(error) => {
                    assert!(!matches!(error, Error::Unexpected { .. }), "{tracking:?}, {cut:?}: {error}");
                    false
                }
            })
            .await;
        }
    }
}
