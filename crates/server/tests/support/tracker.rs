//! A connection with CLIENT TRACKING: replies apart from what is pushed between them.

use super::client::Client;
use std::collections::VecDeque;
use std::io;
use sutra_protocol::Frame;

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pushed {
    /// The entry of this key has changed.
    Key(String),
    /// Anything may have changed.
    Everything,
    /// The client to which the keys were to go is no more.
    Lost(i64),
}

pub(crate) struct Tracker {
    pub(crate) client: Client,
    pushed: VecDeque<Pushed>,
}

impl Tracker {
    /// A connection in RESP3 that is told as these options of CLIENT TRACKING say.
    pub(crate) fn connect(port: u16, options: &str) -> Tracker {
        let mut tracker =
            Tracker { client: Client::connect(port).expect("the server listens"), pushed: VecDeque::new() };
        tracker.say("HELLO 3");
        assert_eq!(tracker.say(&format!("CLIENT TRACKING {options}")), Frame::Simple("OK".into()));
        tracker
    }

    /// One request of words without spaces; the server must answer.
    pub(crate) fn say(&mut self, line: &str) -> Frame {
        self.send(line);
        self.reply().unwrap_or_else(|error| panic!("no answer to {line:?}: {error}"))
    }

    /// One request without waiting for its reply.
    pub(crate) fn send(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let mut request = Vec::new();
        sutra_protocol::encode_request(&words, &mut request);
        self.client.send(&request).expect("the server takes it");
    }

    /// The next reply; what is pushed before it is kept.
    pub(crate) fn reply(&mut self) -> io::Result<Frame> {
        loop {
            let frame = self.client.receive()?;
            let Frame::Push(items) = &frame else { return Ok(frame) };
            self.pushed.extend(read(items));
        }
    }

    /// What was pushed so far, in order, and is not taken yet.
    pub(crate) fn take_pushed(&mut self) -> Vec<Pushed> {
        self.pushed.drain(..).collect()
    }

    /// What was put into the mailbox before now: a reply is followed by what was there when its command was executed.
    pub(crate) fn told(&mut self) -> Vec<Pushed> {
        for _ in 0..2 {
            assert_eq!(self.say("PING"), Frame::Simple("PONG".into()));
        }
        self.take_pushed()
    }
}

fn read(items: &[Frame]) -> Vec<Pushed> {
    match items {
        [Frame::Bulk(kind), Frame::Array(keys)] if kind == b"invalidate" => keys
            .iter()
            .map(|key| {
                let Frame::Bulk(key) = key else { panic!("a key, not {key:?}") };
                Pushed::Key(String::from_utf8_lossy(key).into_owned())
            })
            .collect(),
        [Frame::Bulk(kind), Frame::Null] if kind == b"invalidate" => vec![Pushed::Everything],
        [Frame::Bulk(kind), Frame::Integer(id)] if kind == b"tracking-redir-broken" => vec![Pushed::Lost(*id)],
        other => panic!("no push of tracking: {other:?}"),
    }
}
