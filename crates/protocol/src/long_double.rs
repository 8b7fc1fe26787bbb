//! The numbers of INCRBYFLOAT and HINCRBYFLOAT: binary floating point with 64 bits of mantissa, rounded to nearest even.
//!
//! Redis calculates these commands in C's `long double`, which on x86-64 is the 80-bit format of the x87, and prints 17
//! decimals. So 0.1 + 0.2 is 0.3 there, where a 64-bit double gives 0.30000000000000004. Rust has no such type; a sum and
//! two conversions are little enough to do in integers, and then every result is Redis's to the last digit.
//!
//! Differences: C's hexadecimal notation is refused; a denormal number keeps all of its bits (it prints as 0 anyway).

use std::ops::Add;

/// The number that INCRBYFLOAT and HINCRBYFLOAT calculate with: see the module.
#[derive(Debug, Clone, Copy)]
pub struct LongDouble {
    is_negative: bool,
    magnitude: Magnitude,
}

#[derive(Debug, Clone, Copy)]
enum Magnitude {
    Zero,
    /// `mantissa × 2^exponent`; the mantissa's top bit is set.
    Normal {
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
    NotANumber,
}

/// The power of two that is too large for the format.
const OVERFLOW_EXPONENT: i64 = 16_384;
/// Half of the smallest number of the format, 2^-16445, rounds to zero.
const UNDERFLOW_EXPONENT: i64 = -16_446;
/// Redis's buffer for a long double (`MAX_LONG_DOUBLE_CHARS`): text that does not fit with its zero byte is no number.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;
/// Digits behind the point.
const DECIMALS: usize = 17;

impl LongDouble {
    /// Whether it is neither infinite nor not a number: only such a result may be stored.
    #[must_use]
    pub fn is_finite(self) -> bool {
        match self.magnitude {
            Magnitude::Zero | Magnitude::Normal { .. } => true,
            Magnitude::Infinite | Magnitude::NotANumber => false,
        }
    }

    fn new(is_negative: bool, magnitude: Magnitude) -> Self {
        LongDouble { is_negative, magnitude }
    }
}

impl Magnitude {
    /// `value × 2^exponent` to 64 bits; `is_inexact`: the true value is a little larger, by less than 1 in `value`, which
    /// must then have more than 65 bits.
    fn round(value: u128, exponent: i64, is_inexact: bool) -> Magnitude {
        if value == 0 {
            return Magnitude::Zero;
        }
        let bits = 128 - value.leading_zeros();
        let mut top = i64::from(bits) + exponent;
        let mut mantissa = if bits <= 64 {
            (value << (64 - bits)) as u64
        } else {
            let dropped = bits - 64;
            let kept = (value >> dropped) as u64;
            let rest = value << (128 - dropped);
            let half = 1_u128 << 127;
            let is_up = rest > half || (rest == half && (is_inexact || kept & 1 == 1));
            kept.wrapping_add(u64::from(is_up))
        };
        if mantissa == 0 {
            // Rounded up to the next power of two.
            mantissa = 1 << 63;
            top += 1;
        }
        if top > OVERFLOW_EXPONENT {
            Magnitude::Infinite
        } else if top <= UNDERFLOW_EXPONENT {
            Magnitude::Zero
        } else {
            let exponent = i32::try_from(top - 64).expect("between the two limits just checked");
            Magnitude::Normal { mantissa, exponent }
        }
    }
}

impl Add for LongDouble {
    type Output = LongDouble;

    fn add(self, other: LongDouble) -> LongDouble {
        let ((m1, e1), (m2, e2)) = match (self.magnitude, other.magnitude) {
            (Magnitude::NotANumber, _) => return self,
            (_, Magnitude::NotANumber) => return other,
            (Magnitude::Infinite, Magnitude::Infinite) if self.is_negative != other.is_negative => {
                return LongDouble::new(false, Magnitude::NotANumber);
            }
            (Magnitude::Infinite, _) => return self,
            (_, Magnitude::Infinite) => return other,
            (Magnitude::Zero, Magnitude::Zero) => {
                return LongDouble::new(self.is_negative && other.is_negative, Magnitude::Zero);
            }
            (_, Magnitude::Zero) => return self,
            (Magnitude::Zero, _) => return other,
            (Magnitude::Normal { mantissa: m1, exponent: e1 }, Magnitude::Normal { mantissa: m2, exponent: e2 }) => {
                ((m1, e1), (m2, e2))
            }
        };
        if (e1, m1) < (e2, m2) {
            return other + self;
        }
        // Both mantissas 62 bits up: room below for what is shifted out, and a bit above for the carry.
        let large = u128::from(m1) << 62;
        let shift = e1.abs_diff(e2);
        let small = (u128::from(m2) << 62).checked_shr(shift).unwrap_or(0);
        let is_inexact = shift > 62 && (u128::from(m2) << 62).trailing_zeros() < shift;
        let sum = if self.is_negative == other.is_negative {
            large + small
        } else {
            // What is shifted out of the subtrahend makes the difference a little smaller: one less, and a little larger.
            large - small - u128::from(is_inexact)
        };
        let magnitude = Magnitude::round(sum, i64::from(e1) - 62, is_inexact);
        LongDouble::new(self.is_negative && sum != 0, magnitude)
    }
}

/// A number as Redis's `string2ld` reads it: decimal with optional sign and exponent, `inf` and `infinity` in any case; no
/// `nan`, no spaces, nothing that overflows or that underflows to zero.
#[must_use]
pub fn parse_long_double(text: &[u8]) -> Option<LongDouble> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let (is_negative, text) = match text {
        [b'-', unsigned @ ..] => (true, unsigned),
        [b'+', unsigned @ ..] => (false, unsigned),
        unsigned => (false, unsigned),
    };
    if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
        return Some(LongDouble::new(is_negative, Magnitude::Infinite));
    }
    let (number, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        None => (text, 0),
        Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
    };
    let mut digits = Natural::default();
    let mut has_digits = false;
    let mut decimals = None;
    for &byte in number {
        match byte {
            b'0'..=b'9' => {
                has_digits = true;
                digits.multiply_add(10, u32::from(byte - b'0'));
                decimals = decimals.map(|count: i64| count + 1);
            }
            b'.' if decimals.is_none() => decimals = Some(0),
            _ => return None,
        }
    }
    if !has_digits {
        return None;
    }
    let magnitude = scale(digits, exponent - decimals.unwrap_or(0));
    match magnitude {
        // Zero itself, or what rounds to it.
        None => Some(LongDouble::new(is_negative, Magnitude::Zero)),
        Some(Magnitude::Zero | Magnitude::Infinite | Magnitude::NotANumber) => None,
        Some(normal @ Magnitude::Normal { .. }) => Some(LongDouble::new(is_negative, normal)),
    }
}

/// A number as Redis's `ld2string` writes it for people: 17 decimals without the zeros at their end, never an exponent.
#[must_use]
pub fn format_long_double(value: LongDouble) -> String {
    let digits = match value.magnitude {
        Magnitude::NotANumber => return "nan".to_owned(),
        Magnitude::Infinite => "inf".to_owned(),
        Magnitude::Zero => return "0".to_owned(),
        Magnitude::Normal { mantissa, exponent } => match u32::try_from(exponent) {
            Ok(shift) => {
                let mut whole = Natural::from(mantissa);
                whole.shift_left(shift);
                whole.into_decimal()
            }
            Err(_) => fixed_point(mantissa, exponent.unsigned_abs()),
        },
    };
    if value.is_negative && digits != "0" { format!("-{digits}") } else { digits }
}

/// `mantissa ÷ 2^shift`, rounded to 17 decimals.
fn fixed_point(mantissa: u64, shift: u32) -> String {
    // Less than 2^64 × 2^57, so that a shift of 122 leaves less than one half.
    let scaled = u128::from(mantissa) * 10_u128.pow(DECIMALS as u32);
    let rounded = if shift > 121 {
        0
    } else {
        let kept = scaled >> shift;
        let rest = scaled & ((1 << shift) - 1);
        let half = 1 << (shift - 1);
        kept + u128::from(rest > half || (rest == half && kept & 1 == 1))
    };
    let digits = format!("{rounded:0width$}", width = DECIMALS + 1);
    let (whole, decimals) = digits.split_at(digits.len() - DECIMALS);
    let decimals = decimals.trim_end_matches('0');
    if decimals.is_empty() { whole.to_owned() } else { format!("{whole}.{decimals}") }
}

/// The digits of an exponent with at most a sign; one that no number can have is as good as the largest that is too large.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1_000_000));
    Some(if is_negative { -value } else { value })
}

/// `digits × 10^power`, correctly rounded; `None` if the digits are all zero.
fn scale(mut digits: Natural, power: i64) -> Option<Magnitude> {
    if digits.bits() == 0 {
        return None;
    }
    // Between 3.32 and 3.33 bits a decimal digit: decides the hopeless cases before they cost anything.
    let top_min = digits.bits() as i64 - 1 + power * if power < 0 { 333 } else { 332 } / 100;
    let top_max = digits.bits() as i64 + power * if power < 0 { 332 } else { 333 } / 100;
    if top_min > OVERFLOW_EXPONENT {
        return Some(Magnitude::Infinite);
    }
    if top_max < UNDERFLOW_EXPONENT {
        return Some(Magnitude::Zero);
    }
    let mut exponent = 0;
    let mut is_inexact = false;
    if power >= 0 {
        for factor in powers_of_ten(power) {
            digits.multiply_add(factor, 0);
        }
    } else {
        // Enough bits that at least 96 are left of the quotient.
        let shift = (96 + (-power * 333 / 100) + 1).saturating_sub(digits.bits() as i64).max(0);
        digits.shift_left(u32::try_from(shift).expect("bounded by the smallest number and the longest text"));
        exponent = -shift;
        for factor in powers_of_ten(-power) {
            is_inexact |= digits.divide(factor) != 0;
        }
    }
    let (value, dropped_bits, is_cut) = digits.top();
    Some(Magnitude::round(value, exponent + i64::from(dropped_bits), is_inexact || is_cut))
}

/// Factors of at most 10^9 whose product is `10^power`.
fn powers_of_ten(power: i64) -> impl Iterator<Item = u32> {
    let whole = std::iter::repeat_n(1_000_000_000, usize::try_from(power / 9).unwrap_or(0));
    whole.chain(std::iter::once(10_u32.pow((power % 9) as u32)))
}

/// A natural number of any size: 32-bit digits, the least significant first, none of the highest zero.
#[derive(Debug, Default)]
struct Natural(Vec<u32>);

impl From<u64> for Natural {
    fn from(value: u64) -> Natural {
        let mut natural = Natural(vec![value as u32, (value >> 32) as u32]);
        natural.trim();
        natural
    }
}

impl Natural {
    fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 32 - top.leading_zeros() as usize)
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for digit in &mut self.0 {
            carry += u64::from(*digit) * u64::from(factor);
            *digit = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// Answers the remainder. Rounding down at each of several divisions is rounding down once by their product.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut rest = 0_u64;
        for digit in self.0.iter_mut().rev() {
            rest = rest << 32 | u64::from(*digit);
            *digit = (rest / u64::from(divisor)) as u32;
            rest %= u64::from(divisor);
        }
        self.trim();
        rest as u32
    }

    fn shift_left(&mut self, bits: u32) {
        self.multiply_add(1 << (bits % 32), 0);
        if !self.0.is_empty() {
            self.0.splice(..0, std::iter::repeat_n(0, bits as usize / 32));
        }
    }

    /// The highest digits, at least 97 bits if there are so many; how many bits are below them; whether any of those is set.
    fn top(&self) -> (u128, u32, bool) {
        let (low, high) = self.0.split_at(self.0.len().saturating_sub(4));
        let value = high.iter().rev().fold(0, |value, &digit| value << 32 | u128::from(digit));
        let dropped_bits = u32::try_from(low.len() * 32).expect("numbers of a few thousand digits");
        (value, dropped_bits, low.iter().any(|&digit| digit != 0))
    }

    fn into_decimal(mut self) -> String {
        let mut groups = Vec::new();
        while !self.0.is_empty() {
            groups.push(self.divide(1_000_000_000));
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        for group in groups.iter().rev() {
            text.push_str(&format!("{group:09}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(left: &str, right: &str) -> String {
        let number = |text: &str| parse_long_double(text.as_bytes()).expect(text);
        format_long_double(number(left) + number(right))
    }

    #[test]
    fn sums_are_redis_s_to_the_last_digit() {
        // The right column is what Redis 7.0.15 on x86-64 answered to SET k left, INCRBYFLOAT k right.
        for (left, right, expected) in SUMS {
            assert_eq!(sum(left, right), *expected, "{left} + {right}");
        }
    }

    #[test]
    fn sums_do_not_depend_on_the_order() {
        for (left, right, expected) in SUMS {
            assert_eq!(sum(right, left), *expected, "{right} + {left}");
        }
    }

    #[test]
    fn text_that_is_no_finite_or_infinite_number_is_refused() {
        let long = "1".repeat(5 * 1024);
        for text in [
            "",
            "+",
            "-",
            ".",
            "e5",
            "1e",
            "1e+",
            "1.2.3",
            " 1",
            "1 ",
            "1,5",
            "0x10",
            "nan",
            "-nan",
            "infinit",
            "--1",
            "1e5.0",
            "1e4933",
            "1.2e4932",
            "1e-4951",
            "-1e-9999999999999999999",
            "1e9999999999999999999",
            "1_000",
            "1e 5",
            &long,
        ] {
            assert!(parse_long_double(text.as_bytes()).is_none(), "{text:?}");
        }
    }

    #[test]
    fn infinities_are_read_but_are_not_finite() {
        let infinite = parse_long_double(b"InF").expect("a number");
        assert!(!infinite.is_finite());
        assert_eq!(format_long_double(parse_long_double(b"-infinity").expect("a number")), "-inf");
        let nothing = infinite + parse_long_double(b"-inf").expect("a number");
        assert!(!nothing.is_finite());
        assert_eq!(format_long_double(nothing), "nan");
        let largest = parse_long_double(b"1.18e4932").expect("a number");
        assert!(!(largest + largest).is_finite());
    }

    const SUMS: &[(&str, &str, &str)] = &[
        ("10.50", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("3.0", "0", "3"),
        ("0.1", "0.2", "0.3"),
        ("1e15", "0.1", "1000000000000000.0999755859375"),
        ("1e18", "0.3", "1000000000000000000.3125"),
        ("1", "-0.9", "0.1"),
        ("0.1", "-0.1", "0"),
        ("-1e-20", "0", "0"),
        ("1e-17", "4e-18", "0.00000000000000001"),
        ("15e-18", "0", "0.00000000000000002"),
        ("18446744073709551616", "1", "18446744073709551616"),
        ("1e30", "1", "1000000000000000000024696061952"),
        ("123456789012345678901234567890", "0", "123456789012345678899921813504"),
        ("-3.14", "-0", "-3.14"),
        (".5", "5.", "5.5"),
        ("1e+2", "-1E2", "0"),
        ("9007199254740993", "0.5", "9007199254740993.5"),
        ("0.30000000000000004", "0", "0.30000000000000004"),
        ("-0.00001", "0.000003", "-0.000007"),
        // Between two numbers of 64 bits: ties, and what only bits far below tell from a tie.
        ("18446744073709551617", "0", "18446744073709551616"),
        ("18446744073709551619", "0", "18446744073709551620"),
        ("18446744073709551617.00000000000000000001", "0", "18446744073709551618"),
        ("36893488147419103231", "0", "36893488147419103232"),
        (
            "18446744073709551616",
            "1.000000000000000000108420217248550443400745280086994171142578125",
            "18446744073709551618",
        ),
        (
            "18446744073709551620",
            "-1.000000000000000000108420217248550443400745280086994171142578125",
            "18446744073709551618",
        ),
        ("0.000003814697265625", "0", "0.00000381469726562"),
        ("0.000011444091796875", "0", "0.00001144409179688"),
        (
            "23384026197294446692526607923688757715991623892992",
            "0",
            "23384026197294446691258957323460528314494920687616",
        ),
        (
            "23384026197294446692526607923688757715991623892993",
            "0",
            "23384026197294446693794258523916987117488327098368",
        ),
    ];
}
