//! Several shards: what concerns all of them at once.

mod support;

use std::time::Duration;
use support::until;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::breaker::BreakerSettings;
use sutra_cache_client::{
    Cache, CacheBuilder, Client, Config, Entry, Error, Invalidate, Lookup, OnFault, Request, Search, SpaceOptions,
};

const DIMENSION: usize = 8;

fn config(shard: &Embedded) -> Config {
    Config::new(&shard.url()).expect("an embedded shard has a URL").connect_timeout(Duration::from_secs(3))
}

fn builder(shards: &[Embedded; 3]) -> CacheBuilder {
    let builder = CacheBuilder::named("a", 1.0, config(&shards[0])).breaker(BreakerSettings {
        open_for: Duration::from_millis(20),
        open_for_max: Duration::from_millis(100),
        ..Default::default()
    });
    builder.shard("b", 1.0, config(&shards[1])).shard("c", 1.0, config(&shards[2]))
}

fn start<const N: usize>() -> [Embedded; N] {
    std::array::from_fn(|_| Embedded::start(&[]).expect("the embedded shard starts"))
}

fn random(rng: &mut fastrand::Rng) -> Vec<f32> {
    (0..DIMENSION).map(|_| rng.f32() - 0.5).collect()
}

fn entry(number: usize, vector: &[f32]) -> Entry {
    Entry::new(format!("k:{number}"), &number.to_string()).space("s").vector(vector).tag(format!("t{}", number % 3))
}

/// A cache of three shards and a single shard with the same entries.
async fn filled(shards: &[Embedded; 3], one: &Embedded, count: usize, rng: &mut fastrand::Rng) -> (Cache, Client) {
    let cache = builder(shards).connect().await.expect("the shards are there");
    let client = Client::connect(&one.url()).await.expect("the shard is there");
    for number in 0..count {
        let entry = entry(number, &random(rng));
        cache.set_entry(&entry).await.expect("it is written");
        client.cache_set(&entry).await.expect("it is written");
    }
    (cache, client)
}

fn seeded() -> fastrand::Rng {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    fastrand::Rng::with_seed(seed)
}

async fn value(cache: &Cache, number: usize) -> Option<String> {
    cache.get::<String>(format!("k:{number}")).await.expect("faults are misses")
}

#[tokio::test]
async fn three_shards_find_what_one_with_everything_finds_in_its_order() {
    let (shards, [one]) = (start(), start());
    let mut rng = seeded();
    let (cache, client) = filled(&shards, &one, 300, &mut rng).await;
    for _ in 0..30 {
        let query = random(&mut rng);
        let search = Search::new("s").vector(&query).count(25).exact().with_values();
        assert_eq!(cache.search(&search).await.unwrap(), client.search(&search).await.unwrap());
        let near = search.min(0.6);
        assert_eq!(cache.search(&near).await.unwrap(), client.search(&near).await.unwrap());
        for min in [0.2, 0.7, 0.9] {
            let lookup = Lookup::new("s").vector(&query).min(min).exact();
            let (ours, theirs) = (cache.lookup(&lookup).await.unwrap(), client.lookup(&lookup).await.unwrap());
            assert_eq!(ours.is_some(), theirs.is_some());
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                assert_eq!((&ours.key, ours.similarity), (&theirs.key, theirs.similarity));
                let (ours, theirs) = (ours.margin.unwrap(), theirs.margin.unwrap());
                assert!((ours - theirs).abs() < 1e-6, "margins {ours} and {theirs}");
            }
        }
    }
    assert_eq!(cache.tags().await.unwrap(), client.tags().await.unwrap());
    assert_eq!(cache.space_list().await.unwrap(), ["s"]);
    let stats = cache.shard_stats(None).await.unwrap();
    assert_eq!(stats.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let entries: u64 = stats.iter().filter_map(|(_, stats)| stats.spaces.first()?.1.entries).sum();
    assert_eq!(entries, 300);
    assert_eq!(cache.ask("What is the hit rate?").await.unwrap().len(), 3);
    let top = cache.top(5, None).await.unwrap();
    assert!(top.len() <= 5 && top.is_sorted_by(|one, other| one.hits >= other.hits));
}

#[tokio::test]
async fn an_invalidation_removes_on_every_shard_what_it_removes_on_one_and_from_this_process() {
    let (shards, [one]) = (start(), start());
    let mut rng = seeded();
    let (cache, client) = filled(&shards, &one, 200, &mut rng).await;
    let read_all = async || {
        let mut all = Vec::new();
        for number in 0..200 {
            all.push(value(&cache, number).await);
        }
        all
    };
    assert!(read_all().await.iter().all(Option::is_some), "they are in this process now");
    let query = random(&mut rng);
    let removals = [
        Invalidate::new().space("s").vector(&query).min(0.4),
        Invalidate::new().tag("t1"),
        Invalidate::new().matching("k:?5"),
    ];
    for removal in removals {
        let (ours, mut theirs) = (cache.dry_run(&removal).await.unwrap(), client.dry_run(&removal).await.unwrap());
        // What has no similarity comes from one shard in any order.
        theirs.samples.sort_by(|one, other| one.1.partial_cmp(&other.1).unwrap().then(one.0.cmp(&other.0)));
        assert_eq!(ours, theirs);
        let removed = cache.invalidate(&removal).await.unwrap();
        assert_eq!((removed.count, removed.is_complete()), (client.invalidate(&removal).await.unwrap(), true));
        assert!(removed.count > 0);
        // Nothing is waited for: it has gone from here, too, when the call returns.
        for (number, value) in read_all().await.into_iter().enumerate() {
            let there = client.get::<String>(format!("k:{number}")).await.unwrap();
            assert_eq!(value, there, "k:{number} after {removal:?}");
        }
    }
    let log = cache.log(10).await.unwrap();
    assert!(log.iter().all(|(_, lines)| lines.len() == 3));
    let (shard, lines) = log.iter().find(|(_, lines)| lines[0].count > 0).unwrap();
    assert_eq!(cache.undo(shard, lines[0].lsn).await.unwrap(), lines[0].count);
    assert!(matches!(cache.undo("nobody", 1).await, Err(Error::Config(_))));
    cache.space_bump("s").await.unwrap();
    assert!(read_all().await.iter().all(Option::is_none));
}

#[tokio::test]
async fn a_space_that_only_some_shards_have_is_no_error_and_a_wrong_vector_is() {
    let shards = start();
    let cache = builder(&shards).connect().await.unwrap();
    cache.set_entry(&entry(1, &[1.0; DIMENSION])).await.unwrap();
    let near = Lookup::new("s").vector(&[1.0; DIMENSION]).min(0.9);
    assert_eq!(cache.lookup(&near).await.unwrap().unwrap().margin, None);
    let removed = cache.semantic_invalidate("s", [1.0; DIMENSION], 0.9).await.unwrap();
    assert_eq!((removed.count, removed.is_complete()), (1, true));
    let wrong = cache.semantic_invalidate("s", [1.0; 3], 0.9).await;
    assert!(matches!(wrong, Err(Error::Server(_))), "{wrong:?}");
    assert!(matches!(cache.lookup(&Lookup::new("s").vector(&[1.0; 3]).min(0.9)).await, Err(Error::Server(_))));
    assert!(cache.space_drop("s").await.unwrap().is_complete());
    cache.space_create("s", &SpaceOptions::new(3)).await.unwrap();
    cache.set_entry(&Entry::new("x", "x").space("s").vector(&[1.0, 0.0, 0.0])).await.unwrap();
    assert_eq!(cache.space_drop("s").await.unwrap().count, 1);
}

#[tokio::test]
async fn what_lies_on_a_shard_that_does_not_have_its_key_is_not_found_by_meaning() {
    let shards = start();
    let cache = builder(&shards).connect().await.unwrap();
    let key = (0..).map(|number| format!("k:{number}")).find(|key| cache.shard_of(key) == "b").unwrap();
    let misplaced = Client::connect(&shards[0].url()).await.unwrap();
    misplaced.cache_set(&Entry::new(&key, "outdated").space("s").vector(&[1.0; DIMENSION])).await.unwrap();
    let lookup = Lookup::new("s").vector(&[1.0; DIMENSION]).min(0.5);
    assert_eq!(cache.lookup(&lookup).await.unwrap(), None);
    assert_eq!(cache.search(&Search::new("s").vector(&[1.0; DIMENSION])).await.unwrap(), []);
    let swept = cache.rebalance().await;
    assert_eq!((swept.deleted(), swept.failed.len()), (1, 0));
    assert!(misplaced.lookup(&lookup).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalidation_that_did_not_reach_a_shard_reaches_it_before_it_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    let [b, c] = start();
    let shards = [Embedded::start(&[("STORAGE_PATH", &path)]).unwrap(), b, c];
    let port = shards[0].address().port().to_string();
    let cache = builder(&shards).connect().await.unwrap();
    let strict = builder(&shards).on_fault(OnFault::Error).connect().await.unwrap();
    let mut on_a = Vec::new();
    for number in 0..90 {
        let vector: Vec<f32> = (0..DIMENSION).map(|at| if at == number % DIMENSION { 1.0 } else { 0.1 }).collect();
        cache.set_entry(&entry(number, &vector)).await.unwrap();
        if cache.shard_of(format!("k:{number}")) == "a" {
            on_a.push(number);
        }
    }
    let first: [f32; DIMENSION] = std::array::from_fn(|at| if at == 0 { 1.0 } else { 0.1 });
    let is_meant = |number: usize| number % 3 == 1 || number.is_multiple_of(DIMENSION);
    let elsewhere = (0..90).filter(|number| is_meant(*number) && !on_a.contains(number)).count() as u64;
    let [a, b, c] = shards;
    a.stop();

    // The others answer, and who asked is told of the one that did not.
    let by_tag = cache.invalidate_tag("t1").await.unwrap();
    assert_eq!(by_tag.failed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a"]);
    let by_meaning = cache.semantic_invalidate("s", first, 0.999).await.unwrap();
    assert_eq!(by_meaning.failed.len(), 1);
    assert_eq!(by_tag.count + by_meaning.count, elsewhere);
    assert!(cache.shards()[0].away);
    let nearest = cache.search(&Search::new("s").vector(&first).count(100)).await.unwrap();
    assert_eq!(nearest.len(), 90 - on_a.len() - elsewhere as usize);
    assert!(strict.invalidate_tag("t1").await.is_err_and(|error| error.is_fault()));
    assert!(strict.search(&Search::new("s").vector(&first)).await.is_err());

    let a = Embedded::start(&[("STORAGE_PATH", &path), ("STORAGE_PORT", &port)]).unwrap();
    let spared = *on_a.iter().find(|number| !is_meant(**number)).unwrap();
    until("the return", async || {
        for number in on_a.iter().filter(|number| is_meant(**number)) {
            assert_eq!(value(&cache, *number).await, None, "k:{number} was invalidated");
        }
        value(&cache, spared).await.is_some()
    })
    .await;
    for number in on_a {
        assert_eq!(value(&cache, number).await.is_some(), !is_meant(number), "k:{number}");
    }
    drop((a, b, c));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_invalidations_than_are_noted_empty_the_shard() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    let a = Embedded::start(&[("STORAGE_PATH", &path)]).unwrap();
    let port = a.address().port().to_string();
    let cache = CacheBuilder::named("a", 1.0, config(&a)).breaker(BreakerSettings {
        open_for: Duration::from_millis(20),
        open_for_max: Duration::from_millis(100),
        ..Default::default()
    });
    let cache = cache.connect().await.unwrap();
    cache.set("kept by none of them", "old").await.unwrap();
    a.stop();
    for number in 0..300 {
        assert!(!cache.invalidate_tag(format!("t{number}")).await.unwrap().is_complete());
    }
    let a = Embedded::start(&[("STORAGE_PATH", &path), ("STORAGE_PORT", &port)]).unwrap();
    until("the return", async || !cache.shards()[0].away).await;
    let there = Client::connect(&a.url()).await.unwrap();
    let size = there.call(Request::read("DBSIZE")).await.unwrap();
    assert_eq!(size, sutra_cache_client::Reply::Integer(0));
}
