//! CLIENT TRACKING: what a connection has chosen, and the way from a change in the shard to a client's mailbox. The design is in
//! `docs/decisions/0006-tracking.md`.

use crate::clients::Client;
use crate::server::Server;
use crate::session::Session;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use sutra_shard::{Subscriber, Told};

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// The entry of this key has changed.
    Key(&'a [u8]),
    /// Anything may have changed.
    Everything,
    /// The client of this number, to which the keys were to go, is no more.
    Lost(u64),
}

/// Which of the keys that a client reads it is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reads {
    /// All.
    #[default]
    All,
    /// Those of a command behind CLIENT CACHING YES.
    OptIn,
    /// All but those of a command behind CLIENT CACHING NO.
    OptOut,
}

/// The options of CLIENT TRACKING ON.
#[derive(Debug, Default)]
pub(crate) struct Choice<'a> {
    /// Who is told instead of the client itself.
    pub(crate) target: Option<Arc<Client>>,
    /// Told of every key with a prefix, not of those that it has read.
    pub(crate) broadcast: bool,
    pub(crate) reads: Reads,
    /// Not told of changes that it makes itself.
    pub(crate) no_loop: bool,
    pub(crate) prefixes: Vec<&'a [u8]>,
}

/// What others see of a client's tracking (CLIENT LIST).
#[derive(Debug, Default)]
pub struct TrackingState {
    on: AtomicBool,
    broadcast: AtomicBool,
    broken: AtomicBool,
    target: AtomicU64,
}

impl TrackingState {
    /// Whether it is told of changes.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Whether it is told of every key with a prefix.
    #[must_use]
    pub fn is_broadcast(&self) -> bool {
        self.broadcast.load(Ordering::Relaxed)
    }

    /// Whether the client to which the keys were to go is no more.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// To whom its keys go, as CLIENT GETREDIR says: 0: to itself, -1: it is not told anything.
    #[must_use]
    pub fn redirection(&self) -> i64 {
        if self.is_on() { i64::try_from(self.target.load(Ordering::Relaxed)).unwrap_or(i64::MAX) } else { -1 }
    }

    fn set(&self, on: bool, broadcast: bool, target: Option<&Client>) {
        self.target.store(target.map_or(0, |target| target.id), Ordering::Relaxed);
        self.broadcast.store(broadcast, Ordering::Relaxed);
        self.broken.store(false, Ordering::Relaxed);
        self.on.store(on, Ordering::Relaxed);
    }
}

/// The tracking of one connection.
#[derive(Debug)]
pub struct Tracking {
    subscriber: Arc<Subscriber>,
    route: Arc<Route>,
    broadcast: bool,
    reads: Reads,
    no_loop: bool,
    prefixes: BTreeSet<Vec<u8>>,
    /// CLIENT CACHING was said, for the next command or transaction.
    pub(crate) caching: bool,
}

impl Tracking {
    /// Who is to be registered for the keys of the command that is being executed, if it reads any.
    pub(crate) fn reader(&self) -> Option<&Arc<Subscriber>> {
        let wants = match self.reads {
            Reads::All => true,
            Reads::OptIn => self.caching,
            Reads::OptOut => !self.caching,
        };
        (wants && !self.broadcast).then_some(&self.subscriber)
    }

    /// Who is not told of what this connection changes; 0: everybody is.
    pub(crate) fn author(&self) -> u64 {
        if self.no_loop { self.subscriber.id() } else { 0 }
    }

    pub(crate) fn is_broadcast(&self) -> bool {
        self.broadcast
    }

    pub(crate) fn reads(&self) -> Reads {
        self.reads
    }

    pub(crate) fn is_no_loop(&self) -> bool {
        self.no_loop
    }

    pub(crate) fn prefixes(&self) -> &BTreeSet<Vec<u8>> {
        &self.prefixes
    }
}

/// Where a subscriber's changes go.
#[derive(Debug)]
struct Route {
    client: Arc<Client>,
    target: Mutex<Option<Arc<Client>>>,
}

impl Route {
    /// Called with entries locked: copies a key, and wakes a connection if it was not woken before.
    fn deliver(&self, told: Told<'_>) {
        let change = match told {
            Told::Key(key) => Change::Key(key),
            Told::Everything => Change::Everything,
        };
        match &*self.target.lock().unwrap_or_else(PoisonError::into_inner) {
            None => self.client.post(change),
            Some(target) if !target.is_gone() => target.post(change),
            Some(target) => {
                self.client.tracking.broken.store(true, Ordering::Relaxed);
                self.client.post(Change::Lost(target.id));
            }
        }
    }
}

/// CLIENT TRACKING ON: begins, or changes the options of what has begun. The options are known to fit together.
pub(crate) fn begin(server: &Server, session: &mut Session, choice: Choice<'_>) {
    let client = &session.client;
    let tracking = session.tracking.get_or_insert_with(|| {
        let route = Arc::new(Route { client: Arc::clone(client), target: Mutex::new(None) });
        let taker = Arc::clone(&route);
        let subscriber = Subscriber::new(client.id, Box::new(move |told| taker.deliver(told)));
        Box::new(Tracking {
            subscriber,
            route,
            broadcast: false,
            reads: Reads::All,
            no_loop: false,
            prefixes: BTreeSet::new(),
            caching: false,
        })
    });
    let Choice { target, broadcast, reads, no_loop, prefixes } = choice;
    client.tracking.set(true, broadcast, target.as_deref());
    *tracking.route.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    (tracking.broadcast, tracking.reads, tracking.no_loop) = (broadcast, reads, no_loop);
    let prefixes = match (broadcast, prefixes.is_empty()) {
        (true, true) => vec![&b""[..]],
        (true, false) => prefixes,
        (false, _) => Vec::new(),
    };
    tracking.prefixes.extend(prefixes.iter().map(|prefix| prefix.to_vec()));
    server.shard.subscribe(&tracking.subscriber, &prefixes);
}

/// CLIENT TRACKING OFF, RESET, and the end of a connection.
pub(crate) fn end(server: &Server, session: &mut Session) {
    if let Some(tracking) = session.tracking.take() {
        server.shard.unsubscribe(&tracking.subscriber);
        session.client.tracking.set(false, false, None);
    }
}
