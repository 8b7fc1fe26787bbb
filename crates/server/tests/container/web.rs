//! A client of HTTP that says exactly what it is told to.

use crate::support::process::{Process, Waited};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

/// The HTTP port that the log names.
pub(crate) fn port_of(process: &Process) -> u16 {
    let Waited::Line(line) = process.wait_for_line("HTTP is answered", PATIENCE) else {
        panic!("no HTTP:\n{}", process.log_text())
    };
    let (_, digits) = line.rsplit_once(':').expect("an address");
    digits.trim_end_matches(|character: char| !character.is_ascii_digit()).parse().expect("a port")
}

/// One request line and these headers, on a connection of its own.
pub(crate) fn ask(port: u16, request: &str, headers: &[&str]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("HTTP accepts connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut text = format!("{request} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        text.push_str("Host: localhost\r\n");
    }
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).expect("the request is sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

pub(crate) fn get(port: u16, path: &str) -> Answer {
    ask(port, &format!("GET {path}"), &[])
}
