//! The other side of a measurement: a process of its own that uses one client library, told line by line what to do.
//!
//! Each line on its standard input is a task, and each is answered by one line of numbers. It ends when its input ends.

use super::library::{Fred, Key, Library, Redis, Sutra};
use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// The name under which the driver starts itself as a worker.
pub(crate) const COMMAND: &str = "client-worker";

/// Keys that the tasks read and write.
pub(crate) const KEYS: u64 = 10_000;

/// The worker's whole life: `client-worker PART LIBRARY RUNTIME ADDRESS`.
pub(crate) fn main(words: &[String]) -> ExitCode {
    let result = match words {
        [part, library, runtime, address] => address
            .parse()
            .map_err(io::Error::other)
            .and_then(|address| serve(part, library, &runtime_of(runtime)?, address)),
        _ => Err(io::Error::other("a worker is started by the driver")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{COMMAND}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn runtime_of(name: &str) -> io::Result<Runtime> {
    match name {
        "current" => Builder::new_current_thread().enable_all().build(),
        "multi" => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
        _ => Err(io::Error::other(format!("{name}: no such runtime"))),
    }
}

fn serve(part: &str, library: &str, runtime: &Runtime, address: SocketAddr) -> io::Result<()> {
    match (part, library.split_once(' ').unwrap_or((library, "1"))) {
        ("calls", ("sutra", "default")) => calls(runtime, &runtime.block_on(Sutra::connect(address, None))?),
        ("calls", ("sutra", count)) => calls(runtime, &runtime.block_on(Sutra::connect(address, count.parse().ok()))?),
        ("calls", ("redis", count)) => calls(runtime, &runtime.block_on(Redis::connect(address, number(count)?))?),
        ("calls", ("fred", count)) => calls(runtime, &runtime.block_on(Fred::connect(address, number(count)?))?),
        ("cache", _) => super::tiers::serve(runtime, address),
        ("embeddings", ("sutra", _)) => super::vectors::ours(runtime, address),
        ("embeddings", ("redis", _)) => super::vectors::peer(runtime, &runtime.block_on(Redis::connect(address, 1))?),
        ("embeddings", ("fred", _)) => super::vectors::peer(runtime, &runtime.block_on(Fred::connect(address, 1))?),
        _ => Err(io::Error::other(format!("{part}, {library}: no such worker"))),
    }
}

/// `VERB VALUE_BYTES TASKS MILLISECONDS` is answered by `OPERATIONS ELAPSED_NS CPU_NS`.
fn calls<L: Library>(runtime: &Runtime, library: &L) -> io::Result<()> {
    let keys: Arc<Vec<Key>> = Arc::new((0..KEYS).map(Key::numbered).collect());
    answer_lines(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [verb, value_bytes, tasks, milliseconds] = words[..] else {
            return Err(io::Error::other(format!("{line}: not understood")));
        };
        let value = Bytes::from(vec![b'v'; number(value_bytes)?]);
        let length = Duration::from_millis(number(milliseconds)? as u64);
        let tasks = number(tasks)?;
        let stop = Arc::new(AtomicBool::new(false));
        runtime.block_on(async {
            let (began, cpu_before) = (Instant::now(), cpu_ns());
            let running: Vec<_> = (0..tasks)
                .map(|task| {
                    let user =
                        User { library: library.for_task(task), keys: Arc::clone(&keys), stop: Arc::clone(&stop) };
                    let mut random = crate::random::Random::new(task as u64);
                    let value = value.clone();
                    if verb == "set" {
                        tokio::spawn(async move { user.sets(&mut random, &value).await })
                    } else {
                        tokio::spawn(async move { user.gets(&mut random, &value).await })
                    }
                })
                .collect();
            tokio::time::sleep(length).await;
            stop.store(true, Ordering::Relaxed);
            let mut operations = 0;
            for task in running {
                operations += task.await.map_err(io::Error::other)??;
            }
            let (elapsed, cpu) = (began.elapsed().as_nanos(), cpu_ns() - cpu_before);
            Ok(format!("{operations} {elapsed} {cpu}"))
        })
    })
}

/// One task, which asks as soon as it has been answered.
struct User<L> {
    library: L,
    keys: Arc<Vec<Key>>,
    stop: Arc<AtomicBool>,
}

impl<L: Library> User<L> {
    async fn gets(&self, random: &mut crate::random::Random, value: &Bytes) -> io::Result<u64> {
        let mut done = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let key = &self.keys[random.below(KEYS) as usize];
            let length = self.library.get(key).await?;
            if length != value.len() {
                return Err(io::Error::other(format!("{}: {length} bytes", key.text)));
            }
            done += 1;
        }
        Ok(done)
    }

    async fn sets(&self, random: &mut crate::random::Random, value: &Bytes) -> io::Result<u64> {
        let mut done = 0;
        while !self.stop.load(Ordering::Relaxed) {
            self.library.set(&self.keys[random.below(KEYS) as usize], value).await?;
            done += 1;
        }
        Ok(done)
    }
}

/// Says that it is ready, and answers each line of its input.
pub(super) fn answer_lines(mut answer: impl FnMut(&str) -> io::Result<String>) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "ready")?;
    output.flush()?;
    for line in io::stdin().lock().lines() {
        writeln!(output, "{}", answer(&line?)?)?;
        output.flush()?;
    }
    Ok(())
}

pub(super) fn number(text: &str) -> io::Result<usize> {
    text.parse().map_err(|_| io::Error::other(format!("{text}: not a number")))
}

/// The CPU time of this process.
pub(super) fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}
