//! CACHE.WARM IMPORT.

use super::super::answer::{integer, meaning_error};
use super::super::text::{check_default_dimension, leave_job};
use super::super::vector;
use super::super::words::Words;
use super::blob::{Blob, BlobNotes, BlobValue, BlobVector};
use crate::command::{Args, CommandError, Context};
use crate::commands::restore::restore_hash;
use crate::job::Work;
use crate::rdb::{self, Restored};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use sutra_protocol::Reply;
use sutra_shard::{Annotations, MeaningError, Origin, Put, Scope, Space, SpaceOptions, Txn, VectorOf, vector_for};

const NAME: &str = "CACHE.WARM IMPORT";

#[derive(Debug, Clone, Copy)]
struct Options {
    db: u8,
    /// Entries that are there already are written over.
    replace: bool,
    /// What lives no longer than so many milliseconds is left out.
    ttl_min_ms: u64,
}

/// A blob that was looked through: it can be stored, as far as that can be told beforehand.
#[derive(Debug)]
struct Sound<'b> {
    blob: Blob<'b>,
    value: Restored<'b>,
    /// Name and options of its space.
    space: Option<(Vec<u8>, SpaceOptions)>,
}

pub(super) fn run<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut words = Words::new(NAME, args, cx.server);
    let (mut replace, mut ttl_min_ms) = (false, None);
    loop {
        if !replace && words.word("REPLACE") {
            replace = true;
        } else if ttl_min_ms.is_none() && words.word("TTLMIN") {
            ttl_min_ms = Some(words.number("TTLMIN", "milliseconds", 0, i64::MAX as u64)?);
        } else {
            break;
        }
    }
    if !words.any() {
        return Err(words.mistake("the blobs are missing"));
    }
    let options = Options { db: cx.session.db, replace, ttl_min_ms: ttl_min_ms.unwrap_or(0) };
    let blobs: Vec<Vec<u8>> = words.rest().iter().map(|blob| blob.to_vec()).collect();
    Ok(leave_job(cx, true, move |work| import(work, &blobs, options).map(integer)))
}

/// Stores the blobs, one transaction each; nothing at all if one of them could not be stored by anybody.
fn import(work: &mut Work<'_>, blobs: &[Vec<u8>], options: Options) -> Result<u64, CommandError> {
    let mut found: Vec<Sound<'_>> = Vec::with_capacity(blobs.len());
    let mut spaces: HashMap<Vec<u8>, SpaceOptions> = HashMap::new();
    for (at, bytes) in blobs.iter().enumerate() {
        let refuse = |what: &dyn Display| {
            let (number, all) = (at + 1, blobs.len());
            CommandError::text(format!("ERR {NAME}: blob {number} of {all} {what}; nothing was stored"))
        };
        let blob = Blob::decode(bytes).map_err(|bad| refuse(&bad))?;
        let sound = look_through(work, blob).map_err(|why| refuse(&format_args!("is refused: {}", bare(&why))))?;
        if let Some((name, wanted)) = &sound.space {
            let there = work.server.shard.space(name).map(|space| space.options().clone());
            let other = there.as_ref().or_else(|| spaces.get(name));
            if let Some(other) = other {
                agree(name, other, wanted).map_err(|why| refuse(&format_args!("is refused: {why}")))?;
            } else {
                spaces.insert(name.clone(), wanted.clone());
            }
        }
        found.push(sound);
    }
    let mut stored = 0;
    for (at, sound) in found.iter().enumerate() {
        stored += u64::from(store(work, sound, options).map_err(|error| {
            let (number, all) = (at + 1, blobs.len());
            CommandError::text(format!("{error} ({NAME}: blob {number} of {all}; {stored} were stored before it)"))
        })?);
    }
    Ok(stored)
}

/// An error without its prefix and without the command's name, to be part of another.
fn bare(error: &CommandError) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("ERR ").unwrap_or(&text);
    text.strip_prefix(NAME).and_then(|text| text.strip_prefix(": ")).unwrap_or(text).to_owned()
}

/// What can be said against a blob without looking at what is stored here.
fn look_through<'b>(work: &Work<'_>, blob: Blob<'b>) -> Result<Sound<'b>, CommandError> {
    let words = Words::new(NAME, Args::new(&[], 0), work.server);
    let value = match blob.value {
        BlobValue::String(value) => Restored::String(Cow::Borrowed(value)),
        BlobValue::Dump(payload) => rdb::restore(payload).map_err(|error| CommandError::text(error.to_string()))?,
    };
    let Some(notes) = &blob.notes else { return Ok(Sound { blob, value, space: None }) };
    let Restored::String(string) = &value else {
        return Err(CommandError::text("only strings have what a native command writes beside them"));
    };
    words.within("tags", notes.tags.len(), words.limits.tags_max, "entry-tags-max")?;
    words.within("sources", notes.deps.len(), words.limits.sources_max, "entry-sources-max")?;
    let names = notes.tags.iter().copied().chain(notes.deps.iter().map(|(name, _)| *name));
    for name in names {
        words.within("bytes in a tag or a source's name", name.len(), words.limits.tag_bytes_max, "tag-bytes-max")?;
    }
    if !notes.meta.is_empty() {
        words.check_meta(notes.meta)?;
    }
    let space = match notes.vector {
        BlobVector::None => None,
        BlobVector::Given(vector) => Some(check_space(work, &words, notes, vector)?),
        BlobVector::Value => Some(check_space(work, &words, notes, string)?),
    };
    Ok(Sound { blob, value, space })
}

fn check_space(
    work: &Work<'_>,
    words: &Words<'_>,
    notes: &BlobNotes<'_>,
    vector: &[u8],
) -> Result<(Vec<u8>, SpaceOptions), CommandError> {
    let (name, options) =
        notes.options().ok_or_else(|| CommandError::text("the description of its space is not understood"))?;
    vector::check(words, vector)?;
    let (got, expected) = (vector.len() / 4, options.dimension);
    if got != expected {
        let name = String::from_utf8_lossy(&name);
        return Err(CommandError::text(format!("the vector has {got} dimensions, space '{name}' has {expected}")));
    }
    if work.server.shard.space(&name).is_none() {
        check_default_dimension(work.server, &name, options.dimension)?;
    }
    Ok((name, options))
}

/// Whether vectors of the one space may stand in the other. What is kept of a vector, and the guard, is each shard's own affair.
fn agree(name: &[u8], own: &SpaceOptions, wanted: &SpaceOptions) -> Result<(), String> {
    let name = String::from_utf8_lossy(name);
    if own.dimension != wanted.dimension {
        let (own, wanted) = (own.dimension, wanted.dimension);
        return Err(format!("space '{name}' has {own} dimensions here, {wanted} where the entry comes from"));
    }
    if own.metric != wanted.metric {
        let (own, wanted) = (own.metric, wanted.metric);
        return Err(format!("space '{name}' has metric {own:?} here, {wanted:?} where the entry comes from"));
    }
    if own.embedder != wanted.embedder {
        let said = |embedder: &str| if embedder.is_empty() { "none".to_owned() } else { format!("'{embedder}'") };
        let (own, wanted) = (said(&own.embedder), said(&wanted.embedder));
        return Err(format!("space '{name}' has embedder {own} here, {wanted} where the entry comes from"));
    }
    Ok(())
}

/// Stores an entry; whether it was worth it.
fn store(work: &mut Work<'_>, sound: &Sound<'_>, options: Options) -> Result<bool, CommandError> {
    let Sound { blob, value, space } = sound;
    let Options { db, replace, ttl_min_ms } = options;
    if blob.expires_at_ms.is_some_and(|at| at <= work.now_ms.saturating_add(ttl_min_ms)) {
        return Ok(false);
    }
    let shard = &work.server.shard;
    shard.make_room(bytes_of(sound), work.now_ms)?;
    let space = match space {
        Some((name, wanted)) => Some(shard.space_or_create(name, wanted).map_err(meaning_error)?),
        None => None,
    };
    let mut txn = work.begin(Scope::Key(blob.key));
    if !replace && txn.peek(db, blob.key).is_some() {
        return Ok(false);
    }
    let put = Put { expires_at_ms: blob.expires_at_ms, cost: blob.cost };
    let written = match (value, &blob.notes) {
        (Restored::String(string), Some(notes)) => {
            store_annotated(&mut txn, db, blob, string, notes, space.as_ref()).map_err(Refused::Meaning)
        }
        (Restored::String(string), None) => {
            txn.import(db, blob.key, blob.exported_ms, |txn| Ok(txn.put(db, blob.key, string, put)?))
        }
        (Restored::Hash(fields), _) => txn.import(db, blob.key, blob.exported_ms, |txn| {
            txn.delete(db, blob.key);
            restore_hash(txn, db, blob.key, fields)?;
            txn.set_expiry(db, blob.key, blob.expires_at_ms)?;
            Ok(())
        }),
    };
    match written {
        Ok(()) => work.commit(txn).map(|()| true),
        // What an invalidation covers, or holds off, is not to be stored: that is no mistake of the caller's.
        Err(Refused::Meaning(MeaningError::Stale(_) | MeaningError::Held { .. })) => Ok(false),
        Err(Refused::Meaning(error)) => Err(meaning_error(error)),
        Err(Refused::Command(error)) => Err(error),
    }
}

/// Why an entry was not stored.
enum Refused {
    Meaning(MeaningError),
    Command(CommandError),
}

impl From<MeaningError> for Refused {
    fn from(error: MeaningError) -> Refused {
        Refused::Meaning(error)
    }
}

impl From<sutra_shard::WriteError> for Refused {
    fn from(error: sutra_shard::WriteError) -> Refused {
        Refused::Meaning(error.into())
    }
}

impl From<CommandError> for Refused {
    fn from(error: CommandError) -> Refused {
        Refused::Command(error)
    }
}

fn store_annotated(
    txn: &mut Txn<'_>,
    db: u8,
    blob: &Blob<'_>,
    value: &[u8],
    notes: &BlobNotes<'_>,
    space: Option<&Arc<Space>>,
) -> Result<(), MeaningError> {
    let vector = match notes.vector {
        BlobVector::None => VectorOf::None,
        BlobVector::Given(vector) => VectorOf::Given(vector),
        BlobVector::Value => VectorOf::Value,
    };
    let annotations = Annotations {
        space,
        vector: space.map_or(vector, |space| vector_for(space, vector, value)),
        tags: &notes.tags,
        deps: &notes.deps,
        meta: (!notes.meta.is_empty()).then_some(notes.meta),
        facts: None,
    };
    // A clock that is behind the other shard's must not make entries of the future.
    let written_ms = notes.written_ms.min(txn.now_ms());
    let origin = Origin { written_ms, exported_ms: blob.exported_ms, facts: notes.facts };
    let put = Put { expires_at_ms: blob.expires_at_ms, cost: blob.cost };
    txn.import_annotated(db, blob.key, value, put, &annotations, &origin)
}

fn bytes_of(sound: &Sound<'_>) -> u64 {
    let value = match &sound.value {
        Restored::String(string) => string.len(),
        Restored::Hash(fields) => fields.iter().map(|field| field.field.len() + field.value.len() + 64).sum(),
    };
    let notes = sound.blob.notes.as_ref().map_or(0, |notes| {
        let vector = match notes.vector {
            BlobVector::Given(vector) => vector.len(),
            BlobVector::None | BlobVector::Value => 0,
        };
        vector + notes.meta.len() + notes.facts.len()
    });
    (sound.blob.key.len() + value + notes) as u64
}
