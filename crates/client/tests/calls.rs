//! Any command on a shard, over real sockets.

use std::time::Duration;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{Client, Config, Error, Reply, Request};

#[tokio::test]
async fn what_is_written_is_read() {
    let shard = Embedded::start(&[]).unwrap();
    let client = Client::connect(&shard.url()).await.unwrap();
    client.call(Request::new("SET").arg("k").arg("v")).await.unwrap();
    assert_eq!(client.call(Request::read("GET").arg("k")).await.unwrap(), Reply::Bulk("v".into()));
    let error = client.call(Request::new("HSET").args(["k", "f", "v"])).await.unwrap_err();
    assert_eq!(error.code(), Some("WRONGTYPE"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_the_connections_and_each_gets_its_own_answers() {
    let shard = Embedded::start(&[]).unwrap();
    let client = Client::open(Config::new(&shard.url()).unwrap().connections(2)).await.unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for turn in 0..100 {
                    let (key, value) = (format!("k{task}"), format!("{task}:{turn}"));
                    client.call(Request::new("SET").arg(&key).arg(&value)).await.unwrap();
                    let got = client.call(Request::read("GET").arg(&key)).await.unwrap();
                    assert_eq!(got, Reply::Bulk(value.into()));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(client.connections().connects, 2);
}

#[tokio::test]
async fn commands_of_a_transaction_are_carried_out_all_or_none() {
    let shard = Embedded::start(&[]).unwrap();
    let client = Client::connect(&shard.url()).await.unwrap();
    let both = [Request::new("INCR").arg("n"), Request::new("INCR").arg("n")];
    let replies = client.atomic(&both).await.unwrap();
    assert!(matches!(replies[..], [Ok(Reply::Integer(1)), Ok(Reply::Integer(2))]), "{replies:?}");
    let refused = [Request::new("INCR").arg("n"), Request::new("NOSUCH")];
    let error = client.atomic(&refused).await.unwrap_err();
    assert!(matches!(&error, Error::Server(error) if error.text().contains("NOSUCH")), "{error}");
    assert_eq!(client.call(Request::read("GET").arg("n")).await.unwrap(), Reply::Bulk("2".into()));
}

#[tokio::test]
async fn a_wrong_password_is_said_at_once() {
    let shard = Embedded::start(&[("REDIS_AUTH", "secret")]).unwrap();
    let url = shard.url().replace("sutra://", "sutra://:wrong@");
    let error = Client::connect(&url).await.unwrap_err();
    assert_eq!(error.code(), Some("WRONGPASS"), "{error}");
    let client = Client::connect(&shard.url().replace("sutra://", "sutra://:secret@")).await.unwrap();
    assert_eq!(client.call(Request::read("PING")).await.unwrap(), Reply::Simple("PONG".into()));
}

#[tokio::test]
async fn calls_share_one_connection_and_what_takes_long_has_another() {
    let shard = Embedded::start(&[]).unwrap();
    let client = Client::connect(&shard.url()).await.unwrap();
    let id = async |request: Request| reply_number(client.call(request).await.expect("an answer"));
    let who = || Request::read("CLIENT").arg("ID");
    // Both connections are there once each has answered.
    let patient = Duration::from_secs(60);
    let (mut usual, mut long) = (id(who()).await, id(who().timeout(patient)).await);
    while usual == long {
        tokio::task::yield_now().await;
        (usual, long) = (id(who()).await, id(who().timeout(patient)).await);
    }
    for _ in 0..20 {
        assert_eq!(id(who()).await, usual);
        assert_eq!(id(who().timeout(patient)).await, long);
    }
    // More than may wait in front of others: the rest goes elsewhere.
    let large = vec![b'v'; 1 << 20];
    let set = client.call(Request::new("SET").arg("k").arg(&large));
    let (stored, elsewhere) = tokio::join!(biased; set, client.call(who()));
    assert_eq!(stored.unwrap(), Reply::Simple("OK".into()));
    assert_eq!(reply_number(elsewhere.unwrap()), long);
}

fn reply_number(reply: Reply) -> i64 {
    if let Reply::Integer(number) = reply { number } else { panic!("{reply:?} is no number") }
}
