//! A blocking connection: requests out, frames in.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use sutra_protocol::{Frame, FrameDecoder, FrameLimits, encode_request};

/// Longer than anything here may take; a server that hangs fails the test instead of stopping it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    stream: TcpStream,
    decoder: FrameDecoder,
    received: Vec<u8>,
    /// How much of `received` is decoded already.
    taken: usize,
}

impl Client {
    pub(crate) fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream, decoder: FrameDecoder::new(), received: Vec::new(), taken: 0 })
    }

    /// Sends bytes as they are: whole requests, or less.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply.
    pub(crate) fn receive(&mut self) -> io::Result<Frame> {
        loop {
            let decoded = self
                .decoder
                .decode(&self.received[self.taken..], &FrameLimits::default())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            if let Some((frame, bytes)) = decoded {
                self.taken += bytes;
                return Ok(frame);
            }
            // The decoder goes on where it was, so the bytes before it may go.
            self.received.drain(..self.taken);
            self.taken = 0;
            let start = self.received.len();
            self.received.resize(start + 64 * 1024, 0);
            let count = self.stream.read(&mut self.received[start..]);
            self.received.truncate(start + *count.as_ref().unwrap_or(&0));
            // A signal for the test process: the system call is made again.
            if count.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
                continue;
            }
            if count? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// One request and its reply.
    pub(crate) fn ask<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Frame> {
        let mut request = Vec::new();
        encode_request(arguments, &mut request);
        self.send(&request)?;
        self.receive()
    }

    /// One request of words without spaces; the server must answer.
    pub(crate) fn say(&mut self, line: &str) -> Frame {
        let words: Vec<&str> = line.split(' ').collect();
        self.ask(&words).unwrap_or_else(|error| panic!("no answer to {line:?}: {error}"))
    }
}
