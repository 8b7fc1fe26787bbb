//! Numbers as Redis reads and writes them in requests and replies.

pub use crate::long_double::{LongDouble, format_long_double, parse_long_double};
use std::io::Write;

/// A 64-bit integer as strictly as Redis's `string2ll`: digits with at most a leading `-`; no `+`, spaces, leading zeros or `-0`.
/// So a number that is accepted is written back byte for byte, which is why it can be stored as an integer.
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        None => parse_u64(text).and_then(|value| i64::try_from(value).ok()),
        Some(digits) => match parse_u64(digits)? {
            0 => None,
            value => 0_i64.checked_sub_unsigned(value),
        },
    }
}

/// A 64-bit integer without a sign, as strictly as [`parse_i64`].
#[must_use]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [] | [b'0', _, ..] => None,
        digits if digits.len() < 20 => {
            let mut value = 0_u64;
            for &byte in digits {
                let digit = byte.wrapping_sub(b'0');
                if digit > 9 {
                    return None;
                }
                // Nineteen nines are less than 2^64.
                value = value * 10 + u64::from(digit);
            }
            Some(value)
        }
        digits if digits.len() == 20 => {
            let head = parse_u64(&digits[..19])?;
            let last = digits[19].wrapping_sub(b'0');
            if last > 9 { None } else { head.checked_mul(10)?.checked_add(u64::from(last)) }
        }
        _ => None,
    }
}

/// A double as Redis's `getDoubleFromObject`: decimal with optional sign and exponent, `inf` and `infinity` in any case;
/// no `nan`, no spaces, nothing that overflows or that underflows to zero.
///
/// Differs from Redis in one point: C's hexadecimal notation (`0x1p3`) is refused.
#[must_use]
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let value: f64 = text.parse().ok()?;
    let unsigned = text.trim_start_matches(['+', '-']);
    let is_named = unsigned.starts_with(['i', 'I', 'n', 'N']);
    if value.is_nan() || (value.is_infinite() && !is_named) {
        return None;
    }
    if value == 0.0 && mantissa_is_not_zero(unsigned) {
        return None;
    }
    Some(value)
}

fn mantissa_is_not_zero(unsigned: &str) -> bool {
    unsigned.bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'))
}

/// A double as [`write_f64`] writes it.
#[must_use]
pub fn format_f64(value: f64) -> String {
    let mut bytes = Vec::with_capacity(24);
    write_f64(&mut bytes, value);
    String::from_utf8(bytes).expect("digits are ASCII")
}

/// Appends a double as Redis 7.2 and later write it: the fewest digits that read back as the same double; whole numbers
/// without a point; `inf`, `-inf`, `nan`; an exponent only where Redis puts one (`1e+21`, `1.5e-7`).
///
/// Redis 7.0 wrote 17 digits always (`0.10000000000000001`).
pub fn write_f64(output: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        return output.extend_from_slice(b"nan");
    }
    if value.is_sign_negative() {
        output.push(b'-');
    }
    let magnitude = value.abs();
    if magnitude.is_infinite() {
        return output.extend_from_slice(b"inf");
    }
    // Redis writes whole numbers up to half of the range of 64 bits as integers.
    if magnitude <= (i64::MAX / 2) as f64 && magnitude.trunc() == magnitude {
        return output.extend_from_slice(itoa::Buffer::new().format(magnitude as i64).as_bytes());
    }
    let mut buffer = [0_u8; 32];
    let mut rest: &mut [u8] = &mut buffer;
    write!(rest, "{magnitude:e}").expect("17 digits, a point and an exponent fit 32 bytes");
    let written = 32 - rest.len();
    let mut digits = [0_u8; 20];
    let mut count = 0_usize;
    let mut exponent = 0_i32;
    for (index, &byte) in buffer[..written].iter().enumerate() {
        match byte {
            b'e' => {
                let text = std::str::from_utf8(&buffer[index + 1..written]).expect("Rust writes ASCII");
                exponent = text.parse().expect("Rust writes a decimal exponent");
                break;
            }
            b'.' => {}
            digit => {
                digits[count] = digit;
                count += 1;
            }
        }
    }
    write_digits(output, &digits[..count], exponent);
}

/// Writes `d.ddd × 10^exponent` by the rules of `fpconv`, the library that Redis formats doubles with.
fn write_digits(output: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    let count = i32::try_from(digits.len()).expect("at most 17 digits");
    // The value is the digits as an integer × 10^scale.
    let scale = exponent - (count - 1);
    let zeros = |count: i32| std::iter::repeat_n(b'0', usize::try_from(count).unwrap_or(0));
    if scale >= 0 && exponent.abs() < count + 7 {
        output.extend_from_slice(digits);
        output.extend(zeros(scale));
    } else if scale < 0 && (scale > -7 || exponent.abs() < 4) {
        let whole = count + scale;
        if whole <= 0 {
            output.extend_from_slice(b"0.");
            output.extend(zeros(-whole));
            output.extend_from_slice(digits);
        } else {
            let (whole, fraction) = digits.split_at(usize::try_from(whole).expect("positive"));
            output.extend_from_slice(whole);
            output.push(b'.');
            output.extend_from_slice(fraction);
        }
    } else {
        output.push(digits[0]);
        if digits.len() > 1 {
            output.push(b'.');
            output.extend_from_slice(&digits[1..]);
        }
        output.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        output.extend_from_slice(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_read_only_as_they_are_written() {
        let cases: &[(&str, Option<i64>)] = &[
            ("0", Some(0)),
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("18446744073709551616", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            ("00", None),
            ("-01", None),
            ("--1", None),
            (" 1", None),
            ("1 ", None),
            ("1.0", None),
            ("0x1", None),
            ("1\0", None),
            ("99999999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_i64(text.as_bytes()), *expected, "{text:?}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"1844674407370955161a"), None);
        assert_eq!(parse_u64(b"-1"), None);
    }

    #[test]
    fn doubles_are_read_as_redis_reads_them() {
        for (text, expected) in
            [("1.5", 1.5), ("+.5", 0.5), ("5.", 5.0), ("-1E3", -1000.0), ("0e999", 0.0), ("007", 7.0)]
        {
            assert_eq!(parse_f64(text.as_bytes()), Some(expected), "{text:?}");
        }
        for text in ["inf", "+Inf", "INFINITY"] {
            assert_eq!(parse_f64(text.as_bytes()), Some(f64::INFINITY), "{text:?}");
        }
        for text in
            ["", " 1", "1 ", "nan", "-nan", "1e400", "-1e400", "1e-400", "1e", ".", "1,5", "1f", "in", "\u{ff11}"]
        {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_f64(b"\xff"), None);
        assert_eq!(parse_f64(b"4e-324"), Some(5e-324), "the smallest denormal is not zero");
    }

    #[test]
    fn doubles_are_written_as_redis_writes_them() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-3.25, "-3.25"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e17, "100000000000000000"),
            (4611686018427387904.0, "4611686018427387904"),
            (1e19, "1e+19"),
            (1.5e300, "1.5e+300"),
            (123456789012345680000.0, "123456789012345680000"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-7, "1.5e-7"),
            (1.25e-10, "1.25e-10"),
            (0.00012345678901234567, "1.2345678901234567e-4"),
            (0.0012345678901234567, "0.0012345678901234567"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
        ] {
            assert_eq!(format_f64(value), expected);
        }
    }

    proptest! {
        #[test]
        fn integers_read_back(value: i64) {
            prop_assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
            prop_assert_eq!(parse_u64(value.unsigned_abs().to_string().as_bytes()), Some(value.unsigned_abs()));
        }

        #[test]
        fn text_is_an_integer_only_if_it_is_written_so(text in "[-+ 0-9]{0,21}") {
            let canonical = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(parse_i64(text.as_bytes()), canonical);
        }

        #[test]
        fn doubles_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(parse_f64(format_f64(value).as_bytes()).map(f64::to_bits), Some(bits));
        }

        #[test]
        fn numbers_are_read_without_panics(text in proptest::collection::vec(any::<u8>(), 0..40), digits in "[-+.e0-9]{0,40}") {
            for text in [&text, digits.as_bytes()] {
                let _ = (parse_i64(text), parse_u64(text));
                // Both floating point readers take the same notation; their ranges differ.
                let in_range = |text: &[u8]| !text.contains(&b'e');
                if in_range(text) {
                    prop_assert_eq!(parse_f64(text).is_some(), parse_long_double(text).is_some());
                }
            }
        }
    }
}
