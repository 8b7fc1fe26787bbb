//! CLIENT PAUSE: until when commands wait, and which.

use crate::command::Flags;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is paused. Two instants, each 0 when nothing is paused.
#[derive(Debug, Default)]
pub struct Pause {
    all_until_ms: AtomicU64,
    writes_until_ms: AtomicU64,
}

impl Pause {
    /// Pauses writes, or all commands, until an instant in Unix milliseconds. A pause that lasts longer already stays.
    pub fn extend(&self, until_ms: u64, all: bool) {
        let instant = if all { &self.all_until_ms } else { &self.writes_until_ms };
        instant.fetch_max(until_ms, Ordering::AcqRel);
    }

    /// Ends every pause.
    pub fn end(&self) {
        self.all_until_ms.store(0, Ordering::Release);
        self.writes_until_ms.store(0, Ordering::Release);
    }

    /// Until when a command with these flags has to wait, in Unix milliseconds; `None`: it need not.
    #[must_use]
    pub fn holds(&self, flags: Flags, now_ms: u64) -> Option<u64> {
        let mut until_ms = self.all_until_ms.load(Ordering::Acquire);
        if flags.has(Flags::WRITE) {
            until_ms = until_ms.max(self.writes_until_ms.load(Ordering::Acquire));
        }
        (until_ms > now_ms).then_some(until_ms)
    }

    /// Whether nothing is paused any more.
    #[must_use]
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.all_until_ms.load(Ordering::Acquire).max(self.writes_until_ms.load(Ordering::Acquire)) <= now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_writes_lets_reads_pass_and_ends_by_itself() {
        let pause = Pause::default();
        pause.extend(2000, false);
        assert_eq!(pause.holds(Flags::WRITE, 1000), Some(2000));
        assert_eq!(pause.holds(Flags::READONLY, 1000), None);
        assert_eq!(pause.holds(Flags::WRITE, 2000), None);
        assert!(pause.is_over(2000));
    }

    #[test]
    fn a_shorter_pause_does_not_cut_a_longer_one() {
        let pause = Pause::default();
        pause.extend(5000, true);
        pause.extend(2000, true);
        assert_eq!(pause.holds(Flags::READONLY, 3000), Some(5000));
        pause.end();
        assert_eq!(pause.holds(Flags::WRITE, 3000), None);
    }
}
