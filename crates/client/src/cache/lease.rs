//! Leases on keys of one shard: who computes what is missing, how the others wait, and how a lease is given back whatever happens.

use super::node::{Found, Node};
use crate::stats::Operation;
use crate::{Error, Reply, Request, reply};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use sutra_protocol::Frame;
use tokio::sync::Notify;

/// What a shard answered to who asked for a value or else the lease to compute it.
#[derive(Debug)]
pub(crate) enum Leased {
    /// The value.
    Hit(Fresh),
    /// The value, whose time is nearly over, and the lease to renew it.
    Renew(Fresh, Held),
    /// The lease to compute it.
    Granted(Held),
    /// Another computes, for so long at most.
    Wait(Duration),
}

/// A value that was read, and whether nothing was told of its key since it was asked for.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) found: Found,
    pub(crate) is_current: bool,
}

impl Node {
    /// Asks for the value or else a lease on its key. What is found is kept in this process. `renew_below`: a value that has less time
    /// to live than that is given with the lease to renew it, to the first who asks.
    pub(crate) async fn lease(
        self: &Arc<Node>,
        key: &[u8],
        time: Duration,
        renew_below: Option<Duration>,
    ) -> Result<Leased, Error> {
        if self.is_away() {
            return Err(Error::BreakerOpen);
        }
        let ticket = self.begin(key);
        let mut request = Request::read("CACHE.LEASE").arg(key).number(super::millis(time));
        if let Some(below) = renew_below {
            request = request.arg("REVALIDATE").float(below.as_secs_f64().max(0.001));
        }
        let request = request.arg("WITHTTL");
        let answer = self.guarded(Operation::Lease, async { read(self.client.call_tracked(request).await?) });
        let answer = answer.await.inspect_err(|error| self.note_fault(error))?;
        let held = |token| Held::new(self, key, token);
        let fresh = |found| {
            let is_current = self.is_current(ticket.as_ref());
            self.keep(ticket, key, &found);
            Fresh { found, is_current }
        };
        Ok(match answer {
            Answer::Hit(found) => Leased::Hit(fresh(found)),
            // The lease first: whatever happens next, it is given back.
            Answer::Renew(found, token) => {
                let held = held(token);
                Leased::Renew(fresh(found), held)
            }
            Answer::Granted(token) => Leased::Granted(held(token)),
            Answer::Wait(time) => Leased::Wait(time),
        })
    }
}

/// A lease that is held. It is given back in the background when it is dropped, unless it was [spent](Held::spent).
#[derive(Debug)]
#[must_use = "a lease that is dropped is given back"]
pub(crate) struct Held {
    node: Arc<Node>,
    key: Box<[u8]>,
    token: Bytes,
    is_out: bool,
}

impl Held {
    pub(crate) fn new(node: &Arc<Node>, key: &[u8], token: Bytes) -> Held {
        Held { node: Arc::clone(node), key: key.into(), token, is_out: true }
    }

    pub(crate) fn token(&self) -> &[u8] {
        &self.token
    }

    /// The write has ended the lease.
    pub(crate) fn spent(mut self) {
        self.is_out = false;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_out || self.node.is_away() {
            // A shard that is gone has ended the leases of the connections that it had.
            return;
        }
        // Without a runtime nobody can send it; the shard ends it with its connection or its time.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (node, token) = (Arc::clone(&self.node), self.token.clone());
            let request = Request::read("CACHE.RELEASE").arg(&self.key).arg(token);
            runtime.spawn(async move {
                // If it fails, the lease ends with its time.
                drop(node.call(Operation::Lease, request).await);
            });
        }
    }
}

/// Who waits for a change of a key that another computes: woken when the shard says that it has changed.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// So that pushes cost one load while nobody waits.
    count: AtomicUsize,
    by_key: Mutex<HashMap<Box<[u8]>, Arc<Notify>>>,
}

/// One who waits, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiter {
    waiting: Arc<Waiting>,
    key: Box<[u8]>,
    notify: Arc<Notify>,
}

impl Waiting {
    /// To be had before the key is read, so that no change is missed. Of two who wait for one key only the last is woken: flights are one for
    /// each key.
    pub(crate) fn wait_for(self: &Arc<Waiting>, key: &[u8]) -> Waiter {
        let notify = Arc::new(Notify::new());
        self.count.fetch_add(1, Ordering::AcqRel);
        self.by_key().insert(key.into(), Arc::clone(&notify));
        Waiter { waiting: Arc::clone(self), key: key.into(), notify }
    }

    /// The key has changed.
    pub(crate) fn changed(&self, key: &[u8]) {
        if self.count.load(Ordering::Acquire) > 0
            && let Some(notify) = self.by_key().get(key)
        {
            notify.notify_one();
        }
    }

    /// Everything may have changed.
    pub(crate) fn all_changed(&self) {
        if self.count.load(Ordering::Acquire) > 0 {
            self.by_key().values().for_each(|notify| notify.notify_one());
        }
    }

    fn by_key(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Arc<Notify>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Until the key changes, and no longer than this.
    pub(crate) async fn sleep(&self, longest: Duration) {
        drop(tokio::time::timeout(longest, self.notify.notified()).await);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut by_key = self.waiting.by_key();
        if by_key.get(&self.key).is_some_and(|notify| Arc::ptr_eq(notify, &self.notify)) {
            by_key.remove(&self.key);
        }
        self.waiting.count.fetch_sub(1, Ordering::AcqRel);
    }
}

enum Answer {
    Hit(Found),
    Renew(Found, Bytes),
    Granted(Bytes),
    Wait(Duration),
}

fn read(answer: Reply) -> Result<Answer, Error> {
    let mut parts = reply::array(answer)?.into_iter();
    let mut next = || parts.next().unwrap_or(Frame::Null);
    let kind = reply::bytes(next())?;
    match &kind[..] {
        b"HIT" => Ok(Answer::Hit(found(next(), next())?)),
        b"REVALIDATE" => {
            let (value, token, ttl) = (next(), reply::bytes(next())?, next());
            Ok(Answer::Renew(found(value, ttl)?, token))
        }
        b"LEASE" => Ok(Answer::Granted(reply::bytes(next())?)),
        b"WAIT" => Ok(Answer::Wait(Duration::from_millis(reply::count(next())?))),
        _ => Err(reply::unexpected("HIT, REVALIDATE, LEASE or WAIT", &Frame::Bulk(kind))),
    }
}

fn found(value: Reply, ttl: Reply) -> Result<Found, Error> {
    let ttl = u64::try_from(reply::integer(ttl)?).ok();
    let expires_at = ttl.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
    Ok(Found { value: reply::bytes(value)?, expires_at, compute_time: None })
}
