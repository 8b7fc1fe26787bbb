//! A client like any other: a socket, requests out, replies in.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;
use sutra_protocol::{Frame, FrameDecoder, FrameLimits, encode_request};

/// Longer than any command of the demonstration takes.
const PATIENCE: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 64 * 1024;

/// A blocking connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    decoder: FrameDecoder,
    received: Vec<u8>,
    /// How much of `received` is decoded already.
    taken: usize,
}

/// Where to connect, as `redis://:password@localhost:50051` says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host and port.
    pub host: String,
    /// What AUTH takes, if anything.
    pub credentials: Vec<String>,
}

impl Address {
    /// Reads an address; the port is 50051 unless given.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Address, String> {
        let wrong = || format!("--url takes an address like redis://[[user]:password@]host[:port], got {url:?}");
        let rest = url.strip_prefix("redis://").ok_or_else(wrong)?.trim_end_matches('/');
        let (credentials, host) = rest.rsplit_once('@').unwrap_or(("", rest));
        let credentials = match credentials.split_once(':') {
            _ if credentials.is_empty() => Vec::new(),
            Some(("", password)) => vec![password.to_owned()],
            Some((user, password)) => vec![user.to_owned(), password.to_owned()],
            None => return Err(wrong()),
        };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if host.is_empty() || host.contains('/') {
            return Err(wrong());
        }
        let host = if has_port { host.to_owned() } else { format!("{host}:50051") };
        Ok(Address { host, credentials })
    }
}

impl Client {
    /// Connects, and shows the password if there is one.
    ///
    /// # Errors
    /// Whatever the system or the server says.
    pub fn connect(address: &Address) -> io::Result<Client> {
        let resolved = address.host.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let stream = TcpStream::connect_timeout(&resolved, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut client = Client { stream, decoder: FrameDecoder::new(), received: Vec::new(), taken: 0 };
        if !address.credentials.is_empty() {
            let mut auth = vec!["AUTH".to_owned()];
            auth.extend(address.credentials.iter().cloned());
            if let Frame::Error(text) = client.ask(&auth)? {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
        }
        Ok(client)
    }

    /// One request and its reply.
    ///
    /// # Errors
    /// Whatever the system says; an error reply is a reply.
    pub fn ask<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Frame> {
        let mut replies = self.ask_all(&[arguments])?;
        replies.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Many requests at once, and their replies in order.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn ask_all<A: AsRef<[u8]>, R: AsRef<[A]>>(&mut self, requests: &[R]) -> io::Result<Vec<Frame>> {
        let mut bytes = Vec::new();
        requests.iter().for_each(|request| encode_request(request.as_ref(), &mut bytes));
        self.stream.write_all(&bytes)?;
        requests.iter().map(|_| self.receive()).collect()
    }

    fn receive(&mut self) -> io::Result<Frame> {
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
            let mut more = [0; READ_BYTES];
            match self.stream.read(&mut more)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.received.extend_from_slice(&more[..count]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_password_and_port() {
        let read = |url: &str| Address::parse(url).map(|address| (address.host, address.credentials.join(" ")));
        assert_eq!(read("redis://localhost"), Ok(("localhost:50051".to_owned(), String::new())));
        assert_eq!(read("redis://:secret@[::1]:6379/"), Ok(("[::1]:6379".to_owned(), "secret".to_owned())));
        assert_eq!(read("redis://me:p@ss@localhost:1"), Ok(("localhost:1".to_owned(), "me p@ss".to_owned())));
        for wrong in ["localhost:50051", "http://localhost", "redis://", "redis://me@localhost", "redis://localhost/7"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
