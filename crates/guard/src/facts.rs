//! What a question says that similarity does not see, and how it is stored.

use crate::opposites;
use crate::read;
use std::fmt::Write as _;

/// The lexical facts of one text: small, in one spelling each, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub(crate) numbers: Vec<String>,
    pub(crate) dates: Vec<String>,
    pub(crate) ids: Vec<String>,
    /// Words in capitals: identifiers only if the other text has some too.
    pub(crate) capitals: Vec<String>,
    pub(crate) negated: bool,
    /// Pairs of opposites that the text names, by their number in the table, and which sides: 1, 2, or both.
    pub(crate) opposites: Vec<(u8, u8)>,
}

/// The first byte of what [`Facts::encode`] makes. It rises if facts are read from a text in another way, so that
/// those of before are never compared with those of after.
const VERSION: u8 = 1;

/// More of one kind are represented by a checksum.
pub(crate) const FACTS_MAX: usize = 32;
/// Longer ones end with a checksum.
pub(crate) const FACT_BYTES_MAX: usize = 64;
/// Characters of a checksum, with its mark.
const CHECKSUM_BYTES: usize = 17;

const NEGATED: u8 = 1;

impl Facts {
    /// The facts of a text. Words are understood in English; digits, dates and codes in any language.
    #[must_use]
    pub fn of(text: &str) -> Facts {
        let mut facts = read::facts(text);
        for list in facts.lists_mut() {
            bound(list);
        }
        facts.opposites.sort_unstable();
        facts
    }

    /// Whether there is nothing that could differ.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Facts::default()
    }

    /// The bytes to store: version, flags, then the lists, each with its length in front. Never more than 9 KB, for an
    /// ordinary question some 10 to 40 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, if self.negated { NEGATED } else { 0 }];
        for list in [&self.numbers, &self.dates, &self.ids, &self.capitals] {
            out.push(list.len() as u8);
            for fact in list {
                out.push(fact.len() as u8);
                out.extend_from_slice(fact.as_bytes());
            }
        }
        out.push(self.opposites.len() as u8);
        for (pair, sides) in &self.opposites {
            out.extend([*pair, *sides]);
        }
        out
    }

    /// What was encoded. Nothing if the bytes are not what [`Facts::encode`] of this version makes: facts that were read
    /// by other rules say nothing about those of today, and whoever guards should treat the entry as differing.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Facts> {
        let (version, rest) = bytes.split_first()?;
        if *version == VERSION { decode(rest) } else { None }
    }

    fn lists_mut(&mut self) -> [&mut Vec<String>; 4] {
        [&mut self.numbers, &mut self.dates, &mut self.ids, &mut self.capitals]
    }
}

fn decode(mut bytes: &[u8]) -> Option<Facts> {
    let mut take = |count: usize| {
        let (taken, rest) = bytes.split_at_checked(count)?;
        bytes = rest;
        Some(taken)
    };
    let mut facts = Facts { negated: *take(1)?.first()? == NEGATED, ..Facts::default() };
    for list in facts.lists_mut() {
        let count = usize::from(*take(1)?.first()?);
        if count > FACTS_MAX {
            return None;
        }
        for _ in 0..count {
            let length = usize::from(*take(1)?.first()?);
            if length > FACT_BYTES_MAX {
                return None;
            }
            list.push(std::str::from_utf8(take(length)?).ok()?.to_owned());
        }
    }
    let pairs = usize::from(*take(1)?.first()?);
    let pairs = take(pairs * 2)?;
    facts.opposites = pairs.as_chunks().0.iter().map(|[pair, sides]| (*pair, *sides)).collect();
    if facts.opposites.iter().any(|(pair, _)| usize::from(*pair) >= opposites::PAIRS.len()) {
        return None;
    }
    bytes.is_empty().then_some(facts)
}

/// Sorts a list, and bounds its length and that of its facts without making different ones equal.
fn bound(list: &mut Vec<String>) {
    for fact in list.iter_mut().filter(|fact| fact.len() > FACT_BYTES_MAX) {
        let checksum = checksum([fact.as_str()]);
        let mut end = FACT_BYTES_MAX - CHECKSUM_BYTES;
        while !fact.is_char_boundary(end) {
            end -= 1;
        }
        fact.truncate(end);
        fact.push_str(&checksum);
    }
    list.sort_unstable();
    list.dedup();
    if list.len() > FACTS_MAX {
        let rest = list.split_off(FACTS_MAX - 1);
        list.push(checksum(rest.iter().map(String::as_str)));
    }
}

/// FNV-1a of 64 bits, as text that sorts behind all facts.
fn checksum<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for text in texts {
        for byte in text.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    let mut shown = String::with_capacity(CHECKSUM_BYTES);
    // Writing to a string does not fail.
    let _ = write!(shown, "~{hash:016x}");
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_never_changes_for_a_version() {
        let facts = Facts::of("Do not enable AB-1234 for $20 on 3 May 2024, AAPL");
        let expected = b"\x01\x01\x01\x0920 dollar\x01\x0a2024-05-03\x01\x06ab1234\x01\x04aapl\x01\x00\x01";
        assert_eq!(facts.encode(), expected, "{:?}", String::from_utf8_lossy(&facts.encode()));
        assert_eq!(Facts::decode(expected), Some(facts));
    }

    #[test]
    fn bytes_that_are_none_are_refused() {
        let bytes = Facts::of("Disable AB-1234 for $20").encode();
        for end in 0..bytes.len() {
            assert_eq!(Facts::decode(&bytes[..end]), None);
        }
        assert_eq!(Facts::decode(&[&bytes[..], b"x"].concat()), None);
        let other_version = [&[VERSION + 1], &bytes[1..]].concat();
        assert_eq!(Facts::decode(&other_version), None);
    }

    #[test]
    fn many_and_long_facts_are_bounded_and_still_differ() {
        let many = |last: usize| (0..100).chain([last]).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        let (some, others) = (Facts::of(&many(500)), Facts::of(&many(501)));
        assert_eq!(some.numbers.len(), FACTS_MAX);
        assert_ne!(some, others);
        let long = |last: char| format!("A1{}{last}", "b".repeat(1000));
        let (some, other) = (Facts::of(&long('x')), Facts::of(&long('y')));
        assert!(some.ids[0].len() <= FACT_BYTES_MAX);
        assert_ne!(some, other);
        assert_eq!(Facts::decode(&some.encode()), Some(some));
    }
}
