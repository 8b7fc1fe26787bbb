//! Numbers as people read them.

/// `1234567` as `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 hit`, `1,234 hits`.
#[must_use]
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A share in percent with one decimal; nothing of nothing is 0.
#[must_use]
pub fn percent(part: u64, whole: u64) -> String {
    format!("{:.1}%", if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 })
}

/// Bytes in the largest unit that leaves a whole number before the point.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return counted(bytes, "byte", "bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Microseconds, or milliseconds from ten thousand on.
#[must_use]
pub fn microseconds(us: f64) -> String {
    if us >= 10_000.0 {
        format!("{:.1} ms", us / 1000.0)
    } else if us.fract() == 0.0 {
        format!("{} us", count(us as u64))
    } else {
        format!("{us:.1} us")
    }
}

/// Millionths of a dollar as dollars: cents, and as many decimals more as a small amount needs.
#[must_use]
pub fn dollars(micros: u64) -> String {
    let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
    if whole > 0 || rest == 0 || rest % 10_000 == 0 {
        // Rounded to cents, which may carry.
        let cents = (micros + 5_000) / 10_000;
        return format!("${}.{:02}", count(cents / 100), cents % 100);
    }
    format!("$0.{}", format!("{rest:06}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "hit", "hits"), counted(0, "hit", "hits")], ["1 hit", "0 hits"]);
        assert_eq!([percent(1234, 1675), percent(0, 0), percent(1, 1)], ["73.7%", "0.0%", "100.0%"]);
        assert_eq!(
            [bytes(1), bytes(1023), bytes(1024), bytes(1_048_575), bytes(5 << 30)],
            ["1 byte", "1,023 bytes", "1.0 KiB", "1.0 MiB", "5.0 GiB"]
        );
        assert_eq!(
            [microseconds(12.0), microseconds(12.34), microseconds(1234.0), microseconds(12_345.0)],
            ["12 us", "12.3 us", "1,234 us", "12.3 ms"]
        );
    }

    #[test]
    fn small_amounts_of_money_keep_their_decimals() {
        assert_eq!(
            [dollars(0), dollars(1_234_567), dollars(10_000), dollars(4_200), dollars(1)],
            ["$0.00", "$1.23", "$0.01", "$0.0042", "$0.000001"]
        );
        assert_eq!([dollars(1_999_999), dollars(1_234_567_890_000)], ["$2.00", "$1,234,567.89"]);
    }
}
