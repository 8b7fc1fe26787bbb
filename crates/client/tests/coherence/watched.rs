//! A cache under observation: readers, and a witness who reads the same keys from the shard itself.
//!
//! The witness asks the shard directly, then has the cache catch up with what was pushed to it ([`Cache::catch_up`]). From then on the cache must return
//! nothing older than what the shard had said: whatever the shard shows has been told to everybody who kept what was before. That makes a **floor** for
//! each key. Invalidations are shown to readers a little earlier than they are told, so that their floor is the record that the invalidator leaves
//! in the shard once it has its answer.

use crate::keys::{self, KEYS, Kind};
use crate::random::Random;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use sutra_cache_client::codec::FromValue;
use sutra_cache_client::{Cache, Client, Error, Reply, Request};

/// Tasks that read through each cache.
const READERS: usize = 3;
/// How long differences may last once all is quiet: sweeps of spaces and expiry have to come by.
const PATIENCE: Duration = Duration::from_secs(4);

pub(crate) struct Watched {
    name: String,
    cache: Cache,
    direct: Client,
    /// No read that begins may return an older version.
    floors: Vec<AtomicU64>,
    /// The newest version that anybody here has seen.
    seen: Vec<AtomicU64>,
    fences: AtomicU64,
    violations: Mutex<Vec<String>>,
    stop: Arc<AtomicBool>,
}

impl Watched {
    pub(crate) fn new(name: String, cache: Cache, direct: Client, stop: Arc<AtomicBool>) -> Arc<Watched> {
        let zeros = || (0..KEYS).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Watched {
            name,
            cache,
            direct,
            floors: zeros(),
            seen: zeros(),
            fences: AtomicU64::new(0),
            violations: Mutex::default(),
            stop,
        })
    }

    /// Reads, writes and looks until it is told to stop, or something is wrong.
    pub(crate) async fn run(self: Arc<Watched>, seed: u64) {
        let mut random = Random::new(seed);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..READERS {
            tasks.spawn(Arc::clone(&self).read(Random::new(random.next())));
        }
        tasks.spawn(Arc::clone(&self).witness(Random::new(random.next())));
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no task of a cache panics");
        }
    }

    /// How often a floor could be raised, and how many reads were answered without the shard.
    pub(crate) fn effort(&self) -> (u64, u64) {
        (self.fences.load(Ordering::Relaxed), self.cache.stats().l1_hits)
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn violated(&self, what: String) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{}: {what}", self.name));
        self.stop.store(true, Ordering::Release);
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Acquire)
    }

    async fn read(self: Arc<Watched>, mut random: Random) {
        while self.goes_on() {
            match random.below(16) {
                0 => self.read_many(&mut random).await,
                1 => self.change(&mut random).await,
                // A read that is given up leaves nothing behind.
                2 => {
                    let patience = Duration::from_micros(random.below(500) as u64);
                    drop(tokio::time::timeout(patience, self.read_one(random.below(KEYS))).await);
                }
                _ => self.read_one(random.below(KEYS)).await,
            }
            if random.one_in(8) {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn read_one(&self, key: usize) {
        let floor = self.floors[key].load(Ordering::Acquire);
        let value = self.cache.get::<String>(keys::name(key)).await;
        self.judge(key, floor, value);
    }

    async fn read_many(&self, random: &mut Random) {
        let wanted: Vec<usize> = (0..4).map(|_| random.below(KEYS)).collect();
        let floors: Vec<u64> = wanted.iter().map(|key| self.floors[*key].load(Ordering::Acquire)).collect();
        let names: Vec<String> = wanted.iter().map(|key| keys::name(*key)).collect();
        match self.cache.get_many::<String, _>(&names).await {
            Ok(values) => {
                for ((key, floor), value) in wanted.into_iter().zip(floors).zip(values) {
                    self.judge(key, floor, Ok(value));
                }
            }
            Err(error) => self.violated(format!("a fault is a miss, not {error}")),
        }
    }

    fn judge(&self, key: usize, floor: u64, value: Result<Option<String>, Error>) {
        let value = match value {
            Ok(Some(value)) => value,
            Ok(None) => return,
            Err(error) => return self.violated(format!("a fault is a miss, not {error}")),
        };
        match keys::version(key, &value) {
            Ok(version) if version < floor => {
                self.violated(format!("{} has version {version} after {floor} was told of", keys::name(key)));
            }
            Ok(version) => drop(self.seen[key].fetch_max(version, Ordering::AcqRel)),
            Err(wrong) => self.violated(wrong),
        }
    }

    /// Writes through the cache, and sometimes gives up before the answer.
    async fn change(&self, random: &mut Random) {
        let key = keys::of(Kind::Shared).start + random.below(keys::EACH);
        let (name, value) = (keys::name(key), keys::value(key, random.next() >> 1));
        let patience = if random.one_in(2) { random.below(300) as u64 } else { 5_000_000 };
        let change = async {
            if random.one_in(6) {
                self.cache.delete(&name).await.map(drop)
            } else {
                self.cache.set(&name, &value).await
            }
        };
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_micros(patience), change).await {
            self.violated(format!("a fault is a miss, not {error}"));
        }
    }

    async fn witness(self: Arc<Watched>, mut random: Random) {
        while self.goes_on() {
            let wanted: Vec<usize> = (0..8).map(|_| random.below(2 * keys::EACH)).collect();
            let seen: Vec<u64> = wanted.iter().map(|key| self.seen[*key].load(Ordering::Acquire)).collect();
            let reads = wanted.iter().flat_map(|key| [keys::name(*key), keys::acknowledgement(*key)]);
            let reads: Vec<Request> = reads.map(|key| Request::read("GET").arg(key)).collect();
            let replies = self.direct.pipeline(&reads).await.expect("nothing is between the witness and the shard");
            let replies: Vec<Option<String>> =
                replies.into_iter().map(|reply| text(reply.expect("GET is answered"))).collect();
            if self.cache.catch_up().await.is_err() {
                tokio::task::yield_now().await;
                continue;
            }
            for ((key, seen), answers) in wanted.into_iter().zip(seen).zip(replies.chunks(2)) {
                let shown = match &answers[0] {
                    Some(value) => keys::version(key, value).unwrap_or_else(|wrong| panic!("{wrong}")),
                    // What was there is gone, and does not come back.
                    None if keys::kind(key) == Kind::Plain && seen > 0 => seen + 1,
                    None => 0,
                };
                let gone_below = answers[1].as_ref().map_or(0, |number| number.parse().expect("a number"));
                self.seen[key].fetch_max(if answers[0].is_some() { shown } else { 0 }, Ordering::AcqRel);
                self.floors[key].fetch_max(shown.max(gone_below), Ordering::AcqRel);
            }
            self.fences.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Once nothing changes any more: nothing that the cache returns may differ from what the shard has.
    pub(crate) async fn compare(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut different = Vec::new();
        while Instant::now() < deadline {
            if self.cache.catch_up().await.is_err() {
                // tidy: sleeps because a connection that was cut is being made again
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            different.clear();
            for key in 0..KEYS {
                let name = keys::name(key);
                let here = self.cache.get::<String>(&name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
                let there = text(self.direct.call(Request::read("GET").arg(&name)).await.expect("an answer"));
                if here != there {
                    different.push(format!("{name} is {here:?} here and {there:?} there, for good"));
                }
            }
            if different.is_empty() {
                return;
            }
            // tidy: sleeps because nobody is told when a sweep has come by
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if different.is_empty() {
            different.push("the cache never caught up".to_owned());
        }
        different.into_iter().for_each(|what| self.violated(what));
    }
}

fn text(reply: Reply) -> Option<String> {
    let Reply::Bulk(bytes) = reply else {
        assert_eq!(reply, Reply::Null);
        return None;
    };
    Some(String::from_value(bytes).expect("values are text"))
}
