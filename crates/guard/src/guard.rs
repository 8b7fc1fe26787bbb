//! Which facts must agree before an answer to one question may be given to another.

use crate::facts::Facts;
use crate::opposites;
use std::fmt;
use std::str::FromStr;

/// The kinds of facts that must agree. None by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Guard {
    /// Numbers with their units: `5 km`, `five`, `20%`, `the 2nd`.
    pub numbers: bool,
    /// Dates, months, weekdays, times, `yesterday`.
    pub dates: bool,
    /// Codes, versions, addresses, order numbers, words in capitals.
    pub ids: bool,
    /// `not` and its like, and opposites: `enable`, `disable`.
    pub negation: bool,
}

/// A word that names no kind of facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownGuard {
    /// The word.
    pub word: String,
}

/// In what two questions differ; shown in one short line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    kind: &'static str,
    asked: String,
    stored: String,
}

const NUMBERS: &str = "numbers";
const DATES: &str = "dates";
const IDS: &str = "ids";
const NEGATION: &str = "negation";

/// Facts of one side that are shown.
const SHOWN_MAX: usize = 3;

impl Guard {
    /// Every kind.
    pub const ALL: Guard = Guard { numbers: true, dates: true, ids: true, negation: true };

    /// Whether nothing is guarded.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Guard::default()
    }

    /// The kinds as bits, for storage: numbers 1, dates 2, ids 4, negation 8.
    #[must_use]
    pub fn to_bits(self) -> u8 {
        u8::from(self.numbers) | u8::from(self.dates) << 1 | u8::from(self.ids) << 2 | u8::from(self.negation) << 3
    }

    /// What [`Guard::to_bits`] made; nothing if there are other bits.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Guard> {
        let bit = |number: u8| bits >> number & 1 == 1;
        let guard = Guard { numbers: bit(0), dates: bit(1), ids: bit(2), negation: bit(3) };
        (guard.to_bits() == bits).then_some(guard)
    }

    /// The first kind in which two questions differ so that the answer to the stored one is none to the asked one.
    #[must_use]
    pub fn differs(&self, asked: &Facts, stored: &Facts) -> Option<Difference> {
        if self.numbers && !numbers_agree(&asked.numbers, &stored.numbers) {
            return Some(Difference::of_lists(NUMBERS, &asked.numbers, &stored.numbers));
        }
        let lists = [(self.dates, DATES, &asked.dates, &stored.dates), (self.ids, IDS, &asked.ids, &stored.ids)];
        for (is_guarded, kind, asked, stored) in lists {
            if is_guarded && asked != stored {
                return Some(Difference::of_lists(kind, asked, stored));
            }
        }
        let guarded = [
            self.ids.then(|| differing_capitals(asked, stored)),
            self.negation.then(|| differing_polarity(asked, stored)),
        ];
        guarded.into_iter().flatten().flatten().next()
    }
}

/// Each number is among the others. A unit that only one of the two names agrees with none: `$100` and `100`.
fn numbers_agree(asked: &[String], stored: &[String]) -> bool {
    let parts = |number: &'_ str| number.find(' ').unwrap_or(number.len());
    let alike = |some: &str, other: &str| {
        let (end, other_end) = (parts(some), parts(other));
        some == other || (some[..end] == other[..other_end] && (end == some.len() || other_end == other.len()))
    };
    let within =
        |some: &[String], others: &[String]| some.iter().all(|some| others.iter().any(|other| alike(some, other)));
    within(asked, stored) && within(stored, asked)
}

/// A word in capitals may be a ticker or a common word with emphasis, so it says something only beside another one.
fn differing_capitals(asked: &Facts, stored: &Facts) -> Option<Difference> {
    let is_within = |some: &[String], others: &[String]| some.iter().all(|word| others.contains(word));
    if is_within(&asked.capitals, &stored.capitals) || is_within(&stored.capitals, &asked.capitals) {
        return None;
    }
    Some(Difference::of_lists(IDS, &asked.capitals, &stored.capitals))
}

/// One says no and the other does not, or they name different sides of one pair of opposites.
fn differing_polarity(asked: &Facts, stored: &Facts) -> Option<Difference> {
    if asked.negated != stored.negated {
        let word = |negated| if negated { "negated" } else { "not negated" }.to_owned();
        return Some(Difference { kind: NEGATION, asked: word(asked.negated), stored: word(stored.negated) });
    }
    asked.opposites.iter().find_map(|(pair, sides)| {
        let (_, theirs) = stored.opposites.iter().find(|(other, _)| other == pair)?;
        let shown = |sides: u8| opposites::sides(*pair, sides);
        (theirs != sides).then(|| Difference { kind: NEGATION, asked: shown(*sides), stored: shown(*theirs) })
    })
}

impl Difference {
    /// The kind of facts: one of the words that [`Guard`] is parsed from.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Shows what each side has that the other has not.
    fn of_lists(kind: &'static str, asked: &[String], stored: &[String]) -> Difference {
        let only = |some: &[String], others: &[String]| {
            let mut only = some.iter().filter(|fact| !others.contains(fact)).map(String::as_str);
            let shown = only.by_ref().take(SHOWN_MAX).collect::<Vec<_>>().join(", ");
            match (shown.is_empty(), only.next()) {
                (true, _) => "none".to_owned(),
                (false, None) => shown,
                (false, Some(_)) => shown + ", ...",
            }
        };
        Difference { kind, asked: only(asked, stored), stored: only(stored, asked) }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} \u{2260} {}", self.kind, self.asked, self.stored)
    }
}

impl FromStr for Guard {
    type Err = UnknownGuard;

    /// Words joined by commas, in any order and case: `numbers,negation`. `none` and nothing guard nothing.
    fn from_str(words: &str) -> Result<Guard, UnknownGuard> {
        let mut guard = Guard::default();
        if words.trim().is_empty() || words.trim().eq_ignore_ascii_case("none") {
            return Ok(guard);
        }
        for word in words.split(',').map(str::trim) {
            match word.to_ascii_lowercase().as_str() {
                NUMBERS => guard.numbers = true,
                DATES => guard.dates = true,
                IDS => guard.ids = true,
                NEGATION => guard.negation = true,
                _ => return Err(UnknownGuard { word: word.to_owned() }),
            }
        }
        Ok(guard)
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [(self.numbers, NUMBERS), (self.dates, DATES), (self.ids, IDS), (self.negation, NEGATION)];
        let words: Vec<&str> = kinds.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| *word).collect();
        f.write_str(if words.is_empty() { "none".to_owned() } else { words.join(",") }.as_str())
    }
}

impl fmt::Display for UnknownGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' cannot be guarded: use {NUMBERS}, {DATES}, {IDS}, {NEGATION}, joined by commas, or none",
            self.word
        )
    }
}

impl std::error::Error for UnknownGuard {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_the_words_it_is_parsed_from() {
        let guard: Guard = "Negation, numbers".parse().unwrap();
        assert_eq!(guard, Guard { numbers: true, negation: true, ..Guard::default() });
        assert_eq!(guard.to_string(), "numbers,negation");
        assert_eq!("none".parse(), Ok(Guard::default()));
        assert_eq!("".parse(), Ok(Guard::default()));
        assert_eq!("numbers,dates,ids,negation".parse(), Ok(Guard::ALL));
        assert_eq!(Guard::default().to_string(), "none");
        let unknown = "numbers,words".parse::<Guard>().unwrap_err();
        let said = "'words' cannot be guarded: use numbers, dates, ids, negation, joined by commas, or none";
        assert_eq!(unknown.to_string(), said);
        assert!("numbers,".parse::<Guard>().is_err());
    }

    #[test]
    fn a_guard_is_its_bits() {
        for bits in 0..16 {
            assert_eq!(Guard::from_bits(bits).unwrap().to_bits(), bits);
        }
        assert_eq!(Guard::from_bits(16), None);
    }

    #[test]
    fn only_what_is_guarded_can_differ() {
        let (asked, stored) = (Facts::of("enable 2 cards"), Facts::of("disable 3 cards"));
        let shown = |guard: &str| {
            guard.parse::<Guard>().unwrap().differs(&asked, &stored).map(|difference| difference.to_string())
        };
        assert_eq!(shown("none"), None);
        assert_eq!(shown("dates,ids"), None);
        assert_eq!(shown("numbers").as_deref(), Some("numbers: 2 \u{2260} 3"));
        assert_eq!(shown("negation").as_deref(), Some("negation: enable \u{2260} disable"));
    }

    #[test]
    fn a_difference_shows_what_is_not_common() {
        let shown = |asked: &str, stored: &str| {
            Guard::ALL.differs(&Facts::of(asked), &Facts::of(stored)).map(|difference| difference.to_string())
        };
        assert_eq!(shown("from 2 to 5", "from 2 to 7").as_deref(), Some("numbers: 5 \u{2260} 7"));
        assert_eq!(shown("top 10 banks", "top banks").as_deref(), Some("numbers: 10 \u{2260} none"));
        assert_eq!(shown("1 2 3 4 5", "0").as_deref(), Some("numbers: 1, 2, 3, ... \u{2260} 0"));
    }
}
