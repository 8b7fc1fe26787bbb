//! The record: Saturday, 21 November 2026, 15:30:45 UTC; recorded since noon; two spaces.

use crate::analytics::answer::{Records, SpaceFacts, answer};
use crate::analytics::ring::{Kind, NO_SPACE, NOT_TIMED, Note, Outcome, Ring, Snapshot, tag_hash};
use crate::analytics::samples::{Levels, Samples, Totals};
use crate::analytics::topic::Vectors;
use sutra_embed::Builtin;

/// Now.
pub(super) const NOW_MS: u64 = 1_795_275_045_000;
pub(super) const MINUTE_MS: u64 = 60_000;
/// Since when there is a record: 12:00:00.
pub(super) const BEGAN_MS: u64 = NOW_MS - (3 * 60 + 30) * MINUTE_MS - 45_000;
pub(super) const SUPPORT: u32 = 1;
pub(super) const FINANCE: u32 = 2;

/// What was asked: how many minutes ago, how often, what, how it ended.
struct Row(u64, u64, Kind, Outcome, &'static str, u32, &'static str, u32, u64);

use Kind::{Get, Invalidate, Lease, Lookup, Set};
use Outcome::{Hit, Miss, Refused};

const ROWS: &[Row] = &[
    Row(5, 30, Lookup, Hit, "How do I reset my password?", SUPPORT, "user:7", 40, 2000),
    Row(6, 10, Lookup, Miss, "I forgot my password, please reset it", SUPPORT, "user:7", 60, 0),
    Row(7, 2, Lookup, Refused, "Do not reset my password", SUPPORT, "", 70, 0),
    Row(90, 8, Lookup, Miss, "password reset link expired", SUPPORT, "", 80, 0),
    Row(10, 20, Lookup, Hit, "What was the revenue of the company last quarter?", FINANCE, "", 50, 10_000),
    Row(20, 5, Lookup, Miss, "Show me the financial report for the third quarter", FINANCE, "", 90, 0),
    Row(100, 15, Lookup, Hit, "What is the financial outlook of the bank?", FINANCE, "", 55, 10_000),
    Row(12, 7, Get, Hit, "weather:paris:today", NO_SPACE, "", 3, 0),
    Row(13, 3, Get, Miss, "weather:paris:tomorrow", NO_SPACE, "", 2, 0),
    Row(14, 1, Lease, Miss, "faq:7", NO_SPACE, "", 4, 0),
    Row(15, 4, Lookup, Miss, "", FINANCE, "", NOT_TIMED, 0),
    Row(16, 6, Set, Hit, "weather:paris:tomorrow", NO_SPACE, "", 5, 0),
    Row(16, 2, Set, Refused, "faq:7", NO_SPACE, "", 5, 0),
    Row(16, 1, Set, Miss, "faq:8", NO_SPACE, "", 5, 0),
    Row(30, 1, Invalidate, Hit, "questions about passwords", SUPPORT, "", 900, 12),
    Row(120, 2, Invalidate, Hit, "doc:42", NO_SPACE, "doc:42", 100, 1000),
];

/// All notes, oldest first.
pub(super) fn notes() -> Vec<Note<'static>> {
    let mut notes: Vec<Note<'static>> = ROWS
        .iter()
        .flat_map(|Row(ago, times, kind, outcome, text, space, tag, latency_us, amount)| {
            let note = Note {
                at_ms: NOW_MS - ago * MINUTE_MS,
                kind: *kind,
                outcome: *outcome,
                text: text.as_bytes(),
                space: *space,
                tag: if tag.is_empty() { 0 } else { tag_hash(tag.as_bytes()) },
                latency_us: *latency_us,
                amount: *amount,
            };
            (0..*times).map(move |_| note)
        })
        .collect();
    notes.sort_by_key(|note| note.at_ms);
    notes
}

/// The built-in model.
pub(super) fn embed(text: &str) -> Option<Vec<f32>> {
    Builtin::vector(text).ok().map(|vector| vector.to_vec())
}

/// Everything that can be asked about.
pub(super) struct Record {
    pub(super) ring: Option<Snapshot>,
    pub(super) samples: Samples,
    pub(super) vectors: Vectors,
}

impl Record {
    /// The record of the rows above, and counters that grow by one eviction and two expirations a minute from noon on.
    pub(super) fn new() -> Record {
        Record::of(&notes(), Totals::default())
    }

    /// A record of these notes; Redis's commands read `plain` besides, in the last half hour.
    pub(super) fn of(notes: &[Note<'_>], plain: Totals) -> Record {
        let ring = Ring::new(10_000, BEGAN_MS);
        notes.iter().for_each(|note| ring.note(note));
        let samples = Samples::default();
        for minute in 0..=210 {
            let at_ms = BEGAN_MS + minute * MINUTE_MS;
            let plain = if minute > 180 { plain } else { Totals::default() };
            let counted = Totals { evictions: minute, expirations: 2 * minute, ..plain };
            samples.take(at_ms, counted, Levels { memory_bytes: (100 + minute) << 20, entries: 1000 + 10 * minute });
        }
        Record { ring: Some(ring.snapshot()), samples, vectors: Vectors::default() }
    }

    /// Asks at [`NOW_MS`].
    pub(super) fn ask(&self, sentence: &str) -> String {
        let space =
            |name: &str, id, entries| SpaceFacts { name: name.to_owned(), id, entries, memory_bytes: entries << 10 };
        answer(
            sentence,
            &Records {
                now_ms: NOW_MS,
                ring: self.ring.as_ref(),
                samples: &self.samples,
                vectors: &self.vectors,
                embed: &embed,
                spaces: &[space("support", SUPPORT, 512), space("finance", FINANCE, 2048)],
                entries_with_tag: &|tag| if tag == "user:7" { 33 } else { 0 },
                memory_bytes_max: 1 << 30,
            },
        )
    }
}
