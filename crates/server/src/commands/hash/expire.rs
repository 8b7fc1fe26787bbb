//! HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT, HPERSIST: fields that expire by themselves.

use super::fields::{COUNT_NOT_ABOVE_ZERO, COUNT_NOT_POSITIVE, TimeForm, fields};
use super::{BASE, GROWS, WRITES, peek};
use crate::command::{Args, CommandError, Context, Spec};
use std::collections::HashSet;
use sutra_protocol::Reply;

/// HEXPIRE.
pub(in crate::commands) static HEXPIRE: Spec = Spec {
    name: "hexpire",
    summary: "Sets the expiry of fields, as seconds from now.",
    syntax: "key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
    run: |args, cx| expire(args, cx, TimeForm::EX, "hexpire"),
    ..HEXPIRE_ROW
};

/// HPEXPIRE.
pub(in crate::commands) static HPEXPIRE: Spec = Spec {
    name: "hpexpire",
    summary: "Sets the expiry of fields, as milliseconds from now.",
    syntax: "key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
    run: |args, cx| expire(args, cx, TimeForm::PX, "hpexpire"),
    ..HEXPIRE_ROW
};

/// HEXPIREAT.
pub(in crate::commands) static HEXPIREAT: Spec = Spec {
    name: "hexpireat",
    summary: "Sets the expiry of fields, as a Unix time in seconds.",
    syntax: "key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
    run: |args, cx| expire(args, cx, TimeForm::EXAT, "hexpireat"),
    ..HEXPIRE_ROW
};

/// HPEXPIREAT.
pub(in crate::commands) static HPEXPIREAT: Spec = Spec {
    name: "hpexpireat",
    summary: "Sets the expiry of fields, as a Unix time in milliseconds.",
    syntax: "key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
    run: |args, cx| expire(args, cx, TimeForm::PXAT, "hpexpireat"),
    ..HEXPIRE_ROW
};

/// HPERSIST.
pub(in crate::commands) static HPERSIST: Spec = Spec {
    name: "hpersist",
    arity: -5,
    flags: WRITES,
    since: "7.4.0",
    complexity: "O(N) where N is the number of specified fields.",
    summary: "Removes the expiry of fields.",
    syntax: "key FIELDS numfields field [field ...]",
    run: hpersist,
    ..BASE
};

const HEXPIRE_ROW: Spec = Spec {
    arity: -6,
    flags: GROWS,
    since: "7.4.0",
    complexity: "O(N) where N is the number of specified fields.",
    ..BASE
};

/// What a field's reply says.
mod outcome {
    pub(super) const NO_FIELD: i64 = -2;
    pub(super) const NO_EXPIRY: i64 = -1;
    pub(super) const NOT_MET: i64 = 0;
    pub(super) const DONE: i64 = 1;
    pub(super) const REMOVED: i64 = 2;
}

/// Which fields get the new expiry.
#[derive(Debug, Clone, Copy)]
enum Condition {
    Always,
    /// Those without one.
    Nx,
    /// Those with one.
    Xx,
    /// Those whose expiry is earlier than the new one.
    Gt,
    /// Those whose expiry is later than the new one, or that have none.
    Lt,
}

impl Condition {
    fn take(args: &mut Args<'_>) -> Condition {
        let words = [("NX", Condition::Nx), ("XX", Condition::Xx), ("GT", Condition::Gt), ("LT", Condition::Lt)];
        words.into_iter().find(|(word, _)| args.take_word(word)).map_or(Condition::Always, |(_, condition)| condition)
    }

    fn met(self, old: Option<u64>, new: u64) -> bool {
        match self {
            Condition::Always => true,
            Condition::Nx => old.is_none(),
            Condition::Xx => old.is_some(),
            Condition::Gt => old.is_some_and(|old| new > old),
            Condition::Lt => old.is_none_or(|old| new < old),
        }
    }
}

fn expire<'t>(
    mut args: Args<'t>,
    cx: &'t mut Context<'_, '_>,
    form: TimeForm,
    command: &str,
) -> Result<Reply<'t>, CommandError> {
    let (db, key, now_ms) = (cx.db(), args.take()?, cx.now_ms);
    let hash = peek(cx, key)?;
    let at_ms = form.take(&mut args, now_ms, command)?;
    let condition = Condition::take(&mut args);
    let fields = fields(&mut args, COUNT_NOT_ABOVE_ZERO)?;
    let removes = at_ms <= now_ms;
    let mut changes = Changes::default();
    let outcomes = fields.iter().map(|field| {
        // A field that is named again is seen as its first turn has left it.
        let old = match (changes.contains(field), removes) {
            (false, _) => hash.and_then(|hash| hash.field_expiry(field, now_ms)),
            (true, true) => None,
            (true, false) => Some(Some(at_ms)),
        };
        Reply::Integer(match old {
            None => outcome::NO_FIELD,
            Some(old) if !condition.met(old, at_ms) => outcome::NOT_MET,
            Some(_) => {
                changes.add(field);
                if removes { outcome::REMOVED } else { outcome::DONE }
            }
        })
    });
    let outcomes = outcomes.collect();
    cx.txn.hash_expire(db, key, &changes.fields, Some(at_ms))?;
    Ok(Reply::Array(outcomes))
}

fn hpersist<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (db, key, now_ms) = (cx.db(), args.take()?, cx.now_ms);
    let hash = peek(cx, key)?;
    let fields = fields(&mut args, COUNT_NOT_POSITIVE)?;
    let mut changes = Changes::default();
    let outcomes = fields.iter().map(|field| {
        Reply::Integer(match hash.and_then(|hash| hash.field_expiry(field, now_ms)) {
            None => outcome::NO_FIELD,
            Some(None) => outcome::NO_EXPIRY,
            Some(Some(_)) if changes.contains(field) => outcome::NO_EXPIRY,
            Some(Some(_)) => {
                changes.add(field);
                outcome::DONE
            }
        })
    });
    let outcomes = outcomes.collect();
    cx.txn.hash_expire(db, key, &changes.fields, None)?;
    Ok(Reply::Array(outcomes))
}

/// The fields that a command has decided to change, in their order, each once.
#[derive(Default)]
struct Changes<'t> {
    fields: Vec<&'t [u8]>,
    known: HashSet<&'t [u8]>,
}

impl<'t> Changes<'t> {
    fn contains(&self, field: &[u8]) -> bool {
        self.known.contains(field)
    }

    fn add(&mut self, field: &'t [u8]) {
        if self.known.insert(field) {
            self.fields.push(field);
        }
    }
}
