//! A text cut into tokens: words, numbers as they are written with digits, clock times. What is a date or an identifier
//! by its form alone goes to the facts at once.
//!
//! Pieces are cut at white space, and where the script changes, so that `\u{91cd}3\u{6b21}` has the number 3.

use crate::dates;
use crate::decimal::Decimal;
use crate::facts::Facts;
use crate::lexicon;

/// A piece of a text, in lower case.
#[derive(Debug, Clone)]
pub(crate) enum Token<'t> {
    Word {
        text: &'t str,
        /// Whether it has two to five letters, all of them capitals, in a text that has small ones too.
        is_capitals: bool,
    },
    Number(Number),
    /// A time as written, which `am` or `pm` may follow.
    Clock(&'t str),
    /// The end of a sentence.
    Break,
    /// Something else that keeps its neighbours apart.
    Other,
}

/// A number that is written with digits.
#[derive(Debug, Clone)]
pub(crate) struct Number {
    pub(crate) value: Decimal,
    pub(crate) unit: Option<&'static str>,
    pub(crate) is_ordinal: bool,
    /// Nothing but digits: how many.
    pub(crate) plain_digits: Option<usize>,
}

/// Words that people write in capitals for no other reason than habit.
const HABITUAL_CAPITALS: &[&str] =
    &["ok", "id", "faq", "pin", "atm", "sms", "asap", "pc", "tv", "am", "pm", "and", "or", "not", "no", "faqs"];

/// Digits of a plain number that is more likely a code than a count.
const CODE_DIGITS_MIN: usize = 7;

/// The tokens of a text. `lower` is the text with its ASCII letters in lower case.
pub(crate) fn tokens<'t>(text: &'t str, lower: &'t str, facts: &mut Facts) -> Vec<Token<'t>> {
    let has_small_letters = text.bytes().any(|byte| byte.is_ascii_lowercase());
    let mut scanner = Scanner { text, lower, has_small_letters, tokens: Vec::with_capacity(16), facts };
    let mut chunk: Option<(usize, Class)> = None;
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        let class = Class::of(character);
        if chunk.is_some_and(|(_, open)| open == class) {
            continue;
        }
        match chunk.take() {
            Some((start, Class::Inner)) => scanner.chunk(start, at),
            Some((_, Class::Wide)) => scanner.tokens.push(Token::Other),
            Some((_, Class::Space)) | None => {}
        }
        if class != Class::Space {
            chunk = Some((at, class));
        }
    }
    scanner.tokens
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    /// ASCII, Latin letters with accents, signs of currencies.
    Inner,
    /// Letters and digits of other scripts, which carry no facts that this understands.
    Wide,
}

impl Class {
    fn of(character: char) -> Class {
        match character {
            '!'..='~' => Class::Inner,
            '\u{80}'..='\u{24f}' if character.is_alphabetic() => Class::Inner,
            _ if currency(character).is_some() => Class::Inner,
            _ if character.is_alphanumeric() => Class::Wide,
            _ => Class::Space,
        }
    }
}

struct Scanner<'t, 'f> {
    text: &'t str,
    lower: &'t str,
    has_small_letters: bool,
    tokens: Vec<Token<'t>>,
    facts: &'f mut Facts,
}

impl<'t> Scanner<'t, '_> {
    /// A piece between white space: without the punctuation around it.
    fn chunk(&mut self, start: usize, end: usize) {
        let whole = &self.lower[start..end];
        let mut inner = whole.trim_end_matches(|c: char| c.is_ascii_punctuation() && !"%$".contains(c));
        let ends_sentence = whole[inner.len()..].contains(['.', '?', '!', ';', ':']) && whole != "rs.";
        while let Some(first) = inner.chars().next().filter(char::is_ascii_punctuation) {
            let next = inner[1..].chars().next();
            let belongs = match first {
                '$' | '#' | '@' => next.is_some_and(char::is_alphanumeric),
                '-' => next.is_some_and(|next| next.is_ascii_digit() || next == '.' || currency(next).is_some()),
                '.' => next.is_some_and(|next| next.is_ascii_digit()),
                _ => false,
            };
            if belongs {
                break;
            }
            inner = &inner[1..];
        }
        if !inner.is_empty() {
            let start = start + (inner.as_ptr() as usize - whole.as_ptr() as usize);
            self.piece(start, start + inner.len());
        }
        if ends_sentence {
            self.tokens.push(Token::Break);
        }
    }

    fn piece(&mut self, start: usize, end: usize) {
        let piece = &self.lower[start..end];
        let at_sign = piece.find('@');
        if piece.contains("://") || piece.starts_with("www.") || at_sign.is_some_and(|at| at + 1 < piece.len()) {
            self.id(piece.trim_end_matches('/').to_owned());
        } else if matches!(piece, "a.m" | "p.m") {
            self.tokens.push(Token::Word { text: if piece == "a.m" { "am" } else { "pm" }, is_capitals: false });
        } else if piece.bytes().any(|byte| byte.is_ascii_digit()) {
            self.with_digits(start, end);
        } else {
            self.words(start, end);
        }
    }

    /// Words, cut at everything but letters, digits and apostrophes.
    fn words(&mut self, start: usize, end: usize) {
        let piece = &self.lower[start..end];
        if let Some(ticker) = piece.strip_prefix('$').filter(|rest| rest.chars().all(char::is_alphabetic)) {
            self.facts.capitals.push(ticker.to_owned());
            self.tokens.push(Token::Other);
            return;
        }
        let mut at = start;
        for word in piece.split(|c: char| !c.is_alphanumeric() && c != '\'') {
            let written = &self.text[at..at + word.len()];
            at += word.len() + piece[at + word.len() - start..].chars().next().map_or(0, char::len_utf8);
            let text = word.trim_matches('\'');
            let text = text.strip_suffix("'s").filter(|text| *text != "one").unwrap_or(text);
            if text.is_empty() {
                continue;
            }
            let is_capitals = self.has_small_letters
                && (2..=5).contains(&written.len())
                && written.bytes().all(|byte| byte.is_ascii_uppercase())
                && !HABITUAL_CAPITALS.contains(&text);
            self.tokens.push(Token::Word { text, is_capitals });
        }
    }

    /// A piece with digits: from the forms that say most to those that say least.
    fn with_digits(&mut self, start: usize, end: usize) {
        let piece = &self.lower[start..end];
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // What is abbreviated with a number is asked for with a word as well.
        if piece == "2fa" {
            self.tokens.push(Token::Number(Number::plain(2)));
            return;
        }
        if let Some(digits) = piece.strip_prefix('#').filter(|rest| is_digits(rest)) {
            self.facts.ids.push(digits.to_owned());
            self.tokens.push(Token::Number(Number { plain_digits: None, ..Number::of_digits(digits) }));
            return;
        }
        for half in ["am", "pm"] {
            let digits = piece.strip_suffix(half).map(|digits| digits.replace('.', ":"));
            let time = digits.and_then(|digits| dates::time_of_day(&digits, Some(half)));
            if let Some(time) = time {
                self.date(time);
                return;
            }
        }
        if let Some(date) = dates::of(piece) {
            if piece.contains(':') && !piece.contains('t') {
                self.tokens.push(Token::Clock(piece));
            } else {
                self.date(date);
            }
            return;
        }
        if let Some(code) = ["rs.", "rs", "inr", "usd", "eur", "gbp"].into_iter().find(|code| piece.starts_with(code))
            && let Some((number, _)) = Number::written(&piece[code.len()..])
                .filter(|(number, length)| number.unit.is_none() && *length == piece.len() - code.len())
        {
            let unit = lexicon::word(code.trim_end_matches('.')).and_then(|word| word.unit);
            self.tokens.push(Token::Number(Number { unit, plain_digits: None, ..number }));
            return;
        }
        if let Some(version) = piece.strip_prefix('v').filter(|rest| is_version(rest)) {
            self.version(version);
            return;
        }
        if piece.matches('.').count() > 1 && is_version(piece) && Decimal::written(piece).is_none() {
            self.id(piece.to_owned());
            return;
        }
        if let Some((above, below)) = piece.split_once('/').filter(|(a, b)| is_digits(a) && is_digits(b)) {
            self.facts.numbers.push(format!("{above}/{below}"));
            self.tokens.push(Token::Other);
            return;
        }
        if let Some((number, length)) = Number::written(piece).filter(|(_, length)| *length == piece.len()) {
            debug_assert_eq!(length, piece.len(), "it was filtered");
            self.number(number, piece);
            return;
        }
        self.compound(start, end);
    }

    /// Several things in one piece, or a code.
    fn compound(&mut self, start: usize, end: usize) {
        let piece = &self.lower[start..end];
        let is_number = |text: &str| Number::written(text).is_some_and(|(_, length)| length == text.len());
        if let Some((dash, _)) = piece.match_indices('-').find(|(at, _)| *at > 0) {
            let (first, rest) = (&piece[..dash], &piece[dash + 1..]);
            let is_word = rest.len() > 2 && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            let was_word = self.text[start + dash + 1..end].bytes().all(|byte| !byte.is_ascii_uppercase());
            let is_named_year = first.bytes().all(|byte| byte.is_ascii_alphabetic())
                && rest.len() == 4
                && rest.parse().is_ok_and(dates::is_year);
            // `election-2024`, `30-day`, and `5-10km`; but not `555-12-34`, nor `1234-AB`.
            let is_pair = is_number(first) && ((is_word && was_word) || (is_number(rest) && !rest.starts_with('-')));
            if is_named_year || is_pair {
                self.piece(start, start + dash);
                self.piece(start + dash + 1, end);
                return;
            }
        }
        if piece.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            self.id(piece.chars().filter(|character| !matches!(character, '-' | '_')).collect());
            return;
        }
        let mut at = start;
        let mut found = false;
        for part in piece.split(|c: char| !c.is_alphanumeric()) {
            // Parts are shorter than the whole and hold letters and digits only, so that this ends.
            if !part.is_empty() && part.len() < piece.len() {
                found = true;
                self.piece(at, at + part.len());
            }
            at += part.len() + piece[at + part.len() - start..].chars().next().map_or(0, char::len_utf8);
        }
        if !found {
            self.id(piece.to_owned());
        }
    }

    fn number(&mut self, number: Number, piece: &str) {
        let is_long = number.plain_digits.is_some_and(|count| count >= CODE_DIGITS_MIN) && !piece.ends_with("000");
        let is_padded = number.plain_digits.is_some_and(|count| count > 1) && piece.starts_with('0');
        if is_long || is_padded {
            self.facts.ids.push(piece.to_owned());
        }
        self.tokens.push(Token::Number(number));
    }

    fn version(&mut self, version: &str) {
        let points = version.matches('.').count();
        self.facts.ids.push(if points < 2 { format!("v{version}") } else { version.to_owned() });
        match Decimal::written(version) {
            Some(value) if points < 2 => {
                self.tokens.push(Token::Number(Number { value, unit: None, is_ordinal: false, plain_digits: None }));
            }
            Some(_) | None => self.tokens.push(Token::Other),
        }
    }

    fn id(&mut self, id: String) {
        self.facts.ids.push(id);
        self.tokens.push(Token::Other);
    }

    fn date(&mut self, date: String) {
        self.facts.dates.push(date);
        self.tokens.push(Token::Other);
    }
}

impl Number {
    fn plain(value: u64) -> Number {
        Number { value: value.into(), unit: None, is_ordinal: false, plain_digits: Some(1) }
    }

    fn of_digits(digits: &str) -> Number {
        let value = Decimal::new(digits, "");
        Number { value, unit: None, is_ordinal: false, plain_digits: Some(digits.len()) }
    }

    /// The number that a piece begins with, with sign, currency, unit, and its length in bytes.
    fn written(piece: &str) -> Option<(Number, usize)> {
        let mut rest = piece;
        let negative = rest.strip_prefix('-');
        rest = negative.unwrap_or(rest);
        let mut unit = rest.chars().next().and_then(currency);
        if unit.is_some() {
            rest = rest.trim_start_matches(|c| currency(c).is_some());
        }
        let is_inside = |at: usize| rest[at + 1..].starts_with(|c: char| c.is_ascii_digit());
        let digits_end = rest
            .char_indices()
            .find(|(at, c)| !(c.is_ascii_digit() || (matches!(c, '.' | ',' | '\'' | '_') && is_inside(*at))))
            .map_or(rest.len(), |(at, _)| at);
        let (digits, mut suffix) = rest.split_at(digits_end);
        let mut value = Decimal::written(digits)?;
        if negative.is_some() {
            value.negate();
        }
        let letters_end = suffix.find(|c: char| !c.is_alphabetic()).unwrap_or(suffix.len());
        let (letters, after) = suffix.split_at(letters_end);
        let word = if letters.is_empty() { None } else { lexicon::word(letters) };
        let mut is_ordinal = false;
        if matches!(letters, "st" | "nd" | "rd" | "th") {
            (is_ordinal, suffix) = (true, after);
        } else if let Some(power) = word.and_then(|word| word.power) {
            value.shift(usize::from(power));
            suffix = after;
        } else if let Some(found) = word.and_then(|word| word.unit).filter(|_| unit.is_none()) {
            (unit, suffix) = (Some(found), after);
        }
        if let Some(sign) = suffix.chars().next()
            && let Some(found) = if sign == '%' { Some("%") } else { currency(sign) }
            && unit.is_none()
        {
            (unit, suffix) = (Some(found), &suffix[sign.len_utf8()..]);
        }
        let is_plain = digits.len() == piece.len() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = Number { value, unit, is_ordinal, plain_digits: is_plain.then_some(digits.len()) };
        Some((number, piece.len() - suffix.len()))
    }
}

impl Decimal {
    /// A number as people write it: `1,000.50`, `1.000,50`, `3,5`, `1'000`. Nothing if its separators make no sense.
    fn written(digits: &str) -> Option<Decimal> {
        if !digits.bytes().any(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let is_grouped = |mark: char| {
            let mut groups = digits.split(mark);
            let first = groups.next().unwrap_or_default();
            (1..=3).contains(&first.len()) && !first.starts_with('0') && groups.all(|group| group.len() == 3)
        };
        let (points, commas) = (digits.matches('.').count(), digits.matches(',').count());
        let point = match (points, commas) {
            (0, 0) => None,
            (1, 0) => digits.find('.'),
            (_, 0) if is_grouped('.') => None,
            (0, _) if is_grouped(',') => None,
            (0, 1) => digits.find(','),
            (1, _) if digits.rfind('.') > digits.rfind(',') => digits.find('.'),
            (_, 1) if digits.rfind(',') > digits.rfind('.') => digits.find(','),
            _ => return None,
        };
        let (whole, fraction) = point.map_or((digits, ""), |at| (&digits[..at], &digits[at + 1..]));
        Some(Decimal::new(whole, fraction))
    }
}

/// The unit that a sign stands for.
fn currency(sign: char) -> Option<&'static str> {
    match sign {
        '$' => Some("dollar"),
        '\u{a3}' => Some("pound"),
        '\u{a5}' => Some("yen"),
        '\u{20ac}' => Some("euro"),
        '\u{20b9}' => Some("rupee"),
        _ => None,
    }
}

/// Digits, and points between them.
fn is_version(text: &str) -> bool {
    text.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}
