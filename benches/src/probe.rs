//! A well-behaved client beside a storm or an attack: how long it waits, and how much memory the server takes meanwhile.

use crate::histogram::Histogram;
use crate::machine::pause;
use crate::process::Server;
use crate::random::{Random, key};
use crate::wire::Client;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use sutra_protocol::Frame;

/// Connections that take turns.
const CONNECTIONS: usize = 4;
/// One GET is due each so often.
const INTERVAL: Duration = Duration::from_micros(250);
/// How often the server's memory is read.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) latency: Histogram,
    /// GETs that were answered with an error, or not at all.
    pub(crate) failures: u64,
    pub(crate) rss_bytes_max: u64,
}

/// Probes for `duration` while `disturb` runs on a thread of its own, which has to end when its flag is raised.
pub(crate) fn watch<T: Send>(
    server: &Server,
    keys: u64,
    duration: Duration,
    disturb: impl FnOnce(&AtomicBool) -> T + Send,
) -> io::Result<(Seen, T)> {
    let stop = AtomicBool::new(false);
    let address = server.address;
    std::thread::scope(|scope| {
        let disturbing = scope.spawn(|| {
            // The probe goes first on the core that they share: it is the server's delay that counts.
            crate::machine::lower_priority();
            disturb(&stop)
        });
        let probing = scope.spawn(|| probe(address, keys, &stop));
        let began = Instant::now();
        let mut rss_bytes_max = 0;
        while began.elapsed() < duration {
            rss_bytes_max = server.rss_bytes().max(rss_bytes_max);
            pause(SAMPLE_INTERVAL);
        }
        stop.store(true, Ordering::Relaxed);
        let panicked = |_| io::Error::other("a thread of the driver panicked");
        let disturbed = disturbing.join().map_err(panicked)?;
        let (latency, failures) = probing.join().map_err(panicked)?;
        Ok((Seen { latency, failures, rss_bytes_max }, disturbed))
    })
}

fn probe(address: SocketAddr, keys: u64, stop: &AtomicBool) -> (Histogram, u64) {
    let mut latency = Histogram::new();
    let mut failures = 0;
    let mut random = Random::new(17);
    let mut clients: Vec<Option<Client>> = (0..CONNECTIONS).map(|_| None).collect();
    let mut due = Instant::now();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        due = (due + INTERVAL).max(Instant::now());
        pause(due.saturating_duration_since(Instant::now()));
        let slot = &mut clients[turn % CONNECTIONS];
        if slot.is_none() {
            *slot = Client::connect(address).ok();
        }
        let began = Instant::now();
        let answer = slot.as_mut().map(|client| client.call(&[b"GET", &key(random.below(keys))]));
        match answer {
            Some(Ok(Frame::Bulk(_) | Frame::Null)) => {}
            Some(_) => {
                failures += 1;
                *slot = None;
            }
            None => failures += 1,
        }
        // Whoever would have asked while this answer was awaited would have waited too: the rest of the time.
        let mut waited = began.elapsed();
        loop {
            latency.record(waited.as_nanos() as u64);
            match waited.checked_sub(INTERVAL) {
                Some(rest) if !rest.is_zero() => waited = rest,
                Some(_) | None => break,
            }
        }
    }
    (latency, failures)
}
