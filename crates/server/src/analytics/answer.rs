//! From a question to a sentence that answers it, by counting.

use super::figures::{bytes, count, counted, dollars, microseconds, percent};
use super::measure::{Figure, Measure};
use super::question::{NotUnderstood, Question};
use super::ring::{Entry, Kind, NOT_TIMED, Outcome, Snapshot, tag_hash};
use super::samples::{Samples, Span};
use super::topic::{Embed, Topic, Vectors};
use super::window::Bounds;
use std::collections::HashMap;

/// What an answer is made from.
pub struct Records<'r> {
    /// Now, in Unix milliseconds.
    pub now_ms: u64,
    /// The native reads and writes; `None`: they are not recorded.
    pub ring: Option<&'r Snapshot>,
    /// The counters of the process, the last look being of now.
    pub samples: &'r Samples,
    /// Vectors made for earlier questions.
    pub vectors: &'r Vectors,
    /// Makes more of them.
    pub embed: &'r Embed<'r>,
    /// The spaces that there are.
    pub spaces: &'r [SpaceFacts],
    /// How many entries bear a tag.
    pub entries_with_tag: &'r dyn Fn(&str) -> u64,
    /// Bytes that may be used.
    pub memory_bytes_max: u64,
}

/// What is known of a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceFacts {
    /// Its name.
    pub name: String,
    /// Its id, as entries of the ring hold it.
    pub id: u32,
    /// Its entries.
    pub entries: u64,
    /// What its vectors take.
    pub memory_bytes: u64,
}

/// What follows every answer that could not be given.
const HELP: &str = "\
What can be asked: hit rate, miss rate, hits, misses, lookups, writes, evictions, expirations, invalidations, latency (average, p50, p95, p99), memory, entries, \
cost saved, top entries, top misses; in the last N seconds, minutes, hours, days or weeks, today, yesterday, this hour, since 14:00, since midnight (UTC), or ever; \
about a topic in words, in a space, or with a tag. For example:
  Show cache hit rate for financial data in the last hour
  How many misses about password resets today?
  p99 latency in space support since 14:00
  Top 10 entries about refunds in the last 7 days
  How much did we save in the last 24 hours?
  Evictions yesterday";

/// Answers a sentence. Never fails: what is not understood is said, with what can be asked.
#[must_use]
pub fn answer(sentence: &str, records: &Records<'_>) -> String {
    if matches!(sentence.trim().to_lowercase().as_str(), "" | "help" | "help me" | "?") {
        return HELP.to_owned();
    }
    match Question::read(sentence) {
        Ok(question) => Answering { question: &question, records }.text(),
        Err(NotUnderstood { part, why }) => format!("I did not understand \"{part}\": {why}.\n{HELP}"),
    }
}

struct Answering<'a> {
    question: &'a Question,
    records: &'a Records<'a>,
}

/// What is counted.
struct Scope<'a> {
    ring: &'a Snapshot,
    bounds: Bounds,
    space: Option<&'a SpaceFacts>,
    tag: Option<u64>,
    topic: Option<Topic>,
    /// The scope in words, with a space in front: ` for financial data in space support`.
    words: String,
}

/// Reads by their outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Reads {
    hits: u64,
    misses: u64,
    /// Of the misses, those that a guard made.
    guarded: u64,
}

impl Answering<'_> {
    fn text(&self) -> String {
        let mut text = match self.scope() {
            Ok(scope) => self.measured(&scope),
            Err(text) => text,
        };
        if !self.question.ignored.is_empty() {
            let words: Vec<String> = self.question.ignored.iter().map(|word| format!("\"{word}\"")).collect();
            text.push_str(&format!("\nLeft aside because not understood: {}", words.join(", ")));
        }
        text
    }

    /// What to count, or why there is nothing to count.
    fn scope(&self) -> Result<Scope<'_>, String> {
        static NOTHING: Snapshot = Snapshot::EMPTY;
        let (question, records) = (self.question, self.records);
        let ring = records.ring.unwrap_or(&NOTHING);
        if records.ring.is_none() && self.needs_ring() {
            return Err("Native reads and writes are not recorded: analytics-ring-len is 0".to_owned());
        }
        let known_since_ms = if self.needs_ring() { ring.complete_since_ms } else { self.sampled_since_ms() };
        let bounds = question.window.bounds(records.now_ms, known_since_ms);
        let mut words = String::new();
        let mut topic_words = question.topic.clone();
        let mut space = None;
        if let Some(named) = &question.space {
            space = records.spaces.iter().find(|space| space.name.eq_ignore_ascii_case(&named.name));
            match (&space, &named.otherwise) {
                (Some(found), _) => words.push_str(&format!(" in space {}", found.name)),
                (None, Some(otherwise)) => topic_words = topic_words.or_else(|| Some(otherwise.clone())),
                (None, None) => return Err(self.no_such_space(&named.name)),
            }
        }
        if let Some(tag) = &question.tag {
            words.push_str(&format!(" with tag {tag}"));
        }
        let mut topic = None;
        if let Some(wanted) = &topic_words {
            words = format!(" for {wanted}{words}");
            if self.needs_ring() {
                let texts = ring.entries().filter(|entry| self.concerns(entry.kind)).map(Entry::text);
                topic = records.vectors.compare(wanted, question.similarity, texts, records.embed);
                if topic.is_none() {
                    return Err(format!(
                        "I did not understand the topic \"{wanted}\": no word of it is known.\n{HELP}"
                    ));
                }
            }
        }
        let tag = question.tag.as_ref().map(|tag| tag_hash(tag.as_bytes()));
        Ok(Scope { ring, bounds, space, tag, topic, words })
    }

    /// Whether the answer is counted from the ring, not from the counters of the process.
    fn needs_ring(&self) -> bool {
        match self.question.measure {
            Measure::Evictions | Measure::Expirations | Measure::Memory | Measure::Entries => false,
            Measure::HitRate
            | Measure::MissRate
            | Measure::Hits
            | Measure::Misses
            | Measure::Lookups
            | Measure::Writes
            | Measure::Invalidations
            | Measure::Latency(_)
            | Measure::CostSaved
            | Measure::Top(_)
            | Measure::TopMisses(_) => true,
        }
    }

    /// Whether what was done so is what the question is about; texts of other kinds do not say what is near to a topic.
    fn concerns(&self, kind: Kind) -> bool {
        match self.question.measure {
            Measure::Writes => kind == Kind::Set,
            Measure::Invalidations => kind == Kind::Invalidate,
            Measure::HitRate
            | Measure::MissRate
            | Measure::Hits
            | Measure::Misses
            | Measure::Lookups
            | Measure::Latency(_)
            | Measure::CostSaved
            | Measure::Top(_)
            | Measure::TopMisses(_)
            | Measure::Evictions
            | Measure::Expirations
            | Measure::Memory
            | Measure::Entries => kind.is_read(),
        }
    }

    fn sampled_since_ms(&self) -> u64 {
        self.records.samples.between(0, u64::MAX).map_or(self.records.now_ms, |span| span.from_ms)
    }

    fn no_such_space(&self, name: &str) -> String {
        let names: Vec<&str> = self.records.spaces.iter().map(|space| space.name.as_str()).collect();
        if names.is_empty() {
            return format!("There is no space \"{name}\"; there is none at all yet");
        }
        format!("There is no space \"{name}\"; there are: {}", names.join(", "))
    }

    fn measured(&self, scope: &Scope<'_>) -> String {
        match self.question.measure {
            measure @ (Measure::HitRate | Measure::MissRate | Measure::Hits | Measure::Misses | Measure::Lookups) => {
                self.reads(measure, scope)
            }
            Measure::Latency(figure) => self.latency(figure, scope),
            Measure::CostSaved => self.cost_saved(scope),
            Measure::Top(len) => self.top("Top entries", len, scope, Entry::is_hit, ("hit", "hits")),
            Measure::TopMisses(len) => {
                self.top("Top misses", len, scope, |entry| entry.kind.is_read() && !entry.is_hit(), ("miss", "misses"))
            }
            Measure::Writes => self.writes(scope),
            Measure::Invalidations => self.invalidations(scope),
            Measure::Evictions => self.process_count("Evictions", scope, |span| span.totals.evictions),
            Measure::Expirations => self.process_count("Expirations", scope, |span| span.totals.expirations),
            Measure::Memory => self.memory(scope),
            Measure::Entries => self.entries(scope),
        }
    }

    fn reads(&self, measure: Measure, scope: &Scope<'_>) -> String {
        let label = match measure {
            Measure::MissRate => "Cache miss rate",
            Measure::Hits => "Cache hits",
            Measure::Misses => "Cache misses",
            Measure::Lookups => "Lookups",
            Measure::HitRate
            | Measure::Writes
            | Measure::Evictions
            | Measure::Expirations
            | Measure::Invalidations
            | Measure::Latency(_)
            | Measure::Memory
            | Measure::Entries
            | Measure::CostSaved
            | Measure::Top(_)
            | Measure::TopMisses(_) => "Cache hit rate",
        };
        let (words, when) = (&scope.words, &scope.bounds.words);
        let native = scope.reads();
        let plain = self.plain_reads(scope);
        match (native.total(), plain.total()) {
            (0, 0) => self.none(label, "reads", scope, Entry::is_read),
            (0, _) => format!("{label}: {} {when}, all by Redis's commands and CACHE.EMB", plain.said(measure)),
            (_, 0) => format!("{label}{words}: {} {when}{}", native.said(measure), scope.wordless()),
            (_, _) => format!(
                "{label}: {} {when}; beside them by Redis's commands and CACHE.EMB: {}",
                native.said(measure),
                plain.said(measure)
            ),
        }
    }

    /// Reads of Redis's commands, of which only the number is known.
    fn plain_reads(&self, scope: &Scope<'_>) -> Reads {
        if scope.is_part() {
            return Reads::default();
        }
        let span = self.records.samples.between(scope.bounds.from_ms, scope.bounds.until_ms - 1);
        let (hits, misses) = span.map_or((0, 0), |span| span.totals.plain_reads());
        Reads { hits, misses, guarded: 0 }
    }

    /// There is nothing to count: what was looked at, and what came nearest.
    fn none(&self, label: &str, what: &str, scope: &Scope<'_>, is_one: impl Fn(&Entry) -> bool) -> String {
        let looked_at = scope.in_time().filter(|entry| is_one(entry)).count() as u64;
        let mut text = format!("{label}{}: no {what} {}", scope.words, scope.bounds.words);
        if !scope.is_part() {
            return text;
        }
        text.push_str(&format!(" ({} looked at", count(looked_at)));
        if let Some((nearest, similarity)) =
            scope.topic.as_ref().and_then(|topic| topic.nearest.as_ref()).filter(|_| looked_at > 0)
        {
            text.push_str(&format!(
                "; the nearest text that is remembered, \"{nearest}\", has similarity {similarity:.2}"
            ));
            if scope.topic.as_ref().is_some_and(|topic| *similarity < topic.threshold) && *similarity >= 0.2 {
                let lower = (similarity * 10.0).floor() / 10.0;
                text.push_str(&format!(": add \"similarity {lower:.1}\" to the question to count what is that near"));
            }
        }
        text.push(')');
        text
    }

    fn latency(&self, figure: Figure, scope: &Scope<'_>) -> String {
        let (words, when) = (&scope.words, &scope.bounds.words);
        let mut times: Vec<u32> = scope
            .entries()
            .filter(|entry| entry.kind.is_read() && entry.latency_us != NOT_TIMED)
            .map(|entry| entry.latency_us)
            .collect();
        times.sort_unstable();
        if times.is_empty() {
            let span = self
                .records
                .samples
                .between(scope.bounds.from_ms, scope.bounds.until_ms - 1)
                .filter(|_| !scope.is_part());
            return match span.map(|span| span.totals).filter(|totals| totals.calls > 0) {
                Some(totals) => format!(
                    "Latency: no native reads were timed {when}; {} of all kinds took {} on average",
                    counted(totals.calls, "command", "commands"),
                    microseconds(totals.nanoseconds as f64 / 1000.0 / totals.calls as f64)
                ),
                None => self.none("Latency", "timed reads", scope, Entry::is_read),
            };
        }
        let mean = times.iter().map(|us| f64::from(*us)).sum::<f64>() / times.len() as f64;
        let at = |percent: f64| microseconds(f64::from(percentile(&times, percent)));
        let reads = counted(times.len() as u64, "timed read", "timed reads");
        let value = match figure {
            Figure::All => format!(
                "average {}, p50 {}, p95 {}, p99 {}, longest {}",
                microseconds(mean),
                at(50.0),
                at(95.0),
                at(99.0),
                at(100.0)
            ),
            Figure::Average => microseconds(mean),
            Figure::Percentile(percent) => at(percent),
            Figure::Longest => at(100.0),
        };
        let label = match figure {
            Figure::All => "Latency".to_owned(),
            Figure::Average => "Average latency".to_owned(),
            Figure::Longest => "Longest latency".to_owned(),
            Figure::Percentile(_) => format!("{} latency", figure.name()),
        };
        format!("{label}{words}: {value} ({reads}) {when}{}", scope.wordless())
    }

    fn cost_saved(&self, scope: &Scope<'_>) -> String {
        let hits: Vec<u64> = scope.entries().filter(|entry| entry.is_hit()).map(|entry| entry.amount).collect();
        if hits.is_empty() {
            return self.none("Cost saved", "hits", scope, Entry::is_read);
        }
        let costly = hits.iter().filter(|cost| **cost > 0).count() as u64;
        let sum = hits.iter().fold(0, |sum: u64, cost| sum.saturating_add(*cost));
        let (words, when) = (&scope.words, &scope.bounds.words);
        format!(
            "Cost saved{words}: {} ({}, {} with a known cost) {when}",
            dollars(sum),
            counted(hits.len() as u64, "hit", "hits"),
            count(costly)
        )
    }

    fn top(
        &self,
        label: &str,
        len: usize,
        scope: &Scope<'_>,
        is_one: impl Fn(&Entry) -> bool,
        unit: (&str, &str),
    ) -> String {
        let mut counts: HashMap<&[u8], u64> = HashMap::new();
        for entry in scope.entries().filter(|entry| is_one(entry) && !entry.text().is_empty()) {
            *counts.entry(entry.text()).or_default() += 1;
        }
        if counts.is_empty() {
            return self.none(label, unit.1, scope, Entry::is_read);
        }
        let distinct = counts.len() as u64;
        let mut order: Vec<(&[u8], u64)> = counts.into_iter().collect();
        order.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let mut text =
            format!("{label}{} {} ({} of {}):", scope.words, scope.bounds.words, order.len().min(len), count(distinct));
        for (place, (entry, number)) in order.iter().take(len).enumerate() {
            text.push_str(&format!(
                "\n{}. \"{}\": {}",
                place + 1,
                String::from_utf8_lossy(entry),
                counted(*number, unit.0, unit.1)
            ));
        }
        text
    }

    fn writes(&self, scope: &Scope<'_>) -> String {
        let outcomes: Vec<Outcome> =
            scope.entries().filter(|entry| entry.kind == Kind::Set).map(|entry| entry.outcome).collect();
        if outcomes.is_empty() {
            return self.none("Writes", "native writes", scope, |entry| entry.kind == Kind::Set);
        }
        let refused = outcomes.iter().filter(|outcome| **outcome == Outcome::Refused).count() as u64;
        let unmet = outcomes.iter().filter(|outcome| **outcome == Outcome::Miss).count() as u64;
        let (words, when) = (&scope.words, &scope.bounds.words);
        format!(
            "Writes{words}: {} ({} refused as stale or held, {} whose condition was not met) {when}",
            count(outcomes.len() as u64),
            count(refused),
            count(unmet)
        )
    }

    fn invalidations(&self, scope: &Scope<'_>) -> String {
        let removed: Vec<u64> =
            scope.entries().filter(|entry| entry.kind == Kind::Invalidate).map(|entry| entry.amount).collect();
        if removed.is_empty() {
            return self.none("Invalidations", "invalidations", scope, |entry| entry.kind == Kind::Invalidate);
        }
        let sum = removed.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
        let (words, when) = (&scope.words, &scope.bounds.words);
        format!(
            "Invalidations{words}: {}, which removed {} {when}",
            count(removed.len() as u64),
            counted(sum, "entry", "entries")
        )
    }

    /// A counter of the process.
    fn process_count(&self, label: &str, scope: &Scope<'_>, of: impl Fn(&Span) -> u64) -> String {
        let number =
            self.records.samples.between(scope.bounds.from_ms, scope.bounds.until_ms - 1).map_or(0, |span| of(&span));
        format!("{label}{}: {} {}", self.not_by_part(scope), count(number), scope.bounds.words)
    }

    /// That a figure is one of the whole process, although a part of it was asked for.
    fn not_by_part(&self, scope: &Scope<'_>) -> &'static str {
        if scope.words.is_empty() { "" } else { " of the whole process (they are not counted by topic, space or tag)" }
    }

    fn memory(&self, scope: &Scope<'_>) -> String {
        if let Some(space) = scope.space {
            return format!(
                "Memory of the vectors{}: {} now ({})",
                scope.words,
                bytes(space.memory_bytes),
                counted(space.entries, "entry", "entries")
            );
        }
        let Some(span) = self.records.samples.between(scope.bounds.from_ms, scope.bounds.until_ms - 1) else {
            return format!("Memory: it was not looked at {}", scope.bounds.words);
        };
        let whole =
            if scope.words.is_empty() { "" } else { " of the whole process (it is not counted by topic or tag)" };
        let used =
            format!("Memory{whole}: {} of {}", bytes(span.last.memory_bytes), bytes(self.records.memory_bytes_max));
        let most = format!(
            "between {} and {} {}",
            bytes(span.least.memory_bytes),
            bytes(span.most.memory_bytes),
            scope.bounds.words
        );
        if self.is_past(scope) { format!("Memory{whole}: {most}") } else { format!("{used} now; {most}") }
    }

    fn entries(&self, scope: &Scope<'_>) -> String {
        if let Some(space) = scope.space {
            return format!("Entries{}: {} now", scope.words, count(space.entries));
        }
        if let Some(tag) = &self.question.tag {
            return format!("Entries with tag {tag}: {} now", count((self.records.entries_with_tag)(tag)));
        }
        let Some(span) = self.records.samples.between(scope.bounds.from_ms, scope.bounds.until_ms - 1) else {
            return format!("Entries: they were not counted {}", scope.bounds.words);
        };
        let whole = self.not_by_part(scope);
        let most =
            format!("between {} and {} {}", count(span.least.entries), count(span.most.entries), scope.bounds.words);
        if self.is_past(scope) {
            format!("Entries{whole}: {most}")
        } else {
            format!("Entries{whole}: {} now; {most}", count(span.last.entries))
        }
    }

    fn is_past(&self, scope: &Scope<'_>) -> bool {
        scope.bounds.until_ms <= self.records.now_ms
    }
}

impl Scope<'_> {
    /// Whether only some of what happened is meant.
    fn is_part(&self) -> bool {
        self.space.is_some() || self.tag.is_some() || self.topic.is_some()
    }

    fn in_time(&self) -> impl Iterator<Item = &Entry> {
        let bounds = &self.bounds;
        self.ring.entries().filter(move |entry| entry.at_ms >= bounds.from_ms && entry.at_ms < bounds.until_ms)
    }

    /// What is in time, space and tag, whatever its text.
    fn placed(&self) -> impl Iterator<Item = &Entry> {
        self.in_time().filter(|entry| {
            self.space.is_none_or(|space| entry.space == space.id) && self.tag.is_none_or(|tag| entry.tag == tag)
        })
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.placed().filter(|entry| self.topic.as_ref().is_none_or(|topic| topic.holds(entry.text())))
    }

    fn reads(&self) -> Reads {
        let mut reads = Reads::default();
        for entry in self.entries().filter(|entry| entry.kind.is_read()) {
            match entry.outcome {
                Outcome::Hit => reads.hits += 1,
                Outcome::Miss => reads.misses += 1,
                Outcome::Refused => {
                    reads.misses += 1;
                    reads.guarded += 1;
                }
            }
        }
        reads
    }

    /// That some reads could not be matched with the topic because they had no words.
    fn wordless(&self) -> String {
        let number = if self.topic.is_none() {
            0
        } else {
            self.placed().filter(|entry| entry.kind.is_read() && entry.text().is_empty()).count() as u64
        };
        match number {
            0 => String::new(),
            _ => format!("; {} gave a vector without words and could not be matched", counted(number, "read", "reads")),
        }
    }
}

impl Reads {
    fn total(self) -> u64 {
        self.hits + self.misses
    }

    /// The figure that is asked for, and those it comes from.
    fn said(self, measure: Measure) -> String {
        let (hits, misses, total) =
            (counted(self.hits, "hit", "hits"), counted(self.misses, "miss", "misses"), self.total());
        let guarded =
            if self.guarded == 0 { String::new() } else { format!(", {} of them by a guard", count(self.guarded)) };
        let parts = format!("{hits}, {misses}{guarded}");
        let reads = counted(total, "read", "reads");
        match measure {
            Measure::MissRate => format!("{} ({parts})", percent(self.misses, total)),
            Measure::Hits => format!("{} of {reads}", count(self.hits)),
            Measure::Misses => format!("{} of {reads}{guarded}", count(self.misses)),
            Measure::Lookups => format!("{} ({parts})", count(total)),
            Measure::HitRate
            | Measure::Writes
            | Measure::Evictions
            | Measure::Expirations
            | Measure::Invalidations
            | Measure::Latency(_)
            | Measure::Memory
            | Measure::Entries
            | Measure::CostSaved
            | Measure::Top(_)
            | Measure::TopMisses(_) => format!("{} ({parts})", percent(self.hits, total)),
        }
    }
}

/// The least value that so many percent do not exceed (nearest rank) of sorted values that are not empty.
fn percentile(sorted: &[u32], percent: f64) -> u32 {
    let rank = (sorted.len() as f64 * percent / 100.0).ceil().max(1.0) as usize;
    sorted[rank.min(sorted.len()) - 1]
}
