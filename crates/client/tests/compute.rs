//! Values that are computed when they are missing.

#[path = "support/source.rs"]
mod source;
mod support;

use source::Source;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use support::until;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::breaker::BreakerSettings;
use sutra_cache_client::{Cache, CacheBuilder, Client, Compute, Config, Error, OnFault, Request};
use tokio::sync::Notify;

impl Source {
    /// `value 1` at the first call, `value 2` at the second.
    async fn ask(self) -> Result<String, std::io::Error> {
        Ok(format!("value {}", self.called().await))
    }

    async fn get(&self, cache: &Cache, options: &Compute) -> Result<String, Error> {
        let source = self.clone();
        cache.get_or_compute("cache:c:t:k", options, async move || source.ask().await).await
    }

    fn get_in_task(&self, cache: &Cache, options: &Compute) -> tokio::task::JoinHandle<Result<String, Error>> {
        let (source, cache, options) = (self.clone(), cache.clone(), options.clone());
        tokio::spawn(async move { source.get(&cache, &options).await })
    }
}

fn failing(text: &str) -> Result<String, std::io::Error> {
    Err(std::io::Error::other(text.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_all_who_miss_at_once_in_several_caches_one_computes() {
    let shard = Embedded::start(&[]).unwrap();
    let caches = [Cache::connect(&shard.url()).await.unwrap(), Cache::connect(&shard.url()).await.unwrap()];
    let (source, options) = (Source::gated(), Compute::new());
    let callers: Vec<_> = (0..200).map(|number| source.get_in_task(&caches[number % 2], &options)).collect();
    until("a computation", async || source.calls() == 1).await;
    until("the other cache's waiting", async || {
        caches.iter().map(|cache| cache.stats().leases_waited).sum::<u64>() == 1
    })
    .await;
    source.open();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), "value 1");
    }
    assert_eq!(source.calls(), 1);
    assert_eq!(source.get(&caches[0], &options).await.unwrap(), "value 1", "it was kept");
    let stats = caches.map(|cache| cache.stats());
    assert_eq!(stats.iter().map(|stats| stats.computations).sum::<u64>(), 1);
    assert_eq!(stats.iter().map(|stats| stats.hits + stats.misses).sum::<u64>(), 201, "each call is one of both");
}

#[tokio::test]
async fn a_failed_computation_is_an_error_for_all_who_wait_and_the_next_one_may_try_at_once() {
    let shard = Embedded::start(&[]).unwrap();
    let (cache, other) = (Cache::connect(&shard.url()).await.unwrap(), Cache::connect(&shard.url()).await.unwrap());
    let options = Compute::new().lease(Duration::from_secs(600));
    let gate = Arc::new(Notify::new());
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let (cache, options, gate) = (cache.clone(), options.clone(), Arc::clone(&gate));
            tokio::spawn(async move {
                let compute = async move || {
                    gate.notified().await;
                    failing("no such luck")
                };
                cache.get_or_compute::<String, _, _, _>("cache:c:t:k", &options, compute).await
            })
        })
        .collect();
    until("a computation", async || cache.stats().computations == 1).await;
    gate.notify_waiters();
    for caller in callers {
        let error = caller.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Compute(_)), "{error}");
        assert_eq!(error.to_string(), "the computation failed: no such luck");
    }
    let (source, began) = (Source::default(), Instant::now());
    assert_eq!(source.get(&other, &options).await.unwrap(), "value 1");
    assert!(began.elapsed() < Duration::from_secs(60), "the lease was given back");
}

#[tokio::test]
async fn a_function_that_panics_is_an_error_and_not_a_hang() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let options = Compute::new().lease(Duration::from_secs(600));
    let panics = async || -> Result<String, std::io::Error> { panic!("on purpose") };
    let error = cache.get_or_compute("cache:c:t:k", &options, panics).await.unwrap_err();
    assert_eq!(error.to_string(), "the computation failed: it panicked");
    let began = Instant::now();
    assert_eq!(Source::default().get(&cache, &options).await.unwrap(), "value 1");
    assert!(began.elapsed() < Duration::from_secs(60), "the lease was given back");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_computation_to_the_others() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let (source, options) = (Source::gated(), Compute::new());
    let first = source.get_in_task(&cache, &options);
    until("a computation", async || source.calls() == 1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = source.get_in_task(&cache, &options);
    source.open();
    assert_eq!(second.await.unwrap().unwrap(), "value 1");
    assert_eq!(source.calls(), 1);
}

#[tokio::test]
async fn what_was_computed_from_data_of_before_an_invalidation_goes_to_nobody_who_asked_after_it() {
    let shard = Embedded::start(&[]).unwrap();
    let (cache, other) = (Cache::connect(&shard.url()).await.unwrap(), Client::connect(&shard.url()).await.unwrap());
    let (source, options) = (Source::gated(), Compute::new().tag("doc:1").ttl(Duration::from_secs(60)));
    for (round, invalidation) in [
        Request::new("CACHE.INVALIDATE").args(["TAG", "1", "doc:1"]),
        Request::new("CACHE.INVALIDATE").args(["MATCH", "cache:c:*"]),
        Request::new("DEL").arg("cache:c:t:k"),
        Request::new("FLUSHALL"),
    ]
    .into_iter()
    .enumerate()
    {
        let (old, new) = (round as u32 * 2 + 1, round as u32 * 2 + 2);
        other.call(Request::new("SET").args(["cache:c:t:k", "x"])).await.unwrap();
        other.call(Request::new("DEL").arg("cache:c:t:k")).await.unwrap();
        until("that the cache knows", async || cache.get::<String>("cache:c:t:k").await.unwrap().is_none()).await;
        let before = source.get_in_task(&cache, &options);
        until("a computation", async || source.calls() == old).await;
        other.call(invalidation).await.unwrap();
        let after = source.get_in_task(&cache, &options);
        // That it has joined the flight cannot be seen; give it every chance to.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        source.open();
        assert_eq!(before.await.unwrap().unwrap(), format!("value {old}"), "its own computation began after its call");
        until("another computation", async || source.calls() == new).await;
        source.open();
        assert_eq!(after.await.unwrap().unwrap(), format!("value {new}"));
        assert_eq!(source.get(&cache, &options).await.unwrap(), format!("value {new}"), "which is what was kept");
        other.call(Request::new("DEL").arg("cache:c:t:k")).await.unwrap();
        until("that the cache knows", async || cache.get::<String>("cache:c:t:k").await.unwrap().is_none()).await;
    }
}

#[tokio::test]
async fn tags_and_sources_remove_what_was_computed_with_them() {
    let shard = Embedded::start(&[]).unwrap();
    let (cache, other) = (Cache::connect(&shard.url()).await.unwrap(), Client::connect(&shard.url()).await.unwrap());
    let (source, options) = (Source::default(), Compute::new().tag("a").tag("b").dep("doc", 3));
    for (number, invalidation) in [&["TAG", "1", "b"][..], &["DEP", "doc", "BELOW", "4"]].into_iter().enumerate() {
        assert_eq!(source.get(&cache, &options).await.unwrap(), format!("value {}", number + 1));
        let removed = other.call(Request::new("CACHE.INVALIDATE").args(invalidation)).await.unwrap();
        assert_eq!(removed, sutra_cache_client::Reply::Integer(1));
        until("the push", async || cache.get::<String>("cache:c:t:k").await.unwrap().is_none()).await;
    }
}

#[tokio::test]
async fn a_value_past_its_time_is_served_while_one_computes_it_anew() {
    let shard = Embedded::start(&[]).unwrap();
    for builder in [Cache::builder(&shard.url()).unwrap(), Cache::builder(&shard.url()).unwrap().without_l1()] {
        let cache = builder.connect().await.unwrap();
        let source = Source::gated();
        let options = Compute::new().ttl(Duration::from_millis(100)).stale_while_revalidate(Duration::from_secs(600));
        source.open();
        assert_eq!(source.get(&cache, &options).await.unwrap(), "value 1");
        until("the end of its time", async || {
            assert_eq!(source.get(&cache, &options).await.unwrap(), "value 1");
            source.calls() == 2
        })
        .await;
        for _ in 0..20 {
            assert_eq!(source.get(&cache, &options).await.unwrap(), "value 1", "nobody waits");
        }
        assert_eq!(source.calls(), 2, "one computes");
        source.open();
        until("the new value", async || source.get(&cache, &options).await.unwrap() != "value 1").await;
        assert!(cache.stats().stale_served >= 20);
        source.open();
        cache.delete("cache:c:t:k").await.unwrap();
    }
}

#[tokio::test]
async fn a_value_is_computed_anew_before_its_time_is_over() {
    let shard = Embedded::start(&[]).unwrap();
    for builder in [Cache::builder(&shard.url()).unwrap(), Cache::builder(&shard.url()).unwrap().without_l1()] {
        let cache = builder.connect().await.unwrap();
        let source = Source::default();
        // So large a beta that nearly every reader is early, however fast the source is.
        let options = Compute::new().ttl(Duration::from_secs(600)).early_refresh(1e12);
        assert_eq!(source.get(&cache, &options).await.unwrap(), "value 1");
        until("an early computation", async || {
            source.get(&cache, &options).await.unwrap();
            source.calls() >= 2
        })
        .await;
        until("its value", async || source.get(&cache, &options).await.unwrap() != "value 1").await;
        assert!(cache.stats().early_refreshes >= 1);
        let (never, calls) = (Compute::new().ttl(Duration::from_secs(600)), source.calls());
        until("the end of what is under way", async || cache.stats().computations == u64::from(source.calls())).await;
        for _ in 0..50 {
            source.get(&cache, &never).await.unwrap();
        }
        assert!(source.calls() <= calls + 1, "only who asks for it is early");
        cache.delete("cache:c:t:k").await.unwrap();
    }
}

#[tokio::test]
async fn that_there_is_no_such_value_is_kept_for_its_own_time() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let find = async |options: &Compute| {
        let calls = Arc::clone(&calls);
        let compute = async move || {
            calls.fetch_add(1, Ordering::SeqCst);
            Ok::<Option<String>, std::io::Error>(None)
        };
        cache.find_or_compute("user:7", options, compute).await.unwrap()
    };
    let forgetful = Compute::new();
    assert_eq!((find(&forgetful).await, find(&forgetful).await), (None, None));
    assert_eq!(calls.load(Ordering::SeqCst), 2, "nothing was kept");
    let options = Compute::new().negative(Duration::from_secs(600));
    for _ in 0..5 {
        assert_eq!(find(&options).await, None);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert!(cache.stats().negative_hits >= 4);
    let ttl = cache.ttl("user:7").await.unwrap().expect("it ends");
    assert!(ttl <= Duration::from_secs(600) && ttl > Duration::from_secs(500));
    let error = cache.get_or_compute("user:7", &options, async || failing("not called")).await.unwrap_err();
    assert!(matches!(error, Error::Decode(_)), "{error}");
    cache.delete("user:7").await.unwrap();
    let found = cache.find_or_compute("user:7", &options, async || Ok::<_, Error>(Some("Ada".to_owned()))).await;
    assert_eq!(found.unwrap().as_deref(), Some("Ada"));
}

#[tokio::test]
async fn computations_are_spent_and_everything_else_is_saved() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let (source, options) = (Source::gated(), Compute::new().cost("gpt", 0.25));
    let callers = [source.get_in_task(&cache, &options), source.get_in_task(&cache, &options)];
    until("a computation", async || source.calls() == 1).await;
    source.open();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    for _ in 0..2 {
        source.get(&cache, &options).await.unwrap();
    }
    let account = cache.stats().models["gpt"];
    assert_eq!((account.spent_usd, account.saved_usd, account.reduction_percent), (0.25, 0.75, 75.0));
}

#[tokio::test]
async fn what_cannot_be_written_is_an_error_and_gives_the_lease_back() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let options = Compute::new().lease(Duration::from_secs(600));
    let reserved = async || Ok::<_, Error>(bytes::Bytes::from_static(sutra_cache_client::codec::NEGATIVE));
    let error = cache.get_or_compute("cache:c:t:k", &options, reserved).await.unwrap_err();
    assert!(matches!(error, Error::Encode(_)), "{error}");
    assert_eq!(Source::default().get(&cache, &options).await.unwrap(), "value 1");
}

fn unreachable() -> CacheBuilder {
    let config = Config::new("sutra://127.0.0.1:1").expect("a URL").connect_timeout(Duration::from_millis(50));
    CacheBuilder::of(config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_shard_one_computes_for_all_in_this_process() {
    let cache = unreachable().build().unwrap();
    let (source, options) = (Source::gated(), Compute::new());
    let callers: Vec<_> = (0..50).map(|_| source.get_in_task(&cache, &options)).collect();
    until("a computation", async || source.calls() == 1).await;
    source.open();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), "value 1");
    }
    assert_eq!(source.get(&cache, &options).await.unwrap(), "value 1", "from the fallback");
    assert_eq!(source.calls(), 1);
    let strict = unreachable().on_fault(OnFault::Error).build().unwrap();
    assert!(source.get(&strict, &options).await.unwrap_err().is_fault());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_goes_during_the_computation_costs_the_keeping_and_not_the_value() {
    let shard = Embedded::start(&[]).unwrap();
    let breaker = BreakerSettings { open_for: Duration::from_millis(20), ..BreakerSettings::default() };
    let config = Config::new(&shard.url()).unwrap().connect_timeout(Duration::from_millis(100));
    let cache = CacheBuilder::of(config).breaker(breaker).connect().await.unwrap();
    let (source, options) = (Source::gated(), Compute::new());
    let caller = source.get_in_task(&cache, &options);
    until("a computation", async || source.calls() == 1).await;
    shard.stop();
    source.open();
    assert_eq!(caller.await.unwrap().unwrap(), "value 1");
    source.open();
    assert_eq!(source.get(&cache, &options).await.unwrap(), "value 2");
    assert_eq!(source.get(&cache, &options).await.unwrap(), "value 2", "now in the fallback");
}

#[tokio::test]
async fn who_has_waited_long_enough_computes_too_and_keeps_nothing() {
    let shard = Embedded::start(&[]).unwrap();
    let (cache, other) = (Cache::connect(&shard.url()).await.unwrap(), Client::connect(&shard.url()).await.unwrap());
    other.call(Request::new("CACHE.LEASE").args(["cache:c:t:k", "600000"])).await.unwrap();
    let (source, options) = (Source::default(), Compute::new().wait_max(Duration::from_millis(30)));
    assert_eq!(source.get(&cache, &options).await.unwrap(), "value 1");
    assert!(!cache.exists("cache:c:t:k").await.unwrap());
    drop(other);
    assert_eq!(source.get(&cache, &Compute::new()).await.unwrap(), "value 2", "the lease ended with its connection");
    assert!(cache.exists("cache:c:t:k").await.unwrap());
}
