//! The blocking clients: the same answers, from threads that know nothing of async.

use sutra_cache::embedded::Embedded;
use sutra_cache_client::blocking::{Cache, Client};
use sutra_cache_client::{
    Compute, Config, Entry, Error, Invalidate, Lookup, Question, Reply, Request, Search, SpaceOptions,
};

#[test]
fn many_threads_share_a_client_and_each_gets_its_own_answers() {
    let shard = Embedded::start(&[]).unwrap();
    let client = Client::open(Config::new(&shard.url()).unwrap().connections(2)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let client = client.clone();
            scope.spawn(move || {
                for turn in 0..100 {
                    let (key, value) = (format!("k{thread}"), format!("{thread}:{turn}"));
                    client.set(&key, &value).unwrap();
                    assert_eq!(client.get::<String>(&key).unwrap(), Some(value));
                }
            });
        }
    });
    assert_eq!(client.connections().connects, 2);
}

#[test]
fn clients_of_different_shards_share_the_thread_in_the_background() {
    let shards = [Embedded::start(&[]).unwrap(), Embedded::start(&[]).unwrap()];
    let clients: Vec<Client> = shards.iter().map(|shard| Client::connect(&shard.url()).unwrap()).collect();
    clients[0].set("k", "first").unwrap();
    assert_eq!(clients[1].get::<String>("k").unwrap(), None);
    assert_eq!(clients[0].get::<String>("k").unwrap().as_deref(), Some("first"));
    // A client that goes takes nothing of the others' with it.
    let mut clients = clients.into_iter();
    drop(clients.next());
    assert_eq!(clients.next().unwrap().incr("n", 1).unwrap(), 1);
}

#[test]
fn pipelines_and_transactions_are_carried_out_in_order() {
    let shard = Embedded::start(&[]).unwrap();
    let client = Client::connect(&shard.url()).unwrap();
    let requests = [Request::new("INCR").arg("n"), Request::new("HSET").arg("n"), Request::new("INCR").arg("n")];
    let replies = client.pipeline(&requests).unwrap();
    assert!(
        matches!(replies[..], [Ok(Reply::Integer(1)), Err(Error::Server(_)), Ok(Reply::Integer(2))]),
        "{replies:?}"
    );
    assert!(client.atomic(&requests).is_err(), "one was refused");
    assert_eq!(client.get::<String>("n").unwrap().as_deref(), Some("2"));
}

#[test]
fn inside_of_a_runtime_a_call_is_refused_and_says_why() {
    let shard = Embedded::start(&[]).unwrap();
    let (client, cache) = (Client::connect(&shard.url()).unwrap(), Cache::connect(&shard.url()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let errors = [
            client.get::<String>("k").unwrap_err(),
            cache.get::<String>("k").unwrap_err(),
            Client::connect(&shard.url()).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(&error, Error::Config(text) if text.contains("use the async client")), "{error}");
        }
        // It can be dropped there, though.
        drop((client, cache));
    });
}

#[test]
fn a_call_that_cannot_be_answered_ends_in_time() {
    use std::time::{Duration, Instant};
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("sutra://{}", silent.local_addr().unwrap());
    let config = Config::new(&url).unwrap().connect_timeout(Duration::from_millis(100));
    let begun = Instant::now();
    let error = Client::open(config.clone()).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    let client = Client::lazy(config).unwrap();
    assert!(matches!(client.get::<String>("k"), Err(Error::Unavailable { .. })));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_cache_of_two_tiers_answers_here_what_was_read_before() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).unwrap();
    cache.set("k", "v").unwrap();
    assert_eq!(cache.get::<String>("k").unwrap().as_deref(), Some("v"));
    assert_eq!(cache.get_many::<String, _>(&["k", "x"]).unwrap(), [Some("v".to_owned()), None]);
    let other = Client::connect(&shard.url()).unwrap();
    other.set("k", "w").unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while cache.get::<String>("k").unwrap().as_deref() != Some("w") {
        assert!(std::time::Instant::now() < deadline, "the change did not reach the first tier");
        std::thread::yield_now();
    }
    assert!(cache.delete("k").unwrap() && !cache.exists("k").unwrap());
}

#[test]
fn a_computation_may_take_its_time_and_use_blocking_clients_itself() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).unwrap();
    let other = Client::connect(&shard.url()).unwrap();
    let (begun, begins) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let computed = scope.spawn({
            let (cache, inside) = (&cache, cache.clone());
            move || {
                cache.get_or_compute("k", &Compute::new(), move || {
                    begun.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    inside.set("part", "of it").map(|()| "whole".to_owned())
                })
            }
        });
        begins.recv().unwrap();
        // It waits, and the others' calls are answered nevertheless.
        assert_eq!(other.incr("n", 1).unwrap(), 1);
        go_on.send(()).unwrap();
        assert_eq!(computed.join().unwrap().unwrap(), "whole");
    });
    assert_eq!(other.get::<String>("part").unwrap().as_deref(), Some("of it"));
    let failed = cache.get_or_compute::<String, _, _>("bad", &Compute::new(), || Err("no luck"));
    assert!(matches!(&failed, Err(Error::Compute(error)) if error.to_string() == "no luck"), "{failed:?}");
}

#[test]
fn answers_are_found_by_meaning_and_invalidated() {
    let shard = Embedded::start(&[]).unwrap();
    let client = Client::connect(&shard.url()).unwrap();
    client.space_create("answers", &SpaceOptions::new(2)).unwrap();
    client.cache_set(&Entry::new("a", "north").space("answers").vector(&[0.0, 1.0]).tag("maps")).unwrap();
    let lookup = Lookup::new("answers").vector(&[0.1, 1.0]).min(0.9);
    assert_eq!(client.lookup_value::<String>(&lookup).unwrap().as_deref(), Some("north"));
    assert_eq!(client.invalidate(&Invalidate::new().tag("maps")).unwrap(), 1);
    assert!(client.lookup(&lookup).unwrap().is_none());
}

#[test]
fn the_blocking_cache_answers_by_meaning_and_removes_by_meaning() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).unwrap();
    let question = Question::new("faq", "How do I reset my password?", 0.8);
    let ask = |question: &Question| {
        cache.lookup_or_compute(question, &Compute::new(), || Ok::<_, std::io::Error>("by mail".to_owned())).unwrap()
    };
    assert_eq!(ask(&question).value, "by mail");
    let similar = Lookup::new("faq").text("How can I reset my password?").min(0.6);
    assert_eq!(&cache.lookup(&similar).unwrap().unwrap().value[..], b"by mail");
    let about = Invalidate::new().space("faq").text("reset my password").min(0.5);
    assert_eq!(cache.dry_run(&about).unwrap().count, 1);
    assert_eq!(cache.invalidate(&about).unwrap().count, 1);
    assert!(cache.lookup(&similar).unwrap().is_none());
    cache.set_entry(&Entry::new("k", "v").space("faq").text("a new question")).unwrap();
    assert_eq!(cache.search(&Search::new("faq").text("a new question")).unwrap().len(), 1);
    assert_eq!(cache.semantic_invalidate("faq", "a new question", 0.9).unwrap().count, 1);
}
