//! CACHE.FEEDBACK, CACHE.TAGS, CACHE.TOP: what users say of entries, how they are labelled, which are asked for most.

use super::answer::{integer, map, meaning_error};
use super::text::leave_job;
use super::words::{SECONDS_MAX, Words, shown};
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;

/// CACHE.FEEDBACK.
pub static FEEDBACK: Spec = Spec {
    name: "cache.feedback",
    arity: 3,
    flags: Flags::WRITE.and(Flags::ALONE),
    keys: Keys::None,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(1)",
    summary: "Notes whether an entry that was found by meaning was a good answer; whether there is such an entry.",
    syntax: "key (good | bad)",
    subcommands: &[],
    run: feedback,
};

/// CACHE.TAGS.
pub static TAGS: Spec = Spec {
    name: "cache.tags",
    arity: 1,
    flags: Flags::READONLY.and(Flags::ALONE),
    keys: Keys::None,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(N) with N being the tagged entries of the database.",
    summary: "Returns the tags of the database's entries with the number of entries each, most first.",
    syntax: "",
    subcommands: &[],
    run: tags,
};

/// CACHE.TOP.
pub static TOP: Spec = Spec {
    name: "cache.top",
    arity: -1,
    flags: Flags::READONLY.and(Flags::ALONE),
    keys: Keys::None,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(N) with N being the entries of native commands.",
    summary: "Returns the entries that were found most often.",
    syntax: "[count] [SINCE seconds]",
    subcommands: &[],
    run: top,
};

/// Entries that CACHE.TOP shows unless told otherwise.
const TOP_DEFAULT: usize = 10;

fn feedback<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut words = Words::new("CACHE.FEEDBACK", args, cx.server);
    let key = words.need("the key")?.to_vec();
    let good = if words.word("good") {
        true
    } else if words.word("bad") {
        false
    } else {
        let word = words.need("the word")?;
        return Err(words.mistake(format_args!("feedback is good or bad, got {}", shown(word))));
    };
    let db = cx.session.db;
    Ok(leave_job(cx, false, move |work| {
        let noted = work.server.shard.feedback(db, &key, good, work.now_ms).map_err(meaning_error)?;
        Ok(Reply::Integer(i64::from(noted)))
    }))
}

fn tags<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let db = cx.session.db;
    Ok(leave_job(cx, true, move |work| {
        let tags = work.server.shard.tags(db, work.now_ms).into_iter();
        Ok(Reply::Map(tags.map(|(tag, count)| (Reply::BulkOwned(tag), integer(count))).collect()))
    }))
}

fn top<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut words = Words::new("CACHE.TOP", args, cx.server);
    let (mut count, mut within_ms) = (None, None);
    while words.any() {
        if words.word("SINCE") {
            words.once(&within_ms, "SINCE")?;
            within_ms = Some(words.seconds_ms("SINCE", SECONDS_MAX)?);
        } else if count.is_none() {
            count = Some(words.number("TOP", "count", 1, words.limits.count_max as u64)? as usize);
        } else {
            return Err(words.not_understood());
        }
    }
    let db = cx.session.db;
    Ok(leave_job(cx, true, move |work| {
        let since_ms = within_ms.map(|within| work.now_ms.saturating_sub(within));
        let entries = work.server.shard.top(db, count.unwrap_or(TOP_DEFAULT), since_ms, work.now_ms).into_iter();
        let line = |entry: sutra_shard::TopEntry| {
            map(vec![
                ("key", Reply::BulkOwned(entry.key)),
                ("space", entry.space.map_or(Reply::Null, Reply::BulkOwned)),
                ("hits", integer(entry.hits)),
                ("age_ms", integer(entry.age_ms)),
                ("bytes", integer(entry.bytes)),
            ])
        };
        Ok(Reply::Array(entries.map(line).collect()))
    }))
}
