//! CACHE.SET.

use super::answer::{default_expiry_ms, meaning_error};
use super::noted::{Noted, Watch};
use super::text::{self, Maker};
use super::vector::{Vector, blob_of, check};
use super::words::Words;
use crate::analytics::ring::{Kind, NO_SPACE, Outcome};
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::commands::expiry::TimeOption;
use crate::job::{Job, OwnedReply, Work};
use crate::server::Server;
use sutra_protocol::Reply;
use sutra_shard::{Annotations, Facts, MeaningError, Put, Scope, Txn, VectorOf};

/// CACHE.SET.
pub static SPEC: Spec = Spec {
    name: "cache.set",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::FIRST,
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(1)",
    summary: "Sets a value with the vector it is found by, tags, sources, metadata and cost; refuses it if its lease is stale.",
    syntax: "key value [IN space (FP32 blob | VALUES count value [value ...] | TEXT text) | SELF space] \
             [QUESTION text] [TAG count tag [tag ...]] [DEP count name version [name version ...]] [META json] [COST usd] \
             [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] [NX | XX] [LEASE token]",
    subcommands: &[],
    run,
};

const NAME: &str = "CACHE.SET";

/// What the vector of the entry is.
#[derive(Debug, PartialEq)]
enum Place<'t> {
    Nowhere,
    In(&'t [u8], Vector<'t>),
    /// The value is the vector.
    Itself(&'t [u8]),
}

/// When it is set at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    IfAbsent,
    IfPresent,
}

#[derive(Debug)]
struct Request<'t> {
    key: &'t [u8],
    value: &'t [u8],
    place: Place<'t>,
    question: Option<&'t str>,
    tags: Vec<&'t [u8]>,
    sources: Vec<(&'t [u8], u64)>,
    meta: Option<&'t [u8]>,
    cost: Option<f32>,
    time: Option<TimeOption<'t>>,
    keep_ttl: bool,
    condition: Option<Condition>,
    lease: Option<&'t [u8]>,
}

impl<'t> Request<'t> {
    /// What CACHE.ASK shall know of it: it is found by its question in words, or its key.
    fn noted(&self, outcome: Outcome, space: u32) -> Noted<'t> {
        let text = self.question.or(self.text()).map_or(self.key, str::as_bytes);
        Noted { kind: Kind::Set, outcome, text, space, tag: self.tags.first().copied(), amount: 0 }
    }

    fn read(words: &mut Words<'t>) -> Result<Request<'t>, CommandError> {
        let (key, value) = (words.need("the key")?, words.need("the value")?);
        let mut request = Request {
            key,
            value,
            place: Place::Nowhere,
            question: None,
            tags: Vec::new(),
            sources: Vec::new(),
            meta: None,
            cost: None,
            time: None,
            keep_ttl: false,
            condition: None,
            lease: None,
        };
        while words.any() {
            request.read_option(words)?;
        }
        Ok(request)
    }

    fn read_option(&mut self, words: &mut Words<'t>) -> Result<(), CommandError> {
        if words.word("IN") {
            self.refuse_second_place(words)?;
            let space = words.space()?;
            self.place = Place::In(space, Vector::need(words)?);
        } else if words.word("SELF") {
            self.refuse_second_place(words)?;
            self.place = Place::Itself(words.space()?);
            check(words, self.value)?;
        } else if words.word("QUESTION") {
            words.once(&self.question, "QUESTION")?;
            self.question = Some(words.text("QUESTION")?);
        } else if self.tags.is_empty() && words.word("TAG") {
            self.tags = words.tags()?;
        } else if self.sources.is_empty() && words.word("DEP") {
            self.sources = words.sources()?;
        } else if words.word("META") {
            words.once(&self.meta, "META")?;
            self.meta = Some(words.meta()?);
        } else if words.word("COST") {
            words.once(&self.cost, "COST")?;
            self.cost = Some(words.cost()?);
        } else if !self.keep_ttl && self.time.is_none() && words.word("KEEPTTL") {
            self.keep_ttl = true;
        } else if !self.keep_ttl
            && let Some(time) = words.time(self.time)?
        {
            self.time = Some(time);
        } else if self.condition.is_none() && words.word("NX") {
            self.condition = Some(Condition::IfAbsent);
        } else if self.condition.is_none() && words.word("XX") {
            self.condition = Some(Condition::IfPresent);
        } else if words.word("LEASE") {
            words.once(&self.lease, "LEASE")?;
            self.lease = Some(words.need("the token behind LEASE")?);
        } else {
            return Err(words.not_understood());
        }
        Ok(())
    }

    fn refuse_second_place(&self, words: &Words<'_>) -> Result<(), CommandError> {
        match self.place {
            Place::Nowhere => Ok(()),
            Place::In(..) | Place::Itself(_) => Err(words.mistake("an entry has one vector: IN or SELF, once")),
        }
    }

    /// The text that a vector has to be made of.
    fn text(&self) -> Option<&'t str> {
        match self.place {
            Place::In(_, Vector::Text(text)) => Some(text),
            Place::Nowhere | Place::In(_, Vector::Values(_)) | Place::Itself(_) => None,
        }
    }
}

fn run<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let request = Request::read(&mut Words::new(NAME, args.clone(), cx.server))?;
    let Place::In(space, Vector::Text(text)) = request.place else {
        return store(cx.server, cx.txn, cx.session.db, &request, None);
    };
    let embedder = text::embedder_of(cx.server, space)?;
    if embedder.is_immediate() {
        let vector = text::embed(embedder, text)?;
        return store(cx.server, cx.txn, cx.session.db, &request, Some(&vector));
    }
    let (db, text) = (cx.session.db, text.to_owned());
    let args: Vec<Vec<u8>> = args.rest().iter().map(|arg| arg.to_vec()).collect();
    let job = Job::Embedded(text, Box::new(move |work, vector| store_later(work, db, &args, &vector)));
    Ok(cx.defer(job))
}

/// What is left of the command once its text has a vector.
fn store_later(work: &mut Work<'_>, db: u8, args: &[Vec<u8>], vector: &[f32]) -> Result<OwnedReply, CommandError> {
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let request = Request::read(&mut Words::new(NAME, Args::new(&args, 0), work.server))?;
    let mut txn = work.begin(Scope::Key(request.key));
    let reply = store(work.server, &mut txn, db, &request, Some(vector))?;
    work.commit(txn)?;
    Ok(reply)
}

fn store(
    server: &Server,
    txn: &mut Txn<'_>,
    db: u8,
    request: &Request<'_>,
    vector: Option<&[f32]>,
) -> Result<OwnedReply, CommandError> {
    let now_ms = txn.now_ms();
    let watch = Watch::start(server);
    let mut expires_at_ms = request.time.map(|time| time.instant_ms(now_ms, "cache.set")).transpose()?;
    if request.condition.is_some() || request.keep_ttl {
        let present = txn.peek(db, request.key);
        let met = match request.condition {
            None => true,
            Some(Condition::IfAbsent) => present.is_none(),
            Some(Condition::IfPresent) => present.is_some(),
        };
        if !met {
            request.noted(Outcome::Miss, NO_SPACE).note(server, watch, now_ms);
            return Ok(Reply::Null);
        }
        if request.keep_ttl {
            expires_at_ms = present.and_then(|entry| entry.expires_at_ms);
        }
    }
    if request.time.is_none() && !request.keep_ttl {
        expires_at_ms = default_expiry_ms(server, now_ms);
    }
    let made: Option<Vec<u8>> = vector.map(blob_of);
    let (space, vector) = match &request.place {
        Place::Nowhere => (None, VectorOf::None),
        Place::In(space, Vector::Values(blob)) => {
            (Some(text::space_for(server, space, blob.len() / 4, Maker::Client)?), VectorOf::Given(blob))
        }
        Place::In(space, Vector::Text(_)) => {
            let blob = made.as_deref().unwrap_or_default();
            (Some(text::space_for(server, space, blob.len() / 4, Maker::Server)?), VectorOf::Given(blob))
        }
        Place::Itself(space) => {
            (Some(text::space_for(server, space, request.value.len() / 4, Maker::Itself)?), VectorOf::Value)
        }
    };
    let facts = request.question.or(request.text()).map(Facts::of);
    let annotations = Annotations {
        space: space.as_ref(),
        vector,
        tags: &request.tags,
        deps: &request.sources,
        meta: request.meta,
        facts: facts.as_ref(),
    };
    let put = Put { expires_at_ms, cost: request.cost };
    let space_id = space.as_ref().map_or(NO_SPACE, |space| space.id());
    let stored = txn.put_annotated(db, request.key, request.value, put, &annotations, request.lease);
    if let Err(MeaningError::Stale(_) | MeaningError::Held { .. }) = &stored {
        request.noted(Outcome::Refused, space_id).note(server, watch, now_ms);
    }
    stored.map_err(meaning_error)?;
    request.noted(Outcome::Hit, space_id).note(server, watch, now_ms);
    if expires_at_ms.is_some_and(|at| at <= now_ms) {
        // EXAT in the past: written, so that a lease is checked and ended, and gone.
        txn.delete(db, request.key);
    }
    Ok(Reply::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<String, String> {
        let items: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let request = Request::read(&mut Words::of(NAME, &items)).map_err(|error| error.to_string())?;
        let place = match request.place {
            Place::Nowhere => "nowhere".to_owned(),
            Place::In(space, Vector::Values(blob)) => {
                format!("{} of {}", String::from_utf8_lossy(space), blob.len() / 4)
            }
            Place::In(space, Vector::Text(text)) => format!("{} of {text}", String::from_utf8_lossy(space)),
            Place::Itself(space) => format!("{} itself", String::from_utf8_lossy(space)),
        };
        Ok(format!(
            "{place}, {} tags, {} sources, meta {}, cost {:?}, {:?}, lease {}",
            request.tags.len(),
            request.sources.len(),
            request.meta.is_some(),
            request.cost,
            request.condition,
            request.lease.is_some()
        ))
    }

    #[test]
    fn every_word_is_understood_in_any_order() {
        assert_eq!(read("k v").as_deref(), Ok("nowhere, 0 tags, 0 sources, meta false, cost None, None, lease false"));
        assert_eq!(
            read("k v LEASE t nx EX 5 cost 0.5 META {} DEP 1 doc 7 TAG 2 a b IN s VALUES 2 1 0").as_deref(),
            Ok("s of 2, 2 tags, 1 sources, meta true, cost Some(0.5), Some(IfAbsent), lease true")
        );
        assert_eq!(
            read("k v IN faq TEXT how QUESTION why KEEPTTL XX").as_deref(),
            Ok("faq of how, 0 tags, 0 sources, meta false, cost None, Some(IfPresent), lease false")
        );
        assert_eq!(
            read("k vvvv SELF m").as_deref(),
            Ok("m itself, 0 tags, 0 sources, meta false, cost None, None, lease false")
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (line, why) in [
            ("k v NX XX", "'XX' is not expected here (unknown, or given twice)"),
            ("k v EX 5 KEEPTTL", "'KEEPTTL' is not expected here (unknown, or given twice)"),
            ("k v KEEPTTL EX 5", "'EX' is not expected here (unknown, or given twice)"),
            ("k v EX 5 PX 5", "more than one time to live is given"),
            ("k v IN s FP32 abcd SELF s", "an entry has one vector: IN or SELF, once"),
            ("k vvv SELF s", "a vector has four bytes for each dimension, got 3 bytes"),
            (
                "k v IN s",
                "a vector is FP32 <blob of little-endian floats>, VALUES <count> <numbers> or TEXT <text>, got nothing",
            ),
            ("k v IN", "the name of a space is missing"),
            ("k v COST 1 COST 2", "COST is given twice"),
            ("k v LEASE", "the token behind LEASE is missing"),
            ("k v TAG 1 a TAG 1 b", "'TAG' is not expected here (unknown, or given twice)"),
        ] {
            assert_eq!(read(line), Err(format!("ERR CACHE.SET: {why}")), "{line}");
        }
    }
}
