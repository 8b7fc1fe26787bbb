//! What one connection has chosen and begun.

use crate::clients::Client;
use crate::server::Server;
use crate::table::Command;
use crate::tracking::Tracking;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use sutra_protocol::{Output, Version};
use sutra_shard::{Lsn, Subscriber, WatchFlag};

/// The state of one connection.
pub struct Session {
    /// The selected database.
    pub db: u8,
    /// The protocol that HELLO chose.
    pub version: Version,
    /// Whether it may run commands: it gave the password, or none was asked when it came.
    pub authenticated: bool,
    /// CLIENT REPLY.
    pub replies: Replies,
    /// Set by a command after whose reply the connection is to be closed (QUIT, CLIENT KILL of itself, SHUTDOWN).
    pub close: bool,
    /// The last frame that commands of the present batch have logged.
    pub logged: Option<Lsn>,
    /// CLIENT NO-TOUCH: reads refresh no recency.
    pub no_touch: bool,
    /// What others see of this connection.
    pub client: Arc<Client>,
    /// Since MULTI.
    pub transaction: Option<Box<Transaction>>,
    /// Since WATCH.
    pub watches: Option<Box<Watches>>,
    /// Since CLIENT TRACKING ON.
    pub tracking: Option<Box<Tracking>>,
    /// Counts commands, to time one in sixteen.
    pub(crate) tick: u32,
}

/// Which replies are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replies {
    /// All.
    #[default]
    On,
    /// None, until CLIENT REPLY ON.
    Off,
    /// CLIENT REPLY SKIP was just executed: not its own, nor the next one.
    SkipNext,
    /// Not that of the command that comes now.
    SkipThis,
}

/// Commands queued since MULTI.
#[derive(Debug, Default)]
pub struct Transaction {
    /// In order.
    pub queue: Vec<Queued>,
    /// One was refused: EXEC will be too.
    pub aborted: bool,
    /// Bytes of the queued arguments.
    pub bytes: usize,
}

/// A queued command.
#[derive(Debug)]
pub struct Queued {
    /// Which.
    pub command: &'static Command,
    /// Its arguments, the name first.
    pub args: Vec<Box<[u8]>>,
}

/// Keys that must not change before EXEC.
#[derive(Debug, Default)]
pub struct Watches {
    /// Raised by the shard when one of them changes.
    pub flag: WatchFlag,
    /// Which they are.
    pub keys: Vec<Watched>,
}

/// A watched key.
#[derive(Debug)]
pub struct Watched {
    /// Its database.
    pub db: u8,
    /// The key.
    pub key: Box<[u8]>,
    /// Whether there was a live entry: one that has expired since counts as changed.
    pub live: bool,
}

impl Session {
    /// A session in process, without a socket: for tests, and for whoever embeds the server.
    #[must_use]
    pub fn new(server: &Server) -> Session {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let client = server.clients.introduce(nowhere, nowhere, server.clock.now_ms(), server.worker());
        Session::of_client(server, client)
    }

    /// The session of a connection.
    #[must_use]
    pub fn of_client(server: &Server, client: Arc<Client>) -> Session {
        Session {
            db: 0,
            version: Version::Resp2,
            authenticated: !server.settings.has_password(),
            replies: Replies::On,
            close: false,
            logged: None,
            no_touch: false,
            client,
            transaction: None,
            watches: None,
            tracking: None,
            tick: 0,
        }
    }

    /// Who is to be registered for what the present command reads, if anybody is (CLIENT TRACKING).
    #[must_use]
    pub(crate) fn reader(&self) -> Option<Arc<Subscriber>> {
        self.tracking.as_ref().and_then(|tracking| tracking.reader()).cloned()
    }

    /// Appends what others have pushed meanwhile, for whoever has no connection that does it.
    pub fn take_mail(&self, output: &mut Output) {
        output.append(&self.client.take_mail().encode(self.version));
    }

    /// Ends MULTI and WATCH without executing anything.
    pub fn discard(&mut self) {
        self.transaction = None;
        self.watches = None;
    }

    /// Lets others see what may have changed in the batch that just ended.
    pub fn publish(&self, now_ms: u64) {
        let client = &self.client;
        client.active_ms.store(now_ms, Ordering::Relaxed);
        client.db.store(self.db, Ordering::Relaxed);
        let protocol = match self.version {
            Version::Resp2 => 2,
            Version::Resp3 => 3,
        };
        client.protocol.store(protocol, Ordering::Relaxed);
        let queued = self.transaction.as_ref().map_or(0, |transaction| transaction.queue.len() + 1);
        client.queued.store(u32::try_from(queued).unwrap_or(u32::MAX), Ordering::Relaxed);
        let watched = self.watches.as_ref().map_or(0, |watches| watches.keys.len());
        client.watched.store(u32::try_from(watched).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Bytes of memory behind MULTI and WATCH.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let queued = self.transaction.as_ref().map_or(0, |transaction| transaction.bytes);
        let watched = self
            .watches
            .as_ref()
            .map_or(0, |watches| watches.keys.iter().map(|watched| watched.key.len() + size_of::<Watched>()).sum());
        queued + watched
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("client", &self.client.id).field("db", &self.db).finish_non_exhaustive()
    }
}
