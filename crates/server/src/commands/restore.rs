//! RESTORE.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::rdb::{self, HashField, Restored};
use std::collections::BTreeMap;
use sutra_protocol::Reply;
use sutra_shard::{Put, Txn};

/// RESTORE.
pub(super) static SPEC: Spec = Spec {
    name: "restore",
    arity: -4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::FIRST,
    group: "generic",
    since: "2.6.0",
    complexity: "O(1) to create the new key and additional O(N*M) to reconstruct the serialized value, where N is the number of \
                 Redis objects composing the value and M their average size.",
    summary: "Creates a key from the serialized representation of a value.",
    syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
    subcommands: &[],
    run,
};

#[derive(Debug, Default)]
struct Options {
    replace: bool,
    absolute: bool,
}

fn run<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (db, key) = (cx.db(), args.take()?);
    // Redis reads them from the back to the front.
    let (ttl, payload) = (args.take()?, args.take()?);
    let options = options(&mut args)?;
    if !options.replace && cx.txn.peek(db, key).is_some() {
        return Err(CommandError::text("BUSYKEY Target key name already exists."));
    }
    let ttl_ms = sutra_protocol::number::parse_i64(ttl).ok_or(CommandError::NotAnInteger)?;
    let ttl_ms = u64::try_from(ttl_ms).map_err(|_| CommandError::text("ERR Invalid TTL value, must be >= 0"))?;
    let value = rdb::restore(payload).map_err(|error| CommandError::text(format!("ERR {error}")))?;

    let base_ms = if options.absolute { 0 } else { cx.now_ms };
    let expires_at_ms = (ttl_ms > 0).then(|| base_ms.saturating_add(ttl_ms));
    if expires_at_ms.is_some_and(|at_ms| at_ms <= cx.now_ms) {
        cx.txn.delete(db, key);
        return Ok(Reply::Ok);
    }
    match value {
        Restored::String(string) => cx.txn.put(db, key, &string, Put { expires_at_ms, cost: None })?,
        Restored::Hash(fields) => {
            cx.txn.delete(db, key);
            restore_hash(cx.txn, db, key, &fields)?;
            if expires_at_ms.is_some() {
                cx.txn.set_expiry(db, key, expires_at_ms)?;
            }
        }
    }
    Ok(Reply::Ok)
}

/// Makes a hash of these fields under a key that is free.
pub(super) fn restore_hash(
    txn: &mut Txn<'_>,
    db: u8,
    key: &[u8],
    fields: &[HashField<'_>],
) -> Result<(), CommandError> {
    let pairs: Vec<(&[u8], &[u8])> = fields.iter().map(|field| (&*field.field, &*field.value)).collect();
    txn.hash_set(db, key, &pairs, false)?;
    // Fields that expire together are usually set together: one change of the entry for each time.
    let mut expiring: BTreeMap<u64, Vec<&[u8]>> = BTreeMap::new();
    for HashField { field, expires_at_ms, .. } in fields {
        if let Some(at_ms) = expires_at_ms {
            expiring.entry(*at_ms).or_default().push(field);
        }
    }
    for (at_ms, fields) in expiring {
        txn.hash_expire(db, key, &fields, Some(at_ms))?;
    }
    Ok(())
}

/// IDLETIME and FREQ are checked as Redis does and then dropped: the restored entry counts as just written.
fn options(args: &mut Args<'_>) -> Result<Options, CommandError> {
    let (mut options, mut idle, mut frequency) = (Options::default(), false, false);
    while args.peek().is_some() {
        if args.take_word("REPLACE") {
            options.replace = true;
        } else if args.take_word("ABSTTL") {
            options.absolute = true;
        } else if args.remaining() > 1 && !frequency && args.take_word("IDLETIME") {
            idle = true;
            if args.take_i64()? < 0 {
                return Err(CommandError::text("ERR Invalid IDLETIME value, must be >= 0"));
            }
        } else if args.remaining() > 1 && !idle && args.take_word("FREQ") {
            frequency = true;
            if !(0..=255).contains(&args.take_i64()?) {
                return Err(CommandError::text("ERR Invalid FREQ value, must be >= 0 and <= 255"));
            }
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(options)
}
