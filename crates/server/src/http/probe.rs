//! `sutra-cache health`: a probe for orchestrators, which needs nothing but the binary.

use crate::config;
use crate::settings::Settings;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

/// How long each step (connecting, sending, receiving) may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
const USAGE: &str = "health takes: [--ready] [--url URL], such as http://localhost:8888/ready";

/// Why the server counts as ill.
#[derive(Debug)]
pub enum ProbeError {
    /// The arguments or the settings are wrong.
    Usage(String),
    /// It cannot be reached, or does not answer in time.
    Silent {
        /// What was asked.
        url: String,
        /// What happened.
        error: io::Error,
    },
    /// It answers something else than 200.
    Ill {
        /// What was asked.
        url: String,
        /// The first line of the answer, and its content.
        answer: String,
    },
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeError::Usage(text) => f.write_str(text),
            ProbeError::Silent { url, error } => write!(f, "{url} does not answer: {error}"),
            ProbeError::Ill { url, answer } => write!(f, "{url} answers {answer}"),
        }
    }
}

impl std::error::Error for ProbeError {}

/// Asks the server that the same environment and settings would start, and returns what it says.
///
/// Without arguments the data port is asked for `/health`, which it answers once clients are served; `--ready` asks the HTTP port for
/// `/ready`, which also says how far recovery is; `--url` asks anything.
///
/// # Errors
/// [`ProbeError`]: the server is ill, or not there.
pub fn run(arguments: &[String], environment: &[(String, String)]) -> Result<String, ProbeError> {
    let mut ready = false;
    let mut url = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match (argument.as_str(), argument.strip_prefix("--url=")) {
            ("--ready", _) => ready = true,
            ("--url", _) => url = Some(rest.next().ok_or_else(|| ProbeError::Usage(USAGE.to_owned()))?.clone()),
            (_, Some(given)) => url = Some(given.to_owned()),
            (_, None) => return Err(ProbeError::Usage(USAGE.to_owned())),
        }
    }
    if let Some(url) = url {
        return ask(&url);
    }
    let settings =
        config::load(&[], environment, Path::new(".")).map_err(|error| ProbeError::Usage(error.to_string()))?.settings;
    ask(&own_url(&settings, ready)?)
}

fn own_url(settings: &Settings, ready: bool) -> Result<String, ProbeError> {
    if !ready {
        return Ok(format!("http://{}/health", SocketAddr::new(reachable(&settings.bind), settings.port)));
    }
    let hosts = if settings.http.hosts.is_empty() { &settings.bind } else { &settings.http.hosts };
    match settings.http.port {
        Some(port) => Ok(format!("http://{}/ready", SocketAddr::new(reachable(hosts), port))),
        None => Err(ProbeError::Usage("--ready asks the HTTP port, but HTTP_PORT is off".to_owned())),
    }
}

/// The address under which this machine reaches a listener.
fn reachable(addresses: &[IpAddr]) -> IpAddr {
    match addresses.first() {
        None => Ipv4Addr::LOCALHOST.into(),
        Some(IpAddr::V4(ip)) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        Some(IpAddr::V6(ip)) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        Some(ip) => *ip,
    }
}

fn ask(url: &str) -> Result<String, ProbeError> {
    let usage = || ProbeError::Usage(format!("{url:?} is no address like http://127.0.0.1:8888/ready"));
    let behind = url.strip_prefix("http://").ok_or_else(usage)?;
    let (authority, path) = behind.find('/').map_or((behind, "/"), |slash| behind.split_at(slash));
    if authority.is_empty() || url.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Err(usage());
    }
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    let address = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let answer =
        exchange(&address, authority, path).map_err(|error| ProbeError::Silent { url: url.to_owned(), error })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.starts_with("HTTP/1.") && status.split(' ').nth(1) == Some("200") {
        Ok(body.trim_end().to_owned())
    } else {
        Err(ProbeError::Ill { url: url.to_owned(), answer: format!("{status}: {}", body.trim_end()) })
    }
}

fn exchange(address: &str, host: &str, path: &str) -> io::Result<String> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                // In one piece: the data port answers the first line and closes, and would not take the rest.
                let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
                stream.write_all(request.as_bytes())?;
                let mut answer = Vec::new();
                let received = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
                // A reset behind a whole answer is still an answer: the data port closes without reading the headers.
                if answer.is_empty() {
                    received?;
                }
                return Ok(String::from_utf8_lossy(&answer).into_owned());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_of_the_same_settings_is_asked_where_this_machine_reaches_it() {
        let mut settings = Settings { bind: vec![IpAddr::from([0, 0, 0, 0])], ..Settings::default() };
        assert_eq!(own_url(&settings, false).expect("a URL"), "http://127.0.0.1:50051/health");
        assert_eq!(own_url(&settings, true).expect("a URL"), "http://127.0.0.1:8888/ready");
        settings.http.hosts = vec![IpAddr::from([0_u8; 16])];
        assert_eq!(own_url(&settings, true).expect("a URL"), "http://[::1]:8888/ready");
        settings.http.port = None;
        assert!(own_url(&settings, true).is_err());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in [
            "",
            "127.0.0.1:80",
            "https://localhost/",
            "http://",
            "http://localhost/a b",
            "http://localhost/\r\nFLUSHALL",
        ] {
            assert!(matches!(ask(url), Err(ProbeError::Usage(_))), "{url:?}");
        }
    }
}
