//! What is kept of unusual calls: the slow log and the counts of error replies. Both are bounded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Arguments kept of a slow call, and bytes of each, as in Redis.
pub const SLOW_ARGUMENTS_MAX: usize = 32;
/// Bytes kept of each argument.
pub const SLOW_ARGUMENT_BYTES_MAX: usize = 128;
/// Distinct first words of errors that are counted; beyond them no new word is taken in.
pub const ERROR_PREFIXES_MAX: usize = 128;

/// A call that took long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowCall {
    /// Its number, counting from 0 since the start.
    pub id: u64,
    /// When it ended, in Unix milliseconds.
    pub at_ms: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// The request, cut to [`SLOW_ARGUMENTS_MAX`] arguments of [`SLOW_ARGUMENT_BYTES_MAX`] bytes, saying what is missing.
    pub arguments: Vec<Vec<u8>>,
    /// The client's address.
    pub address: String,
    /// The client's name, or empty.
    pub name: String,
}

/// The last slow calls, newest first.
#[derive(Debug, Default)]
pub struct SlowLog {
    state: Mutex<SlowState>,
}

#[derive(Debug, Default)]
struct SlowState {
    calls: VecDeque<SlowCall>,
    next_id: u64,
}

impl SlowLog {
    /// Remembers a call, forgetting the oldest beyond `len_max`.
    pub fn push(&self, args: &[&[u8]], at_ms: u64, took_us: u64, address: &str, name: &str, len_max: u64) {
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        let call = SlowCall {
            id,
            at_ms,
            took_us,
            arguments: shortened(args),
            address: address.to_owned(),
            name: name.to_owned(),
        };
        state.calls.push_front(call);
        state.calls.truncate(usize::try_from(len_max).unwrap_or(usize::MAX));
    }

    /// The newest `count` calls, newest first.
    #[must_use]
    pub fn newest(&self, count: usize) -> Vec<SlowCall> {
        self.lock().calls.iter().take(count).cloned().collect()
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().calls.len()
    }

    /// How many slow calls there were since the start, forgotten ones included.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lock().next_id
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all; numbers go on.
    pub fn clear(&self) {
        self.lock().calls.clear();
    }

    fn lock(&self) -> MutexGuard<'_, SlowState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often each error prefix was answered (INFO errorstats).
#[derive(Debug, Default)]
pub struct ErrorCounts {
    counts: Mutex<BTreeMap<String, u64>>,
}

impl ErrorCounts {
    /// Counts an error reply by its first word.
    pub fn count(&self, text: &str) {
        let prefix = text.split(' ').next().unwrap_or_default();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(prefix) {
            *count += 1;
        } else if counts.len() < ERROR_PREFIXES_MAX {
            counts.insert(prefix.to_owned(), 1);
        }
    }

    /// Adds these counts to `sum`.
    pub fn add_to(&self, sum: &mut BTreeMap<String, u64>) {
        for (prefix, count) in self.counts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *sum.entry(prefix.clone()).or_default() += count;
        }
    }

    /// Forgets all.
    pub fn reset(&self) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// As much of a request as is kept of it.
pub(crate) fn shortened(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let kept = if args.len() > SLOW_ARGUMENTS_MAX { SLOW_ARGUMENTS_MAX - 1 } else { args.len() };
    let mut short: Vec<Vec<u8>> = args
        .iter()
        .take(kept)
        .map(|arg| match arg.get(SLOW_ARGUMENT_BYTES_MAX..).map_or(0, <[u8]>::len) {
            0 => arg.to_vec(),
            more => {
                let mut cut = arg[..SLOW_ARGUMENT_BYTES_MAX].to_vec();
                cut.extend_from_slice(format!("... ({more} more bytes)").as_bytes());
                cut
            }
        })
        .collect();
    if kept < args.len() {
        short.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_slow_call_is_forgotten_and_numbers_go_on() {
        let log = SlowLog::default();
        for number in 0..5 {
            log.push(&[b"GET", b"k"], number, 10, "1.2.3.4:5", "", 3);
        }
        assert_eq!(log.newest(2).iter().map(|call| call.id).collect::<Vec<_>>(), [4, 3]);
        assert_eq!(log.len(), 3);
        log.clear();
        log.push(&[b"GET"], 9, 10, "", "", 3);
        assert_eq!(log.newest(1)[0].id, 5);
    }

    #[test]
    fn long_requests_are_cut_and_say_so() {
        let long = vec![b'x'; SLOW_ARGUMENT_BYTES_MAX + 7];
        let args = vec![long.as_slice(); SLOW_ARGUMENTS_MAX + 1];
        let short = shortened(&args);
        assert_eq!(short.len(), SLOW_ARGUMENTS_MAX);
        assert!(short[0].ends_with(b"x... (7 more bytes)"));
        assert_eq!(short[SLOW_ARGUMENTS_MAX - 1], b"... (2 more arguments)");
    }

    #[test]
    fn a_flood_of_distinct_errors_does_not_grow_the_counts() {
        let counts = ErrorCounts::default();
        for number in 0..1000 {
            counts.count(&format!("E{number} text"));
        }
        let mut sum = BTreeMap::new();
        counts.add_to(&mut sum);
        assert_eq!(sum.len(), ERROR_PREFIXES_MAX);
    }
}
