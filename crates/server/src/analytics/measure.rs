//! What can be asked for, and the words for it.

use super::words::{Word, is_slip_of, number};

/// What is to be counted or measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// The share of reads that found something.
    HitRate,
    /// The share of reads that did not.
    MissRate,
    /// Reads that found something.
    Hits,
    /// Reads that did not.
    Misses,
    /// Reads.
    Lookups,
    /// Native writes, and those of them that were refused.
    Writes,
    /// Entries evicted.
    Evictions,
    /// Entries expired.
    Expirations,
    /// Invalidations, and what they removed.
    Invalidations,
    /// How long reads took.
    Latency(Figure),
    /// Bytes used.
    Memory,
    /// Entries held.
    Entries,
    /// What hits have saved.
    CostSaved,
    /// The texts and keys that hit most often: so many.
    Top(usize),
    /// The texts and keys that missed most often: so many.
    TopMisses(usize),
}

/// Which figure of a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// Mean and the usual percentiles.
    All,
    /// The mean.
    Average,
    /// So many percent stay below it.
    Percentile(f64),
    /// The longest.
    Longest,
}

/// Entries of a top list unless the sentence gives a number.
const TOP_DEFAULT: usize = 5;
/// Entries of a top list at most.
pub const TOP_MAX: usize = 100;

/// A measure and the phrases that name it; longer phrases win over shorter ones at the same place.
struct Row(Measure, &'static [&'static str]);

const ROWS: &[Row] = &[
    Row(
        Measure::HitRate,
        &[
            "hit rate",
            "hit ratio",
            "hits ratio",
            "hits rate",
            "hit percentage",
            "hitrate",
            "hit %",
            "rate of hits",
            "share of hits",
            "ratio of hits",
            "percentage of hits",
            "percent of hits",
            "success rate",
            "effectiveness",
            "effective",
            "efficiency",
            "statistics",
            "stats",
            "hits and misses",
            "hits versus misses",
            "hits vs misses",
            "hit miss ratio",
            "hit or miss",
        ],
    ),
    Row(
        Measure::MissRate,
        &[
            "miss rate",
            "miss ratio",
            "misses rate",
            "miss percentage",
            "miss %",
            "rate of misses",
            "share of misses",
            "ratio of misses",
            "percentage of misses",
        ],
    ),
    Row(Measure::Hits, &["hits", "hit", "hit count", "served from", "answered from", "found"]),
    Row(Measure::Misses, &["misses", "miss", "missed", "miss count", "not found", "not answered"]),
    Row(
        Measure::Lookups,
        &[
            "lookups",
            "lookup",
            "look ups",
            "looked up",
            "reads",
            "read",
            "requests",
            "queries",
            "questions",
            "searches",
            "traffic",
            "asked",
            "query count",
        ],
    ),
    Row(
        Measure::Writes,
        &[
            "writes",
            "write",
            "written",
            "stores",
            "stored",
            "refused writes",
            "stale writes",
            "writes refused",
            "stale sets",
        ],
    ),
    Row(Measure::Evictions, &["evictions", "eviction", "evicted", "evict", "pushed out", "thrown out"]),
    Row(Measure::Expirations, &["expirations", "expiration", "expired", "expire", "expiries", "expires"]),
    Row(Measure::Invalidations, &["invalidations", "invalidation", "invalidated", "invalidate", "purges", "purged"]),
    Row(
        Measure::Latency(Figure::All),
        &[
            "latency",
            "latencies",
            "response time",
            "response times",
            "lookup time",
            "lookup times",
            "how fast",
            "how slow",
            "how quick",
            "how long",
            "speed",
            "duration",
        ],
    ),
    Row(
        Measure::Memory,
        &["memory", "memory usage", "memory use", "ram", "bytes", "footprint", "how big", "how large"],
    ),
    Row(Measure::Entries, &["entries", "entry count", "keys", "key count", "items", "records", "how full"]),
    Row(
        Measure::CostSaved,
        &[
            "cost saved",
            "costs saved",
            "cost savings",
            "cost saving",
            "saved cost",
            "saved costs",
            "money saved",
            "saved money",
            "saved",
            "savings",
            "saving",
            "save",
            "dollars",
            "cost",
        ],
    ),
];

/// Words in front of a list: `top 5 entries`, `most popular questions`.
const SUPERLATIVES: &[&str] = &["top", "most", "hottest", "hot", "popular", "frequent", "commonest", "biggest"];
/// What may follow them within the list's name.
const LISTED: &[&str] = &[
    "entries",
    "entry",
    "keys",
    "key",
    "questions",
    "question",
    "queries",
    "query",
    "lookups",
    "hits",
    "hit",
    "texts",
    "answers",
    "reads",
    "requests",
    "items",
    "popular",
    "frequent",
    "frequently",
    "common",
    "often",
    "asked",
    "used",
    "read",
    "misses",
    "missed",
    "miss",
    "missing",
    "cache",
    "cached",
];

/// A measure in a sentence: which words name it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    pub(super) at: usize,
    pub(super) len: usize,
    pub(super) measure: Measure,
}

/// All measures among the words that are not used yet, in their order. Slips of the pen are looked at only if nothing is spelt right.
pub(super) fn measures(words: &[Word], used: &[bool]) -> Vec<Found> {
    let exact = scan(words, used, |word, meant| word.is(meant));
    if !exact.is_empty() {
        return exact;
    }
    scan(words, used, |word, meant| !word.quoted && is_slip_of(&word.text, meant))
}

/// Which figure of a latency is asked for, and the word that says so.
pub(super) fn figure(words: &[Word], used: &[bool]) -> Option<(usize, Figure)> {
    (0..words.len()).filter(|at| !used[*at] && !words[*at].quoted).find_map(|at| {
        let text = words[at].text.as_str();
        let percent = text.strip_prefix('p').or_else(|| text.strip_suffix("th"));
        let percent =
            percent.and_then(|digits| digits.parse::<f64>().ok()).filter(|percent| *percent > 0.0 && *percent < 100.0);
        let figure = match text {
            "average" | "mean" | "avg" | "typical" => Figure::Average,
            "median" => Figure::Percentile(50.0),
            "longest" | "slowest" | "worst" | "maximum" | "max" => Figure::Longest,
            _ => Figure::Percentile(percent?),
        };
        Some((at, figure))
    })
}

fn scan(words: &[Word], used: &[bool], same: impl Fn(&Word, &str) -> bool) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let hit = if used[at] { None } else { top_at(words, used, at).or_else(|| row_at(words, used, at, &same)) };
        if let Some(hit) = hit {
            at += hit.len;
            found.push(hit);
        } else {
            at += 1;
        }
    }
    found
}

/// The longest phrase that begins here.
fn row_at(words: &[Word], used: &[bool], at: usize, same: impl Fn(&Word, &str) -> bool) -> Option<Found> {
    let len_of = |phrase: &str| {
        let meant: Vec<&str> = phrase.split(' ').collect();
        let there = words.get(at..at + meant.len())?;
        let is_free = used[at..].iter().take(meant.len()).all(|used| !used);
        // Behind a first word that is right, a slip is hardly anything else: `hit rtae`.
        let rest_fits =
            || there.iter().zip(&meant).skip(1).all(|(word, meant)| !word.quoted && is_slip_of(&word.text, meant));
        (is_free && same(&there[0], meant[0]) && rest_fits()).then_some(meant.len())
    };
    let all = ROWS.iter().flat_map(|Row(measure, phrases)| phrases.iter().map(move |phrase| (*measure, *phrase)));
    let fitting = all.filter_map(|(measure, phrase)| Some(Found { at, len: len_of(phrase)?, measure }));
    fitting.reduce(|best, next| if next.len > best.len { next } else { best })
}

/// A list: a superlative, then at least one word of what is listed, perhaps with a number among them.
fn top_at(words: &[Word], used: &[bool], at: usize) -> Option<Found> {
    let is_plural = |word: &Word| word.text.ends_with('s');
    let free = |at: usize| words.get(at).filter(|_| !used[at]);
    let mut begin = at;
    let mut count = None;
    let mut listed = 0;
    let mut misses = false;
    let mut at = if free(at)?.is_any(SUPERLATIVES) {
        at + 1
    } else if free(at)?.is_any(&["which", "what"]) && free(at + 1)?.is_any(LISTED) && is_plural(free(at + 1)?) {
        // `which questions are asked most`, `what keys missed the most`
        let end = (at + 2..(at + 7).min(words.len())).find(|end| free(*end).is_some_and(|word| word.is("most")))?;
        let between = &words[at + 1..end];
        if !between.iter().all(|word| {
            word.is_any(LISTED)
                || word.is_any(&["are", "were", "is", "was", "the", "have", "been", "get", "got", "we", "do", "did"])
        }) {
            return None;
        }
        misses = between.iter().any(|word| word.text.starts_with("miss"));
        listed = 1;
        begin = at;
        end + 1
    } else {
        return None;
    };
    while let Some(word) = free(at) {
        if word.is_any(LISTED) {
            misses |= word.text.starts_with("miss");
            listed += 1;
        } else if let Some(number) = number(word).filter(|_| count.is_none() && listed == 0) {
            count = Some(number as usize);
        } else if !word.is_any(SUPERLATIVES) {
            break;
        }
        at += 1;
    }
    if listed == 0 && !(at >= words.len() || count.is_some()) {
        return None;
    }
    let count = count.unwrap_or(TOP_DEFAULT).clamp(1, TOP_MAX);
    let measure = if misses { Measure::TopMisses(count) } else { Measure::Top(count) };
    Some(Found { at: begin, len: at - begin, measure })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::words::words;

    fn all(sentence: &str) -> Vec<Measure> {
        let words = words(sentence);
        measures(&words, &vec![false; words.len()]).into_iter().map(|found| found.measure).collect()
    }

    #[test]
    fn every_phrase_is_found_as_its_own_measure() {
        for Row(measure, phrases) in ROWS {
            for phrase in *phrases {
                assert_eq!(all(phrase), [*measure], "{phrase}");
            }
        }
    }

    #[test]
    fn no_phrase_of_one_measure_is_a_slip_of_one_of_another() {
        for (row, Row(_, phrases)) in ROWS.iter().enumerate() {
            for Row(_, others) in ROWS.iter().skip(row + 1) {
                for (a, b) in phrases.iter().flat_map(|a| others.iter().map(move |b| (*a, *b))) {
                    let same = a.split(' ').count() == b.split(' ').count()
                        && a.split(' ').zip(b.split(' ')).all(|(a, b)| is_slip_of(a, b));
                    assert!(!same, "{a:?} and {b:?}");
                }
            }
        }
    }

    #[test]
    fn lists_are_asked_for_in_many_ways() {
        for sentence in [
            "top entries",
            "top 5 keys",
            "the most popular questions",
            "hottest keys",
            "most frequently asked questions",
            "which questions are asked most",
        ] {
            assert_eq!(all(sentence), [Measure::Top(5)], "{sentence}");
        }
        assert_eq!(all("top 12 entries"), [Measure::Top(12)]);
        assert_eq!(all("top ten misses"), [Measure::TopMisses(10)]);
        assert_eq!(all("most missed questions"), [Measure::TopMisses(5)]);
        assert_eq!(all("which questions missed the most"), [Measure::TopMisses(5)]);
        assert_eq!(all("top 5000000 keys"), [Measure::Top(TOP_MAX)]);
        assert_eq!(all("top up fees"), []);
    }

    #[test]
    fn slips_of_the_pen_are_forgiven_only_where_nothing_is_spelt_right() {
        assert_eq!(all("latancy"), [Measure::Latency(Figure::All)]);
        assert_eq!(all("evctions"), [Measure::Evictions]);
        assert_eq!(all("hits of memroy foam"), [Measure::Hits]);
    }

    #[test]
    fn figures_are_words_or_percentiles() {
        let read = |sentence: &str| {
            let words = words(sentence);
            figure(&words, &vec![false; words.len()]).map(|(_, figure)| figure)
        };
        assert_eq!(read("p99 latency"), Some(Figure::Percentile(99.0)));
        assert_eq!(read("the 95th percentile"), Some(Figure::Percentile(95.0)));
        assert_eq!(read("p99.9"), Some(Figure::Percentile(99.9)));
        assert_eq!(read("median"), Some(Figure::Percentile(50.0)));
        assert_eq!(read("average latency"), Some(Figure::Average));
        assert_eq!((read("latency"), read("p0"), read("p100")), (None, None, None));
    }
}
