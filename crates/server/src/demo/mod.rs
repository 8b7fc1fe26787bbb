//! `sutra-cache demo`: what the shard is for, shown on real questions within seconds, over a socket like any other client's.
//!
//! Without `--url` it starts a shard of its own in this process, on a free port and in a directory that goes away with it.

pub mod client;
pub mod questions;
pub mod screen;
pub mod script;

#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::net::{Handle, serve};
use crate::server::{Server, Stop};
use crate::settings::Settings;
use client::Address;
use screen::Screen;
use script::play;
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use sutra_shard::{Options, Shard};

/// Memory of the shard that is started for it.
const MEMORY_BYTES: u64 = 256 << 20;

const USAGE: &str = "\
sutra-cache demo [--url redis://[:password@]host[:port]] [--stay]
  --url    a running shard instead of one of its own; what is stored there is dropped at the end
  --stay   its own shard stays, with the questions in it, until Ctrl-C";

/// Runs the subcommand with these arguments.
///
/// # Errors
/// Whatever kept the story from being told to its end.
pub fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let (mut url, mut stay) = (None, false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--url" => url = Some(arguments.next().ok_or(USAGE)?),
            "--stay" => stay = true,
            _ => return Err(USAGE.into()),
        }
    }
    let stdout = std::io::stdout();
    let is_terminal = stdout.is_terminal();
    let mut out = stdout.lock();
    match url {
        Some(_) if stay => Err(USAGE.into()),
        Some(url) => {
            let address = Address::parse(url)?;
            play(&address, false, &mut Screen::new(&mut out, is_terminal))?;
            closing(&mut out, &address.host, false)?;
            Ok(())
        }
        None => {
            let shard = OwnShard::start()?;
            play(&shard.address(), stay, &mut Screen::new(&mut out, is_terminal))?;
            closing(&mut out, &shard.address().host, stay)?;
            if stay {
                wait_for_interrupt()?;
            }
            Ok(())
        }
    }
}

/// A shard that lives for the demonstration.
struct OwnShard {
    /// `None` only while it is being dropped.
    handle: Option<Handle>,
    directory: PathBuf,
}

impl OwnShard {
    fn start() -> Result<OwnShard, Box<dyn Error>> {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("sutra-cache-demo-{}-{number}", std::process::id()));
        std::fs::create_dir(&directory)?;
        match OwnShard::serve_from(&directory) {
            Ok(handle) => Ok(OwnShard { handle: Some(handle), directory }),
            Err(error) => {
                drop(std::fs::remove_dir_all(&directory));
                Err(error)
            }
        }
    }

    fn serve_from(directory: &Path) -> Result<Handle, Box<dyn Error>> {
        let settings = Settings { port: 0, directory: directory.to_owned(), ..Settings::default() };
        settings.memory_bytes_max.store(MEMORY_BYTES, Ordering::Relaxed);
        let clock = Clock::system();
        let mut options = Options::new(directory);
        options.limits = settings.limits();
        let (shard, _) = Shard::open(&options, clock.now_ms())?;
        settings.apply(&shard);
        Ok(serve(Server::new(settings, shard, clock))?)
    }

    fn address(&self) -> Address {
        let host = self.handle.as_ref().map(|handle| handle.address().to_string()).unwrap_or_default();
        Address { host, credentials: Vec::new() }
    }
}

impl Drop for OwnShard {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.stop(Stop::NoSave);
        }
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

fn closing(out: &mut dyn Write, host: &str, stays: bool) -> std::io::Result<()> {
    let port = host.rsplit(':').next().unwrap_or_default();
    let how = if stays {
        format!("This shard stays until Ctrl-C. In another terminal: redis-cli -p {port}, then")
    } else {
        "To try it yourself: sutra-cache demo --stay, or sutra-cache and redis-cli -p 50051, then".to_owned()
    };
    write!(
        out,
        "\n{how}\n\
         \x20 CACHE.SET q1 \"Nine to five.\" IN faq TEXT \"When are you open?\" TAG 1 hours EX 3600\n\
         \x20 CACHE.LOOKUP faq TEXT \"What are your opening hours?\" MIN 0.5 WITHSCORE\n\
         \x20 CACHE.INVALIDATE IN faq TEXT \"opening hours\" MIN 0.5 DRYRUN\n\
         \x20 CACHE.INVALIDATE TAG 1 hours\n\
         \x20 CACHE.LOG\n\
         \x20 CACHE.ASK \"hit rate in space faq in the last 10 minutes\"\n\
         The questions are a sample of Banking77 by PolyAI, CC BY 4.0.\n"
    )
}

fn wait_for_interrupt() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(tokio::signal::ctrl_c())
}
