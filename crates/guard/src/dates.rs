//! Dates and times that are written with digits: in one spelling where the order of their parts is certain.

/// The date or time that a whole word is, if it is one.
pub(crate) fn of(word: &str) -> Option<String> {
    let word = word.strip_suffix(['z', 'Z']).unwrap_or(word);
    if let Some((date, time)) = word.split_once(['t', 'T']) {
        return Some(format!("{} {}", day(date)?, time_of_day(time, None)?));
    }
    day(word).or_else(|| time_of_day(word, None))
}

/// A time in 24 hours, from `17:30`, `5:30` and `pm`, or `5` and `pm`.
pub(crate) fn time_of_day(digits: &str, half: Option<&str>) -> Option<String> {
    // Fractions of a second say nothing, and zones are too many.
    let digits = digits.split(['.', '+']).next().unwrap_or(digits);
    let parts: Vec<&str> = digits.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour] if half.is_some() => (number(hour, 2)?, 0, 0),
        [hour, minute] => (number(hour, 2)?, number_of(minute, 2)?, 0),
        [hour, minute, second] => (number(hour, 2)?, number_of(minute, 2)?, number_of(second, 2)?),
        _ => return None,
    };
    let hour = match half {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some("pm") => hour % 12 + 12,
        Some(_) => hour % 12,
        None => hour,
    };
    if hour > 24 || minute > 59 || second > 59 {
        return None;
    }
    Some(if second == 0 { format!("{hour:02}:{minute:02}") } else { format!("{hour:02}:{minute:02}:{second:02}") })
}

/// Whether a number is one that years have.
pub(crate) fn is_year(number: u32) -> bool {
    (1900..2100).contains(&number)
}

/// A date of known parts: `2024-05-03`, `2024-05`, `--05-03`, `--05`.
pub(crate) fn spelled(year: Option<u32>, month: u32, day: Option<u32>) -> String {
    let year = year.map_or("-".to_owned(), |year| year.to_string());
    match day {
        Some(day) => format!("{year}-{month:02}-{day:02}"),
        None => format!("{year}-{month:02}"),
    }
}

/// Three numbers, or year and month.
fn day(word: &str) -> Option<String> {
    let separator = word.chars().find(|character| !character.is_ascii_digit())?;
    if !"-/.".contains(separator) {
        return None;
    }
    let parts: Vec<&str> = word.split(separator).collect();
    match parts.as_slice() {
        [year, month] if separator == '-' && year.len() == 4 => {
            let (year, month) = (number(year, 4)?, number_of(month, 2)?);
            (is_year(year) && is_month(month)).then(|| spelled(Some(year), month, None))
        }
        [year, month, day] if year.len() == 4 => {
            let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
            (is_year(year) && is_month(month) && is_day(day)).then(|| spelled(Some(year), month, Some(day)))
        }
        [some, other, year] if year.len() == 4 => {
            let (some, other, year) = (number(some, 2)?, number(other, 2)?, number(year, 4)?);
            if !is_year(year) || !is_day(some) || !is_day(other) {
                return None;
            }
            match (is_month(some), is_month(other)) {
                // The same in either order.
                (true, true) if some == other => Some(spelled(Some(year), some, Some(other))),
                (true, false) => Some(spelled(Some(year), some, Some(other))),
                (false, true) => Some(spelled(Some(year), other, Some(some))),
                // Both orders are dates: nobody knows which is meant.
                (true, true) => Some(format!("{some}/{other}/{year}")),
                (false, false) => None,
            }
        }
        // A year of two digits, kept as it is; with points it is more often a version.
        [some, other, year] if separator == '/' && year.len() == 2 => {
            let (some, other, year) = (number(some, 2)?, number(other, 2)?, number(year, 2)?);
            (is_day(some) && is_day(other)).then(|| format!("{some}/{other}/{year:02}"))
        }
        _ => None,
    }
}

/// A number of at most so many digits.
fn number(digits: &str, digits_max: usize) -> Option<u32> {
    let is_number = (1..=digits_max).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

/// A number of exactly so many digits.
fn number_of(digits: &str, count: usize) -> Option<u32> {
    if digits.len() == count { number(digits, count) } else { None }
}

fn is_month(number: u32) -> bool {
    (1..=12).contains(&number)
}

fn is_day(number: u32) -> bool {
    (1..=31).contains(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_one_spelling_where_their_order_is_certain() {
        for (word, expected) in [
            ("2024-05-03", "2024-05-03"),
            ("2024/5/3", "2024-05-03"),
            ("2024-05", "2024-05"),
            ("25/12/2024", "2024-12-25"),
            ("12/25/2024", "2024-12-25"),
            ("25.12.2024", "2024-12-25"),
            ("04/04/2024", "2024-04-04"),
            ("03/05/2024", "3/5/2024"),
            ("03-05-2024", "3/5/2024"),
            ("3/5/24", "3/5/24"),
            ("2024-05-03T17:30:00Z", "2024-05-03 17:30"),
            ("17:30", "17:30"),
            ("7:05", "07:05"),
        ] {
            assert_eq!(of(word).as_deref(), Some(expected), "{word}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for word in [
            "",
            "1",
            "1/2",
            "2024-13-01",
            "2024-05-32",
            "1.2.3",
            "555-1234",
            "25:00",
            "1:2",
            "99/99/2024",
            "1/2/3/4",
            "T",
            "-",
        ] {
            assert_eq!(of(word), None, "{word}");
        }
    }

    #[test]
    fn times_of_twelve_hours_become_those_of_24() {
        for (digits, half, expected) in
            [("5", "pm", "17:00"), ("12", "am", "00:00"), ("12", "pm", "12:00"), ("5:30", "am", "05:30")]
        {
            assert_eq!(time_of_day(digits, Some(half)).as_deref(), Some(expected));
        }
        assert_eq!(time_of_day("13", Some("pm")), None);
    }
}
