//! The cache of two tiers: coherent with the shard, and an application's friend when the shard is away.

mod support;

use std::time::Duration;
use support::until;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::codec::Json;
use sutra_cache_client::ttl::AdaptiveTtl;
use sutra_cache_client::{Cache, Client, Config, Error, OnFault, Request, Tracking, Ttl};

async fn cache(shard: &Embedded, tracking: Tracking) -> Cache {
    let builder = Cache::builder(&shard.url()).expect("a URL").tracking(tracking);
    builder.connect().await.expect("a shard")
}

fn ways() -> Vec<Tracking> {
    let broadcast = Tracking::Broadcast { prefixes: vec!["k".to_owned()], noloop: false };
    vec![
        Tracking::Keys { noloop: false },
        Tracking::Keys { noloop: true },
        Tracking::OptIn { noloop: false },
        Tracking::OptIn { noloop: true },
        broadcast,
    ]
}

#[tokio::test]
async fn values_of_any_type_come_back_and_the_second_read_is_answered_here() {
    let shard = Embedded::start(&[]).unwrap();
    for tracking in ways() {
        let cache = cache(&shard, tracking.clone()).await;
        cache.set("k1", "text").await.unwrap();
        cache.set("k2", &[1.0_f32, -2.5][..]).await.unwrap();
        cache.set("k3", &Json(vec![1, 2])).await.unwrap();
        // The push of the own writes may still be under way.
        until("an answer from here", async || {
            assert_eq!(cache.get::<String>("k1").await.unwrap().as_deref(), Some("text"));
            assert_eq!(cache.get::<Vec<f32>>("k2").await.unwrap(), Some(vec![1.0, -2.5]));
            assert_eq!(cache.get::<Json<Vec<i32>>>("k3").await.unwrap(), Some(Json(vec![1, 2])));
            cache.stats().l1_hits >= 3
        })
        .await;
        assert!(matches!(cache.get::<Vec<f32>>("k3").await, Err(Error::Decode(_))), "{tracking:?}");
        cache.clear().await.unwrap();
    }
}

#[tokio::test]
async fn every_kind_of_change_by_another_reaches_the_first_tier() {
    let shard = Embedded::start(&[]).unwrap();
    let other = Client::connect(&shard.url()).await.unwrap();
    for tracking in ways() {
        let cache = cache(&shard, tracking.clone()).await;
        let changes: [(&str, Vec<Request>); 7] = [
            ("overwritten", vec![Request::new("SET").args(["k", "new"])]),
            ("deleted", vec![Request::new("DEL").arg("k")]),
            ("flushed", vec![Request::new("FLUSHALL")]),
            ("renamed over", vec![Request::new("SET").args(["j", "new"]), Request::new("RENAME").args(["j", "k"])]),
            ("invalidated by tag", vec![Request::new("CACHE.INVALIDATE").args(["TAG", "1", "t"])]),
            ("invalidated by pattern", vec![Request::new("CACHE.INVALIDATE").args(["MATCH", "k*"])]),
            ("expired", vec![Request::new("PEXPIRE").args(["k", "1"])]),
        ];
        for (what, requests) in changes {
            other.call(Request::new("CACHE.SET").args(["k", "old", "TAG", "1", "t"])).await.unwrap();
            let before = cache.stats().l1_hits;
            until("an answer from here", async || {
                drop(cache.get::<String>("k").await.unwrap());
                cache.stats().l1_hits > before
            })
            .await;
            for request in requests {
                other.call(request).await.unwrap();
            }
            until(&format!("{what} with {tracking:?}"), async || {
                cache.get::<String>("k").await.unwrap().as_deref() != Some("old")
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_key_that_was_absent_is_found_once_another_writes_it() {
    let shard = Embedded::start(&[]).unwrap();
    let (cache, other) = (Cache::connect(&shard.url()).await.unwrap(), Client::connect(&shard.url()).await.unwrap());
    assert_eq!(cache.get::<String>("k").await.unwrap(), None);
    other.call(Request::new("SET").args(["k", "v"])).await.unwrap();
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("v"));
}

#[tokio::test]
async fn an_entry_is_not_served_here_beyond_its_time() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = cache(&shard, Tracking::Off).await;
    cache.set_for("k", "v", Duration::from_secs(3)).await.unwrap();
    assert!(cache.get::<String>("k").await.unwrap().is_some());
    assert!(cache.ttl("k").await.unwrap().is_some_and(|ttl| ttl <= Duration::from_secs(3)));
    until("the end of its time", async || cache.get::<String>("k").await.unwrap().is_none()).await;
    assert!(cache.stats().l1_hits > 0, "it was here");
}

#[tokio::test]
async fn a_value_that_changes_is_given_less_time_if_the_rule_is_to_say() {
    let shard = Embedded::start(&[]).unwrap();
    let rule = AdaptiveTtl::new(Duration::from_secs(1000));
    let cache = Cache::builder(&shard.url()).unwrap().adaptive_ttl(rule).connect().await.unwrap();
    // The test's own few seconds lengthen a time by a tenth of them, and are taken from it.
    for (value, longest) in [("1", 1000), ("1", 1000), ("2", 500), ("3", 334)] {
        cache.set_for("k", value, Ttl::Adaptive).await.unwrap();
        let ttl = cache.ttl("k").await.unwrap().unwrap();
        let longest = Duration::from_secs(longest + 10);
        assert!(ttl <= longest && ttl + Duration::from_secs(60) > longest, "{ttl:?} for {value}");
    }
}

#[tokio::test]
async fn a_hundred_thousand_values_are_written_and_deleted_by_two_calls() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let entries: Vec<_> = (0..100_000).map(|number| (format!("k{number}"), format!("v{number}"))).collect();
    cache.set_many(&entries, Duration::from_secs(600)).await.unwrap();
    assert_eq!(cache.get::<String>("k99999").await.unwrap().as_deref(), Some("v99999"));
    let keys: Vec<_> = entries.into_iter().map(|(key, _)| key).collect();
    assert_eq!(cache.delete_many(&keys).await.unwrap(), 100_000);
}

#[tokio::test]
async fn several_keys_come_in_one_round_trip() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let entries: Vec<_> = (0..10).map(|number| (format!("k{number}"), format!("v{number}"))).collect();
    cache.set_many(&entries, Duration::from_secs(60)).await.unwrap();
    let keys: Vec<_> = (0..12).map(|number| format!("k{number}")).collect();
    let values = cache.get_many::<String, _>(&keys).await.unwrap();
    assert_eq!(values[..10], entries.iter().map(|(_, value)| Some(value.clone())).collect::<Vec<_>>());
    assert_eq!(values[10..], [None, None]);
    assert_eq!(cache.delete_many(&keys).await.unwrap(), 10);
    assert!(!cache.exists("k3").await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_shard_is_away_reads_miss_and_what_was_to_change_does_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let shard = Embedded::start(&[("STORAGE_PATH", path)]).unwrap();
    let port = shard.address().port().to_string();
    let cache = Cache::builder(&shard.url()).unwrap();
    let cache = cache.breaker(quick()).connect().await.unwrap();
    for key in ["deleted", "replaced", "kept"] {
        cache.set(key, "old").await.unwrap();
    }
    shard.stop();
    until("an outage that is known", async || {
        drop(cache.get::<String>("kept").await.unwrap());
        cache.set("new", "here").await.unwrap();
        cache.get::<String>("new").await.unwrap().as_deref() == Some("here")
    })
    .await;
    assert!(!cache.delete("deleted").await.unwrap());
    cache.set("replaced", "new").await.unwrap();
    assert_eq!(cache.get::<String>("replaced").await.unwrap().as_deref(), Some("new"), "from this process");
    assert_eq!(cache.get::<String>("deleted").await.unwrap(), None);
    assert_eq!(cache.get::<String>("kept").await.unwrap(), None, "nobody knows whether it is still so");

    let shard = Embedded::start(&[("STORAGE_PATH", path), ("STORAGE_PORT", &port)]).unwrap();
    until("the return", async || cache.get::<String>("kept").await.unwrap().as_deref() == Some("old")).await;
    assert_eq!(
        cache.get::<String>("replaced").await.unwrap(),
        None,
        "neither the old value nor that of the time without"
    );
    assert_eq!(cache.get::<String>("deleted").await.unwrap(), None);
    cache.set("replaced", "newer").await.unwrap();
    assert_eq!(cache.get::<String>("replaced").await.unwrap().as_deref(), Some("newer"));
    assert!(cache.stats().errors.values().sum::<u64>() > 0, "every fault is counted");
    drop(shard);
}

#[tokio::test]
async fn faults_are_errors_for_who_wants_them() {
    let config = Config::new("sutra://127.0.0.1:1").unwrap().connect_timeout(Duration::from_millis(50));
    let builder = sutra_cache_client::CacheBuilder::of(config);
    let forgiving = builder.clone().build().unwrap();
    assert_eq!(forgiving.get::<String>("k").await.unwrap(), None);
    forgiving.set("k", "v").await.unwrap();
    let strict = builder.on_fault(OnFault::Error).build().unwrap();
    assert!(strict.get::<String>("k").await.unwrap_err().is_fault());
    assert!(strict.set("k", "v").await.unwrap_err().is_fault());
}

fn quick() -> sutra_cache_client::breaker::BreakerSettings {
    sutra_cache_client::breaker::BreakerSettings {
        open_for: Duration::from_millis(20),
        open_for_max: Duration::from_millis(100),
        ..Default::default()
    }
}
