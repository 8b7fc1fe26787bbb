//! Arguments that several commands on fields share: `FIELDS n field …`, and times of expiry.

use crate::command::{Args, CommandError};

/// Said by the commands of Redis 7.4 that read fields if the number before them is no positive integer.
pub(super) const COUNT_NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

/// Said by the HEXPIRE family.
pub(super) const COUNT_NOT_ABOVE_ZERO: &str = "ERR Parameter `numFields` should be greater than 0";

/// The last instant a field can expire at: Redis keeps it in 46 bits of milliseconds (the year 4199).
const EXPIRES_AT_MS_MAX: i64 = (1 << 46) - 1;

/// Takes `FIELDS n` and the n fields behind it, which must be all that is left.
pub(super) fn fields<'t>(args: &mut Args<'t>, count_text: &'static str) -> Result<&'t [&'t [u8]], CommandError> {
    if !args.take_word("FIELDS") {
        return Err(CommandError::text("ERR Mandatory argument FIELDS is missing or not at the right position"));
    }
    let count = args.take_i64().ok().and_then(|count| usize::try_from(count).ok()).filter(|&count| count > 0);
    let count = count.ok_or(CommandError::text(count_text))?;
    if count != args.remaining() {
        return Err(CommandError::text("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(args.rest())
}

/// How a time is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeForm {
    /// Seconds instead of milliseconds.
    pub seconds: bool,
    /// Counted from 1970 instead of from now.
    pub absolute: bool,
}

impl TimeForm {
    pub(super) const EX: TimeForm = TimeForm { seconds: true, absolute: false };
    pub(super) const PX: TimeForm = TimeForm { seconds: false, absolute: false };
    pub(super) const EXAT: TimeForm = TimeForm { seconds: true, absolute: true };
    pub(super) const PXAT: TimeForm = TimeForm { seconds: false, absolute: true };

    /// The form that a word (`EX`, `PX`, `EXAT`, `PXAT`) announces.
    pub(super) fn from_word(word: &[u8]) -> Option<TimeForm> {
        let forms = [("EX", Self::EX), ("PX", Self::PX), ("EXAT", Self::EXAT), ("PXAT", Self::PXAT)];
        forms.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, form)| form)
    }

    /// Takes a time of this form: Unix milliseconds. `command` stands in the error.
    pub(super) fn take(self, args: &mut Args<'_>, now_ms: u64, command: &str) -> Result<u64, CommandError> {
        let time = args.take_i64()?;
        if time < 0 {
            return Err(CommandError::text("ERR invalid expire time, must be >= 0"));
        }
        let base_ms = if self.absolute { Some(0) } else { i64::try_from(now_ms).ok() };
        let unit_ms = if self.seconds { 1000 } else { 1 };
        time.checked_mul(unit_ms)
            .zip(base_ms)
            .and_then(|(time_ms, base_ms)| time_ms.checked_add(base_ms))
            .filter(|&at_ms| at_ms <= EXPIRES_AT_MS_MAX)
            .and_then(|at_ms| u64::try_from(at_ms).ok())
            .ok_or_else(|| CommandError::text(format!("ERR invalid expire time in '{command}' command")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_refused_below_zero_and_beyond_the_last_instant() {
        for (form, time, now_ms, expected) in [
            (TimeForm::EX, "10", 5, Some(10_005)),
            (TimeForm::PX, "10", 5, Some(15)),
            (TimeForm::EXAT, "10", 5, Some(10_000)),
            (TimeForm::PXAT, "70368744177663", 5, Some(70_368_744_177_663)),
            (TimeForm::PXAT, "70368744177664", 5, None),
            (TimeForm::PX, "70368744177663", 5, None),
            (TimeForm::EX, "9223372036854775807", 5, None),
            (TimeForm::PX, "-1", 5, None),
            (TimeForm::PX, "x", 5, None),
        ] {
            let items = [time.as_bytes()];
            let taken = form.take(&mut Args::new(&items, 0), now_ms, "hexpire");
            assert_eq!(taken.ok(), expected, "{form:?} {time}");
        }
    }
}
