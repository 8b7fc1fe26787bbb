//! Many caches in front of one shard, in this process and in others, some behind a network that delays and cuts, while everything that can
//! happen to an entry does. No cache returns anything older than what it was told of, and once all is quiet none differs from the shard.
//!
//! The seed is printed; `SUTRA_SEED` brings it back, as far as threads allow. `SUTRA_CLIENT_ROUNDS` says how many rounds there are.

mod changes;
mod keys;
mod proxy;
mod random;
mod staleness;
mod watched;

use changes::{WRITERS, World};
use proxy::{Proxy, Weather};
use random::{Random, run_seed};
use std::io::Read;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use sutra_cache::embedded::Embedded;
use sutra_cache_client::breaker::BreakerSettings;
use sutra_cache_client::{Cache, CacheBuilder, Client, Config, Fault, Reply, Request, Tracking};
use watched::Watched;

const ROUND: Duration = Duration::from_millis(1500);
/// A shorter one: a planted mistake shows at once, or in one of the next.
const FAULTY_ROUND: Duration = Duration::from_millis(700);
const FAULTY_ROUNDS_MAX: u64 = 30;
/// Fewer entries than there are keys, so that some are evicted.
const ENTRIES_MAX: &str = "70";
/// Tells the test in another process what to do.
const CHILD: &str = "SUTRA_COHERENCE_CHILD";

const MILD: Weather = Weather { delay_max_us: 3000, cut_one_in: 0 };
const ROUGH: Weather = Weather { delay_max_us: 2000, cut_one_in: 400 };

/// The ways of tracking, the number of connections, and the network in between.
fn ways() -> Vec<(Tracking, usize, Option<Weather>)> {
    let broadcast = |prefixes: &[&str]| Tracking::Broadcast {
        prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        noloop: true,
    };
    vec![
        (Tracking::Keys { noloop: false }, 1, None),
        (Tracking::Keys { noloop: true }, 3, Some(MILD)),
        (Tracking::OptIn { noloop: true }, 2, Some(ROUGH)),
        (Tracking::OptIn { noloop: false }, 1, Some(MILD)),
        (broadcast(&["p:", "t:", "u:", "w:"]), 2, None),
        (broadcast(&[]), 2, Some(ROUGH)),
        (Tracking::Keys { noloop: true }, 2, Some(ROUGH)),
    ]
}

async fn cache(address: SocketAddr, tracking: Tracking, connections: usize) -> Cache {
    let config = Config::new(&format!("sutra://{address}")).expect("a URL").connections(connections);
    let config =
        config.backoff(Duration::from_millis(1), Duration::from_millis(20)).heartbeat(Duration::from_millis(200));
    let soon = Duration::from_millis(10);
    let breaker = BreakerSettings { open_for: soon, open_for_max: 5 * soon, ..BreakerSettings::default() };
    let cache = CacheBuilder::of(config).tracking(tracking).breaker(breaker).build().expect("settings");
    // A rough network may cut even the first connection; the cache goes on trying.
    drop(cache.ready().await);
    cache
}

/// A client without a cache that waits as long as a busy machine needs: what it says must be so.
async fn direct(url: &str) -> Client {
    let patience = Duration::from_secs(60);
    let config = Config::new(url).expect("a URL").connect_timeout(patience).read_timeout(patience).heartbeat(patience);
    Client::open(config).await.expect("a shard")
}

struct Round {
    length: Duration,
    is_evicting: bool,
    processes: u64,
    fault: Option<Fault>,
}

/// What was found, and how often somebody could have found something.
#[derive(Debug, Default)]
struct Found {
    violations: Vec<String>,
    fences: u64,
    hits: u64,
    evicted: u64,
}

async fn round(seed: u64, round: Round) -> Found {
    let mut random = Random::new(seed);
    let settings: &[(&str, &str)] = if round.is_evicting { &[("MAX_CONCEPTS", ENTRIES_MAX)] } else { &[] };
    let shard = Embedded::start(settings).expect("a shard");
    let direct = direct(&shard.url()).await;
    let other_database = self::direct(&format!("{}/1", shard.url())).await;
    let stop = Arc::new(AtomicBool::new(false));

    let (mut proxies, mut caches, mut tasks) = (Vec::new(), Vec::new(), tokio::task::JoinSet::new());
    for (tracking, connections, weather) in ways() {
        let name = format!("{tracking:?}, {connections} connections, {weather:?}");
        let address = match weather {
            Some(weather) => {
                proxies.push(Proxy::start(shard.address(), weather, random.next()).await);
                proxies.last().expect("it was pushed").address
            }
            None => shard.address(),
        };
        let cache = cache(address, tracking, connections).await;
        if let Some(fault) = round.fault {
            cache.plant_fault(fault);
        }
        let watched = Watched::new(name, cache, direct.clone(), Arc::clone(&stop));
        tasks.spawn(Arc::clone(&watched).run(random.next()));
        caches.push(watched);
    }
    let children: Vec<_> = (0..round.processes).map(|number| child(shard.address(), number, random.next())).collect();

    let (world, until) = (World::new(), Instant::now() + round.length);
    let mut changes = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let random = Random::new(random.next());
        changes.spawn(changes::write(Arc::clone(&world), direct.clone(), writer, random, until, Arc::clone(&stop)));
    }
    let invalidators = Random::new(random.next());
    changes.spawn(changes::invalidate(world, direct.clone(), other_database, invalidators, until, Arc::clone(&stop)));
    while let Some(ended) = changes.join_next().await {
        ended.expect("the shard answers those who change");
    }
    stop.store(true, Ordering::Release);
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no cache panics");
    }

    quiet(&direct).await;
    let mut found = Found { evicted: evicted(&direct).await, ..Found::default() };
    let is_found = |caches: &[Arc<Watched>]| caches.iter().any(|watched| !watched.violations().is_empty());
    if !is_found(&caches) {
        futures_util::future::join_all(caches.iter().map(|watched| watched.compare())).await;
    }
    for watched in &caches {
        let (fences, hits) = watched.effort();
        found.violations.extend(watched.violations());
        found.fences += fences;
        found.hits += hits;
    }
    let ends = children.into_iter().map(|child| tokio::task::spawn_blocking(|| child.wait_with_output()));
    for ended in futures_util::future::join_all(ends).await {
        let output = ended.expect("no panic").expect("a child");
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            found.violations.push(format!("in another process: {said}"));
        }
    }
    found
}

/// Waits until what expires has expired.
async fn quiet(shard: &Client) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let info = shard.call(Request::read("INFO").arg("keyspace")).await.expect("an answer");
        let is_quiet = !info_text(&info).lines().any(|line| line.starts_with("db") && !line.contains("expires=0"));
        if is_quiet {
            return;
        }
        assert!(Instant::now() < deadline, "everything expires");
        // tidy: sleeps because nobody is told when the last entry has expired
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn evicted(shard: &Client) -> u64 {
    let info = shard.call(Request::read("INFO").arg("stats")).await.expect("an answer");
    let line = info_text(&info).lines().find_map(|line| line.strip_prefix("evicted_keys:").map(str::to_owned));
    line.expect("INFO counts them").trim().parse().expect("a number")
}

fn info_text(info: &Reply) -> String {
    if let Reply::Bulk(text) | Reply::Verbatim { text, .. } = info {
        return String::from_utf8_lossy(text).into_owned();
    }
    panic!("a text, not {info:?}")
}

/// A cache in a process of its own: this program, told to run one test. It looks until its standard input ends, which it does with us.
fn child(shard: SocketAddr, number: u64, seed: u64) -> std::process::Child {
    std::process::Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "a_cache_in_another_process", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{shard} {number} {seed}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program")
}

/// Does nothing unless [`child`] asked for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_in_another_process() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let [shard, number, seed] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("three words, not {told}") };
    let (number, seed): (usize, u64) = (number.parse().expect("a number"), seed.parse().expect("a seed"));
    let shard: SocketAddr = shard.parse().expect("an address");
    let proxy = Proxy::start(shard, if number.is_multiple_of(2) { MILD } else { ROUGH }, seed).await;
    let (tracking, connections, _) = ways().swap_remove(number % ways().len());
    let direct = self::direct(&format!("sutra://{shard}")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let cache = cache(proxy.address, tracking, connections).await;
    let watched = Watched::new("a process of its own".to_owned(), cache, direct, Arc::clone(&stop));
    let run = tokio::spawn(Arc::clone(&watched).run(seed));
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    ended.await.expect("no panic").expect("a pipe");
    stop.store(true, Ordering::Release);
    run.await.expect("no cache panics");
    if watched.violations().is_empty() {
        watched.compare().await;
    }
    let violations = watched.violations();
    println!("{}", violations.join("\n"));
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert!(watched.effort().0 > 0, "the witness could look");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cache_returns_anything_older_than_what_it_was_told_of() {
    let seed = run_seed("coherence");
    let rounds = std::env::var("SUTRA_CLIENT_ROUNDS").map_or(2, |rounds| rounds.parse().expect("a number"));
    for number in 0..rounds {
        let is_evicting = number % 2 == 1;
        let settings = Round { length: ROUND, is_evicting, processes: 2, fault: None };
        let found = round(seed.wrapping_add(number), settings).await;
        eprintln!("round {number}: {} fences, {} hits, {} evicted", found.fences, found.hits, found.evicted);
        assert!(found.violations.is_empty(), "{}", found.violations.join("\n"));
        assert!(found.fences > 20 && found.hits > 50, "the run did what it is to test: {found:?}");
        assert_eq!(found.evicted > 0, is_evicting, "{found:?}");
    }
}

async fn is_noticed(fault: Fault) {
    let seed = run_seed(&format!("coherence with {fault:?}"));
    let mut noticed = None;
    let rounds = if cfg!(debug_assertions) { FAULTY_ROUNDS_MAX } else { 1 };
    for number in 0..rounds {
        let settings = Round { length: FAULTY_ROUND, is_evicting: false, processes: 0, fault: Some(fault) };
        let found = round(seed.wrapping_add(number), settings).await;
        if let Some(first) = found.violations.into_iter().next() {
            eprintln!("{fault:?}: noticed in round {number}: {first}");
            noticed = Some(number);
            break;
        }
    }
    assert_eq!(noticed.is_some(), cfg!(debug_assertions), "{fault:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_that_are_not_obeyed_would_be_noticed() {
    is_noticed(Fault::ChangesIgnored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_kept_although_a_push_overtook_them_would_be_noticed() {
    is_noticed(Fault::GenerationsIgnored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_that_outlives_its_connection_would_be_noticed() {
    is_noticed(Fault::LossIgnored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_are_registered_after_their_answer_would_be_noticed() {
    is_noticed(Fault::BegunLate).await;
}
