//! The reference: a `redis-server` of the machine, on a socket of its own, gone when dropped.

use super::socket::Connections;
use super::{Peer, Redis, parse_version};
use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a reply of the reference may take; only a conversation that expects more replies than come waits so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running `redis-server` and the connections of the conversation that is played against it.
pub struct Reference {
    process: Child,
    // Held for its drop: removes the directory of the socket.
    _directory: tempfile::TempDir,
    connections: Connections<UnixStream, Box<dyn FnMut() -> io::Result<UnixStream>>>,
    socket: std::path::PathBuf,
    version: Redis,
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "redis-server {:?} pid {}", self.version, self.process.id())
    }
}

impl Reference {
    /// Starts the installed `redis-server`, without persistence, listening only on a Unix socket in a temporary directory;
    /// `None` if none is installed.
    pub fn start() -> io::Result<Option<Reference>> {
        let described = match Command::new("redis-server").arg("--version").output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            described => described?,
        };
        let described = String::from_utf8_lossy(&described.stdout).into_owned();
        let version = described.split(" v=").nth(1).and_then(|rest| parse_version(rest.split(' ').next()?));
        let version = version.ok_or_else(|| io::Error::other(format!("which version is this? {described}")))?;

        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("redis.sock");
        let mut process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--dir"])
            .arg(directory.path())
            .arg("--unixsocket")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take();
        let mut reference =
            Reference { process, _directory: directory, connections: connections(&socket), socket, version };
        // From here on a failure drops the value, which ends the process.
        reference.wait_until_ready(output)?;
        Ok(Some(reference))
    }

    /// Empties it and forgets all connections, for the next conversation.
    pub fn reset(&mut self) -> io::Result<()> {
        self.connections = connections(&self.socket);
        self.connections.send(0, b"FLUSHALL\r\n")?;
        match self.connections.receive(0)?.as_slice() {
            b"+OK\r\n" => Ok(()),
            other => Err(io::Error::other(format!("FLUSHALL: {}", String::from_utf8_lossy(other)))),
        }
    }

    /// Its log says when it listens; the rest of its output is read to the end so that it never blocks on a full pipe.
    fn wait_until_ready(&mut self, output: Option<std::process::ChildStdout>) -> io::Result<()> {
        let mut lines = BufReader::new(output.ok_or_else(|| io::Error::other("no output"))?).lines();
        let mut log = String::new();
        for line in lines.by_ref() {
            let line = line?;
            // "The server is now ready to accept connections at <path>" in 7.0, "Ready to accept connections unix" in 7.2.
            if line.contains("eady to accept connections") {
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(());
            }
            log.push_str(&line);
            log.push('\n');
        }
        Err(io::Error::other(format!("redis-server did not start:\n{log}")))
    }
}

fn connections(socket: &std::path::Path) -> Connections<UnixStream, Box<dyn FnMut() -> io::Result<UnixStream>>> {
    let socket = socket.to_path_buf();
    Connections::new(Box::new(move || {
        let stream = UnixStream::connect(&socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }))
}

impl Drop for Reference {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Peer for Reference {
    fn send(&mut self, connection: u32, request: &[u8]) -> io::Result<()> {
        self.connections.send(connection, request)
    }
    fn receive(&mut self, connection: u32) -> io::Result<Vec<u8>> {
        self.connections.receive(connection)
    }
    fn advance(&mut self, _: u64) -> bool {
        false
    }
    fn reference_version(&self) -> Option<Redis> {
        Some(self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::Conversation;

    #[test]
    fn the_installed_redis_answers_a_conversation_and_starts_empty_again() {
        let Some(mut reference) = Reference::start().unwrap() else { return };
        let text = "> SET k v\n< OK\n@2 > GET k\n@2 < \"v\"\n> HELLO 3\n<? {*\"proto\": 3*}\n> GET none\n< (nil)\n";
        let talk = Conversation::parse("a.resp", text).unwrap();
        assert!(talk.play(&mut reference).is_empty());
        reference.reset().unwrap();
        let empty = Conversation::parse("b.resp", "> DBSIZE\n< (integer) 0\n").unwrap();
        assert!(empty.play(&mut reference).is_empty());
    }
}
