//! What English words mean to the reader of facts.

use crate::opposites::{FIRST, PAIRS, SECOND, forms};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The meanings of a word: it may have several (`second`, `may`), between which its neighbours decide.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Word {
    /// `five`.
    pub(crate) number: Option<u8>,
    /// `third`.
    pub(crate) ordinal: Option<u8>,
    /// `hundred`: the power of ten that it multiplies with.
    pub(crate) power: Option<u8>,
    /// `kilometres`: its one spelling.
    pub(crate) unit: Option<&'static str>,
    /// 1 to 12.
    pub(crate) month: Option<Month>,
    /// One spelling of a weekday or of a day relative to today.
    pub(crate) day: Option<&'static str>,
    /// `last`, `next`, `this` before a period.
    pub(crate) which: Option<&'static str>,
    /// `week`: its one spelling as a period.
    pub(crate) period: Option<&'static str>,
    /// `not`.
    pub(crate) negates: bool,
    /// What a number behind it identifies: `order`, `ticket`.
    pub(crate) introduces_id: bool,
    /// Number and side of a pair of opposites.
    pub(crate) opposite: Option<(u8, u8)>,
}

/// A month's name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Month {
    pub(crate) number: u8,
    /// Also an ordinary word or a short form: a month only beside a number or behind `in` and its like.
    pub(crate) is_ambiguous: bool,
}

/// The meanings of a word in lower case, if it has any.
pub(crate) fn word(word: &str) -> Option<&'static Word> {
    // No word of the lexicon is longer; this spares hashing what is.
    const BYTES_MAX: usize = 20;
    if word.len() > BYTES_MAX { None } else { LEXICON.get(word) }
}

static LEXICON: LazyLock<HashMap<String, Word>> = LazyLock::new(lexicon);

const NUMBERS: &str = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen \
    seventeen eighteen nineteen";
const TENS: &str = "twenty thirty forty fifty sixty seventy eighty ninety";
const ORDINALS: &str = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth \
    fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth";
const POWERS: &[(&str, u8)] =
    &[("hundred", 2), ("thousand k", 3), ("million mn mio", 6), ("billion bn", 9), ("trillion", 12)];

/// The first is the spelling of all.
const UNITS: &[&str] = &[
    "% percent pct",
    "dollar dollars usd buck bucks",
    "euro euros eur",
    // Weight or money: nobody asks the same question about both.
    "pound pounds gbp quid lb lbs",
    "yen jpy",
    "rupee rupees inr rs",
    "franc francs chf",
    "yuan cny rmb",
    "cent cents",
    "btc bitcoin bitcoins",
    "eth",
    "km kilometer kilometers kilometre kilometres kms",
    "m meter meters metre metres",
    "cm centimeter centimeters centimetre centimetres",
    "mm millimeter millimeters millimetre millimetres",
    "mile miles mi",
    "foot feet ft",
    "inch inches",
    "yard yards",
    "kg kilogram kilograms kilo kilos kgs",
    "g gram grams",
    "mg milligram milligrams",
    "ton tons tonne tonnes",
    "ounce ounces oz",
    "liter liters litre litres l",
    "ml milliliter milliliters millilitre millilitres",
    "gallon gallons",
    "ms millisecond milliseconds",
    "second seconds sec secs s",
    "minute minutes min mins",
    "hour hours hr hrs h",
    "day days",
    "week weeks wk wks",
    "month months",
    "year years yr yrs",
    "decade decades",
    "byte bytes",
    "kb kilobyte kilobytes",
    "mb megabyte megabytes",
    "gb gigabyte gigabytes",
    "tb terabyte terabytes",
    "bit bits",
    "mbps",
    "gbps",
    "hz hertz",
    "khz",
    "mhz",
    "ghz",
    "w watt watts",
    "kw kilowatt kilowatts",
    "kwh",
    "v volt volts",
    "mah",
    "degree degrees",
    "celsius c",
    "fahrenheit f",
    "calorie calories kcal",
    "mph",
    "kmh",
    "px pixel pixels",
    "am",
    "pm",
    "x times",
];

const MONTHS: [(&str, &str); 12] = [
    ("january", "jan"),
    ("february", "feb"),
    ("", "march mar"),
    ("april", "apr"),
    ("", "may"),
    ("june", "jun"),
    ("july", "jul"),
    ("august", "aug"),
    ("september", "sep sept"),
    ("october", "oct"),
    ("november", "nov"),
    ("december", "dec"),
];

/// The first is the spelling of all. Short forms that are words of their own (sun, sat, wed) are left out.
const DAYS: &[&str] = &[
    "monday mondays mon",
    "tuesday tuesdays tue tues",
    "wednesday wednesdays",
    "thursday thursdays thu thur thurs",
    "friday fridays fri",
    "saturday saturdays",
    "sunday sundays",
    "yesterday",
    "today",
    "tomorrow",
    "tonight",
];
const WHICH: &[&str] = &["last previous past", "next coming upcoming following", "this current"];
const PERIODS: &[&str] = &[
    "week", "weekend", "month", "quarter", "year", "night", "morning", "century", "decade", "season", "spring", "fall",
];
const NEGATORS: &str = "not no never without none nobody nothing neither nor cannot cant dont wont doesnt didnt isnt arent wasnt \
    werent havent hasnt hadnt couldnt wouldnt shouldnt unable non n't";
const INTRODUCERS: &str = "order ticket case invoice account reference ref transaction id code flight room booking tracking \
    shipment issue bug pr article section chapter page clause form error";

fn lexicon() -> HashMap<String, Word> {
    let mut lexicon: HashMap<String, Word> = HashMap::new();
    let mut set = |word: &str, change: &dyn Fn(&mut Word)| change(lexicon.entry(word.to_owned()).or_default());
    for (number, word) in (0..).zip(NUMBERS.split(' ')) {
        set(word, &|word| word.number = Some(number));
    }
    for (ten, word) in (2..).zip(TENS.split(' ')) {
        set(word, &|word| word.number = Some(ten * 10));
    }
    for (number, word) in (1..).zip(ORDINALS.split(' ')) {
        set(word, &|word| word.ordinal = Some(number));
    }
    for (words, power) in POWERS {
        words.split(' ').for_each(|word| set(word, &|word| word.power = Some(*power)));
    }
    for words in UNITS {
        let mut words = words.split(' ').peekable();
        let spelling = words.peek().copied();
        words.for_each(|word| set(word, &|word| word.unit = spelling));
    }
    for (number, (clear, ambiguous)) in (1..).zip(MONTHS) {
        for (words, is_ambiguous) in [(clear, false), (ambiguous, true)] {
            let month = Month { number, is_ambiguous };
            words
                .split(' ')
                .filter(|word| !word.is_empty())
                .for_each(|word| set(word, &|word| word.month = Some(month)));
        }
    }
    for words in DAYS {
        let spelling = words.split(' ').next();
        words.split(' ').for_each(|word| set(word, &|word| word.day = spelling));
    }
    for words in WHICH {
        let spelling = words.split(' ').next();
        words.split(' ').for_each(|word| set(word, &|word| word.which = spelling));
    }
    for spelling in PERIODS {
        set(spelling, &|word| word.period = Some(spelling));
    }
    NEGATORS.split(' ').for_each(|word| set(word, &|word| word.negates = true));
    INTRODUCERS.split(' ').for_each(|word| set(word, &|word| word.introduces_id = true));
    for (pair, (first, second)) in (0..).zip(PAIRS) {
        for (words, side) in [(first, FIRST), (second, SECOND)] {
            for form in words.split(' ').flat_map(forms) {
                // A word itself is stronger than a form that was made of another.
                let is_word = words.split(' ').any(|word| word == form);
                set(&form, &|word| {
                    if is_word || word.opposite.is_none() {
                        word.opposite = Some((pair, side));
                    }
                });
            }
        }
    }
    lexicon
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_all_their_meanings() {
        let second = word("second").unwrap();
        assert_eq!((second.ordinal, second.unit), (Some(2), Some("second")));
        assert_eq!(word("eighty").unwrap().number, Some(80));
        assert_eq!(word("percent").unwrap().unit, Some("%"));
        assert!(word("may").unwrap().month.unwrap().is_ambiguous);
        assert!(!word("december").unwrap().month.unwrap().is_ambiguous);
        assert!(word("cupboard").is_none());
    }

    #[test]
    fn no_word_of_a_pair_was_taken_by_a_form_of_another() {
        for (pair, (first, second)) in (0..).zip(PAIRS) {
            for (words, side) in [(first, FIRST), (second, SECOND)] {
                for name in words.split(' ') {
                    assert_eq!(word(name).unwrap().opposite, Some((pair, side)), "{name}");
                }
            }
        }
    }
}
