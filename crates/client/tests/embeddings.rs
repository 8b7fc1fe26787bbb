//! Vectors of many texts: what is known, and the rest.

use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{Cache, CacheBuilder, Client, Config, EmbeddingOptions, Embeddings, Error, Request};

/// A model that remembers in which batches it was asked for what.
#[derive(Debug, Default)]
struct Model {
    batches: Mutex<Vec<Vec<String>>>,
}

impl Model {
    fn vector(text: &str) -> Vec<f32> {
        let sum = text.bytes().fold(1.0, |sum: f32, byte| sum * 0.9 + f32::from(byte));
        vec![sum, text.len() as f32, 1.0]
    }

    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, std::io::Error> {
        let vectors = texts.iter().map(|text| Model::vector(text)).collect();
        self.batches.lock().expect("no panic").push(texts);
        Ok(vectors)
    }

    /// How many texts there were in each batch since the last time it was asked.
    fn batches(&self) -> Vec<usize> {
        std::mem::take(&mut *self.batches.lock().expect("no panic")).iter().map(Vec::len).collect()
    }
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("text {number}")).collect()
}

fn vectors(texts: &[String]) -> Vec<Vec<f32>> {
    texts.iter().map(|text| Model::vector(text)).collect()
}

#[tokio::test]
async fn of_a_thousand_texts_of_which_nine_hundred_are_known_one_hundred_are_computed_and_one_round_trip_is_made() {
    let shard = Embedded::start(&[]).unwrap();
    let (writer, cache) = (Client::connect(&shard.url()).await.unwrap(), Cache::connect(&shard.url()).await.unwrap());
    let all = texts(0..1000);
    let known = all.iter().filter(|text| !text.ends_with('7')).map(|text| (text, Model::vector(text)));
    assert_eq!(writer.embeddings_put("m", known, &EmbeddingOptions::new()).await.unwrap(), 900);
    let model = Model::default();
    let options = Embeddings::new("m").batch(64).cost(0.001);
    let commands = async |name: &str| {
        let info = writer.call(Request::read("INFO").arg("commandstats")).await.unwrap();
        let text = format!("{info:?}");
        let calls =
            text.split(&format!("cmdstat_{name}:calls=")).nth(1).map_or("0", |rest| rest.split(',').next().unwrap());
        calls.parse::<u64>().unwrap()
    };
    let (gets, sets) = (commands("cache.emb.mget").await, commands("cache.emb.mset").await);
    let embed = async |texts| model.embed(texts).await;
    assert_eq!(cache.embeddings(&options, &all, embed).await.unwrap(), vectors(&all));
    assert_eq!(model.batches(), [64, 36]);
    assert_eq!(commands("cache.emb.mget").await - gets, 1);
    assert_eq!(commands("cache.emb.mset").await - sets, 2, "each batch is kept when it is there");
    let stats = cache.stats();
    assert_eq!((stats.l2_hits, stats.misses), (900, 100));
    assert_eq!((stats.models["m"].spent_usd, stats.models["m"].saved_usd), (0.1, 0.9));

    assert_eq!(cache.embeddings(&options, &all, embed).await.unwrap(), vectors(&all));
    assert_eq!(cache.embeddings(&options, &all, embed).await.unwrap(), vectors(&all));
    assert_eq!(model.batches(), [0; 0], "all are known");
    // What was written is here once it has been read, unless the push of the writing came only then.
    assert!((900 + 900..=900 + 1000).contains(&cache.stats().l1_hits), "{}", cache.stats().l1_hits);
}

#[tokio::test]
async fn equal_texts_are_asked_for_and_computed_once() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let model = Model::default();
    let all = ["a", "b", "a", "A", "b", "a"].map(str::to_owned);
    let embed = async |texts| model.embed(texts).await;
    assert_eq!(cache.embeddings(&Embeddings::new("m").cost(1.0), &all, embed).await.unwrap(), vectors(&all));
    assert_eq!(model.batches(), [3]);
    assert_eq!((cache.stats().misses, cache.stats().models["m"].saved_usd), (3, 3.0));
    assert_eq!(cache.embeddings("m", &[] as &[&str], embed).await.unwrap(), [[0.0; 0]; 0]);
}

#[tokio::test]
async fn a_text_spelt_like_an_option_is_a_text() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::builder(&shard.url()).unwrap().without_l1().connect().await.unwrap();
    let model = Model::default();
    let all = ["STORETEXT", "EX", "5", "COST", "0.5", "", "PX"].map(str::to_owned);
    let options = Embeddings::new("m").ttl(Duration::from_secs(600)).store_text();
    for _ in 0..2 {
        let embed = async |texts| model.embed(texts).await;
        assert_eq!(cache.embeddings(&options, &all, embed).await.unwrap(), vectors(&all));
    }
    assert_eq!(model.batches(), [7]);
}

#[tokio::test]
async fn what_is_kept_and_has_another_dimension_is_computed_anew() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let client = Client::connect(&shard.url()).await.unwrap();
    let keys = ["a", "b", "c"].map(|text| sutra_cache_client::keys::EmbeddingKey::new("m", text).unwrap());
    client.call(Request::new("SET").arg(keys[0].as_bytes()).arg([0; 8])).await.unwrap();
    client.call(Request::new("SET").arg(keys[1].as_bytes()).arg("no vector at all")).await.unwrap();
    client.call(Request::new("SET").arg(keys[2].as_bytes()).arg([0xff; 12])).await.unwrap();
    let (model, all) = (Model::default(), ["a", "b", "c"].map(str::to_owned));
    let embed = async |texts| model.embed(texts).await;
    let options = Embeddings::new("m").dimension(3);
    assert_eq!(cache.embeddings(&options, &all, embed).await.unwrap(), vectors(&all));
    assert_eq!(model.batches(), [3], "of two dimensions, of four, and not finite");
    assert_eq!(cache.embeddings(&options, &all, embed).await.unwrap(), vectors(&all));
    assert_eq!(model.batches(), [0; 0]);
}

#[tokio::test]
async fn a_model_that_gives_something_else_than_vectors_is_an_error_and_nothing_of_it_is_kept() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let wrong = [
        (vec![vec![1.0]], "the computation failed: it gave 1 vectors for 2 texts"),
        (
            vec![vec![1.0], vec![1.0, 2.0]],
            "the computation failed: it gave a vector of 2 dimensions, the others have 1",
        ),
        (vec![vec![1.0], vec![f32::NAN]], "the computation failed: it gave a vector with NaN or infinity"),
        (vec![vec![], vec![]], "the computation failed: it gave a vector of 0 dimensions, the others have 0"),
    ];
    for (vectors, text) in wrong {
        let model = async |_| Ok::<_, std::io::Error>(vectors.clone());
        let error = cache.embeddings("m", &["a", "b"], model).await.unwrap_err();
        assert_eq!(error.to_string(), text);
    }
    let error = cache.embeddings("", &["a"], async |_| Ok::<_, Error>(vec![])).await.unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    assert_eq!(cache.stats().writes, 0);
}

#[tokio::test]
async fn what_was_computed_before_a_batch_failed_is_kept() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let (model, calls, all) = (Model::default(), AtomicUsize::new(0), texts(0..100));
    let options = Embeddings::new("m").batch(10).concurrency(1);
    let tired = async |texts| match calls.fetch_add(1, Ordering::SeqCst) {
        0..4 => model.embed(texts).await,
        _ => Err(std::io::Error::other("tired")),
    };
    assert_eq!(cache.embeddings(&options, &all, tired).await.unwrap_err().to_string(), "the computation failed: tired");
    assert_eq!(calls.load(Ordering::SeqCst), 5, "nothing is begun after the first error");
    model.batches();
    let embed = async |texts| model.embed(texts).await;
    assert_eq!(cache.embeddings(&options, &all, embed).await.unwrap(), vectors(&all));
    assert_eq!(model.batches(), [10; 6]);
}

#[tokio::test]
async fn no_more_batches_run_at_once_than_are_allowed() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let model = async |texts: Vec<String>| {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        running.fetch_sub(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(texts.iter().map(|text| Model::vector(text)).collect())
    };
    let options = Embeddings::new("m").batch(5).concurrency(3);
    assert_eq!(cache.embeddings(&options, &texts(0..100), model).await.unwrap(), vectors(&texts(0..100)));
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn texts_go_to_the_shards_of_their_keys() {
    let shards = [Embedded::start(&[]).unwrap(), Embedded::start(&[]).unwrap(), Embedded::start(&[]).unwrap()];
    let mut builder = Cache::builder(&shards[0].url()).unwrap();
    for (name, shard) in ["b", "c"].iter().zip(&shards[1..]) {
        builder = builder.shard(*name, 1.0, Config::new(&shard.url()).unwrap());
    }
    let (first, second) = (builder.clone().connect().await.unwrap(), builder.connect().await.unwrap());
    let (model, all) = (Model::default(), texts(0..3000));
    let embed = async |texts| model.embed(texts).await;
    assert_eq!(first.embeddings(&Embeddings::new("m").batch(500), &all, embed).await.unwrap(), vectors(&all));
    assert_eq!(model.batches(), [500; 6]);
    assert_eq!(second.embeddings("m", &all, embed).await.unwrap(), vectors(&all));
    assert_eq!(model.batches(), [0; 0]);
    for shard in &shards {
        let client = Client::connect(&shard.url()).await.unwrap();
        let sutra_cache_client::Reply::Integer(count) = client.call(Request::read("DBSIZE")).await.unwrap() else {
            panic!("a count")
        };
        assert!((700..1300).contains(&count), "{count} of 3000");
    }
}

#[tokio::test]
async fn while_the_shard_is_away_vectors_are_computed_once() {
    let config = Config::new("sutra://127.0.0.1:1").unwrap().connect_timeout(Duration::from_millis(50));
    let cache = CacheBuilder::of(config).build().unwrap();
    let (model, all) = (Model::default(), texts(0..20));
    let embed = async |texts| model.embed(texts).await;
    for _ in 0..2 {
        assert_eq!(cache.embeddings("m", &all, embed).await.unwrap(), vectors(&all));
    }
    assert_eq!(model.batches(), [20]);
}

/// That the future can be spawned is part of the interface.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_can_ask_for_vectors() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let task = tokio::spawn(async move {
        let model = |texts: Vec<String>| async move { Model::default().embed(texts).await };
        cache.embeddings("m", &["a"], model).await
    });
    assert_eq!(task.await.unwrap().unwrap(), [Model::vector("a")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_known_and_however_often_a_text_comes_each_gets_its_vector(
        calls in proptest::collection::vec(proptest::collection::vec(0_usize..60, 0..50), 1..6),
        batch in 1_usize..20, concurrency in 1_usize..5,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let shard = Embedded::start(&[]).expect("a shard");
            let cache = Cache::connect(&shard.url()).await.expect("a cache");
            let (model, mut known) = (Model::default(), HashSet::new());
            for numbers in calls {
                let all: Vec<String> = numbers.iter().map(|number| format!("text {number}")).collect();
                let options = Embeddings::new("m").batch(batch).concurrency(concurrency);
                let got = cache.embeddings(&options, &all, async |texts| model.embed(texts).await).await;
                prop_assert_eq!(got.expect("vectors"), vectors(&all));
                let new = numbers.iter().filter(|number| known.insert(**number)).count();
                let batches = model.batches();
                prop_assert_eq!(batches.iter().sum::<usize>(), new);
                prop_assert!(batches.iter().all(|texts| *texts <= batch));
            }
            Ok(())
        })?;
    }
}
