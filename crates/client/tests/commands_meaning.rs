//! Typed commands by meaning, removals, spaces, statistics, copies: against a real shard.

use bytes::Bytes;
use std::time::Duration;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{
    Client, Entry, Export, Guard, Import, Invalidate, InvalidationState, LeaseOptions, Leased, Lookup, Metric,
    Quantization, Query, Search, SpaceOptions,
};

const MINUTE: Duration = Duration::from_secs(60);

async fn start() -> (Embedded, Client) {
    let shard = Embedded::start(&[]).expect("a shard");
    let client = Client::connect(&shard.url()).await.expect("a connection");
    (shard, client)
}

/// Entries `p0` to `p9` on a quarter of a circle, ten degrees apart; those of even numbers are tagged.
async fn points(client: &Client) {
    for n in 0..10_u8 {
        let (sine, cosine) = (f32::from(n) * 10.0).to_radians().sin_cos();
        let entry = Entry::new(format!("p{n}"), &n.to_string()).space("points").vector(&[cosine, sine]);
        let entry = entry.dep("doc", u64::from(n)).tags(["even"].iter().filter(|_| n % 2 == 0));
        client.cache_set(&entry).await.expect("stored");
    }
}

fn names(keys: impl IntoIterator<Item = Bytes>) -> Vec<String> {
    keys.into_iter().map(|key| String::from_utf8_lossy(&key).into_owned()).collect()
}

#[tokio::test]
async fn a_lookup_finds_the_nearest_that_meets_every_condition() {
    let (_shard, client) = start().await;
    points(&client).await;
    let near_p1 = Lookup::new("points").vector(&[0.98, 0.17]);
    let hit = client.lookup(&near_p1.clone().min(0.9)).await.unwrap().unwrap();
    assert_eq!((hit.key.as_ref(), hit.value.as_ref(), hit.exact), (&b"p1"[..], &b"1"[..], true));
    assert!(hit.similarity > 0.999 && hit.margin.is_some_and(|margin| margin > 0.0 && margin < 0.1), "{hit:?}");
    assert_eq!((hit.meta.space.as_deref(), hit.decode::<String>().unwrap().as_deref()), (Some("points"), Some("1")));
    let tagged = near_p1.clone().within(0.1).tag("even").exact();
    assert_eq!(client.lookup(&tagged).await.unwrap().unwrap().key, "p0");
    let named = near_p1.clone().min(0.5).matching("p[34]").max_age(MINUTE).ef(64);
    assert_eq!(client.lookup(&named).await.unwrap().unwrap().key, "p3");
    assert_eq!(client.lookup(&near_p1.clone().min(0.9).tag("none")).await.unwrap(), None);
    assert_eq!(client.lookup_value::<String>(&near_p1.clone().min(0.9)).await.unwrap().as_deref(), Some("1"));
    assert_eq!(client.lookup_value::<String>(&near_p1.clone().min(1.0)).await.unwrap(), None);
    assert_eq!(client.lookup(&Lookup::of([1.0, 0.0]).min(0.9)).await.unwrap(), None, "the default space is another");
}

#[tokio::test]
async fn a_threshold_that_was_answered_is_met_when_it_is_asked_for() {
    let (_shard, client) = start().await;
    points(&client).await;
    let lookup = Lookup::new("points").vector(&[0.9, 0.3]);
    let hit = client.lookup(&lookup.clone().min(0.0)).await.unwrap().unwrap();
    let again = client.lookup(&lookup.min(hit.similarity)).await.unwrap().unwrap();
    assert_eq!(again.key, hit.key);
}

#[tokio::test]
async fn lookups_that_cannot_be_are_refused_in_the_shards_words() {
    let (_shard, client) = start().await;
    points(&client).await;
    let one = Lookup::new("points").vector(&[1.0, 0.0]);
    for (lookup, why) in [
        (Lookup::new("points").vector(&[1.0]).min(0.9), "the vector has 1 dimensions, space 'points' has 2"),
        (Lookup::new("points").vector(&[f32::NAN, 1.0]).min(0.9), "is not a finite number"),
        (Lookup::new("points").vector(&[0.0, 0.0]).min(0.9), "the vector has length zero"),
        (Lookup::new("points").text("hello").min(0.9), "vectors that clients have made"),
        (one.clone(), "MIN with a similarity"),
        (one.clone().min(f64::NAN), "MIN takes a similarity"),
        (one.min(87.0), "a similarity of cosines lies from -1 to 1"),
    ] {
        let error = client.lookup(&lookup).await.unwrap_err();
        assert!(error.code() == Some("ERR") && error.to_string().contains(why), "{error}");
        assert!(!error.is_fault(), "the cache is not at fault");
    }
}

#[tokio::test]
async fn a_guard_passes_over_questions_with_other_numbers() {
    let (_shard, client) = start().await;
    client.space_create("g", &SpaceOptions::new(2).guard(Guard::all())).await.unwrap();
    let entry = Entry::new("k", "v").space("g").vector(&[1.0, 0.0]).question("Is it refunded within 30 days?");
    client.cache_set(&entry).await.unwrap();
    let asked = |question: &str| Lookup::new("g").vector(&[1.0, 0.0]).min(0.9).question(question);
    assert_eq!(client.lookup(&asked("Is it refunded within 90 days?")).await.unwrap(), None);
    assert!(client.lookup(&asked("Is it refunded within 30 days")).await.unwrap().is_some());
    assert_eq!(client.space_info("g").await.unwrap().guarded, 1);
}

#[tokio::test]
async fn one_caller_computes_the_answer_to_questions_that_are_alike() {
    let (_shard, client) = start().await;
    let (lookup, options) = (Lookup::new("s").vector(&[1.0, 0.0]).min(0.95), LeaseOptions::new().time(MINUTE));
    let alike = Lookup::new("s").vector(&[1.0, 0.05]).min(0.95);
    let other = Lookup::new("s").vector(&[0.0, 1.0]).min(0.95);
    let Leased::Lease(token) = client.lookup_or_lease(&lookup, &options).await.unwrap() else { panic!("a lease") };
    assert!(matches!(client.lookup_or_lease(&alike, &options).await.unwrap(), Leased::Wait(left) if left <= MINUTE));
    assert!(matches!(client.lookup_or_lease(&other, &options).await.unwrap(), Leased::Lease(_)));
    assert!(client.release("", &token).await.unwrap());
    let Leased::Lease(token) = client.lookup_or_lease(&alike, &options).await.unwrap() else { panic!("a lease") };
    let entry = Entry::new("k", "v").space("s").vector(&[1.0, 0.05]).ttl(MINUTE);
    assert!(client.cache_set(&entry.clone().lease(token)).await.unwrap());
    let Leased::Hit(hit) = client.lookup_or_lease(&lookup, &options).await.unwrap() else { panic!("a hit") };
    assert_eq!((hit.key.as_ref(), hit.value.as_ref()), (&b"k"[..], &b"v"[..]));
    let soon = options.revalidate(2 * MINUTE);
    let Leased::Revalidate(hit, token) = client.lookup_or_lease(&lookup, &soon).await.unwrap() else {
        panic!("it expires within two minutes")
    };
    assert_eq!(hit.key, "k");
    client.semantic_invalidate("s", [1.0, 0.0], 0.9).await.unwrap();
    let error = client.cache_set(&entry.lease(token)).await.unwrap_err();
    assert_eq!(error.code(), Some("STALELEASE"), "{error}");
}

#[tokio::test]
async fn a_search_returns_the_nearest_best_first() {
    let (_shard, client) = start().await;
    points(&client).await;
    let search = Search::new("points").vector(&[0.0, 1.0]);
    let found = client.search(&search.clone().count(3)).await.unwrap();
    assert!(found.iter().all(|found| found.value.is_none()));
    assert!(found.is_sorted_by(|one, next| one.similarity >= next.similarity));
    assert_eq!(names(found.into_iter().map(|found| found.key)), ["p9", "p8", "p7"]);
    let search = search.min(0.9).tag("even").matching("p*").max_age(MINUTE).exact().with_values();
    let found = client.search(&search).await.unwrap();
    assert_eq!(found.iter().map(|found| found.value.as_deref()).collect::<Vec<_>>(), [Some(&b"8"[..])]);
    assert_eq!(client.search(&Search::of("a text").count(1).within(0.1).ef(10)).await.unwrap(), []);
    assert_eq!(client.search(&Search::new("points")).await.unwrap_err().code(), Some("ERR"));
}

#[tokio::test]
async fn an_invalidation_removes_what_meets_every_condition_and_nothing_else() {
    let (_shard, client) = start().await;
    points(&client).await;
    client.set("plain", "v").await.unwrap();
    let near_even = Invalidate::new().space("points").vector(&[1.0, 0.0]).min(0.9).tag("even");
    let would = client.dry_run(&near_even.clone().samples(1)).await.unwrap();
    assert_eq!((would.count, would.samples.len()), (2, 1));
    assert!(would.histogram.iter().map(|(_, count)| count).sum::<u64>() >= 2, "{would:?}");
    assert_eq!(client.invalidate(&near_even).await.unwrap(), 2);
    assert_eq!(client.mget::<Bytes>(["p0", "p1", "p2"]).await.unwrap(), [None, Some("1".into()), None]);
    assert_eq!(client.invalidate(&Invalidate::new().dep_below("doc", 5)).await.unwrap(), 3, "p1, p3 and p4");
    assert_eq!(client.invalidate(&Invalidate::new().older_than(MINUTE)).await.unwrap(), 0);
    assert_eq!(client.invalidate(&Invalidate::new().matching("p*").within(0.1).text("x")).await.unwrap(), 0);
    assert_eq!(client.invalidate_tag("even").await.unwrap(), 2, "p6 and p8");
    assert_eq!(client.invalidate_pattern("pl*").await.unwrap(), 1);
    let rest = Invalidate::new().space("points").timeout(MINUTE);
    assert_eq!(client.dry_run(&rest).await.unwrap().samples[0].1, None);
    assert_eq!(client.invalidate(&rest).await.unwrap(), 3);
    assert_eq!(client.scan("*").next().await.unwrap(), None);
}

#[tokio::test]
async fn invalidations_that_cannot_be_are_refused_and_remove_nothing() {
    let (_shard, client) = start().await;
    points(&client).await;
    let space = Invalidate::new().space("points");
    for (invalidate, why) in [
        (Invalidate::new().reason("everything"), "at least one condition is needed"),
        (space.clone().vector(&[1.0, 0.0]), "MIN with a similarity"),
        (space.clone().vector(&[1.0, 0.0, 0.0]).min(0.1), "the vector has 3 dimensions"),
        (space.clone().vector(&[f32::INFINITY, 0.0]).min(0.1), "is not a finite number"),
        (space.clone().min(0.1), "'MIN' is not expected here"),
        (space.hold(Duration::from_secs(1 << 30)), "HOLD takes a number of seconds"),
    ] {
        for error in [client.invalidate(&invalidate).await.unwrap_err(), client.dry_run(&invalidate).await.unwrap_err()]
        {
            assert!(error.code() == Some("ERR") && error.to_string().contains(why), "{error}");
        }
    }
    assert_eq!(client.search(&Search::new("points").vector(&[1.0, 0.0])).await.unwrap().len(), 10);
}

#[tokio::test]
async fn what_an_invalidation_holds_off_is_refused() {
    let (_shard, client) = start().await;
    let hold = Invalidate::new().tag("doc:1").hold(MINUTE).reason("reimport");
    assert_eq!(client.invalidate(&hold).await.unwrap(), 0);
    let error = client.cache_set(&Entry::new("k", "v").tag("doc:1")).await.unwrap_err();
    assert_eq!(error.code(), Some("HELD"), "{error}");
    assert!(error.advice().contains("hold"), "{}", error.advice());
    assert!(client.cache_set(&Entry::new("k", "v").tag("doc:2")).await.unwrap());
}

#[tokio::test]
async fn an_invalidation_is_logged_and_taken_back() {
    let (_shard, client) = start().await;
    points(&client).await;
    let near = Query::from([0.0, 1.0]);
    assert_eq!(client.semantic_invalidate("points", near, 0.95).await.unwrap(), 2);
    client.invalidate(&Invalidate::new().tag("even").reason("a new edition")).await.unwrap();
    let log = client.log(10).await.unwrap();
    assert_eq!((log.len(), log[0].reason.as_str(), log[1].count), (2, "a new edition", 2));
    assert!(log[0].lsn > log[1].lsn && log[0].at >= log[1].at && log[0].who.starts_with("default@"), "{log:?}");
    assert_eq!(client.log(1).await.unwrap()[0].lsn, log[0].lsn);
    assert_eq!(client.undo(log[1].lsn).await.unwrap(), 1, "the later invalidation covers p8 too");
    assert_eq!(client.log(10).await.unwrap()[1].state, InvalidationState::Undone);
    assert!(client.exists("p9").await.unwrap() && !client.exists("p8").await.unwrap());
    assert_eq!(client.undo(log[1].lsn).await.unwrap_err().code(), Some("ERR"));
}

#[tokio::test]
async fn spaces_are_made_described_emptied_and_removed() {
    let (_shard, client) = start().await;
    let guard = Guard { numbers: true, negation: true, ..Guard::default() };
    let options = SpaceOptions::new(3).metric(Metric::Euclidean).quantization(Quantization::Int8Only).guard(guard);
    client.space_create("made", &options).await.unwrap();
    let error = client.space_create("made", &options).await.unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
    client.cache_set(&Entry::new("k", "v").space("faq").text("hello there")).await.unwrap();
    assert_eq!(client.space_list().await.unwrap(), ["faq", "made"]);
    let info = client.space_info("made").await.unwrap();
    assert_eq!((info.dimension, info.metric, info.quantization), (3, Metric::Euclidean, Quantization::Int8Only));
    assert_eq!((info.guard, info.entries, info.embedder.as_str(), info.suggested_threshold), (guard, 0, "", None));
    let faq = client.space_info("faq").await.unwrap();
    assert!(faq.embedder.starts_with("builtin") && faq.entries == 1 && faq.memory_bytes > 0, "{faq:?}");
    client.space_create("same", &SpaceOptions::new(faq.dimension).embedder(faq.embedder)).await.unwrap();
    client.cache_set(&Entry::new("k2", "v").space("same").text("hello there")).await.unwrap();
    client.space_bump("faq").await.unwrap();
    assert!(!client.exists("k").await.unwrap());
    assert_eq!(client.space_drop("same").await.unwrap(), 1);
    for error in [
        client.space_info("nothing").await.unwrap_err(),
        client.space_drop("nothing").await.unwrap_err(),
        client.space_bump("nothing").await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("no such space 'nothing'"), "{error}");
    }
}

#[tokio::test]
async fn statistics_count_what_was_found_and_what_it_saved() {
    let (_shard, client) = start().await;
    let entry = Entry::new("k", "v").space("s").vector(&[1.0, 0.0]).cost(0.25);
    client.cache_set(&entry).await.unwrap();
    let lookup = Lookup::new("s").vector(&[1.0, 0.0]).min(0.9);
    assert!(client.lookup(&lookup).await.unwrap().is_some());
    assert!(client.lookup(&lookup.tag("none")).await.unwrap().is_none());
    client.cache_get::<Bytes>("k").await.unwrap();
    let stats = client.shard_stats(None).await.unwrap();
    assert_eq!((stats.meaning.hits, stats.meaning.misses, stats.keys.hits), (1, 1, 1));
    assert_eq!((stats.cost_saved_usd, stats.meaning.hit_rate), (0.5, Some(0.5)));
    assert!(stats.lookup_latency.is_some_and(|latency| latency.p99_us >= latency.p50_us && latency.p50_us > 0));
    assert_eq!((stats.spaces[0].0.as_str(), stats.spaces[0].1.entries, stats.window), ("s", Some(1), None));
    let window = client.shard_stats(Some(MINUTE)).await.unwrap();
    assert!(window.window.is_some() && window.available.is_some() && window.lookup_latency.is_none(), "{window:?}");
    let space = client.space_stats("s", None).await.unwrap();
    assert_eq!((space.meaning.lookups, space.meaning.cost_saved_usd, space.embeddings.lookups), (2, 0.25, 0));
    assert!(client.space_stats("s", Some(MINUTE)).await.unwrap().window.is_some());
    assert_eq!(client.space_stats("nothing", None).await.unwrap_err().code(), Some("ERR"));
    let top = client.top(5, Some(MINUTE)).await.unwrap();
    assert_eq!((top.len(), top[0].key.as_ref(), top[0].hits, top[0].space.as_deref()), (1, &b"k"[..], 2, Some("s")));
    assert!(client.feedback("k", false).await.unwrap());
    assert_eq!(client.space_info("s").await.unwrap().feedback_bad, 1);
    assert!(!client.ask("What is the hit rate?").await.unwrap().is_empty());
}

#[tokio::test]
async fn copies_are_taken_part_by_part_and_stored_with_all_that_is_known_of_them() {
    let (_warm_shard, warm) = start().await;
    let (_cold_shard, cold) = start().await;
    points(&warm).await;
    warm.set("plain", "v").await.unwrap();
    warm.cache_get::<Bytes>("p7").await.unwrap();
    let mut export = Export::new().count(4).matching("p[0-9]");
    let mut copies = Vec::new();
    loop {
        let part = warm.warm_export(&export).await.unwrap();
        assert!(part.copies.len() <= 4);
        copies.extend(part.copies);
        let Some(next) = part.next else { break };
        export = export.cursor(next);
    }
    assert_eq!(copies.len(), 10);
    assert_eq!(cold.warm_import(&copies[..1], &Import::new()).await.unwrap(), 1);
    let (_, meta) = cold.cache_get_with_meta::<String>("p7").await.unwrap().expect("the most used comes first");
    assert_eq!((meta.space.as_deref(), meta.deps.as_slice()), (Some("points"), &[("doc".to_owned(), 7)][..]));
    cold.set("p7", "newer").await.unwrap();
    assert_eq!(cold.warm_import(&copies, &Import::new()).await.unwrap(), 9);
    assert_eq!(cold.get::<String>("p7").await.unwrap().as_deref(), Some("newer"));
    assert_eq!(cold.warm_from(&warm, 1, &Import::new().replace().ttl_min(MINUTE)).await.unwrap(), 1);
    assert_eq!(cold.get::<String>("p7").await.unwrap().as_deref(), Some("7"));
    assert_eq!(cold.warm_from(&warm, u64::MAX, &Import::new().replace()).await.unwrap(), 11);
    let none: [&[u8]; 0] = [];
    assert_eq!(cold.warm_import(none, &Import::new()).await.unwrap(), 0);
    let error = cold.warm_import(["damaged"], &Import::new()).await.unwrap_err();
    assert!(error.to_string().contains("nothing was stored"), "{error}");
    let recent = warm.warm_export(&Export::new().since(MINUTE)).await.unwrap();
    assert_eq!((recent.copies.len(), recent.next), (10, None), "what SET wrote has no time of writing");
}
