//! EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT.

use super::expiry::{TimeUnit, invalid_expire_time};
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;

/// EXPIRE.
pub static EXPIRE: Spec = Spec {
    name: "expire",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "generic",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Sets the expiration time of a key in seconds.",
    syntax: "key seconds [NX | XX | GT | LT]",
    subcommands: &[],
    run: expire,
};

/// PEXPIRE.
pub static PEXPIRE: Spec = Spec {
    name: "pexpire",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "generic",
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Sets the expiration time of a key in milliseconds.",
    syntax: "key milliseconds [NX | XX | GT | LT]",
    subcommands: &[],
    run: pexpire,
};

/// EXPIREAT.
pub static EXPIREAT: Spec = Spec {
    name: "expireat",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "generic",
    since: "1.2.0",
    complexity: "O(1)",
    summary: "Sets the expiration time of a key to a Unix timestamp.",
    syntax: "key unix-time-seconds [NX | XX | GT | LT]",
    subcommands: &[],
    run: expireat,
};

/// PEXPIREAT.
pub static PEXPIREAT: Spec = Spec {
    name: "pexpireat",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "generic",
    since: "2.6.0",
    complexity: "O(1)",
    summary: "Sets the expiration time of a key to a Unix milliseconds timestamp.",
    syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
    subcommands: &[],
    run: pexpireat,
};

/// When an expiry is set. GT and LT compare with the present one; none counts as infinite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    /// Reads NX, XX, GT and LT in any order, up to the last argument.
    fn read(args: &mut Args<'_>) -> Result<Conditions, CommandError> {
        let mut conditions = Conditions::default();
        while let Some(word) = args.peek() {
            if !conditions.take(args) {
                let word = String::from_utf8_lossy(word);
                return Err(CommandError::text(format!("ERR Unsupported option {word}")));
            }
        }
        conditions.check()?;
        Ok(conditions)
    }

    /// Takes one condition, if one is next.
    pub(super) fn take(&mut self, args: &mut Args<'_>) -> bool {
        let given = [("NX", &mut self.nx), ("XX", &mut self.xx), ("GT", &mut self.gt), ("LT", &mut self.lt)]
            .into_iter()
            .find(|(name, _)| args.take_word(name));
        given.map(|(_, flag)| *flag = true).is_some()
    }

    /// Refuses conditions that exclude each other.
    pub(super) fn check(self) -> Result<(), CommandError> {
        if self.nx && (self.xx || self.gt || self.lt) {
            return Err(CommandError::text("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if self.gt && self.lt {
            return Err(CommandError::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(())
    }

    /// Whether the new expiry may replace the present one.
    pub(super) fn met(self, at_ms: i64, present_ms: Option<u64>) -> bool {
        let present = present_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        (!self.nx || present.is_none())
            && (!self.xx || present.is_some())
            && (!self.gt || present.is_some_and(|present| at_ms > present))
            && (!self.lt || present.is_none_or(|present| at_ms < present))
    }
}

fn expire<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    set_expiry(args, cx, TimeUnit::Ex, "expire")
}

fn pexpire<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    set_expiry(args, cx, TimeUnit::Px, "pexpire")
}

fn expireat<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    set_expiry(args, cx, TimeUnit::ExAt, "expireat")
}

fn pexpireat<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    set_expiry(args, cx, TimeUnit::PxAt, "pexpireat")
}

fn set_expiry<'t>(
    mut args: Args<'t>,
    cx: &'t mut Context<'_, '_>,
    unit: TimeUnit,
    command: &str,
) -> Result<Reply<'t>, CommandError> {
    let (key, amount) = (args.take()?, args.take()?);
    let conditions = Conditions::read(&mut args)?;
    let amount = sutra_protocol::number::parse_i64(amount).ok_or(CommandError::NotAnInteger)?;
    let at_ms = unit.instant_ms(amount, cx.now_ms).ok_or_else(|| invalid_expire_time(command))?;
    let db = cx.session.db;
    let Some(entry) = cx.txn.peek(db, key) else { return Ok(Reply::Integer(0)) };
    if !conditions.met(at_ms, entry.expires_at_ms) {
        return Ok(Reply::Integer(0));
    }
    // A time in the past, even before 1970, removes the entry.
    cx.txn.set_expiry(db, key, Some(u64::try_from(at_ms).unwrap_or(0)))?;
    Ok(Reply::Integer(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_compare_with_the_present_expiry_and_none_is_infinite() {
        let none = Conditions::default();
        let (nx, xx) = (Conditions { nx: true, ..none }, Conditions { xx: true, ..none });
        let (gt, lt) = (Conditions { gt: true, ..none }, Conditions { lt: true, ..none });
        for (conditions, at_ms, present, met) in [
            (none, 5, None, true),
            (none, 5, Some(9), true),
            (nx, 5, None, true),
            (nx, 5, Some(9), false),
            (xx, 5, None, false),
            (xx, 5, Some(9), true),
            (gt, 5, None, false),
            (gt, 5, Some(5), false),
            (gt, 6, Some(5), true),
            (lt, 5, None, true),
            (lt, 5, Some(5), false),
            (lt, 4, Some(5), true),
            (Conditions { xx: true, ..lt }, 4, None, false),
        ] {
            assert_eq!(conditions.met(at_ms, present), met, "{conditions:?} {at_ms} {present:?}");
        }
    }
}
