//! Signals of the operating system: those that end a process stop the server cleanly.
//!
//! The first process of a container is special twice: a signal that it does not handle does nothing to it, so that even SIGQUIT and SIGHUP
//! have to be handled; and processes whose parents are gone become its children, which somebody has to wait for. (The server starts
//! no process itself; `docker exec` and probes do.)

use crate::server::{Server, Stop};
use rustix::process::WaitOptions;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals that end the process, and what the log calls them.
const ENDINGS: [(SignalKind, &str); 4] = [
    (SignalKind::terminate(), "SIGTERM"),
    (SignalKind::interrupt(), "SIGINT"),
    (SignalKind::quit(), "SIGQUIT"),
    (SignalKind::hangup(), "SIGHUP"),
];

/// What is to be done at a signal. It is watched for by a thread of its own, which ends with the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    server: Option<Arc<Server>>,
}

impl Signals {
    /// Begins to watch. Until there is a server, a signal ends the process at once: recovery has changed nothing that the next start
    /// would miss.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(crate) fn watch() -> io::Result<Signals> {
        let signals = Signals::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let runs = runtime.enter();
        let watched: Vec<(Signal, &str)> =
            ENDINGS.iter().map(|(kind, name)| Ok((signal(*kind)?, *name))).collect::<io::Result<_>>()?;
        let children = if std::process::id() == 1 { Some(signal(SignalKind::child())?) } else { None };
        drop(runs);
        let watching = signals.clone();
        let thread = std::thread::Builder::new().name("signals".to_owned());
        thread.spawn(move || {
            runtime.block_on(async {
                for (signal, name) in watched {
                    tokio::spawn(watching.clone().wait_for(signal, name));
                }
                match children {
                    Some(children) => bury(children).await,
                    None => std::future::pending().await,
                }
            });
        })?;
        Ok(signals)
    }

    /// From now on a signal stops this server instead.
    pub(crate) fn stop_instead(&self, server: Arc<Server>) {
        self.lock().server = Some(server);
    }

    async fn wait_for(self, mut signal: Signal, name: &'static str) {
        while signal.recv().await.is_some() {
            match &self.lock().server {
                Some(server) => {
                    tracing::info!(signal = name, "stopping");
                    server.request_stop(Stop::Save);
                }
                None => {
                    tracing::info!(signal = name, "stopped before the data directory was read; nothing is lost");
                    std::process::exit(0);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for orphans that have ended, so that they do not stay as zombies.
async fn bury(mut children: Signal) {
    while children.recv().await.is_some() {
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
    }
}
