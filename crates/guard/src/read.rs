//! Tokens read for what they say together: `3 May 2024`, `five million`, `turn … off`, `do not`.

use crate::dates::{is_year, spelled, time_of_day};
use crate::decimal::Decimal;
use crate::facts::Facts;
use crate::lexicon::{self, Word};
use crate::opposites::{ENABLE, FIRST, IN, SECOND, UP};
use crate::scan::{Number, Token, tokens};

const CURRENCIES: &[&str] = &["dollar", "euro", "pound", "yen", "rupee", "franc", "yuan", "btc", "eth"];

/// Words before a month's name that is an ordinary word too.
const BEFORE_MONTH: &[&str] = &[
    "in", "of", "since", "until", "till", "by", "last", "next", "this", "during", "from", "every", "before", "after",
    "early", "late", "mid", "to",
];

/// Words around "one" that make it a pronoun.
const BEFORE_PRONOUN: &str = " which this that the no any every each some another new a same other good best right old does do did can could \
    should would will must may might how if when has as ";
const AFTER_PRONOUN: &str = " of is are was to the for that which who in on with can cannot could do does did should would will must may \
    might needs has have had by from at and or but if when where how a i you it my your as than be sided ";

/// Verbs that particles turn into opposites, in the forms that begin with these.
const TURNING: &[&str] = &["turn", "switch", "toggl", "flip"];
const LOGGING: &[&str] = &["log", "sign", "check", "opt", "clock", "cash", "zoom", "phas", "fad"];
const SCALING: &[&str] = &["scal", "turn", "siz", "go", "going", "mov", "vot", "count", "thumb", "roll", "ramp"];
/// How far behind its verb a particle may stand: `turn my notifications off`.
const PARTICLE_DISTANCE_MAX: usize = 5;

/// The facts of a text, not yet sorted and bounded.
pub(crate) fn facts(text: &str) -> Facts {
    let straight;
    let mut text = text;
    if text.contains('\u{2019}') {
        straight = text.replace('\u{2019}', "'");
        text = &straight;
    }
    let lower = text.to_ascii_lowercase();
    let mut facts = Facts::default();
    let tokens = tokens(text, &lower, &mut facts);
    let mut reader = Reader { tokens: &tokens, facts, last_number_end: 0 };
    let mut at = 0;
    while at < tokens.len() {
        at = reader.token(at);
    }
    reader.facts
}

struct Reader<'t> {
    tokens: &'t [Token<'t>],
    facts: Facts,
    /// Where the number that was read last ends; 0: none was.
    last_number_end: usize,
}

impl<'t> Reader<'t> {
    /// Reads what begins here, and says where the next begins.
    fn token(&mut self, at: usize) -> usize {
        match &self.tokens[at] {
            Token::Number(number) => self.number(number.clone(), at, at + 1),
            Token::Clock(time) => {
                let half = self.text(at + 1).filter(|text| matches!(*text, "am" | "pm"));
                self.facts.dates.extend(time_of_day(time, half).or_else(|| time_of_day(time, None)));
                at + 1 + usize::from(half.is_some())
            }
            Token::Word { text, is_capitals } => {
                if *is_capitals {
                    self.facts.capitals.push((*text).to_owned());
                }
                self.word(text, at)
            }
            Token::Break | Token::Other => at + 1,
        }
    }

    fn word(&mut self, text: &str, at: usize) -> usize {
        self.direction(text, at);
        self.particle(text, at);
        if text.ends_with("n't") {
            self.negation(text, at);
            return at + 1;
        }
        let Some(word) = lexicon::word(text) else {
            return at + 1;
        };
        if let Some(next) = self.month(word, at).or_else(|| self.day(word, at)).or_else(|| self.counted(text, at)) {
            return next;
        }
        if word.negates {
            self.negation(text, at);
        }
        if let Some((pair, side)) = word.opposite.filter(|_| !matches!(text, "in" | "out" | "up" | "down")) {
            self.opposite(pair, side);
        }
        at + 1
    }

    /// A number that stands from `start` to before `next`, with what belongs to it behind.
    fn number(&mut self, mut number: Number, start: usize, mut next: usize) -> usize {
        if number.unit.is_none()
            && let Some(power) = self.lexicon(next).and_then(|word| word.power)
        {
            number.value.shift(usize::from(power));
            number.plain_digits = None;
            next += 1;
        }
        let small = number.value.small().filter(|_| number.unit.is_none());
        if let Some(day) = small.filter(|day| (1..=31).contains(day)) {
            let month_at = if self.text(next) == Some("of") { next + 1 } else { next };
            if let Some(month) = self.lexicon(month_at).and_then(|word| word.month) {
                let year = self.year(month_at + 1);
                self.facts.dates.push(spelled(year, u32::from(month.number), Some(day)));
                return month_at + 1 + usize::from(year.is_some());
            }
        }
        if number.unit.is_none()
            && !number.is_ordinal
            && let Some(unit) = self.lexicon(next).and_then(|word| word.unit)
        {
            next += 1;
            if matches!(unit, "am" | "pm") {
                let time = time_of_day(&number.value.to_string(), Some(unit));
                if time.is_some() {
                    self.facts.dates.extend(time);
                    return next;
                }
                next -= 1;
            } else {
                number.unit = Some(unit);
            }
        }
        if number.unit.is_none() && start > 0 && self.text(start - 1).is_some_and(|text| text.len() <= 3) {
            number.unit = self.lexicon(start - 1).and_then(|word| word.unit).filter(|unit| CURRENCIES.contains(unit));
        }
        let is_plain_year = number.plain_digits == Some(4) && number.unit.is_none();
        if is_plain_year && let Some(year) = small.filter(|year| is_year(*year)) {
            self.facts.dates.push(year.to_string());
        }
        self.identified(&number, start);
        self.share_unit(number.unit, start);
        self.last_number_end = next;
        self.facts.numbers.push(match number.unit {
            _ if number.is_ordinal => format!("#{}", number.value),
            Some(unit) => format!("{} {unit}", number.value),
            None => number.value.to_string(),
        });
        next
    }

    /// `5 to 10 km`, `500 and 1000 rupees`: the unit of the second is that of the first.
    fn share_unit(&mut self, unit: Option<&str>, start: usize) {
        let is_joined = self.last_number_end > 0
            && (self.last_number_end == start
                || (self.last_number_end + 1 == start && matches!(self.text(start - 1), Some("to" | "and" | "or"))));
        if let (Some(unit), true, Some(last)) = (unit, is_joined, self.facts.numbers.last_mut())
            && last.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        {
            last.push(' ');
            last.push_str(unit);
        }
    }

    /// `version 2.3`, `order number 123`: the number is an identifier as well.
    fn identified(&mut self, number: &Number, start: usize) {
        if number.unit.is_some() || number.is_ordinal || start == 0 {
            return;
        }
        let before = self.text(start - 1);
        if matches!(before, Some("version" | "release")) {
            self.facts.ids.push(format!("v{}", number.value));
            return;
        }
        let is_numbering = matches!(before, Some("number" | "no" | "nr" | "id" | "code"));
        let introducer = if is_numbering && start > 1 { start - 2 } else { start - 1 };
        if self.lexicon(introducer).is_some_and(|word| word.introduces_id) {
            self.facts.ids.push(number.value.to_string());
        }
    }

    /// A number in words, ordinal or not, with what belongs to it.
    fn counted(&mut self, text: &str, at: usize) -> Option<usize> {
        let (value, is_ordinal, next) = self.cardinal(at).or_else(|| self.ordinal(text, at))?;
        if text == "one" && next == at + 1 && self.is_pronoun(at) {
            return None;
        }
        if text == "first" {
            self.opposite_of(text);
        }
        let number = Number { value: Decimal::from(value), unit: None, is_ordinal, plain_digits: None };
        Some(self.number(number, at, next))
    }

    fn ordinal(&self, text: &str, at: usize) -> Option<(u64, bool, usize)> {
        let value = self.lexicon(at)?.ordinal?;
        // "First, …", "at first", "first of all", "what do I do first?"
        let is_adverb = text == "first"
            && (at == 0
                || self.text(at - 1) == Some("at")
                || self.text(at + 1) == Some("of")
                || self.text(at + 1).is_none());
        (!is_adverb).then_some((u64::from(value), true, at + 1))
    }

    /// `one hundred and five`, `twenty-one`, `two thousand`, `twenty-first`.
    fn cardinal(&self, start: usize) -> Option<(u64, bool, usize)> {
        let (mut total, mut current, mut at) = (0_u64, 0_u64, start);
        let mut after_power = false;
        loop {
            let word = self.lexicon(at).copied().unwrap_or_default();
            let is_first = at == start;
            let fits_unit = current % 100 >= 20 && current.is_multiple_of(10) && !after_power;
            if let Some(number) = word.number.map(u64::from) {
                let fits = is_first || (number > 0 && (after_power || (number < 10 && fits_unit)));
                if !fits {
                    break;
                }
                current += number;
                after_power = false;
            } else if let Some(power) =
                word.power.filter(|_| !is_first || self.text(at).is_some_and(|text| text.len() > 4))
            {
                let count = if is_first { 1 } else { current };
                if power == 2 && (1..100).contains(&count) {
                    current = count * 100;
                } else if power > 2 && count > 0 {
                    total = total.saturating_add(count.saturating_mul(10_u64.pow(u32::from(power))));
                    current = 0;
                } else {
                    break;
                }
                after_power = true;
            } else if let Some(ordinal) = word.ordinal.filter(|ordinal| !is_first && fits_unit && *ordinal < 10) {
                return Some((total + current + u64::from(ordinal), true, at + 1));
            } else if after_power
                && self.text(at) == Some("and")
                && self.lexicon(at + 1).is_some_and(|word| word.number.is_some())
            {
                // "and" between the hundreds and the rest.
            } else {
                break;
            }
            at += 1;
        }
        (at > start).then(|| (total.saturating_add(current), false, at))
    }

    /// Whether the "one" at a place counts nothing: "which one", "one of them", "how does one". Before a unit it counts.
    fn is_pronoun(&self, at: usize) -> bool {
        if self.lexicon(at + 1).is_some_and(|word| word.unit.is_some()) {
            return false;
        }
        let is_in = |words: &str, text: &str| words.split(' ').any(|word| word == text);
        let before = at > 0 && self.text(at - 1).is_some_and(|text| is_in(BEFORE_PRONOUN, text));
        before || self.text(at + 1).is_none_or(|text| is_in(AFTER_PRONOUN, text))
    }

    fn month(&mut self, word: &Word, at: usize) -> Option<usize> {
        let month = word.month?;
        let number = u32::from(month.number);
        if let Some(year) = self.year(at + 1) {
            self.facts.dates.push(spelled(Some(year), number, None));
            return Some(at + 2);
        }
        if let Some(Token::Number(day)) = self.tokens.get(at + 1)
            && let Some(day) = day.value.small().filter(|small| (1..=31).contains(small) && day.unit.is_none())
        {
            let year = self.year(at + 2);
            self.facts.dates.push(spelled(year, number, Some(day)));
            return Some(at + 2 + usize::from(year.is_some()));
        }
        let is_introduced = at > 0 && self.text(at - 1).is_some_and(|text| BEFORE_MONTH.contains(&text));
        if month.is_ambiguous && !is_introduced {
            return None;
        }
        self.facts.dates.push(spelled(None, number, None));
        Some(at + 1)
    }

    /// `tomorrow`, `next Monday`, `last week`.
    fn day(&mut self, word: &Word, at: usize) -> Option<usize> {
        if let Some(day) = word.day {
            self.facts.dates.push(day.to_owned());
            return Some(at + 1);
        }
        let which = word.which?;
        let next = self.lexicon(at + 1)?;
        let period = next.period.or(next.day)?;
        self.facts.dates.push(format!("{which} {period}"));
        Some(at + 2)
    }

    /// The year that stands at a place in four digits.
    fn year(&self, at: usize) -> Option<u32> {
        match self.tokens.get(at)? {
            Token::Number(number) if number.plain_digits == Some(4) => {
                number.value.small().filter(|year| is_year(*year))
            }
            Token::Number(_) | Token::Word { .. } | Token::Clock(_) | Token::Break | Token::Other => None,
        }
    }

    fn negation(&mut self, text: &str, at: usize) {
        let next = self.text(at + 1);
        let begins = at == 0 || matches!(self.tokens[at - 1], Token::Break);
        let is_none = match text {
            "no" => matches!(self.tokens.get(at + 1), Some(Token::Number(_))),
            "not" => matches!(next, Some("only" | "sure")) || (at > 0 && self.text(at - 1) == Some("or")),
            "don't" | "dont" => false,
            // "Isn't there a way to …" asks what "Is there a way to …" asks.
            _ => {
                begins
                    && text.ends_with("n't")
                    && matches!(next, Some("i" | "you" | "we" | "it" | "there" | "they" | "this" | "that"))
            }
        };
        // "I don't know how to …" asks how to.
        if !is_none && !matches!(next, Some("know" | "understand" | "remember")) {
            self.facts.negated = true;
        }
    }

    /// `on`, `off`, `in`, `out`, `up`, `down` behind their verbs.
    fn particle(&mut self, text: &str, at: usize) {
        let (pair, side, verbs) = match text {
            "on" => (ENABLE, FIRST, TURNING),
            "off" => (ENABLE, SECOND, TURNING),
            "in" | "into" => (IN, FIRST, LOGGING),
            "out" => (IN, SECOND, LOGGING),
            "up" => (UP, FIRST, SCALING),
            "down" => (UP, SECOND, SCALING),
            _ => return,
        };
        let is_form = |word: &str| {
            verbs.iter().filter_map(|verb| word.strip_prefix(verb)).any(|ending| {
                matches!(ending, "" | "s" | "e" | "es" | "ed" | "d" | "ing" | "ged" | "ging" | "ted" | "ting")
            })
        };
        let from = at.saturating_sub(PARTICLE_DISTANCE_MAX);
        if (from..at).any(|before| self.text(before).is_some_and(is_form)) {
            self.opposite(pair, side);
        }
    }

    /// `USD to EUR` is not `EUR to USD`.
    fn direction(&mut self, text: &str, at: usize) {
        if at == 0 || !matches!(text, "to" | "into") {
            return;
        }
        if let (Some(from), Some(to)) = (self.place(at - 1), self.place(at + 1)) {
            self.facts.ids.push(format!("{from}>{to}"));
        }
    }

    /// A currency or a word in capitals.
    fn place(&self, at: usize) -> Option<&str> {
        let unit = self.lexicon(at).and_then(|word| word.unit).filter(|unit| CURRENCIES.contains(unit));
        match self.tokens.get(at)? {
            Token::Word { text, is_capitals: true } => Some(unit.unwrap_or(text)),
            Token::Word { .. } | Token::Number(_) | Token::Clock(_) | Token::Break | Token::Other => unit,
        }
    }

    fn opposite_of(&mut self, text: &str) {
        if let Some((pair, side)) = lexicon::word(text).and_then(|word| word.opposite) {
            self.opposite(pair, side);
        }
    }

    fn opposite(&mut self, pair: u8, side: u8) {
        match self.facts.opposites.iter_mut().find(|(known, _)| *known == pair) {
            Some((_, sides)) => *sides |= side,
            None => self.facts.opposites.push((pair, side)),
        }
    }

    /// The word at a place.
    fn text(&self, at: usize) -> Option<&'t str> {
        match self.tokens.get(at)? {
            Token::Word { text, .. } => Some(text),
            Token::Number(_) | Token::Clock(_) | Token::Break | Token::Other => None,
        }
    }

    /// The meanings of the word at a place.
    fn lexicon(&self, at: usize) -> Option<&'static Word> {
        self.text(at).and_then(lexicon::word)
    }
}
