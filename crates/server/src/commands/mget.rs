//! MGET, MSET, MSETNX.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec, bulk};
use sutra_protocol::Reply;
use sutra_shard::{Put, Value};

/// MGET.
pub static MGET: Spec = Spec {
    name: "mget",
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::Range { first: 1, last: -1, step: 1 },
    group: "string",
    since: "1.0.0",
    complexity: "O(N) where N is the number of keys to retrieve.",
    summary: "Atomically returns the string values of one or more keys.",
    syntax: "key [key ...]",
    subcommands: &[],
    run: mget,
};

/// MSET.
pub static MSET: Spec = Spec {
    name: "mset",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::Range { first: 1, last: -1, step: 2 },
    group: "string",
    since: "1.0.1",
    complexity: "O(N) where N is the number of keys to set.",
    summary: "Atomically creates or modifies the string values of one or more keys.",
    syntax: "key value [key value ...]",
    subcommands: &[],
    run: mset,
};

/// MSETNX.
pub static MSETNX: Spec = Spec {
    name: "msetnx",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::Range { first: 1, last: -1, step: 2 },
    group: "string",
    since: "1.0.1",
    complexity: "O(N) where N is the number of keys to set.",
    summary: "Atomically modifies the string values of one or more keys only when all keys don't exist.",
    syntax: "key value [key value ...]",
    subcommands: &[],
    run: msetnx,
};

fn mget<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let db = cx.session.db;
    let txn = &*cx.txn;
    let values = args.rest().iter().map(|key| match txn.get(db, key).map(|entry| entry.value) {
        Some(Value::String(value)) => bulk(value),
        // What is no string is answered as if it were missing.
        Some(Value::Hash(_)) | None => Reply::Null,
    });
    Ok(Reply::Array(values.collect()))
}

fn mset<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    put_all(pairs(&args, "mset")?, cx)?;
    Ok(Reply::Ok)
}

fn msetnx<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let pairs = pairs(&args, "msetnx")?;
    if pairs.iter().any(|[key, _]| cx.txn.peek(cx.session.db, key).is_some()) {
        return Ok(Reply::Integer(0));
    }
    put_all(pairs, cx)?;
    Ok(Reply::Integer(1))
}

fn pairs<'t>(args: &Args<'t>, command: &'static str) -> Result<&'t [[&'t [u8]; 2]], CommandError> {
    match args.rest().as_chunks::<2>() {
        (pairs, []) => Ok(pairs),
        (_, _) => Err(CommandError::Arity(command.into())),
    }
}

fn put_all(pairs: &[[&[u8]; 2]], cx: &mut Context<'_, '_>) -> Result<(), CommandError> {
    for [key, value] in pairs {
        cx.txn.put(cx.session.db, key, value, Put::default())?;
    }
    Ok(())
}
