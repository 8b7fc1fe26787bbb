//! The bytes to send on one connection: small replies copied together, large ones referred to where they lie.
//!
//! Invariants: `sent <= bytes.len()`; the places of the shared chunks never decrease and lie between `sent` and
//! `bytes.len()`; no chunk is empty; `shared_bytes` is the sum of their lengths.

use crate::number;
use crate::reply::{Reply, Version};
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Shared bulk strings of at least so many bytes are not copied. Below, a copy costs less than one more piece in the write.
pub const SHARED_BYTES_MIN: usize = 16 * 1024;

/// An emptied output keeps at most so much memory unless the last batch needed more.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Sent bytes are moved out of the way once there are so many, and at least as many as are left: each byte moves about once.
const COMPACT_BYTES_MIN: usize = 64 * 1024;

/// The replies of a connection that are not sent yet, in order.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    sent: usize,
    shared: VecDeque<Shared>,
    shared_bytes: usize,
    /// How many copied bytes and shared chunks were ever dropped from the front; what marks count from.
    bytes_dropped: u64,
    shared_dropped: u64,
}

/// A chunk that goes out before `bytes[at]`.
#[derive(Debug)]
struct Shared {
    at: usize,
    chunk: Bytes,
}

/// A place in an [`Output`] to which it can be truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    bytes: u64,
    shared: u64,
}

impl Output {
    /// Nothing to send; allocates on first use.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a reply as this version of the protocol sends it.
    pub fn encode(&mut self, reply: &Reply<'_>, version: Version) {
        let resp3 = version == Version::Resp3;
        match reply {
            Reply::Ok => self.bytes.extend_from_slice(b"+OK\r\n"),
            Reply::Simple(text) => self.line(b'+', text),
            Reply::Error(text) => self.line(b'-', text),
            Reply::Integer(value) => self.header(b':', *value),
            Reply::Bulk(bytes) => self.bulk(bytes),
            Reply::BulkOwned(bytes) => self.bulk(bytes),
            Reply::BulkShared(bytes) if bytes.len() < SHARED_BYTES_MIN => self.bulk(bytes),
            Reply::BulkShared(bytes) => {
                self.count(b'$', bytes.len());
                self.append_shared(bytes.clone());
                self.bytes.extend_from_slice(b"\r\n");
            }
            Reply::Null => self.bytes.extend_from_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
            Reply::NullArray => self.bytes.extend_from_slice(if resp3 { b"_\r\n" } else { b"*-1\r\n" }),
            Reply::Array(items) => self.items(b'*', items, version),
            Reply::Set(items) => self.items(if resp3 { b'~' } else { b'*' }, items, version),
            Reply::Push(items) => self.items(if resp3 { b'>' } else { b'*' }, items, version),
            Reply::Map(pairs) if resp3 => self.pairs(b'%', pairs.len(), pairs, version),
            Reply::Map(pairs) => self.pairs(b'*', pairs.len() * 2, pairs, version),
            Reply::Double(value) if resp3 => {
                self.bytes.push(b',');
                number::write_f64(&mut self.bytes, *value);
                self.bytes.extend_from_slice(b"\r\n");
            }
            Reply::Double(value) => self.bulk(number::format_f64(*value).as_bytes()),
            Reply::Boolean(value) if resp3 => self.bytes.extend_from_slice(if *value { b"#t\r\n" } else { b"#f\r\n" }),
            Reply::Boolean(value) => self.header(b':', i64::from(*value)),
            Reply::BigNumber(digits) if resp3 => self.line(b'(', digits),
            Reply::BigNumber(digits) => self.bulk(digits.as_bytes()),
            Reply::Verbatim { format, text } if resp3 => {
                self.count(b'=', text.len() + format.len() + 1);
                self.bytes.extend_from_slice(format);
                self.bytes.push(b':');
                self.bytes.extend_from_slice(text.as_bytes());
                self.bytes.extend_from_slice(b"\r\n");
            }
            Reply::Verbatim { text, .. } => self.bulk(text.as_bytes()),
            Reply::Attribute { attributes, reply } => {
                if resp3 {
                    self.pairs(b'|', attributes.len(), attributes, version);
                }
                self.encode(reply, version);
            }
            Reply::None => {}
        }
    }

    /// Begins an array of which the caller encodes the elements one by one (EXEC, KEYS): no `Vec` of replies is needed.
    pub fn begin_array(&mut self, count: usize) {
        self.count(b'*', count);
    }

    /// Adds bytes that are already encoded.
    pub fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds bytes that are already encoded, without copying them.
    pub fn append_shared(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.shared_bytes += chunk.len();
            self.shared.push_back(Shared { at: self.bytes.len(), chunk });
        }
    }

    /// How many bytes are to be sent.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.bytes.len() - self.sent + self.shared_bytes
    }

    /// Whether nothing is to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len_bytes() == 0
    }

    /// The memory that the output itself holds, in bytes; shared chunks belong to someone else.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.shared.capacity() * size_of::<Shared>()
    }

    /// The bytes to send, in order, in pieces none of which is empty.
    #[must_use]
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks { bytes: &self.bytes, position: self.sent, shared: self.shared.iter(), next: None }
    }

    /// Fills `slices` with the first pieces for a vectored write; answers how many it filled.
    pub fn io_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(self.chunks()) {
            *slice = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    /// Forgets the first `count` bytes: they are sent.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len_bytes(), "sent {count} of {} bytes", self.len_bytes());
        let mut left = count;
        while left > 0 {
            let copied_end = self.shared.front().map_or(self.bytes.len(), |shared| shared.at);
            let copied = left.min(copied_end - self.sent);
            self.sent += copied;
            left -= copied;
            if left == 0 {
                break;
            }
            let front = self.shared.front_mut().expect("more is left than copied bytes, so a chunk is next");
            let sent = left.min(front.chunk.len());
            front.chunk.advance(sent);
            let is_sent = front.chunk.is_empty();
            self.shared_bytes -= sent;
            left -= sent;
            if is_sent {
                self.shared.pop_front();
                self.shared_dropped += 1;
            }
        }
        if self.is_empty() {
            self.clear();
        } else if self.sent >= COMPACT_BYTES_MIN && self.sent >= self.bytes.len() - self.sent {
            self.compact();
        }
    }

    /// Drops everything. Memory is kept for the next batch, up to a bound that follows what batches need.
    pub fn clear(&mut self) {
        self.bytes_dropped += self.bytes.len() as u64;
        self.shared_dropped += self.shared.len() as u64;
        // A connection whose batches are always large keeps its memory; one that was large once gives it back by halves.
        if self.bytes.capacity() > KEPT_BYTES_MAX && self.bytes.len() < self.bytes.capacity() / 4 {
            let capacity_bytes = self.bytes.capacity();
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES_MAX.max(capacity_bytes / 2));
        }
        self.bytes.clear();
        self.shared.clear();
        self.sent = 0;
        self.shared_bytes = 0;
    }

    /// Gives back all memory that is not in use: for a connection that has fallen idle.
    pub fn release_spare(&mut self) {
        self.compact();
        self.bytes.shrink_to_fit();
        self.shared.shrink_to_fit();
    }

    /// The end of what is there now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes_dropped + self.bytes.len() as u64,
            shared: self.shared_dropped + self.shared.len() as u64,
        }
    }

    /// Drops what was added after `mark` (a reply that is not wanted), except what is already sent.
    pub fn truncate_to(&mut self, mark: Mark) {
        let chunks = usize::try_from(mark.shared.saturating_sub(self.shared_dropped)).unwrap_or(usize::MAX);
        while self.shared.len() > chunks {
            let dropped = self.shared.pop_back().expect("longer than `chunks`");
            self.shared_bytes -= dropped.chunk.len();
        }
        let bytes = usize::try_from(mark.bytes.saturating_sub(self.bytes_dropped)).unwrap_or(usize::MAX);
        self.bytes.truncate(bytes.max(self.sent));
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.sent);
        for shared in &mut self.shared {
            shared.at -= self.sent;
        }
        self.bytes_dropped += self.sent as u64;
        self.sent = 0;
    }

    fn items(&mut self, kind: u8, items: &[Reply<'_>], version: Version) {
        self.count(kind, items.len());
        for item in items {
            self.encode(item, version);
        }
    }

    fn pairs(&mut self, kind: u8, count: usize, pairs: &[(Reply<'_>, Reply<'_>)], version: Version) {
        self.count(kind, count);
        for (key, value) in pairs {
            self.encode(key, version);
            self.encode(value, version);
        }
    }

    fn bulk(&mut self, bytes: &[u8]) {
        self.bytes.reserve(bytes.len() + 32);
        self.count(b'$', bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, kind: u8, text: &str) {
        self.bytes.push(kind);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text.as_bytes());
        for byte in &mut self.bytes[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn count(&mut self, kind: u8, count: usize) {
        write_header(&mut self.bytes, kind, count);
    }

    fn header(&mut self, kind: u8, value: i64) {
        write_header(&mut self.bytes, kind, value);
    }
}

/// `$12\r\n` and the like.
pub(crate) fn write_header(bytes: &mut Vec<u8>, kind: u8, value: impl itoa::Integer) {
    bytes.push(kind);
    bytes.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    bytes.extend_from_slice(b"\r\n");
}

/// The pieces of an [`Output`], in order.
#[derive(Debug)]
pub struct Chunks<'a> {
    bytes: &'a [u8],
    position: usize,
    shared: std::collections::vec_deque::Iter<'a, Shared>,
    /// The chunk that follows the copied bytes just answered.
    next: Option<&'a Shared>,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if let Some(shared) = self.next.take() {
            return Some(&shared.chunk);
        }
        self.next = self.shared.next();
        let end = self.next.map_or(self.bytes.len(), |shared| shared.at);
        if end > self.position {
            let copied = &self.bytes[self.position..end];
            self.position = end;
            return Some(copied);
        }
        self.next.take().map(|shared| shared.chunk.as_ref())
    }
}
