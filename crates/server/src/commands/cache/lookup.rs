//! CACHE.LOOKUP: the best entry that is near enough.

use super::answer::{details, integer, integer_or_null, map, meaning_error, word};
use super::noted::{Noted, Watch};
use super::text::{Maker, Source, check_dimension, is_long, leave, similarity, space_for};
use super::vector::Vector;
use super::words::{Conditions, SECONDS_MAX, Threshold, Words};
use crate::analytics::micro_usd;
use crate::analytics::ring::{Kind, NO_SPACE, Outcome};
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::job::{OwnedReply, Work};
use std::sync::Arc;
use sutra_protocol::Reply;
use sutra_shard::{Facts, Filters, Hit, LeaseGrant, Lookup, Query, Scope, Space, Subscriber};

/// CACHE.LOOKUP.
pub static SPEC: Spec = Spec {
    name: "cache.lookup",
    arity: -5,
    flags: Flags::READONLY.and(Flags::ALONE),
    keys: Keys::None,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(N) with N being the entries of the space, a few nanoseconds each; O(log(N)) with a graph.",
    summary: "Returns the entry nearest to a vector, if it is near enough; with a lease to compute one if none is.",
    syntax: "space (FP32 blob | VALUES count value [value ...] | TEXT text) (MIN similarity | WITHIN distance) \
             [QUESTION text] [TAG count tag [tag ...]] [MATCH pattern] [MAXAGE seconds] [EXACT | EF count] [WITHSCORE | WITHMETA] \
             [LEASE [milliseconds]] [REVALIDATE seconds]",
    subcommands: &[],
    run,
};

const NAME: &str = "CACHE.LOOKUP";
/// The widest search of a graph that may be asked for.
pub(super) const EF_MAX: u64 = 1_000_000;

/// What the reply says of a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Value,
    Score,
    Meta,
}

/// A lookup, owning what it was given: it may be answered after its request is gone.
#[derive(Debug)]
struct Request {
    space: Vec<u8>,
    source: Source,
    threshold: Threshold,
    question: Option<String>,
    conditions: Conditions,
    max_age_ms: Option<u64>,
    exact: bool,
    ef: Option<usize>,
    shape: Shape,
    lease_ms: Option<u64>,
    revalidate_ms: Option<u64>,
    watch: Watch,
    /// Who is told when the answer changes.
    reader: Option<Arc<Subscriber>>,
}

impl Request {
    fn read(words: &mut Words<'_>) -> Result<Request, CommandError> {
        let space = words.space()?.to_vec();
        let source = Source::from(Vector::need(words)?);
        let threshold = words.threshold()?;
        let threshold = threshold.ok_or_else(|| {
            words.mistake("MIN with a similarity, or WITHIN with a distance, has to follow the vector")
        })?;
        let mut request = Request {
            space,
            source,
            threshold,
            question: None,
            conditions: Conditions::default(),
            max_age_ms: None,
            exact: false,
            ef: None,
            shape: Shape::Value,
            lease_ms: None,
            revalidate_ms: None,
            watch: Watch::default(),
            reader: None,
        };
        while words.any() {
            request.read_option(words)?;
        }
        if request.revalidate_ms.is_some() && request.lease_ms.is_none() {
            request.lease_ms = Some(words.limits.lease_ms.min(words.limits.lease_ms_max));
        }
        Ok(request)
    }

    fn read_option(&mut self, words: &mut Words<'_>) -> Result<(), CommandError> {
        if words.condition(&mut self.conditions)? {
        } else if words.word("QUESTION") {
            words.once(&self.question, "QUESTION")?;
            self.question = Some(words.text("QUESTION")?.to_owned());
        } else if words.word("MAXAGE") {
            words.once(&self.max_age_ms, "MAXAGE")?;
            self.max_age_ms = Some(words.seconds_ms("MAXAGE", SECONDS_MAX)?);
        } else if self.shape == Shape::Value && words.word("WITHSCORE") {
            self.shape = Shape::Score;
        } else if self.shape == Shape::Value && words.word("WITHMETA") {
            self.shape = Shape::Meta;
        } else if !self.exact && self.ef.is_none() && words.word("EXACT") {
            self.exact = true;
        } else if !self.exact && self.ef.is_none() && words.word("EF") {
            self.ef = Some(words.number("EF", "count", 1, EF_MAX)? as usize);
        } else if words.word("LEASE") {
            words.once(&self.lease_ms, "LEASE")?;
            self.lease_ms = Some(words.lease_ms()?);
        } else if words.word("REVALIDATE") {
            words.once(&self.revalidate_ms, "REVALIDATE")?;
            self.revalidate_ms = Some(words.seconds_ms("REVALIDATE", SECONDS_MAX)?);
        } else {
            return Err(words.not_understood());
        }
        Ok(())
    }

    /// The question in words: that of the companion, or the text whose vector it is.
    fn keep_question(&mut self, source: &Source) {
        if self.question.is_none() {
            self.question = source.text().map(str::to_owned);
        }
    }

    /// What CACHE.ASK shall know of it.
    fn noted(&self, space: u32, hit: Option<&Hit>) -> Noted<'_> {
        Noted {
            kind: Kind::Lookup,
            outcome: if hit.is_some() { Outcome::Hit } else { Outcome::Miss },
            text: self.question.as_deref().unwrap_or_default().as_bytes(),
            space,
            tag: self.conditions.tags.first().map(Vec::as_slice),
            amount: micro_usd(hit.and_then(|hit| hit.details.cost)),
        }
    }
}

fn run<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut request = Request::read(&mut Words::new(NAME, args, cx.server))?;
    request.watch = Watch::start(cx.server);
    request.reader = cx.session.reader();
    let source = std::mem::replace(&mut request.source, Source::Values(Vec::new()));
    let space = cx.server.shard.space(&request.space);
    if let Some(space) = &space {
        check_range(space, request.threshold)?;
    } else if request.lease_ms.is_none() {
        // Nothing was ever stored there, so no text needs to be embedded to know that nothing is near it.
        cx.session.client.worker.native.missed();
        request.keep_question(&source);
        request.noted(NO_SPACE, None).note(cx.server, request.watch, cx.now_ms);
        return Ok(Reply::Null);
    }
    let (db, owner) = (cx.session.db, cx.session.client.id);
    let is_long = space.as_deref().is_some_and(|space| is_long(cx.server, Some(space)));
    request.keep_question(&source);
    let asked = request.question.as_deref().map(Facts::of);
    let made_here = source.text().is_some();
    let name = request.space.clone();
    let rest = Box::new(move |work: &mut Work<'_>, blob: Vec<u8>| {
        answer(work, &request, &blob, made_here, asked.as_ref(), db, owner)
    });
    leave(cx, &name, source, is_long, rest)
}

/// A cosine beyond 1 is a mistake, such as a percentage.
pub(super) fn check_range(space: &Space, threshold: Threshold) -> Result<(), CommandError> {
    let is_cosine = space.options().metric == sutra_shard::Metric::Cosine;
    if is_cosine && !(-1.0..=1.0).contains(&threshold.similarity) {
        let (what, range) = if threshold.is_distance { ("a distance", "0 to 2") } else { ("a similarity", "-1 to 1") };
        return Err(CommandError::text(format!("ERR {what} of cosines lies from {range}")));
    }
    Ok(())
}

fn answer(
    work: &mut Work<'_>,
    request: &Request,
    blob: &[u8],
    made_here: bool,
    asked: Option<&Facts>,
    db: u8,
    owner: u64,
) -> Result<OwnedReply, CommandError> {
    let shard = &work.server.shard;
    let space = match shard.space(&request.space) {
        Some(space) => space,
        None => {
            let maker = if made_here { Maker::Server } else { Maker::Client };
            let space = space_for(work.server, &request.space, blob.len() / 4, maker)?;
            check_range(&space, request.threshold)?;
            space
        }
    };
    check_dimension(&space, blob.len() / 4)?;
    let query = space.query(blob).map_err(meaning_error)?;
    let tags: Vec<&[u8]> = request.conditions.tags.iter().map(Vec::as_slice).collect();
    let filters = Filters { tags: &tags, glob: request.conditions.glob.as_deref(), max_age_ms: request.max_age_ms };
    let lookup = Lookup {
        db,
        space: &space,
        query: &query,
        min: request.threshold.similarity,
        filters,
        asked,
        runner_up: request.shape != Shape::Value,
        exact: request.exact,
        ef: request.ef,
        reader: request.reader.as_ref(),
    };
    let hit = shard.lookup(&lookup, work.now_ms).map_err(meaning_error)?;
    request.noted(space.id(), hit.as_ref()).note(work.server, request.watch, work.now_ms);
    let Some(lease_ms) = request.lease_ms else {
        return Ok(hit.map_or(Reply::Null, |hit| of_hit(request, hit)));
    };
    match hit {
        Some(hit) => Ok(leased_hit(work, request, hit, lease_ms, db, owner)),
        None => Ok(of_grant(lease_for_meaning(work, &space, &query, request, lease_ms, db, owner))),
    }
}

fn lease_for_meaning(
    work: &Work<'_>,
    space: &Arc<Space>,
    query: &Query,
    request: &Request,
    lease_ms: u64,
    db: u8,
    owner: u64,
) -> LeaseGrant {
    work.server.shard.lease_meaning(db, space, (query, request.threshold.similarity), lease_ms, owner, work.now_ms)
}

/// A hit of a lookup with a lease: one that will soon expire is given to the first caller together with the lease to renew it.
fn leased_hit(work: &Work<'_>, request: &Request, hit: Hit, lease_ms: u64, db: u8, owner: u64) -> OwnedReply {
    let expires_soon = request.revalidate_ms.zip(hit.details.ttl_ms).is_some_and(|(within, ttl)| ttl < within);
    let grant = expires_soon.then(|| work.begin(Scope::Key(&hit.key)).lease(db, &hit.key, lease_ms, owner));
    let said = of_hit(request, hit);
    match grant {
        Some(LeaseGrant::Granted { token }) => {
            Reply::Array(vec![word("REVALIDATE"), said, Reply::BulkOwned(token.into_bytes())])
        }
        Some(LeaseGrant::Wait { .. }) | None => Reply::Array(vec![word("HIT"), said]),
    }
}

/// `["LEASE", token]` or `["WAIT", milliseconds]`
pub(super) fn of_grant(grant: LeaseGrant) -> OwnedReply {
    match grant {
        LeaseGrant::Granted { token } => Reply::Array(vec![word("LEASE"), Reply::BulkOwned(token.into_bytes())]),
        LeaseGrant::Wait { ms } => Reply::Array(vec![word("WAIT"), integer(ms)]),
    }
}

fn of_hit(request: &Request, hit: Hit) -> OwnedReply {
    let value = Reply::BulkShared(hit.value);
    let margin = hit.margin.map_or(Reply::Null, similarity);
    match request.shape {
        Shape::Value => value,
        Shape::Score => Reply::Array(vec![Reply::BulkOwned(hit.key), value, similarity(hit.similarity), margin]),
        Shape::Meta => {
            let mut pairs = vec![
                ("key", Reply::BulkOwned(hit.key)),
                ("value", value),
                ("similarity", similarity(hit.similarity)),
                ("margin", margin),
                ("exact", word(if hit.exact { "certified" } else { "graph" })),
                ("guarded", integer_or_null(Some(hit.guarded.into()))),
            ];
            if request.threshold.is_distance {
                pairs.push(("distance", similarity(1.0 - hit.similarity)));
            }
            pairs.extend(details(hit.details));
            map(pairs)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Request, String> {
        let items: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        Request::read(&mut Words::of(NAME, &items)).map_err(|error| error.to_string())
    }

    #[test]
    fn every_word_is_understood_in_any_order() {
        let request =
            read("s VALUES 2 1 0 WITHIN 0.1 LEASE 500 EF 64 WITHMETA MAXAGE 60 MATCH q:* TAG 2 a b QUESTION why")
                .expect("read");
        assert_eq!(request.threshold, Threshold { similarity: 0.9, is_distance: true });
        assert_eq!((request.lease_ms, request.ef, request.max_age_ms), (Some(500), Some(64), Some(60_000)));
        assert_eq!(
            (request.shape, request.conditions.tags.len(), request.question.as_deref()),
            (Shape::Meta, 2, Some("why"))
        );
    }

    #[test]
    fn a_lease_may_name_no_time_and_revalidation_implies_one() {
        assert_eq!(
            read("s TEXT x MIN 0.9 LEASE WITHSCORE").map(|r| (r.lease_ms, r.shape)),
            Ok((Some(10_000), Shape::Score))
        );
        let request = read("s TEXT x MIN 0.9 REVALIDATE 2.5").expect("read");
        assert_eq!((request.lease_ms, request.revalidate_ms), (Some(10_000), Some(2500)));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, why) in [
            ("s TEXT x", "MIN with a similarity, or WITHIN with a distance, has to follow the vector"),
            ("s TEXT x MIN", "the number behind MIN or WITHIN is missing"),
            ("s TEXT x MIN 0.9 WITHSCORE WITHMETA", "'WITHMETA' is not expected here (unknown, or given twice)"),
            ("s TEXT x MIN 0.9 EXACT EF 5", "'EF' is not expected here (unknown, or given twice)"),
            ("s TEXT x MIN 0.9 EF 0", "EF takes count, a whole number from 1 to 1000000, got '0'"),
            ("s TEXT x MIN 0.9 LEASE 0", "LEASE takes milliseconds, a whole number from 1 to 600000, got '0'"),
            (
                "s TEXT x MIN 0.9 LEASE 700000",
                "LEASE takes milliseconds, a whole number from 1 to 600000, got '700000'",
            ),
            ("s TEXT x MIN 0.9 MAXAGE x", "MAXAGE takes a number of seconds from 0, got 'x'"),
            ("s TEXT x MIN 0.9 FOO", "'FOO' is not expected here (unknown, or given twice)"),
        ] {
            assert_eq!(read(line).map(|_| ()), Err(format!("ERR CACHE.LOOKUP: {why}")), "{line}");
        }
    }
}
