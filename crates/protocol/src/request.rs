//! Requests as a server receives them: RESP arrays of bulk strings, or inline commands.
//!
//! The decoder answers where the arguments lie in the caller's buffer: nothing is copied. It remembers how far it has come
//! in a request that is only partly there, so bytes that trickle in are looked at once.

use crate::number::parse_i64;
use std::fmt;

/// What a connection may send. The defaults are Redis's, but for `arguments_max`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument (`proto-max-bulk-len`).
    pub bulk_bytes_max: usize,
    /// Most arguments of one request: 1,048,576 as in Redis up to version 6; Redis 7 has no limit below 2^31 - 1.
    pub arguments_max: usize,
    /// Longest inline request, and longest line that declares a length.
    pub inline_bytes_max: usize,
    /// Most bytes of a request that is not complete (`client-query-buffer-limit`).
    pub query_buffer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bulk_bytes_max: 512 << 20,
            arguments_max: 1024 * 1024,
            inline_bytes_max: 64 * 1024,
            query_buffer_bytes_max: 1 << 30,
        }
    }
}

/// Most arguments of a request before authentication.
const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;
/// Longest argument before authentication.
const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;
/// Memory for so many arguments is kept from one request to the next.
const KEPT_ARGUMENTS_MAX: usize = 1024;
/// Bounds of [`Decoder::bytes_wanted`].
const STEP_BYTES_MIN: usize = 16 * 1024;
const STEP_BYTES_MAX: usize = 1024 * 1024;

/// Why a connection's bytes are not requests. The connection cannot be resynchronised: send the error, then close.
///
/// Displayed as Redis 7 sends it, prefix included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// The number of arguments is not a number, or too large.
    InvalidMultibulkLength,
    /// The length of an argument is not a number, negative, or too large.
    InvalidBulkLength,
    /// An argument does not begin with `$` but with this byte.
    ExpectedDollar(u8),
    /// The line with the number of arguments does not end.
    TooBigMultibulkCount,
    /// The line with an argument's length does not end.
    TooBigBulkCount,
    /// An inline request does not end.
    TooBigInline,
    /// An inline request has a quote that is not closed, or closed in the middle of an argument.
    UnbalancedQuotes,
    /// More arguments than are allowed before authentication.
    UnauthenticatedMultibulkLength,
    /// A longer argument than is allowed before authentication.
    UnauthenticatedBulkLength,
    /// The request is longer than the query buffer may be. Redis closes without an answer; this text is ours.
    QueryBufferFull,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ERR Protocol error: ")?;
        f.write_str(match self {
            ProtocolError::InvalidMultibulkLength => "invalid multibulk length",
            ProtocolError::InvalidBulkLength => "invalid bulk length",
            // Line ends are sent as spaces, as in every error.
            ProtocolError::ExpectedDollar(b'\r' | b'\n') => "expected '$', got ' '",
            ProtocolError::ExpectedDollar(byte) => return write!(f, "expected '$', got '{}'", char::from(*byte)),
            ProtocolError::TooBigMultibulkCount => "too big mbulk count string",
            ProtocolError::TooBigBulkCount => "too big bulk count string",
            ProtocolError::TooBigInline => "too big inline request",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            ProtocolError::UnauthenticatedBulkLength => "unauthenticated bulk length",
            ProtocolError::QueryBufferFull => "max query buffer length reached",
        })
    }
}

impl std::error::Error for ProtocolError {}

/// The decoder of one connection.
///
/// The caller keeps a buffer whose first byte is the first byte that [`decode`](Decoder::decode) has not consumed, and
/// between calls that want more bytes it only appends to it.
///
/// ```
/// use sutra_protocol::{Decoder, Limits};
/// let buffer = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n";
/// let (mut decoder, limits) = (Decoder::new(), Limits::default());
/// let consumed = decoder.decode(buffer, &limits, true)?.expect("a whole request");
/// assert_eq!(decoder.arguments(buffer).iter().collect::<Vec<_>>(), [&b"GET"[..], b"k"]);
/// let buffer = &buffer[consumed..];
/// assert_eq!(decoder.decode(buffer, &limits, true)?, Some(6));
/// assert_eq!(decoder.arguments(buffer).get(0), Some(&b"PING"[..]));
/// # Ok::<(), sutra_protocol::ProtocolError>(())
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    /// Where parsing goes on, counted from the start of the buffer.
    position: usize,
    /// How far the end of the line at `position` has been looked for.
    scanned: usize,
    /// Arguments that are still to come; 0: between requests.
    left: usize,
    /// The length of the argument that begins at `position`, once its line has been read.
    bulk_bytes: Option<usize>,
    /// Where the arguments begin and end, in the buffer or in `unquoted`.
    ranges: Vec<(usize, usize)>,
    /// The arguments of an inline request, without quotes and escapes.
    unquoted: Vec<u8>,
    is_inline: bool,
    /// `decode` has answered a request and its arguments may be looked at.
    is_complete: bool,
    /// Bytes at the start of the buffer that are empty requests.
    skipped: usize,
    /// The length of the buffer that was not enough.
    seen: usize,
}

impl Decoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for the next request at the start of `buffer`.
    ///
    /// `Ok(Some(consumed))`: it is complete, [`arguments`](Decoder::arguments) are there (at least one), and the next call is
    /// to be given the buffer from `consumed` on. `Ok(None)`: call again with the same buffer and more bytes at its end.
    /// Empty requests (`*0`, `*-1`, an empty line) are passed over.
    ///
    /// # Errors
    /// See [`ProtocolError`]; later calls answer the same.
    pub fn decode(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
        is_authenticated: bool,
    ) -> Result<Option<usize>, ProtocolError> {
        if self.is_complete {
            self.restart();
        }
        if self.find(buffer, limits, is_authenticated)? {
            self.is_complete = true;
            return Ok(Some(self.position));
        }
        self.seen = buffer.len();
        if buffer.len() > limits.query_buffer_bytes_max {
            return Err(ProtocolError::QueryBufferFull);
        }
        Ok(None)
    }

    /// The arguments of the request just decoded; `buffer` as it was given to [`decode`](Decoder::decode). None if that did
    /// not answer a request.
    #[must_use]
    pub fn arguments<'a>(&'a self, buffer: &'a [u8]) -> Arguments<'a> {
        let bytes = if self.is_inline { &self.unquoted } else { buffer };
        Arguments { bytes, ranges: if self.is_complete { &self.ranges } else { &[] } }
    }

    /// Whether the request just decoded was an inline command: a line of text, as people and HTTP clients send.
    #[must_use]
    pub fn is_inline(&self) -> bool {
        self.is_inline
    }

    /// After `decode` wanted more bytes: how many bytes at the start of the buffer are empty requests, which the caller may
    /// now remove from it (and only once: the decoder counts from the new start). Otherwise they stay there until a request
    /// follows them.
    pub fn take_skipped(&mut self) -> usize {
        if self.is_complete {
            return 0;
        }
        let skipped = std::mem::take(&mut self.skipped);
        self.position -= skipped;
        self.scanned = self.scanned.saturating_sub(skipped);
        self.seen -= skipped;
        for (start, end) in &mut self.ranges {
            *start -= skipped;
            *end -= skipped;
        }
        skipped
    }

    /// For how many more bytes to reserve memory before reading again: what the argument that is being received still
    /// lacks, but never much more than has already arrived, nor more than 1 MiB; 0 if that is not known.
    #[must_use]
    pub fn bytes_wanted(&self) -> usize {
        match self.bulk_bytes {
            Some(bulk_bytes) if !self.is_complete => {
                let missing = self.position.saturating_add(bulk_bytes).saturating_add(2).saturating_sub(self.seen);
                missing.min(self.seen.clamp(STEP_BYTES_MIN, STEP_BYTES_MAX))
            }
            Some(_) | None => 0,
        }
    }

    /// The memory that the decoder itself holds, in bytes.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<(usize, usize)>() + self.unquoted.capacity()
    }

    fn restart(&mut self) {
        self.position = 0;
        self.scanned = 0;
        self.skipped = 0;
        self.is_complete = false;
        self.is_inline = false;
        self.ranges.clear();
        if self.ranges.capacity() > KEPT_ARGUMENTS_MAX {
            self.ranges.shrink_to(KEPT_ARGUMENTS_MAX);
        }
    }

    /// Goes on from `position`; `true`: a request is complete and ends at `position`.
    fn find(&mut self, buffer: &[u8], limits: &Limits, is_authenticated: bool) -> Result<bool, ProtocolError> {
        while self.left == 0 {
            match buffer.get(self.position) {
                None => return Ok(false),
                Some(b'*') => {
                    let Some((count, next)) = self.count_line(buffer, limits)? else { return Ok(false) };
                    if count > limits.arguments_max as i64 {
                        return Err(ProtocolError::InvalidMultibulkLength);
                    }
                    if count > UNAUTHENTICATED_ARGUMENTS_MAX as i64 && !is_authenticated {
                        return Err(ProtocolError::UnauthenticatedMultibulkLength);
                    }
                    self.position = next;
                    self.left = usize::try_from(count).unwrap_or(0);
                }
                Some(_) => {
                    let Some(next) = self.inline_line(buffer, limits)? else { return Ok(false) };
                    self.position = next;
                    if !self.ranges.is_empty() {
                        return Ok(true);
                    }
                    self.is_inline = false;
                }
            }
            if self.left == 0 {
                self.skipped = self.position;
            }
        }
        while self.left > 0 {
            let bulk_bytes = match self.bulk_bytes.take() {
                Some(bulk_bytes) => bulk_bytes,
                None => {
                    let Some((length, next)) = self.bulk_line(buffer, limits)? else { return Ok(false) };
                    let bulk_bytes = usize::try_from(length).map_err(|_| ProtocolError::InvalidBulkLength)?;
                    if bulk_bytes > limits.bulk_bytes_max {
                        return Err(ProtocolError::InvalidBulkLength);
                    }
                    if bulk_bytes > UNAUTHENTICATED_BULK_BYTES_MAX && !is_authenticated {
                        return Err(ProtocolError::UnauthenticatedBulkLength);
                    }
                    self.position = next;
                    bulk_bytes
                }
            };
            // Like Redis, do not look at the two bytes behind an argument, which should be `\r\n`.
            if buffer.len() - self.position < bulk_bytes.saturating_add(2) {
                self.bulk_bytes = Some(bulk_bytes);
                return Ok(false);
            }
            let end = self.position + bulk_bytes;
            self.ranges.push((self.position, end));
            self.position = end + 2;
            self.left -= 1;
        }
        Ok(true)
    }

    /// `*2\r\n` at `position`: the number and where the next line begins.
    #[inline]
    fn count_line(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<(i64, usize)>, ProtocolError> {
        if let Some(found) = short_number(buffer, self.position) {
            return Ok(Some(found));
        }
        let Some(end) = self.line_end(buffer, limits, ProtocolError::TooBigMultibulkCount)? else { return Ok(None) };
        match parse_i64(&buffer[self.position + 1..end]) {
            Some(count) => Ok(Some((count, end + 2))),
            None => Err(ProtocolError::InvalidMultibulkLength),
        }
    }

    /// `$12\r\n` at `position`: the number and where the argument begins.
    #[inline]
    fn bulk_line(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<(i64, usize)>, ProtocolError> {
        if buffer.get(self.position) == Some(&b'$')
            && let Some(found) = short_number(buffer, self.position)
        {
            return Ok(Some(found));
        }
        let Some(end) = self.line_end(buffer, limits, ProtocolError::TooBigBulkCount)? else { return Ok(None) };
        if buffer[self.position] != b'$' {
            return Err(ProtocolError::ExpectedDollar(buffer[self.position]));
        }
        match parse_i64(&buffer[self.position + 1..end]) {
            Some(length) => Ok(Some((length, end + 2))),
            None => Err(ProtocolError::InvalidBulkLength),
        }
    }

    /// Where the `\r` of the line at `position` is, once the byte behind it is there too.
    #[cold]
    fn line_end(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
        too_big: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let end = self.scan(buffer, b'\r');
        if end.unwrap_or(buffer.len()) - self.position > limits.inline_bytes_max {
            return Err(too_big);
        }
        Ok(end.filter(|end| buffer.len() >= end + 2))
    }

    /// The next `wanted` byte from `position` on; remembers how far it has looked.
    fn scan(&mut self, buffer: &[u8], wanted: u8) -> Option<usize> {
        let from = self.scanned.max(self.position);
        let found = buffer.get(from..)?.iter().position(|&byte| byte == wanted).map(|offset| from + offset);
        self.scanned = found.unwrap_or(buffer.len());
        found
    }

    /// An inline request at `position`, whose arguments go to `unquoted`; where the next request begins.
    #[cold]
    fn inline_line(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let end = self.scan(buffer, b'\n');
        if end.unwrap_or(buffer.len()) - self.position > limits.inline_bytes_max {
            return Err(ProtocolError::TooBigInline);
        }
        let Some(end) = end else { return Ok(None) };
        let line = &buffer[self.position..end];
        self.is_inline = true;
        self.unquoted.clear();
        split_inline(line, &mut self.unquoted, &mut self.ranges)?;
        Ok(Some(end + 1))
    }
}

/// A number of one to ten digits behind the byte at `position`, if its line is whole: nearly every line is. The rest, and
/// whatever is wrong, is left to the careful way.
#[inline]
fn short_number(buffer: &[u8], position: usize) -> Option<(i64, usize)> {
    let line = buffer.get(position + 1..)?;
    let mut value = 0_i64;
    for (index, &byte) in line.iter().take(11).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + i64::from(digit);
            continue;
        }
        let is_canonical = index == 1 || (index > 1 && line[0] != b'0');
        let is_whole = byte == b'\r' && index + 1 < line.len();
        return (is_whole && is_canonical).then_some((value, position + 1 + index + 2));
    }
    None
}

/// Splits a line into arguments by the rules of Redis's `sdssplitargs`: double quotes with `\n \r \t \b \a \xHH` and any
/// other escaped byte for itself, single quotes with `\'`; a closing quote ends the argument. A zero byte is a byte like any
/// other (Redis takes it for the end of what it has received, and waits).
fn split_inline(line: &[u8], unquoted: &mut Vec<u8>, ranges: &mut Vec<(usize, usize)>) -> Result<(), ProtocolError> {
    let mut rest = line;
    loop {
        while let Some((first, behind)) = rest.split_first()
            && is_space(*first)
        {
            rest = behind;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = unquoted.len();
        loop {
            match rest {
                [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => break,
                [quote @ (b'"' | b'\''), behind @ ..] => {
                    rest = unquote(*quote, behind, unquoted)?;
                    break;
                }
                [byte, behind @ ..] => {
                    unquoted.push(*byte);
                    rest = behind;
                }
            }
        }
        ranges.push((start, unquoted.len()));
    }
}

/// Copies a quoted text without its escapes; answers what is behind the closing quote: a space or nothing.
fn unquote<'a>(quote: u8, text: &'a [u8], unquoted: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [byte, behind @ ..] if *byte == quote => {
                return match behind.first() {
                    Some(next) if !is_space(*next) => Err(ProtocolError::UnbalancedQuotes),
                    Some(_) | None => Ok(behind),
                };
            }
            [b'\\', b'x', high, low, behind @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                unquoted.push(hex_digit(*high) << 4 | hex_digit(*low));
                behind
            }
            [b'\\', escaped, behind @ ..] if quote == b'"' => {
                unquoted.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    byte => *byte,
                });
                behind
            }
            [b'\\', b'\'', behind @ ..] if quote == b'\'' => {
                unquoted.push(b'\'');
                behind
            }
            [byte, behind @ ..] => {
                unquoted.push(*byte);
                behind
            }
        };
    }
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        digit => (digit | 0x20) - b'a' + 10,
    }
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The arguments of a request, the command's name first.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a> {
    bytes: &'a [u8],
    ranges: &'a [(usize, usize)],
}

impl<'a> Arguments<'a> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.ranges.get(index).map(|&(start, end)| &self.bytes[start..end])
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        self.ranges.iter().map(move |&(start, end)| &bytes[start..end])
    }
}
