//! Bytes that have arrived on a connection and are not executed yet.
//!
//! Invariant: `start <= end <= buffer.len()`; the buffer is empty (and lent back) whenever nothing waits in it and nobody reads.

use super::pool::{READ_BYTES, return_buffer, take_buffer};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// The least room for a read: less would cost a system call for a few bytes.
const ROOM_BYTES_MIN: usize = 8 * 1024;
/// What waits is moved into a buffer of its own size when no more comes at once, unless it fills most of the buffer anyway.
const OWN_BUFFER_BYTES_MAX: usize = READ_BYTES / 2;

/// The receive buffer of a connection.
#[derive(Debug, Default)]
pub(super) struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    /// The bytes that wait.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Drops the first `count` bytes: they are executed.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
    }

    /// Lends the buffer back if nothing waits in it; otherwise keeps no more memory than what waits needs.
    pub(super) fn settle(&mut self) {
        if self.is_empty() {
            return_buffer(std::mem::take(&mut self.buffer));
            (self.start, self.end) = (0, 0);
        } else if self.len() <= OWN_BUFFER_BYTES_MAX && self.buffer.len() > self.len() {
            let own = self.bytes().to_vec();
            return_buffer(std::mem::replace(&mut self.buffer, own));
            (self.start, self.end) = (0, self.buffer.len());
        }
    }

    /// Reads what is there, at most what fits; `wanted` is how much more the request under way is known to need.
    /// Answers how many bytes came (0: the peer has closed) and whether there was room for more.
    pub(super) fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        wanted: usize,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<(usize, bool)>> {
        self.make_room(wanted.max(ROOM_BYTES_MIN));
        let mut room = ReadBuf::new(&mut self.buffer[self.end..]);
        let polled = Pin::new(stream).poll_read(cx, &mut room);
        let (count, is_full) = (room.filled().len(), room.remaining() == 0);
        match polled {
            Poll::Pending => {
                self.settle();
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                self.end += count;
                Poll::Ready(Ok((count, !is_full)))
            }
        }
    }

    fn make_room(&mut self, wanted: usize) {
        if self.buffer.is_empty() {
            self.buffer = take_buffer();
            (self.start, self.end) = (0, 0);
        } else if self.buffer.len() < READ_BYTES {
            let mut larger = take_buffer();
            larger[..self.len()].copy_from_slice(self.bytes());
            let count = self.len();
            self.buffer = larger;
            (self.start, self.end) = (0, count);
        } else if self.buffer.len() - self.end < wanted && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        }
        let missing = wanted.saturating_sub(self.buffer.len() - self.end);
        if missing > 0 {
            // Exactly so much: what a request declares is reserved only as its bytes arrive.
            self.buffer.reserve_exact(missing);
            self.buffer.resize(self.buffer.len() + missing, 0);
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        return_buffer(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &mut Input, mut bytes: &[u8], wanted: usize) -> (usize, bool) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match input.poll_read(&mut bytes, wanted, &mut cx) {
            Poll::Ready(Ok(read)) => read,
            Poll::Ready(Err(error)) => panic!("{error}"),
            Poll::Pending => panic!("a slice is always ready"),
        }
    }

    #[test]
    fn an_empty_input_holds_no_memory() {
        let mut input = Input::default();
        assert_eq!(read(&mut input, b"PING\r\n", 0), (6, true));
        assert!(input.memory_bytes() >= READ_BYTES);
        input.consume(6);
        input.settle();
        assert_eq!(input.memory_bytes(), 0);
    }

    #[test]
    fn a_request_cut_in_two_keeps_only_its_own_bytes_and_goes_on_where_it_was() {
        let mut input = Input::default();
        read(&mut input, b"PING\r\n*1\r\n$4", 0);
        input.consume(6);
        input.settle();
        assert_eq!(input.memory_bytes(), 6);
        read(&mut input, b"\r\nPING\r\n", 0);
        assert_eq!(input.bytes(), b"*1\r\n$4\r\nPING\r\n");
    }

    #[test]
    fn memory_grows_with_what_arrives_and_not_with_what_is_wanted_at_once() {
        let mut input = Input::default();
        let block = vec![7; READ_BYTES];
        assert_eq!(read(&mut input, &block, 0), (READ_BYTES, false));
        read(&mut input, &block, READ_BYTES);
        assert_eq!(input.len(), 2 * READ_BYTES);
        assert!(input.memory_bytes() <= 2 * READ_BYTES);
        assert!(input.bytes().iter().all(|byte| *byte == 7));
        input.consume(2 * READ_BYTES - 1);
        input.settle();
        assert_eq!((input.bytes(), input.memory_bytes()), (&[7][..], 1));
    }
}
