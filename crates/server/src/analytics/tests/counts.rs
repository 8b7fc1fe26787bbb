//! Counts against brute force, and sentences of any kind.

use super::record::{BEGAN_MS, FINANCE, MINUTE_MS, NOW_MS, Record, SUPPORT, embed};
use crate::analytics::answer::{Records, answer};
use crate::analytics::figures::{count, counted, percent};
use crate::analytics::ring::{Kind, NO_SPACE, NOT_TIMED, Note, Outcome, Ring, tag_hash};
use crate::analytics::samples::{Samples, Totals};
use crate::analytics::topic::{FLOOR, NEAREST, SHARE, Vectors};
use proptest::prelude::*;
use std::collections::BTreeSet;

const TEXTS: [&str; 8] = [
    "How do I reset my password?",
    "My card has not arrived yet",
    "What is the exchange rate today?",
    "exchange rates for euro",
    "How do I cook rice?",
    "card:delivery:7",
    "the rate of exchange",
    "",
];
const TOPICS: [&str; 3] = ["exchange rates", "card delivery", "cooking"];
const TAGS: [&str; 3] = ["", "user:7", "user:8"];

/// A read as a test makes it: seconds ago, text, space, tag, hit.
type Drawn = (u64, usize, u32, usize, bool);

fn drawn() -> impl Strategy<Value = Drawn> {
    (
        0..8000_u64,
        0..TEXTS.len(),
        prop_oneof![Just(SUPPORT), Just(FINANCE), Just(NO_SPACE)],
        0..TAGS.len(),
        any::<bool>(),
    )
}

fn note(&(ago_s, text, space, tag, hit): &Drawn) -> Note<'static> {
    Note {
        at_ms: NOW_MS - ago_s * 1000,
        kind: Kind::Lookup,
        outcome: if hit { Outcome::Hit } else { Outcome::Miss },
        text: TEXTS[text].as_bytes(),
        space,
        tag: if TAGS[tag].is_empty() { 0 } else { tag_hash(TAGS[tag].as_bytes()) },
        latency_us: 1,
        amount: 0,
    }
}

/// Which of the texts belong to a topic, worked out from whole vectors; `None` if one is so near to the line that a byte's rounding decides.
fn belonging(topic: &str, drawn: &[Drawn]) -> Option<BTreeSet<usize>> {
    let wanted = embed(topic)?;
    let present: BTreeSet<usize> = drawn.iter().map(|drawn| drawn.1).filter(|text| !TEXTS[*text].is_empty()).collect();
    let near = |text: &usize| -> f32 {
        let vector = embed(&TEXTS[*text].replace(':', " ")).expect("known words");
        vector.iter().zip(&wanted).map(|(a, b)| a * b).sum()
    };
    let mut all: Vec<f32> = present.iter().map(near).collect();
    all.sort_by(|a, b| b.total_cmp(a));
    all.truncate(NEAREST);
    let threshold = FLOOR.max(SHARE * all.iter().sum::<f32>() / all.len().max(1) as f32);
    let is_clear = present.iter().all(|text| (near(text) - threshold).abs() > 0.01);
    is_clear.then(|| present.into_iter().filter(|text| near(text) >= threshold).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn answers_count_what_brute_force_counts(
        drawn in prop::collection::vec(drawn(), 0..300),
        minutes in 1..130_u64,
        topic in prop::option::of(0..TOPICS.len()),
        space in any::<bool>(),
        tag in any::<bool>(),
    ) {
        let topic = topic.map(|topic| TOPICS[topic]);
        let belonging = topic.map(|topic| belonging(topic, &drawn));
        prop_assume!(belonging != Some(None));
        let meant: Vec<&Drawn> = drawn
            .iter()
            .filter(|(ago_s, _, of_space, of_tag, _)| {
                *ago_s <= minutes * 60 && (!space || *of_space == FINANCE) && (!tag || TAGS[*of_tag] == "user:7")
            })
            .collect();
        let in_topic = |text: usize| belonging.as_ref().and_then(Option::as_ref).is_none_or(|texts| texts.contains(&text));
        let hits = meant.iter().filter(|drawn| in_topic(drawn.1) && drawn.4).count() as u64;
        let misses = meant.iter().filter(|drawn| in_topic(drawn.1) && !drawn.4).count() as u64;
        let wordless = meant.iter().filter(|drawn| TEXTS[drawn.1].is_empty()).count() as u64;

        let mut notes: Vec<Note<'static>> = drawn.iter().map(note).collect();
        notes.sort_by_key(|note| note.at_ms);
        let of = topic.map_or(String::new(), |topic| format!(" about {topic}"));
        let in_space = if space { " in space finance" } else { "" };
        let with_tag = if tag { " with tag user:7" } else { "" };
        let sentence = format!("hit rate{of}{in_space}{with_tag} in the last {minutes} minutes");
        let answer = Record::of(&notes, Totals::default()).ask(&sentence);

        let scope = format!("{}{in_space}{with_tag}", topic.map_or(String::new(), |topic| format!(" for {topic}")));
        let window = if minutes == 1 { "in the last minute".to_owned() } else { format!("in the last {minutes} minutes") };
        if hits + misses == 0 {
            prop_assert!(answer.starts_with(&format!("Cache hit rate{scope}: no reads {window}")), "{sentence}: {answer}");
        } else {
            let unmatched = if topic.is_none() || wordless == 0 {
                String::new()
            } else {
                format!("; {} gave a vector without words and could not be matched", counted(wordless, "read", "reads"))
            };
            let figures = format!("{} ({}, {})", percent(hits, hits + misses), counted(hits, "hit", "hits"), counted(misses, "miss", "misses"));
            prop_assert_eq!(answer, format!("Cache hit rate{scope}: {figures} {window}{unmatched}"), "{}", sentence);
        }
    }

    #[test]
    fn any_text_gets_an_answer(sentence in "\\PC*") {
        prop_assert!(!Record::of(&[], Totals::default()).ask(&sentence).is_empty());
    }

    #[test]
    fn any_order_of_words_that_mean_something_gets_an_answer(
        words in prop::collection::vec(prop::sample::select(WORDS), 0..14),
    ) {
        let sentence = words.join(" ");
        let answer = Record::new().ask(&sentence);
        prop_assert!(!answer.is_empty(), "{sentence}");
    }
}

const WORDS: &[&str] = &[
    "hit",
    "rate",
    "hits",
    "misses",
    "top",
    "10",
    "entries",
    "most",
    "missed",
    "which",
    "questions",
    "about",
    "for",
    "in",
    "the",
    "space",
    "support",
    "tag",
    "user:7",
    "last",
    "hour",
    "2",
    "hours",
    "since",
    "14:00",
    "today",
    "yesterday",
    "between",
    "and",
    "to",
    "from",
    "p99",
    "latency",
    "average",
    "similarity",
    "0.5",
    "%",
    "passwords",
    "\"",
    ",",
    "'s",
    "not",
    "were",
    "answered",
    "the",
    "half",
    "an",
    "couple",
    "of",
    "ago",
    "tenant",
    "by",
    "so",
    "far",
    "is",
    "memory",
    "saved",
    "space:",
    "space:finance",
    "\u{e9}",
    "this",
    "week",
    "pm",
    "12pm",
    "all",
    "time",
    "than",
    "per",
];

#[test]
fn windows_include_their_first_instant_and_end_before_their_last() {
    let at = |at_ms| Note { at_ms, ..note(&(0, 0, SUPPORT, 0, true)) };
    let midnight_ms = NOW_MS - NOW_MS % 86_400_000;
    let ring = Ring::new(1000, midnight_ms - 86_400_000);
    for at_ms in [
        midnight_ms - 86_400_000,
        midnight_ms - 1,
        midnight_ms,
        NOW_MS - 60 * MINUTE_MS - 1,
        NOW_MS - 60 * MINUTE_MS,
        NOW_MS,
    ] {
        ring.note(&at(at_ms));
    }
    let snapshot = ring.snapshot();
    let (samples, vectors) = (Samples::default(), Vectors::default());
    let records = Records {
        now_ms: NOW_MS,
        ring: Some(&snapshot),
        samples: &samples,
        vectors: &vectors,
        embed: &embed,
        spaces: &[],
        entries_with_tag: &|_| 0,
        memory_bytes_max: 0,
    };
    let lookups = |sentence: &str| answer(sentence, &records);
    assert!(lookups("lookups yesterday").starts_with("Lookups: 2 "), "{}", lookups("lookups yesterday"));
    assert!(lookups("lookups today").starts_with("Lookups: 4 "));
    assert!(lookups("lookups in the last hour").starts_with("Lookups: 2 "));
}

#[test]
fn what_the_ring_has_dropped_is_not_counted_and_the_answer_says_since_when() {
    let ring = Ring::new(256, BEGAN_MS);
    for second in 0..3600_u64 {
        ring.note(&Note { latency_us: NOT_TIMED, ..note(&(3600 - second, 0, SUPPORT, 0, second % 2 == 0)) });
    }
    let snapshot = ring.snapshot();
    let kept = snapshot.entries().count() as u64;
    assert!((256..256 + 256).contains(&kept), "{kept}");
    let (samples, vectors) = (Samples::default(), Vectors::default());
    let records = Records {
        now_ms: NOW_MS,
        ring: Some(&snapshot),
        samples: &samples,
        vectors: &vectors,
        embed: &embed,
        spaces: &[],
        entries_with_tag: &|_| 0,
        memory_bytes_max: 0,
    };
    let answer = answer("lookups in the last hour", &records);
    assert!(answer.starts_with(&format!("Lookups: {} (", count(kept))), "{answer}");
    assert!(answer.contains("in the last hour; what is remembered begins at 15:2"), "{answer}");
}
