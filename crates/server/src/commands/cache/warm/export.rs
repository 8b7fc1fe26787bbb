//! CACHE.WARM EXPORT.

use super::super::text::leave_job;
use super::super::words::{SECONDS_MAX, Words, shown};
use super::blob::{Blob, BlobNotes, BlobValue, BlobVector};
use crate::command::{Args, CommandError, Context};
use crate::job::OwnedReply;
use crate::rdb;
use std::ops::ControlFlow;
use sutra_protocol::Reply;
use sutra_shard::{Export, Exported, Rank, Value};

/// Entries of one part of an export, unless told otherwise.
const COUNT_DEFAULT: usize = 1000;
/// Bytes of one part: it ends with the entry that reaches them.
const PART_BYTES_MAX: usize = 8 << 20;
/// The cursor at which an export begins and ends.
const NO_CURSOR: &[u8] = b"0";

pub(super) fn run<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut words = Words::new("CACHE.WARM EXPORT", args, cx.server);
    let (mut count, mut within_ms, mut glob, mut cursor) = (None, None, None, None);
    while words.any() {
        if words.word("COUNT") {
            words.once(&count, "COUNT")?;
            count = Some(words.number("COUNT", "count", 1, words.limits.count_max as u64)? as usize);
        } else if words.word("SINCE") {
            words.once(&within_ms, "SINCE")?;
            within_ms = Some(words.seconds_ms("SINCE", SECONDS_MAX)?);
        } else if words.word("MATCH") {
            words.once(&glob, "MATCH")?;
            glob = Some(words.need("the pattern behind MATCH")?.to_vec());
        } else if words.word("CURSOR") {
            words.once(&cursor, "CURSOR")?;
            cursor = Some(read_cursor(&mut words)?);
        } else {
            return Err(words.not_understood());
        }
    }
    let db = cx.session.db;
    Ok(leave_job(cx, true, move |work| {
        let export = Export {
            db,
            count: count.unwrap_or(COUNT_DEFAULT),
            since_ms: within_ms.map(|within| work.now_ms.saturating_sub(within)),
            glob: glob.as_deref(),
            after: cursor.flatten(),
        };
        let (mut blobs, mut bytes) = (Vec::new(), 0);
        let next = work.server.shard.export(&export, work.now_ms, &mut |entry| {
            let blob = copy(entry, work.now_ms);
            bytes += blob.len();
            blobs.push(Reply::BulkOwned(blob));
            if bytes >= PART_BYTES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let next = next.map_or_else(|| NO_CURSOR.to_vec(), |rank| rank.to_string().into_bytes());
        Ok::<OwnedReply, _>(Reply::Array(vec![Reply::BulkOwned(next), Reply::Array(blobs)]))
    }))
}

fn read_cursor(words: &mut Words<'_>) -> Result<Option<Rank>, CommandError> {
    let word = words.need("the cursor behind CURSOR")?;
    if word == NO_CURSOR {
        return Ok(None);
    }
    let rank = std::str::from_utf8(word).ok().and_then(|text| text.parse::<Rank>().ok());
    rank.map(Some).ok_or_else(|| {
        words.mistake(format_args!("CURSOR takes 0 or what an earlier part has answered, got {}", shown(word)))
    })
}

fn copy(entry: &Exported<'_>, now_ms: u64) -> Vec<u8> {
    let (dumped, described);
    let value = match entry.value {
        Value::String(string) => BlobValue::String(string.as_slice()),
        Value::Hash(_) => {
            dumped = rdb::dump(entry.value, now_ms);
            BlobValue::Dump(&dumped)
        }
    };
    let notes = match &entry.notes {
        None => None,
        Some(notes) => {
            described = notes.space.as_ref().map(|space| space.describe()).unwrap_or_default();
            let vector = match (&notes.space, notes.is_vector) {
                (None, _) => BlobVector::None,
                (Some(_), true) => BlobVector::Value,
                (Some(_), false) => BlobVector::Given(&notes.vector),
            };
            Some(BlobNotes {
                written_ms: notes.written_ms,
                space: &described,
                vector,
                tags: notes.tags.clone(),
                deps: notes.deps.clone(),
                facts: notes.facts,
                meta: notes.meta,
            })
        }
    };
    let (expires_at_ms, cost) = (entry.put.expires_at_ms, entry.put.cost);
    Blob { exported_ms: now_ms, expires_at_ms, cost, key: entry.key, value, notes }.encode()
}
