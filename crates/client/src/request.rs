//! A command and its arguments, encoded as they are given.

use std::time::Duration;

/// A command to be sent. Arguments are bytes; numbers are written as text, as everywhere in RESP.
///
/// ```
/// use sutra_cache_client::Request;
///
/// let request = Request::new("SET").arg("key").arg("value").arg("EX").number(60);
/// assert_eq!(request.arguments(), 5);
/// ```
#[derive(Debug, Clone)]
pub struct Request {
    arguments: usize,
    body: Vec<u8>,
    repeatable: bool,
    takes_long: bool,
    timeout: Option<Duration>,
}

impl Request {
    /// A command without arguments yet.
    #[must_use]
    pub fn new(name: &str) -> Request {
        let takes_long = name.starts_with("CACHE.") && LONG.contains(&name);
        Request { arguments: 0, body: Vec::with_capacity(64), repeatable: false, takes_long, timeout: None }.arg(name)
    }

    /// A command that changes nothing, or whose repetition changes nothing more: it is sent again if the connection ends before its answer
    /// has come.
    #[must_use]
    pub fn read(name: &str) -> Request {
        let mut request = Request::new(name);
        request.repeatable = true;
        request
    }

    /// Says that it may be sent again (see [`Request::read`]).
    #[must_use]
    pub fn repeatable(mut self) -> Request {
        self.repeatable = true;
        self
    }

    /// How long its answer is waited for, instead of the client's `read_timeout`: for commands that wait or take long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.timeout = Some(timeout);
        self
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<[u8]>) -> Request {
        self.push(argument.as_ref());
        self
    }

    /// One more argument, a number.
    #[must_use]
    pub fn number(mut self, number: impl Into<i128>) -> Request {
        self.push(number.into().to_string().as_bytes());
        self
    }

    /// One more argument, a number with a fraction, as exactly as it is.
    #[must_use]
    pub fn float(mut self, number: f64) -> Request {
        self.push(number.to_string().as_bytes());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: AsRef<[u8]>>(mut self, arguments: impl IntoIterator<Item = A>) -> Request {
        for argument in arguments {
            self.push(argument.as_ref());
        }
        self
    }

    /// One more argument, in place.
    #[inline]
    pub fn push(&mut self, argument: &[u8]) {
        self.body.reserve(argument.len() + HEADER_BYTES_MAX);
        header(b'$', argument.len(), &mut self.body);
        self.body.extend_from_slice(argument);
        self.body.extend_from_slice(b"\r\n");
        self.arguments += 1;
    }

    /// How many arguments there are, the name included.
    #[must_use]
    pub fn arguments(&self) -> usize {
        self.arguments
    }

    pub(crate) fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    pub(crate) fn own_timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether the shard may be at it for long, during which it answers nothing else on the connection.
    pub(crate) fn takes_long(&self) -> bool {
        self.takes_long || self.timeout.is_some()
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.body.len() + HEADER_BYTES_MAX
    }

    #[inline]
    pub(crate) fn write(&self, output: &mut Vec<u8>) {
        output.reserve(self.len_bytes());
        header(b'*', self.arguments, output);
        output.extend_from_slice(&self.body);
    }
}

/// Commands that look at many entries, or for which the shard may have to ask an embedder.
const LONG: [&str; 5] = ["CACHE.ASK", "CACHE.INVALIDATE", "CACHE.LOOKUP", "CACHE.SEARCH", "CACHE.WARM"];

/// Room for the line before an argument, or before the first.
const HEADER_BYTES_MAX: usize = 24;

#[inline]
fn header(kind: u8, length: usize, output: &mut Vec<u8>) {
    output.push(kind);
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut left = length;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    output.extend_from_slice(&digits[at..]);
    output.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_an_array_of_bulk_strings() {
        let mut bytes = Vec::new();
        Request::new("SET").arg(b"k\r\n").arg("").number(-7).float(0.85).args(["a", "b"]).write(&mut bytes);
        assert_eq!(
            bytes.escape_ascii().to_string(),
            r"*7\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$0\r\n\r\n$2\r\n-7\r\n$4\r\n0.85\r\n$1\r\na\r\n$1\r\nb\r\n"
        );
    }

    #[test]
    fn a_request_that_may_take_long_is_known_by_its_name_or_its_timeout() {
        for (request, takes_long) in [
            (Request::read("GET"), false),
            (Request::read("CACHE.GET"), false),
            (Request::read("CACHE.LOOKUP"), true),
            (Request::read("BLPOP").timeout(Duration::from_secs(60)), true),
        ] {
            assert_eq!(request.takes_long(), takes_long, "{request:?}");
        }
    }

    #[test]
    fn lengths_of_any_number_of_digits_are_written() {
        for length in [0, 9, 10, 1234567890, usize::MAX] {
            let mut bytes = Vec::new();
            header(b'$', length, &mut bytes);
            assert_eq!(bytes, format!("${length}\r\n").into_bytes());
        }
    }
}
