//! The command line: `serve`, `check`, `demo`, `health`, `--help`, `--version`.

use crate::clock::Clock;
use crate::config::{self, Loaded};
use crate::http::{Front, Listener, probe};
use crate::logging;
use crate::meaning::embedding::Embedding;
use crate::net::serve;
use crate::server::{RecoveryReport, Server};
use crate::settings::Settings;
use crate::signals::Signals;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use sutra_shard::{Options, Progress, Recovery, Shard};

/// Runs the program with these arguments (without its name).
///
/// The exit code is 0 after a clean stop or a clean check, 1 otherwise; why is on standard error.
#[must_use]
pub fn run(arguments: &[String]) -> ExitCode {
    let first = arguments.first().map_or("serve", String::as_str);
    let result = match first {
        "--help" | "-h" | "help" => {
            print!("{}", config::help_text());
            Ok(())
        }
        "--version" | "-V" | "version" => {
            println!("sutra-cache {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        "demo" => crate::demo::run(&arguments[1..]),
        "health" => health(&arguments[1..]),
        "check" => return check(&arguments[1..]),
        "serve" => serve_until_stopped(arguments.get(1..).unwrap_or_default()),
        flag if flag.starts_with("--") => serve_until_stopped(arguments),
        other => Err(format!("there is no subcommand {other:?}; `sutra-cache --help` lists all").into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sutra-cache: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(arguments: &[String]) -> ExitCode {
    let [directory] = arguments else {
        eprintln!("sutra-cache: check takes one data directory: sutra-cache check DIR");
        return ExitCode::FAILURE;
    };
    match sutra_shard::check(Path::new(directory), Clock::system().now_ms()) {
        Ok(report) => {
            print!("{report}");
            if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("sutra-cache: {directory} cannot be checked: {error}");
            ExitCode::FAILURE
        }
    }
}

fn health(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", probe::run(arguments, &environment())?);
    Ok(())
}

/// A variable that is not text cannot be one of ours.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn serve_until_stopped(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let Loaded { settings, unknown_variables } = config::load(arguments, &environment(), Path::new("."))?;
    logging::start(&settings.log_filter.read().unwrap_or_else(PoisonError::into_inner), settings.log_json);
    if !unknown_variables.is_empty() {
        tracing::warn!(
            variables = unknown_variables.join(" "),
            "these environment variables have no meaning here: they are of another Sutra role, or misspelt"
        );
    }
    let (limit_bytes, available_bytes) = (settings.memory_bytes_max.load(Ordering::Relaxed), config::memory_limit());
    if limit_bytes > config::memory_share(100) {
        tracing::warn!(
            limit_bytes,
            available_bytes,
            "MAX_MEMORY leaves the program itself no room in what the container or the machine allows: it may be killed for want of memory"
        );
    }
    // From the first moment on, since the first process of a container ignores every signal that it does not handle.
    let signals = Signals::watch()?;
    let progress = Arc::new(Progress::default());
    let front = Front::new(&settings, Arc::clone(&progress));
    let listener = Listener::start(&front, &settings)?;
    if let Some(listener) = &listener {
        tracing::info!(http = ?listener.addresses(), "HTTP is answered");
    }
    let clock = Clock::system();
    let (shard, recovery) = open_shard(&settings, &clock, progress)?;
    settings.apply(&shard);
    let embedding = Embedding::from_settings(&settings.meaning)?;
    let handle = serve(Server::new(settings, shard, clock).with_recovery(recovery).with_embedding(embedding))?;
    signals.stop_instead(Arc::clone(handle.server()));
    front.serve(Arc::clone(handle.server()), handle.addresses());
    tracing::info!(addresses = ?handle.addresses(), "serving");
    handle.wait();
    drop(listener);
    tracing::info!("stopped");
    Ok(())
}

/// Opens the data directory and says what recovery found.
pub(crate) fn open_shard(
    settings: &Settings,
    clock: &Clock,
    progress: Arc<Progress>,
) -> Result<(Shard, RecoveryReport), Box<dyn std::error::Error>> {
    let mut options = Options::new(&settings.directory);
    options.limits = settings.limits();
    options.mapped = settings.mapped;
    options.log = settings.log.load(Ordering::Relaxed);
    // The operating system's randomness, which the standard library asks for its own hash maps.
    options.seed = RandomState::new().hash_one(std::process::id());
    options.progress = progress;
    let began_ns = clock.stamp_ns();
    let (shard, recovery) = Shard::open(&options, clock.now_ms())
        .map_err(|error| format!("STORAGE_PATH (dir) {}: {error}", settings.directory.display()))?;
    let milliseconds = clock.stamp_ns().saturating_sub(began_ns) / 1_000_000;
    let Recovery { entries, checkpoint_lsn, frames, edits, last_lsn, .. } = recovery;
    tracing::info!(
        directory = %settings.directory.display(), entries, checkpoint_lsn, frames, edits, last_lsn, milliseconds,
        "recovered"
    );
    match &recovery.cut {
        Some(cut) if recovery.frames_discarded == 0 => {
            tracing::info!(
                cut,
                "the log ends in a frame that was not written whole, as after a crash; it was not acknowledged"
            );
        }
        Some(cut) => tracing::warn!(
            cut,
            frames_discarded = recovery.frames_discarded,
            "the log has a hole, as after a power failure; what was written since the last sync is lost"
        ),
        None => {}
    }
    for repaired in &recovery.repaired {
        tracing::warn!(repaired, "found damage that could be undone; the disk or the memory is not sound");
    }
    for damage in &recovery.damage {
        tracing::error!(damage, "found damage; what it touched is dropped");
    }
    Ok((shard, RecoveryReport { recovery, milliseconds }))
}
