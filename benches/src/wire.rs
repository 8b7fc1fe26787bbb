//! A blocking connection, for loading, checking and asking; the measured load has its own path in `drive`.

use crate::random::{fill, key};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use sutra_protocol::{Frame, FrameDecoder, FrameLimits, encode_request};

/// How long a reply may take before the run is given up.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of requests in one burst of a loader.
const BURST_BYTES: usize = 256 * 1024;

/// A connection that waits for its replies.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    decoder: FrameDecoder,
    limits: FrameLimits,
    buffer: Vec<u8>,
    start: usize,
    requests: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, REPLY_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Client {
            stream,
            decoder: FrameDecoder::new(),
            limits: FrameLimits::default(),
            buffer: Vec::new(),
            start: 0,
            requests: Vec::new(),
        })
    }

    /// One request, one reply.
    pub(crate) fn call(&mut self, arguments: &[&[u8]]) -> io::Result<Frame> {
        self.queue(arguments);
        self.flush()?;
        self.reply()
    }

    /// A request that is sent with the next [`Client::flush`].
    pub(crate) fn queue(&mut self, arguments: &[&[u8]]) {
        encode_request(arguments, &mut self.requests);
    }

    /// Bytes that wait to be sent.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.requests.len()
    }

    /// Sends what is queued.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.requests)?;
        self.requests.clear();
        Ok(())
    }

    /// The next reply.
    pub(crate) fn reply(&mut self) -> io::Result<Frame> {
        loop {
            match self.decoder.decode(&self.buffer[self.start..], &self.limits) {
                Ok(Some((frame, bytes))) => {
                    self.start += bytes;
                    return Ok(frame);
                }
                Ok(None) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            let end = self.buffer.len();
            self.buffer.resize(end + 128 * 1024, 0);
            let read = self.stream.read(&mut self.buffer[end..])?;
            self.buffer.truncate(end + read);
            if read == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
        }
    }

    /// A reply that is no error.
    pub(crate) fn accepted(&mut self) -> io::Result<()> {
        if let Frame::Error(text) = self.reply()? {
            return Err(io::Error::other(text));
        }
        Ok(())
    }

    /// One request whose answer is a number.
    pub(crate) fn number(&mut self, arguments: &[&[u8]]) -> io::Result<u64> {
        let reply = self.call(arguments)?;
        let name = String::from_utf8_lossy(arguments[0]);
        if let Frame::Integer(number) = reply {
            Ok(number.unsigned_abs())
        } else {
            Err(io::Error::other(format!("{name}: {reply:.80?}")))
        }
    }

    /// The value of a field of INFO, if the server shows it.
    pub(crate) fn info(&mut self, field: &str) -> io::Result<Option<f64>> {
        let Frame::Bulk(text) = self.call(&[b"INFO", b"everything"])? else { return Ok(None) };
        let text = String::from_utf8_lossy(&text).into_owned();
        let value = |line: &str| line.strip_prefix(field)?.strip_prefix(':')?.trim().parse().ok();
        Ok(text.lines().find_map(value))
    }

    /// Stores `count` keys of [`key`]; `ttl_seconds` of 0 stores them without one. Returns when all are acknowledged.
    pub(crate) fn load(&mut self, count: u64, values: Values<'_>, ttl_seconds: u64) -> io::Result<()> {
        let mut own = Vec::new();
        let ttl = ttl_seconds.to_string();
        let mut waiting = 0;
        for number in 0..count {
            let value = match values {
                Values::Same(value) => value,
                Values::OfTheirKey { bytes } => {
                    own.resize(bytes, 0);
                    fill(number, &mut own);
                    &own
                }
            };
            let name = key(number);
            match ttl_seconds {
                0 => self.queue(&[b"SET", &name, value]),
                _ => self.queue(&[b"SET", &name, value, b"EX", ttl.as_bytes()]),
            }
            waiting += 1;
            if self.queued_bytes() >= BURST_BYTES || number + 1 == count {
                self.flush()?;
                for _ in 0..waiting {
                    self.accepted()?;
                }
                waiting = 0;
            }
        }
        Ok(())
    }

    /// Reads the keys that [`Client::load`] stored and compares every byte: how many are right, missing, and wrong.
    pub(crate) fn verify(&mut self, count: u64, value_bytes: usize) -> io::Result<Verified> {
        let mut value = vec![0; value_bytes];
        let mut verified = Verified::default();
        let burst = (BURST_BYTES / (value_bytes + 64)).clamp(1, 512) as u64;
        let mut next = 0;
        while next < count {
            let end = (next + burst).min(count);
            for number in next..end {
                self.queue(&[b"GET", &key(number)]);
            }
            self.flush()?;
            for number in next..end {
                fill(number, &mut value);
                let found = self.reply()?;
                if found == Frame::Null {
                    verified.missing += 1;
                } else if matches!(&found, Frame::Bulk(found) if *found == value) {
                    verified.right += 1;
                } else {
                    verified.wrong += 1;
                }
            }
            next = end;
        }
        Ok(verified)
    }
}

/// What a loader stores.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Values<'a> {
    /// One value under every key.
    Same(&'a [u8]),
    /// Values of [`fill`], so that each can be verified.
    OfTheirKey {
        /// Their length.
        bytes: usize,
    },
}

/// What became of stored keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) right: u64,
    pub(crate) missing: u64,
    pub(crate) wrong: u64,
}
