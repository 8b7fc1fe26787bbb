//! CACHE.SEARCH: the nearest entries.

use super::answer::meaning_error;
use super::lookup::{EF_MAX, check_range};
use super::text::{Source, check_dimension, is_long, leave, similarity};
use super::vector::Vector;
use super::words::{Conditions, SECONDS_MAX, Threshold, Words};
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::job::{OwnedReply, Work};
use std::sync::Arc;
use sutra_protocol::Reply;
use sutra_shard::{Filters, Search, Subscriber};

/// CACHE.SEARCH.
pub static SPEC: Spec = Spec {
    name: "cache.search",
    arity: -4,
    flags: Flags::READONLY.and(Flags::ALONE),
    keys: Keys::None,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(N) with N being the entries of the space, a few nanoseconds each; O(log(N)) with a graph.",
    summary: "Returns the entries nearest to a vector with their similarities, best first; counts and refreshes nothing.",
    syntax: "space (FP32 blob | VALUES count value [value ...] | TEXT text) [COUNT count] \
             [MIN similarity | WITHIN distance] [TAG count tag [tag ...]] [MATCH pattern] [MAXAGE seconds] [EXACT | EF count] [WITHVALUES]",
    subcommands: &[],
    run,
};

const NAME: &str = "CACHE.SEARCH";
/// Results unless told otherwise.
const COUNT_DEFAULT: usize = 10;

#[derive(Debug)]
struct Request {
    space: Vec<u8>,
    source: Source,
    count: Option<usize>,
    threshold: Option<Threshold>,
    conditions: Conditions,
    max_age_ms: Option<u64>,
    exact: bool,
    ef: Option<usize>,
    with_values: bool,
}

impl Request {
    fn read(words: &mut Words<'_>) -> Result<Request, CommandError> {
        let space = words.space()?.to_vec();
        let mut request = Request {
            space,
            source: Source::from(Vector::need(words)?),
            count: None,
            threshold: None,
            conditions: Conditions::default(),
            max_age_ms: None,
            exact: false,
            ef: None,
            with_values: false,
        };
        while words.any() {
            request.read_option(words)?;
        }
        Ok(request)
    }

    fn read_option(&mut self, words: &mut Words<'_>) -> Result<(), CommandError> {
        if words.condition(&mut self.conditions)? {
        } else if self.threshold.is_none()
            && let Some(threshold) = words.threshold()?
        {
            self.threshold = Some(threshold);
        } else if words.word("COUNT") {
            words.once(&self.count, "COUNT")?;
            self.count = Some(words.number("COUNT", "count", 1, words.limits.count_max as u64)? as usize);
        } else if words.word("MAXAGE") {
            words.once(&self.max_age_ms, "MAXAGE")?;
            self.max_age_ms = Some(words.seconds_ms("MAXAGE", SECONDS_MAX)?);
        } else if !self.exact && self.ef.is_none() && words.word("EXACT") {
            self.exact = true;
        } else if !self.exact && self.ef.is_none() && words.word("EF") {
            self.ef = Some(words.number("EF", "count", 1, EF_MAX)? as usize);
        } else if !self.with_values && words.word("WITHVALUES") {
            self.with_values = true;
        } else {
            return Err(words.not_understood());
        }
        Ok(())
    }
}

fn run<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut request = Request::read(&mut Words::new(NAME, args, cx.server))?;
    let Some(space) = cx.server.shard.space(&request.space) else { return Ok(Reply::Array(Vec::new())) };
    if let Some(threshold) = request.threshold {
        check_range(&space, threshold)?;
    }
    let db = cx.session.db;
    let is_long = is_long(cx.server, Some(&space));
    let source = std::mem::replace(&mut request.source, Source::Values(Vec::new()));
    let name = request.space.clone();
    // Whoever keeps keys alone keeps nothing that changes with their entries.
    let reader = cx.session.reader().filter(|_| request.with_values);
    let rest = Box::new(move |work: &mut Work<'_>, blob: Vec<u8>| answer(work, &request, &blob, db, reader.as_ref()));
    leave(cx, &name, source, is_long, rest)
}

fn answer(
    work: &mut Work<'_>,
    request: &Request,
    blob: &[u8],
    db: u8,
    reader: Option<&Arc<Subscriber>>,
) -> Result<OwnedReply, CommandError> {
    let shard = &work.server.shard;
    let Some(space) = shard.space(&request.space) else { return Ok(Reply::Array(Vec::new())) };
    check_dimension(&space, blob.len() / 4)?;
    let query = space.query(blob).map_err(meaning_error)?;
    let tags: Vec<&[u8]> = request.conditions.tags.iter().map(Vec::as_slice).collect();
    let search = Search {
        db,
        space: &space,
        query: &query,
        count: request.count.unwrap_or(COUNT_DEFAULT),
        min: request.threshold.map(|threshold| threshold.similarity),
        filters: Filters { tags: &tags, glob: request.conditions.glob.as_deref(), max_age_ms: request.max_age_ms },
        exact: request.exact,
        ef: request.ef,
        with_values: request.with_values,
        reader,
    };
    let hits = shard.search(&search, work.now_ms).map_err(meaning_error)?;
    let of_hit = |hit: sutra_shard::Hit| {
        let mut items = vec![Reply::BulkOwned(hit.key), similarity(hit.similarity)];
        if request.with_values {
            items.push(Reply::BulkShared(hit.value));
        }
        Reply::Array(items)
    };
    Ok(Reply::Array(hits.into_iter().map(of_hit).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, String> {
        let items: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Request::read(&mut Words::of(NAME, &items)).map_err(|error| error.to_string())
    }

    #[test]
    fn every_word_is_understood() {
        let request = read("s FP32 abcd COUNT 5 WITHIN 0.25 TAG 1 a MATCH * MAXAGE 1 EXACT WITHVALUES").expect("read");
        assert_eq!((request.count, request.exact, request.with_values), (Some(5), true, true));
        assert_eq!(request.threshold.map(|threshold| threshold.similarity), Some(0.75));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, why) in [
            (
                "s",
                "a vector is FP32 <blob of little-endian floats>, VALUES <count> <numbers> or TEXT <text>, got nothing",
            ),
            ("s TEXT x COUNT 0", "COUNT takes count, a whole number from 1 to 10000, got '0'"),
            ("s TEXT x COUNT 10001", "COUNT takes count, a whole number from 1 to 10000, got '10001'"),
            ("s TEXT x MIN 1 WITHIN 1", "'WITHIN' is not expected here (unknown, or given twice)"),
            ("s TEXT x WITHSCORE", "'WITHSCORE' is not expected here (unknown, or given twice)"),
        ] {
            assert_eq!(read(line).map(|_| ()), Err(format!("ERR CACHE.SEARCH: {why}")), "{line}");
        }
    }
}
