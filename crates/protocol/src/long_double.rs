//! The numbers of INCRBYFLOAT and HINCRBYFLOAT.

use crate::number::{format_f64, parse_f64};
use std::ops::Add;

/// The number that INCRBYFLOAT and HINCRBYFLOAT calculate with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LongDouble(f64);

impl LongDouble {
    /// Whether it is neither infinite nor not a number: only such a result may be stored.
    #[must_use]
    pub fn is_finite(self) -> bool {
        self.0.is_finite()
    }
}

impl Add for LongDouble {
    type Output = LongDouble;

    fn add(self, other: LongDouble) -> LongDouble {
        LongDouble(self.0 + other.0)
    }
}

/// A number as Redis's `string2ld` reads it: see [`parse_f64`].
#[must_use]
pub fn parse_long_double(text: &[u8]) -> Option<LongDouble> {
    parse_f64(text).map(LongDouble)
}

/// A number as Redis's `ld2string` writes it for people: never with an exponent.
#[must_use]
pub fn format_long_double(value: LongDouble) -> String {
    if value.is_finite() { format!("{}", value.0 + 0.0) } else { format_f64(value.0) }
}
