//! The connected clients, as everyone may see them: for CLIENT LIST, CLIENT KILL, MONITOR, limits and shutdown.
//!
//! A connection owns its session; what others need to know of it stands here in atomics that it updates once per batch.
//! Others reach a connection by raising a [`Signal`] and waking it. Lock order: the registry before a client's own locks, and
//! neither is held while entries are locked by the same thread for writing to a socket.

use crate::mailbox::Mailbox;
use crate::statistics::Worker;
use crate::tracking::{Change, TrackingState};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Bytes of pushed data (MONITOR, CLIENT TRACKING) that may wait for a client that does not read; beyond them it is closed.
pub const MAILBOX_BYTES_MAX: usize = 32 << 20;

/// What others ask of a connection; bits of one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(u32);

impl Signal {
    /// Close at once.
    pub const KILL: Signal = Signal(1);
    /// There is something in the mailbox.
    pub const MAIL: Signal = Signal(1 << 1);
    /// The server stops: finish what was begun, send what waits, close.
    pub const STOP: Signal = Signal(1 << 2);
}

/// What CLIENT LIST shows and CLIENT KILL chooses by.
#[derive(Debug)]
pub struct Client {
    /// A number that no other client of this process had or will have.
    pub id: u64,
    /// The peer's address.
    pub address: SocketAddr,
    /// Ours.
    pub local_address: SocketAddr,
    /// When it came, in Unix milliseconds.
    pub connected_ms: u64,
    /// When it last sent something.
    pub active_ms: AtomicU64,
    /// The selected database.
    pub db: AtomicU8,
    /// 2 or 3.
    pub protocol: AtomicU8,
    /// Index in the table of the last command; `u32::MAX`: none yet.
    pub command: AtomicU32,
    /// Commands queued since MULTI, plus one; 0: no MULTI.
    pub queued: AtomicU32,
    /// Keys watched.
    pub watched: AtomicU32,
    /// Bytes received that are not yet executed.
    pub input_bytes: AtomicUsize,
    /// Bytes of replies that wait to be sent.
    pub output_bytes: AtomicUsize,
    /// Bytes of memory in its buffers, as counted against `maxmemory-clients`.
    pub memory_bytes: AtomicUsize,
    /// Since when its output has been over the soft limit, in Unix milliseconds; 0: it is not.
    pub over_soft_limit_ms: AtomicU64,
    /// CLIENT NO-EVICT: not closed to save memory.
    pub no_evict: AtomicBool,
    /// CLIENT NO-TOUCH: its reads do not refresh recency.
    pub no_touch: AtomicBool,
    /// It watches all commands.
    pub monitor: AtomicBool,
    /// Whether it is told of changes (CLIENT TRACKING).
    pub tracking: TrackingState,
    /// The counters of its thread.
    pub worker: Arc<Worker>,
    names: Mutex<Names>,
    signals: AtomicU32,
    waker: Mutex<Option<Waker>>,
    mailbox: Mutex<Mailbox>,
    /// Of the mailbox.
    mail_bytes: AtomicUsize,
    gone: AtomicBool,
}

/// What a client says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// CLIENT SETNAME.
    pub name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub library: String,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: String,
    /// The user it authenticated as.
    pub user: String,
}

impl Client {
    /// The names it gave.
    #[must_use]
    pub fn names(&self) -> Names {
        lock(&self.names).clone()
    }

    /// Changes the names.
    pub fn rename(&self, change: impl FnOnce(&mut Names)) {
        change(&mut lock(&self.names));
    }

    /// Raises a signal and wakes the connection.
    pub fn signal(&self, signal: Signal) {
        self.signals.fetch_or(signal.0, Ordering::Release);
        self.wake();
    }

    /// Wakes the connection, for it to look again at whatever it waits for.
    pub fn wake(&self) {
        if let Some(waker) = lock(&self.waker).as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Whether the signal is raised.
    #[must_use]
    pub fn is_signalled(&self, signal: Signal) -> bool {
        self.signals.load(Ordering::Acquire) & signal.0 != 0
    }

    /// Whether any signal is raised.
    #[must_use]
    pub fn is_any_signalled(&self) -> bool {
        self.signals.load(Ordering::Relaxed) != 0
    }

    /// Names the task to wake. A connection is one task from beginning to end, so once is enough.
    pub fn wake_with(&self, waker: &Waker) {
        *lock(&self.waker) = Some(waker.clone());
    }

    /// Puts bytes that nobody asked for in front of the client's next replies; a client that lets them pile up is closed.
    pub fn push(&self, bytes: &[u8]) {
        self.put(bytes.len(), |mailbox| mailbox.add_lines(bytes));
    }

    /// Tells it of a change, behind the reply that is being made and in front of the next. Never waits; the same bound holds.
    pub(crate) fn post(&self, change: Change<'_>) {
        self.put(0, |mailbox| mailbox.add(change));
    }

    fn put(&self, bytes: usize, add: impl FnOnce(&mut Mailbox)) {
        let mut mailbox = lock(&self.mailbox);
        if self.is_gone() {
            return;
        }
        let (was_empty, before) = (mailbox.is_empty(), mailbox.len_bytes());
        if before + bytes <= MAILBOX_BYTES_MAX {
            add(&mut mailbox);
        }
        let after = mailbox.len_bytes();
        self.account_mail(after.wrapping_sub(before));
        drop(mailbox);
        if after.max(before + bytes) > MAILBOX_BYTES_MAX {
            self.signal(Signal::KILL);
        } else if was_empty {
            // Whoever takes the mail takes what is added until then.
            self.signal(Signal::MAIL);
        }
    }

    /// Takes what was pushed.
    pub(crate) fn take_mail(&self) -> Mailbox {
        self.signals.fetch_and(!Signal::MAIL.0, Ordering::Acquire);
        let mut mailbox = lock(&self.mailbox);
        let mail = std::mem::take(&mut *mailbox);
        self.account_mail(mail.len_bytes().wrapping_neg());
        mail
    }

    fn account_mail(&self, grown: usize) {
        if grown != 0 {
            self.mail_bytes.fetch_add(grown, Ordering::Relaxed);
            self.worker.mail_bytes.fetch_add(grown as u64, Ordering::Relaxed);
        }
    }

    /// Bytes that wait in its mailbox.
    #[must_use]
    pub fn mail_bytes(&self) -> usize {
        self.mail_bytes.load(Ordering::Relaxed)
    }

    /// Whether its connection has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Its connection has ended: nothing more is put into its mailbox.
    pub(crate) fn leave(&self) {
        self.gone.store(true, Ordering::Relaxed);
        drop(self.take_mail());
    }

    /// Notes how much memory its buffers take; only its own connection may call this.
    pub fn set_memory(&self, bytes: usize) {
        let before = self.memory_bytes.load(Ordering::Relaxed);
        if before != bytes {
            self.memory_bytes.store(bytes, Ordering::Relaxed);
            // The worker's sum has one writer: the thread that serves this client.
            self.worker.buffer_bytes.add((bytes as u64).wrapping_sub(before as u64));
        }
    }
}

/// All clients.
#[derive(Debug, Default)]
pub struct Clients {
    all: Mutex<BTreeMap<u64, Arc<Client>>>,
    count: AtomicUsize,
    next_id: AtomicU64,
}

impl Clients {
    /// A client that came now. It is not yet registered: see [`Clients::admit`].
    #[must_use]
    pub fn introduce(
        &self,
        address: SocketAddr,
        local_address: SocketAddr,
        now_ms: u64,
        worker: Arc<Worker>,
    ) -> Arc<Client> {
        Arc::new(Client {
            id: self.next_id.fetch_add(1, Ordering::Relaxed) + 1,
            address,
            local_address,
            connected_ms: now_ms,
            active_ms: AtomicU64::new(now_ms),
            db: AtomicU8::new(0),
            protocol: AtomicU8::new(2),
            command: AtomicU32::new(u32::MAX),
            queued: AtomicU32::new(0),
            watched: AtomicU32::new(0),
            input_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            memory_bytes: AtomicUsize::new(0),
            over_soft_limit_ms: AtomicU64::new(0),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            monitor: AtomicBool::new(false),
            tracking: TrackingState::default(),
            worker,
            names: Mutex::new(Names { user: "default".to_owned(), ..Names::default() }),
            signals: AtomicU32::new(0),
            waker: Mutex::new(None),
            mailbox: Mutex::default(),
            mail_bytes: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
        })
    }

    /// Registers the client unless there are `clients_max` already; whether it is in.
    pub fn admit(&self, client: &Arc<Client>, clients_max: usize) -> bool {
        let mut all = lock(&self.all);
        if all.len() >= clients_max {
            return false;
        }
        all.insert(client.id, Arc::clone(client));
        self.count.store(all.len(), Ordering::Relaxed);
        true
    }

    /// Strikes the client off.
    pub fn dismiss(&self, id: u64) {
        let mut all = lock(&self.all);
        all.remove(&id);
        self.count.store(all.len(), Ordering::Relaxed);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// One of them.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<Arc<Client>> {
        lock(&self.all).get(&id).cloned()
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Client>> {
        lock(&self.all).values().cloned().collect()
    }

    /// Raises a signal at all of them.
    pub fn signal_all(&self, signal: Signal) {
        for client in self.list() {
            client.signal(signal);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing below a lock here can leave half a change behind, so a panic elsewhere does not spoil the value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(clients: &Clients) -> Arc<Client> {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        clients.introduce(address, address, 0, Arc::new(Worker::new(0)))
    }

    #[test]
    fn no_more_clients_are_admitted_than_allowed_and_ids_are_never_reused() {
        let clients = Clients::default();
        let first = client(&clients);
        let second = client(&clients);
        assert!(clients.admit(&first, 1));
        assert!(!clients.admit(&second, 1));
        clients.dismiss(first.id);
        assert!(clients.admit(&second, 1));
        assert_eq!(clients.list().iter().map(|client| client.id).collect::<Vec<_>>(), [2]);
        assert_eq!(client(&clients).id, 3);
    }

    #[test]
    fn memory_of_buffers_is_summed_by_worker_and_shrinks_again() {
        let clients = Clients::default();
        let client = client(&clients);
        client.set_memory(100);
        client.set_memory(30);
        assert_eq!(client.worker.buffer_bytes.value(), 30);
        client.set_memory(0);
        assert_eq!(client.worker.buffer_bytes.value(), 0);
    }

    #[test]
    fn a_client_that_does_not_take_its_mail_is_closed() {
        let clients = Clients::default();
        let client = client(&clients);
        client.push(b"one");
        assert!(client.is_signalled(Signal::MAIL) && !client.is_signalled(Signal::KILL));
        assert_eq!(client.take_mail().encode(sutra_protocol::Version::Resp2), b"one");
        assert_eq!((client.mail_bytes(), client.worker.mail_bytes.load(Ordering::Relaxed)), (0, 0));
        assert!(!client.is_any_signalled());
        client.push(&vec![0; MAILBOX_BYTES_MAX + 1]);
        assert!(client.is_signalled(Signal::KILL));
    }
}
