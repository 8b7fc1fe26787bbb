//! What the HTTP side knows of the process: that it starts, and from some moment on the server.

use super::settings::HttpSettings;
use crate::clock::Clock;
use crate::server::Server;
use crate::settings::Settings;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use sutra_shard::Progress;

/// Shared by the thread that answers HTTP and the one that starts the server.
pub struct Front {
    pub(super) settings: HttpSettings,
    /// Whether only clients of this machine are answered until the server is there, whose settings then count.
    only_local_at_start: bool,
    clock: Clock,
    began_ns: u64,
    started_ms: u64,
    progress: Arc<Progress>,
    serving: OnceLock<Serving>,
}

/// The server, and where its clients find it.
pub(super) struct Serving {
    pub(super) server: Arc<Server>,
    pub(super) addresses: Vec<SocketAddr>,
}

impl Front {
    /// A front before recovery, whose `progress` it shows.
    #[must_use]
    pub fn new(settings: &Settings, progress: Arc<Progress>) -> Arc<Front> {
        let clock = Clock::system();
        Arc::new(Front {
            settings: settings.http.clone(),
            only_local_at_start: only_local(settings),
            began_ns: clock.stamp_ns(),
            started_ms: clock.now_ms(),
            clock,
            progress,
            serving: OnceLock::new(),
        })
    }

    /// From now on this server is shown.
    pub fn serve(&self, server: Arc<Server>, addresses: &[SocketAddr]) {
        drop(self.serving.set(Serving { server, addresses: addresses.to_vec() }));
    }

    pub(super) fn serving(&self) -> Option<&Serving> {
        self.serving.get()
    }

    /// Milliseconds since the front was made.
    pub(super) fn elapsed_ms(&self) -> u64 {
        self.clock.stamp_ns().saturating_sub(self.began_ns) / 1_000_000
    }

    /// When the front was made, in Unix milliseconds.
    pub(super) fn started_ms(&self) -> u64 {
        self.started_ms
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Protected mode: without a password, only clients of this machine are answered.
    pub(super) fn is_only_local(&self) -> bool {
        match self.serving() {
            Some(serving) => only_local(&serving.server.settings),
            None => self.only_local_at_start,
        }
    }
}

fn only_local(settings: &Settings) -> bool {
    settings.protected_mode.load(Ordering::Relaxed) && !settings.has_password()
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("serves", &self.serving.get().is_some()).finish_non_exhaustive()
    }
}
