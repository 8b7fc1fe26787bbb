//! Replies as a client receives them.
//!
//! A [`FrameDecoder`] keeps the aggregates that it has begun on a stack of its own, so that bytes which trickle in are read
//! once, and nesting costs neither the call stack nor more than its named limit. Elements are stored as they arrive: a
//! count that is only declared allocates nothing.

use crate::number::parse_i64;
use crate::output::write_header;
use bytes::{Buf, Bytes, BytesMut};
use std::fmt;
use std::ops::Range;

/// A reply. Bulk strings are `B`: bytes of their own, or parts of the buffer that was read ([`FrameDecoder::decode_shared`]).
///
/// Text that is not UTF-8 (an error may quote a request's bytes) has its bad bytes replaced by U+FFFD; bulk strings are
/// kept as they are.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame<B = Vec<u8>> {
    /// `+`
    Simple(String),
    /// `-`, and RESP3's `!`: the whole text with its prefix.
    Error(String),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(B),
    /// `_`, and RESP2's `$-1` and `*-1`.
    Null,
    /// `*`
    Array(Vec<Frame<B>>),
    /// `%`
    Map(Vec<(Frame<B>, Frame<B>)>),
    /// `~`
    Set(Vec<Frame<B>>),
    /// `>`: not the answer to a request.
    Push(Vec<Frame<B>>),
    /// `,`
    Double(f64),
    /// `#`
    Boolean(bool),
    /// `(`: decimal digits with at most a sign.
    BigNumber(String),
    /// `=`
    Verbatim {
        /// `txt` or `mkd`: three bytes.
        format: [u8; 3],
        /// The text.
        text: B,
    },
    /// `|`: a reply with remarks that may be ignored.
    Attribute {
        /// The remarks.
        attributes: Vec<(Frame<B>, Frame<B>)>,
        /// The reply.
        reply: Box<Frame<B>>,
    },
}

/// A frame whose bulk strings are places in the buffer.
type Placed = Frame<Range<usize>>;

impl<B> Frame<B> {
    /// The same with every bulk string replaced. Recursive: the nesting is bounded by the decoder that made the frame.
    #[must_use]
    pub fn map<C>(self, cut: &mut impl FnMut(B) -> C) -> Frame<C> {
        let mut all = |frames: Vec<Frame<B>>| frames.into_iter().map(|frame| frame.map(cut)).collect();
        match self {
            Frame::Simple(text) => Frame::Simple(text),
            Frame::Error(text) => Frame::Error(text),
            Frame::Integer(number) => Frame::Integer(number),
            Frame::Bulk(bytes) => Frame::Bulk(cut(bytes)),
            Frame::Null => Frame::Null,
            Frame::Array(frames) => Frame::Array(all(frames)),
            Frame::Set(frames) => Frame::Set(all(frames)),
            Frame::Push(frames) => Frame::Push(all(frames)),
            Frame::Map(pairs) => Frame::Map(map_pairs(pairs, cut)),
            Frame::Double(number) => Frame::Double(number),
            Frame::Boolean(truth) => Frame::Boolean(truth),
            Frame::BigNumber(digits) => Frame::BigNumber(digits),
            Frame::Verbatim { format, text } => Frame::Verbatim { format, text: cut(text) },
            Frame::Attribute { attributes, reply } => {
                Frame::Attribute { attributes: map_pairs(attributes, cut), reply: Box::new(reply.map(cut)) }
            }
        }
    }
}

fn map_pairs<B, C>(pairs: Vec<(Frame<B>, Frame<B>)>, cut: &mut impl FnMut(B) -> C) -> Vec<(Frame<C>, Frame<C>)> {
    pairs.into_iter().map(|(key, value)| (key.map(cut), value.map(cut))).collect()
}

/// What a server may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameLimits {
    /// Longest bulk string.
    pub bulk_bytes_max: usize,
    /// Longest line: a simple string, an error, a number.
    pub line_bytes_max: usize,
    /// Most elements of one aggregate; keys and values of a map count one each.
    pub elements_max: usize,
    /// Deepest nesting of aggregates: 0 allows none.
    pub nesting_max: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        FrameLimits { bulk_bytes_max: 512 << 20, line_bytes_max: 64 * 1024, elements_max: 1 << 28, nesting_max: 64 }
    }
}

/// Why a server's bytes are not replies. The connection cannot be resynchronised and must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// No type begins with this byte.
    UnknownType(u8),
    /// A length that is not a number, or negative other than RESP2's -1.
    InvalidLength,
    /// The text behind this type byte is not a value of its type.
    InvalidValue(u8),
    /// A bulk string is not followed by `\r\n`, or a `\r` in a line not by `\n`.
    MissingLineEnd,
    /// A line is longer than `line_bytes_max`.
    LineTooLong,
    /// A bulk string is longer than `bulk_bytes_max`.
    BulkTooLong,
    /// An aggregate has more than `elements_max` elements.
    TooManyElements,
    /// Aggregates are nested deeper than `nesting_max`.
    NestedTooDeep,
    /// A streamed string or aggregate (`$?`, `*?`): in the specification of RESP3, but no server sends them.
    Streamed,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::UnknownType(byte) => {
                write!(f, "a reply begins with byte 0x{byte:02x}, which is no type of RESP")
            }
            FrameError::InvalidLength => f.write_str("a reply declares an invalid length"),
            FrameError::InvalidValue(kind) => {
                write!(f, "a reply of type '{}' has an invalid value", char::from(*kind))
            }
            FrameError::MissingLineEnd => f.write_str("a reply lacks the line end where its value ends"),
            FrameError::LineTooLong => f.write_str("a line of a reply is too long"),
            FrameError::BulkTooLong => f.write_str("a bulk string of a reply is too long"),
            FrameError::TooManyElements => f.write_str("an aggregate of a reply has too many elements"),
            FrameError::NestedTooDeep => f.write_str("the aggregates of a reply are nested too deep"),
            FrameError::Streamed => f.write_str("streamed strings and aggregates of RESP3 are not supported"),
        }
    }
}

impl std::error::Error for FrameError {}

/// The frame at the start of `buffer` and its length in bytes, or `None` if it is not whole.
///
/// For bytes that arrive in pieces use a [`FrameDecoder`]: this begins anew each time.
///
/// # Errors
/// See [`FrameError`].
pub fn decode_frame(buffer: &[u8], limits: &FrameLimits) -> Result<Option<(Frame, usize)>, FrameError> {
    FrameDecoder::new().decode(buffer, limits)
}

/// Appends a request: an array of bulk strings.
pub fn encode_request<A: AsRef<[u8]>>(arguments: &[A], output: &mut Vec<u8>) {
    write_header(output, b'*', arguments.len());
    for argument in arguments {
        let argument = argument.as_ref();
        write_header(output, b'$', argument.len());
        output.extend_from_slice(argument);
        output.extend_from_slice(b"\r\n");
    }
}

/// The decoder of one connection to a server.
///
/// As with [`Decoder`](crate::Decoder), the caller's buffer begins with the first byte that is not consumed and is only
/// appended to while a frame is not whole.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    /// Where parsing goes on.
    position: usize,
    /// How far the end of the line at `position` has been looked for.
    scanned: usize,
    /// See [`FrameDecoder::bytes_wanted`].
    wanted: usize,
    /// The aggregates that are not complete, the outermost first.
    open: Vec<Open>,
}

/// An aggregate that is being received.
#[derive(Debug)]
struct Open {
    kind: u8,
    /// Elements that are still to come; an attribute counts its reply too.
    left: usize,
    elements: Vec<Placed>,
}

impl FrameDecoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The frame at the start of `buffer` and its length in bytes; `None`: call again with the same buffer and more bytes
    /// at its end.
    ///
    /// # Errors
    /// See [`FrameError`]. The decoder cannot be used any more.
    pub fn decode(&mut self, buffer: &[u8], limits: &FrameLimits) -> Result<Option<(Frame, usize)>, FrameError> {
        let placed = self.placed(buffer, limits)?;
        Ok(placed.map(|(frame, consumed)| (frame.map(&mut |place| buffer[place].to_vec()), consumed)))
    }

    /// Takes the frame at the start of `buffer` out of it, without copying: bulk strings share the buffer's memory, all of which lives as
    /// long as any of them. `None`: call again when more bytes were appended.
    ///
    /// # Errors
    /// See [`FrameError`]. The decoder cannot be used any more.
    pub fn decode_shared(
        &mut self,
        buffer: &mut BytesMut,
        limits: &FrameLimits,
    ) -> Result<Option<Frame<Bytes>>, FrameError> {
        let Some((frame, consumed)) = self.placed(buffer, limits)? else { return Ok(None) };
        // Most replies to writes have nothing to share; taking them out costs nothing then.
        let bytes = if matches!(frame, Frame::Simple(_) | Frame::Integer(_) | Frame::Null) {
            buffer.advance(consumed);
            Bytes::new()
        } else {
            buffer.split_to(consumed).freeze()
        };
        Ok(Some(frame.map(&mut |place| bytes.slice(place))))
    }

    /// How many more bytes are needed at least, as far as the value at the current place declares it; for reserving room. 0 if not known.
    #[must_use]
    pub fn bytes_wanted(&self) -> usize {
        self.wanted
    }

    fn placed(&mut self, buffer: &[u8], limits: &FrameLimits) -> Result<Option<(Placed, usize)>, FrameError> {
        self.wanted = 0;
        while let Some(item) = self.item(buffer, limits)? {
            let mut frame = match item {
                Item::Open(open) if open.left > 0 => {
                    if self.open.len() >= limits.nesting_max {
                        return Err(FrameError::NestedTooDeep);
                    }
                    self.open.push(open);
                    continue;
                }
                Item::Open(empty) => empty.close(),
                Item::Frame(frame) => frame,
            };
            loop {
                let Some(parent) = self.open.last_mut() else {
                    let consumed = self.position;
                    self.position = 0;
                    self.scanned = 0;
                    return Ok(Some((frame, consumed)));
                };
                parent.elements.push(frame);
                parent.left -= 1;
                if parent.left > 0 {
                    break;
                }
                frame = self.open.pop().expect("`parent` is its last").close();
            }
        }
        Ok(None)
    }

    /// The value at `position`, of an aggregate only its header; `None` if it is not whole.
    fn item(&mut self, buffer: &[u8], limits: &FrameLimits) -> Result<Option<Item>, FrameError> {
        let Some(&kind) = buffer.get(self.position) else { return Ok(None) };
        if !b"+-:$*%~>,#(=|_!".contains(&kind) {
            // `;` and `.` are parts of streams, whose beginning was already refused.
            return Err(FrameError::UnknownType(kind));
        }
        let Some(end) = self.line_end(buffer, limits)? else { return Ok(None) };
        let (line, next) = (&buffer[self.position + 1..end], end + 2);
        let frame = match kind {
            b'+' => Frame::Simple(text(line)),
            b'-' => Frame::Error(text(line)),
            b':' => Frame::Integer(integer(line).ok_or(FrameError::InvalidValue(kind))?),
            b',' => Frame::Double(double(line).ok_or(FrameError::InvalidValue(kind))?),
            b'(' if is_big_number(line) => Frame::BigNumber(text(line)),
            b'#' if line == b"t" => Frame::Boolean(true),
            b'#' if line == b"f" => Frame::Boolean(false),
            b'_' if line.is_empty() => Frame::Null,
            b'#' | b'_' | b'(' => return Err(FrameError::InvalidValue(kind)),
            b'$' | b'*' if line == b"-1" => Frame::Null,
            b'$' | b'=' | b'!' => {
                let bulk_bytes = declared(line, limits.bulk_bytes_max, FrameError::BulkTooLong)?;
                let wanted = bulk_bytes.saturating_add(2);
                if buffer.len() - next < wanted {
                    self.wanted = wanted - (buffer.len() - next);
                    return Ok(None);
                }
                let (bulk, behind) = buffer[next..].split_at(bulk_bytes);
                let place = next..next + bulk_bytes;
                if !behind.starts_with(b"\r\n") {
                    return Err(FrameError::MissingLineEnd);
                }
                self.position = next + bulk_bytes + 2;
                return Ok(Some(Item::Frame(match (kind, bulk) {
                    (b'$', _) => Frame::Bulk(place),
                    (b'!', _) => Frame::Error(text(bulk)),
                    (_, [a, b, c, b':', ..]) => {
                        Frame::Verbatim { format: [*a, *b, *c], text: place.start + 4..place.end }
                    }
                    _ => return Err(FrameError::InvalidValue(kind)),
                })));
            }
            aggregate => {
                let count = declared(line, limits.elements_max, FrameError::TooManyElements)?;
                let is_pairs = matches!(aggregate, b'%' | b'|');
                let elements = count.saturating_mul(if is_pairs { 2 } else { 1 });
                if elements > limits.elements_max {
                    return Err(FrameError::TooManyElements);
                }
                self.position = next;
                let left = elements + usize::from(aggregate == b'|');
                return Ok(Some(Item::Open(Open { kind, left, elements: Vec::new() })));
            }
        };
        self.position = next;
        Ok(Some(Item::Frame(frame)))
    }

    /// Where the `\r\n` of the line at `position` is.
    fn line_end(&mut self, buffer: &[u8], limits: &FrameLimits) -> Result<Option<usize>, FrameError> {
        let from = self.scanned.max(self.position);
        let found = buffer[from..].iter().position(|&byte| byte == b'\r').map(|offset| from + offset);
        self.scanned = found.unwrap_or(buffer.len());
        if self.scanned - self.position > limits.line_bytes_max {
            return Err(FrameError::LineTooLong);
        }
        match found.map(|end| (end, buffer.get(end + 1))) {
            Some((end, Some(b'\n'))) => Ok(Some(end)),
            Some((_, Some(_))) => Err(FrameError::MissingLineEnd),
            Some((_, None)) | None => Ok(None),
        }
    }
}

enum Item {
    Frame(Placed),
    Open(Open),
}

impl Open {
    fn close(mut self) -> Placed {
        match self.kind {
            b'~' => Frame::Set(self.elements),
            b'>' => Frame::Push(self.elements),
            b'%' => Frame::Map(pairs(self.elements)),
            b'|' => {
                let reply = self.elements.pop().expect("an attribute is complete when its reply is there");
                Frame::Attribute { attributes: pairs(self.elements), reply: Box::new(reply) }
            }
            _ => Frame::Array(self.elements),
        }
    }
}

fn pairs(elements: Vec<Placed>) -> Vec<(Placed, Placed)> {
    let mut pairs = Vec::with_capacity(elements.len() / 2);
    let mut elements = elements.into_iter();
    while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
        pairs.push((key, value));
    }
    pairs
}

/// A length that a line declares.
fn declared(line: &[u8], max: usize, too_large: FrameError) -> Result<usize, FrameError> {
    if line == b"?" {
        return Err(FrameError::Streamed);
    }
    let length = parse_i64(line).ok_or(FrameError::InvalidLength)?;
    let length = usize::try_from(length).map_err(|_| FrameError::InvalidLength)?;
    if length > max { Err(too_large) } else { Ok(length) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// RESP allows a `+` before an integer.
fn integer(line: &[u8]) -> Option<i64> {
    match line.strip_prefix(b"+") {
        Some(digits) if digits.first().is_some_and(u8::is_ascii_digit) => parse_i64(digits),
        Some(_) => None,
        None => parse_i64(line),
    }
}

/// Unlike in a request, not-a-number is a value, and a number that is too large is infinite.
fn double(line: &[u8]) -> Option<f64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

fn is_big_number(line: &[u8]) -> bool {
    let digits = line.strip_prefix(b"-").or_else(|| line.strip_prefix(b"+")).unwrap_or(line);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}
