//! Caches that are filled before they are asked.

mod support;

use std::time::Duration;
use support::until;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{Cache, CacheBuilder, Client, Config, Entry, Guard, Joining, Lookup, SpaceOptions, WarmUp};

fn config(shard: &Embedded) -> Config {
    Config::new(&shard.url()).expect("an embedded shard has a URL").connect_timeout(Duration::from_secs(3))
}

fn start<const N: usize>() -> [Embedded; N] {
    std::array::from_fn(|_| Embedded::start(&[]).expect("the embedded shard starts"))
}

async fn three(shards: &[Embedded; 3]) -> Cache {
    let builder = CacheBuilder::named("a", 1.0, config(&shards[0]));
    let builder = builder.shard("b", 1.0, config(&shards[1])).shard("c", 1.0, config(&shards[2]));
    builder.connect().await.expect("the shards are there")
}

fn entry(number: usize) -> Entry {
    let vector: Vec<f32> = (0..4).map(|at| if at == number % 4 { 1.0 } else { number as f32 / 1000.0 }).collect();
    Entry::new(format!("k:{number}"), &number.to_string()).space("s").vector(&vector).tag("t").cost(0.01)
}

async fn value(cache: &Cache, number: usize) -> Option<String> {
    cache.get::<String>(format!("k:{number}")).await.expect("faults are misses")
}

#[tokio::test]
async fn the_most_used_entries_of_another_cache_go_to_the_shards_that_have_their_keys() {
    let (old, [one]) = (start::<3>(), start::<1>());
    let old = three(&old).await;
    for number in 0..60 {
        old.set_entry(&entry(number).ttl(Duration::from_secs(600))).await.unwrap();
    }
    let new = Cache::builder(&one.url()).unwrap().connect().await.unwrap();
    new.set("k:7", "its own").await.unwrap();
    let warmed = new.warm_from(&old, 1000).await.unwrap();
    assert_eq!((warmed.copied, warmed.stored), (60, 59));
    assert_eq!(value(&new, 7).await.as_deref(), Some("its own"));
    assert_eq!(value(&new, 8).await.as_deref(), Some("8"));
    assert!(new.ttl("k:8").await.unwrap().is_some_and(|ttl| ttl <= Duration::from_secs(600)));
    assert_eq!(new.invalidate_tag("t").await.unwrap().count, 59);

    // And from one shard to three.
    let single = Client::connect(&one.url()).await.unwrap();
    for number in 100..160 {
        single.cache_set(&entry(number)).await.unwrap();
    }
    for _ in 0..3 {
        single.cache_get::<String>("k:123").await.unwrap();
    }
    let shards = start();
    let spread = three(&shards).await;
    let first = spread.warm_from(&single, 1).await.unwrap();
    assert_eq!((first.copied, first.stored), (1, 1));
    assert_eq!(value(&spread, 123).await.as_deref(), Some("123"), "what is used most comes first");
    let rest = spread.warm_from(&single, 1000).await.unwrap();
    assert_eq!((rest.copied, rest.stored), (61, 60));
    for number in 100..160 {
        assert_eq!(value(&spread, number).await, Some(number.to_string()));
    }
    assert_eq!(spread.rebalance().await.deleted(), 0, "each lies where it belongs");
}

#[tokio::test]
async fn the_first_tier_is_filled_with_what_is_asked_for_most_and_stays_coherent() {
    let shards = start();
    let (busy, idle) = (three(&shards).await, three(&shards).await);
    for number in 0..50 {
        busy.set_entry(&entry(number)).await.unwrap();
    }
    for node in &shards {
        let client = Client::connect(&node.url()).await.unwrap();
        for number in 10..20 {
            client.cache_get::<String>(format!("k:{number}")).await.unwrap();
        }
    }
    assert_eq!(idle.warm_l1(10).await.unwrap(), 10);
    assert_eq!(idle.warm_l1(10).await.unwrap(), 0, "they are there");
    assert_eq!((idle.stats().hits, idle.stats().misses), (0, 0));
    for number in 10..20 {
        assert_eq!(value(&idle, number).await, Some(number.to_string()));
    }
    assert_eq!(idle.stats().l1_hits, 10);
    busy.set("k:13", "new").await.unwrap();
    until("the change", async || value(&idle, 13).await.as_deref() == Some("new")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_up_goes_on_until_its_handle_is_dropped_and_counts_what_it_could_not_do() {
    let [from, to] = start();
    let source = Client::connect(&from.url()).await.unwrap();
    source.cache_set(&entry(1)).await.unwrap();
    let cache = Cache::builder(&to.url()).unwrap().connect().await.unwrap();
    let asked = Client::connect(&to.url()).await.unwrap();
    asked.cache_set(&entry(9)).await.unwrap();
    asked.cache_get::<String>("k:9").await.unwrap();
    let warm_up = WarmUp::every(Duration::from_millis(10)).from(&source, 100).l1(100).start(&cache);
    warm_up.ran(1).await;
    assert_eq!(value(&cache, 1).await.as_deref(), Some("1"));
    source.cache_set(&entry(2)).await.unwrap();
    until("the second entry", async || value(&cache, 2).await.is_some()).await;
    warm_up.ran(warm_up.snapshot().runs + 1).await;
    let sound = warm_up.snapshot();
    assert_eq!((sound.failures, sound.warmed.stored), (0, 2));
    assert!(sound.l1_entries >= 1 && sound.last_error.is_none());
    source.close();
    until("a failure", async || warm_up.snapshot().failures > 0).await;
    assert!(warm_up.snapshot().last_error.is_some());
    drop(warm_up);
    assert_eq!(value(&cache, 2).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_shard_that_joins_has_the_spaces_of_the_others_and_is_found_in_by_meaning() {
    let [one, other] = start();
    let cache = CacheBuilder::named("a", 1.0, config(&one)).connect().await.unwrap();
    cache.space_create("guarded", &SpaceOptions::new(4).guard(Guard::all())).await.unwrap();
    for number in 0..80 {
        cache.set_entry(&entry(number)).await.unwrap();
    }
    let joined = cache.add_shard("b", 1.0, config(&other), Joining::Filled { top: 1000 }).await.unwrap();
    assert_eq!(joined.spaces, 2);
    let there = Client::connect(&other.url()).await.unwrap();
    let info = there.space_info("guarded").await.unwrap();
    assert_eq!((info.dimension, info.guard), (4, Guard::all()));
    let moved = (0..80).filter(|number| cache.shard_of(format!("k:{number}")) == "b").collect::<Vec<_>>();
    assert_eq!((joined.filled, joined.others.deleted()), (moved.len() as u64, moved.len() as u64));
    assert!(moved.len() > 20);
    for number in 0..80 {
        let vector: Vec<f32> = (0..4).map(|at| if at == number % 4 { 1.0 } else { number as f32 / 1000.0 }).collect();
        let hit = cache.lookup(&Lookup::new("s").vector(&vector).min(0.9999).exact()).await.unwrap();
        assert!(hit.is_some_and(|hit| hit.similarity > 0.9999), "{number}");
    }
}
