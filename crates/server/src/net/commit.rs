//! Waiting for durability together: one sync answers everyone who asked before it began.
//!
//! Connections ask with the number of their last log frame and sleep; one thread per process syncs for as long as somebody
//! waits. While it syncs, more requests gather, which the next sync answers at once: under load each sync serves many.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Everyone who waits for the log.
#[derive(Debug, Default)]
pub struct GroupCommit {
    durable: AtomicU64,
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Who waits for which frame.
    waiters: Vec<(u64, Waker)>,
    /// How many syncs have failed, and why the last one did.
    failures: u64,
    cause: String,
    stopped: bool,
}

impl GroupCommit {
    /// Waits until frame `lsn` is durable.
    ///
    /// # Errors
    /// The cause, if a sync failed meanwhile: the frame may or may not survive a power failure, and must not be acknowledged.
    pub fn wait(&self, lsn: u64) -> impl Future<Output = Result<(), String>> + '_ {
        let mut failures_before = None;
        std::future::poll_fn(move |cx| {
            if self.durable.load(Ordering::Acquire) >= lsn {
                return Poll::Ready(Ok(()));
            }
            let mut state = self.lock();
            // Looked at again under the lock: the syncing thread publishes before it takes the waiters.
            if self.durable.load(Ordering::Acquire) >= lsn {
                return Poll::Ready(Ok(()));
            }
            if *failures_before.get_or_insert(state.failures) != state.failures {
                return Poll::Ready(Err(state.cause.clone()));
            }
            if state.stopped {
                return Poll::Ready(Err("the server stops".to_owned()));
            }
            state.waiters.push((lsn, cx.waker().clone()));
            drop(state);
            self.asked.notify_one();
            Poll::Pending
        })
    }

    /// Syncs for whoever waits, until [`GroupCommit::stop`]. `sync` makes everything written so far durable and answers through which
    /// frame that is. A failed sync fails everyone who waited for it; whether a later one may succeed is for `sync` to say.
    pub fn run(&self, mut sync: impl FnMut() -> Result<u64, String>) {
        let mut state = self.lock();
        loop {
            while !state.stopped && state.waiters.is_empty() {
                state = self.asked.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.stopped {
                return;
            }
            drop(state);
            let synced = sync();
            state = self.lock();
            // Wakers are called under the lock; they only put tasks into queues.
            match synced {
                Ok(lsn) => {
                    self.durable.fetch_max(lsn, Ordering::AcqRel);
                    state.waiters.retain(|(wanted, waker)| {
                        let waits = *wanted > lsn;
                        if !waits {
                            waker.wake_by_ref();
                        }
                        waits
                    });
                }
                Err(cause) => {
                    state.failures += 1;
                    state.cause = cause;
                    state.waiters.drain(..).for_each(|(_, waker)| waker.wake());
                }
            }
        }
    }

    /// Ends [`GroupCommit::run`]; whoever still waits is told.
    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        state.waiters.drain(..).for_each(|(_, waker)| waker.wake());
        self.asked.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets every other task of this thread that is ready now run first: those that write as well then share one log write.
/// (`tokio::task::yield_now` would also poll the sockets in between, a system call that this moment has no use for.)
pub(super) fn end_of_round() -> impl Future<Output = ()> {
    let mut has_waited = false;
    std::future::poll_fn(move |cx| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc;

    #[test]
    fn everyone_who_asked_before_a_sync_began_is_answered_by_it() {
        let commit = Arc::new(GroupCommit::default());
        let (begin, begun) = mpsc::channel();
        let syncing = Arc::clone(&commit);
        // Each sync waits to be told through which frame it reaches.
        let thread = std::thread::spawn(move || {
            let mut syncs = 0;
            syncing.run(|| {
                syncs += 1;
                begun.recv().map_err(|_| "no more syncs".to_owned())
            });
            syncs
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let (first, second, third) = (commit.wait(3), commit.wait(5), commit.wait(6));
            begin.send(5).expect("thread runs");
            assert_eq!(tokio::join!(first, second), (Ok(()), Ok(())));
            begin.send(6).expect("thread runs");
            assert_eq!(third.await, Ok(()));
            assert_eq!(commit.wait(2).await, Ok(()), "what is durable needs no sync");
        });
        commit.stop();
        drop(begin);
        assert_eq!(thread.join().expect("thread ends"), 2);
    }

    #[test]
    fn a_failed_sync_fails_who_waited_for_it_and_the_next_may_succeed() {
        let commit = Arc::new(GroupCommit::default());
        let syncing = Arc::clone(&commit);
        let mut results = vec![Ok(7), Err("disk on fire".to_owned())];
        let thread = std::thread::spawn(move || syncing.run(|| results.pop().unwrap_or(Ok(9))));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        assert_eq!(runtime.block_on(commit.wait(1)), Err("disk on fire".to_owned()));
        assert_eq!(runtime.block_on(commit.wait(7)), Ok(()));
        commit.stop();
        thread.join().expect("thread ends");
    }

    #[test]
    fn stopping_wakes_whoever_waits() {
        let commit = GroupCommit::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let stop = async { commit.stop() };
            let (waited, ()) = tokio::join!(commit.wait(1), stop);
            assert!(waited.is_err());
        });
    }
}
