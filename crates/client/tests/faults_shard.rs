//! What a client does when its shard refuses, restarts, is killed, or is none.

mod support;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::until;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{Client, Config, Error, Reply, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Long enough for any machine: no test waits for it to pass.
const AGES: Duration = Duration::from_secs(120);
/// Set in the process that a test starts as a shard.
const CHILD_PATH: &str = "SUTRA_TEST_SHARD_PATH";
const CHILD_PORT: &str = "SUTRA_TEST_SHARD_PORT";

fn config(url: &str) -> Config {
    let config = Config::new(url).expect("a URL").connections(2).connect_timeout(AGES).read_timeout(AGES);
    config.heartbeat(AGES).backoff(Duration::from_millis(1), Duration::from_millis(20)).retries(100)
}

/// A port that was free a moment ago, on an address of the loopback network that other tests do not use.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// Callers that count up without pause until they are told to stop: how many were answered, and how many may or may not have been carried out.
struct Counting {
    tasks: Vec<tokio::task::JoinHandle<(i64, i64)>>,
    stop: tokio::sync::watch::Sender<bool>,
    done: std::sync::Arc<std::sync::atomic::AtomicI64>,
}

impl Counting {
    fn begin(client: &Client) -> Counting {
        let stop = tokio::sync::watch::Sender::new(false);
        let done = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
        let tasks = (0..8)
            .map(|_| {
                let (client, stop, total) = (client.clone(), stop.subscribe(), std::sync::Arc::clone(&done));
                tokio::spawn(async move {
                    let (mut done, mut lost) = (0, 0);
                    while !*stop.borrow() {
                        match client.incr("n", 1).await {
                            Ok(_) => {
                                done += 1;
                                total.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            }
                            Err(Error::Lost { .. }) => lost += 1,
                            Err(Error::Unavailable { .. }) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                    (done, lost)
                })
            })
            .collect();
        Counting { tasks, stop, done }
    }

    fn done(&self) -> i64 {
        self.done.load(std::sync::atomic::Ordering::Relaxed)
    }

    async fn more(&self) {
        let before = self.done();
        until("more answers", async || self.done() > before + 100).await;
    }

    async fn end(self) -> (i64, i64) {
        self.stop.send_replace(true);
        let (mut done, mut lost) = (0, 0);
        for task in self.tasks {
            let (its_done, its_lost) = task.await.expect("a task that counts");
            done += its_done;
            lost += its_lost;
        }
        (done, lost)
    }
}

fn is_counted(n: &str, done: i64, lost: i64) {
    let n: i64 = n.parse().expect("a number");
    assert!(n >= done && n <= done + lost, "{done} were answered and {lost} lost, but {n} counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_restarts_is_found_again_and_nothing_is_counted_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    let mut shard = Embedded::start(&[("STORAGE_PATH", &path)]).unwrap();
    let (url, port) = (shard.url(), shard.address().port().to_string());
    let client = Client::open(config(&url)).await.unwrap();
    let counting = Counting::begin(&client);
    for _ in 0..3 {
        counting.more().await;
        shard.stop();
        shard = Embedded::start(&[("STORAGE_PATH", &path), ("STORAGE_PORT", &port)]).unwrap();
    }
    counting.more().await;
    let (done, lost) = counting.end().await;
    is_counted(&client.get::<String>("n").await.unwrap().unwrap(), done, lost);
    assert!(client.connections().connects >= 2 + 3, "{:?}", client.connections());
}

/// Not a test by itself: the process that [`a_shard_that_is_killed_is_found_again`] starts from this program and kills.
#[test]
fn child_that_is_a_shard() {
    let (Ok(path), Ok(port)) = (std::env::var(CHILD_PATH), std::env::var(CHILD_PORT)) else { return };
    let _shard = Embedded::start(&[("STORAGE_PATH", &path), ("STORAGE_PORT", &port)]).unwrap();
    // Until its parent closes the other end, or kills it.
    drop(std::io::Read::read(&mut std::io::stdin(), &mut [0]));
}

struct ShardProcess {
    child: Child,
}

impl ShardProcess {
    fn start(path: &str, port: u16) -> ShardProcess {
        let program = std::env::current_exe().expect("this program");
        let child = Command::new(program)
            .args(["child_that_is_a_shard", "--exact", "--nocapture"])
            .env(CHILD_PATH, path)
            .env(CHILD_PORT, port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("a process");
        ShardProcess { child }
    }

    /// SIGKILL: it can do nothing more, and the kernel ends its connections.
    fn kill(self) {
        drop(self);
    }
}

impl Drop for ShardProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_killed_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let (path, port) = (directory.path().display().to_string(), free_port());
    let mut shard = ShardProcess::start(&path, port);
    let client = Client::open(config(&format!("sutra://127.0.0.1:{port}"))).await.unwrap();
    let counting = Counting::begin(&client);
    for _ in 0..3 {
        counting.more().await;
        shard.kill();
        shard = ShardProcess::start(&path, port);
    }
    counting.more().await;
    let (done, lost) = counting.end().await;
    is_counted(&client.get::<String>("n").await.unwrap().unwrap(), done, lost);
    assert!(lost > 0, "it was killed between requests each time");
    shard.kill();
}

#[tokio::test]
async fn what_a_shard_says_that_is_full_reaches_the_caller() {
    let shard = Embedded::start(&[]).unwrap();
    let first = Client::open(config(&shard.url()).connections(1)).await.unwrap();
    first.call(Request::new("CONFIG").args(["SET", "maxclients", "1"])).await.unwrap();
    let error = Client::open(config(&shard.url()).connections(1)).await.unwrap_err();
    assert!(matches!(&error, Error::Server(error) if error.text().contains("max number of clients")), "{error:?}");
    // The one that has a place keeps it.
    assert_eq!(first.incr("n", 1).await.unwrap(), 1);
}

/// Answers every connection with these bytes at once, and closes it if so asked.
async fn speaks(bytes: &'static [u8], closes: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("sutra://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                drop(stream.write_all(bytes).await);
                while !closes && stream.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    url
}

#[tokio::test]
async fn a_shard_that_refuses_and_closes_is_heard() {
    let denied = b"-DENIED protected mode is enabled, set a password\r\n";
    for closes in [false, true] {
        let url = speaks(denied, closes).await;
        for _ in 0..20 {
            let error = Client::connect(&url).await.unwrap_err();
            assert_eq!(error.code(), Some("DENIED"), "closes: {closes}: {error}");
        }
    }
}

#[tokio::test]
async fn what_is_no_shard_is_found_out_in_time() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
        b"220 mail ESMTP\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"$5\r\nab",
        b"",
        b"$99999999999999999999\r\n",
        b"*2147483647\r\n",
    ] {
        for closes in [false, true] {
            let begun = Instant::now();
            let limit = Duration::from_millis(200);
            let config = Config::new(&speaks(bytes, closes).await).unwrap().connect_timeout(limit);
            let error = Client::open(config).await.unwrap_err();
            assert!(matches!(error, Error::Unavailable { .. }), "{}: {error:?}", bytes.escape_ascii());
            assert!(begun.elapsed() < AGES / 2, "{}: {:?}", bytes.escape_ascii(), begun.elapsed());
        }
    }
}

/// A shard that serves the handshake and nothing else: connections are made and end at once, again and again.
#[tokio::test]
async fn a_connection_that_is_made_and_lost_in_turns_keeps_nobody_for_ever() {
    let url = speaks(b"%0\r\n+OK\r\n+OK\r\n", true).await;
    let config = config(&url).connections(1).connect_timeout(Duration::from_millis(300)).retries(3);
    let client = Client::lazy(config);
    let begun = Instant::now();
    let error = client.incr("n", 1).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. } | Error::Lost { .. }), "{error:?}");
    assert!(begun.elapsed() < AGES / 2, "{:?}", begun.elapsed());
    // Pauses grow although each connection could be made: it is no busy loop.
    assert!(client.connections().connects < 200, "{:?}", client.connections());
}

#[tokio::test]
async fn a_password_that_is_set_right_again_is_accepted_without_a_restart() {
    let shard = Embedded::start(&[("REDIS_AUTH", "old")]).unwrap();
    let client = Client::lazy(config(&shard.url().replace("sutra://", "sutra://:new@")));
    assert_eq!(client.ready().await.unwrap_err().code(), Some("WRONGPASS"));
    let operator = Client::connect(&shard.url().replace("sutra://", "sutra://:old@")).await.unwrap();
    let reply = operator.call(Request::new("CONFIG").args(["SET", "requirepass", "new"])).await.unwrap();
    assert_eq!(reply, Reply::Simple("OK".into()));
    until("a connection with the new password", async || client.incr("n", 1).await.is_ok()).await;
}
