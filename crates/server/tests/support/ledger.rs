//! What one connection has been promised, and whether a server that was killed and started again keeps it.
//!
//! A connection's requests are executed in order and reach the log in order, so after a crash the server must be in the state after
//! *some* number of its requests, and that number is at least that of the acknowledged ones. This one condition is all of: nothing
//! acknowledged is lost, nothing deleted is back, an unacknowledged request is old or new, MSET and EXEC are whole or absent, no value
//! is wrong or stale. With eviction on, entries may be missing and writes refused for want of memory, so each key is judged by itself:
//! what is there must be what was acknowledged last, or what an unacknowledged op would have made of it.
//!
//! One exception: the expiry of a record is a word in its mapped segment, which EXPIRE sets before its frame is written. After a kill
//! such a word may be that of any unacknowledged op, whether or not the ops before it were carried out.

use super::model::{Entry, Expected, Key, Op, State, Value, Window};
use std::collections::{BTreeMap, VecDeque};
use sutra_protocol::Frame;

pub(crate) struct Ledger {
    /// After all requests that were acknowledged.
    state: State,
    /// Sent, and not acknowledged.
    pending: VecDeque<Op>,
    may_evict: bool,
    refused: usize,
    /// What was last done to each key, for whoever has to find out why a promise was broken.
    history: BTreeMap<Key, VecDeque<String>>,
}

/// Steps of a key's history that are kept.
const HISTORY_MAX: usize = 6;

/// What was read back from a server, and when.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) entries: State,
    pub(crate) window: Window,
}

/// A broken promise, in words.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

impl Ledger {
    pub(crate) fn new(may_evict: bool) -> Ledger {
        Ledger { state: State::new(), pending: VecDeque::new(), may_evict, refused: 0, history: BTreeMap::new() }
    }

    /// To be told before an op is sent.
    pub(crate) fn sent(&mut self, op: Op) {
        self.pending.push_back(op);
    }

    /// The reply to the oldest op that waits for one, received within the window that began when it was sent.
    pub(crate) fn acknowledged(&mut self, reply: &Frame, window: Window) -> Result<(), Broken> {
        let op = self.pending.pop_front().expect("a reply has a request");
        let single = std::slice::from_ref(reply);
        let replies = if let (Op::Together(_), Frame::Array(replies)) = (&op, reply) { replies } else { single };
        if self.may_evict && replies.iter().any(is_refusal) {
            self.refused += 1;
        }
        self.remember(&op, replies);
        if replies.len() == 1 && self.may_evict && is_refusal(reply) {
            return Ok(());
        }
        if replies.len() != op.parts().len() {
            return Err(Broken(format!("{} was answered {reply:?}", show_op(&op))));
        }
        for (part, reply) in op.parts().iter().zip(replies) {
            if self.may_evict && is_refusal(reply) {
                continue;
            }
            let expected = part.apply(&mut self.state);
            if !expected.allows(reply, window, self.may_evict) {
                let (reply, expected) = (show_reply(reply), show_expected(&expected));
                let history = part.keys().into_iter().map(|key| self.history_of(key)).collect::<String>();
                return Err(Broken(format!("{} was answered {reply}, not {expected}; {history}", show_op(part))));
            }
        }
        Ok(())
    }

    fn remember(&mut self, op: &Op, replies: &[Frame]) {
        for (index, part) in op.parts().iter().enumerate() {
            for key in part.keys() {
                let steps = self.history.entry(key.clone()).or_default();
                if steps.len() == HISTORY_MAX {
                    steps.pop_front();
                }
                let reply = replies.get(index).or(replies.first()).map_or(String::new(), show_reply);
                let within = if op.parts().len() > 1 { " (in MULTI)" } else { "" };
                steps.push_back(format!("{}{within} -> {reply}", show_op(part)));
            }
        }
    }

    fn history_of(&self, key: &[u8]) -> String {
        let steps = self
            .history
            .get(key)
            .map_or(String::new(), |steps| steps.iter().map(|step| format!("\n      {step}")).collect());
        format!("what was done to {} before:{steps}", String::from_utf8_lossy(key))
    }

    /// Ops that were refused for want of memory, so far.
    pub(crate) fn refused(&self) -> usize {
        self.refused
    }

    /// Keys that may be there.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut state = self.state.clone();
        let mut keys: Vec<Key> = state.keys().cloned().collect();
        for op in &self.pending {
            op.apply(&mut state);
            keys.extend(state.keys().filter(|key| !self.state.contains_key(*key)).cloned());
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Compares with what a server has after it was started again; from here on that is the truth. Returns how many ops that had not
    /// been acknowledged were carried out.
    pub(crate) fn recovered(&mut self, found: &Found) -> Result<usize, Broken> {
        if self.may_evict {
            return self.recovered_with_gaps(found);
        }
        let ahead = self.expiries_ahead();
        let mut state = self.state.clone();
        let mut agreeing = agrees(&state, found, &ahead).then(|| (0, state.clone()));
        let mut closest = (differences(&state, found), 0);
        for (index, op) in self.pending.iter().enumerate() {
            op.apply(&mut state);
            if agrees(&state, found, &ahead) {
                agreeing = Some((index + 1, state.clone()));
            } else if agreeing.is_none() {
                let differences = differences(&state, found);
                if differences.len() < closest.0.len() {
                    closest = (differences, index + 1);
                }
            }
        }
        let Some((carried_out, mut state)) = agreeing else {
            let (differences, after) = closest;
            let differences = differences.into_iter().take(12).map(|(key, line)| {
                let pending =
                    self.pending.iter().filter(|op| op.keys().contains(&&key)).map(show_op).collect::<Vec<_>>();
                format!("{line}\n    {}\n    unacknowledged: {}", self.history_of(&key), pending.join(", "))
            });
            let differences: Vec<String> = differences.collect();
            return Err(Broken(format!(
                "no number of the {} unacknowledged ops explains what was found; with the first {after} of them carried out:\n{}",
                self.pending.len(),
                differences.join("\n")
            )));
        };
        // Time goes on: what has expired meanwhile is gone for good.
        state.retain(|key, entry| match found.entries.get(key) {
            Some(found_entry) => {
                entry.expires_at_ms = found_entry.expires_at_ms;
                true
            }
            None => entry.must_live(found.window),
        });
        self.state = state;
        self.pending.clear();
        Ok(carried_out)
    }

    fn recovered_with_gaps(&mut self, found: &Found) -> Result<usize, Broken> {
        let mut state = self.state.clone();
        let mut possible: Vec<(Key, Entry)> = Vec::new();
        for op in self.pending.iter().flat_map(Op::parts) {
            op.apply(&mut state);
            for key in op.keys() {
                possible.extend(state.get(key).map(|entry| (key.clone(), entry.clone())));
            }
        }
        let mut lines = Vec::new();
        for (key, entry) in &found.entries {
            let acknowledged = self.state.get(key);
            let is_possible = acknowledged == Some(entry) || possible.iter().any(|(k, e)| k == key && e == entry);
            if !is_possible || !entry.may_live(found.window) {
                let acknowledged = acknowledged.map_or("nothing".to_owned(), show_entry);
                let history = self.history_of(key);
                let key = String::from_utf8_lossy(key);
                lines.push(format!("  {key} is wrong: {} instead of {acknowledged}; {history}", show_entry(entry)));
            }
        }
        if !lines.is_empty() {
            return Err(Broken(lines.join("\n")));
        }
        let carried_out = self.pending.len();
        self.pending.clear();
        self.state.clone_from(&found.entries);
        Ok(carried_out)
    }

    /// The entries that unacknowledged ops make, whose expiry may have been set without the rest.
    fn expiries_ahead(&self) -> Vec<(Key, Entry)> {
        let mut state = self.state.clone();
        let mut ahead = Vec::new();
        for op in self.pending.iter().flat_map(Op::parts) {
            op.apply(&mut state);
            if let Op::ExpireAt { key, .. } | Op::Persist(key) = op
                && let Some(entry) = state.get(key)
            {
                ahead.push((key.clone(), entry.clone()));
            }
        }
        ahead
    }
}

fn agrees(state: &State, found: &Found, ahead: &[(Key, Entry)]) -> bool {
    let fits = |key: &Key, entry: &Entry| match found.entries.get(key) {
        Some(found_entry) if found_entry != entry => {
            found_entry.value == entry.value
                && ahead.iter().any(|(ahead_key, ahead)| ahead_key == key && ahead == found_entry)
        }
        Some(_) => entry.may_live(found.window),
        None => !entry.must_live(found.window),
    };
    found.entries.keys().all(|key| state.contains_key(key)) && state.iter().all(|(key, entry)| fits(key, entry))
}

fn differences(state: &State, found: &Found) -> Vec<(Key, String)> {
    let mut lines = Vec::new();
    for (key, entry) in state {
        let name = String::from_utf8_lossy(key);
        let line = match found.entries.get(key) {
            Some(found_entry) if !entry.may_live(found.window) => {
                format!("  {name} has expired and is served: {}", show_entry(found_entry))
            }
            Some(found_entry) if found_entry != entry => {
                format!("  {name} is wrong: {} instead of {}", show_entry(found_entry), show_entry(entry))
            }
            None if entry.must_live(found.window) => format!("  {name} is lost: {}", show_entry(entry)),
            Some(_) | None => continue,
        };
        lines.push((key.clone(), line));
    }
    for (key, entry) in found.entries.iter().filter(|(key, _)| !state.contains_key(*key)) {
        let name = String::from_utf8_lossy(key);
        lines.push((key.clone(), format!("  {name} is back from the dead: {}", show_entry(entry))));
    }
    lines
}

/// Whether the server says that it did not carry the op out because it has no memory for it.
fn is_refusal(reply: &Frame) -> bool {
    matches!(reply, Frame::Error(text) if text.starts_with("OOM ") || text.starts_with("EXECABORT "))
}

fn show_bytes(bytes: &[u8]) -> String {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
    format!("{start:?} ({} bytes)", bytes.len())
}

fn show_entry(entry: &Entry) -> String {
    let value = match &entry.value {
        Value::Text(text) => show_bytes(text),
        Value::Fields(fields) => {
            let fields = fields
                .iter()
                .map(|(field, value)| format!("{}: {}", String::from_utf8_lossy(field), show_bytes(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    };
    match entry.expires_at_ms {
        Some(at_ms) => format!("{value} until {at_ms}"),
        None => value,
    }
}

fn show_reply(reply: &Frame) -> String {
    if let Frame::Bulk(bytes) = reply { show_bytes(bytes) } else { format!("{reply:?}") }
}

fn show_expected(expected: &Expected) -> String {
    if let Expected::Entry(Some(entry)) = expected { show_entry(entry) } else { format!("{expected:?}") }
}

fn show_op(op: &Op) -> String {
    let mut bytes = Vec::new();
    op.encode(&mut bytes);
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]))
}

/// Every kind of broken promise, planted: the ledger has to see each of them, and nothing where there is none.
mod tests {
    use super::*;

    const WINDOW: Window = Window { from_ms: 1000, to_ms: 1010 };

    fn set(key: &str, value: &str) -> Op {
        Op::Set { key: key.into(), value: value.into(), expires_at_ms: None }
    }

    fn ok() -> Frame {
        Frame::Simple("OK".to_owned())
    }

    fn found(entries: &[(&str, &str)]) -> Found {
        let entries = entries.iter().map(|(key, value)| (Key::from(*key), Entry::text(*value)));
        Found { entries: entries.collect(), window: WINDOW }
    }

    /// `a` is 1 and then 2, `b` was there and is deleted, all acknowledged; an MSET of `c` and `d` is not.
    fn ledger(may_evict: bool) -> Ledger {
        let mut ledger = Ledger::new(may_evict);
        let steps = [
            (set("a", "1"), ok()),
            (set("a", "2"), ok()),
            (set("b", "1"), ok()),
            (Op::Delete(vec!["b".into()]), Frame::Integer(1)),
        ];
        for (op, reply) in steps {
            ledger.sent(op);
            ledger.acknowledged(&reply, WINDOW).expect("these are the right replies");
        }
        ledger.sent(Op::SetMany(vec![("c".into(), "1".into()), ("d".into(), "1".into())]));
        ledger.sent(set("a", "3"));
        ledger
    }

    fn verdict(may_evict: bool, entries: &[(&str, &str)]) -> Result<usize, String> {
        ledger(may_evict).recovered(&found(entries)).map_err(|broken| broken.0)
    }

    #[test]
    fn any_number_of_unacknowledged_ops_may_have_been_carried_out() {
        assert_eq!(verdict(false, &[("a", "2")]), Ok(0));
        assert_eq!(verdict(false, &[("a", "2"), ("c", "1"), ("d", "1")]), Ok(1));
        assert_eq!(verdict(false, &[("a", "3"), ("c", "1"), ("d", "1")]), Ok(2));
    }

    #[test]
    fn a_planted_fault_of_recovery_is_seen() {
        let faults: [(&str, &[(&str, &str)]); 7] = [
            ("lost", &[]),
            ("stale", &[("a", "1")]),
            ("wrong", &[("a", "2x")]),
            ("back from the dead", &[("a", "2"), ("b", "1")]),
            ("half an MSET", &[("a", "2"), ("c", "1")]),
            ("never written", &[("a", "2"), ("e", "1")]),
            ("the later op without the earlier", &[("a", "3")]),
        ];
        for (fault, entries) in faults {
            assert!(verdict(false, entries).is_err(), "{fault} was not seen");
        }
    }

    #[test]
    fn with_eviction_entries_may_be_missing_but_not_stale() {
        for right in [&[][..], &[("a", "2")], &[("a", "3")], &[("c", "1")]] {
            assert!(verdict(true, right).is_ok(), "{right:?}");
        }
        for wrong in [&[("a", "1")][..], &[("b", "1")], &[("c", "2")], &[("e", "1")]] {
            assert!(verdict(true, wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_expired_entry_is_missed_only_before_its_time() {
        for (at_ms, is_there, is_right) in
            [(999, true, false), (999, false, true), (1005, true, true), (1005, false, true), (2000, false, false)]
        {
            let mut ledger = Ledger::new(false);
            ledger.sent(Op::Set { key: "t".into(), value: "1".into(), expires_at_ms: Some(at_ms) });
            ledger.acknowledged(&ok(), WINDOW).expect("the right reply");
            let mut found = found(&[]);
            if is_there {
                found.entries.insert("t".into(), Entry { expires_at_ms: Some(at_ms), ..Entry::text("1") });
            }
            assert_eq!(ledger.recovered(&found).is_ok(), is_right, "{at_ms} {is_there}");
        }
    }

    #[test]
    fn an_expiry_may_run_ahead_of_its_op_but_a_value_may_not() {
        let mut pending = ledger(false);
        pending.sent(Op::ExpireAt { key: "a".into(), at_ms: 5000 });
        let entry = |value: &str, at_ms| Entry { expires_at_ms: Some(at_ms), ..Entry::text(value) };
        for (entry, is_right) in [(entry("3", 5000), true), (entry("3", 5001), false), (entry("2", 5000), false)] {
            let mut ledger =
                Ledger { state: pending.state.clone(), pending: pending.pending.clone(), ..Ledger::new(false) };
            let mut found = found(&[("c", "1"), ("d", "1")]);
            found.entries.insert("a".into(), entry);
            assert_eq!(ledger.recovered(&found).is_ok(), is_right);
        }
    }

    #[test]
    fn a_wrong_reply_is_seen() {
        let wrong = [
            (Op::Get("a".into()), Frame::Bulk(b"1".to_vec())),
            (Op::Get("a".into()), Frame::Null),
            (Op::Get("b".into()), Frame::Bulk(b"1".to_vec())),
            (Op::Increment("n".into()), Frame::Integer(2)),
            (Op::Delete(vec!["b".into()]), Frame::Integer(1)),
            (set("a", "4"), Frame::Null),
            (
                Op::Together(vec![set("a", "4"), Op::Get("a".into())]),
                Frame::Array(vec![ok(), Frame::Bulk(b"3".to_vec())]),
            ),
            (Op::Together(vec![set("a", "4"), Op::Get("a".into())]), Frame::Null),
        ];
        for (op, reply) in wrong {
            let mut ledger = ledger(false);
            ledger.pending.clear();
            ledger.sent(op);
            assert!(ledger.acknowledged(&reply, WINDOW).is_err(), "{reply:?}");
        }
    }
}
