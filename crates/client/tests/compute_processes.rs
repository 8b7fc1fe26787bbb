//! One computation for several processes, and what is left of one that is killed. The binary of the test runs itself again as each of those processes.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::until;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{Cache, Client, Compute, Config, Reply, Request};

const SHARD: &str = "SUTRA_TEST_SHARD";
const ROLE: &str = "SUTRA_TEST_ROLE";
const PROCESSES: usize = 4;
const CALLERS: usize = 250;

/// A process of this test, killed when it is dropped.
struct Process(Child);

impl Process {
    fn start(role: &str, url: &str) -> Process {
        let binary = std::env::current_exe().expect("the test's binary has a path");
        let mut command = Command::new(binary);
        command.args(["--exact", "another_process", "--nocapture"]).env(SHARD, url).env(ROLE, role);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Process(command.spawn().expect("the test's binary can be run"))
    }

    fn wait_for_word(&mut self, word: &str) {
        let output = self.0.stdout.as_mut().expect("it is piped");
        let mut lines = BufReader::new(output).lines();
        let found = lines.any(|line| line.expect("text").contains(word));
        assert!(found, "the process ended without saying {word}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What the other processes do. In a run of the tests it does nothing.
#[test]
fn another_process() {
    let (Ok(url), Ok(role)) = (std::env::var(SHARD), std::env::var(ROLE)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match role.as_str() {
            "stampede" => stampede(&url).await,
            "holder" => hold(&url).await,
            other => panic!("no such role: {other}"),
        }
    });
}

/// All at once: who computes counts it on the shard, over a connection that the cache knows nothing of.
async fn stampede(url: &str) {
    let config = Config::new(url).expect("a URL").read_timeout(Duration::from_secs(30));
    let cache = sutra_cache_client::CacheBuilder::of(config.clone()).connect().await.expect("a cache");
    let counter = Client::open(config).await.expect("a client");
    counter.call(Request::new("INCR").arg("ready")).await.expect("an answer");
    while counter.call(Request::read("EXISTS").arg("go")).await.expect("an answer") != Reply::Integer(1) {
        // tidy: sleeps because what is awaited happens on the other side of a socket
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (cache, counter) = (cache.clone(), counter.clone());
            tokio::spawn(async move {
                let compute = async move || {
                    counter.call(Request::new("INCR").arg("computations")).await?;
                    // tidy: sleeps because the computation takes its time
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    Ok::<_, sutra_cache_client::Error>("the one value".to_owned())
                };
                cache.get_or_compute::<String, _, _, _>("wanted", &Compute::new(), compute).await
            })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.expect("no panic").expect("a value"), "the one value");
    }
    counter.call(Request::new("INCRBY").arg("answered").number(CALLERS as u64)).await.expect("an answer");
}

/// Begins to compute and never ends.
async fn hold(url: &str) {
    let cache = Cache::connect(url).await.expect("a cache");
    let compute = async || {
        println!("computing");
        std::future::pending::<Result<String, sutra_cache_client::Error>>().await
    };
    drop(cache.get_or_compute("wanted", &Compute::new().lease(Duration::from_secs(600)), compute).await);
}

#[tokio::test]
async fn a_thousand_who_miss_at_once_in_four_processes_cause_one_computation() {
    let shard = Embedded::start(&[]).unwrap();
    let client = Client::connect(&shard.url()).await.unwrap();
    let count = async |key: &str| client.get::<String>(key).await.unwrap().map_or(0, |digits| digits.parse().unwrap());
    let mut processes: Vec<_> = (1..PROCESSES).map(|_| Process::start("stampede", &shard.url())).collect();
    until("the other processes", async || count("ready").await == PROCESSES - 1).await;
    let url = shard.url();
    let own = tokio::spawn(async move { stampede(&url).await });
    until("this process", async || count("ready").await == PROCESSES).await;
    client.call(Request::new("SET").args(["go", "1"])).await.unwrap();
    own.await.unwrap();
    for process in &mut processes {
        assert!(process.0.wait().unwrap().success());
    }
    assert_eq!((count("answered").await, count("computations").await), (PROCESSES * CALLERS, 1));
}

#[tokio::test]
async fn the_lease_of_a_process_that_is_killed_goes_to_the_next_who_wants_it() {
    let shard = Embedded::start(&[]).unwrap();
    let mut holder = Process::start("holder", &shard.url());
    holder.wait_for_word("computing");
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let waiting = {
        let cache = cache.clone();
        tokio::spawn(async move {
            let options = Compute::new().lease(Duration::from_secs(600));
            let compute = async || Ok::<_, sutra_cache_client::Error>("taken over".to_owned());
            cache.get_or_compute::<String, _, _, _>("wanted", &options, compute).await
        })
    };
    until("the wait", async || cache.stats().leases_waited == 1).await;
    let killed_at = Instant::now();
    drop(holder);
    assert_eq!(waiting.await.unwrap().unwrap(), "taken over");
    assert!(killed_at.elapsed() < Duration::from_secs(60), "long before the lease's own time");
}
