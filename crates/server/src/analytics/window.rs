//! From words to a stretch of time, and to the words that say it again. All times of day are UTC.

use super::words::{Word, number};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A stretch of time that a sentence names.
#[derive(Debug, Clone, PartialEq)]
pub enum Window {
    /// As far back as is remembered.
    Everything,
    /// The last so many milliseconds, in these words: `in the last 15 minutes`.
    Last(u64, String),
    /// Since 00:00.
    Today,
    /// From 00:00 to 00:00.
    Yesterday,
    /// Since the last full hour.
    ThisHour,
    /// Since the last full minute.
    ThisMinute,
    /// Since Monday, 00:00.
    ThisWeek,
    /// Since this many milliseconds after midnight, of today or (if that is yet to come) yesterday.
    SinceTime(u64),
    /// Between these times of day, in milliseconds after midnight: the last such stretch that has begun.
    Between(u64, u64),
    /// Since 00:00 yesterday.
    SinceYesterday,
}

/// A window in absolute time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// From here on, in Unix milliseconds.
    pub from_ms: u64,
    /// Up to here and not further.
    pub until_ms: u64,
    /// How to say it: `in the last hour`.
    pub words: String,
}

impl Window {
    /// What it means now. `known_since_ms`: nothing is known from before; said where the window reaches further back.
    #[must_use]
    pub fn bounds(&self, now_ms: u64, known_since_ms: u64) -> Bounds {
        let midnight_ms = now_ms - now_ms % DAY_MS;
        let end_of_time_ms = now_ms.saturating_add(1);
        let (from_ms, until_ms, words) = match self {
            Window::Everything => {
                let words = format!("since {}, all that is remembered", moment(known_since_ms, now_ms));
                return Bounds { from_ms: known_since_ms, until_ms: end_of_time_ms, words };
            }
            Window::Last(ms, words) => (now_ms.saturating_sub(*ms), end_of_time_ms, words.clone()),
            Window::Today => (midnight_ms, end_of_time_ms, "today (UTC)".to_owned()),
            Window::Yesterday => (midnight_ms.saturating_sub(DAY_MS), midnight_ms, "yesterday (UTC)".to_owned()),
            Window::ThisHour => {
                let from_ms = now_ms - now_ms % HOUR_MS;
                (from_ms, end_of_time_ms, format!("this hour (since {})", moment(from_ms, now_ms)))
            }
            Window::ThisMinute => (now_ms - now_ms % MINUTE_MS, end_of_time_ms, "this minute".to_owned()),
            Window::ThisWeek => {
                // 1 January 1970 was a Thursday.
                let days = (now_ms / DAY_MS + 3) % 7;
                (midnight_ms.saturating_sub(days * DAY_MS), end_of_time_ms, "this week (since Monday, UTC)".to_owned())
            }
            Window::SinceTime(of_day_ms) => {
                let today_ms = midnight_ms + of_day_ms;
                let from_ms = if today_ms > now_ms { today_ms.saturating_sub(DAY_MS) } else { today_ms };
                (from_ms, end_of_time_ms, format!("since {}", moment(from_ms, now_ms)))
            }
            Window::Between(begin_ms, end_ms) => {
                let day_ms =
                    if midnight_ms + begin_ms > now_ms { midnight_ms.saturating_sub(DAY_MS) } else { midnight_ms };
                let from_ms = day_ms + begin_ms;
                // 22:00 to 02:00 ends on the next day.
                let until_ms = day_ms + end_ms + if end_ms <= begin_ms { DAY_MS } else { 0 };
                let words = format!("from {} to {}", moment(from_ms, now_ms), moment(until_ms, now_ms));
                (from_ms, until_ms.min(end_of_time_ms), words)
            }
            Window::SinceYesterday => {
                (midnight_ms.saturating_sub(DAY_MS), end_of_time_ms, "since yesterday, 00:00 UTC".to_owned())
            }
        };
        let words = if from_ms < known_since_ms && until_ms > known_since_ms {
            format!("{words}; what is remembered begins at {}", moment(known_since_ms, now_ms))
        } else if from_ms < known_since_ms {
            format!("{words}; nothing is remembered from before {}", moment(known_since_ms, now_ms))
        } else {
            words
        };
        Bounds { from_ms: from_ms.max(known_since_ms), until_ms, words }
    }
}

/// An instant as briefly as it can be said: the date only if it is not today's, seconds only if there are any.
#[must_use]
pub fn moment(at_ms: u64, now_ms: u64) -> String {
    let (of_day_s, day) = (at_ms % DAY_MS / 1000, at_ms / DAY_MS);
    let (hour, minute, second) = (of_day_s / 3600, of_day_s / 60 % 60, of_day_s % 60);
    let mut text = format!("{hour:02}:{minute:02}");
    if second > 0 {
        text.push_str(&format!(":{second:02}"));
    }
    text.push_str(" UTC");
    if day == now_ms / DAY_MS {
        return text;
    }
    let (year, month, day) = civil(day);
    format!("{year:04}-{month:02}-{day:02} {text}")
}

/// Year, month and day of a day counted from 1 January 1970 (Howard Hinnant's `civil_from_days`: years that begin in March, in eras of 400).
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// Finds the window and marks its words as used. `Err`: the words of a time that is not understood.
pub(super) fn take_window(words: &[Word], used: &mut [bool]) -> Result<Window, (usize, usize)> {
    for at in 0..words.len() {
        if used[at] {
            continue;
        }
        let Some(found) = window_at(words, at) else { continue };
        let (len, window) = found;
        let mut begin = at;
        while begin > 0
            && words[begin - 1].is_any(&["in", "over", "during", "within", "for", "from", "of", "on", "the", "through"])
        {
            begin -= 1;
        }
        used[begin..at + len].iter_mut().for_each(|used| *used = true);
        return window.ok_or((begin, at + len));
    }
    Ok(Window::Everything)
}

/// A window whose first word (behind prepositions) is here: how many words it has, and what it means, if anything.
fn window_at(words: &[Word], at: usize) -> Option<(usize, Option<Window>)> {
    let word = &words[at];
    let next = words.get(at + 1);
    let known = |len: usize, window: Window| Some((len, Some(window)));
    if word.is("today") {
        return known(1, Window::Today);
    }
    if word.is("yesterday") {
        return known(1, Window::Yesterday);
    }
    if word.is_any(&["ever", "overall", "altogether"]) {
        return known(1, Window::Everything);
    }
    if (word.is("all") && next.is_some_and(|next| next.is("time")))
        || (word.is("so") && next.is_some_and(|next| next.is("far")))
    {
        return known(2, Window::Everything);
    }
    if word.is_any(&["this", "current"]) {
        let window = match next.filter(|next| !next.quoted)?.text.as_str() {
            "hour" => Window::ThisHour,
            "minute" => Window::ThisMinute,
            "week" => Window::ThisWeek,
            "day" => Window::Today,
            "month" | "year" | "quarter" | "morning" | "afternoon" | "evening" | "weekend" => return Some((2, None)),
            _ => return None,
        };
        return known(2, window);
    }
    if word.is_any(&["last", "past", "previous", "recent", "latest"]) {
        return last_at(words, at + 1).map(|(len, window)| (len + 1, window));
    }
    if word.is_any(&["since", "after", "starting"]) {
        return since_at(words, at, at + 1);
    }
    if word.is_any(&["between", "from"])
        && let Some((len, begin_ms)) = time_at(words, at + 1)
    {
        let joint = at + 1 + len;
        let joins = words.get(joint).is_some_and(|word| word.is_any(&["and", "to", "until", "till"]));
        let end = if joins { time_at(words, joint + 1) } else { None };
        return match end {
            Some((end_len, end_ms)) => known(len + end_len + 2, Window::Between(begin_ms, end_ms)),
            None => known(len + 1, Window::SinceTime(begin_ms)).filter(|_| !joins).or(Some((len + 1, None))),
        };
    }
    if word.is_any(&["until", "till", "before"])
        && let Some((len, _)) = time_at(words, at + 1)
    {
        return Some((len + 1, None));
    }
    // `30 minutes`, `24h`: only behind `in`, `over`, `within` or the like, so that `5 minute meals` may be a topic.
    let is_led_in_by = |behind: usize| at >= behind && words[at - behind].is_any(&["in", "over", "within", "during"]);
    let led_in = is_led_in_by(1) || (is_led_in_by(2) && words[at - 1].is("the"));
    if led_in {
        let (len, ms, name) = duration_at(words, at)?;
        return Some((len, Some(last(ms, &name))));
    }
    None
}

/// What follows `last`: `hour`, `15 minutes`, `24h`, `few minutes`, `night`.
fn last_at(words: &[Word], at: usize) -> Option<(usize, Option<Window>)> {
    let word = words.get(at)?;
    if let Some((len, ms, name)) = duration_at(words, at) {
        return Some((len, Some(last(ms, &name))));
    }
    if word.is_any(&[
        "night",
        "weekend",
        "quarter",
        "morning",
        "evening",
        "afternoon",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ]) {
        return Some((1, None));
    }
    if word.is_any(&["few", "several", "some"]) && words.get(at + 1).and_then(unit).is_some() {
        return Some((2, None));
    }
    None
}

/// What follows `since`: a time of day, `midnight`, `yesterday`, `2 hours ago`, `the start`.
fn since_at(words: &[Word], first: usize, mut at: usize) -> Option<(usize, Option<Window>)> {
    while words.get(at).is_some_and(|word| word.is_any(&["the", "about", "around", "at"])) {
        at += 1;
    }
    let word = words.get(at)?;
    let found = |end: usize, window: Option<Window>| Some((end - first, window));
    if word.is("midnight") {
        return found(at + 1, Some(Window::Today));
    }
    if word.is_any(&["noon", "midday"]) {
        return found(at + 1, Some(Window::SinceTime(12 * HOUR_MS)));
    }
    if word.is("yesterday") {
        return found(at + 1, Some(Window::SinceYesterday));
    }
    if word.is("today") {
        return found(at + 1, Some(Window::Today));
    }
    if word.is_any(&["start", "beginning", "startup", "boot", "restart"]) {
        return found(at + 1, Some(Window::Everything));
    }
    if let Some((len, of_day_ms)) = time_at(words, at) {
        return found(at + len, Some(Window::SinceTime(of_day_ms)));
    }
    if let Some((len, ms, name)) = duration_at(words, at) {
        let ago = words.get(at + len).is_some_and(|word| word.is("ago"));
        return found(at + len + usize::from(ago), Some(last(ms, &name)));
    }
    // A word behind `since` that is no time we know is a time we do not know; behind `after` it may be part of a topic.
    if words[first].is("since") { found(at + 1, None) } else { None }
}

/// `14:00`, `14:30:10`, `2pm`, `2 pm`, each perhaps with `UTC`: how many words, and milliseconds after midnight.
fn time_at(words: &[Word], at: usize) -> Option<(usize, u64)> {
    let word = words.get(at).filter(|word| !word.quoted)?;
    let (digits, mut half) = match word.text.strip_suffix("am").map(|digits| (digits, Some(0))) {
        Some(found) => found,
        None => word.text.strip_suffix("pm").map_or((word.text.as_str(), None), |digits| (digits, Some(12))),
    };
    let mut len = 1;
    if half.is_none() {
        half = words.get(at + 1).and_then(|next| if next.is("am") { Some(0) } else { next.is("pm").then_some(12) });
        len += usize::from(half.is_some());
    }
    let parts: Vec<u64> =
        digits.split(':').map(|part| part.parse().ok().filter(|_| part.len() <= 2)).collect::<Option<_>>()?;
    let (mut hour, minute, second) = match parts[..] {
        [hour] if half.is_some() => (hour, 0, 0),
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    if let Some(half) = half {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + half;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    len += usize::from(words.get(at + len).is_some_and(|word| word.is_any(&["utc", "gmt", "z"])));
    Some((len, hour * HOUR_MS + minute * MINUTE_MS + second * 1000))
}

/// `hour`, `15 minutes`, `24h`, `half an hour`, `2 days`: how many words, milliseconds, and how to say it.
fn duration_at(words: &[Word], at: usize) -> Option<(usize, u64, String)> {
    let word = words.get(at)?;
    if word.is("half") {
        let article = usize::from(words.get(at + 1).is_some_and(|word| word.is_any(&["an", "a"])));
        return words.get(at + 1 + article)?.is("hour").then(|| (2 + article, HOUR_MS / 2, "30 minutes".to_owned()));
    }
    if word.is("couple") {
        let of = usize::from(words.get(at + 1)?.is("of"));
        let (ms, name) = unit(words.get(at + 1 + of)?)?;
        return Some((2 + of, 2 * ms, format!("2 {name}s")));
    }
    if word.is_any(&["a", "an"]) {
        let (ms, name) = words.get(at + 1).and_then(unit)?;
        return Some((2, ms, name.to_owned()));
    }
    if let Some((ms, name)) = unit(word) {
        return (word.text.len() > 1).then(|| (1, ms, name.to_owned()));
    }
    if let Some(count) = number(word) {
        let (ms, name) = unit(words.get(at + 1)?)?;
        return Some((2, times(ms, count)?, said(count, name)));
    }
    // `24h`
    let split = word.text.find(|c: char| !c.is_ascii_digit()).filter(|split| *split > 0 && !word.quoted)?;
    let count: f64 = word.text[..split].parse().ok()?;
    let (ms, name) = unit(&Word { text: word.text[split..].to_owned(), ..word.clone() })?;
    Some((1, times(ms, count)?, said(count, name)))
}

fn unit(word: &Word) -> Option<(u64, &'static str)> {
    if word.quoted {
        return None;
    }
    Some(match word.text.as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => (1000, "second"),
        "m" | "min" | "mins" | "minute" | "minutes" => (MINUTE_MS, "minute"),
        "h" | "hr" | "hrs" | "hour" | "hours" => (HOUR_MS, "hour"),
        "d" | "day" | "days" => (DAY_MS, "day"),
        "w" | "week" | "weeks" => (7 * DAY_MS, "week"),
        "month" | "months" => (30 * DAY_MS, "30 days"),
        "year" | "years" => (365 * DAY_MS, "365 days"),
        _ => return None,
    })
}

fn times(ms: u64, count: f64) -> Option<u64> {
    let product = ms as f64 * count;
    // Thousands of years are a mistake.
    (1.0..1e14).contains(&product).then_some(product as u64)
}

fn said(count: f64, unit: &str) -> String {
    if let Some(days) = unit.strip_suffix(" days").and_then(|days| days.parse::<f64>().ok()) {
        return format!("{} days", days * count);
    }
    if count == 1.0 { unit.to_owned() } else { format!("{count} {unit}s") }
}

fn last(ms: u64, name: &str) -> Window {
    Window::Last(ms, format!("in the last {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analytics::words::words;

    /// Saturday, 21 November 2026, 15:30:45 UTC.
    const NOW_MS: u64 = 1_795_275_045_000;

    fn read(sentence: &str) -> Result<Window, String> {
        let words = words(sentence);
        let mut used = vec![false; words.len()];
        take_window(&words, &mut used)
            .map_err(|(begin, end)| sentence[words[begin].start..words[end - 1].end].to_owned())
    }

    fn last_of(ms: u64, name: &str) -> Result<Window, String> {
        Ok(last(ms, name))
    }

    #[test]
    fn windows_are_read_in_many_phrasings() {
        for sentence in [
            "in the last hour",
            "over the past hour",
            "last 1 hour",
            "past hour",
            "since 1 hour ago",
            "within the previous hour",
            "in an hour",
        ] {
            assert_eq!(read(sentence), last_of(HOUR_MS, "hour"), "{sentence}");
        }
        for sentence in ["in the last 15 minutes", "past 15m", "last fifteen mins", "since 15 minutes ago"] {
            assert_eq!(read(sentence), last_of(15 * MINUTE_MS, "15 minutes"), "{sentence}");
        }
        assert_eq!(read("in the last half hour"), last_of(HOUR_MS / 2, "30 minutes"));
        assert_eq!(read("last couple of days"), last_of(2 * DAY_MS, "2 days"));
        assert_eq!(read("in the last 24h"), last_of(DAY_MS, "24 hours"));
        assert_eq!(read("last 30 seconds"), last_of(30_000, "30 seconds"));
        assert_eq!(read("last two weeks"), last_of(14 * DAY_MS, "2 weeks"));
        assert_eq!(read("last month"), last_of(30 * DAY_MS, "30 days"));
        assert_eq!(read("last 1.5 hours"), last_of(HOUR_MS * 3 / 2, "1.5 hours"));
        assert_eq!(read("today"), Ok(Window::Today));
        assert_eq!(read("since midnight"), Ok(Window::Today));
        assert_eq!(read("yesterday"), Ok(Window::Yesterday));
        assert_eq!(read("since yesterday"), Ok(Window::SinceYesterday));
        assert_eq!(read("this hour"), Ok(Window::ThisHour));
        assert_eq!(read("this week"), Ok(Window::ThisWeek));
        for sentence in ["since 14:00", "since 2pm", "since 2 pm UTC", "after 14:00:00"] {
            assert_eq!(read(sentence), Ok(Window::SinceTime(14 * HOUR_MS)), "{sentence}");
        }
        assert_eq!(read("since 12am"), Ok(Window::SinceTime(0)));
        for sentence in ["between 14:00 and 15:30", "from 2 pm to 3:30 pm UTC", "from 14:00 until 15:30"] {
            assert_eq!(read(sentence), Ok(Window::Between(14 * HOUR_MS, 15 * HOUR_MS + HOUR_MS / 2)), "{sentence}");
        }
        for sentence in
            ["", "ever", "of all time", "so far", "since the start", "five minute meals", "the next 5 minutes"]
        {
            assert_eq!(read(sentence), Ok(Window::Everything), "{sentence}");
        }
    }

    #[test]
    fn times_that_are_not_understood_are_named() {
        for (sentence, part) in [
            ("last night", "last night"),
            ("hits in the last few minutes", "in the last few minutes"),
            ("this quarter", "this quarter"),
            ("since lunch", "since lunch"),
            ("since 25:00", "since 25:00"),
            ("hits before 14:00", "before 14:00"),
        ] {
            assert_eq!(read(sentence), Err(part.to_owned()));
        }
    }

    #[test]
    fn bounds_are_cut_where_memory_begins_and_say_so() {
        let hour = last(HOUR_MS, "hour");
        assert_eq!(
            hour.bounds(NOW_MS, 0),
            Bounds { from_ms: NOW_MS - HOUR_MS, until_ms: NOW_MS + 1, words: "in the last hour".to_owned() }
        );
        let known_ms = NOW_MS - 45_000;
        assert_eq!(hour.bounds(NOW_MS, known_ms).from_ms, known_ms);
        assert_eq!(hour.bounds(NOW_MS, known_ms).words, "in the last hour; what is remembered begins at 15:30 UTC");
        assert_eq!(
            Window::Yesterday.bounds(NOW_MS, known_ms).words,
            "yesterday (UTC); nothing is remembered from before 15:30 UTC"
        );
        assert_eq!(Window::Everything.bounds(NOW_MS, known_ms).words, "since 15:30 UTC, all that is remembered");
    }

    #[test]
    fn times_of_day_are_the_last_such() {
        let from = |window: Window| moment(window.bounds(NOW_MS, 0).from_ms, NOW_MS);
        assert_eq!(from(Window::SinceTime(14 * HOUR_MS)), "14:00 UTC");
        assert_eq!(from(Window::SinceTime(16 * HOUR_MS)), "2026-11-20 16:00 UTC");
        assert_eq!(from(Window::ThisHour), "15:00 UTC");
        assert_eq!(from(Window::ThisMinute), "15:30 UTC");
        assert_eq!(from(Window::Today), "00:00 UTC");
        assert_eq!(from(Window::Yesterday), "2026-11-20 00:00 UTC");
        assert_eq!(from(Window::ThisWeek), "2026-11-16 00:00 UTC");
        let night = Window::Between(22 * HOUR_MS, 2 * HOUR_MS).bounds(NOW_MS, 0);
        assert_eq!(night.words, "from 2026-11-20 22:00 UTC to 02:00 UTC");
        assert_eq!(night.until_ms - night.from_ms, 4 * HOUR_MS);
        assert_eq!(moment(0, NOW_MS), "1970-01-01 00:00 UTC");
        assert_eq!(moment(951_782_400_000, NOW_MS), "2000-02-29 00:00 UTC");
    }
}
