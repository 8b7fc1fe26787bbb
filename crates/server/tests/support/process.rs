//! The binary, started on a directory and a port of the system's choice; ended by its id, also when a test fails.

use super::client::Client;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a start may take: a debug build on a busy machine that replays a long log.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// What the server has written to standard error so far.
#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    grew: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

pub(crate) struct Process {
    child: Child,
    port: u16,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts the server and waits until it serves.
    ///
    /// # Errors
    /// What it wrote, if it ended instead, and its exit code.
    pub(crate) fn start(directory: &Path, settings: &[(&str, &str)]) -> Result<Process, Refusal> {
        Process::spawn(directory, settings).wait_until_it_serves()
    }

    /// Waits until it serves, or has ended.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub(crate) fn wait_until_it_serves(mut self) -> Result<Process, Refusal> {
        let process = &mut self;
        match process.wait_for_line("serving", START_PATIENCE) {
            Waited::Line(line) => process.port = port_of(&line),
            Waited::Ended => {
                let code = process.child.wait().expect("a child that has closed its output ends").code();
                return Err(Refusal { code, log: process.log_text() });
            }
            Waited::InVain => panic!("the server neither serves nor ends:\n{}", process.log_text()),
        }
        // With a password there is another answer, but there is one.
        let answer = process.client().say("PING");
        let asks = matches!(&answer, sutra_protocol::Frame::Error(text) if text.starts_with("NOAUTH"));
        assert!(asks || answer == sutra_protocol::Frame::Simple("PONG".to_owned()), "{answer:?}");
        Ok(self)
    }

    /// Starts the server without waiting for it.
    pub(crate) fn spawn(directory: &Path, settings: &[(&str, &str)]) -> Process {
        Process::spawn_command(Command::new(env!("CARGO_BIN_EXE_sutra-cache")), directory, settings)
    }

    /// The same with a command of the caller's that becomes the server.
    pub(crate) fn spawn_command(mut command: Command, directory: &Path, settings: &[(&str, &str)]) -> Process {
        let child = command
            .env_clear()
            .current_dir(directory)
            .env("STORAGE_PATH", directory)
            .env("STORAGE_PORT", "0")
            .env("HTTP_PORT", "off")
            .env("NO_COLOR", "1")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut process = Process { child, port: 0, log: Arc::default(), reader: None };
        let stderr = process.child.stderr.take().expect("standard error is a pipe");
        let log = Arc::clone(&process.log);
        process.reader = Some(std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { break };
                log.lines.lock().unwrap_or_else(PoisonError::into_inner).lines.push(line);
                log.grew.notify_all();
            }
            log.lines.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
            log.grew.notify_all();
        }));
        process
    }

    /// A new connection to it.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port).expect("the server accepts connections")
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Everything it has written to standard error so far.
    pub(crate) fn log_text(&self) -> String {
        self.log.lines.lock().unwrap_or_else(PoisonError::into_inner).lines.join("\n")
    }

    /// The id of the process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// kill -9, and waits until the process is gone.
    pub(crate) fn kill(mut self) {
        self.end(Signal::KILL);
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end(&mut self, signal: Signal) -> ExitStatus {
        kill_process(self.pid(), signal).expect("the process is ours and not waited for yet");
        let status = self.child.wait().expect("the process ends");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reading the log does not panic");
        }
        status
    }

    /// Waits for a line that holds `text`.
    pub(crate) fn wait_for_line(&self, text: &str, patience: Duration) -> Waited {
        let found = |lines: &Lines| lines.lines.iter().any(|line| line.contains(text));
        let lines = self.log.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, _) = self
            .log
            .grew
            .wait_timeout_while(lines, patience, |lines| !lines.ended && !found(lines))
            .unwrap_or_else(PoisonError::into_inner);
        match lines.lines.iter().find(|line| line.contains(text)) {
            Some(line) => Waited::Line(line.clone()),
            None if lines.ended => Waited::Ended,
            None => Waited::InVain,
        }
    }
}

/// How waiting for a line ended.
pub(crate) enum Waited {
    Line(String),
    /// The server ended before.
    Ended,
    /// It lives, and has not written it.
    InVain,
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How the server ended when it was to start.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Option<i32>,
    pub(crate) log: String,
}

/// The port in a line like `serving addresses=[127.0.0.1:34567]`.
fn port_of(line: &str) -> u16 {
    let (_, behind) = line.rsplit_once("127.0.0.1:").unwrap_or_else(|| panic!("no address in {line:?}"));
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no port in {line:?}"))
}
