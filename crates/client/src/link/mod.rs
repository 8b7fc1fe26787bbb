//! One connection and the requests that are under way on it.
//!
//! Callers put encoded requests and a place for the answer into the **outbox**, in one order under one short lock; the **driver**, one task, takes
//! them all at once, writes, reads, and hands answers out in the order of the requests. Only the driver touches the socket, so a caller that
//! goes away (a dropped future, a timeout) leaves nothing half done: its answer arrives and is dropped.

mod driver;
mod handshake;
mod presence;
mod stream;
#[cfg(feature = "tls")]
pub(crate) mod tls;

pub(crate) use driver::drive;
pub(crate) use handshake::open;
pub(crate) use presence::Presence;
pub(crate) use stream::Stream;

use crate::{Error, Reply, Request};
use bytes::Bytes;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What a connection tells of itself, in the order in which it happens on the wire: `connected` and `lost` by turns. Called by the driver: must not
/// block.
pub(crate) trait Observer: Send + Sync {
    /// Connection number so-and-so can be used; its tracking is in force.
    fn connected(&self, number: usize);
    /// It has ended, or gives no sign of life; what is pushed from now on is not known.
    fn lost(&self, number: usize, cause: &str);
    /// The shard says that these keys have changed.
    fn changed(&self, keys: &mut dyn Iterator<Item = &Bytes>);
    /// The shard says that any key may have changed.
    fn all_changed(&self);
}

/// One connection, or the place of one: it outlives what happens to the socket.
#[derive(Debug, Default)]
pub(crate) struct Link {
    outbox: Mutex<Outbox>,
}

#[derive(Debug, Default)]
struct Outbox {
    open: bool,
    bytes: Vec<u8>,
    waiting: Vec<Waiter>,
    /// The driver, if it sleeps.
    sleeper: Option<Waker>,
}

/// What [`Link::submit`] could not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no connection now.
    Down,
    /// Too much waits.
    Full,
}

/// Who waits for an answer.
#[derive(Debug)]
struct Waiter {
    sink: Sink,
    /// How long the answer may take, if not as long as every other.
    timeout: Option<Duration>,
    /// Since when, if that was before the driver took it: it had to wait to be sent.
    since: Option<Instant>,
}

#[derive(Debug)]
enum Sink {
    One(oneshot::Sender<Result<Reply, Error>>),
    Many {
        left: usize,
        replies: Vec<Reply>,
        sender: oneshot::Sender<Result<Vec<Reply>, Error>>,
    },
    /// Answers that are awaited no longer, or that only the driver asked for. They keep their place.
    Nobody {
        left: usize,
    },
}

impl Link {
    /// Sends a request as soon as the driver gets to it.
    pub(crate) fn submit(
        &self,
        request: &Request,
        bytes_max: usize,
    ) -> Result<oneshot::Receiver<Result<Reply, Error>>, Refused> {
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter { sink: Sink::One(sender), timeout: request.own_timeout(), since: None };
        self.put(std::slice::from_ref(request), waiter, bytes_max)?;
        Ok(receiver)
    }

    /// Sends requests with no others in between.
    pub(crate) fn submit_all(
        &self,
        requests: &[Request],
        bytes_max: usize,
    ) -> Result<oneshot::Receiver<Result<Vec<Reply>, Error>>, Refused> {
        let (sender, receiver) = oneshot::channel();
        let timeout = requests.iter().filter_map(Request::own_timeout).max();
        let sink = Sink::Many { left: requests.len(), replies: Vec::with_capacity(requests.len()), sender };
        self.put(requests, Waiter { sink, timeout, since: None }, bytes_max)?;
        Ok(receiver)
    }

    fn put(&self, requests: &[Request], waiter: Waiter, bytes_max: usize) -> Result<(), Refused> {
        let sleeper = {
            let mut outbox = self.lock();
            if !outbox.open {
                return Err(Refused::Down);
            }
            let more: usize = requests.iter().map(Request::len_bytes).sum();
            // A request that is larger than the limit by itself may go alone.
            if !outbox.bytes.is_empty() && outbox.bytes.len() + more > bytes_max {
                return Err(Refused::Full);
            }
            for request in requests {
                request.write(&mut outbox.bytes);
            }
            outbox.waiting.push(waiter);
            outbox.sleeper.take()
        };
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        Ok(())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().open
    }

    /// From now on requests are taken.
    pub(crate) fn set_open(&self) {
        self.lock().open = true;
    }

    /// From now on requests are refused; those that were not yet taken by the driver are failed, as not sent.
    pub(crate) fn set_down(&self, error: &Error) {
        let waiting = {
            let mut outbox = self.lock();
            outbox.open = false;
            outbox.bytes = Vec::new();
            outbox.sleeper = None;
            std::mem::take(&mut outbox.waiting)
        };
        for waiter in waiting {
            waiter.fail(error.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    fn fail(self, error: Error) {
        // Whoever no longer waits needs no telling.
        match self.sink {
            Sink::One(sender) => drop(sender.send(Err(error))),
            Sink::Many { sender, .. } => drop(sender.send(Err(error))),
            Sink::Nobody { .. } => {}
        }
    }

    /// Takes out who waits; the place in the order of answers stays.
    fn give_up(&mut self) -> Waiter {
        let left = match &self.sink {
            Sink::One(_) => 1,
            Sink::Many { left, .. } | Sink::Nobody { left } => *left,
        };
        let nobody = Waiter { sink: Sink::Nobody { left }, timeout: self.timeout, since: self.since };
        std::mem::replace(self, nobody)
    }
}
