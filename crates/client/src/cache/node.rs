//! One shard of a cache, with all that stands between it and the application: the tier in this process, the breaker, the stand-in for when it is
//! away.

use super::debts::{Debts, Invalidation};
use super::lease::Waiting;
use super::rebalance::{self, Swept};
use super::refresh::ComputeTimes;
use super::scatter::lacks_space;
use super::settings::CacheBuilder;
use crate::breaker::Breaker;
use crate::fallback::{Fallback, Owed};
use crate::fault::Fault;
use crate::l1::{About, Entry, L1, Ticket};
use crate::link::Observer;
use crate::rendezvous::Rendezvous;
use crate::stats::{Counter, Histogram, Operation, Stats};
use crate::{Client, Config, Error, Reply, Request, Tracking, codec, reply};
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use sutra_protocol::Frame;
use tracing::Instrument;

/// Keys that are deleted by one command when a shard is back.
const DELETE_KEYS_MAX: usize = 500;
/// How long it is waited before a shard that is away is asked again.
const RETURN_PAUSE: Duration = Duration::from_millis(100);

/// One shard of a cache.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) client: Client,
    pub(crate) l1: Option<Arc<L1>>,
    pub(crate) breaker: Breaker,
    pub(crate) fallback: Fallback,
    pub(crate) stats: Arc<Stats>,
    /// How long its calls took, those that failed among them.
    pub(crate) latency: Histogram,
    pub(crate) waiting: Arc<Waiting>,
    pub(crate) compute_times: Arc<ComputeTimes>,
    l1_ttl_max: Option<Duration>,
    /// Its lock is held whenever `away` changes, so that a debt that was noted is paid before the shard is read.
    debts: Mutex<Debts>,
    /// From the first fault until what was changed meanwhile is deleted in the shard: until then it is neither read nor written.
    away: AtomicBool,
    /// Its last debts are being paid. Writes are sent already: each would be a new debt otherwise, and under steady writes there would be no end of
    /// them. If a debt for the same key is paid behind it, the entry is gone, which is no harm.
    returning: AtomicBool,
}

/// What a read of one key found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) value: Bytes,
    /// When it ends, as far as is known.
    pub(crate) expires_at: Option<Instant>,
    /// How long it took to compute, if this process computed it.
    pub(crate) compute_time: Option<Duration>,
}

impl Found {
    /// It stands for a value that is known not to exist.
    pub(crate) fn is_negative(&self) -> bool {
        codec::is_negative(&self.value)
    }
}

impl From<Entry> for Found {
    fn from(entry: Entry) -> Found {
        Found { value: entry.value, expires_at: entry.about.expires_at, compute_time: entry.about.compute_time }
    }
}

impl Node {
    pub(crate) fn new(
        name: &str,
        config: Config,
        builder: &CacheBuilder,
        stats: &Arc<Stats>,
        compute_times: &Arc<ComputeTimes>,
    ) -> Arc<Node> {
        let waiting = Arc::new(Waiting::default());
        let l1 = builder.l1.map(|settings| Arc::new(L1::new(settings)));
        let broadcast = matches!(builder.tracking, Tracking::Broadcast { .. });
        if let (Some(l1), true) = (&l1, broadcast) {
            l1.suspend();
        }
        let observer = l1.as_ref().map(|l1| {
            let (l1, stats, waiting) = (Arc::clone(l1), Arc::clone(stats), Arc::clone(&waiting));
            Arc::new(Watcher { l1, stats, waiting, broadcast }) as Arc<dyn Observer>
        });
        let client = Client::observed(config.tracking(builder.tracking.clone()), observer, Arc::clone(stats));
        Arc::new(Node {
            name: name.to_owned(),
            client,
            l1,
            breaker: Breaker::new(builder.breaker, fastrand::u64(..)),
            fallback: Fallback::new(builder.fallback),
            stats: Arc::clone(stats),
            latency: Histogram::new(),
            waiting,
            compute_times: Arc::clone(compute_times),
            l1_ttl_max: builder.l1_ttl_max,
            debts: Mutex::default(),
            away: AtomicBool::new(false),
            returning: AtomicBool::new(false),
        })
    }

    /// Whether the shard is neither read nor written at present.
    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }

    // ---- the tier in this process ----

    /// The value, if it is in this process. Counts a hit, not a miss.
    pub(crate) fn look(&self, key: &[u8], now: Instant) -> Option<Found> {
        let (found, counter) = match self.l1.as_ref().and_then(|l1| l1.get(key, now)) {
            Some(entry) => (entry, Counter::L1Hits),
            None => (self.fallback.get(key, now)?, Counter::FallbackHits),
        };
        self.stats.count(counter);
        Some(found.into())
    }

    /// To be had before a read is sent whose answer is to be kept.
    pub(crate) fn begin(&self, key: &[u8]) -> Option<Ticket> {
        self.l1.as_ref().map(|l1| l1.begin(key))
    }

    /// Whether nothing was told of the key since its ticket was taken: what was read since is not older than anything that is known.
    pub(crate) fn is_current(&self, ticket: Option<&Ticket>) -> bool {
        self.l1.as_ref().zip(ticket).is_none_or(|(l1, ticket)| l1.is_current(ticket))
    }

    /// Keeps what a tracked read answered.
    pub(crate) fn keep(&self, ticket: Option<Ticket>, key: &[u8], found: &Found) {
        if let (Some(l1), Some(ticket)) = (&self.l1, ticket) {
            let ticket = if l1.planted.is(Fault::BegunLate) { l1.begin(key) } else { ticket };
            let longest = self.l1_ttl_max.map(|ttl| Instant::now() + ttl);
            let expires_at = match (found.expires_at, longest) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            let compute_time = found.compute_time.or_else(|| self.compute_times.of(key));
            let about = About { expires_at, compute_time, negative: codec::is_negative(&found.value) };
            l1.insert(ticket, key, &found.value, about);
        }
    }

    /// A guard that forgets the key in this process when a write of it has ended, however it ended.
    pub(crate) fn forgetting<'a>(&'a self, key: &'a [u8]) -> Forgetting<'a> {
        Forgetting { node: self, key }
    }

    // ---- the shard ----

    /// Carries out a call on the shard, unless it has failed lately; counts how it went.
    pub(crate) async fn guarded<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let permit = match self.breaker.ask(began) {
            Ok(permit) => permit,
            Err(_) => {
                self.stats.failed(&Error::BreakerOpen);
                return Err(Error::BreakerOpen);
            }
        };
        let span = tracing::debug_span!("cache call", shard = self.name, operation = operation.name());
        let result = call.instrument(span).await;
        let now = Instant::now();
        match &result {
            Err(error) if error.is_fault() => {
                permit.failed(now);
                self.stats.failed(error);
            }
            Err(error) => {
                permit.succeeded(now);
                self.stats.failed(error);
            }
            Ok(_) => permit.succeeded(now),
        }
        let took = now.saturating_duration_since(began);
        self.stats.took(operation, took);
        self.latency.record(took);
        result
    }

    /// Sends one command.
    pub(crate) async fn call(&self, operation: Operation, request: Request) -> Result<Reply, Error> {
        if self.is_away() {
            return Err(Error::BreakerOpen);
        }
        self.guarded(operation, self.client.call(request)).await
    }

    /// Reads the key from the shard, and keeps what it finds in this process. Counts a hit or a miss.
    pub(crate) async fn fetch(self: &Arc<Node>, key: &[u8]) -> Result<Option<Found>, Error> {
        if self.is_away() {
            return Ok(None);
        }
        let ticket = self.begin(key);
        let request = Request::read("CACHE.GET").arg(key).arg("WITHTTL");
        let answer = self.guarded(Operation::Get, async { value_and_ttl(self.client.call_tracked(request).await?) });
        let found = answer.await.inspect_err(|error| self.note_fault(error))?;
        self.stats.count(if found.is_some() { Counter::L2Hits } else { Counter::Misses });
        if let Some(found) = &found {
            self.keep(ticket, key, found);
        }
        Ok(found)
    }

    /// Reads keys from the shard in one round trip, as [`Node::fetch`] does.
    pub(crate) async fn fetch_all(self: &Arc<Node>, keys: &[&[u8]]) -> Result<Vec<Option<Found>>, Error> {
        if self.is_away() {
            return Ok(vec![None; keys.len()]);
        }
        let tickets: Vec<_> = keys.iter().map(|key| self.begin(key)).collect();
        let requests: Vec<Request> =
            keys.iter().map(|key| Request::read("CACHE.GET").arg(key).arg("WITHTTL")).collect();
        let answers = self.guarded(Operation::GetMany, async {
            let replies = self.client.pipeline_tracked(&requests).await?;
            replies.into_iter().map(|reply| reply.and_then(value_and_ttl)).collect::<Result<Vec<_>, _>>()
        });
        let found = answers.await.inspect_err(|error| self.note_fault(error))?;
        for ((ticket, key), found) in tickets.into_iter().zip(keys).zip(&found) {
            self.stats.count(if found.is_some() { Counter::L2Hits } else { Counter::Misses });
            if let Some(found) = found {
                self.keep(ticket, key, found);
            }
        }
        Ok(found)
    }

    /// Sends a command that changes these keys. If the shard is away or fails, the keys are deleted in it before it is read again, so that
    /// what was to be replaced does not come back; the error is returned nevertheless.
    pub(crate) async fn change(
        self: &Arc<Node>,
        operation: Operation,
        keys: &[&[u8]],
        request: Request,
    ) -> Result<Reply, Error> {
        let _forgetting: Vec<_> = keys.iter().map(|key| self.forgetting(key)).collect();
        let is_sent = self.fallback.outage().is_none() && (!self.is_away() || self.returning.load(Ordering::Acquire));
        let result =
            if is_sent { self.guarded(operation, self.client.call(request)).await } else { Err(Error::BreakerOpen) };
        if let Err(error) = &result
            && error.is_fault()
        {
            if let Some(code) = error.code() {
                tracing::debug!(code, "the shard refused a write; what was there before is deleted");
            }
            self.owe(Owed::Keys(keys.iter().map(|key| key.to_vec()).collect()));
        }
        result
    }

    // ---- when it is away ----

    /// Looks whether a failed read means that the shard is away.
    pub(crate) fn note_fault(self: &Arc<Node>, error: &Error) {
        if matches!(error, Error::Unavailable { .. } | Error::Lost { .. } | Error::BreakerOpen) {
            self.leave();
        }
    }

    /// These are to be deleted in the shard before it is read again.
    pub(crate) fn owe(self: &Arc<Node>, owed: Owed) {
        self.fallback.owe(owed);
        self.leave();
    }

    /// This invalidation is to be carried out by the shard before it is read again.
    pub(crate) fn owe_invalidation(self: &Arc<Node>, request: Request, space: Option<&str>) {
        {
            let mut debts = self.debts();
            if let Some(owed) = debts.invalidation(request, space) {
                self.fallback.owe(owed);
            }
        }
        // Which of the values that were computed meanwhile are meant is not known here.
        self.fallback.forget();
        self.leave();
    }

    /// Every entry that these routes do not give to the shard is to be deleted in it before it is read again.
    pub(crate) fn owe_sweep(self: &Arc<Node>, routes: Arc<Rendezvous>) {
        self.debts().sweeps.push(routes);
        self.leave();
    }

    /// As [`Node::owe_sweep`], for a shard that nobody knows of yet and that is to stay away until [`Node::keep_returning`] was called.
    pub(crate) fn begin_away(&self, routes: Option<Arc<Rendezvous>>) {
        let mut debts = self.debts();
        debts.sweeps.extend(routes);
        self.fallback.begin();
        self.away.store(true, Ordering::Release);
    }

    /// The shard is away from now on, until [`Node::come_back`] has ended.
    fn leave(self: &Arc<Node>) {
        let was_away = {
            let _debts = self.debts();
            let was_away = self.away.swap(true, Ordering::AcqRel);
            // In this order: who puts something into the stand-in finds the shard away when it reads next.
            self.fallback.begin();
            was_away
        };
        if !was_away {
            tracing::warn!(shard = self.name, "the shard is away; going on without it");
            self.keep_returning();
        }
    }

    /// Asks the shard in the background whether it is there, until it is or nobody uses it any more.
    pub(crate) fn keep_returning(self: &Arc<Node>) {
        let node = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(node) = node.upgrade() {
                if node.come_back().await {
                    return;
                }
                drop(node);
                tokio::time::sleep(RETURN_PAUSE).await;
            }
        });
    }

    /// Sees whether the shard is there, tells it what it was not told, and only then lets it be used. Whether it may be.
    pub(crate) async fn come_back(self: &Arc<Node>) -> bool {
        let is_there = self.guarded(Operation::Other, async {
            self.client.ready().await?;
            self.client.call(Request::read("PING")).await
        });
        if is_there.await.is_err() {
            return false;
        }
        self.returning.store(true, Ordering::Release);
        let is_back = loop {
            if !self.settle().await {
                break false;
            }
            if self.is_back() {
                break true;
            }
        };
        self.returning.store(false, Ordering::Release);
        if is_back {
            tracing::info!(shard = self.name, "the shard is back");
        }
        is_back
    }

    /// Lets the shard be used, unless something is owed.
    fn is_back(&self) -> bool {
        let debts = self.debts();
        // Somebody may have met a fault since the last payment, which began an outage anew, or have noted something.
        let owed = self.fallback.end();
        let is_back = owed.is_nothing() && debts.is_empty();
        if is_back {
            if let Some(l1) = &self.l1 {
                l1.invalidate_all();
            }
            self.away.store(false, Ordering::Release);
        } else {
            self.fallback.owe(owed);
        }
        is_back
    }

    /// Sweeps the shard as is owed, before anything else that is. `None`: that failed, and is still owed.
    pub(crate) async fn sweep_first(&self) -> Option<Swept> {
        let mut owed = self.debts().take_sweeps();
        let mut swept = Swept::default();
        if let Err(error) = self.pay_debts(&mut owed, &mut swept).await {
            tracing::debug!(shard = self.name, %error, "the shard could not be swept");
            self.debts().sweeps.append(&mut owed.sweeps);
            return None;
        }
        Some(swept)
    }

    /// Tells the shard what it was not told. Whether that succeeded; what did not is still owed.
    async fn settle(&self) -> bool {
        loop {
            let owed = self.fallback.end();
            let mut debts = std::mem::take(&mut *self.debts());
            if owed.is_nothing() && debts.is_empty() {
                return true;
            }
            let paid = match self.pay(&owed).await {
                Ok(()) => self.pay_debts(&mut debts, &mut Swept::default()).await,
                Err(error) => {
                    self.fallback.owe(owed);
                    Err(error)
                }
            };
            if let Err(error) = paid {
                tracing::debug!(shard = self.name, %error, "the shard could not be told what has changed");
                if let Some(owed) = self.debts().take_back(debts) {
                    self.fallback.owe(owed);
                }
                self.fallback.begin();
                return false;
            }
        }
    }

    async fn pay(&self, owed: &Owed) -> Result<(), Error> {
        match owed {
            Owed::Keys(keys) => self.unlink(keys).await.map(drop),
            Owed::Everything => reply::done(self.client.call(Request::read("FLUSHDB").arg("ASYNC")).await?),
        }
    }

    /// What is paid is taken out.
    async fn pay_debts(&self, debts: &mut Debts, swept: &mut Swept) -> Result<(), Error> {
        while let Some(Invalidation { request, space }) = debts.invalidations.first() {
            match self.client.call(request.clone()).await {
                Ok(_) => {}
                Err(error) if error.is_fault() => return Err(error),
                Err(error) if lacks_space(&self.client, &error, space.as_deref()).await => {}
                Err(error) => {
                    // It was refused to nobody else, or it would not be owed. Nobody knows what it has left behind.
                    tracing::warn!(shard = self.name, %error, "the shard refuses an invalidation: all it has is deleted");
                    self.fallback.owe(Owed::Everything);
                }
            }
            debts.invalidations.remove(0);
        }
        while let Some(routes) = debts.sweeps.first() {
            *swept += rebalance::sweep(self, routes).await?;
            debts.sweeps.remove(0);
        }
        Ok(())
    }

    /// Deletes keys in the shard, whether it is away or not; how many there were.
    pub(crate) async fn unlink<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<u64, Error> {
        let mut count = 0;
        for keys in keys.chunks(DELETE_KEYS_MAX) {
            count += reply::count(self.client.call(Request::read("UNLINK").args(keys)).await?)?;
        }
        Ok(count)
    }

    fn debts(&self) -> MutexGuard<'_, Debts> {
        self.debts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a key in this process when it is dropped.
#[derive(Debug)]
pub(crate) struct Forgetting<'a> {
    node: &'a Node,
    key: &'a [u8],
}

impl Drop for Forgetting<'_> {
    fn drop(&mut self) {
        if let Some(l1) = &self.node.l1 {
            l1.invalidate(self.key);
        }
    }
}

/// Keeps the tier in this process to what the shard says.
struct Watcher {
    l1: Arc<L1>,
    stats: Arc<Stats>,
    waiting: Arc<Waiting>,
    /// One connection is told everything, and without it nothing is known.
    broadcast: bool,
}

impl Observer for Watcher {
    fn connected(&self, number: usize) {
        if self.broadcast && number == 0 {
            self.l1.resume();
        }
    }

    fn lost(&self, number: usize, _cause: &str) {
        if self.l1.planted.is(Fault::LossIgnored) {
            return;
        }
        if !self.broadcast {
            // Each connection is told of what was read through it; which of the entries those are is not kept.
            self.l1.invalidate_all();
        } else if number == 0 {
            self.l1.suspend();
        }
    }

    fn changed(&self, keys: &mut dyn Iterator<Item = &Bytes>) {
        for key in keys {
            self.stats.count(Counter::Pushes);
            if !self.l1.planted.is(Fault::ChangesIgnored) {
                self.l1.invalidate(key);
            }
            self.waiting.changed(key);
        }
    }

    fn all_changed(&self) {
        self.stats.count(Counter::Pushes);
        self.l1.invalidate_all();
        self.waiting.all_changed();
    }
}

/// The answer of CACHE.GET ... WITHTTL.
pub(super) fn value_and_ttl(reply: Reply) -> Result<Option<Found>, Error> {
    if let Frame::Null = reply {
        return Ok(None);
    }
    let mut parts = reply::array(reply)?.into_iter();
    let value = reply::bytes(parts.next().unwrap_or(Frame::Null))?;
    let ttl_ms = reply::integer(parts.next().unwrap_or(Frame::Null))?;
    let expires_at = u64::try_from(ttl_ms).ok().and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
    Ok(Some(Found { value, expires_at, compute_time: None }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CacheBuilder;

    // Such an outage could last for ever: reads and writes were served from the stand-in, and the shard was never told.
    #[tokio::test]
    async fn an_outage_that_begins_while_the_shard_comes_back_ends_with_it() {
        let config = Config::new("sutra://127.0.0.1:1").unwrap();
        let builder = CacheBuilder::of(config.clone());
        let node = Node::new("shard", config, &builder, &Arc::default(), &Arc::default());
        node.leave();
        // The shard has answered, and nothing was owed; then other tasks meet a fault.
        assert!(node.fallback.end().is_nothing());
        node.owe(Owed::Keys(vec![b"k".to_vec()]));
        assert!(!node.is_back() && node.is_away(), "a key is owed");
        assert!(!node.fallback.end().is_nothing());
        node.note_fault(&Error::BreakerOpen);
        assert!(node.is_back() && !node.is_away() && node.fallback.outage().is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_shard_comes_back_under_steady_writes() {
        let shard = sutra_cache::embedded::Embedded::start(&[]).unwrap();
        let config = Config::new(&shard.url()).unwrap();
        let node = Node::new("shard", config.clone(), &CacheBuilder::of(config), &Arc::default(), &Arc::default());
        node.begin_away(None);
        let writers: Vec<_> = (0..256)
            .map(|writer| {
                let node = Arc::clone(&node);
                tokio::spawn(async move {
                    let key = format!("k{writer}");
                    loop {
                        let request = Request::new("SET").arg(&key).arg("v");
                        drop(node.change(Operation::Set, &[key.as_bytes()], request).await);
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        let is_back = tokio::time::timeout(Duration::from_secs(20), node.come_back()).await;
        writers.iter().for_each(tokio::task::JoinHandle::abort);
        assert_eq!(is_back, Ok(true), "there is an end of debts");
    }
}
