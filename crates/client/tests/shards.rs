//! Several shards: where keys go, what moves, and that nothing comes back.

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::until;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::breaker::{BreakerSettings, Phase};
use sutra_cache_client::{Cache, CacheBuilder, Client, Config, Error, Joining, Reply, Request};

fn config(shard: &Embedded) -> Config {
    Config::new(&shard.url()).expect("an embedded shard has a URL").connect_timeout(Duration::from_secs(3))
}

/// A cache of these shards, in this order, each of weight 1.
fn builder(shards: &[(&str, &Embedded)]) -> CacheBuilder {
    let [(first, shard), others @ ..] = shards else { panic!("there is a shard") };
    let mut builder = CacheBuilder::named(*first, 1.0, config(shard)).breaker(BreakerSettings {
        open_for: Duration::from_millis(20),
        open_for_max: Duration::from_millis(100),
        ..Default::default()
    });
    for (name, shard) in others {
        builder = builder.shard(*name, 1.0, config(shard));
    }
    builder
}

fn start<const N: usize>() -> [Embedded; N] {
    std::array::from_fn(|_| Embedded::start(&[]).expect("the embedded shard starts"))
}

fn key(number: usize) -> String {
    format!("cache:answers:acme:{number}")
}

async fn entries(shard: &Embedded) -> i64 {
    let client = Client::connect(&shard.url()).await.expect("the shard is there");
    let answer = client.call(Request::read("DBSIZE")).await.expect("DBSIZE answers");
    let Reply::Integer(count) = answer else { panic!("{answer:?}") };
    count
}

async fn value(cache: &Cache, key: &str) -> Option<String> {
    cache.get::<String>(key).await.expect("faults are misses")
}

#[tokio::test]
async fn keys_go_where_they_always_went_in_whatever_order_the_shards_are_named() {
    let [a, b, c] = start();
    let one = builder(&[("a", &a), ("b", &b), ("c", &c)]).connect().await.unwrap();
    let other = builder(&[("c", &c), ("a", &a), ("b", &b)]).connect().await.unwrap();
    let routes: String = (0..40).map(|number| one.shard_of(key(number))).collect();
    assert_eq!(routes, GOLDEN, "a route that changes moves values away from who looks for them");
    for number in 0..40 {
        one.set(key(number), &number.to_string()).await.unwrap();
    }
    for (number, route) in routes.chars().enumerate() {
        assert_eq!(value(&other, &key(number)).await, Some(number.to_string()));
        let shard = [&a, &b, &c][route as usize - 'a' as usize];
        let there = Client::connect(&shard.url()).await.unwrap();
        let count = there.call(Request::read("EXISTS").arg(key(number))).await.unwrap();
        assert_eq!(count, Reply::Integer(1), "{number} is on {route}");
    }
    let health = one.shards();
    assert_eq!(health.iter().map(|shard| shard.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    for (shard, at) in health.iter().zip([&a, &b, &c]) {
        assert_eq!(shard.address, at.address().to_string());
        assert!(!shard.away && shard.phase == Phase::Closed && shard.connections.open > 0);
        assert!(shard.latency.count() > 0 && (shard.share - 1.0 / 3.0).abs() < 1e-9);
    }
}
const GOLDEN: &str = "bcbcbbbbbccbcbbcacacccabbcaabababbaccbca";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_comes_takes_its_share_and_one_that_goes_leaves_its_own_and_nothing_else_moves() {
    const KEYS: usize = 4000;
    let [a, b, c, d] = start();
    let cache = builder(&[("a", &a), ("b", &b), ("c", &c)]).connect().await.unwrap();
    let all: Vec<_> = (0..KEYS).map(|number| (key(number), number.to_string())).collect();
    cache.set_many(&all, Duration::from_secs(600)).await.unwrap();
    let routes = |cache: &Cache| -> Vec<String> { all.iter().map(|(key, _)| cache.shard_of(key)).collect() };
    let before = routes(&cache);

    let joined = cache.add_shard("d", 1.0, config(&d), Joining::Filled { top: 2 * KEYS }).await.unwrap();
    let after = routes(&cache);
    let moved = before.iter().zip(&after).filter(|(old, new)| old != new).count();
    assert!(before.iter().zip(&after).all(|(old, new)| old == new || new == "d"));
    let share = moved as f64 / KEYS as f64;
    println!("added a fourth shard: {share:.4} of {KEYS} keys moved, 0.25 is ideal; {joined:?}");
    assert!((0.22..=0.28).contains(&share), "{share}");
    assert!(joined.ready && joined.others.failed.is_empty());
    assert_eq!((joined.filled, joined.others.deleted()), (moved as u64, moved as u64));
    // They lie where they belong, and nowhere else.
    for (name, shard) in [("a", &a), ("b", &b), ("c", &c), ("d", &d)] {
        assert_eq!(entries(shard).await as usize, after.iter().filter(|route| *route == name).count(), "{name}");
    }
    let values = cache.get_many::<String, _>(&all.iter().map(|(key, _)| key).collect::<Vec<_>>()).await.unwrap();
    assert!(values.iter().zip(&all).all(|(value, (_, written))| value.as_ref() == Some(written)));

    let swept = cache.remove_shard("b").await.unwrap();
    assert_eq!((swept.deleted(), swept.failed.len()), (0, 0), "nothing was out of place");
    let last = routes(&cache);
    assert!(after.iter().zip(&last).all(|(old, new)| old == new || old == "b"));
    let moved = after.iter().filter(|route| *route == "b").count() as f64 / KEYS as f64;
    println!("removed one of four: {moved:.4} of {KEYS} keys moved, 0.25 is ideal");
    assert!((0.22..=0.28).contains(&moved), "{moved}");
    for ((key, written), (route, old)) in all.iter().zip(last.iter().zip(&after)).step_by(7) {
        let expected = (route == old).then(|| written.clone());
        assert_eq!(value(&cache, key).await, expected, "what moved is computed anew");
    }
}

#[tokio::test]
async fn what_a_shard_has_from_an_earlier_time_does_not_come_back_with_it() {
    let [a, b] = start();
    let cache = builder(&[("a", &a), ("b", &b)]).connect().await.unwrap();
    let on_b: Vec<String> = (0..200).map(key).filter(|key| cache.shard_of(key) == "b").collect();
    for key in &on_b {
        cache.set(key, "old").await.unwrap();
    }
    cache.remove_shard("b").await.unwrap();
    for key in &on_b {
        cache.set(key, "new").await.unwrap();
    }
    let joined = cache.add_shard("b", 1.0, config(&b), Joining::Swept).await.unwrap();
    assert_eq!(joined.swept.deleted, on_b.len() as u64);
    assert_eq!(joined.others.deleted(), on_b.len() as u64);
    for key in &on_b {
        assert_eq!(value(&cache, key).await, None);
    }
}

#[tokio::test]
async fn who_says_that_a_shard_is_fresh_keeps_what_it_has() {
    let [a, b] = start();
    let cache = builder(&[("a", &a), ("b", &b)]).connect().await.unwrap();
    let here = (0..100).map(key).find(|key| cache.shard_of(key) == "b").unwrap();
    cache.set(&here, "kept").await.unwrap();
    let second = builder(&[("a", &a)]).connect().await.unwrap();
    let joined = second.add_shard("b", 1.0, config(&b), Joining::Trusted).await.unwrap();
    assert!(joined.ready && joined.swept.scanned == 0);
    assert_eq!(value(&second, &here).await.as_deref(), Some("kept"));
}

#[tokio::test]
async fn what_lies_elsewhere_from_before_a_shard_came_does_not_come_back_when_it_goes() {
    let [a, b] = start();
    let alone = builder(&[("a", &a)]).connect().await.unwrap();
    for number in 0..200 {
        alone.set(key(number), "old").await.unwrap();
    }
    // Another process, whose list names both from the beginning.
    let both = builder(&[("a", &a), ("b", &b)]).connect().await.unwrap();
    let on_b: Vec<String> = (0..200).map(key).filter(|key| both.shard_of(key) == "b").collect();
    for key in &on_b {
        both.set(key, "new").await.unwrap();
    }
    let swept = both.remove_shard("b").await.unwrap();
    assert_eq!(swept.deleted(), on_b.len() as u64);
    for number in 0..200 {
        let expected = if on_b.contains(&key(number)) { None } else { Some("old") };
        assert_eq!(value(&both, &key(number)).await.as_deref(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_away_while_another_goes_is_swept_before_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let [b, c] = start();
    let a = Embedded::start(&[("STORAGE_PATH", path)]).unwrap();
    let port = a.address().port().to_string();
    let alone = builder(&[("a", &a)]).connect().await.unwrap();
    for number in 0..100 {
        alone.set(key(number), "old").await.unwrap();
    }
    drop(alone);
    let cache = builder(&[("a", &a), ("b", &b), ("c", &c)]).connect().await.unwrap();
    let after = builder(&[("a", &a), ("c", &c)]).connect().await.unwrap();
    let moving = (0..100).map(key).find(|key| cache.shard_of(key) == "b" && after.shard_of(key) == "a").unwrap();
    let staying = (0..100).map(key).find(|key| cache.shard_of(key) == "a").unwrap();
    cache.set(&moving, "new").await.unwrap();
    a.stop();
    until("an outage that is known", async || {
        drop(value(&cache, &staying).await);
        cache.shards()[0].away
    })
    .await;
    let swept = cache.remove_shard("b").await.unwrap();
    assert_eq!(swept.failed.len(), 1);
    assert_eq!(value(&cache, &moving).await, None);
    let a = Embedded::start(&[("STORAGE_PATH", path), ("STORAGE_PORT", &port)]).unwrap();
    until("the return", async || {
        assert_eq!(value(&cache, &moving).await, None, "it was changed while another shard had it");
        value(&cache, &staying).await.as_deref() == Some("old")
    })
    .await;
    assert_eq!(value(&cache, &moving).await, None);
    drop(a);
}

#[tokio::test]
async fn changes_that_cannot_be_made_change_nothing() {
    let [a, b] = start();
    let cache = builder(&[("a", &a)]).connect().await.unwrap();
    let config_error = |result: Result<(), Error>| assert!(matches!(result, Err(Error::Config(_))), "{result:?}");
    config_error(cache.add_shard("a", 1.0, config(&b), Joining::Swept).await.map(drop));
    config_error(cache.add_shard("b", 0.0, config(&b), Joining::Swept).await.map(drop));
    config_error(cache.remove_shard("a").await.map(drop));
    config_error(cache.remove_shard("b").await.map(drop));
    let nobody = Config::new("sutra://127.0.0.1:1").unwrap().connect_timeout(Duration::from_millis(50));
    assert!(matches!(cache.add_shard("b", 1.0, nobody, Joining::Swept).await, Err(Error::Unavailable { .. })));
    assert_eq!(cache.shards().len(), 1);
}

/// Writers count up the version of each key; nobody ever reads one that is older than what was acknowledged before the read began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_shards_come_and_go_no_read_finds_what_was_replaced_before_it_began() {
    const KEYS: usize = 60;
    let [a, b, c] = start();
    let cache = builder(&[("a", &a), ("b", &b)]).connect().await.unwrap();
    let written: Arc<Vec<AtomicU64>> = Arc::new((0..KEYS).map(|_| AtomicU64::new(0)).collect());
    let over = Arc::new(AtomicBool::new(false));
    let (hits, misses) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for writer in 0..3 {
        let (cache, written, over) = (cache.clone(), Arc::clone(&written), Arc::clone(&over));
        tasks.push(tokio::spawn(async move {
            // Each key has one writer, so that versions only grow.
            for turn in 1_u64.. {
                for number in (writer..KEYS).step_by(3).filter(|number| !(number + turn as usize).is_multiple_of(3)) {
                    cache.set(key(number), &turn.to_string()).await.expect("faults are forgiven");
                    written[number].store(turn, Ordering::SeqCst);
                }
                if over.load(Ordering::SeqCst) {
                    return;
                }
            }
        }));
    }
    for _ in 0..3 {
        let (cache, written, over) = (cache.clone(), Arc::clone(&written), Arc::clone(&over));
        let (hits, misses) = (Arc::clone(&hits), Arc::clone(&misses));
        tasks.push(tokio::spawn(async move {
            while !over.load(Ordering::SeqCst) {
                let number = fastrand::usize(..KEYS);
                let acknowledged = written[number].load(Ordering::SeqCst);
                match value(&cache, &key(number)).await {
                    Some(version) => {
                        let version: u64 = version.parse().expect("a version");
                        assert!(version >= acknowledged, "key {number}: read {version} after {acknowledged}");
                        hits.fetch_add(1, Ordering::Relaxed);
                    }
                    None => drop(misses.fetch_add(1, Ordering::Relaxed)),
                }
            }
        }));
    }
    let mut seen: HashMap<&str, u64> = HashMap::new();
    for round in 0..12 {
        let joining = if round % 2 == 0 { Joining::Filled { top: 1000 } } else { Joining::Swept };
        let joined = cache.add_shard("c", 1.0, config(&c), joining).await.unwrap();
        *seen.entry("filled").or_default() += joined.filled;
        *seen.entry("swept").or_default() += joined.swept.deleted;
        until("reads in between", {
            let (hits, before) = (Arc::clone(&hits), hits.load(Ordering::Relaxed));
            async move || hits.load(Ordering::Relaxed) > before + 50
        })
        .await;
        *seen.entry("left").or_default() += cache.remove_shard("c").await.unwrap().deleted();
    }
    over.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    let (hits, misses) = (hits.load(Ordering::Relaxed), misses.load(Ordering::Relaxed));
    println!("{hits} hits and {misses} misses while a shard came and went 12 times: {seen:?}");
    assert!(seen["swept"] > 0 && hits > 0);
}
