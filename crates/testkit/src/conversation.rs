//! Conversations: files of lines sent and lines expected, played against anything that answers RESP.
//!
//! ```text
//! # comment
//! > SET k "v a"            sends a command (redis-cli quoting)
//! < OK                     the next reply: simple string; `(integer) 1`, `"v a"`, `(nil)`, `(nil-array)`, `(error) ERR …`,
//!                          `["a", 1, (nil)]`, `{"a": 1}`, `~["a"]`, `>["a"]`, `(double) 1.5`, `(true)`, `(verbatim) "txt:…"`
//! <~ ["a", "b"]            compared without order, at every level
//! <? 7.*                   a glob (`*` and `?`) over a string's text, or over the notation of any other reply
//! clock +1500              milliseconds pass; a peer whose clock cannot be set is not played from there on
//! @2 > GET k               on another connection; its reply is `@2 < …`
//! requires redis 7.4       what follows is not played against an older reference server
//! only sutra               what follows is played against our server alone (until the next `requires`)
//! ```
//!
//! A peer is anything with connections: dispatch in process, our server's socket, the reference server. Each file is played
//! from an empty keyspace. All mismatches of a file are collected; a peer that cannot be read ends the file.

mod notation;
mod reference;
mod socket;
mod value;

pub use reference::Reference;
pub use socket::{ByteByByte, Connections};
pub use value::Value;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

/// What a conversation is played against.
pub trait Peer {
    /// Sends the bytes of a request on a connection, opened on first use.
    fn send(&mut self, connection: u32, request: &[u8]) -> io::Result<()>;
    /// Some more bytes of replies from a connection: waits for at least one, fails if none will come.
    fn receive(&mut self, connection: u32) -> io::Result<Vec<u8>>;
    /// Lets time pass; `false` if this peer's clock is not ours to set.
    fn advance(&mut self, milliseconds: u64) -> bool;
    /// The Redis version of a reference server; `None`: our own server, for which every line is meant.
    fn reference_version(&self) -> Option<Redis>;
}

/// A version of Redis: major, minor.
pub type Redis = (u32, u32);

/// A parsed conversation.
#[derive(Debug)]
pub struct Conversation {
    name: String,
    steps: Vec<(usize, Step)>,
}

#[derive(Debug)]
enum Step {
    Send { connection: u32, text: String, arguments: Vec<Vec<u8>> },
    Expect { connection: u32, expected: Expected },
    Clock(u64),
    Requires(Redis),
    OnlyOurs,
}

#[derive(Debug)]
enum Expected {
    Exactly(Value),
    Unordered(Value),
    Glob(String),
}

/// One reply that was not as expected.
#[derive(Debug)]
pub struct Mismatch {
    /// File and line of the expectation.
    pub place: String,
    /// The last command sent on that connection.
    pub sent: String,
    /// What the file says.
    pub expected: String,
    /// What came, or why nothing came.
    pub got: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { place, sent, expected, got } = self;
        write!(f, "{place}:\n  sent      {sent}\n  expected  {expected}\n  got       {got}")
    }
}

impl Conversation {
    /// Reads a file. Its name, as given, stands in every message.
    pub fn open(path: &Path) -> io::Result<Conversation> {
        let text = std::fs::read_to_string(path)?;
        Conversation::parse(&path.display().to_string(), &text)
            .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
    }

    /// Reads the text of a conversation; the error names file, line and reason.
    pub fn parse(name: &str, text: &str) -> Result<Conversation, String> {
        let mut steps = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let step = parse_line(line).map_err(|why| format!("{name}:{}: {why}: {line}", index + 1))?;
            steps.extend(step.map(|step| (index + 1, step)));
        }
        Ok(Conversation { name: name.into(), steps })
    }

    /// The name given when it was read.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Plays the conversation from its first line. The peer's keyspace must be empty and its connections fresh.
    pub fn play(&self, peer: &mut dyn Peer) -> Vec<Mismatch> {
        let mut play = Play { name: &self.name, peer, connections: BTreeMap::new(), mismatches: Vec::new() };
        let mut meant = true;
        for (line, step) in &self.steps {
            let go_on = match step {
                Step::Requires(version) => {
                    meant = play.peer.reference_version().is_none_or(|peer| peer >= *version);
                    true
                }
                Step::OnlyOurs => {
                    meant = play.peer.reference_version().is_none();
                    true
                }
                Step::Send { .. } | Step::Expect { .. } | Step::Clock(_) if !meant => true,
                Step::Send { connection, text, arguments } => play.send(*line, *connection, text, arguments),
                Step::Expect { connection, expected } => play.expect(*line, *connection, expected),
                Step::Clock(milliseconds) => play.peer.advance(*milliseconds),
            };
            if !go_on {
                return play.mismatches;
            }
        }
        play.finish();
        play.mismatches
    }
}

/// The bytes of a request: an array of bulks.
#[must_use]
pub fn encode_request(arguments: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[derive(Default)]
struct Connection {
    unread: Vec<u8>,
    sent: String,
    line: usize,
}

struct Play<'p> {
    name: &'p str,
    peer: &'p mut dyn Peer,
    connections: BTreeMap<u32, Connection>,
    mismatches: Vec<Mismatch>,
}

impl Play<'_> {
    fn mismatch(&mut self, line: usize, connection: u32, expected: String, got: String) {
        let sent = self.connections.entry(connection).or_default().sent.clone();
        self.mismatches.push(Mismatch { place: format!("{}:{line}", self.name), sent, expected, got });
    }

    /// Sends a command; `false` if the peer is gone.
    fn send(&mut self, line: usize, connection: u32, text: &str, arguments: &[Vec<u8>]) -> bool {
        self.leftover(connection);
        let state = self.connections.entry(connection).or_default();
        state.sent = text.into();
        state.line = line;
        match self.peer.send(connection, &encode_request(arguments)) {
            Ok(()) => true,
            Err(error) => {
                self.mismatch(line, connection, "to be able to send".into(), error.to_string());
                false
            }
        }
    }

    /// Compares the next reply; `false` if there is none.
    fn expect(&mut self, line: usize, connection: u32, expected: &Expected) -> bool {
        match self.reply(connection) {
            Ok(got) => {
                if !expected.meets(&got) {
                    self.mismatch(line, connection, expected.to_string(), got.to_string());
                }
                true
            }
            Err(why) => {
                self.mismatch(line, connection, expected.to_string(), why);
                false
            }
        }
    }

    fn reply(&mut self, connection: u32) -> Result<Value, String> {
        let state = self.connections.entry(connection).or_default();
        loop {
            if let Some((value, length)) = Value::read(&state.unread)? {
                state.unread.drain(..length);
                return Ok(value);
            }
            state.unread.extend(self.peer.receive(connection).map_err(|error| format!("no reply: {error}"))?);
        }
    }

    /// A reply that has arrived and that no line expected.
    fn leftover(&mut self, connection: u32) {
        let state = self.connections.entry(connection).or_default();
        if state.unread.is_empty() {
            return;
        }
        let (line, unread) = (state.line, std::mem::take(&mut state.unread));
        self.mismatch(line, connection, "no further reply".into(), String::from_utf8_lossy(&unread).into_owned());
    }

    fn finish(&mut self) {
        let connections: Vec<u32> = self.connections.keys().copied().collect();
        for connection in connections {
            self.leftover(connection);
        }
    }
}

impl Expected {
    fn meets(&self, got: &Value) -> bool {
        match self {
            Expected::Exactly(value) => value == got,
            Expected::Unordered(value) => value.clone().sorted() == got.clone().sorted(),
            Expected::Glob(pattern) => notation::glob(pattern.as_bytes(), &got.text()),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Exactly(value) => write!(f, "{value}"),
            Expected::Unordered(value) => write!(f, "{value} in any order"),
            Expected::Glob(pattern) => write!(f, "what matches {pattern}"),
        }
    }
}

fn parse_line(line: &str) -> Result<Option<Step>, String> {
    // Spaces at the end stay: some of Redis's error texts end with one.
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if let Some(milliseconds) = line.strip_prefix("clock +") {
        return milliseconds.trim_end().parse().map(|ms| Some(Step::Clock(ms))).map_err(|_| "no milliseconds".into());
    }
    if let Some(version) = line.strip_prefix("requires redis ") {
        return parse_version(version).map(|version| Some(Step::Requires(version))).ok_or("no version".into());
    }
    if line.trim_end() == "only sutra" {
        return Ok(Some(Step::OnlyOurs));
    }
    let (connection, line) = match line.strip_prefix('@') {
        None => (1, line),
        Some(rest) => {
            let (number, rest) = rest.split_once(' ').ok_or("no line behind the connection's number")?;
            (number.parse().map_err(|_| "no connection number")?, rest.trim_start())
        }
    };
    if let Some(text) = line.strip_prefix('>') {
        let arguments = notation::arguments(text)?;
        return Ok(Some(Step::Send { connection, text: text.trim().into(), arguments }));
    }
    let expected = if let Some(text) = line.strip_prefix("<~") {
        Expected::Unordered(notation::expected(text)?)
    } else if let Some(pattern) = line.strip_prefix("<?") {
        Expected::Glob(pattern.trim().into())
    } else if let Some(text) = line.strip_prefix('<') {
        Expected::Exactly(notation::expected(text)?)
    } else {
        return Err("no line of a conversation".into());
    };
    Ok(Some(Step::Expect { connection, expected }))
}

/// `7.0.15` as (7, 0).
fn parse_version(text: &str) -> Option<Redis> {
    let mut parts = text.trim().split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers every request with the next of some prepared replies, in pieces of one byte.
    struct Scripted {
        replies: Vec<u8>,
        version: Option<Redis>,
        clock: Option<u64>,
        sent: Vec<(u32, Vec<u8>)>,
    }

    impl Peer for Scripted {
        fn send(&mut self, connection: u32, request: &[u8]) -> io::Result<()> {
            self.sent.push((connection, request.to_vec()));
            Ok(())
        }
        fn receive(&mut self, _: u32) -> io::Result<Vec<u8>> {
            if self.replies.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(vec![self.replies.remove(0)])
        }
        fn advance(&mut self, milliseconds: u64) -> bool {
            self.clock = self.clock.map(|clock| clock + milliseconds);
            self.clock.is_some()
        }
        fn reference_version(&self) -> Option<Redis> {
            self.version
        }
    }

    fn play(text: &str, replies: &[u8], version: Option<Redis>) -> (Vec<String>, Scripted) {
        let clock = version.is_none().then_some(0);
        let mut peer = Scripted { replies: replies.to_vec(), version, clock, sent: Vec::new() };
        let mismatches = Conversation::parse("a.resp", text).unwrap().play(&mut peer);
        (mismatches.iter().map(ToString::to_string).collect(), peer)
    }

    #[test]
    fn expected_replies_pass_and_others_are_reported_with_their_line() {
        let text = "# first\n> GET a\n< \"1\"\n\n> GET b\n< (nil)\n@2 > PING\n@2 <? PO*\n> KEYS\n<~ [\"x\", \"y\"]\n";
        let (mismatches, peer) = play(text, b"$1\r\n1\r\n+OK\r\n+PONG\r\n*2\r\n$1\r\ny\r\n$1\r\nx\r\n", None);
        assert_eq!(mismatches, ["a.resp:6:\n  sent      GET b\n  expected  (nil)\n  got       OK"]);
        assert_eq!(peer.sent[0], (1, b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n".to_vec()));
        assert_eq!(peer.sent[2].0, 2);
    }

    #[test]
    fn a_reply_that_does_not_come_ends_the_file_and_is_reported() {
        let (mismatches, peer) = play("> PING\n< PONG\n> PING\n< PONG\n", b"+PO", None);
        assert_eq!(mismatches.len(), 1);
        assert!(mismatches[0].contains("no reply"), "{}", mismatches[0]);
        assert_eq!(peer.sent.len(), 1);
    }

    #[test]
    fn an_older_reference_skips_what_is_newer_and_what_is_ours() {
        let text = "requires redis 7.4\n> A\n< OK\nonly sutra\n> B\n< OK\nrequires redis 7.0\n> C\n< OK\n";
        assert_eq!(play(text, b"+OK\r\n", Some((7, 0))).1.sent.len(), 1);
        assert_eq!(play(text, b"+OK\r\n+OK\r\n", Some((7, 4))).1.sent.len(), 2);
        assert_eq!(play(text, b"+OK\r\n+OK\r\n+OK\r\n", None).1.sent.len(), 3);
    }

    #[test]
    fn a_clock_step_ends_the_file_for_a_peer_with_its_own_clock() {
        let text = "> A\n< OK\nclock +1500\n> B\n< OK\n";
        assert_eq!(play(text, b"+OK\r\n", Some((7, 0))).1.sent.len(), 1);
        let (mismatches, peer) = play(text, b"+OK\r\n+OK\r\n", None);
        assert_eq!((mismatches.len(), peer.sent.len(), peer.clock), (0, 2, Some(1500)));
    }

    #[test]
    fn a_line_that_is_no_line_is_named() {
        for (line, why) in [
            ("GET a", "no line of a conversation"),
            ("> GET \"a", "unbalanced quotes"),
            ("< [1", "neither ',' nor ']'"),
            ("clock +x", "no milliseconds"),
            ("requires redis new", "no version"),
            ("@x > PING", "no connection number"),
        ] {
            let error = Conversation::parse("a.resp", &format!("\n{line}\n")).unwrap_err();
            assert!(error.starts_with("a.resp:2: ") && error.contains(why), "{error}");
        }
    }
}
