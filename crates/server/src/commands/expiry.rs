//! Times to live as commands write them: `EX seconds`, `PX milliseconds`, `EXAT` and `PXAT` Unix times.

use crate::command::{Args, CommandError};
use sutra_protocol::number::parse_i64;

/// What the number behind a time option counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::commands) enum TimeUnit {
    /// Seconds from now.
    Ex,
    /// Milliseconds from now.
    Px,
    /// Unix seconds.
    ExAt,
    /// Unix milliseconds.
    PxAt,
}

impl TimeUnit {
    /// The unit that this word of SET or GETEX names, in any case.
    pub(in crate::commands) fn of_word(word: &[u8]) -> Option<TimeUnit> {
        let units = [("EX", TimeUnit::Ex), ("PX", TimeUnit::Px), ("EXAT", TimeUnit::ExAt), ("PXAT", TimeUnit::PxAt)];
        units.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, unit)| unit)
    }

    /// The instant in Unix milliseconds, which may lie in the past; `None` if it is beyond 64 bits.
    pub(in crate::commands) fn instant_ms(self, amount: i64, now_ms: u64) -> Option<i64> {
        let amount_ms = match self {
            TimeUnit::Ex | TimeUnit::ExAt => amount.checked_mul(1000)?,
            TimeUnit::Px | TimeUnit::PxAt => amount,
        };
        match self {
            TimeUnit::Ex | TimeUnit::Px => amount_ms.checked_add(i64::try_from(now_ms).ok()?),
            TimeUnit::ExAt | TimeUnit::PxAt => Some(amount_ms),
        }
    }
}

/// A time option that is not yet read as a number, since commands look at all their words, and some at the key, before that.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) struct TimeOption<'t> {
    unit: TimeUnit,
    amount: &'t [u8],
}

impl<'t> TimeOption<'t> {
    /// A time given at a fixed place (SETEX).
    pub(in crate::commands) fn new(unit: TimeUnit, amount: &'t [u8]) -> TimeOption<'t> {
        TimeOption { unit, amount }
    }

    /// Whether this word begins a time option.
    pub(in crate::commands) fn is_word(word: &[u8]) -> bool {
        TimeUnit::of_word(word).is_some()
    }

    /// Takes a time option if one is next. Of several of one unit the last counts; two units are a syntax error.
    pub(in crate::commands) fn take(args: &mut Args<'t>, earlier: Option<Self>) -> Result<Option<Self>, CommandError> {
        let Some(unit) = args.peek().and_then(TimeUnit::of_word) else { return Ok(None) };
        if earlier.is_some_and(|earlier| earlier.unit != unit) {
            return Err(CommandError::Syntax);
        }
        args.take()?;
        Ok(Some(TimeOption { unit, amount: args.take()? }))
    }

    /// The instant in Unix milliseconds. `command` names the command in the error for an amount below 1 or too large.
    pub(in crate::commands) fn instant_ms(self, now_ms: u64, command: &str) -> Result<u64, CommandError> {
        let amount = parse_i64(self.amount).ok_or(CommandError::NotAnInteger)?;
        let instant_ms = if amount > 0 { self.unit.instant_ms(amount, now_ms) } else { None };
        instant_ms.and_then(|ms| u64::try_from(ms).ok()).ok_or_else(|| invalid_expire_time(command))
    }
}

/// `ERR invalid expire time in '…' command`
pub(in crate::commands) fn invalid_expire_time(command: &str) -> CommandError {
    CommandError::text(format!("ERR invalid expire time in '{command}' command"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_beyond_64_bits_is_none_and_the_past_is_not() {
        assert_eq!(TimeUnit::Ex.instant_ms(2, 1000), Some(3000));
        assert_eq!(TimeUnit::Px.instant_ms(-2000, 1000), Some(-1000));
        assert_eq!(TimeUnit::ExAt.instant_ms(2, 1000), Some(2000));
        assert_eq!(TimeUnit::Ex.instant_ms(i64::MAX / 1000 + 1, 0), None);
        assert_eq!(TimeUnit::Px.instant_ms(i64::MAX, 1), None);
        assert_eq!(TimeUnit::PxAt.instant_ms(i64::MAX, 1), Some(i64::MAX));
    }

    #[test]
    fn the_error_for_an_amount_names_the_command() {
        let amount = |text: &'static str| TimeOption::new(TimeUnit::Ex, text.as_bytes()).instant_ms(0, "setex");
        assert_eq!(amount("3"), Ok(3000));
        assert_eq!(amount("three"), Err(CommandError::NotAnInteger));
        for text in ["0", "-1", "9223372036854776"] {
            assert_eq!(amount(text).unwrap_err().to_string(), "ERR invalid expire time in 'setex' command");
        }
    }
}
