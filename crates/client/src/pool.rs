//! The connections of a client to one shard: made, kept, made again.

use crate::link::{self, Link, Observer, Presence, Refused};
use crate::stats::{Counter, Stats};
use crate::{Config, Error, Reply, Request, reply};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

/// A connection for which more than this waits to be sent is passed over for another.
const SHARED_BYTES_MAX: usize = 64 << 10;

/// The connections of a client. Dropping it ends them.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    tasks: Vec<AbortHandle>,
}

struct Shared {
    config: Config,
    links: Vec<Link>,
    observer: Option<Arc<dyn Observer>>,
    stats: Arc<Stats>,
    /// Rises when a connection has been made, or could not be.
    changed: watch::Sender<u64>,
    last_error: Mutex<Option<Error>>,
    closed: AtomicBool,
    connects: AtomicU64,
    retries: AtomicU64,
}

/// How the connections of a client are doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolSnapshot {
    /// Connections that can be used now.
    pub open: usize,
    /// Connections made since the beginning; what is beyond the first of each place was made again.
    pub connects: u64,
    /// Requests that were sent again.
    pub retries: u64,
}

impl Pool {
    /// Begins to connect, on the runtime that this is called on.
    pub(crate) fn new(config: Config, observer: Option<Arc<dyn Observer>>, stats: Arc<Stats>) -> Pool {
        let links = (0..config.connections).map(|_| Link::default()).collect();
        let shared = Arc::new(Shared {
            config,
            links,
            observer,
            stats,
            changed: watch::Sender::new(0),
            last_error: Mutex::new(None),
            closed: AtomicBool::new(false),
            connects: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        });
        let tasks = (0..shared.links.len())
            .map(|number| tokio::spawn(keep(Arc::clone(&shared), number)).abort_handle())
            .collect();
        Pool { shared, tasks }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Waits until there is a connection.
    pub(crate) async fn ready(&self) -> Result<(), Error> {
        self.ready_until(Instant::now() + self.shared.config.connect_timeout).await
    }

    async fn ready_until(&self, deadline: Instant) -> Result<(), Error> {
        let shared = &self.shared;
        let mut changed = shared.changed.subscribe();
        let wait = async {
            loop {
                changed.borrow_and_update();
                if shared.links.iter().any(Link::is_open) {
                    return Ok(());
                }
                if shared.closed.load(Ordering::Acquire) {
                    return Err(Error::Closed);
                }
                if let Some(error) = shared.last_error().filter(is_lasting) {
                    return Err(error);
                }
                if changed.changed().await.is_err() {
                    return Err(Error::Closed);
                }
            }
        };
        match timeout_at(deadline, wait).await {
            Ok(result) => result,
            Err(_) => Err(shared.unavailable()),
        }
    }

    /// Sends one request and waits for its answer; an error that the shard answers is an error.
    pub(crate) async fn call(&self, request: &Request) -> Result<Reply, Error> {
        let mut attempt = 0;
        loop {
            let answer = match self.place(request.takes_long(), |link, bytes_max| link.submit(request, bytes_max)).await
            {
                Ok(receiver) => receiver.await.unwrap_or(Err(Error::Closed)),
                Err(error) => return Err(error),
            };
            match answer {
                Ok(answer) => return reply::checked(answer),
                Err(error) => self.again(&error, request.is_repeatable(), &mut attempt).await?,
            }
        }
    }

    /// Sends requests with no others in between on one connection, and waits for all answers. Errors that the shard answers stand among them.
    pub(crate) async fn call_all(&self, requests: &[Request]) -> Result<Vec<Reply>, Error> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let repeatable = requests.iter().all(Request::is_repeatable);
        let takes_long = requests.iter().any(Request::takes_long);
        let mut attempt = 0;
        loop {
            let answer = match self.place(takes_long, |link, bytes_max| link.submit_all(requests, bytes_max)).await {
                Ok(receiver) => receiver.await.unwrap_or(Err(Error::Closed)),
                Err(error) => return Err(error),
            };
            match answer {
                Ok(replies) => return Ok(replies),
                Err(error) => self.again(&error, repeatable, &mut attempt).await?,
            }
        }
    }

    /// Sends a request on every connection and waits for all answers; fails if one of the connections is not there.
    pub(crate) async fn call_each(&self, request: &Request) -> Result<(), Error> {
        let shared = &self.shared;
        let limit_bytes = shared.config.outbox_bytes_max;
        let placed = shared.links.iter().map(|link| match link.submit(request, limit_bytes) {
            Ok(receiver) => Ok(receiver),
            Err(Refused::Down) => Err(shared.unavailable()),
            Err(Refused::Full) => Err(Error::Full { limit_bytes }),
        });
        for receiver in placed.collect::<Result<Vec<_>, _>>()? {
            reply::checked(receiver.await.unwrap_or(Err(Error::Closed))?)?;
        }
        Ok(())
    }

    /// Ends all connections. Requests that are under way fail.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        for link in &self.shared.links {
            link.set_down(&Error::Closed);
        }
        self.tasks.iter().for_each(AbortHandle::abort);
        self.shared.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn snapshot(&self) -> PoolSnapshot {
        PoolSnapshot {
            open: self.shared.links.iter().filter(|link| link.is_open()).count(),
            connects: self.shared.connects.load(Ordering::Relaxed),
            retries: self.shared.retries.load(Ordering::Relaxed),
        }
    }

    /// Puts a request onto a connection, waiting for one if there is none.
    ///
    /// The first connection gets what it can take: 64 tasks that share one have twice as much read and written by each system call as on two.
    /// The next ones get what would wait behind more than [`SHARED_BYTES_MAX`]. What takes long begins at the other end, for the shard
    /// answers nothing else on its connection meanwhile.
    async fn place<T>(
        &self,
        takes_long: bool,
        submit: impl Fn(&Link, usize) -> Result<T, Refused>,
    ) -> Result<T, Error> {
        let shared = &self.shared;
        let limit_bytes = shared.config.outbox_bytes_max;
        let mut deadline = None;
        loop {
            let mut full = false;
            for limit_bytes in [SHARED_BYTES_MAX.min(limit_bytes), limit_bytes] {
                full = false;
                for link in shared.lane(takes_long) {
                    match submit(link, limit_bytes) {
                        Ok(placed) => return Ok(placed),
                        Err(Refused::Down) => {}
                        Err(Refused::Full) => full = true,
                    }
                }
            }
            if full {
                return Err(Error::Full { limit_bytes });
            }
            // One time limit for all attempts: a connection that is made and lost in turns keeps nobody.
            let until = *deadline.get_or_insert_with(|| Instant::now() + shared.config.connect_timeout);
            if Instant::now() >= until {
                return Err(shared.unavailable());
            }
            self.ready_until(until).await?;
        }
    }

    /// Whether a failed request is to be sent again: then returns after a pause, else with the error.
    async fn again(&self, error: &Error, repeatable: bool, attempt: &mut u32) -> Result<(), Error> {
        let config = &self.shared.config;
        let may = match error {
            Error::Unavailable { .. } => true,
            Error::Lost { .. } => repeatable,
            Error::Config(_)
            | Error::Timeout { .. }
            | Error::Full { .. }
            | Error::Closed
            | Error::Server(_)
            | Error::Unexpected { .. }
            | Error::Decode(_)
            | Error::Encode(_)
            | Error::Compute(_)
            | Error::BreakerOpen => false,
        };
        if !may || *attempt >= config.retries || self.shared.closed.load(Ordering::Acquire) {
            return Err(error.clone());
        }
        let shared = &self.shared;
        let mut changed = shared.changed.subscribe();
        let closed = changed.wait_for(|_| shared.closed.load(Ordering::Acquire));
        if tokio::time::timeout(pause(config, *attempt), closed).await.is_ok() {
            return Err(Error::Closed);
        }
        shared.retries.fetch_add(1, Ordering::Relaxed);
        shared.stats.count(Counter::Retries);
        *attempt += 1;
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// The connections in the order in which they are asked.
    fn lane(&self, takes_long: bool) -> impl Iterator<Item = &Link> {
        let count = self.links.len();
        (0..count).map(move |offset| &self.links[if takes_long { count - 1 - offset } else { offset }])
    }

    fn last_error(&self) -> Option<Error> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, error: Option<Error>) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        self.changed.send_modify(|count| *count += 1);
    }

    fn unavailable(&self) -> Error {
        self.last_error().unwrap_or_else(|| Error::Unavailable {
            address: self.config.target.address.to_string(),
            cause: format!("no connection within {} ms", self.config.connect_timeout.as_millis()),
        })
    }
}

/// Whether another attempt to connect would end the same way, so that it is said at once.
fn is_lasting(error: &Error) -> bool {
    matches!(error, Error::Config(_))
        || error.code().is_some_and(|code| !matches!(code, "LOADING" | "BUSY" | "TRYAGAIN"))
}

/// Keeps one connection for as long as the client lives.
async fn keep(shared: Arc<Shared>, number: usize) {
    let Shared { config, observer, .. } = &*shared;
    let observer = observer.as_deref();
    let _keeper = Keeper { shared: &shared };
    let mut failures = 0;
    let mut is_first = true;
    loop {
        let opened = tokio::time::timeout(config.connect_timeout, link::open(config, number, observer)).await;
        let error = match opened {
            Ok(Ok(opened)) => {
                let since = Instant::now();
                shared.connects.fetch_add(1, Ordering::Relaxed);
                if !std::mem::take(&mut is_first) {
                    shared.stats.count(Counter::Reconnects);
                }
                let mut presence = Presence::new(&shared.links[number], number, observer);
                shared.note(None);
                let cause = link::drive(&mut presence, opened, config, &shared.stats).await;
                presence.end(&cause);
                tracing::warn!(address = %config.target.address, cause, "lost a connection to the shard");
                // One that ends as soon as it is made is a failure too: it must not be made again without pause.
                if since.elapsed() >= config.backoff_max {
                    failures = 0;
                }
                Error::Unavailable { address: config.target.address.to_string(), cause }
            }
            Ok(Err(error)) => error,
            Err(_) => Error::Unavailable {
                address: config.target.address.to_string(),
                cause: format!("not connected within {} ms", config.connect_timeout.as_millis()),
            },
        };
        if shared.closed.load(Ordering::Acquire) {
            return;
        }
        tracing::debug!(address = %config.target.address, %error, "not connected to the shard");
        shared.note(Some(error));
        tokio::time::sleep(pause(config, failures)).await;
        failures += 1;
    }
}

/// A task that keeps a connection. When its runtime is shut down no connection is made any more, which callers on other runtimes must learn.
struct Keeper<'a> {
    shared: &'a Shared,
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.shared.closed.store(true, Ordering::Release);
            self.shared.changed.send_modify(|count| *count += 1);
        }
    }
}

/// The pause after so many failures: doubled each time, of which half to all, by chance.
fn pause(config: &Config, failures: u32) -> Duration {
    let whole = config.backoff_min.saturating_mul(1_u32 << failures.min(20)).min(config.backoff_max);
    whole.mul_f64(fastrand::f64().mul_add(0.5, 0.5))
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("target", &self.shared.config.target).field("state", &self.snapshot()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_half_of_each_is_chance() {
        let config =
            Config::new("sutra://127.0.0.1").unwrap().backoff(Duration::from_millis(10), Duration::from_secs(2));
        let seed = fastrand::u64(..);
        fastrand::seed(seed);
        for failures in [0, 1, 2, 7, 8, 20, 21, 31, 32, u32::MAX] {
            let whole = Duration::from_millis(10 << failures.min(8)).min(Duration::from_secs(2));
            let pauses: Vec<Duration> = (0..1000).map(|_| pause(&config, failures)).collect();
            let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
            assert!(*least >= whole / 2 && *most <= whole, "seed {seed}, {failures} failures: {least:?} to {most:?}");
            assert!(*most - *least > whole / 4, "seed {seed}, {failures} failures: all about {most:?}");
        }
    }
}
