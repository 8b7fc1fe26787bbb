//! Answers that are found by what a question means, or computed once.

#[path = "support/source.rs"]
mod source;
mod support;

use source::Source;
use std::time::Duration;
use support::until;
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{
    Answer, Cache, CacheBuilder, Client, Compute, Config, Error, Guard, OnFault, Question, SpaceOptions,
};

impl Source {
    async fn answer(self) -> Result<String, std::io::Error> {
        Ok(format!("answer {}", self.called().await))
    }

    async fn ask(&self, cache: &Cache, question: &Question, options: &Compute) -> Result<Answer<String>, Error> {
        let model = self.clone();
        cache.lookup_or_compute(question, options, async move || model.answer().await).await
    }

    async fn text(&self, cache: &Cache, question: &Question, options: &Compute) -> String {
        self.ask(cache, question, options).await.expect("an answer").value
    }

    fn ask_in_task(
        &self,
        cache: &Cache,
        question: Question,
        options: &Compute,
    ) -> tokio::task::JoinHandle<Result<Answer<String>, Error>> {
        let (model, cache, options) = (self.clone(), cache.clone(), options.clone());
        tokio::spawn(async move { model.ask(&cache, &question, &options).await })
    }
}

/// A question whose vector has this angle to the first axis, in degrees.
fn at(angle: f32, words: &str) -> Question {
    let (sin, cos) = angle.to_radians().sin_cos();
    Question::new("faq", words, 0.95).vector([cos, sin])
}

#[tokio::test]
async fn the_same_question_is_answered_here_and_a_similar_one_by_what_it_means() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let (model, options) = (Source::default(), Compute::new().cost("gpt", 0.5));
    let first = model.ask(&cache, &at(0.0, "How do I return it?"), &options).await.unwrap();
    assert_eq!((first.value.as_str(), first.is_computed, first.similarity), ("answer 1", true, 1.0));
    until("an answer from here", async || {
        let same = model.ask(&cache, &at(0.0, " how do I  RETURN it?"), &options).await.unwrap();
        assert_eq!((same.value.as_str(), same.is_computed), ("answer 1", false));
        cache.stats().l1_hits >= 1
    })
    .await;
    let similar = model.ask(&cache, &at(10.0, "Can I give it back?"), &options).await.unwrap();
    assert_eq!((similar.value.as_str(), similar.key, similar.is_computed), ("answer 1", first.key, false));
    assert!((similar.similarity - 0.9848).abs() < 1e-3);
    let other = model.ask(&cache, &at(30.0, "What does it cost?"), &options).await.unwrap();
    assert_eq!((other.value.as_str(), other.is_computed), ("answer 2", true));
    let stats = cache.stats();
    assert_eq!((stats.computations, stats.misses, stats.models["gpt"].spent_usd), (2, 2, 1.0));
    assert_eq!(stats.models["gpt"].saved_usd, stats.hits as f64 * 0.5);
}

#[tokio::test]
async fn texts_are_compared_by_the_embedder_of_the_shard() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let (model, options) = (Source::default(), Compute::new());
    let ask = async |words: &str| model.text(&cache, &Question::new("text", words, 0.85), &options).await;
    assert_eq!(ask("How do I return an item?").await, "answer 1");
    assert_eq!(ask("how do i return an item").await, "answer 1");
    assert_eq!(ask("Who was the first king of France?").await, "answer 2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_all_who_ask_something_similar_at_once_in_several_caches_one_computes() {
    let shard = Embedded::start(&[]).unwrap();
    let caches = [Cache::connect(&shard.url()).await.unwrap(), Cache::connect(&shard.url()).await.unwrap()];
    let (model, options) = (Source::gated(), Compute::new());
    let callers: Vec<_> = (0..60)
        .map(|number| {
            let question = at((number % 6) as f32, &format!("words number {}", number % 6));
            model.ask_in_task(&caches[number % 2], question, &options)
        })
        .collect();
    until("a computation", async || model.calls() == 1).await;
    until("that the others wait", async || caches.iter().map(|cache| cache.stats().leases_waited).sum::<u64>() >= 5)
        .await;
    model.open();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().value, "answer 1");
    }
    assert_eq!(model.calls(), 1);
}

#[tokio::test]
async fn questions_that_differ_in_facts_have_answers_of_their_own_in_a_guarded_space() {
    let shard = Embedded::start(&[]).unwrap();
    let client = Client::connect(&shard.url()).await.unwrap();
    client.space_create("faq", &SpaceOptions::new(2).guard(Guard::all())).await.unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let (model, options) = (Source::default(), Compute::new());
    assert_eq!(model.text(&cache, &at(0.0, "What is 5 % of the price?"), &options).await, "answer 1");
    assert_eq!(model.text(&cache, &at(1.0, "What is 7 % of the price?"), &options).await, "answer 2");
    assert_eq!(model.text(&cache, &at(2.0, "5 % of the price, what is that?"), &options).await, "answer 1");
}

#[tokio::test]
async fn answers_to_other_tenants_in_other_sessions_and_of_other_models_are_not_found() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let (model, options) = (Source::default(), Compute::new());
    let question = || at(0.0, "How do I return it?");
    let different = [
        question(),
        question().tenant("a"),
        question().tenant("*"),
        question().tenant("a").session("1"),
        question().tenant("a").session("2"),
        question().tenant("a").session("1").model("gpt"),
        question().cache("other"),
    ];
    for (number, question) in different.iter().enumerate().skip(1) {
        assert_eq!(model.text(&cache, question, &options).await, format!("answer {number}"));
    }
    for (number, question) in different.iter().enumerate().skip(1) {
        assert_eq!(model.text(&cache, question, &options).await, format!("answer {number}"));
    }
}

#[tokio::test]
async fn an_answer_from_before_an_invalidation_goes_to_nobody_who_asked_after_it() {
    let shard = Embedded::start(&[]).unwrap();
    let (cache, other) = (Cache::connect(&shard.url()).await.unwrap(), Cache::connect(&shard.url()).await.unwrap());
    let (model, options) = (Source::gated(), Compute::new().dep("doc:1", 1));
    let before = model.ask_in_task(&cache, at(0.0, "How do I return it?"), &options);
    until("a computation", async || model.calls() == 1).await;
    other.semantic_invalidate("faq", [1.0, 0.0], 0.9).await.unwrap();
    let after = model.ask_in_task(&cache, at(0.0, "How do I return it?"), &options);
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    model.open();
    assert_eq!(before.await.unwrap().unwrap().value, "answer 1", "its own computation began after its call");
    until("another computation", async || model.calls() == 2).await;
    model.open();
    assert_eq!(after.await.unwrap().unwrap().value, "answer 2");
    assert_eq!(model.text(&other, &at(1.0, "Return it, how?"), &options).await, "answer 2", "which is what was kept");
    assert_eq!(cache.stats().write_faults, 1);
}

#[tokio::test]
async fn a_failed_answer_lets_the_next_one_try_at_once() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let options = Compute::new().lease(Duration::from_secs(600));
    let fails = async || Err::<String, _>(std::io::Error::other("no such luck"));
    let error = cache.lookup_or_compute(&at(0.0, "a"), &options, fails).await.unwrap_err();
    assert_eq!(error.to_string(), "the computation failed: no such luck");
    let panics = async || -> Result<String, std::io::Error> { panic!("on purpose") };
    let error = cache.lookup_or_compute(&at(1.0, "b"), &options, panics).await.unwrap_err();
    assert_eq!(error.to_string(), "the computation failed: it panicked");
    assert_eq!(Source::default().text(&cache, &at(2.0, "c"), &options).await, "answer 1");
}

#[tokio::test]
async fn what_the_shard_refuses_is_an_error_and_not_a_computation() {
    let shard = Embedded::start(&[]).unwrap();
    let cache = Cache::connect(&shard.url()).await.unwrap();
    let (model, options) = (Source::default(), Compute::new());
    model.ask(&cache, &at(0.0, "a"), &options).await.unwrap();
    let wrong = Question::new("faq", "b", 0.9).vector([1.0, 2.0, 3.0]);
    assert!(matches!(model.ask(&cache, &wrong, &options).await, Err(Error::Server(_))));
    let text = Question::new("faq", "c", 0.9);
    assert!(matches!(model.ask(&cache, &text, &options).await, Err(Error::Server(_))));
    assert_eq!(model.calls(), 1);
}

#[tokio::test]
async fn an_answer_past_its_time_is_served_while_its_own_question_computes_it_anew() {
    let shard = Embedded::start(&[]).unwrap();
    for builder in [Cache::builder(&shard.url()).unwrap(), Cache::builder(&shard.url()).unwrap().without_l1()] {
        let cache = builder.connect().await.unwrap();
        let model = Source::gated();
        let options = Compute::new().ttl(Duration::from_millis(100)).stale_while_revalidate(Duration::from_secs(600));
        model.open();
        assert_eq!(model.text(&cache, &at(0.0, "a"), &options).await, "answer 1");
        until("the end of its time", async || {
            assert_eq!(model.text(&cache, &at(0.0, "a"), &options).await, "answer 1");
            model.calls() == 2
        })
        .await;
        assert_eq!(model.text(&cache, &at(1.0, "b"), &options).await, "answer 1", "nobody waits");
        model.open();
        until("the new answer", async || model.text(&cache, &at(0.0, "a"), &options).await != "answer 1").await;
        assert_eq!(model.text(&cache, &at(1.0, "b"), &options).await, "answer 2", "it is found by meaning as well");
        model.open();
        cache.clear().await.unwrap();
    }
}

#[tokio::test]
async fn the_answers_of_all_shards_are_found() {
    let shards = [Embedded::start(&[]).unwrap(), Embedded::start(&[]).unwrap(), Embedded::start(&[]).unwrap()];
    let [a, b, c] = shards.each_ref().map(|shard| Config::new(&shard.url()).unwrap());
    let cache = CacheBuilder::named("a", 1.0, a).shard("b", 1.0, b).shard("c", 1.0, c).connect().await.unwrap();
    let (model, options) = (Source::default(), Compute::new());
    for place in 0..12 {
        let question = at(place as f32 * 30.0, &format!("question {place}"));
        assert_eq!(model.text(&cache, &question, &options).await, format!("answer {}", place + 1));
        for variant in 0..6 {
            let similar = at(place as f32 * 30.0 + 1.0, &format!("question {place} in other words {variant}"));
            assert_eq!(model.text(&cache, &similar, &options).await, format!("answer {}", place + 1));
        }
    }
    assert_eq!(model.calls(), 12);
}

#[tokio::test]
async fn without_a_shard_one_computes_for_all_in_this_process() {
    let config = Config::new("sutra://127.0.0.1:1").unwrap().connect_timeout(Duration::from_millis(50));
    let cache = CacheBuilder::of(config.clone()).build().unwrap();
    let (model, options) = (Source::gated(), Compute::new());
    let callers: Vec<_> = (0..20).map(|_| model.ask_in_task(&cache, at(0.0, "a"), &options)).collect();
    until("a computation", async || model.calls() == 1).await;
    model.open();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().value, "answer 1");
    }
    assert_eq!(model.text(&cache, &at(0.0, "a"), &options).await, "answer 1", "from the fallback");
    let strict = CacheBuilder::of(config).on_fault(OnFault::Error).build().unwrap();
    assert!(model.ask(&strict, &at(0.0, "a"), &options).await.unwrap_err().is_fault());
}
