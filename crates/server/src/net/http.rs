//! The health probe on the data port, and the refusal of everything else a web client may send.
//!
//! A browser can be made to POST to any port; if such lines were executed as commands, a web page could write entries. So the
//! first sign of HTTP ends the connection, as in Redis.

/// What to do about an inline request that looks like HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Http {
    /// Send these bytes, then close.
    Answer(&'static [u8]),
    /// Close without a word, and log.
    Refuse,
}

const HEALTHY: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\nCache-Control: no-store\r\n\
    Connection: close\r\n\r\n{\"status\":\"healthy\"}\n";
const HEALTHY_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\
    Cache-Control: no-store\r\nConnection: close\r\n\r\n";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Looks at an inline request; `None`: it is not HTTP.
pub(super) fn look(args: &[&[u8]]) -> Option<Http> {
    let first = args.first()?;
    if first.eq_ignore_ascii_case(b"POST") || first.eq_ignore_ascii_case(b"Host:") {
        return Some(Http::Refuse);
    }
    let [verb, path, protocol] = args else { return None };
    if !protocol.starts_with(b"HTTP/") {
        return None;
    }
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    Some(match (*verb, path) {
        (b"GET", b"/health") => Http::Answer(HEALTHY),
        (b"HEAD", b"/health") => Http::Answer(HEALTHY_HEAD),
        (b"GET" | b"HEAD", _) => Http::Answer(NOT_FOUND),
        _ => Http::Refuse,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<Http> {
        look(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
    }

    #[test]
    fn only_the_probe_is_answered_with_success() {
        assert_eq!(of("GET /health HTTP/1.1"), Some(Http::Answer(HEALTHY)));
        assert_eq!(of("HEAD /health?x=1 HTTP/1.0"), Some(Http::Answer(HEALTHY_HEAD)));
        assert_eq!(of("GET /other HTTP/1.1"), Some(Http::Answer(NOT_FOUND)));
        for refused in ["POST / HTTP/1.1", "post", "Host: example.org", "PUT /health HTTP/1.1", "OPTIONS * HTTP/1.1"] {
            assert_eq!(of(refused), Some(Http::Refuse), "{refused}");
        }
        for command in ["GET /health", "GET key", "SET a HTTPS/1"] {
            assert_eq!(of(command), None, "{command}");
        }
    }

    #[test]
    fn the_declared_length_is_that_of_the_body() {
        let text = std::str::from_utf8(HEALTHY).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert_eq!(HEALTHY_HEAD, format!("{head}\r\n\r\n").as_bytes());
    }
}
