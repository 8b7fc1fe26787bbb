//! Worker processes, as the driver sees them.

use super::worker::COMMAND;
use crate::machine::{CLIENT_CORE, pin, unpin};
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A process that uses one library; it ends when this is dropped, or when the driver dies.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts it and waits until it is connected. With the runtime `multi` it may use every core.
    pub(super) fn start(part: &str, library: &str, runtime: &str, address: SocketAddr) -> io::Result<Worker> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([COMMAND, part, library, runtime, &address.to_string()]);
        if runtime == "multi" {
            unpin();
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        pin(CLIENT_CORE);
        let mut child = child?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a worker without pipes"));
        };
        let mut worker = Worker { child, input, output: BufReader::new(output) };
        match worker.line()?.as_str() {
            "ready" => Ok(worker),
            line => Err(io::Error::other(format!("a worker began with {line:?}"))),
        }
    }

    /// Tells it something to do.
    pub(super) fn tell(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.input, "{line}")?;
        self.input.flush()
    }

    /// Waits for its answer.
    pub(super) fn numbers(&mut self) -> io::Result<Vec<u64>> {
        let line = self.line()?;
        line.split_whitespace()
            .map(|word| word.parse().map_err(|_| io::Error::other(format!("a worker answered {line:?}"))))
            .collect()
    }

    /// Tells it something to do and waits for the answer.
    pub(super) fn ask(&mut self, line: &str) -> io::Result<Vec<u64>> {
        self.tell(line)?;
        self.numbers()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(io::Error::other(format!("a worker ended: {}", self.child.wait()?)));
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
