//! Peers behind a stream: connections opened on first use, requests and replies whole or one byte at a time.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The connections of one conversation to one peer.
#[derive(Debug)]
pub struct Connections<S, O> {
    open: O,
    streams: BTreeMap<u32, S>,
    chunk_bytes: usize,
}

/// How many bytes are read at once from a peer that is not played byte by byte.
const CHUNK_BYTES: usize = 64 * 1024;

impl<S: Read + Write, O: FnMut() -> io::Result<S>> Connections<S, O> {
    /// Connections that `open` opens, with ordinary reads and writes.
    pub fn new(open: O) -> Connections<S, O> {
        Connections { open, streams: BTreeMap::new(), chunk_bytes: CHUNK_BYTES }
    }

    /// Sends all bytes, in pieces of the chosen size.
    pub fn send(&mut self, connection: u32, request: &[u8]) -> io::Result<()> {
        let chunk_bytes = self.chunk_bytes;
        let stream = self.stream(connection)?;
        for piece in request.chunks(chunk_bytes) {
            stream.write_all(piece)?;
        }
        stream.flush()
    }

    /// The next bytes, at most the chosen size.
    pub fn receive(&mut self, connection: u32) -> io::Result<Vec<u8>> {
        let mut chunk = vec![0; self.chunk_bytes];
        let length = self.stream(connection)?.read(&mut chunk)?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed"));
        }
        chunk.truncate(length);
        Ok(chunk)
    }

    fn stream(&mut self, connection: u32) -> io::Result<&mut S> {
        match self.streams.entry(connection) {
            std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(entry) => Ok(entry.insert((self.open)()?)),
        }
    }
}

/// Connections to a server's port whose every byte is a packet of its own, in both directions.
pub type ByteByByte = Connections<TcpStream, Box<dyn FnMut() -> io::Result<TcpStream>>>;

impl ByteByByte {
    /// Connects to this address when a conversation first uses a connection. A reply must come within `patience`.
    #[must_use]
    pub fn to(address: SocketAddr, patience: std::time::Duration) -> ByteByByte {
        let open = move || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(patience))?;
            Ok(stream)
        };
        Connections { open: Box::new(open), streams: BTreeMap::new(), chunk_bytes: 1 }
    }
}
