//! The binary `sutra-cache`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use sutra_cache::clock::Clock;
use sutra_cache::net::serve;
use sutra_cache::server::{Server, Stop};
use sutra_cache::settings::Settings;
use sutra_shard::{Options, Shard};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "could not start");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut settings = Settings::default();
    if let Ok(host) = std::env::var("STORAGE_HOST") {
        settings.bind = vec![host.parse().map_err(|error| format!("STORAGE_HOST={host}: {error}"))?];
    }
    if let Ok(port) = std::env::var("STORAGE_PORT") {
        settings.port = port.parse().map_err(|error| format!("STORAGE_PORT={port}: {error}"))?;
    }
    if let Ok(threads) = std::env::var("IO_THREADS") {
        settings.io_threads = threads.parse().map_err(|error| format!("IO_THREADS={threads}: {error}"))?;
    }
    let path = std::env::var("STORAGE_PATH").unwrap_or_else(|_| "./data".to_owned());
    let clock = Clock::system();
    let mut options = Options::new(path);
    options.seed = clock.now_us() ^ u64::from(std::process::id()) << 40;
    let (shard, recovery) = Shard::open(&options, clock.now_ms())?;
    tracing::info!(entries = recovery.entries, frames = recovery.frames, "recovered");
    for damage in &recovery.damage {
        tracing::error!(damage, "found damage; what it touched is dropped");
    }
    let handle = serve(Server::new(settings, shard, clock))?;
    tracing::info!(addresses = ?handle.addresses(), "serving");
    let server = std::sync::Arc::clone(handle.server());
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async move {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut stop = server.stop_requests();
        tokio::select! {
            _ = terminate.recv() => server.request_stop(Stop::Save),
            _ = interrupt.recv() => server.request_stop(Stop::Save),
            _ = stop.wait_for(|stop| *stop != Stop::No) => {}
        }
        std::io::Result::Ok(())
    })?;
    handle.wait();
    tracing::info!("stopped");
    Ok(())
}
