//! Exact decimal numbers of any length, in one spelling each: `1,000.50`, `1000.5` and `01000.500` are the same.

use std::fmt;

/// A number as its digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    /// ASCII digits, without zeros in front.
    digits: String,
    /// How many of the digits stand behind the point.
    fraction: usize,
}

/// Digits that a power of ten may add; no word means more.
const SHIFT_MAX: usize = 15;

impl Decimal {
    /// A number from the digits before and behind its point. Other characters are left out.
    pub(crate) fn new(whole: &str, fraction: &str) -> Decimal {
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let (whole, fraction) = (digits(whole), digits(fraction));
        let fraction = fraction.trim_end_matches('0');
        let all = format!("{whole}{fraction}");
        Decimal { negative: false, digits: all.trim_start_matches('0').to_owned(), fraction: fraction.len() }
    }

    pub(crate) fn negate(&mut self) {
        self.negative = !self.digits.is_empty();
    }

    /// Multiplies by a power of ten.
    pub(crate) fn shift(&mut self, power: usize) {
        let power = power.min(SHIFT_MAX);
        if self.digits.is_empty() {
            return;
        }
        let added = power.saturating_sub(self.fraction);
        self.fraction = self.fraction.saturating_sub(power);
        self.digits.extend(std::iter::repeat_n('0', added));
    }

    /// The number if it is whole and small.
    pub(crate) fn small(&self) -> Option<u32> {
        if self.negative || self.fraction > 0 || self.digits.len() > 6 {
            return None;
        }
        if self.digits.is_empty() { Some(0) } else { self.digits.parse().ok() }
    }
}

impl From<u64> for Decimal {
    fn from(number: u64) -> Decimal {
        Decimal::new(&number.to_string(), "")
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        let whole = self.digits.len().saturating_sub(self.fraction);
        f.write_str(if whole == 0 { "0" } else { &self.digits[..whole] })?;
        if self.fraction > 0 {
            write!(f, ".{:0>width$}", &self.digits[whole..], width = self.fraction)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        for (whole, fraction, shown) in [
            ("1000", "50", "1000.5"),
            ("007", "", "7"),
            ("0", "05", "0.05"),
            ("", "", "0"),
            ("000", "00", "0"),
            ("1,000", "", "1000"),
        ] {
            assert_eq!(Decimal::new(whole, fraction).to_string(), shown);
        }
    }

    #[test]
    fn powers_of_ten_are_exact() {
        let shifted = |whole, fraction, power| {
            let mut number = Decimal::new(whole, fraction);
            number.shift(power);
            number.to_string()
        };
        assert_eq!(shifted("1", "5", 6), "1500000");
        assert_eq!(shifted("0", "0005", 3), "0.5");
        assert_eq!(shifted("0", "", 3), "0");
        assert_eq!(shifted("12", "345", 2), "1234.5");
    }

    #[test]
    fn nothing_is_not_negative() {
        let mut zero = Decimal::from(0);
        zero.negate();
        assert_eq!(zero.to_string(), "0");
    }
}
