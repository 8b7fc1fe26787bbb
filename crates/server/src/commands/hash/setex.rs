//! HSETEX.

use super::fields::TimeForm;
use super::{BASE, GROWS, peek};
use crate::command::{Args, CommandError, Context, Spec};
use sutra_protocol::Reply;

/// HSETEX.
pub(in crate::commands) static HSETEX: Spec = Spec {
    name: "hsetex",
    arity: -6,
    flags: GROWS,
    since: "8.0.0",
    complexity: "O(N) where N is the number of fields being set.",
    summary: "Sets the values of fields and their expiry.",
    syntax: "key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] \
             FIELDS numfields field value [field value ...]",
    run: hsetex,
    ..BASE
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Condition {
    Always,
    /// No field may exist.
    Fnx,
    /// All fields must exist.
    Fxx,
}

#[derive(Debug, Clone, Copy)]
enum Expiry {
    Cleared,
    Kept,
    At(u64),
}

struct Options<'t> {
    condition: Condition,
    expiry: Expiry,
    pairs: Vec<(&'t [u8], &'t [u8])>,
}

fn hsetex<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (db, key, now_ms) = (cx.db(), args.take()?, cx.now_ms);
    let Options { condition, expiry, pairs } = options(&mut args, now_ms)?;
    let hash = peek(cx, key)?;
    let exists = |(field, _): &(&[u8], &[u8])| hash.is_some_and(|hash| hash.contains(field, now_ms));
    let met = match condition {
        Condition::Always => true,
        Condition::Fnx => !pairs.iter().any(exists),
        Condition::Fxx => pairs.iter().all(exists),
    };
    if !met {
        return Ok(Reply::Integer(0));
    }
    cx.txn.hash_set(db, key, &pairs, matches!(expiry, Expiry::Kept))?;
    if let Expiry::At(at_ms) = expiry {
        let fields: Vec<&[u8]> = pairs.iter().map(|&(field, _)| field).collect();
        cx.txn.hash_expire(db, key, &fields, Some(at_ms))?;
    }
    Ok(Reply::Integer(1))
}

fn options<'t>(args: &mut Args<'t>, now_ms: u64) -> Result<Options<'t>, CommandError> {
    let arity = || CommandError::Arity("hsetex".into());
    let (mut condition, mut expiry) = (None, None);
    while let Some(word) = args.take_optional() {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("FIELDS") {
            if args.remaining() < 3 {
                return Err(arity());
            }
            let count = args.take_i64().ok().filter(|&count| (1..=i64::from(i32::MAX)).contains(&count));
            let count = count.ok_or(CommandError::text("ERR invalid number of fields"))?;
            let (pairs, odd) = args.rest().as_chunks::<2>();
            if !odd.is_empty() || usize::try_from(count) != Ok(pairs.len()) {
                return Err(arity());
            }
            let pairs = pairs.iter().map(|&[field, value]| (field, value)).collect();
            let (condition, expiry) = (condition.unwrap_or(Condition::Always), expiry.unwrap_or(Expiry::Cleared));
            return Ok(Options { condition, expiry, pairs });
        }
        let form = TimeForm::from_word(word);
        if form.is_some() || is("KEEPTTL") {
            if expiry.is_some() {
                return Err(CommandError::text(
                    "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
                ));
            }
            expiry = Some(match form {
                None => Expiry::Kept,
                Some(_) if args.peek().is_none() => return Err(CommandError::text("ERR missing expire time")),
                Some(form) => Expiry::At(form.take(args, now_ms, "hsetex")?),
            });
        } else if is("FNX") || is("FXX") {
            if condition.is_some() {
                return Err(CommandError::text("ERR Only one of FXX or FNX arguments can be specified"));
            }
            condition = Some(if is("FNX") { Condition::Fnx } else { Condition::Fxx });
        } else {
            return Err(CommandError::text(format!("ERR unknown argument: {}", String::from_utf8_lossy(word))));
        }
    }
    // Redis takes it for granted that FIELDS is there.
    Err(CommandError::text("ERR Mandatory argument FIELDS is missing or not at the right position"))
}
