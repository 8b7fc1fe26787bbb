//! Commands on hashes, their fields' expiry included.

use crate::command::{CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;
use sutra_shard::{HashValue, Value};

pub(super) mod expire;
pub(super) mod get;
pub(super) mod getall;
pub(super) mod getex;
pub(super) mod increment;
pub(super) mod randfield;
pub(super) mod remove;
pub(super) mod scan;
pub(super) mod set;
pub(super) mod setex;
pub(super) mod ttl;

mod fields;

/// What the rows of hash commands have in common; every row sets its own name, arity, summary, syntax and function.
const BASE: Spec = Spec {
    name: "",
    arity: 0,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "hash",
    since: "2.0.0",
    complexity: "O(1)",
    summary: "",
    syntax: "",
    subcommands: &[],
    run: |_, _| Err(CommandError::Syntax),
};

/// Flags of a command that changes a hash without making it larger.
const WRITES: Flags = Flags::WRITE.and(Flags::FAST);

/// Flags of a command that may need more memory.
const GROWS: Flags = Flags::WRITE.and(Flags::FAST).and(Flags::DENYOOM);

/// The hash that a command is about to change: unlike [`Txn::hash`](sutra_shard::Txn::hash) this counts no hit and no miss, as in Redis.
fn peek<'t>(cx: &'t Context<'_, '_>, key: &[u8]) -> Result<Option<&'t HashValue>, CommandError> {
    match cx.txn.peek(cx.db(), key).map(|entry| entry.value) {
        None => Ok(None),
        Some(Value::Hash(hash)) => Ok(Some(hash)),
        Some(Value::String(_)) => Err(CommandError::WrongType),
    }
}

fn count(number: usize) -> Reply<'static> {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn bulk_or_null(value: Option<&[u8]>) -> Reply<'_> {
    value.map_or(Reply::Null, Reply::Bulk)
}
