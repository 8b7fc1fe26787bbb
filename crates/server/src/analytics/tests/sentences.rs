//! Sentences and their exact answers.

use super::record::{MINUTE_MS, NOW_MS, Record, notes};
use crate::analytics::ring::{Kind, NO_SPACE, Note, Outcome};
use crate::analytics::samples::Totals;

/// What a sentence without a time is answered for.
const EVER: &str = "since 12:00 UTC, all that is remembered";
/// What is added where a topic cannot be held against reads that gave a vector alone.
const WORDLESS: &str = "; 4 reads gave a vector without words and could not be matched";

/// The answer, and sentences that ask for it. `{ever}` and `{wordless}` stand for the texts above.
const ANSWERS: &[(&str, &[&str])] = &[
    (
        "Cache hit rate for financial data: 80.0% (20 hits, 5 misses) in the last hour{wordless}",
        &[
            "Show cache hit rate for financial data in the last hour",
            "SHOW CACHE HIT RATE FOR financial data IN THE LAST HOUR!",
            "in the last hour, what was the hit ratio for financial data?",
            "what's the hit-rate about financial data over the past 1 hour",
            "financial data hit rate last hour",
        ],
    ),
    (
        "Cache hit rate for financial data: 87.5% (35 hits, 5 misses) {ever}{wordless}",
        &[
            "for financial data, show hit rate",
            "how effective is the cache for financial data",
            "hits and misses regarding financial data",
        ],
    ),
    (
        "Cache hit rate: 68.6% (72 hits, 33 misses, 2 of them by a guard) {ever}",
        &[
            "hit rate",
            "What's the hit rate?",
            "average hit rate",
            "show hte hit rtae",
            "hit rate ever",
            "hit ratio of all time",
            "How effective is the cache?",
            "cache stats so far",
            "hits vs misses",
            "what percentage of lookups were hits",
        ],
    ),
    (
        "Cache hit rate: 68.6% (72 hits, 33 misses, 2 of them by a guard) today (UTC); what is remembered begins at 12:00 UTC",
        &["hit rate today", "Hits and misses today?", "hit rate since midnight"],
    ),
    (
        "Cache hit rate: 63.3% (57 hits, 33 misses, 2 of them by a guard) since 14:00 UTC",
        &["hit rate since 14:00", "hit rate since 2pm UTC"],
    ),
    (
        "Cache hit rate: 0.0% (0 hits, 8 misses) from 14:00 UTC to 15:00 UTC",
        &["hit rate between 14:00 and 15:00", "hit rate from 2pm to 3 pm"],
    ),
    (
        "Cache hit rate: 68.6% (72 hits, 33 misses, 2 of them by a guard) in the last week; what is remembered begins at 12:00 UTC",
        &["cache hit rate over the past week", "hit rate in the last 1 week"],
    ),
    (
        "Cache hit rate: no reads yesterday (UTC); nothing is remembered from before 12:00 UTC",
        &["hit rate yesterday", "hit rate of yesterday"],
    ),
    (
        "Cache hit rate in space finance: 69.0% (20 hits, 9 misses) this hour (since 15:00 UTC)",
        &["hit rate in space finance this hour", "hit rate this hour for space:finance"],
    ),
    (
        "Cache hit rate with tag user:7: 75.0% (30 hits, 10 misses) {ever}",
        &["hit rate with tag user:7", "hit rate for entries tagged user:7", "hit rate of tag \"user:7\""],
    ),
    (
        "There is no space \"sales\"; there are: support, finance",
        &["hit rate in space sales", "lookups in the sales space today"],
    ),
    (
        "Cache miss rate: 26.0% (57 hits, 20 misses, 2 of them by a guard) in the last 15 minutes",
        &[
            "Show me the miss rate of the cache in the last 15 minutes",
            "miss ratio last 15m",
            "what share of lookups missed in the past fifteen minutes",
        ],
    ),
    (
        "Cache hits: 72 of 105 reads {ever}",
        &["hits", "how often do we hit", "total hits", "how many lookups were hits"],
    ),
    (
        "Cache hits for password resets: 30 of 42 reads in the last 30 minutes{wordless}",
        &[
            "How many hits did we have about password resets in the last 30 minutes?",
            "hits about password resets in the last half hour",
        ],
    ),
    (
        "Cache misses for passwords: 20 of 50 reads, 2 of them by a guard {ever}{wordless}",
        &[
            "how many misses about passwords",
            "misses on passwords",
            "how many questions about passwords were missed",
            "misses for questions related to passwords",
        ],
    ),
    (
        "Cache misses: 33 of 105 reads, 2 of them by a guard in the last 2 hours",
        &["can you tell me how many times we missed in the past 2 hours", "misses, last two hours"],
    ),
    (
        "Cache hit rate for passwords: 60.0% (30 hits, 20 misses, 2 of them by a guard) {ever}{wordless}",
        &[
            "what percentage of questions about passwords were answered from the cache",
            "stats for passwords",
            "hit rate of questions about passwords",
        ],
    ),
    (
        "Lookups in space support: 50 (30 hits, 20 misses, 2 of them by a guard) {ever}",
        &["lookups in space support", "How many queries in the support space?", "reads within space support"],
    ),
    (
        "Lookups for weather: 10 (7 hits, 3 misses) {ever}{wordless}",
        &["how many questions about weather", "weather lookups"],
    ),
    (
        "Evictions: 60 in the last hour",
        &["evictions in the last hour", "How many entries were evicted in the past hour?", "evctions last hour"],
    ),
    ("Evictions: 210 {ever}", &["evictions", "number of evictions so far", "evictions since the start"]),
    (
        "Evictions of the whole process (they are not counted by topic, space or tag): 10 in the last 10 minutes",
        &["evictions for financial data in the last 10 minutes"],
    ),
    ("Expirations: 60 since 15:00 UTC", &["expirations since 15:00", "how many keys expired since 15:00"]),
    (
        "Expirations: 420 in the last 24 hours; what is remembered begins at 12:00 UTC",
        &["How many entries expired in the last 24 hours?", "expiratoins last 24h"],
    ),
    (
        "Invalidations: 3, which removed 2,012 entries {ever}",
        &["invalidations", "invaldiatons", "how many invalidations were there"],
    ),
    (
        "Invalidations for passwords: 1, which removed 12 entries {ever}",
        &["How many invalidations about passwords were there?"],
    ),
    ("Invalidations with tag doc:42: 2, which removed 2,000 entries {ever}", &["invalidations with tag doc:42"]),
    (
        "Writes: 9 (2 refused as stale or held, 1 whose condition was not met) {ever}",
        &["writes", "how many stale writes were refused"],
    ),
    (
        "Latency: average 48.4 us, p50 50 us, p95 80 us, p99 90 us, longest 90 us (101 timed reads) {ever}",
        &["latency", "latancy", "how fast are lookups?", "response times"],
    ),
    ("p99 latency: 90 us (101 timed reads) {ever}", &["p99 latency", "p99", "99th percentile of latency"]),
    (
        "p95 latency in space support: 80 us (50 timed reads) since 14:00 UTC",
        &["p95 latency in space support since 14:00"],
    ),
    (
        "Average latency for passwords: 51.6 us (50 timed reads) {ever}{wordless}",
        &[
            "average latency of questions about passwords",
            "mean response time for passwords",
            "average latency for passwords",
        ],
    ),
    ("p50 latency in space finance: 50 us (40 timed reads) {ever}", &["median latency in space finance"]),
    (
        "Longest latency: 90 us (78 timed reads) in the last 20 minutes",
        &["longest latency in the last 20 minutes", "slowest response time last 20 min"],
    ),
    (
        "Memory: 310.0 MiB of 1.0 GiB now; between 250.0 MiB and 310.0 MiB in the last hour",
        &["memory usage in the last hour", "how much memroy did we use in the last hour"],
    ),
    (
        "Memory of the vectors in space finance: 2.0 MiB now (2,048 entries)",
        &["memory in space finance", "How big is the finance space?"],
    ),
    (
        "Memory: it was not looked at yesterday (UTC); nothing is remembered from before 12:00 UTC",
        &["memory yesterday"],
    ),
    (
        "Entries: 3,100 now; between 1,000 and 3,100 {ever}",
        &["entries", "How many keys does the cache hold right now?"],
    ),
    ("Entries in space support: 512 now", &["how many entries are there in space support"]),
    ("Entries with tag user:7: 33 now", &["how many entries have tag user:7", "entries tagged \"user:7\""]),
    (
        "Cost saved: $0.26 (57 hits, 50 with a known cost) in the last hour",
        &["How much did we save in the last hour?", "cost savings last hour", "money saved in the past hour"],
    ),
    (
        "Cost saved for passwords: $0.06 (30 hits, 30 with a known cost) {ever}",
        &["cost saved by questions about passwords"],
    ),
    (
        "Top entries in space finance since 13:30 UTC (2 of 2):\n\
         1. \"What was the revenue of the company last quarter?\": 20 hits\n\
         2. \"What is the financial outlook of the bank?\": 15 hits",
        &["top 5 questions in space finance since 13:30", "most popular questions in the finance space since 13:30"],
    ),
    (
        "Top entries for passwords in the last 7 days; what is remembered begins at 12:00 UTC (1 of 1):\n1. \"How do I reset my password?\": 30 hits",
        &["Top 3 entries about passwords in the last 7 days"],
    ),
    (
        "Top misses {ever} (2 of 6):\n1. \"I forgot my password, please reset it\": 10 misses\n2. \"password reset link expired\": 8 misses",
        &["top 2 misses", "top two missed questions"],
    ),
    (
        "Top misses for passwords {ever} (3 of 3):\n\
         1. \"I forgot my password, please reset it\": 10 misses\n\
         2. \"password reset link expired\": 8 misses\n\
         3. \"Do not reset my password\": 2 misses",
        &["which questions about passwords missed the most"],
    ),
    (
        "Cache hit rate for quantum physics: no reads {ever} (105 looked at; the nearest text that is remembered, \"faq:7\", has similarity 0.14)",
        &["hit rate about quantum physics"],
    ),
    (
        "Cache hit rate for passwords: no reads {ever} (105 looked at; the nearest text that is remembered, \"Do not reset my password\", has similarity \
         0.74: add \"similarity 0.7\" to the question to count what is that near)",
        &["hit rate for passwords with similarity 0.9", "hit rate for passwords at least 90% similar"],
    ),
    (
        "Cache hit rate for passwords: 60.0% (30 hits, 20 misses, 2 of them by a guard) {ever}{wordless}\nLeft aside because not understood: \"kindly\"",
        &["kindly show the hit rate for passwords"],
    ),
];

/// Sentences that cannot be answered: the part that is named, and how the reason begins.
const NOT_UNDERSTOOD: &[(&str, &str, &str)] = &[
    ("banana", "banana", "no measure"),
    ("what is the meaning of life", "what is the meaning of life", "no measure"),
    ("hit rate and latency", "hit rate and latency", "it names more than one measure"),
    ("compare hit rate with yesterday", "compare hit rate with yesterday", "comparisons"),
    ("is the hit rate higher than yesterday", "than yesterday", "comparisons"),
    ("hit rate trend for passwords", "trend for passwords", "comparisons"),
    ("hit rate per hour", "per hour", "one figure"),
    ("daily evictions", "daily", "one figure"),
    ("hit rate except passwords", "except passwords", "a topic cannot be left out"),
    ("hit rate not about passwords", "not about passwords", "a topic cannot be left out"),
    ("hit rate last night", "last night", "this time is not known"),
    ("hit rate in the last few minutes", "in the last few minutes", "this time is not known"),
    ("hit rate since lunch", "since lunch", "this time is not known"),
    ("hit rate before 15:00", "before 15:00", "this time is not known"),
    ("hit rate today and yesterday", "hit rate today and yesterday", "it names more than one time"),
    ("hit rate for tenant acme", "tenant acme", "reads are not recorded by tenant"),
    ("!!!", "!!!", "there is no word"),
];

#[test]
fn sentences_have_their_answers() {
    let record = Record::new();
    let mut asked = 0;
    for (answer, sentences) in ANSWERS {
        let answer = answer.replace("{ever}", EVER).replace("{wordless}", WORDLESS);
        for sentence in *sentences {
            assert_eq!(record.ask(sentence), answer, "to {sentence:?}");
            asked += 1;
        }
    }
    assert!(asked >= 90, "{asked} sentences");
}

#[test]
fn what_is_not_understood_is_named_with_what_can_be_asked() {
    let record = Record::new();
    for (sentence, part, why) in NOT_UNDERSTOOD {
        let answer = record.ask(sentence);
        assert!(answer.starts_with(&format!("I did not understand \"{part}\": {why}")), "{sentence:?}: {answer}");
        assert!(answer.contains("What can be asked: hit rate,") && answer.contains("for financial data"), "{answer}");
    }
    assert!(record.ask("help").starts_with("What can be asked"));
    assert_eq!(record.ask(""), record.ask("?"));
}

#[test]
fn the_sentence_of_the_manual_has_the_answer_of_the_manual() {
    let revenue = Note {
        at_ms: NOW_MS - 10 * MINUTE_MS,
        kind: Kind::Lookup,
        outcome: Outcome::Hit,
        text: b"What does the financial report say about revenue?",
        space: NO_SPACE,
        tag: 0,
        latency_us: 10,
        amount: 0,
    };
    let mut notes = vec![revenue; 1234];
    notes.extend([Note { outcome: Outcome::Miss, ..revenue }; 441]);
    notes.extend([Note { text: b"How do I cook rice?", ..revenue }; 100]);
    notes.extend([Note { at_ms: NOW_MS - 61 * MINUTE_MS, ..revenue }; 50]);
    assert_eq!(
        Record::of(&notes, Totals::default()).ask("Show cache hit rate for financial data in the last hour"),
        "Cache hit rate for financial data: 73.7% (1,234 hits, 441 misses) in the last hour"
    );
}

#[test]
fn reads_of_redis_s_commands_stand_beside_those_of_native_ones() {
    let plain =
        Totals { keyspace_hits: 107, keyspace_misses: 24, native_hits: 7, native_misses: 4, ..Totals::default() };
    let native = "68.6% (72 hits, 33 misses, 2 of them by a guard)";
    assert_eq!(
        Record::of(&notes(), plain).ask("hit rate in the last 3 hours"),
        format!(
            "Cache hit rate: {native} in the last 3 hours; beside them by Redis's commands and CACHE.EMB: 83.3% (100 hits, 20 misses)"
        )
    );
    assert_eq!(
        Record::of(&[], plain).ask("hit rate this hour"),
        "Cache hit rate: 83.3% (100 hits, 20 misses) this hour (since 15:00 UTC), all by Redis's commands and CACHE.EMB"
    );
    assert_eq!(
        Record::of(&[], plain).ask("hits about cards"),
        format!("Cache hits for cards: no reads {EVER} (0 looked at)")
    );
}

#[test]
fn without_native_reads_latency_is_that_of_all_commands() {
    let timed = Totals { calls: 1000, nanoseconds: 12_300_000, ..Totals::default() };
    assert_eq!(
        Record::of(&[], timed).ask("latency in the last hour"),
        "Latency: no native reads were timed in the last hour; 1,000 commands of all kinds took 12.3 us on average"
    );
    assert_eq!(Record::of(&[], Totals::default()).ask("latency"), format!("Latency: no timed reads {EVER}"));
}

#[test]
fn a_ring_that_is_switched_off_is_said_to_be() {
    let off = Record { ring: None, ..Record::new() };
    assert_eq!(off.ask("hit rate"), "Native reads and writes are not recorded: analytics-ring-len is 0");
    assert_eq!(off.ask("evictions in the last hour"), "Evictions: 60 in the last hour");
}
