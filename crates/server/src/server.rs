//! The process: what all connections share.

use crate::analytics::Analytics;
use crate::background::Background;
use crate::clients::{Client, Clients, Signal};
use crate::clock::Clock;
use crate::command::{CommandError, Flags};
use crate::http::SpaceLedger;
use crate::latency::LatencyMonitor;
use crate::logging::RateLimit;
use crate::meaning::embedding::Embedding;
use crate::net::commit::GroupCommit;
use crate::pause::Pause;
use crate::settings::Settings;
use crate::slowlog::SlowLog;
use crate::statistics::{InvalidationCounts, Worker};
use crate::table::table;
use crate::trends::Trends;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sutra_shard::{Shard, WriteError};
use tokio::sync::watch;

/// Shard, settings, clients and statistics.
pub struct Server {
    /// The entries.
    pub shard: Shard,
    /// What the operator has chosen.
    pub settings: Settings,
    /// What time it is.
    pub clock: Clock,
    /// Who is connected.
    pub clients: Clients,
    /// Calls that took long.
    pub slowlog: SlowLog,
    /// Whether writes are refused before they run.
    pub gate: Gate,
    pub(crate) pause: Pause,
    /// Who waits for the log to be durable.
    pub commit: GroupCommit,
    /// Threads for what takes long.
    pub background: Background,
    /// What makes vectors of texts.
    pub embedding: Embedding,
    /// When the process began to serve, in Unix milliseconds.
    pub started_ms: u64,
    /// Clients closed to save memory.
    pub clients_evicted: AtomicU64,
    /// Events that took long.
    pub latency: LatencyMonitor,
    /// Rates and peaks.
    pub trends: Trends,
    /// Invalidations by their kind.
    pub invalidations: InvalidationCounts,
    /// What spaces that are gone had counted.
    pub(crate) spaces_gone: SpaceLedger,
    /// What has been done, to be asked about.
    pub analytics: Analytics,
    /// What the start found on disk; `None`: it looked at none.
    pub recovery: Option<RecoveryReport>,
    /// Bytes of memory that were resident when it began to serve: the program itself.
    pub resident_at_start_bytes: u64,
    /// Whether a checkpoint was asked for that the housekeeper has not yet begun.
    pub checkpoint_wanted: AtomicBool,
    /// Whether it writes one.
    pub checkpoint_running: AtomicBool,
    /// The last frame that the last checkpoint covers; 0: none was written since the start.
    pub checkpoint_lsn: AtomicU64,
    /// How long the last checkpoint took, in milliseconds.
    pub checkpoint_took_ms: AtomicU64,
    attention: AtomicU32,
    /// Held by whoever begins or ends a pause.
    pausing: Mutex<()>,
    monitors: Mutex<Vec<Arc<Client>>>,
    workers: Vec<Arc<Worker>>,
    stop: watch::Sender<Stop>,
}

static CLIENTS_EVICTED: RateLimit = RateLimit::one_in(1000);

/// What the start found in the data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    /// What the shard says.
    pub recovery: sutra_shard::Recovery,
    /// How long it took.
    pub milliseconds: u64,
}

/// Whether the server is to stop, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It serves.
    No,
    /// Stop, and make everything durable first.
    Save,
    /// Stop without a sync. (Acknowledged writes are in the log file already, which outlives the process.)
    NoSave,
}

/// Reasons to leave the hot path, looked at once per command; bits of one word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attention(u32);

impl Attention {
    /// Somebody runs MONITOR.
    pub(crate) const MONITORS: Attention = Attention(1);
    /// CLIENT PAUSE is in force.
    pub(crate) const PAUSE: Attention = Attention(1 << 1);
}

impl Server {
    /// A server that serves nobody yet.
    #[must_use]
    pub fn new(settings: Settings, shard: Shard, clock: Clock) -> Server {
        let threads = match settings.io_threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads,
        };
        let analytics = Analytics::new(settings.analytics_ring_len(), clock.now_ms());
        Server {
            started_ms: clock.now_ms(),
            shard,
            settings,
            clock,
            clients: Clients::default(),
            slowlog: SlowLog::default(),
            gate: Gate::default(),
            pause: Pause::default(),
            commit: GroupCommit::default(),
            background: Background::default(),
            embedding: Embedding::builtin(),
            clients_evicted: AtomicU64::new(0),
            latency: LatencyMonitor::default(),
            trends: Trends::default(),
            invalidations: InvalidationCounts::default(),
            spaces_gone: SpaceLedger::default(),
            analytics,
            recovery: None,
            resident_at_start_bytes: crate::process::resident_bytes(),
            checkpoint_wanted: AtomicBool::new(false),
            checkpoint_running: AtomicBool::new(false),
            checkpoint_lsn: AtomicU64::new(0),
            checkpoint_took_ms: AtomicU64::new(0),
            attention: AtomicU32::new(0),
            pausing: Mutex::new(()),
            monitors: Mutex::new(Vec::new()),
            workers: (0..threads).map(|_| Arc::new(Worker::new(table().all().len()))).collect(),
            stop: watch::Sender::new(Stop::No),
        }
    }

    /// The server, knowing what its start found.
    #[must_use]
    pub fn with_recovery(mut self, recovery: RecoveryReport) -> Server {
        self.recovery = Some(recovery);
        self
    }

    /// The server with another embedder than the one that is compiled in.
    #[must_use]
    pub fn with_embedding(mut self, embedding: Embedding) -> Server {
        self.embedding = embedding;
        self
    }

    /// The counters of all threads that serve connections, one block each.
    #[must_use]
    pub fn workers(&self) -> &[Arc<Worker>] {
        &self.workers
    }

    /// The counters of the first thread, which sessions in process use as well.
    #[must_use]
    pub fn worker(&self) -> Arc<Worker> {
        Arc::clone(&self.workers[0])
    }

    /// Error replies by their first word.
    #[must_use]
    pub fn error_counts(&self) -> BTreeMap<String, u64> {
        let mut sum = BTreeMap::new();
        self.workers.iter().for_each(|worker| worker.errors.add_to(&mut sum));
        sum
    }

    /// Bytes in the buffers and mailboxes of all clients.
    #[must_use]
    pub fn clients_bytes(&self) -> u64 {
        self.workers.iter().fold(0, |sum: u64, worker| {
            sum.wrapping_add(worker.buffer_bytes.value()).wrapping_add(worker.mail_bytes.load(Ordering::Relaxed))
        })
    }

    /// Closes the clients with the largest buffers until all buffers fit into `maxmemory-clients`.
    pub fn evict_clients(&self) {
        let bytes_max = self.settings.clients_bytes_max.load(Ordering::Relaxed);
        let mut bytes = self.clients_bytes();
        if bytes_max == 0 || bytes <= bytes_max {
            return;
        }
        let mut clients = self.clients.list();
        let held = |client: &Client| client.memory_bytes.load(Ordering::Relaxed) + client.mail_bytes();
        clients.sort_by_key(|client| std::cmp::Reverse(held(client)));
        for client in clients {
            if bytes <= bytes_max {
                break;
            }
            let freed = held(&client) as u64;
            if freed == 0 {
                break;
            }
            if !client.no_evict.load(Ordering::Relaxed) && !client.is_signalled(Signal::KILL) {
                client.signal(Signal::KILL);
                self.clients_evicted.fetch_add(1, Ordering::Relaxed);
                if let Some(held_back) = CLIENTS_EVICTED.pass(self.clock.now_ms()) {
                    tracing::warn!(client = client.id, address = %client.address, bytes = freed, held_back,
                        "closed a client to keep all clients' buffers within maxmemory-clients");
                }
            }
            // One that is being closed already will give its memory back too.
            bytes = bytes.saturating_sub(freed);
        }
    }

    /// Asks the server to stop; the first wish counts.
    pub fn request_stop(&self, how: Stop) {
        self.stop.send_if_modified(|stop| {
            let first = *stop == Stop::No && how != Stop::No;
            if first {
                *stop = how;
            }
            first
        });
    }

    /// Tells when the server is asked to stop.
    #[must_use]
    pub fn stop_requests(&self) -> watch::Receiver<Stop> {
        self.stop.subscribe()
    }

    /// Whether the server is asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// Whether a checkpoint is being written, or will be within a moment because somebody asked for it.
    #[must_use]
    pub fn is_checkpoint_under_way(&self) -> bool {
        self.checkpoint_running.load(Ordering::Acquire) || self.checkpoint_wanted.load(Ordering::Acquire)
    }

    /// Writes a checkpoint.
    ///
    /// # Errors
    /// As [`Shard::checkpoint`].
    pub fn checkpoint(&self, now_ms: u64) -> Result<(), WriteError> {
        let began_ns = self.clock.stamp_ns();
        let covers = self.shard.persistence().last_lsn;
        self.shard.checkpoint(now_ms)?;
        self.checkpoint_lsn.store(covers, Ordering::Relaxed);
        let took_ms = self.clock.stamp_ns().saturating_sub(began_ns) / 1_000_000;
        self.checkpoint_took_ms.store(took_ms, Ordering::Relaxed);
        Ok(())
    }

    /// After the last connection: leaves everything on disk as the stop was asked for.
    pub(crate) fn close(&self) {
        if *self.stop.borrow() == Stop::NoSave {
            return;
        }
        // A checkpoint makes everything durable, and the next start quick.
        if let Err(error) = self.shard.checkpoint(self.clock.now_ms()) {
            tracing::error!(%error, "the last checkpoint could not be written; the next start replays the log");
        }
    }

    /// Whether any of these reasons to look closer is there.
    pub(crate) fn needs_attention(&self) -> bool {
        self.attention.load(Ordering::Relaxed) != 0
    }

    /// Whether this reason is there.
    pub(crate) fn has_attention(&self, attention: Attention) -> bool {
        self.attention.load(Ordering::Relaxed) & attention.0 != 0
    }

    /// Raises or clears a reason.
    pub(crate) fn set_attention(&self, attention: Attention, on: bool) {
        if on {
            self.attention.fetch_or(attention.0, Ordering::Release);
        } else {
            self.attention.fetch_and(!attention.0, Ordering::Release);
        }
    }

    /// Lets writes, or all commands, wait until an instant in Unix milliseconds (CLIENT PAUSE).
    pub fn begin_pause(&self, until_ms: u64, all: bool) {
        let _alone = self.pausing.lock().unwrap_or_else(PoisonError::into_inner);
        self.pause.extend(until_ms, all);
        self.set_attention(Attention::PAUSE, true);
    }

    /// Ends the pause now.
    pub fn end_pause(&self) {
        self.end_pause_at(u64::MAX);
    }

    /// Ends the pause if it lasts no longer than until now.
    pub(crate) fn end_pause_at(&self, now_ms: u64) {
        let alone = self.pausing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has_attention(Attention::PAUSE) || !self.pause.is_over(now_ms) {
            return;
        }
        self.pause.end();
        // Before anyone is woken: a connection that still saw it would go to sleep again for good.
        self.set_attention(Attention::PAUSE, false);
        drop(alone);
        self.clients.list().iter().for_each(|client| client.wake());
    }

    /// Lets the client see all commands from now on (MONITOR).
    pub fn add_monitor(&self, client: &Arc<Client>) {
        let mut monitors = self.lock_monitors();
        if !client.monitor.swap(true, Ordering::Relaxed) {
            monitors.push(Arc::clone(client));
        }
        self.set_attention(Attention::MONITORS, true);
    }

    /// Ends it.
    pub fn remove_monitor(&self, client: &Client) {
        if client.monitor.swap(false, Ordering::Relaxed) {
            let mut monitors = self.lock_monitors();
            monitors.retain(|other| other.id != client.id);
            self.set_attention(Attention::MONITORS, !monitors.is_empty());
        }
    }

    /// Shows a command to everyone who runs MONITOR.
    pub(crate) fn feed_monitors(&self, db: u8, client: &Client, args: &[&[u8]]) {
        let line = crate::commands::monitor::line(self.clock.now_us(), db, client, args);
        for monitor in self.lock_monitors().iter() {
            monitor.push(&line);
        }
    }

    fn lock_monitors(&self) -> MutexGuard<'_, Vec<Arc<Client>>> {
        self.monitors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("clients", &self.clients.count()).finish_non_exhaustive()
    }
}

/// Whether writes are refused before they run; whoever watches memory and log closes and opens it.
#[derive(Debug, Default)]
pub struct Gate {
    closed: AtomicU8,
    cause: Mutex<String>,
}

const OUT_OF_MEMORY: u8 = 1;
const READ_ONLY: u8 = 2;

impl Gate {
    /// Refuses commands that may need memory (`denyoom`), or no longer does.
    pub fn set_out_of_memory(&self, closed: bool) {
        self.set(OUT_OF_MEMORY, closed);
    }

    /// Refuses all writes because the log or the store has failed, naming the cause, or no longer does.
    pub fn set_read_only(&self, cause: Option<&str>) {
        let mut kept = self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clear();
        kept.push_str(cause.unwrap_or_default());
        self.set(READ_ONLY, cause.is_some());
    }

    /// Whether any writes are refused.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed) != 0
    }

    /// Whether commands that may need memory are refused.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        self.closed.load(Ordering::Relaxed) & OUT_OF_MEMORY != 0
    }

    /// Why a command with these flags may not run now.
    #[must_use]
    pub fn refusal(&self, flags: Flags) -> Option<CommandError> {
        let closed = self.closed.load(Ordering::Relaxed);
        if closed == 0 {
            None
        } else if closed & OUT_OF_MEMORY != 0 && flags.has(Flags::DENYOOM) {
            Some(CommandError::Write(WriteError::OutOfMemory))
        } else if closed & READ_ONLY != 0 && flags.has(Flags::WRITE) {
            let cause = self.cause.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Some(CommandError::Write(WriteError::Unavailable(cause)))
        } else {
            None
        }
    }

    fn set(&self, bit: u8, on: bool) {
        if on {
            self.closed.fetch_or(bit, Ordering::Release);
        } else {
            self.closed.fetch_and(!bit, Ordering::Release);
        }
    }
}
