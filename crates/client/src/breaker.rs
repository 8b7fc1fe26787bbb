//! A circuit breaker: after enough failures nothing is tried for a while, so that a shard in trouble is not asked by everybody and nobody
//! waits for a timeout to learn what the last one learned.
//!
//! ```text
//!           failures in a row, or a share of a window          the open time is over
//!   closed ------------------------------------------> open -------------------------> half open
//!     ^                                                  ^         a probe failed          |
//!     |                                                  +---------------------------------+
//!     +------------------------------------------------------------------------------------+
//!                                    enough probes succeeded
//! ```
//!
//! The pattern is Michael Nygard's ("Release It!", 2007). The open time doubles with each probe that fails, up to a limit, and is
//! drawn at random around that, so that the clients of a shard do not come back all at once.
//!
//! Nothing here reads a clock: `now` is an argument. While the breaker is closed, asking and reporting take no lock. Every permission
//! belongs to the phase it was given in, and what is reported later counts for nothing: a request that was sent before the breaker opened
//! and times out afterwards says nothing about now.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use sutra_cache_client::breaker::{Breaker, BreakerSettings, Phase};
//!
//! let settings = BreakerSettings { failures_in_a_row: 2, probes: 1, ..BreakerSettings::default() };
//! let breaker = Breaker::new(settings, 7);
//! let now = Instant::now();
//! breaker.ask(now)?.failed(now);
//! breaker.ask(now)?.failed(now);
//! let refused = breaker.ask(now).unwrap_err();
//! // When the time is over, one request is let through, and closes it if it succeeds.
//! let later = now + refused.retry_after;
//! breaker.ask(later)?.succeeded(later);
//! assert_eq!(breaker.phase(), Phase::Closed);
//! # Ok::<(), sutra_cache_client::breaker::Refused>(())
//! ```

use serde::Serialize;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When a breaker opens, and how it closes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerSettings {
    /// It opens when so many requests failed one after the other; 0: never for that.
    pub failures_in_a_row: u32,
    /// It also opens when at least this share of the requests of a window failed (0.5 is half); above 1: never for that.
    pub failure_share: f64,
    /// How long a window lasts. One follows the other; they do not overlap.
    pub window: Duration,
    /// A window with fewer requests says nothing about shares.
    pub window_requests_min: u32,
    /// How long it stays open at first.
    pub open_for: Duration,
    /// The open time doubles with every probe that fails, up to this.
    pub open_for_max: Duration,
    /// By which share the open time is longer or shorter at random: 0.2 is 20 % either way. At most 1.
    pub jitter: f64,
    /// So many probes have to succeed to close it, and no more are let through at once. At least 1.
    pub probes: u32,
}

impl Default for BreakerSettings {
    /// Five in a row, or half of at least 20 in 10 seconds; open for 1 second at first and 30 at most, ± 20 %; two probes.
    fn default() -> BreakerSettings {
        BreakerSettings {
            failures_in_a_row: 5,
            failure_share: 0.5,
            window: Duration::from_secs(10),
            window_requests_min: 20,
            open_for: Duration::from_secs(1),
            open_for_max: Duration::from_secs(30),
            jitter: 0.2,
            probes: 2,
        }
    }
}

/// Where a breaker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Everything is let through.
    Closed,
    /// Nothing is.
    Open,
    /// A few probes are.
    HalfOpen,
}

/// A circuit breaker, to be shared by all who use what it protects.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    /// Times are kept as nanoseconds since then.
    origin: Instant,
    /// The number of the phase, which grows with every transition, times 4, plus the phase.
    state: AtomicU64,
    closed: Closed,
    slow: Mutex<Slow>,
    refused: AtomicU64,
}

/// The permission to send one request. Say what became of it; one that is dropped counts neither way.
#[derive(Debug)]
#[must_use = "say what became of the request"]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    state: u64,
    is_reported: bool,
}

/// The request shall not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// When it makes sense to ask again at the earliest; zero while the probes are under way.
    pub retry_after: Duration,
}

/// What a breaker did since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BreakerSnapshot {
    /// Where it is.
    pub phase: Phase,
    /// How often it opened, after probes too.
    pub opened: u64,
    /// How often it began to probe.
    pub half_opened: u64,
    /// How often it closed.
    pub closed: u64,
    /// Requests that it did not let through.
    pub refused: u64,
}

/// What is counted while it is closed. When a window ends, whoever notices first begins the next; what others report in that instant
/// may be lost or counted for the wrong one.
#[derive(Debug, Default)]
struct Closed {
    failures_in_a_row: AtomicU32,
    window_began_ns: AtomicU64,
    window_requests: AtomicU32,
    window_failures: AtomicU32,
}

/// What is only needed for transitions and while it is not closed.
#[derive(Debug)]
struct Slow {
    open_until: Instant,
    open_for: Duration,
    probes_out: u32,
    probes_succeeded: u32,
    random: u64,
    opened: u64,
    half_opened: u64,
    closed: u64,
}

impl Breaker {
    /// A closed one. The seed decides the jitter: give every client another one.
    #[must_use]
    pub fn new(settings: BreakerSettings, seed: u64) -> Breaker {
        let origin = Instant::now();
        let slow = Slow {
            open_until: origin,
            open_for: settings.open_for,
            probes_out: 0,
            probes_succeeded: 0,
            random: seed,
            opened: 0,
            half_opened: 0,
            closed: 0,
        };
        Breaker {
            settings,
            origin,
            state: AtomicU64::new(Phase::Closed.code()),
            closed: Closed::default(),
            slow: Mutex::new(slow),
            refused: AtomicU64::new(0),
        }
    }

    /// Whether a request may be sent now.
    ///
    /// # Errors
    /// If it may not, and when to ask again.
    pub fn ask(&self, now: Instant) -> Result<Permit<'_>, Refused> {
        let state = self.state.load(Ordering::Acquire);
        if Phase::of(state) == Phase::Closed {
            return Ok(self.permit(state));
        }
        let answer = self.ask_slowly(now);
        if answer.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// Where it is. That an open time is over is noticed by the next who asks.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::of(self.state.load(Ordering::Acquire))
    }

    /// What it did.
    #[must_use]
    pub fn snapshot(&self) -> BreakerSnapshot {
        let slow = self.slow();
        BreakerSnapshot {
            phase: self.phase(),
            opened: slow.opened,
            half_opened: slow.half_opened,
            closed: slow.closed,
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    fn ask_slowly(&self, now: Instant) -> Result<Permit<'_>, Refused> {
        let mut slow = self.slow();
        let state = self.state.load(Ordering::Acquire);
        match Phase::of(state) {
            Phase::Closed => Ok(self.permit(state)),
            Phase::Open if now < slow.open_until => Err(Refused { retry_after: slow.open_until.duration_since(now) }),
            Phase::Open => {
                slow.half_opened += 1;
                slow.probes_out = 1;
                slow.probes_succeeded = 0;
                Ok(self.permit(self.enter(Phase::HalfOpen)))
            }
            Phase::HalfOpen if slow.probes_out + slow.probes_succeeded < self.settings.probes.max(1) => {
                slow.probes_out += 1;
                Ok(self.permit(state))
            }
            Phase::HalfOpen => Err(Refused { retry_after: Duration::ZERO }),
        }
    }

    fn permit(&self, state: u64) -> Permit<'_> {
        Permit { breaker: self, state, is_reported: false }
    }

    /// With the lock held. The new state.
    fn enter(&self, phase: Phase) -> u64 {
        let state = (self.state.load(Ordering::Acquire) / 4 + 1) * 4 + phase.code();
        self.state.store(state, Ordering::Release);
        state
    }

    fn succeeded_while_closed(&self, now: Instant) {
        self.count(now, false);
        // A line that is only read stays in every processor's cache.
        if self.closed.failures_in_a_row.load(Ordering::Relaxed) != 0 {
            self.closed.failures_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    fn failed_while_closed(&self, state: u64, now: Instant) {
        let (requests, failures) = self.count(now, true);
        let in_a_row = self.closed.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        let settings = &self.settings;
        let too_many = settings.failures_in_a_row != 0 && in_a_row >= settings.failures_in_a_row;
        let too_large = requests >= settings.window_requests_min.max(1)
            && f64::from(failures) >= settings.failure_share * f64::from(requests);
        if too_many || too_large {
            let mut slow = self.slow();
            if self.state.load(Ordering::Acquire) == state {
                self.open(&mut slow, settings.open_for, now);
            }
        }
    }

    /// Counts a request for the window that `now` is in. The window's requests and failures so far.
    fn count(&self, now: Instant, failed: bool) -> (u32, u32) {
        let closed = &self.closed;
        let now_ns = u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX);
        let began_ns = closed.window_began_ns.load(Ordering::Relaxed);
        let is_over = u128::from(now_ns.saturating_sub(began_ns)) >= self.settings.window.as_nanos();
        let begin = || closed.window_began_ns.compare_exchange(began_ns, now_ns, Ordering::Relaxed, Ordering::Relaxed);
        if is_over && begin().is_ok() {
            closed.window_requests.store(0, Ordering::Relaxed);
            closed.window_failures.store(0, Ordering::Relaxed);
        }
        let requests = closed.window_requests.fetch_add(1, Ordering::Relaxed) + 1;
        (requests, if failed { closed.window_failures.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 })
    }

    fn probe_ended(&self, state: u64, ended: ProbeEnd) {
        let mut slow = self.slow();
        if self.state.load(Ordering::Acquire) != state {
            return;
        }
        slow.probes_out -= 1;
        match ended {
            ProbeEnd::Dropped => {}
            ProbeEnd::Failed(now) => {
                let longer = slow.open_for.saturating_mul(2).min(self.settings.open_for_max);
                self.open(&mut slow, longer, now);
            }
            ProbeEnd::Succeeded(now) => {
                slow.probes_succeeded += 1;
                if slow.probes_succeeded >= self.settings.probes.max(1) {
                    slow.closed += 1;
                    self.closed.failures_in_a_row.store(0, Ordering::Relaxed);
                    let now_ns = now.saturating_duration_since(self.origin).as_nanos();
                    self.closed.window_began_ns.store(u64::try_from(now_ns).unwrap_or(u64::MAX), Ordering::Relaxed);
                    self.closed.window_requests.store(0, Ordering::Relaxed);
                    self.closed.window_failures.store(0, Ordering::Relaxed);
                    self.enter(Phase::Closed);
                }
            }
        }
    }

    fn open(&self, slow: &mut Slow, open_for: Duration, now: Instant) {
        slow.opened += 1;
        slow.open_for = open_for;
        let jitter = self.settings.jitter.clamp(0.0, 1.0) * (2.0 * random_share(&mut slow.random) - 1.0);
        slow.open_until = now + open_for.mul_f64(1.0 + jitter);
        self.enter(Phase::Open);
    }

    fn slow(&self) -> MutexGuard<'_, Slow> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum ProbeEnd {
    Succeeded(Instant),
    Failed(Instant),
    Dropped,
}

impl Permit<'_> {
    /// The request was answered; an error that the shard answers on purpose is an answer too.
    pub fn succeeded(mut self, now: Instant) {
        self.is_reported = true;
        match Phase::of(self.state) {
            Phase::Closed if self.is_current() => self.breaker.succeeded_while_closed(now),
            Phase::HalfOpen => self.breaker.probe_ended(self.state, ProbeEnd::Succeeded(now)),
            Phase::Closed | Phase::Open => {}
        }
    }

    /// The request was not answered, or by something that cannot be a healthy shard.
    pub fn failed(mut self, now: Instant) {
        self.is_reported = true;
        match Phase::of(self.state) {
            Phase::Closed if self.is_current() => self.breaker.failed_while_closed(self.state, now),
            Phase::HalfOpen => self.breaker.probe_ended(self.state, ProbeEnd::Failed(now)),
            Phase::Closed | Phase::Open => {}
        }
    }

    /// Whether it is a probe of a breaker that was open: worth a short timeout.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        Phase::of(self.state) == Phase::HalfOpen
    }

    fn is_current(&self) -> bool {
        self.state == self.breaker.state.load(Ordering::Acquire)
    }
}

impl Drop for Permit<'_> {
    /// A caller that gave up gives its probe to the next one.
    fn drop(&mut self) {
        if !self.is_reported && self.is_probe() {
            self.breaker.probe_ended(self.state, ProbeEnd::Dropped);
        }
    }
}

impl Phase {
    fn code(self) -> u64 {
        match self {
            Phase::Closed => 0,
            Phase::Open => 1,
            Phase::HalfOpen => 2,
        }
    }

    fn of(state: u64) -> Phase {
        match state % 4 {
            0 => Phase::Closed,
            1 => Phase::Open,
            _ => Phase::HalfOpen,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the circuit breaker is open, for {} ms more", self.retry_after.as_millis())
    }
}

impl std::error::Error for Refused {}

/// Between 0 and 1: a step of SplitMix64 (Steele, Lea, Flood 2014).
fn random_share(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings() -> BreakerSettings {
        BreakerSettings { failures_in_a_row: 3, jitter: 0.0, ..BreakerSettings::default() }
    }

    fn fail(breaker: &Breaker, times: u32, now: Instant) {
        (0..times).for_each(|_| breaker.ask(now).expect("it lets through").failed(now));
    }

    fn succeed(breaker: &Breaker, times: u32, now: Instant) {
        (0..times).for_each(|_| breaker.ask(now).expect("it lets through").succeeded(now));
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_in_between_begins_the_count_anew() {
        let (breaker, now) = (Breaker::new(settings(), 0), Instant::now());
        fail(&breaker, 2, now);
        succeed(&breaker, 1, now);
        fail(&breaker, 2, now);
        assert_eq!(breaker.phase(), Phase::Closed);
        fail(&breaker, 1, now);
        assert_eq!(breaker.phase(), Phase::Open);
        assert_eq!(breaker.ask(now).unwrap_err().retry_after, SECOND);
    }

    #[test]
    fn a_share_of_failures_opens_it_once_a_window_has_enough_requests() {
        let only_share = BreakerSettings { failures_in_a_row: 0, window_requests_min: 10, ..settings() };
        let (breaker, now) = (Breaker::new(only_share, 0), Instant::now());
        (0..4).for_each(|_| {
            fail(&breaker, 1, now);
            succeed(&breaker, 1, now);
        });
        fail(&breaker, 1, now);
        assert_eq!(breaker.phase(), Phase::Closed, "five of nine, but nine are too few");
        fail(&breaker, 1, now);
        assert_eq!(breaker.phase(), Phase::Open);
    }

    #[test]
    fn failures_of_a_window_that_is_over_count_no_more() {
        let only_share = BreakerSettings { failures_in_a_row: 0, window_requests_min: 4, ..settings() };
        let (breaker, now) = (Breaker::new(only_share, 0), Instant::now());
        fail(&breaker, 3, now);
        let later = now + 11 * SECOND;
        succeed(&breaker, 4, later);
        fail(&breaker, 3, later);
        assert_eq!(breaker.phase(), Phase::Closed, "three of seven");
        fail(&breaker, 1, later);
        assert_eq!(breaker.phase(), Phase::Open, "four of eight");
    }

    #[test]
    fn when_the_time_is_over_only_probes_are_let_through_and_their_success_closes_it() {
        let (breaker, now) = (Breaker::new(settings(), 0), Instant::now());
        fail(&breaker, 3, now);
        assert!(breaker.ask(now + SECOND - Duration::from_nanos(1)).is_err());
        let later = now + SECOND;
        let first = breaker.ask(later).expect("a probe");
        let second = breaker.ask(later).expect("another probe");
        assert!(first.is_probe());
        assert_eq!(breaker.ask(later).unwrap_err().retry_after, Duration::ZERO);
        first.succeeded(later);
        assert_eq!(breaker.phase(), Phase::HalfOpen);
        assert!(breaker.ask(later).is_err(), "one has succeeded, the other is under way");
        second.succeeded(later);
        assert_eq!(breaker.phase(), Phase::Closed);
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.opened, snapshot.half_opened, snapshot.closed, snapshot.refused), (1, 1, 1, 3));
        fail(&breaker, 2, later);
        assert_eq!(breaker.phase(), Phase::Closed, "it counts from nothing");
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_twice_as_long_up_to_the_limit() {
        let (breaker, start) = (Breaker::new(settings(), 0), Instant::now());
        fail(&breaker, 3, start);
        let mut now = start;
        let mut waited = Vec::new();
        for _ in 0..7 {
            let wait = breaker.ask(now).unwrap_err().retry_after;
            waited.push(wait.as_secs());
            now += wait;
            fail(&breaker, 1, now);
        }
        assert_eq!(waited, [1, 2, 4, 8, 16, 30, 30]);
        now += 30 * SECOND;
        succeed(&breaker, 2, now);
        fail(&breaker, 3, now);
        assert_eq!(breaker.ask(now).unwrap_err().retry_after, SECOND, "after it was closed it begins anew");
    }

    #[test]
    fn a_probe_that_is_dropped_is_given_to_the_next_one() {
        let (breaker, now) = (Breaker::new(BreakerSettings { probes: 1, ..settings() }, 0), Instant::now());
        fail(&breaker, 3, now);
        let later = now + SECOND;
        drop(breaker.ask(later));
        succeed(&breaker, 1, later);
        assert_eq!(breaker.phase(), Phase::Closed);
    }

    #[test]
    fn what_is_reported_in_another_phase_counts_for_nothing() {
        let (breaker, now) = (Breaker::new(settings(), 0), Instant::now());
        let late = [(); 4].map(|()| breaker.ask(now).expect("it is closed"));
        fail(&breaker, 3, now);
        let later = now + SECOND;
        let probe = breaker.ask(later).expect("a probe");
        late.into_iter().for_each(|permit| permit.failed(later));
        assert_eq!(breaker.phase(), Phase::HalfOpen);
        let other = breaker.ask(later).expect("another probe");
        probe.failed(later);
        other.succeeded(later);
        assert_eq!(breaker.phase(), Phase::Open);
        assert_eq!(breaker.snapshot().opened, 2);
    }

    #[test]
    fn the_jitter_spreads_clients_within_its_share() {
        let jittered = BreakerSettings { jitter: 0.2, ..settings() };
        let waits: Vec<f64> = (0..200)
            .map(|seed| {
                let (breaker, now) = (Breaker::new(jittered, seed), Instant::now());
                fail(&breaker, 3, now);
                breaker.ask(now).unwrap_err().retry_after.as_secs_f64()
            })
            .collect();
        assert!(waits.iter().all(|wait| (0.8..=1.2).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < 0.85) && waits.iter().any(|wait| *wait > 1.15), "{waits:?}");
    }

    #[test]
    fn many_threads_open_it_once_and_never_have_more_probes_than_there_are() {
        let (breaker, now) = (Breaker::new(settings(), 0), Instant::now());
        let all_failed = |_| {
            while let Ok(permit) = breaker.ask(now) {
                permit.failed(now);
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|thread| drop(scope.spawn(move || all_failed(thread)))));
        assert_eq!(breaker.snapshot().opened, 1);
        let later = now + SECOND;
        let probes: Vec<Permit<'_>> = std::thread::scope(|scope| {
            let ask = || (0..10).filter_map(|_| breaker.ask(later).ok()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("it does not panic")).collect()
        });
        assert_eq!(probes.len(), 2);
    }
}
