//! CACHE.EMB.MGET and CACHE.EMB.MSET: embeddings by model and text, under keys that the shard makes of them.

use super::answer::{default_expiry_ms, integer, meaning_error};
use super::text::{Maker, space_for};
use super::vector::check;
use super::words::Words;
use crate::analytics::micro_usd;
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec, bulk};
use crate::commands::expiry::TimeOption;
use sha2::{Digest, Sha256};
use sutra_protocol::Reply;
use sutra_protocol::number::parse_f64;
use sutra_shard::{Annotations, Facts, Put, VectorOf};

/// CACHE.EMB.MGET.
pub static MGET: Spec = Spec {
    name: "cache.emb.mget",
    arity: -3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::Computed(keys_of_mget),
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(N) with N being the texts.",
    summary: "Returns the stored embeddings of texts by a model, in the order of the texts; nil where there is none.",
    syntax: "model text [text ...]",
    subcommands: &[],
    run: mget,
};

/// CACHE.EMB.MSET.
pub static MSET: Spec = Spec {
    name: "cache.emb.mset",
    arity: -4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: Keys::Computed(keys_of_mset),
    group: "cache",
    since: "sutra 0.1.0",
    complexity: "O(N) with N being the texts.",
    summary: "Stores embeddings of texts by a model, which are in that model's space too; how many.",
    syntax: "model [EX seconds | PX milliseconds] [COST usd] [STORETEXT] text blob [text blob ...]",
    subcommands: &[],
    run: mset,
};

/// `emb:{model}:{sha256 of the text, in hex}`
fn key_of(model: &[u8], text: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digest = Sha256::digest(text);
    let mut key = Vec::with_capacity(5 + model.len() + 64);
    key.extend_from_slice(b"emb:");
    key.extend_from_slice(model);
    key.push(b':');
    for byte in digest {
        key.push(HEX[usize::from(byte >> 4)]);
        key.push(HEX[usize::from(byte & 15)]);
    }
    key
}

fn keys_of_mget(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let [_, model, texts @ ..] = args else { return Vec::new() };
    texts.iter().map(|text| key_of(model, text)).collect()
}

fn keys_of_mset(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let [_, model, rest @ ..] = args else { return Vec::new() };
    pairs_of(rest).chunks_exact(2).map(|pair| key_of(model, pair[0])).collect()
}

fn mget<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut words = Words::new("CACHE.EMB.MGET", args, cx.server);
    let space = cx.server.shard.space(words.space()?);
    refuse_large_batch(&words, words.rest().len())?;
    let db = cx.session.db;
    let cx: &'t Context<'_, '_> = cx;
    let native = &cx.session.client.worker.native;
    let (mut hits, mut saved_micro_usd) = (0, 0);
    let vector = |key: &Vec<u8>| {
        // What is no string is no vector either.
        match cx.txn.serve(db, key).ok().flatten() {
            Some(served) => {
                native.hit(served.cost);
                hits += 1;
                saved_micro_usd += micro_usd(served.cost);
                bulk(served.value)
            }
            None => {
                native.missed();
                Reply::Null
            }
        }
    };
    let vectors: Vec<Reply<'t>> = cx.computed_keys.iter().map(vector).collect();
    if let Some(space) = space {
        space.counters.embeddings(hits, vectors.len() as u64 - hits, saved_micro_usd);
    }
    Ok(Reply::Array(vectors))
}

/// Where the options of an MSET end. A text may be the same as an option's word: a word is an option only if what follows makes it one, which
/// no text with a vector behind it can.
fn pairs_of<'a, 't>(mut rest: &'a [&'t [u8]]) -> &'a [&'t [u8]] {
    while let Some((_, behind)) = option_of(rest) {
        rest = behind;
    }
    rest
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Ex,
    Px,
    Cost,
    StoreText,
}

/// The option at the beginning, and what is behind it.
fn option_of<'a, 't>(rest: &'a [&'t [u8]]) -> Option<(Word, &'a [&'t [u8]])> {
    let is = |word: &str| rest.first().is_some_and(|first| first.eq_ignore_ascii_case(word.as_bytes()));
    // A vector is no number in digits, but for some of one to a few dimensions that nobody has.
    let has_number = rest.get(1).is_some_and(|number| number.len() <= 32 && parse_f64(number).is_some());
    if is("STORETEXT") && rest.len() % 2 == 1 {
        Some((Word::StoreText, &rest[1..]))
    } else if !has_number {
        None
    } else if is("EX") {
        Some((Word::Ex, &rest[2..]))
    } else if is("PX") {
        Some((Word::Px, &rest[2..]))
    } else if is("COST") {
        Some((Word::Cost, &rest[2..]))
    } else {
        None
    }
}

#[derive(Debug)]
struct Request<'t> {
    model: &'t [u8],
    time: Option<TimeOption<'t>>,
    cost: Option<f32>,
    store_text: bool,
    pairs: &'t [&'t [u8]],
}

impl<'t> Request<'t> {
    fn read(words: &mut Words<'t>) -> Result<Request<'t>, CommandError> {
        let model = words.space()?;
        let mut request = Request { model, time: None, cost: None, store_text: false, pairs: &[] };
        while let Some((word, _)) = option_of(words.rest()) {
            match word {
                Word::Ex | Word::Px => request.time = words.time(request.time)?,
                Word::Cost => {
                    words.once(&request.cost, "COST")?;
                    words.skip(1);
                    request.cost = Some(words.cost()?);
                }
                Word::StoreText => {
                    words.skip(1);
                    request.store_text = true;
                }
            }
        }
        request.pairs = words.rest();
        if request.pairs.is_empty() || !request.pairs.len().is_multiple_of(2) {
            let count = request.pairs.len();
            return Err(words.mistake(format_args!("texts and blobs come in pairs, got {count} arguments")));
        }
        refuse_large_batch(words, request.pairs.len() / 2)?;
        let dimension = request.pairs[1].len() / 4;
        for pair in request.pairs.chunks_exact(2) {
            words.text_of("a text", pair[0])?;
            check(words, pair[1])?;
            if pair[1].len() / 4 != dimension {
                let other = pair[1].len() / 4;
                return Err(words.mistake(format_args!("the vectors have {dimension} and {other} dimensions")));
            }
        }
        Ok(request)
    }
}

fn refuse_large_batch(words: &Words<'_>, count: usize) -> Result<(), CommandError> {
    let most = words.limits.batch_max;
    if count > most {
        return Err(words.mistake(format_args!("at most {most} texts at once (embedding-batch-max), got {count}")));
    }
    Ok(())
}

fn mset<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut words = Words::new("CACHE.EMB.MSET", args, cx.server);
    let request = Request::read(&mut words)?;
    let expires_at_ms = match request.time {
        Some(time) => Some(time.instant_ms(cx.now_ms, "cache.emb.mset")?),
        None => default_expiry_ms(cx.server, cx.now_ms),
    };
    let dimension = request.pairs[1].len() / 4;
    let space = space_for(cx.server, request.model, dimension, Maker::Itself)?;
    let db = cx.session.db;
    let put = Put { expires_at_ms, cost: request.cost };
    for (key, pair) in cx.computed_keys.iter().zip(request.pairs.chunks_exact(2)) {
        let text = String::from_utf8_lossy(pair[0]);
        let meta = request.store_text.then(|| serde_json::json!({ "text": text }).to_string());
        if let Some(meta) = &meta
            && meta.len() > words.limits.meta_bytes_max
        {
            let (most, bytes) = (words.limits.meta_bytes_max, meta.len());
            return Err(words.mistake(format_args!(
                "STORETEXT keeps texts of at most {most} bytes as JSON (meta-bytes-max), got {bytes}"
            )));
        }
        let annotations = Annotations {
            space: Some(&space),
            vector: VectorOf::Value,
            tags: &[],
            deps: &[],
            meta: meta.as_deref().map(str::as_bytes),
            facts: None::<&Facts>,
        };
        cx.txn.put_annotated(db, key, pair[1], put, &annotations, None).map_err(meaning_error)?;
    }
    Ok(integer(request.pairs.len() as u64 / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    fn read(line: &str) -> Result<(usize, bool, Option<f32>, bool), String> {
        let items = items(line);
        let request = Request::read(&mut Words::of("CACHE.EMB.MSET", &items)).map_err(|error| error.to_string())?;
        Ok((request.pairs.len() / 2, request.time.is_some(), request.cost, request.store_text))
    }

    #[test]
    fn the_key_of_a_text_is_its_digest() {
        // The first test vector of FIPS 180-2.
        let key = key_of(b"m", b"abc");
        assert_eq!(key, b"emb:m:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(keys_of_mget(&items("CACHE.EMB.MGET m abc abd")).len(), 2);
        assert_eq!(keys_of_mset(&items("CACHE.EMB.MSET m EX 5 STORETEXT abc vvvv"))[0], key);
    }

    #[test]
    fn options_come_first_and_a_text_may_look_like_one() {
        assert_eq!(read("m EX 60 COST 0.001 STORETEXT a 1234 b 5678"), Ok((2, true, Some(0.001), true)));
        assert_eq!(read("m cost abcd ex abcd storetext abcd"), Ok((3, false, None, false)));
        assert_eq!(read("m STORETEXT storetext abcd"), Ok((1, false, None, true)));
    }

    #[test]
    fn mistakes_are_named_before_anything_is_stored() {
        for (line, why) in [
            ("m a", "texts and blobs come in pairs, got 1 arguments"),
            ("m STORETEXT", "texts and blobs come in pairs, got 0 arguments"),
            ("m a abcd b abcde", "a vector has four bytes for each dimension, got 5 bytes"),
            ("m a abcd b abcdefgh", "the vectors have 1 and 2 dimensions"),
            ("m EX 5 PX 5 a abcd", "more than one time to live is given"),
            ("m COST -1 a abcd", "COST takes an amount in USD from 0, got '-1'"),
        ] {
            assert_eq!(read(line), Err(format!("ERR CACHE.EMB.MSET: {why}")), "{line}");
        }
    }
}
