//! CACHE.WARM between two servers, each on a socket of its own.

use std::collections::{BTreeMap, BTreeSet};
use sutra_cache::clock::Clock;
use sutra_cache::net::{Handle, serve};
use sutra_cache::server::{Server, Stop};
use sutra_cache::settings::Settings;
use sutra_eviction::Policy;
use sutra_protocol::Frame;
use sutra_shard::{Limits, Options, Shard};

#[path = "support/client.rs"]
mod client;
#[path = "support/random.rs"]
mod random;
use client::Client;
use random::{Random, run_seed};

const DIMENSION: usize = 16;

/// When the clocks of servers stand still, unless a test moves them: in Unix milliseconds.
const NOW_MS: u64 = 1_800_000_000_000;

fn start_on(shard: Shard) -> (Handle, Client) {
    let settings = Settings { port: 0, io_threads: 1, background_threads: 1, ..Settings::default() };
    let handle = serve(Server::new(settings, shard, Clock::manual(NOW_MS))).expect("a free port");
    let client = Client::connect(handle.address().port()).expect("the server listens");
    (handle, client)
}

fn start_within(limits: &Limits) -> (Handle, Client) {
    start_on(Shard::in_memory(limits, 7).expect("the limits allow a shard"))
}

fn start() -> (Handle, Client) {
    start_within(&Limits::default())
}

fn array(frame: Frame) -> Vec<Frame> {
    let Frame::Array(items) = frame else { panic!("an array, not {frame:?}") };
    items
}

fn bytes(frame: Frame) -> Vec<u8> {
    let Frame::Bulk(bytes) = frame else { panic!("a bulk string, not {frame:?}") };
    bytes
}

fn ok() -> Frame {
    Frame::Simple("OK".into())
}

/// One part of an export: the cursor and the blobs.
fn part(client: &mut Client, options: &str) -> (String, Vec<Vec<u8>>) {
    let line = format!("CACHE.WARM EXPORT {options}");
    let [cursor, blobs] = array(client.say(line.trim())).try_into().expect("a cursor and blobs");
    let cursor = String::from_utf8(bytes(cursor)).expect("a cursor is text");
    (cursor, array(blobs).into_iter().map(bytes).collect())
}

/// Parts until there are no more, or so many blobs.
fn export(client: &mut Client, options: &str, count: usize) -> Vec<Vec<u8>> {
    let (mut cursor, mut all) = ("0".to_owned(), Vec::new());
    loop {
        let (next, blobs) = part(client, format!("{options} CURSOR {cursor}").trim());
        all.extend(blobs);
        if next == "0" || all.len() >= count {
            return all;
        }
        assert_ne!(next, cursor, "an export goes on");
        cursor = next;
    }
}

fn import(client: &mut Client, options: &[&str], blobs: &[Vec<u8>]) -> Frame {
    let mut request: Vec<&[u8]> = vec![b"CACHE.WARM", b"IMPORT"];
    request.extend(options.iter().map(|option| option.as_bytes()));
    request.extend(blobs.iter().map(Vec::as_slice));
    client.ask(&request).expect("an answer")
}

fn error(frame: &Frame) -> String {
    let Frame::Error(text) = frame else { panic!("an error, not {frame:?}") };
    text.to_string()
}

fn vector(random: &mut Random) -> Vec<u8> {
    (0..DIMENSION).flat_map(|_| (random.below(2001) as f32 / 1000.0 - 1.0).to_le_bytes()).collect()
}

/// What CACHE.GET WITHMETA says, but for what belongs to one shard alone.
fn described(client: &mut Client, key: &[u8]) -> BTreeMap<String, Frame> {
    let reply = array(client.ask(&[&b"CACHE.GET"[..], key, b"WITHMETA"]).expect("an answer"));
    let mut pairs = BTreeMap::new();
    for pair in reply.chunks_exact(2) {
        let name = String::from_utf8(bytes(pair[0].clone())).expect("a word");
        if !["ttl_ms", "age_ms", "lsn", "hits"].contains(&name.as_str()) {
            pairs.insert(name, pair[1].clone());
        }
    }
    pairs
}

#[test]
fn lookups_by_meaning_answer_the_same_on_a_server_that_was_filled_with_the_most_used_entries_of_another() {
    let mut random = Random::new(run_seed("warm lookups"));
    let ((_old, mut old), (_new, mut new)) = (start(), start());
    assert_eq!(old.say(&format!("CACHE.SPACE CREATE docs DIM {DIMENSION} METRIC l2 GUARD numbers")), ok());
    let vectors: Vec<Vec<u8>> = (0..1500).map(|_| vector(&mut random)).collect();
    for (at, vector) in vectors.iter().enumerate() {
        let (key, value, question) = (format!("k{at}"), format!("answer {at}"), format!("what is {at}?"));
        let request: Vec<&[u8]> = vec![
            b"CACHE.SET",
            key.as_bytes(),
            value.as_bytes(),
            b"IN",
            b"docs",
            b"FP32",
            vector,
            b"QUESTION",
            question.as_bytes(),
            b"TAG",
            b"2",
            b"all",
            key.as_bytes(),
            b"COST",
            b"0.5",
            b"EX",
            b"3600",
        ];
        assert_eq!(old.ask(&request).expect("an answer"), ok());
    }
    let find = |client: &mut Client, at: usize, asked: usize| {
        let question = format!("what is {asked}?");
        let request: Vec<&[u8]> = vec![
            b"CACHE.LOOKUP",
            b"docs",
            b"FP32",
            &vectors[at],
            b"MIN",
            b"-0.0001",
            b"QUESTION",
            question.as_bytes(),
            b"WITHSCORE",
        ];
        let reply = client.ask(&request).expect("an answer");
        // The margin is to the next best entry, which may not have come along.
        if reply == Frame::Null { None } else { Some(array(reply)[..3].to_vec()) }
    };
    // Every third is asked for, and each of them is among the thousand.
    let used: Vec<usize> = (0..1500).filter(|at| at % 3 != 0).collect();
    for &at in &used {
        assert!(find(&mut old, at, at).is_some(), "k{at}");
    }
    let blobs = export(&mut old, "COUNT 300", 1000);
    assert_eq!(blobs.len(), 1200);
    assert_eq!(import(&mut new, &[], &blobs[..1000]), Frame::Integer(1000));
    assert_eq!(new.say("DBSIZE"), Frame::Integer(1000));
    for &at in &used {
        assert_eq!(find(&mut new, at, at), find(&mut old, at, at), "k{at}");
        assert_eq!(find(&mut new, at, at + 1), None, "the guard has come along");
    }
    let info = |client: &mut Client| array(client.say("CACHE.SPACE INFO docs"))[..12].to_vec();
    assert_eq!(info(&mut new)[..10], info(&mut old)[..10]);
    assert_eq!(described(&mut new, b"k1"), described(&mut old, b"k1"));
    // They can be removed by all that they can be removed by where they come from.
    assert_eq!(new.say("CACHE.INVALIDATE TAG 1 k1"), Frame::Integer(1));
    assert_eq!(new.say("CACHE.INVALIDATE TAG 1 all"), Frame::Integer(999));
}

#[test]
fn entries_of_every_kind_come_along_whole() {
    let mut random = Random::new(run_seed("warm kinds"));
    let ((_old, mut old), (handle, mut new)) = (start(), start());
    let (mut keys, mut annotated) = (Vec::new(), 0);
    for at in 0..400 {
        let mut value = vec![0; random.below(3000)];
        random.fill(&mut value);
        let key = format!("k{at}\r\n\0").into_bytes();
        let mut request: Vec<Vec<u8>> = vec![b"CACHE.SET".to_vec(), key.clone(), value];
        let mut add = |words: &[&[u8]]| request.extend(words.iter().map(|word| word.to_vec()));
        let of_random = vector(&mut random);
        match random.below(5) {
            0 => add(&[b"IN", b"docs", b"FP32", &of_random]),
            1 => add(&[b"IN", b"text", b"TEXT", b"is it 7 or 8?"]),
            2 => add(&[b"TAG", b"1", b"t"]),
            3 => {
                request[2] = of_random;
                request.extend([b"SELF".to_vec(), b"model".to_vec()]);
            }
            _ => request = vec![b"SET".to_vec(), key.clone(), request[2].clone()],
        }
        if request[0] == b"CACHE.SET" {
            annotated += 1;
            let mut add = |words: &[&[u8]]| request.extend(words.iter().map(|word| word.to_vec()));
            if random.one_in(2) {
                add(&[b"DEP", b"2", b"a", b"1", b"b", b"9223372036854775807"]);
            }
            if random.one_in(2) {
                add(&[b"META", b"{\"a\": [1, null]}"]);
            }
            if random.one_in(2) {
                add(&[b"COST", b"0.125"]);
            }
        }
        if random.one_in(2) {
            request.extend([b"EX".to_vec(), b"5000".to_vec()]);
        }
        assert_eq!(old.ask(&request).expect("an answer"), ok());
        keys.push(key);
    }
    assert_eq!(old.say("HSET hash f v g w"), Frame::Integer(2));
    assert_eq!(old.say("HPEXPIREAT hash 4102444800000 FIELDS 1 f"), Frame::Array(vec![Frame::Integer(1)]));
    assert_eq!(old.say("EXPIREAT hash 4102444800"), Frame::Integer(1));
    assert_eq!(old.say("CACHE.SET changed v COST 2"), ok());
    assert_eq!(old.say("APPEND changed more"), Frame::Integer(5));

    handle.server().clock.advance(1000);
    let blobs = export(&mut old, "COUNT 37", usize::MAX);
    assert_eq!(blobs.len(), keys.len() + 2);
    assert_eq!(import(&mut new, &[], &blobs), Frame::Integer(blobs.len() as i64));
    for key in &keys {
        let (theirs, ours) = (described(&mut old, key), described(&mut new, key));
        assert_eq!(theirs, ours, "{}", String::from_utf8_lossy(key));
        for word in [&b"PEXPIRETIME"[..], b"DUMP"] {
            let ask = |client: &mut Client| client.ask(&[word, key]).expect("an answer");
            assert_eq!(ask(&mut old), ask(&mut new), "{}", String::from_utf8_lossy(key));
        }
    }
    for line in ["DUMP hash", "PEXPIRETIME hash", "HPEXPIRETIME hash FIELDS 2 f g", "GET changed", "CACHE.SPACE LIST"] {
        assert_eq!(old.say(line), new.say(line), "{line}");
    }
    // An age is the age of the entry and not of the copy.
    handle.server().clock.advance(3_599_000);
    assert_eq!(new.say("CACHE.INVALIDATE OLDER 3601"), Frame::Integer(0));
    assert_eq!(new.say("CACHE.INVALIDATE OLDER 3600"), Frame::Integer(annotated));
}

#[test]
fn an_export_in_parts_gives_every_entry_that_is_left_alone_once() {
    let (_handle, mut client) = start();
    for at in 0..500 {
        client.say(&format!("CACHE.SET native{at} v TAG 1 a"));
        client.say(&format!("SET plain{at} v"));
    }
    client.say("SELECT 1");
    client.say("SET other v");
    client.say("SELECT 0");
    for count in [1, 7, 999, 1000, 10_000] {
        let blobs = export(&mut client, &format!("COUNT {count}"), usize::MAX);
        let distinct: BTreeSet<&[u8]> = blobs.iter().map(|blob| &blob[60..]).collect();
        assert_eq!((blobs.len(), distinct.len()), (1000, 1000), "parts of {count}");
        if count == 1 {
            // The entry that is read is the first from then on.
            client.say("CACHE.GET native77 WITHTTL");
        }
    }
    let (_, first) = part(&mut client, "COUNT 1");
    assert!(first[0][60..].starts_with(b"native77v"), "the most used entry comes first");
    assert_eq!(export(&mut client, "COUNT 90 MATCH plain*", usize::MAX).len(), 500);
    assert_eq!(export(&mut client, "COUNT 90 SINCE 3600", usize::MAX).len(), 500);
    assert_eq!(part(&mut client, "SINCE 0").1.len(), 0);
}

#[test]
fn a_part_ends_with_the_entry_that_fills_it() {
    let (_handle, mut client) = start();
    let value = vec![b'x'; 3 << 20];
    for key in ["a", "b", "c", "d"] {
        assert_eq!(client.ask(&[b"SET", key.as_bytes(), &value]).expect("an answer"), ok());
    }
    let (cursor, blobs) = part(&mut client, "");
    assert_eq!(blobs.len(), 3);
    let (cursor, rest) = part(&mut client, &format!("CURSOR {cursor}"));
    assert_eq!((cursor.as_str(), rest.len()), ("0", 1));
}

#[test]
fn what_is_there_stays_unless_it_is_to_be_replaced() {
    let ((_old, mut old), (_new, mut new)) = (start(), start());
    old.say("SET k theirs");
    let blobs = export(&mut old, "", 1);
    new.say("SET k ours");
    assert_eq!(import(&mut new, &[], &blobs), Frame::Integer(0));
    assert_eq!(new.say("GET k"), Frame::Bulk(b"ours".to_vec()));
    assert_eq!(import(&mut new, &["REPLACE"], &blobs), Frame::Integer(1));
    assert_eq!(new.say("GET k"), Frame::Bulk(b"theirs".to_vec()));
}

#[test]
fn what_has_expired_or_will_soon_is_left_out() {
    let ((_old, mut old), (handle, mut new)) = (start(), start());
    for line in ["SET gone v PX 1000", "SET here v PX 1001", "SET soon v EX 100", "SET never v"] {
        assert_eq!(old.say(line), ok());
    }
    let blobs = export(&mut old, "", usize::MAX);
    assert_eq!(blobs.len(), 4);
    handle.server().clock.advance(1000);
    assert_eq!(import(&mut new, &["TTLMIN", "99000"], &blobs), Frame::Integer(1));
    assert_eq!(new.say("EXISTS never"), Frame::Integer(1));
    assert_eq!(import(&mut new, &["TTLMIN", "98999"], &blobs), Frame::Integer(1));
    assert_eq!(new.say("PTTL soon"), Frame::Integer(99_000));
    assert_eq!(import(&mut new, &[], &blobs), Frame::Integer(1));
    assert_eq!(new.say("EXISTS gone"), Frame::Integer(0));
    assert_eq!(new.say("PTTL here"), Frame::Integer(1));
}

#[test]
fn one_bad_blob_is_named_and_keeps_all_from_being_stored() {
    let ((_old, mut old), (_new, mut new)) = (start(), start());
    old.say("CACHE.SET good v TAG 1 a");
    let good = export(&mut old, "MATCH good", 1).remove(0);
    let mut damaged = good.clone();
    damaged[70] ^= 1;
    let mut newer = good.clone();
    newer[4] = 2;
    for (bad, why) in [
        (damaged, "is damaged: its checksum or a length is wrong"),
        (newer, "is of version 2, this server reads version 1"),
        (good[..good.len() - 1].to_vec(), "is damaged: its checksum or a length is wrong"),
        (b"anything".to_vec(), "is none that CACHE.WARM EXPORT has made"),
        (Vec::new(), "is none that CACHE.WARM EXPORT has made"),
    ] {
        let reply = import(&mut new, &[], &[good.clone(), bad]);
        assert_eq!(error(&reply), format!("ERR CACHE.WARM IMPORT: blob 2 of 2 {why}; nothing was stored"));
    }
    assert_eq!(new.say("DBSIZE"), Frame::Integer(0));
    assert_eq!(import(&mut new, &[], &[good.clone(), good]), Frame::Integer(1));
}

#[test]
fn a_limit_of_this_server_holds_for_what_comes_from_another() {
    let ((_old, mut old), (_new, mut new)) = (start(), start());
    old.say("CACHE.SET k v TAG 2 aa bb META {\"a\":1} IN docs VALUES 2 1 0");
    let blobs = export(&mut old, "", 1);
    for (setting, why) in [
        ("entry-tags-max 1", "an entry has at most 1 tags (entry-tags-max), got 2"),
        ("tag-bytes-max 1", "an entry has at most 1 bytes in a tag or a source's name (tag-bytes-max), got 2"),
        ("meta-bytes-max 4", "META has at most 4 bytes (meta-bytes-max), got 7"),
        ("vector-dimension-max 1", "the vector has 2 dimensions, at most 1 are accepted (vector-dimension-max)"),
    ] {
        let (name, _) = setting.split_once(' ').expect("a name and a value");
        let before = String::from_utf8(bytes(array(new.say(&format!("CONFIG GET {name}"))).remove(1))).expect("text");
        assert_eq!(new.say(&format!("CONFIG SET {setting}")), ok());
        let reply = import(&mut new, &[], &blobs);
        assert_eq!(error(&reply), format!("ERR CACHE.WARM IMPORT: blob 1 of 1 is refused: {why}; nothing was stored"));
        assert_eq!(new.say(&format!("CONFIG SET {name} {before}")), ok());
    }
    assert_eq!(import(&mut new, &[], &blobs), Frame::Integer(1));
}

#[test]
fn vectors_of_another_kind_are_refused_with_what_both_shards_have() {
    let (_old, mut old) = start();
    old.say("CACHE.SPACE CREATE s DIM 2 METRIC ip");
    old.say("CACHE.SET k v IN s VALUES 2 3 4");
    let blobs = export(&mut old, "", 1);
    for (made, why) in [
        ("DIM 3 METRIC ip", "space 's' has 3 dimensions here, 2 where the entry comes from"),
        ("DIM 2 METRIC l2", "space 's' has metric Euclidean here, InnerProduct where the entry comes from"),
        ("DIM 2 METRIC ip EMBEDDER x", "space 's' has embedder 'x' here, none where the entry comes from"),
    ] {
        let (_new, mut new) = start();
        assert_eq!(new.say(&format!("CACHE.SPACE CREATE s {made}")), ok());
        let reply = import(&mut new, &[], &blobs);
        assert_eq!(error(&reply), format!("ERR CACHE.WARM IMPORT: blob 1 of 1 is refused: {why}; nothing was stored"));
    }
    // What is kept of a vector is each shard's own affair.
    let (_new, mut new) = start();
    assert_eq!(new.say("CACHE.SPACE CREATE s DIM 2 METRIC ip QUANT int8-only"), ok());
    assert_eq!(import(&mut new, &[], &blobs), Frame::Integer(1));
    assert_eq!(new.say("CACHE.LOOKUP s VALUES 2 3 4 MIN 24"), Frame::Bulk(b"v".to_vec()));
}

#[test]
fn a_value_that_is_its_vector_goes_into_a_space_of_rounded_vectors() {
    let ((_old, mut old), (_new, mut new)) = (start(), start());
    let blob: Vec<u8> = [3.0f32, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    assert_eq!(old.ask(&[&b"CACHE.EMB.MSET"[..], b"m", b"hello", &blob]).expect("an answer"), Frame::Integer(1));
    assert_eq!(new.say("CACHE.SPACE CREATE m DIM 2 QUANT int8-only"), ok());
    let blobs = export(&mut old, "", 1);
    assert_eq!(import(&mut new, &[], &blobs), Frame::Integer(1));
    assert_eq!(new.say("CACHE.EMB.MGET m hello"), Frame::Array(vec![Frame::Bulk(blob)]));
    assert_eq!(array(new.say("CACHE.SEARCH m VALUES 2 3 4 MIN 0.99")).len(), 1);
}

#[test]
fn a_copy_from_before_an_invalidation_does_not_bring_the_entry_back() {
    let ((handle, mut old), (_new, mut new)) = (start(), start());
    for line in ["CACHE.SET doc v IN s VALUES 2 1 0 TAG 1 stale", "CACHE.SET other v IN s VALUES 2 0 1", "SET plain v"]
    {
        old.say(line);
    }
    let before = export(&mut old, "", usize::MAX);
    assert_eq!(import(&mut new, &[], &before), Frame::Integer(3));
    assert_eq!(new.say("CACHE.INVALIDATE TAG 1 stale"), Frame::Integer(1));
    assert_eq!(new.say("CACHE.INVALIDATE MATCH plain"), Frame::Integer(1));
    assert_eq!(import(&mut new, &["REPLACE"], &before), Frame::Integer(1));
    assert_eq!(new.say("EXISTS doc plain"), Frame::Integer(0));
    // A copy that is made afterwards is of what is there now.
    handle.server().clock.advance(1);
    let after = export(&mut old, "", usize::MAX);
    assert_eq!(import(&mut new, &["REPLACE"], &after), Frame::Integer(3));
    // What a hold keeps off is left out, too.
    assert_eq!(new.say("CACHE.INVALIDATE TAG 1 stale HOLD 60"), Frame::Integer(1));
    let held = export(&mut old, "MATCH doc", 1);
    assert_eq!(import(&mut new, &["REPLACE"], &held), Frame::Integer(0));
}

#[test]
fn what_was_imported_is_there_after_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let open = || Shard::open(&Options::new(directory.path()), NOW_MS).expect("a directory of our own").0;
    let (_old, mut old) = start();
    old.say("CACHE.SET k v IN docs VALUES 2 3 4 TAG 1 a COST 0.5 EX 60");
    old.say("HSET h f v");
    let blobs = export(&mut old, "", usize::MAX);
    let (handle, mut new) = start_on(open());
    assert_eq!(import(&mut new, &[], &blobs), Frame::Integer(2));
    drop(new);
    handle.stop(Stop::NoSave);
    let (_again, mut again) = start_on(open());
    assert_eq!(described(&mut again, b"k"), described(&mut old, b"k"));
    assert_eq!(again.say("CACHE.LOOKUP docs VALUES 2 3 4 MIN 0.99"), Frame::Bulk(b"v".to_vec()));
    for line in ["PTTL k", "HGET h f"] {
        assert_eq!(again.say(line), old.say(line), "{line}");
    }
}

#[test]
fn an_import_stays_within_the_memory_limit() {
    let (_old, mut old) = start();
    let mut value = vec![0; 64 << 10];
    Random::new(run_seed("warm memory")).fill(&mut value);
    for at in 0..600 {
        assert_eq!(old.ask(&[b"SET", format!("k{at}").as_bytes(), &value]).expect("an answer"), ok());
    }
    let blobs = export(&mut old, "", usize::MAX);
    assert_eq!(blobs.len(), 600);
    let limit = 24 << 20;
    let limits = |policy| Limits { max_memory_bytes: limit, max_entries: 0, policy };
    let (handle, mut evicts) = start_within(&limits(Policy::AllkeysLru));
    for share in blobs.chunks(10) {
        assert_eq!(import(&mut evicts, &[], share), Frame::Integer(share.len() as i64));
    }
    assert!(handle.server().shard.memory().used_bytes() <= limit);
    let (_handle, mut refuses) = start_within(&limits(Policy::NoEviction));
    let refusal =
        blobs.chunks(10).map(|share| import(&mut refuses, &[], share)).find(|reply| matches!(reply, Frame::Error(_)));
    let text = error(&refusal.expect("there is no room for all"));
    assert!(text.starts_with("OOM command not allowed when used memory > 'maxmemory'."), "{text}");
}
