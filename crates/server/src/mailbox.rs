//! What others have for a client that it did not ask for: lines of MONITOR, and keys of entries that have changed.
//!
//! Keys are kept as they are and become frames when the client's own thread takes them: whoever changes an entry holds its lock, and
//! only copies the key. All that has gathered until then goes out in few frames.

use crate::tracking::Change;
use sutra_protocol::Version;

/// Keys in one frame; clients bound the length of what they take.
const KEYS_PER_FRAME: usize = 1024;

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    lines: Vec<u8>,
    /// Keys one after the other, and where each ends.
    keys: Vec<u8>,
    ends: Vec<usize>,
    /// Before the keys: anything may have changed.
    everything: bool,
    /// Before all: the client to which the keys were to go is no more.
    lost: Option<u64>,
}

impl Mailbox {
    /// Adds encoded bytes.
    pub(crate) fn add_lines(&mut self, bytes: &[u8]) {
        self.lines.extend_from_slice(bytes);
    }

    /// Adds a change.
    pub(crate) fn add(&mut self, change: Change<'_>) {
        match change {
            Change::Key(key) => {
                // A command that changes an entry in two steps changes it once.
                let last = self.ends.len().checked_sub(2).map_or(0, |before| self.ends[before]);
                if self.ends.is_empty() || self.keys[last..] != *key {
                    self.keys.extend_from_slice(key);
                    self.ends.push(self.keys.len());
                }
            }
            Change::Everything => {
                // It covers them.
                self.keys.clear();
                self.ends.clear();
                self.everything = true;
            }
            Change::Lost(target) => self.lost = Some(target),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.ends.is_empty() && !self.everything && self.lost.is_none()
    }

    /// Bytes that wait.
    pub(crate) fn len_bytes(&self) -> usize {
        self.lines.len() + self.keys.len() + self.ends.len() * size_of::<usize>()
    }

    /// What goes out: the lines as they came, and the changes as frames, which RESP2 has none for.
    pub(crate) fn encode(self, version: Version) -> Vec<u8> {
        let mut bytes = self.lines;
        if version == Version::Resp2 {
            return bytes;
        }
        if let Some(target) = self.lost {
            bytes.extend_from_slice(b">2\r\n$21\r\ntracking-redir-broken\r\n:");
            bytes.extend_from_slice(format!("{target}\r\n").as_bytes());
        }
        if self.everything {
            bytes.extend_from_slice(b">2\r\n$10\r\ninvalidate\r\n_\r\n");
        }
        bytes.reserve(self.keys.len() + self.ends.len() * 16);
        let mut start = 0;
        for (index, end) in self.ends.iter().enumerate() {
            if index % KEYS_PER_FRAME == 0 {
                let count = (self.ends.len() - index).min(KEYS_PER_FRAME);
                bytes.extend_from_slice(format!(">2\r\n$10\r\ninvalidate\r\n*{count}\r\n").as_bytes());
            }
            bytes.extend_from_slice(format!("${}\r\n", end - start).as_bytes());
            bytes.extend_from_slice(&self.keys[start..*end]);
            bytes.extend_from_slice(b"\r\n");
            start = *end;
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(mailbox: Mailbox) -> String {
        String::from_utf8(mailbox.encode(Version::Resp3)).unwrap()
    }

    #[test]
    fn keys_that_gathered_go_out_in_one_frame_and_one_that_follows_itself_goes_once() {
        let mut mailbox = Mailbox::default();
        assert!(mailbox.is_empty());
        for key in ["ab", "ab", "c", "ab"] {
            mailbox.add(Change::Key(key.as_bytes()));
        }
        assert_eq!(text(mailbox), ">2\r\n$10\r\ninvalidate\r\n*3\r\n$2\r\nab\r\n$1\r\nc\r\n$2\r\nab\r\n");
    }

    #[test]
    fn resp2_has_lines_and_no_changes() {
        let mut mailbox = Mailbox::default();
        mailbox.add(Change::Key(b"k"));
        mailbox.add_lines(b"+line\r\n");
        assert_eq!(mailbox.encode(Version::Resp2), b"+line\r\n");
    }

    #[test]
    fn everything_covers_the_keys_before_it_and_not_those_behind_it() {
        let mut mailbox = Mailbox::default();
        mailbox.add(Change::Key(b"before"));
        mailbox.add(Change::Everything);
        mailbox.add(Change::Key(b""));
        assert_eq!(text(mailbox), ">2\r\n$10\r\ninvalidate\r\n_\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$0\r\n\r\n");
    }

    #[test]
    fn a_frame_has_no_more_keys_than_its_limit() {
        let mut mailbox = Mailbox::default();
        for number in 0..KEYS_PER_FRAME + 1 {
            mailbox.add(Change::Key(number.to_string().as_bytes()));
        }
        let text = text(mailbox);
        assert_eq!(text.matches("invalidate").count(), 2);
        assert!(text.contains("*1024\r\n") && text.ends_with("*1\r\n$4\r\n1024\r\n"));
    }
}
