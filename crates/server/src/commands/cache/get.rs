//! CACHE.GET.

use super::answer::{details, integer, map};
use super::noted::{Watch, note_key};
use super::words::Words;
use crate::analytics::ring::Kind;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec, bulk};
use crate::server::Server;
use sutra_protocol::Reply;

/// CACHE.GET.
pub static SPEC: Spec = Spec {
    name: "cache.get",
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::FIRST,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(1)",
    summary: "Returns a value; with its time to live or all its metadata if asked to.",
    syntax: "key [WITHTTL | WITHMETA]",
    subcommands: &[],
    run,
};

/// What is to be told of the entry beside its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum With {
    Nothing,
    /// When it expires: what a tier in front of this one has to know of a value that it keeps.
    Ttl,
    Meta,
}

fn run<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (key, with) = read(args, cx.server)?;
    let (db, server, now_ms) = (cx.session.db, cx.server, cx.now_ms);
    let watch = Watch::start_sometimes(cx);
    let native = &cx.session.client.worker.native;
    if with == With::Meta {
        let Some((value, found)) = cx.txn.details(db, key)? else {
            native.missed();
            note_key(server, Kind::Get, key, None, watch, now_ms);
            return Ok(Reply::Null);
        };
        native.hit(found.cost);
        note_key(server, Kind::Get, key, Some(found.cost), watch, now_ms);
        let mut pairs = vec![("value", Reply::BulkShared(value.to_shared()))];
        pairs.extend(details(found));
        return Ok(map(pairs));
    }
    let Some(served) = cx.txn.serve(db, key)? else {
        native.missed();
        note_key(server, Kind::Get, key, None, watch, now_ms);
        return Ok(Reply::Null);
    };
    native.hit(served.cost);
    note_key(server, Kind::Get, key, Some(served.cost), watch, now_ms);
    let value = bulk(served.value);
    if with == With::Nothing {
        return Ok(value);
    }
    let ttl_ms = served.expires_at_ms.map_or(NO_EXPIRY, |at| integer(at.saturating_sub(now_ms)));
    Ok(Reply::Array(vec![value, ttl_ms]))
}

/// The time to live of what has no end, as PTTL tells it.
const NO_EXPIRY: Reply<'static> = Reply::Integer(-1);

/// The key and what is wanted. The words that are there almost always are looked at first: a cursor with all its limits takes longer than
/// finding the key.
fn read<'t>(args: Args<'t>, server: &Server) -> Result<(&'t [u8], With), CommandError> {
    match args.rest() {
        [key] => return Ok((key, With::Nothing)),
        [key, word] if word.eq_ignore_ascii_case(b"WITHTTL") => return Ok((key, With::Ttl)),
        _ => {}
    }
    let mut words = Words::new("CACHE.GET", args, server);
    let key = words.need("the key")?;
    let with = if words.word("WITHMETA") { With::Meta } else { With::Nothing };
    words.finish()?;
    Ok((key, with))
}
