//! What a client does when its network or its shard fails: through a proxy that delays, dribbles, stalls and cuts.

#[path = "support/proxy.rs"]
mod proxy;
mod support;

use proxy::{Cut, Passage, Proxy};
use std::time::{Duration, Instant};
use support::until;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{Client, Config, Error, Reply, Request, Tracking};

/// Long enough for any machine: no test waits for it to pass.
const AGES: Duration = Duration::from_secs(120);

fn config(url: &str) -> Config {
    let config = Config::new(url).expect("a URL").connections(1).connect_timeout(AGES).read_timeout(AGES);
    config.heartbeat(AGES).backoff(Duration::from_millis(1), Duration::from_millis(20))
}

async fn behind_proxy() -> (Embedded, Proxy, Client) {
    let shard = Embedded::start(&[]).expect("a shard");
    let proxy = Proxy::before(shard.address()).await;
    let client = Client::open(config(&proxy.url())).await.expect("a connection");
    (shard, proxy, client)
}

async fn number(shard: &Embedded, key: &str) -> i64 {
    let client = Client::connect(&shard.url()).await.expect("a connection");
    client.get::<String>(key).await.expect("an answer").map_or(0, |number| number.parse().expect("a number"))
}

#[tokio::test]
async fn a_write_that_was_sent_is_not_sent_again_and_its_caller_learns_that_it_may_have_run() {
    for cut in [Cut::Finish, Cut::Reset, Cut::HalfClose] {
        let (shard, proxy, client) = behind_proxy().await;
        proxy.to_client(Passage::Stalled);
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.incr("n", 1).await }
        });
        until("the effect of the write", async || number(&shard, "n").await == 1).await;
        proxy.cut(cut);
        proxy.to_client(Passage::Open);
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Lost { .. }) && error.may_have_run(), "{cut:?}: {error}");
        assert_eq!(client.incr("n", 1).await.unwrap(), 2, "{cut:?}");
        assert_eq!(client.connections().connects, 2, "{cut:?}");
    }
}

/// How often the shard has carried out a command.
async fn times(shard: &Embedded, command: &str) -> u64 {
    let client = Client::connect(&shard.url()).await.expect("a connection");
    let reply = client.call(Request::read("INFO").arg("commandstats")).await.expect("an answer");
    let (Reply::Verbatim { text, .. } | Reply::Bulk(text)) = reply else { panic!("{reply:?}") };
    let text = String::from_utf8_lossy(&text).into_owned();
    let Some((_, rest)) = text.split_once(&format!("cmdstat_{command}:calls=")) else { return 0 };
    rest.split_once(',').and_then(|(calls, _)| calls.parse().ok()).expect("a number of calls")
}

#[tokio::test]
async fn a_read_that_was_sent_is_sent_again() {
    for cut in [Cut::Finish, Cut::Reset, Cut::HalfClose] {
        let (shard, proxy, client) = behind_proxy().await;
        client.set("k", "v").await.unwrap();
        proxy.to_client(Passage::Stalled);
        let call = tokio::spawn({
            let client = client.clone();
            async move { client.get::<String>("k").await }
        });
        until("the read to be carried out", async || times(&shard, "get").await == 1).await;
        proxy.cut(cut);
        proxy.to_client(Passage::Open);
        assert_eq!(call.await.unwrap().unwrap().as_deref(), Some("v"), "{cut:?}");
        assert_eq!(times(&shard, "get").await, 2, "{cut:?}");
        assert_eq!(client.connections().retries, 1, "{cut:?}");
    }
}

#[tokio::test]
async fn a_pipeline_with_a_write_in_it_is_not_sent_again() {
    let (shard, proxy, client) = behind_proxy().await;
    proxy.to_client(Passage::Stalled);
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.pipeline(&[Request::read("GET").arg("k"), Request::new("INCR").arg("n")]).await }
    });
    until("the effect of the write", async || number(&shard, "n").await == 1).await;
    proxy.cut(Cut::Reset);
    proxy.to_client(Passage::Open);
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    assert_eq!(number(&shard, "n").await, 1);
}

#[tokio::test]
async fn a_write_that_was_not_sent_waits_for_a_connection_and_is_done_once() {
    let (shard, proxy, client) = behind_proxy().await;
    proxy.accept(false);
    proxy.cut(Cut::Reset);
    until("the end of the connection", async || client.connections().open == 0).await;
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.incr("n", 1).await })
        })
        .collect();
    tokio::task::yield_now().await;
    proxy.accept(true);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(number(&shard, "n").await, 50);
}

/// Every write is counted once if it succeeded and at most once if it failed, and every answer is the caller's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_again_and_again_lose_and_double_nothing() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let (shard, proxy, _) = behind_proxy().await;
    let client = Client::open(config(&proxy.url()).connections(2)).await.unwrap();
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                let (mut done, mut lost, mine) = (0, 0, format!("mine{task}"));
                for turn in 0..200 {
                    match client.incr("n", 1).await {
                        Ok(_) => done += 1,
                        Err(Error::Lost { .. }) => lost += 1,
                        // More cuts in a row than retries: it was not sent.
                        Err(Error::Unavailable { .. }) => {}
                        Err(error) => panic!("seed {seed}, task {task}, turn {turn}: {error}"),
                    }
                    match client.call(Request::read("ECHO").arg(&mine)).await {
                        Ok(reply) => assert_eq!(reply, Reply::Bulk(mine.clone().into()), "seed {seed}"),
                        Err(Error::Lost { .. } | Error::Unavailable { .. }) => {}
                        Err(error) => panic!("seed {seed}, task {task}, turn {turn}: {error}"),
                    }
                }
                (done, lost)
            })
        })
        .collect();
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        proxy.cut([Cut::Finish, Cut::Reset, Cut::HalfClose][random.usize(..3)]);
        let before = proxy.accepted();
        let passages = [Passage::Open, Passage::Dribbled, Passage::Delayed(Duration::from_millis(1))];
        proxy.to_client(passages[random.usize(..3)]);
        proxy.to_shard(passages[random.usize(..3)]);
        let after = Instant::now() + Duration::from_millis(random.u64(1..40));
        until("another connection, or the end", async || {
            (Instant::now() >= after && proxy.accepted() > before)
                || tasks.iter().all(tokio::task::JoinHandle::is_finished)
        })
        .await;
    }
    let (mut done, mut lost) = (0, 0);
    for task in tasks {
        let (its_done, its_lost) = task.await.unwrap();
        done += its_done;
        lost += its_lost;
    }
    let n = number(&shard, "n").await;
    assert!(n >= done && n <= done + lost, "seed {seed}: {done} done, {lost} lost, counted {n}");
    assert!(done > 0, "seed {seed}");
}

/// Futures are polled a random number of times and dropped, also in the middle of answers that come byte by byte.
#[tokio::test]
async fn dropped_futures_never_desynchronise() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let (_shard, proxy, client) = behind_proxy().await;
    for turn in 0..3000 {
        if turn % 500 == 0 {
            proxy.to_client(if turn % 1000 == 0 { Passage::Dribbled } else { Passage::Open });
            proxy.to_shard(if random.bool() { Passage::Dribbled } else { Passage::Open });
        }
        let (word, polls) = (format!("{turn}:{}", "x".repeat(random.usize(..200))), random.usize(..12));
        let echo = Request::read("ECHO").arg(&word);
        let three = [echo.clone(), echo.clone(), echo.clone()];
        let kind = random.usize(..4);
        let mut call: std::pin::Pin<Box<dyn Future<Output = Result<Vec<Reply>, Error>>>> = match kind {
            0 => Box::pin(async { client.call(echo).await.map(|reply| vec![reply]) }),
            1 => Box::pin(async { client.pipeline(&three).await?.into_iter().collect() }),
            2 => Box::pin(async { client.atomic(&three).await?.into_iter().collect() }),
            _ => Box::pin(async { client.call_tracked(echo).await.map(|reply| vec![reply]) }),
        };
        let mut answer = None;
        for _ in 0..polls {
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx))).await;
            if let std::task::Poll::Ready(result) = polled {
                answer = Some(result);
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(call);
        if let Some(answer) = answer {
            for reply in answer.unwrap() {
                assert_eq!(reply, Reply::Bulk(word.clone().into()), "seed {seed}, turn {turn}");
            }
        }
        if turn % 7 == 0 {
            let mine = Request::read("ECHO").arg(format!("check {turn}"));
            let reply = client.call(mine).await.unwrap();
            assert_eq!(reply, Reply::Bulk(format!("check {turn}").into()), "seed {seed}, turn {turn}");
        }
    }
    assert_eq!(client.connections().connects, 1, "seed {seed}: the connection was never in doubt");
}

#[tokio::test]
async fn a_new_connection_says_again_who_it_is_which_database_it_wants_and_what_it_tracks() {
    let shard = Embedded::start(&[("REDIS_AUTH", "secret")]).unwrap();
    let proxy = Proxy::before(shard.address()).await;
    let url = format!("{}/3", proxy.url().replace("sutra://", "sutra://:secret@"));
    let config = config(&url).tracking(Tracking::Keys { noloop: false }).client_name("mender");
    let client = Client::open(config).await.unwrap();
    client.set("k", "v").await.unwrap();
    for turn in 2..6 {
        proxy.cut(Cut::Reset);
        until("another connection", async || client.connections().connects == turn).await;
        assert_eq!(client.get::<String>("k").await.unwrap().as_deref(), Some("v"));
        let list = client.call(Request::read("CLIENT").args(["INFO"])).await.unwrap();
        let (Reply::Verbatim { text: info, .. } | Reply::Bulk(info)) = list else { panic!("{list:?}") };
        let info = String::from_utf8_lossy(&info).into_owned();
        for part in ["name=mender", "db=3", "resp=3", "lib-name=sutra-cache-client", "flags=t"] {
            assert!(info.contains(part), "{part} is not in {info}");
        }
    }
}

#[tokio::test]
async fn no_more_connections_are_made_than_are_allowed() {
    let shard = Embedded::start(&[]).unwrap();
    let client = Client::open(config(&shard.url()).connections(3).client_name("counted")).await.unwrap();
    until("all connections", async || client.connections().open == 3).await;
    let calls = futures_util::future::join_all((0..500).map(|_| client.incr("n", 1)));
    assert!(calls.await.iter().all(Result::is_ok));
    let list = client.call(Request::read("CLIENT").arg("LIST")).await.unwrap();
    let (Reply::Verbatim { text: list, .. } | Reply::Bulk(list)) = list else { panic!("{list:?}") };
    assert_eq!(String::from_utf8_lossy(&list).matches("name=counted").count(), 3);
}

#[tokio::test]
async fn beyond_the_limit_of_what_may_wait_requests_are_refused_and_nothing_is_lost() {
    let shard = Embedded::start(&[]).unwrap();
    let proxy = Proxy::before(shard.address()).await;
    let client = Client::open(config(&proxy.url()).outbox_bytes_max(1 << 20)).await.unwrap();
    proxy.to_shard(Passage::Stalled);
    let value = vec![b'v'; 256 << 10];
    let (mut calls, mut refused) = (Vec::new(), 0);
    // Sockets hold megabytes, too.
    while refused < 10 {
        let mut call = Box::pin({
            let (client, value, key) = (client.clone(), value.clone(), format!("k{}", calls.len()));
            async move { client.call(Request::new("SET").arg(key).arg(value)).await }
        });
        match futures_util::future::poll_immediate(&mut call).await {
            Some(Err(Error::Full { limit_bytes })) => refused += i32::from(limit_bytes == 1 << 20),
            Some(other) => panic!("{other:?}"),
            None => calls.push(call),
        }
        assert!(calls.len() < 10_000, "it takes and takes");
        tokio::task::yield_now().await;
    }
    let count = calls.len();
    proxy.to_shard(Passage::Open);
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(client.call(Request::read("DBSIZE")).await.unwrap(), Reply::Integer(i64::try_from(count).unwrap()));
}

#[tokio::test]
async fn closing_fails_callers_at_once_wherever_they_wait() {
    // Waiting for an answer; for a connection; for the next attempt.
    let (_shard, proxy, client) = behind_proxy().await;
    proxy.to_client(Passage::Stalled);
    let answer = client.get::<String>("k");
    let unreachable = Client::lazy(config("sutra://127.0.0.1:1"));
    let connection = unreachable.get::<String>("k");
    let begun = Instant::now();
    let close = async {
        tokio::task::yield_now().await;
        client.close();
        unreachable.close();
    };
    let (answer, connection, ()) = tokio::join!(answer, connection, close);
    assert!(matches!(answer, Err(Error::Closed)), "{answer:?}");
    assert!(matches!(connection, Err(Error::Closed)), "{connection:?}");
    assert!(matches!(client.get::<String>("k").await, Err(Error::Closed)));
    assert!(begun.elapsed() < AGES / 2, "{:?}", begun.elapsed());
}

/// The tasks of a client live on the runtime that it was made on; callers on another once waited for ever when that was gone.
#[test]
fn a_client_whose_runtime_is_gone_is_closed_for_others() {
    let shard = Embedded::start(&[]).unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let client = first.block_on(Client::open(config(&shard.url()))).unwrap();
    drop(first);
    let error = runtime().block_on(client.get::<String>("k")).unwrap_err();
    assert!(matches!(error, Error::Closed), "{error}");
}

#[tokio::test]
async fn large_values_and_long_pipelines_come_back_whole() {
    let (_shard, _proxy, client) = behind_proxy().await;
    let value: Vec<u8> = (0..64_u32 << 20).map(|at| (at ^ (at >> 8)) as u8).collect();
    client.set("large", &value[..]).await.unwrap();
    assert!(client.get::<Vec<u8>>("large").await.unwrap().as_deref() == Some(&value[..]));
    let requests: Vec<_> = (0..100_000).map(|_| Request::new("INCR").arg("n")).collect();
    let replies = client.pipeline(&requests).await.unwrap();
    assert_eq!(replies.len(), 100_000);
    for (at, reply) in (1..).zip(replies) {
        assert_eq!(reply.unwrap(), Reply::Integer(at));
    }
    // Those of a hundred thousand callers, too.
    let calls: Vec<_> = (0..100_000)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.incr("n", 1).await })
        })
        .collect();
    for (at, call) in (100_001..).zip(calls) {
        assert_eq!(call.await.unwrap().unwrap(), at);
    }
}

#[tokio::test]
async fn a_refusal_in_a_pipeline_stands_in_its_place() {
    let (_shard, proxy, client) = behind_proxy().await;
    proxy.to_client(Passage::Dribbled);
    let requests = [
        Request::new("SET").args(["k", "v"]),
        Request::new("NOSUCH"),
        Request::new("LPUSHNOT").arg("k"),
        Request::read("GET").arg("k"),
    ];
    let replies = client.pipeline(&requests).await.unwrap();
    assert!(
        matches!(&replies[..], [Ok(_), Err(Error::Server(_)), Err(Error::Server(_)), Ok(Reply::Bulk(_))]),
        "{replies:?}"
    );
}
