//! The words of native commands: a cursor that knows the command's name and the limits, so that every mistake is answered in a sentence that
//! names command, word and what was expected.

use crate::command::{Args, CommandError};
use crate::commands::expiry::TimeOption;
use crate::meaning::settings::Limits;
use crate::server::Server;
use serde::de::IgnoredAny;
use std::fmt::Display;
use sutra_protocol::number::{parse_f64, parse_i64};
use sutra_shard::SPACE_NAME_BYTES_MAX;

/// Bytes of an argument that an error repeats.
const SHOWN_BYTES_MAX: usize = 64;
/// Bytes of the reason of an invalidation.
const REASON_BYTES_MAX: usize = 1024;

/// The arguments of a native command.
#[derive(Debug)]
pub(super) struct Words<'t> {
    args: Args<'t>,
    command: &'static str,
    pub(super) limits: Limits,
}

/// A similarity, and whether it was given as a distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Threshold {
    pub(super) similarity: f32,
    pub(super) is_distance: bool,
}

/// A condition on an entry that is no vector.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Conditions {
    pub(super) tags: Vec<Vec<u8>>,
    pub(super) glob: Option<Vec<u8>>,
}

/// An argument as an error shows it: cut, and without what would break the line.
pub(super) fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let text: String = String::from_utf8_lossy(cut).chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if cut.len() < bytes.len() { format!("'{text}…'") } else { format!("'{text}'") }
}

impl<'t> Words<'t> {
    /// The arguments of this command, named as errors name it.
    pub(super) fn new(command: &'static str, args: Args<'t>, server: &Server) -> Words<'t> {
        Words { args, command, limits: server.settings.meaning.limits() }
    }

    #[cfg(test)]
    pub(super) fn of(command: &'static str, items: &'t [&'t [u8]]) -> Words<'t> {
        let limits = crate::meaning::settings::MeaningSettings::default().limits();
        Words { args: Args::new(items, 0), command, limits }
    }

    /// An error that names the command.
    pub(super) fn mistake(&self, what: impl Display) -> CommandError {
        CommandError::text(format!("ERR {}: {what}", self.command))
    }

    /// The next argument; an error that says what is missing.
    pub(super) fn need(&mut self, what: &str) -> Result<&'t [u8], CommandError> {
        self.args.take_optional().ok_or_else(|| self.mistake(format_args!("{what} is missing")))
    }

    /// The next argument without taking it.
    pub(super) fn peek(&self) -> Option<&'t [u8]> {
        self.args.peek()
    }

    /// The arguments that are left.
    pub(super) fn rest(&self) -> &'t [&'t [u8]] {
        self.args.rest()
    }

    /// Takes the next argument if it is this word.
    pub(super) fn word(&mut self, word: &str) -> bool {
        self.args.take_word(word)
    }

    /// Leaves out so many arguments, which were looked at in [`Words::rest`].
    pub(super) fn skip(&mut self, count: usize) {
        self.args.skip(count);
    }

    /// Whether arguments are left.
    pub(super) fn any(&self) -> bool {
        self.args.remaining() > 0
    }

    /// Refuses whatever is left.
    pub(super) fn not_understood(&self) -> CommandError {
        let word = self.peek().unwrap_or_default();
        self.mistake(format_args!("{} is not expected here (unknown, or given twice)", shown(word)))
    }

    /// An error unless everything was taken.
    pub(super) fn finish(&self) -> Result<(), CommandError> {
        if self.any() { Err(self.not_understood()) } else { Ok(()) }
    }

    /// Refuses a word that was there before.
    pub(super) fn once<T>(&self, slot: &Option<T>, word: &str) -> Result<(), CommandError> {
        if slot.is_some() { Err(self.mistake(format_args!("{word} is given twice"))) } else { Ok(()) }
    }

    /// The number behind `option`: `min` to `max`.
    pub(super) fn number(&mut self, option: &str, of: &str, min: u64, max: u64) -> Result<u64, CommandError> {
        let word = self.need(&format!("the {of} behind {option}"))?;
        let number = parse_i64(word).and_then(|number| u64::try_from(number).ok());
        number.filter(|number| (min..=max).contains(number)).ok_or_else(|| {
            let range = if max >= i64::MAX as u64 { format!("from {min}") } else { format!("from {min} to {max}") };
            self.mistake(format_args!("{option} takes {of}, a whole number {range}, got {}", shown(word)))
        })
    }

    /// Seconds behind `option`, with a fraction if need be, as milliseconds.
    pub(super) fn seconds_ms(&mut self, option: &str, max_s: u64) -> Result<u64, CommandError> {
        let word = self.need(&format!("the number of seconds behind {option}"))?;
        let seconds = parse_f64(word).filter(|seconds| (0.0..=max_s as f64).contains(seconds));
        seconds.map(|seconds| (seconds * 1000.0).round() as u64).ok_or_else(|| {
            let most = if max_s == SECONDS_MAX { String::new() } else { format!(" up to {max_s}") };
            self.mistake(format_args!("{option} takes a number of seconds from 0{most}, got {}", shown(word)))
        })
    }

    /// `TAG` has been taken: a count and so many tags.
    pub(super) fn tags(&mut self) -> Result<Vec<&'t [u8]>, CommandError> {
        let most = self.limits.tags_max;
        let word = self.need("the count behind TAG")?;
        let count = parse_i64(word).and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
        let count = count.ok_or_else(|| {
            self.mistake(format_args!("TAG takes a count and so many tags, got {} for the count", shown(word)))
        })?;
        if count > most {
            return Err(self.mistake(format_args!("TAG takes at most {most} tags (entry-tags-max), got {count}")));
        }
        let left = self.rest().len();
        if left < count {
            return Err(self.mistake(format_args!(
                "TAG takes a count and so many tags, got a count of {count} and {left} arguments behind it"
            )));
        }
        (0..count)
            .map(|_| {
                let tag = self.need("a tag")?;
                self.label("a tag", tag)
            })
            .collect()
    }

    /// A name within the limit for labels.
    fn label(&self, what: &str, name: &'t [u8]) -> Result<&'t [u8], CommandError> {
        let most = self.limits.tag_bytes_max;
        if name.is_empty() || name.len() > most {
            let bytes = name.len();
            return Err(self.mistake(format_args!("{what} has 1 to {most} bytes (tag-bytes-max), got {bytes}")));
        }
        Ok(name)
    }

    /// Refuses more of something than a setting allows.
    pub(super) fn within(&self, what: &str, count: usize, most: usize, setting: &str) -> Result<(), CommandError> {
        if count <= most {
            return Ok(());
        }
        Err(self.mistake(format_args!("an entry has at most {most} {what} ({setting}), got {count}")))
    }

    /// The name of a space.
    pub(super) fn space(&mut self) -> Result<&'t [u8], CommandError> {
        let name = self.need("the name of a space")?;
        if name.is_empty() || name.len() > SPACE_NAME_BYTES_MAX {
            let bytes = name.len();
            return Err(self.mistake(format_args!("a space's name has 1 to {SPACE_NAME_BYTES_MAX} bytes, got {bytes}")));
        }
        Ok(name)
    }

    /// The name of a source.
    pub(super) fn source(&mut self) -> Result<&'t [u8], CommandError> {
        let name = self.need("the name of a source")?;
        self.label("a source's name", name)
    }

    /// `DEP` has been taken: a count and so many names with versions.
    pub(super) fn sources(&mut self) -> Result<Vec<(&'t [u8], u64)>, CommandError> {
        let most = self.limits.sources_max;
        let word = self.need("the count behind DEP")?;
        let count = parse_i64(word).and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
        let count = count.ok_or_else(|| {
            self.mistake(format_args!(
                "DEP takes a count and so many names with versions, got {} for the count",
                shown(word)
            ))
        })?;
        if count > most {
            return Err(self.mistake(format_args!("DEP takes at most {most} sources (entry-sources-max), got {count}")));
        }
        let left = self.rest().len();
        if left < count * 2 {
            return Err(self.mistake(format_args!(
                "DEP takes a count and so many names with versions, got a count of {count} and {left} arguments behind it"
            )));
        }
        (0..count)
            .map(|_| {
                let name = self.need("a source")?;
                let name = self.label("a source's name", name)?;
                Ok((name, self.number("DEP", "version", 0, i64::MAX as u64)?))
            })
            .collect()
    }

    /// `MIN` or `WITHIN`, if one is next.
    pub(super) fn threshold(&mut self) -> Result<Option<Threshold>, CommandError> {
        let (word, is_distance) = if self.word("MIN") {
            ("MIN takes a similarity", false)
        } else if self.word("WITHIN") {
            ("WITHIN takes a distance (1 minus the similarity)", true)
        } else {
            return Ok(None);
        };
        let text = self.need("the number behind MIN or WITHIN")?;
        let number = parse_f64(text).filter(|number| number.is_finite());
        let number = number.ok_or_else(|| self.mistake(format_args!("{word}, got {}", shown(text))))?;
        let similarity = if is_distance { 1.0 - number } else { number };
        Ok(Some(Threshold { similarity: similarity as f32, is_distance }))
    }

    /// `TAG` or `MATCH`, if one is next.
    pub(super) fn condition(&mut self, conditions: &mut Conditions) -> Result<bool, CommandError> {
        if self.word("TAG") {
            if !conditions.tags.is_empty() {
                return Err(self.mistake("TAG is given twice"));
            }
            conditions.tags = self.tags()?.into_iter().map(<[u8]>::to_vec).collect();
        } else if self.word("MATCH") {
            self.once(&conditions.glob, "MATCH")?;
            conditions.glob = Some(self.need("the pattern behind MATCH")?.to_vec());
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// `META` has been taken: a JSON document within the limit.
    pub(super) fn meta(&mut self) -> Result<&'t [u8], CommandError> {
        let meta = self.need("the JSON behind META")?;
        self.check_meta(meta)?;
        Ok(meta)
    }

    /// Refuses what is no JSON document within the limit.
    pub(super) fn check_meta(&self, meta: &[u8]) -> Result<(), CommandError> {
        let most = self.limits.meta_bytes_max;
        if meta.len() > most {
            let bytes = meta.len();
            return Err(self.mistake(format_args!("META has at most {most} bytes (meta-bytes-max), got {bytes}")));
        }
        match serde_json::from_slice::<IgnoredAny>(meta) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.mistake(format_args!("META takes JSON: {error}"))),
        }
    }

    /// `COST` has been taken: what it costs to compute the value again.
    pub(super) fn cost(&mut self) -> Result<f32, CommandError> {
        let word = self.need("the amount behind COST")?;
        let cost = parse_f64(word).filter(|cost| (0.0..=f64::from(f32::MAX)).contains(cost));
        cost.map(|cost| cost as f32)
            .ok_or_else(|| self.mistake(format_args!("COST takes an amount in USD from 0, got {}", shown(word))))
    }

    /// A text within the limit; `option` names it.
    pub(super) fn text(&mut self, option: &str) -> Result<&'t str, CommandError> {
        let text = self.need(&format!("the text behind {option}"))?;
        self.text_of(option, text)
    }

    /// This argument as a text within the limit.
    pub(super) fn text_of(&self, option: &str, text: &'t [u8]) -> Result<&'t str, CommandError> {
        let most = self.limits.text_bytes_max;
        if text.len() > most {
            let bytes = text.len();
            return Err(self.mistake(format_args!("{option} has at most {most} bytes (text-bytes-max), got {bytes}")));
        }
        std::str::from_utf8(text).map_err(|_| self.mistake(format_args!("{option} takes text in UTF-8")))
    }

    /// `REASON` has been taken.
    pub(super) fn reason(&mut self) -> Result<&'t [u8], CommandError> {
        let reason = self.need("the text behind REASON")?;
        if reason.len() > REASON_BYTES_MAX {
            let bytes = reason.len();
            return Err(self.mistake(format_args!("REASON has at most {REASON_BYTES_MAX} bytes, got {bytes}")));
        }
        Ok(reason)
    }

    /// How long a lease is to last, if the next argument is a number.
    pub(super) fn lease_ms(&mut self) -> Result<u64, CommandError> {
        match self.peek().and_then(parse_i64) {
            Some(_) => self.number("LEASE", "milliseconds", 1, self.limits.lease_ms_max),
            None => Ok(self.limits.lease_ms.min(self.limits.lease_ms_max)),
        }
    }

    /// A time option, if one is next. Two of them are a mistake.
    pub(super) fn time(&mut self, earlier: Option<TimeOption<'t>>) -> Result<Option<TimeOption<'t>>, CommandError> {
        let is_time = self.peek().is_some_and(TimeOption::is_word);
        if is_time && earlier.is_some() {
            return Err(self.mistake("more than one time to live is given"));
        }
        TimeOption::take(&mut self.args, None)
    }
}

/// Seconds beyond which times are no times.
pub(super) const SECONDS_MAX: u64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn words<R>(text: &str, read: impl FnOnce(&mut Words<'_>) -> R) -> R {
        let items: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        read(&mut Words::of("CACHE.TEST", &items))
    }

    fn error<T: std::fmt::Debug>(result: Result<T, CommandError>) -> String {
        result.expect_err("a mistake").to_string()
    }

    #[test]
    fn tags_are_a_count_and_so_many_names() {
        assert_eq!(words("2 a b", |w| w.tags().map(|tags| tags.concat())), Ok(b"ab".to_vec()));
        for (text, why) in [
            ("x a", "TAG takes a count and so many tags, got 'x' for the count"),
            ("0", "TAG takes a count and so many tags, got '0' for the count"),
            ("3 a b", "TAG takes a count and so many tags, got a count of 3 and 2 arguments behind it"),
            ("99999999999 a", "TAG takes at most 64 tags (entry-tags-max), got 99999999999"),
            ("1 ", "a tag has 1 to 256 bytes (tag-bytes-max), got 0"),
        ] {
            assert_eq!(error(words(text, |w| w.tags().map(|tags| tags.len()))), format!("ERR CACHE.TEST: {why}"));
        }
    }

    #[test]
    fn sources_have_versions() {
        let sources =
            words("2 doc:1 7 doc:2 0", |w| w.sources().map(|s| s.iter().map(|(_, v)| *v).collect::<Vec<_>>()));
        assert_eq!(sources.expect("two sources"), [7, 0]);
        for (text, why) in [
            (
                "2 doc:1 7 doc:2",
                "DEP takes a count and so many names with versions, got a count of 2 and 3 arguments behind it",
            ),
            ("1 doc:1 -1", "DEP takes version, a whole number from 0, got '-1'"),
        ] {
            assert_eq!(error(words(text, |w| w.sources().map(|s| s.len()))), format!("ERR CACHE.TEST: {why}"));
        }
    }

    #[test]
    fn a_distance_is_one_minus_a_similarity() {
        let threshold = |text| words(text, |w| w.threshold());
        assert_eq!(threshold("MIN 0.87"), Ok(Some(Threshold { similarity: 0.87, is_distance: false })));
        assert_eq!(threshold("within 0.13"), Ok(Some(Threshold { similarity: 0.87, is_distance: true })));
        assert_eq!(threshold("TAG 1"), Ok(None));
        assert_eq!(error(threshold("MIN nan")), "ERR CACHE.TEST: MIN takes a similarity, got 'nan'");
        assert_eq!(error(threshold("MIN inf")), "ERR CACHE.TEST: MIN takes a similarity, got 'inf'");
    }

    #[test]
    fn metadata_is_json_within_the_limit() {
        assert!(words("{\"a\":[1,null]}", |w| w.meta().is_ok()));
        let why = error(words("{a:1}", |w| w.meta().map(<[u8]>::len)));
        assert!(why.starts_with("ERR CACHE.TEST: META takes JSON: "), "{why}");
        let long = format!("\"{}\"", "x".repeat(20_000));
        let why = error(words(&long, |w| w.meta().map(<[u8]>::len)));
        assert_eq!(why, "ERR CACHE.TEST: META has at most 16384 bytes (meta-bytes-max), got 20002");
    }

    #[test]
    fn seconds_have_fractions_and_costs_are_not_negative() {
        assert_eq!(words("1.5", |w| w.seconds_ms("OLDER", SECONDS_MAX)), Ok(1500));
        for text in ["-1", "x", "1e300"] {
            let why = error(words(text, |w| w.seconds_ms("OLDER", SECONDS_MAX)));
            assert_eq!(why, format!("ERR CACHE.TEST: OLDER takes a number of seconds from 0, got '{text}'"));
        }
        assert_eq!(words("0.002", |w| w.cost()), Ok(0.002));
        assert_eq!(error(words("-1", |w| w.cost())), "ERR CACHE.TEST: COST takes an amount in USD from 0, got '-1'");
    }

    #[test]
    fn an_error_repeats_no_more_of_an_argument_than_a_line_holds() {
        assert_eq!(shown(b"a\r\nb"), "'a??b'");
        assert_eq!(shown(&[b'x'; 100]), format!("'{}…'", "x".repeat(SHOWN_BYTES_MAX)));
    }
}
