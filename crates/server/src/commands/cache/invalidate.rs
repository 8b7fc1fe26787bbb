//! CACHE.INVALIDATE, CACHE.UNDO, CACHE.LOG: removal by predicate, taken back, looked up.

use super::answer::{integer, map, meaning_error, word};
use super::lookup::check_range;
use super::noted::{Noted, Watch};
use super::text::{Maker, Source, check_dimension, leave, leave_job, similarity, space_for};
use super::vector::Vector;
use super::words::{Conditions, SECONDS_MAX, Threshold, Words};
use crate::analytics::ring::{Kind, NO_SPACE, Outcome};
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::job::{OwnedReply, Work};
use crate::server::Server;
use crate::session::Session;
use crate::statistics::InvalidationKind;
use std::sync::Arc;
use sutra_protocol::Reply;
use sutra_shard::{DryRun, Invalidation, Space};

/// CACHE.INVALIDATE.
pub static INVALIDATE: Spec = Spec {
    name: "cache.invalidate",
    arity: -3,
    flags: Flags::WRITE.and(Flags::ALONE),
    keys: Keys::None,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(N) with N being the entries that the conditions may cover: nanoseconds each.",
    summary: "Removes every live entry that meets all conditions, exactly; how many.",
    syntax: "[IN space [(FP32 blob | VALUES count value [value ...] | TEXT text) (MIN similarity | WITHIN distance)]] \
             [TAG count tag [tag ...]] [MATCH pattern] [OLDER seconds] [DEP name BELOW version] [HOLD seconds] [REASON text] \
             [DRYRUN [COUNT count]]",
    subcommands: &[],
    run: invalidate,
};

/// CACHE.UNDO.
pub static UNDO: Spec = Spec {
    name: "cache.undo",
    arity: 2,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::ALONE),
    keys: Keys::None,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(N) with N being the entries that are set again.",
    summary: "Takes back an invalidation within its grace window; how many entries were set again.",
    syntax: "lsn",
    subcommands: &[],
    run: undo,
};

/// CACHE.LOG.
pub static LOG: Spec = Spec {
    name: "cache.log",
    arity: -1,
    flags: Flags::ADMIN.and(Flags::ALONE),
    keys: Keys::None,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(N) with N being the lines.",
    summary: "Returns the last invalidations, newest first: their log position, when, who, what, why and how many entries.",
    syntax: "[count]",
    subcommands: &[],
    run: log,
};

/// Samples of a dry run unless told otherwise.
const SAMPLES_DEFAULT: usize = 10;
/// Lines of CACHE.LOG unless told otherwise.
const LINES_DEFAULT: usize = 10;

#[derive(Debug)]
struct Request {
    space: Option<Vec<u8>>,
    meaning: Option<(Source, Threshold)>,
    conditions: Conditions,
    older_ms: Option<u64>,
    source: Option<(Vec<u8>, u64)>,
    hold_ms: Option<u64>,
    reason: Option<Vec<u8>>,
    /// How many samples a dry run is to show; `None`: it is none.
    dry_run: Option<usize>,
    /// The text that it is about, if its vector is made from one.
    about: Option<String>,
    watch: Watch,
}

impl Request {
    fn read(words: &mut Words<'_>) -> Result<Request, CommandError> {
        let mut request = Request {
            space: None,
            meaning: None,
            conditions: Conditions::default(),
            older_ms: None,
            source: None,
            hold_ms: None,
            reason: None,
            dry_run: None,
            about: None,
            watch: Watch::default(),
        };
        while words.any() {
            request.read_option(words)?;
        }
        let has_condition = request.space.is_some()
            || !request.conditions.tags.is_empty()
            || request.conditions.glob.is_some()
            || request.older_ms.is_some()
            || request.source.is_some();
        if !has_condition {
            return Err(words.mistake("at least one condition is needed: IN, TAG, MATCH, OLDER or DEP"));
        }
        Ok(request)
    }

    fn read_option(&mut self, words: &mut Words<'_>) -> Result<(), CommandError> {
        if words.condition(&mut self.conditions)? {
        } else if words.word("IN") {
            words.once(&self.space, "IN")?;
            self.space = Some(words.space()?.to_vec());
            if let Some(vector) = Vector::take(words)? {
                let threshold = words.threshold()?.ok_or_else(|| {
                    words.mistake("MIN with a similarity, or WITHIN with a distance, has to follow the vector")
                })?;
                self.meaning = Some((Source::from(vector), threshold));
            }
        } else if words.word("OLDER") {
            words.once(&self.older_ms, "OLDER")?;
            self.older_ms = Some(words.seconds_ms("OLDER", SECONDS_MAX)?);
        } else if words.word("DEP") {
            words.once(&self.source, "DEP")?;
            let name = words.source()?.to_vec();
            if !words.word("BELOW") {
                return Err(words.mistake("DEP takes a source's name, BELOW and a version"));
            }
            self.source = Some((name, words.number("BELOW", "version", 0, i64::MAX as u64)?));
        } else if words.word("HOLD") {
            words.once(&self.hold_ms, "HOLD")?;
            self.hold_ms = Some(words.seconds_ms("HOLD", words.limits.hold_seconds_max)?);
        } else if words.word("REASON") {
            words.once(&self.reason, "REASON")?;
            self.reason = Some(words.reason()?.to_vec());
        } else if words.word("DRYRUN") {
            words.once(&self.dry_run, "DRYRUN")?;
            self.dry_run = Some(if words.word("COUNT") {
                words.number("COUNT", "count", 0, words.limits.count_max as u64)? as usize
            } else {
                SAMPLES_DEFAULT
            });
        } else {
            return Err(words.not_understood());
        }
        Ok(())
    }
}

impl Request {
    /// What CACHE.ASK shall know of it: it is found by the text it is about, or else by the first thing that it names.
    fn noted(&self, space: u32, removed: u64) -> Noted<'_> {
        let tag = self.conditions.tags.first().map(Vec::as_slice);
        let named = tag.or(self.conditions.glob.as_deref()).or(self.source.as_ref().map(|(name, _)| name.as_slice()));
        let text = self.about.as_deref().map(str::as_bytes).or(named).unwrap_or_default();
        Noted { kind: Kind::Invalidate, outcome: Outcome::Hit, text, space, tag, amount: removed }
    }
}

/// `ERR no space is called 'x'`
pub(super) fn no_such_space(name: &[u8]) -> CommandError {
    meaning_error(sutra_shard::MeaningError::NoSuchSpace(String::from_utf8_lossy(name).into_owned()))
}

fn invalidate<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut request = Request::read(&mut Words::new("CACHE.INVALIDATE", args, cx.server))?;
    request.watch = Watch::start(cx.server);
    let space = request.space.as_ref().and_then(|name| cx.server.shard.space(name));
    if let (Some(space), Some((_, threshold))) = (&space, &request.meaning) {
        check_range(space, *threshold)?;
    }
    let (db, who) = (cx.session.db, who(cx.session));
    let is_dry = request.dry_run.is_some();
    match request.meaning.take() {
        // Published by this thread, so that everybody sees it at once; swept by another.
        None => Ok(leave_job(cx, is_dry, move |work| answer(work, request, None, false, db, &who))),
        Some((source, threshold)) => {
            let name = request.space.clone().unwrap_or_default();
            let made_here = source.text().is_some();
            request.about = source.text().map(str::to_owned);
            let rest = Box::new(move |work: &mut Work<'_>, blob: Vec<u8>| {
                answer(work, request, Some((&blob, threshold.similarity)), made_here, db, &who)
            });
            leave(cx, &name, source, is_dry, rest)
        }
    }
}

/// The user and the address, for the audit.
pub(super) fn who(session: &Session) -> String {
    let client = &session.client;
    format!("{}@{}", client.names().user, client.address)
}

/// The space that the invalidation names: `Some(None)` if it names none, `None` if it is not there. To be held off, it is made.
fn space_of(
    server: &Server,
    request: &Request,
    dimension: Option<usize>,
    made_here: bool,
) -> Result<Option<Option<Arc<Space>>>, CommandError> {
    let Some(name) = &request.space else { return Ok(Some(None)) };
    let there = server.shard.space(name);
    if there.is_some() {
        return Ok(Some(there));
    }
    match (request.hold_ms.unwrap_or(0), dimension) {
        (0, _) => Ok(None),
        (_, Some(dimension)) => {
            let maker = if made_here { Maker::Server } else { Maker::Client };
            space_for(server, name, dimension, maker).map(|space| Some(Some(space)))
        }
        (_, None) => Err(no_such_space(name)),
    }
}

fn answer(
    work: &mut Work<'_>,
    request: Request,
    vector: Option<(&[u8], f32)>,
    made_here: bool,
    db: u8,
    who: &str,
) -> Result<OwnedReply, CommandError> {
    let shard = &work.server.shard;
    let Some(space) = space_of(work.server, &request, vector.map(|(blob, _)| blob.len() / 4), made_here)? else {
        // A space that was never made has no entries, as a key that was never set has no value.
        return Ok(if request.dry_run.is_some() { of_dry_run(DryRun::default()) } else { integer(0) });
    };
    let query = match (&space, vector) {
        (Some(space), Some((blob, min))) => {
            check_dimension(space, blob.len() / 4)?;
            Some((space.query(blob).map_err(meaning_error)?, min))
        }
        _ => None,
    };
    let meaning = space.as_ref().zip(query.as_ref()).map(|(space, (query, min))| (space, query, *min));
    let tags: Vec<&[u8]> = request.conditions.tags.iter().map(Vec::as_slice).collect();
    let invalidation = Invalidation {
        db,
        meaning,
        space: if meaning.is_none() { space.as_ref() } else { None },
        tags: &tags,
        glob: request.conditions.glob.as_deref(),
        older_ms: request.older_ms,
        dep: request.source.as_ref().map(|(name, version)| (name.as_slice(), *version)),
        hold_ms: request.hold_ms.unwrap_or(0),
        reason: request.reason.as_deref().unwrap_or_default(),
        who,
    };
    if let Some(count) = request.dry_run {
        return Ok(of_dry_run(shard.dry_run(&invalidation, count, work.now_ms).map_err(meaning_error)?));
    }
    let published = shard.publish_invalidation(&invalidation, work.now_ms).map_err(meaning_error)?;
    work.server.invalidations.count(InvalidationKind::of(&invalidation));
    let space_id = space.as_ref().map_or(NO_SPACE, |space| space.id());
    work.leave(Box::new(move |work| {
        let removed = work.server.shard.finish_invalidation(published).map_err(meaning_error)?.count;
        request.noted(space_id, removed).note(work.server, request.watch, work.now_ms);
        Ok(integer(removed))
    }));
    Ok(Reply::Null)
}

/// `[count, [[key, similarity]…], [[lower edge, count]…]]`
fn of_dry_run(run: DryRun) -> OwnedReply {
    let samples = run
        .samples
        .into_iter()
        .map(|(key, near)| Reply::Array(vec![Reply::BulkOwned(key), near.map_or(Reply::Null, similarity)]));
    let bins =
        run.histogram.into_iter().map(|(edge, count)| Reply::Array(vec![Reply::Double(edge_of(edge)), integer(count)]));
    Reply::Array(vec![integer(run.count), Reply::Array(samples.collect()), Reply::Array(bins.collect())])
}

/// The edge of a bin without the rounding of 32 bits.
fn edge_of(edge: f32) -> f64 {
    (f64::from(edge) * 1e4).round() / 1e4
}

fn undo<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut words = Words::new("CACHE.UNDO", args, cx.server);
    let lsn = words.number("UNDO", "log position", 0, i64::MAX as u64)?;
    Ok(leave_job(cx, true, move |work| work.server.shard.undo(lsn, work.now_ms).map(integer).map_err(meaning_error)))
}

fn log<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut words = Words::new("CACHE.LOG", args, cx.server);
    let most = words.limits.count_max as u64;
    let count = if words.any() { words.number("LOG", "count", 1, most)? as usize } else { LINES_DEFAULT };
    words.finish()?;
    let line = |audit: sutra_shard::Audit| {
        map(vec![
            ("lsn", integer(audit.lsn)),
            ("at_ms", integer(audit.at_ms)),
            ("who", Reply::BulkOwned(audit.who.into_bytes())),
            ("predicate", Reply::BulkOwned(audit.predicate.into_bytes())),
            ("reason", Reply::BulkOwned(audit.reason)),
            ("count", integer(audit.count)),
            (
                "state",
                word(if audit.undone {
                    "undone"
                } else if audit.complete {
                    "complete"
                } else {
                    "sweeping"
                }),
            ),
        ])
    };
    Ok(Reply::Array(cx.server.shard.audit(count).into_iter().map(line).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, String> {
        let items: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Request::read(&mut Words::of("CACHE.INVALIDATE", &items)).map_err(|error| error.to_string())
    }

    #[test]
    fn every_condition_is_understood() {
        let line = "IN s TEXT x MIN 0.9 TAG 1 a MATCH k:* OLDER 1.5 DEP doc BELOW 3 HOLD 5 REASON moved DRYRUN COUNT 3";
        let request = read(line).expect("read");
        assert_eq!((request.older_ms, request.hold_ms, request.dry_run), (Some(1500), Some(5000), Some(3)));
        assert_eq!(request.source, Some((b"doc".to_vec(), 3)));
        assert!(read("IN s").is_ok_and(|request| request.meaning.is_none()));
        assert_eq!(read("OLDER 60 DRYRUN").map(|request| request.dry_run), Ok(Some(10)));
    }

    #[test]
    fn nothing_is_removed_without_a_condition_and_mistakes_are_named() {
        for (line, why) in [
            ("REASON all", "at least one condition is needed: IN, TAG, MATCH, OLDER or DEP"),
            ("DRYRUN HOLD 3", "at least one condition is needed: IN, TAG, MATCH, OLDER or DEP"),
            ("IN s TEXT x", "MIN with a similarity, or WITHIN with a distance, has to follow the vector"),
            ("IN s MIN 0.9", "'MIN' is not expected here (unknown, or given twice)"),
            ("DEP doc 3", "DEP takes a source's name, BELOW and a version"),
            ("TAG 1 a HOLD 90000", "HOLD takes a number of seconds from 0 up to 86400, got '90000'"),
            ("TAG 1 a OLDER", "the number of seconds behind OLDER is missing"),
        ] {
            assert_eq!(read(line).map(|_| ()), Err(format!("ERR CACHE.INVALIDATE: {why}")), "{line}");
        }
    }
}
