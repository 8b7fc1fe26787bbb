//! A circuit breaker: an endpoint that keeps failing is left alone for a while, and then asked once.
//!
//! Time is an argument, so that its states can be walked through without waiting.

use std::time::{Duration, Instant};

/// Who may ask, and since when not.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    failures_max: u32,
    open_for: Duration,
    opened: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// All may ask; so many failures in a row so far.
    Closed { failures: u32 },
    /// Nobody may ask before this time; the first one after it is the probe.
    Open { until: Instant },
    /// One is asking. If nothing has been heard of it by this time (its thread died), another one may.
    HalfOpen { until: Instant },
}

/// The state of the circuit, as it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// Requests go through.
    Closed,
    /// Requests fail at once.
    Open,
    /// One request goes through to see whether the endpoint is back.
    HalfOpen,
}

impl Breaker {
    pub(super) fn new(failures_max: u32, open_for: Duration) -> Breaker {
        Breaker { state: State::Closed { failures: 0 }, failures_max: failures_max.max(1), open_for, opened: 0 }
    }

    /// Whether a request may be made now, which must be followed by [`Breaker::succeeded`] or [`Breaker::failed`].
    ///
    /// # Errors
    /// How long none may be made.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until } | State::HalfOpen { until } if now < until => Err(until - now),
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen { until: now + self.open_for };
                Ok(())
            }
        }
    }

    pub(super) fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    pub(super) fn failed(&mut self, now: Instant) {
        let failures = match self.state {
            State::Closed { failures } => failures + 1,
            // Requests that were under way when the circuit opened do not keep it open for longer.
            State::Open { .. } => return,
            State::HalfOpen { .. } => self.failures_max,
        };
        if failures < self.failures_max {
            self.state = State::Closed { failures };
        } else {
            self.state = State::Open { until: now + self.open_for };
            self.opened += 1;
        }
    }

    pub(super) fn circuit(&self) -> Circuit {
        match self.state {
            State::Closed { .. } => Circuit::Closed,
            State::Open { .. } => Circuit::Open,
            State::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }

    /// How often it has opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_FOR: Duration = Duration::from_secs(10);

    fn opened_at(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(3, OPEN_FOR);
        for _ in 0..3 {
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.failed(now);
        }
        assert_eq!((breaker.circuit(), breaker.opened()), (Circuit::Open, 1));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::new(3, OPEN_FOR);
        breaker.failed(now);
        breaker.failed(now);
        breaker.succeeded();
        breaker.failed(now);
        breaker.failed(now);
        assert_eq!(breaker.circuit(), Circuit::Closed);
        breaker.failed(now);
        assert_eq!(breaker.circuit(), Circuit::Open);
    }

    #[test]
    fn an_open_one_admits_nobody_and_then_one() {
        let now = Instant::now();
        let mut breaker = opened_at(now);
        assert_eq!(breaker.admit(now + OPEN_FOR / 2), Err(OPEN_FOR / 2));
        assert_eq!(breaker.admit(now + OPEN_FOR), Ok(()));
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        assert_eq!(breaker.admit(now + OPEN_FOR), Err(OPEN_FOR));
    }

    #[test]
    fn the_probe_decides() {
        let now = Instant::now();
        let mut breaker = opened_at(now);
        assert_eq!(breaker.admit(now + OPEN_FOR), Ok(()));
        breaker.failed(now + OPEN_FOR);
        assert_eq!((breaker.circuit(), breaker.opened()), (Circuit::Open, 2));
        assert_eq!(breaker.admit(now + 2 * OPEN_FOR), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.circuit(), Circuit::Closed);
        assert_eq!(breaker.admit(now + 2 * OPEN_FOR), Ok(()));
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_is_replaced() {
        let now = Instant::now();
        let mut breaker = opened_at(now);
        assert_eq!(breaker.admit(now + OPEN_FOR), Ok(()));
        assert_eq!(breaker.admit(now + 2 * OPEN_FOR), Ok(()));
    }

    #[test]
    fn late_failures_of_others_do_not_keep_it_open() {
        let now = Instant::now();
        let mut breaker = opened_at(now);
        breaker.failed(now + OPEN_FOR / 2);
        assert_eq!(breaker.opened(), 1);
        assert_eq!(breaker.admit(now + OPEN_FOR), Ok(()));
    }
}
