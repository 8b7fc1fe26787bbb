//! What a worker process does with a whole `Cache`: hits in the first tier, computations shared with other processes, invalidations that arrive.

use super::worker::{answer_lines, cpu_ns, number};
use crate::machine::pause;
use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use sutra_cache_client::{Cache, Compute};
use tokio::runtime::Runtime;

/// Keys that hits go to, so that they are not all in the processor's nearest cache.
const HIT_KEYS: usize = 1000;
/// How often the first tier is looked at while something is awaited.
const LOOK: Duration = Duration::from_micros(50);
/// How long something may take to come about.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves the driver until its input ends.
pub(super) fn serve(runtime: &Runtime, address: SocketAddr) -> io::Result<()> {
    let cache = runtime.block_on(Cache::connect(&format!("sutra://{address}"))).map_err(io::Error::other)?;
    answer_lines(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["hits", value_bytes, milliseconds] => hits(runtime, &cache, number(value_bytes)?, number(milliseconds)?),
            ["compute", key, tasks, milliseconds] => {
                runtime.block_on(compute(&cache, key, number(tasks)?, number(milliseconds)?))
            }
            ["warm", prefix, count] => runtime.block_on(warm(&cache, prefix, number(count)?)),
            ["gone"] => gone(&cache),
            _ => Err(io::Error::other(format!("{line}: not understood"))),
        }
    })
}

/// Answers `HITS ELAPSED_NS CPU_NS`.
fn hits(runtime: &Runtime, cache: &Cache, value_bytes: usize, milliseconds: usize) -> io::Result<String> {
    let keys: Vec<String> = (0..HIT_KEYS).map(|key| format!("hit:{key:012}")).collect();
    let value = Bytes::from(vec![b'v'; value_bytes]);
    runtime.block_on(async {
        for key in &keys {
            cache.set(key, &value).await.map_err(io::Error::other)?;
        }
        read_until_here(cache, &keys).await?;
        let before = cache.stats().l1_hits;
        let (began, cpu_before) = (Instant::now(), cpu_ns());
        let mut count = 0_u64;
        while began.elapsed() < Duration::from_millis(milliseconds as u64) {
            for key in &keys {
                let found: Option<Bytes> = cache.get(key).await.map_err(io::Error::other)?;
                if black_box(found).is_none_or(|found| found.len() != value_bytes) {
                    return Err(io::Error::other(format!("{key} is not there")));
                }
            }
            count += HIT_KEYS as u64;
        }
        let (elapsed, cpu) = (began.elapsed().as_nanos(), cpu_ns() - cpu_before);
        let here = cache.stats().l1_hits - before;
        if here != count {
            return Err(io::Error::other(format!("{here} of {count} reads were answered by the first tier")));
        }
        Ok(format!("{count} {elapsed} {cpu}"))
    })
}

/// Many tasks want the same value, which takes so long to compute. Answers `COMPUTATIONS ELAPSED_NS`.
async fn compute(cache: &Cache, key: &str, tasks: usize, milliseconds: usize) -> io::Result<String> {
    let computations = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let (cache, key, computations) = (cache.clone(), key.to_owned(), Arc::clone(&computations));
            tokio::spawn(async move {
                let wanted = format!("value of {key}");
                let value = wanted.clone();
                let options = Compute::new().ttl(Duration::from_secs(60));
                let found: String = cache
                    .get_or_compute(&key, &options, async move || {
                        computations.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(milliseconds as u64)).await;
                        Ok::<_, io::Error>(value)
                    })
                    .await
                    .map_err(io::Error::other)?;
                if found == wanted { Ok(()) } else { Err(io::Error::other(format!("{key} is {found}"))) }
            })
        })
        .collect();
    for task in running {
        task.await.map_err(io::Error::other)??;
    }
    Ok(format!("{} {}", computations.load(Ordering::Relaxed), began.elapsed().as_nanos()))
}

/// Reads until the first tier has all of these keys, and nothing else. Answers their number.
async fn warm(cache: &Cache, prefix: &str, count: usize) -> io::Result<String> {
    let keys: Vec<String> = (0..count).map(|number| format!("{prefix}{number}")).collect();
    read_until_here(cache, &keys).await?;
    match entries(cache) {
        here if here == count as u64 => Ok(here.to_string()),
        here => Err(io::Error::other(format!("{here} entries in the first tier instead of {count}"))),
    }
}

/// Waits until the first tier has nothing. Answers when that was, by the clock that all processes share.
fn gone(cache: &Cache) -> io::Result<String> {
    let began = Instant::now();
    while entries(cache) > 0 {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{} entries are still in the first tier", entries(cache))));
        }
        pause(LOOK);
    }
    Ok(monotonic_ns().to_string())
}

async fn read_until_here(cache: &Cache, keys: &[String]) -> io::Result<()> {
    let began = Instant::now();
    loop {
        let before = cache.stats().l1_hits;
        for key in keys {
            let _: Option<Bytes> = cache.get(key).await.map_err(io::Error::other)?;
        }
        if cache.stats().l1_hits - before == keys.len() as u64 {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other("the first tier does not keep what is read"));
        }
    }
}

fn entries(cache: &Cache) -> u64 {
    cache.stats().l1.map_or(0, |l1| l1.entries)
}

/// The time of a clock that is the same in every process.
pub(super) fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}
