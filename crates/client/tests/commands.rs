//! Typed commands by key, against a real shard.

use bytes::Bytes;
use std::time::{Duration, SystemTime};
use sutra_cache::embedded::Embedded;
use sutra_cache_client::codec::{self, Json};
use sutra_cache_client::keys::EmbeddingKey;
use sutra_cache_client::{Client, EmbeddingOptions, Entry, Error, LeaseOptions, Leased, Lifetime, Request, SetOptions};

const MINUTE: Duration = Duration::from_secs(60);

async fn start() -> (Embedded, Client) {
    let shard = Embedded::start(&[]).expect("a shard");
    let client = Client::connect(&shard.url()).await.expect("a connection");
    (shard, client)
}

fn message(error: &Error) -> String {
    error.to_string()
}

#[tokio::test]
async fn values_of_every_type_are_read_as_they_were_written() {
    let (_shard, client) = start().await;
    client.set("text", "gr\u{fc}\u{df}e").await.unwrap();
    client.set("bytes", &b"\0\r\n\xff"[..]).await.unwrap();
    client.set("vector", &vec![0.5_f32, -1.0]).await.unwrap();
    client.set("json", &Json(vec![Some(1), None])).await.unwrap();
    client.set("empty", "").await.unwrap();
    assert_eq!(client.get::<String>("text").await.unwrap().as_deref(), Some("gr\u{fc}\u{df}e"));
    assert_eq!(client.get::<Bytes>("bytes").await.unwrap().as_deref(), Some(&b"\0\r\n\xff"[..]));
    assert_eq!(client.get::<Vec<f32>>("vector").await.unwrap(), Some(vec![0.5, -1.0]));
    assert_eq!(client.get::<Json<Vec<Option<u8>>>>("json").await.unwrap().unwrap().0, [Some(1), None]);
    assert_eq!(client.cache_get::<Bytes>("empty").await.unwrap(), Some(Bytes::new()));
    let error = client.get::<Vec<f32>>("text").await.unwrap_err();
    assert!(matches!(error, Error::Decode(_)), "{error}");
    let all: Vec<Option<Bytes>> = client.mget(["text", "nothing", "empty"]).await.unwrap();
    assert_eq!(all, [Some(Bytes::from("gr\u{fc}\u{df}e")), None, Some(Bytes::new())]);
}

#[tokio::test]
async fn a_value_that_is_known_not_to_exist_is_none_and_cannot_be_written_by_chance() {
    let (_shard, client) = start().await;
    client.cache_set(&Entry::negative("gone").ttl(MINUTE)).await.unwrap();
    assert_eq!(client.get::<Bytes>("gone").await.unwrap(), None);
    assert_eq!(client.cache_get_with_ttl::<Bytes>("gone").await.unwrap(), None);
    assert!(client.exists("gone").await.unwrap());
    assert!(matches!(client.set("k", codec::NEGATIVE).await, Err(Error::Encode(_))));
    assert!(matches!(client.cache_set(&Entry::new("k", codec::NEGATIVE)).await, Err(Error::Encode(_))));
    assert!(!client.exists("k").await.unwrap());
}

#[tokio::test]
async fn conditions_and_times_of_a_set_are_kept() {
    let (_shard, client) = start().await;
    assert!(!client.set_with("k", "v", &SetOptions::new().if_present()).await.unwrap());
    assert!(client.set_with("k", "v", &SetOptions::new().if_absent().ttl(MINUTE)).await.unwrap());
    assert!(!client.set_with("k", "w", &SetOptions::new().if_absent()).await.unwrap());
    assert!(client.set_with("k", "w", &SetOptions::new().keep_ttl().if_present()).await.unwrap());
    assert!(matches!(client.ttl("k").await.unwrap(), Lifetime::Remaining(left) if left > MINUTE / 2 && left <= MINUTE));
    client.set("k", "x").await.unwrap();
    assert_eq!(client.ttl("k").await.unwrap(), Lifetime::Persistent);
    #[expect(clippy::disallowed_methods, reason = "the instant is compared with the shard's own clock")]
    let in_an_hour = SystemTime::now() + 60 * MINUTE;
    client.set_with("k", "x", &SetOptions::new().expire_at(in_an_hour)).await.unwrap();
    assert!(matches!(client.ttl("k").await.unwrap(), Lifetime::Remaining(left) if left > 59 * MINUTE));
    client.set_with("k", "x", &SetOptions::new().expire_at(SystemTime::UNIX_EPOCH)).await.unwrap();
    assert_eq!(client.ttl("k").await.unwrap(), Lifetime::Missing);
    let error = client.set_with("k", "x", &SetOptions::new().ttl(Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.code(), Some("ERR"), "{error}");
    assert!(client.set_with("k", "x", &SetOptions::new().ttl(Duration::from_nanos(1))).await.unwrap());
}

#[tokio::test]
async fn nothing_is_sent_for_nothing() {
    let (_shard, client) = start().await;
    let none: [&str; 0] = [];
    assert_eq!(client.mget::<Bytes>(none).await.unwrap(), []);
    assert_eq!(client.delete_all(none).await.unwrap(), 0);
    client.mset::<&str, &str>([], None).await.unwrap();
    client.mset::<&str, &str>([], Some(MINUTE)).await.unwrap();
    assert_eq!(client.embeddings_get("m", none).await.unwrap(), []);
    let no_pairs: [(&str, [f32; 1]); 0] = [];
    assert_eq!(client.embeddings_put("m", no_pairs, &EmbeddingOptions::new()).await.unwrap(), 0);
}

#[tokio::test]
async fn many_values_are_set_with_a_time_to_live_each() {
    let (_shard, client) = start().await;
    let pairs: Vec<(String, String)> = (0..100).map(|n| (format!("k{n}"), n.to_string())).collect();
    client.mset(pairs.iter().map(|(key, value)| (key, value)), Some(MINUTE)).await.unwrap();
    assert!(matches!(client.ttl("k99").await.unwrap(), Lifetime::Remaining(_)));
    let values: Vec<Option<String>> = client.mget(pairs.iter().map(|(key, _)| key)).await.unwrap();
    assert_eq!(values.iter().flatten().count(), 100);
    let error = client.mset([("a", "1")], Some(Duration::ZERO)).await.unwrap_err();
    assert_eq!(error.code(), Some("ERR"), "{error}");
}

#[tokio::test]
async fn a_scan_comes_by_every_key_once_in_however_small_parts() {
    let (_shard, client) = start().await;
    client.mset((0..500).map(|n| (format!("a{n}"), "")), None).await.unwrap();
    client.mset((0..50).map(|n| (format!("b{n}"), "")), None).await.unwrap();
    for count in [1, 7, 10_000] {
        let mut scan = client.scan("a*").count(count);
        let mut keys = Vec::new();
        while let Some(key) = scan.next().await.unwrap() {
            keys.push(key);
        }
        assert_eq!(scan.next().await.unwrap(), None);
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 500, "in parts of {count}");
    }
}

#[tokio::test]
async fn all_that_an_entry_was_written_with_is_told_of_it() {
    let (_shard, client) = start().await;
    let entry = Entry::new("k", "v")
        .space("s")
        .vector(&[1.0, 0.0])
        .tags(["a", "b"])
        .tag("c")
        .dep("doc:1", 7)
        .deps([("doc:2", 8)])
        .meta(&serde_json::json!({"by": "m"}))
        .cost(0.002)
        .ttl(MINUTE);
    assert!(client.cache_set(&entry).await.unwrap());
    assert!(!client.cache_set(&entry.clone().if_absent()).await.unwrap());
    let (value, meta) = client.cache_get_with_meta::<String>("k").await.unwrap().unwrap();
    assert_eq!(value, "v");
    assert_eq!(meta.tags, ["a", "b", "c"]);
    assert_eq!(meta.deps, [("doc:1".to_owned(), 7), ("doc:2".to_owned(), 8)]);
    assert_eq!(meta.read::<serde_json::Value>().unwrap(), Some(serde_json::json!({"by": "m"})));
    assert!(matches!(meta.read::<Vec<u8>>(), Err(Error::Decode(_))));
    assert_eq!((meta.cost, meta.space.as_deref(), meta.hits), (Some(0.002), Some("s"), 1));
    assert!(meta.ttl.is_some_and(|ttl| ttl <= MINUTE) && meta.age.is_some() && meta.lsn.is_some());
    client.set("plain", "v").await.unwrap();
    let (_, meta) = client.cache_get_with_meta::<String>("plain").await.unwrap().unwrap();
    assert_eq!((meta.ttl, meta.lsn, &meta.space, meta.read::<u8>().unwrap()), (None, None, &None, None));
    assert_eq!(client.cache_get_with_meta::<String>("nothing").await.unwrap(), None);
    assert_eq!(client.cache_get_with_ttl::<String>("plain").await.unwrap(), Some(("v".to_owned(), None)));
}

#[tokio::test]
async fn vectors_that_are_none_of_their_space_are_refused_and_nothing_is_stored() {
    let (_shard, client) = start().await;
    client.cache_set(&Entry::new("k", "v").space("s").vector(&[1.0, 0.0])).await.unwrap();
    for (entry, why) in [
        (Entry::new("bad", "v").space("s").vector(&[1.0]), "the vector has 1 dimensions, space 's' has 2"),
        (Entry::new("bad", "v").space("s").vector(&[1.0, f32::NAN]), "value 2 of the vector is not a finite number"),
        (Entry::new("bad", "v").space("s").vector(&[0.0, 0.0]), "the vector has length zero"),
        (Entry::new("bad", "v").space("s").text("hello"), "space 's' holds vectors that clients have made"),
        (Entry::new("bad", "v").space("s"), "a vector is FP32"),
        (Entry::new("bad", "vvv").self_space("s"), "a vector has four bytes for each dimension"),
        (Entry::new("bad", "v").cost(-1.0), "COST takes an amount in USD from 0"),
    ] {
        let error = client.cache_set(&entry).await.unwrap_err();
        assert!(error.code() == Some("ERR") && message(&error).contains(why), "{error}");
    }
    assert!(!client.exists("bad").await.unwrap());
}

#[tokio::test]
async fn an_answer_computed_from_old_data_is_refused() {
    let (_shard, client) = start().await;
    let options = LeaseOptions::new().time(MINUTE);
    let Leased::Lease(token) = client.lease("k", &options).await.unwrap() else { panic!("nobody else computes it") };
    assert!(matches!(client.lease("k", &options).await.unwrap(), Leased::Wait(left) if left <= MINUTE));
    client.delete("k").await.unwrap();
    let error = client.cache_set(&Entry::new("k", "old").lease(token)).await.unwrap_err();
    assert_eq!(error.code(), Some("STALELEASE"), "{error}");
    let Leased::Lease(token) = client.lease("k", &options).await.unwrap() else { panic!("the delete ended it") };
    assert!(client.cache_set(&Entry::new("k", "new").ttl(MINUTE).lease(token.clone())).await.unwrap());
    assert_eq!(client.lease("k", &options).await.unwrap(), Leased::Hit("new".into()));
    assert!(!client.release("k", &token).await.unwrap(), "it ended with its write");
}

#[tokio::test]
async fn what_will_soon_expire_is_computed_anew_by_one_caller_while_others_have_it() {
    let (_shard, client) = start().await;
    client.cache_set(&Entry::new("k", "v").ttl(MINUTE)).await.unwrap();
    let options = LeaseOptions::new().revalidate(2 * MINUTE);
    let Leased::Revalidate(value, token) = client.lease("k", &options).await.unwrap() else { panic!("it expires") };
    assert_eq!(value, "v");
    assert_eq!(client.lease("k", &options).await.unwrap(), Leased::Hit("v".into()));
    assert!(client.cache_set(&Entry::new("k", "w").ttl(10 * MINUTE).lease(token)).await.unwrap());
    assert_eq!(client.lease("k", &options).await.unwrap(), Leased::Hit("w".into()));
    let error = client.lease("k", &LeaseOptions::new().time(Duration::ZERO)).await.unwrap_err();
    assert!(message(&error).contains("LEASE takes milliseconds"), "{error}");
}

#[tokio::test]
async fn embeddings_come_back_in_the_order_of_their_texts_whatever_the_texts_are() {
    let (_shard, client) = start().await;
    let texts = ["EX", "STORETEXT", "", "a text\r\nof two lines", "COST"];
    let pairs = texts.iter().enumerate().map(|(n, text)| (text, [1.0, n as f32]));
    for options in [
        EmbeddingOptions::new(),
        EmbeddingOptions::new().ttl(MINUTE).cost(0.0001),
        EmbeddingOptions::new().store_text().ttl(MINUTE),
    ] {
        client.clear().await.unwrap();
        assert_eq!(client.embeddings_put("m", pairs.clone(), &options).await.unwrap(), 5);
        let found = client.embeddings_get("m", ["COST", "none", "EX", "STORETEXT"]).await.unwrap();
        assert_eq!(found, [Some(vec![1.0, 4.0]), None, Some(vec![1.0, 0.0]), Some(vec![1.0, 1.0])]);
    }
    let key = EmbeddingKey::new("m", "EX").unwrap();
    let (vector, meta) = client.cache_get_with_meta::<Vec<f32>>(key.as_str()).await.unwrap().unwrap();
    assert_eq!((vector, meta.space.as_deref()), (vec![1.0, 0.0], Some("m")));
    assert_eq!(meta.read::<serde_json::Value>().unwrap(), Some(serde_json::json!({"text": "EX"})));
    let mixed = [("a", &[1.0_f32, 2.0][..]), ("b", &[1.0])];
    let error = client.embeddings_put("m", mixed, &EmbeddingOptions::new()).await.unwrap_err();
    assert!(message(&error).contains("the vectors have 2 and 1 dimensions"), "{error}");
    assert_eq!(client.embeddings_get("m", ["a"]).await.unwrap(), [None]);
    client.set(key.as_str(), "xyz").await.unwrap();
    assert_eq!(client.embeddings_get("m", ["EX"]).await.unwrap(), [None], "what is no vector is none");
}

#[tokio::test]
async fn counters_are_numbers_and_clear_leaves_nothing() {
    let (_shard, client) = start().await;
    assert_eq!(client.incr("n", 5).await.unwrap(), 5);
    client.set("text", "x").await.unwrap();
    assert_eq!(client.incr("text", 1).await.unwrap_err().code(), Some("ERR"));
    client.call(Request::new("HSET").args(["h", "f", "v"])).await.unwrap();
    assert_eq!(client.get::<Bytes>("h").await.unwrap_err().code(), Some("WRONGTYPE"));
    client.clear().await.unwrap();
    assert_eq!(client.scan("*").next().await.unwrap(), None);
}
