//! Answers to questions: found by the question, or by what it means, or else computed once.
//!
//! First the answer to the very question is looked for in this process, which costs no round trip. Then the shard that has the question's key is asked for
//! the answer to the most similar question, or the lease to compute one: others who ask something as similar wait for it. With several
//! shards the others are asked at the same time, without a lease, and the best answer of all is taken; since a lease is given by the
//! shard of the question's key, two questions in different words that lie on two shards may be computed at once.
//!
//! What a tenant has was asked by that tenant: lookups match the front of its keys. What belongs to a session or a model is tagged so. Leases
//! know neither: two tenants who ask the same for the first time at once are answered one after the other.
//!
//! An answer that is found by meaning under another question's key is not kept in this process: that key's changes were not watched when it
//! was read. For the same reason only the question's own answer is renewed before or after its time.

use super::compute::{Computation, Origin, Outcome, Place, boxed, present};
use super::lease::Held;
use super::node::{Found, Node};
use super::{Cache, Compute, OnFault};
use crate::codec::{FromValue, ToValue};
use crate::commands::{leased, lookup_lease_request};
use crate::keys::{CacheKey, QuestionKey};
use crate::stats::{Counter, Operation};
use crate::{Error, Hit, LeaseOptions, LeaseToken, Leased, Lookup, Query, Request, reply};
use bytes::Bytes;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// How it is waited for another's answer between two looks: a lookup costs the shard more than a read.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// A question whose answer is looked for by meaning.
///
/// ```
/// use sutra_cache_client::Question;
///
/// let question = Question::new("faq", "How do I return an item?", 0.9).tenant("acme").model("gpt");
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Question {
    space: String,
    words: String,
    min: f64,
    vector: Option<Vec<f32>>,
    name: Option<String>,
    tenant: String,
    session: Option<String>,
    model: Option<String>,
}

impl Question {
    /// A question in words, in a space whose vectors the shard makes, and how similar another question has to be for its answer to do.
    pub fn new(space: impl Into<String>, words: impl Into<String>, min: f64) -> Question {
        Question {
            space: space.into(),
            words: words.into(),
            min,
            vector: None,
            name: None,
            tenant: String::new(),
            session: None,
            model: None,
        }
    }

    /// Its vector, in a space of vectors that are made elsewhere. The words still tell questions apart that differ in facts, if the space has
    /// a [guard](crate::Guard).
    pub fn vector(mut self, vector: impl Into<Vec<f32>>) -> Question {
        self.vector = Some(vector.into());
        self
    }

    /// The name of the cache, the first part of the keys. Default: that of the space.
    pub fn cache(mut self, name: impl Into<String>) -> Question {
        self.name = Some(name.into());
        self
    }

    /// Who asks. Answers to others are not found.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Question {
        self.tenant = tenant.into();
        self
    }

    /// The conversation in which it is asked, if the answer depends on it. Answers in others are not found.
    pub fn session(mut self, session: impl Into<String>) -> Question {
        self.session = Some(session.into());
        self
    }

    /// The model that is asked, if answers of another do not do.
    pub fn model(mut self, model: impl Into<String>) -> Question {
        self.model = Some(model.into());
        self
    }

    /// Where the answer to this very question is kept.
    #[must_use]
    pub fn key(&self) -> QuestionKey {
        let mut key = QuestionKey::new(self.name(), &self.tenant).question(&self.words);
        if let Some(session) = &self.session {
            key = key.session(session);
        }
        if let Some(model) = &self.model {
            key = key.model(model);
        }
        key.build()
    }

    fn name(&self) -> &str {
        self.name.as_ref().unwrap_or(&self.space)
    }

    fn tags(&self) -> Vec<String> {
        let session = self.session.iter().map(|session| format!("session:{session}"));
        session.chain(self.model.iter().map(|model| format!("model:{model}"))).collect()
    }

    fn place(&self) -> Place {
        let (query, question) = match &self.vector {
            Some(vector) => (Query::from(vector), Some(self.words.clone())),
            None => (Query::from(self.words.as_str()), None),
        };
        Place { space: self.space.clone(), query, question, tags: self.tags() }
    }

    fn lookup(&self, place: &Place) -> Lookup {
        let lookup = Lookup::new(&self.space).query(place.query.clone()).min(self.min);
        let lookup = place.question.iter().fold(lookup, |lookup, question| lookup.question(question));
        let lookup = place.tags.iter().fold(lookup, |lookup, tag| lookup.tag(tag));
        lookup.matching(CacheKey::pattern(self.name(), &self.tenant))
    }
}

/// An answer, and what it is an answer to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Answer<V> {
    /// The answer.
    pub value: V,
    /// Under which key it is kept.
    pub key: Bytes,
    /// How similar the question is that it was an answer to: 1 for this very one.
    pub similarity: f64,
    /// By how much the next best one is less similar, if it was found by meaning and there is one.
    pub margin: Option<f64>,
    /// It was computed in this process, for this caller or another who asked at the same time.
    pub is_computed: bool,
}

/// How a flight for a question ended well.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    outcome: Outcome,
    key: Bytes,
    similarity: f64,
    margin: Option<f64>,
}

impl Cache {
    /// The answer to the question or to one that is similar enough, or else computed by the function and kept for the next ones, as by
    /// [`Cache::get_or_compute`].
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`], and what a shard refuses a lookup with (a vector of another dimension, a text in a space of vectors).
    ///
    /// ```
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// use sutra_cache_client::{Cache, Compute, Question};
    ///
    /// let cache = Cache::connect(&shard.url()).await?;
    /// let options = Compute::new().tag("doc:returns").cost("gpt", 0.02);
    /// let ask = async |words: &str| {
    ///     let question = Question::new("text", words, 0.85);
    ///     // Your model stands here.
    ///     let model = async || Ok::<_, std::io::Error>("Within 30 days.".to_owned());
    ///     cache.lookup_or_compute::<String, _, _, _>(&question, &options, model).await
    /// };
    /// assert!(ask("How do I return an item?").await?.is_computed);
    /// let again = ask("how do I return an item").await?;
    /// assert_eq!((again.value.as_str(), again.is_computed), ("Within 30 days.", false));
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub async fn lookup_or_compute<V, F, R, E>(
        &self,
        question: &Question,
        options: &Compute,
        compute: F,
    ) -> Result<Answer<V>, Error>
    where
        V: ToValue + FromValue + Send + 'static,
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = Result<V, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let compute: Computation = Box::new(|| boxed(async move { compute().await.map(Some) }));
        let answered = self.answer(question, options, compute).await?;
        Ok(Answer {
            value: present(answered.outcome.value)?,
            key: answered.key,
            similarity: answered.similarity,
            margin: answered.margin,
            is_computed: answered.outcome.origin == Origin::Here,
        })
    }

    async fn answer(&self, question: &Question, options: &Compute, compute: Computation) -> Result<Answered, Error> {
        let began = Instant::now();
        let key = question.key();
        let node = self.node(key.as_bytes());
        let own_key = Bytes::copy_from_slice(key.as_bytes());
        if let Some(found) = node.look(key.as_bytes(), began) {
            self.counters().took(Operation::Lookup, began.elapsed());
            self.count_hit(&found.value, options);
            if options.is_stale(&found, began) {
                self.counters().count(Counter::StaleServed);
            }
            if let Some(below) = options.due(&found, &self.inner.computing.times, key.as_bytes(), began) {
                self.renew(&node, key.as_bytes(), &placed(options, question.place()), compute, below);
            }
            let outcome = Outcome { value: found.value, origin: Origin::Shard, is_current: true };
            return Ok(Answered { outcome, key: own_key, similarity: 1.0, margin: None });
        }
        let mut compute = Some(compute);
        let mut is_second = false;
        loop {
            let (passenger, landing) = self.inner.computing.questions.join(key.as_bytes());
            let mut flies = false;
            if let Some(landing) = landing
                && let Some(compute) = compute.take()
            {
                flies = true;
                let place = question.place();
                let lookup = question.lookup(&place);
                let (cache, node, key, options) =
                    (self.clone(), Arc::clone(&node), own_key.clone(), placed(options, place));
                let flight = async move {
                    let result = cache.fly_to_answer(&node, &key, &lookup, &options, compute).await;
                    landing.land(result);
                };
                tokio::spawn(flight.in_current_span());
            }
            let answered = passenger.wait().await?;
            if answered.outcome.is_current || flies || is_second {
                self.count_outcome(&answered.outcome, options, flies);
                return Ok(answered);
            }
            is_second = true;
        }
    }

    /// Looks the answer up, or waits for another's, or computes it.
    async fn fly_to_answer(
        &self,
        node: &Arc<Node>,
        key: &Bytes,
        lookup: &Lookup,
        options: &Compute,
        compute: Computation,
    ) -> Result<Answered, Error> {
        let began = Instant::now();
        let waiter = node.waiting.wait_for(key);
        let (mut has_waited, mut pause) = (false, PAUSE_MIN);
        let computed = |outcome| Answered { outcome, key: key.clone(), similarity: 1.0, margin: None };
        loop {
            let origin = if has_waited { Origin::Elsewhere } else { Origin::Shard };
            match self.look_up(node, key, lookup, options).await {
                Ok(LookedUp::Hit { hit, is_current, renewal }) => {
                    if is_stale(options, &hit) {
                        self.counters().count(Counter::StaleServed);
                    }
                    if let Some(held) = renewal.filter(|_| hit.key == *key) {
                        self.compute_behind(node, key, options, compute, held);
                    }
                    let outcome = Outcome { value: hit.value, origin, is_current };
                    return Ok(Answered { outcome, key: hit.key, similarity: hit.similarity, margin: hit.margin });
                }
                Ok(LookedUp::Granted(held)) => {
                    self.counters().count(Counter::LeasesWon);
                    return self.compute(node, key, options, compute, Some(held), None).await.map(computed);
                }
                Ok(LookedUp::Wait(longest)) => {
                    if !has_waited {
                        self.counters().count(Counter::LeasesWaited);
                    }
                    has_waited = true;
                    if began.elapsed() >= options.wait_max {
                        return self.compute(node, key, options, compute, None, None).await.map(computed);
                    }
                    waiter.sleep(pause.min(longest)).await;
                    pause = pause.mul_f64(1.5).min(PAUSE_MAX);
                }
                Err(error) if error.is_fault() && self.inner.builder.on_fault == OnFault::Miss => {
                    tracing::debug!(%error, "a fault of the cache: computing without it");
                    let outage = node.fallback.outage();
                    return self.compute(node, key, options, compute, None, outage).await.map(computed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The best of what the shards have, or the lease of the one that has the question's key.
    async fn look_up(
        &self,
        node: &Arc<Node>,
        key: &Bytes,
        lookup: &Lookup,
        options: &Compute,
    ) -> Result<LookedUp, Error> {
        let others: Vec<Arc<Node>> = self.nodes().into_iter().filter(|other| !Arc::ptr_eq(other, node)).collect();
        loop {
            // What fails there is passed over: it would have been an answer more to choose from.
            let elsewhere = join_all(others.iter().map(|other| self.look_up_at(other, lookup)));
            let (here, elsewhere) = tokio::join!(node.look_up_or_lease(key, lookup, options), elsewhere);
            let better = |one: &Hit, other: &Hit| one.similarity.total_cmp(&other.similarity);
            let elsewhere = elsewhere.into_iter().flatten().max_by(better);
            match (here?, elsewhere) {
                (LookedUp::Hit { hit, .. }, _) if !self.is_at_home(node, &hit.key) => {
                    // It lies there from a time when the shard had that key, and hides whatever else there may be.
                    let removal = Request::read("UNLINK").arg(&hit.key);
                    node.call(Operation::Manage, removal).await.and_then(reply::count)?;
                }
                (LookedUp::Hit { hit, .. }, Some(other)) if other.similarity > hit.similarity => {
                    return Ok(LookedUp::read(other));
                }
                // The lease, if there is one, is given back.
                (LookedUp::Granted(_) | LookedUp::Wait(_), Some(other)) => return Ok(LookedUp::read(other)),
                (here, _) => return Ok(here),
            }
        }
    }

    async fn look_up_at(&self, node: &Arc<Node>, lookup: &Lookup) -> Option<Hit> {
        if node.is_away() {
            return None;
        }
        let hit = node.guarded(Operation::Lookup, node.client.lookup(lookup)).await;
        hit.inspect_err(|error| node.note_fault(error)).ok().flatten().filter(|hit| self.is_at_home(node, &hit.key))
    }
}

/// What a lookup with a lease came to.
#[derive(Debug)]
enum LookedUp {
    Hit { hit: Box<Hit>, is_current: bool, renewal: Option<Held> },
    Granted(Held),
    Wait(Duration),
}

impl LookedUp {
    /// A hit of which it is not known what was told of its key since it was read.
    fn read(hit: Hit) -> LookedUp {
        LookedUp::Hit { hit: Box::new(hit), is_current: false, renewal: None }
    }
}

impl Node {
    async fn look_up_or_lease(
        self: &Arc<Node>,
        key: &Bytes,
        lookup: &Lookup,
        options: &Compute,
    ) -> Result<LookedUp, Error> {
        if self.is_away() {
            return Err(Error::BreakerOpen);
        }
        let ticket = self.begin(key);
        let mut lease = LeaseOptions::new().time(options.lease);
        if let Some(below) = options.renew_below() {
            lease = lease.revalidate(below);
        }
        let request = lookup_lease_request(lookup, &lease);
        let answer =
            self.guarded(Operation::Lookup, async { leased(self.client.call_tracked(request).await?, Hit::of) });
        let answer = answer.await.inspect_err(|error| self.note_fault(error))?;
        let held = |key: &[u8], token: &LeaseToken| Held::new(self, key, Bytes::copy_from_slice(token.as_bytes()));
        let (hit, renewal) = match answer {
            Leased::Hit(hit) => (hit, None),
            Leased::Revalidate(hit, token) => {
                let held = held(&hit.key, &token);
                (hit, Some(held))
            }
            Leased::Lease(token) => return Ok(LookedUp::Granted(held(key, &token))),
            Leased::Wait(time) => return Ok(LookedUp::Wait(time)),
        };
        // Of another key nobody noted what was told of it.
        let is_current = hit.key == *key && self.is_current(ticket.as_ref());
        if hit.key == *key {
            let expires_at = hit.meta.ttl.and_then(|ttl| Instant::now().checked_add(ttl));
            self.keep(ticket, key, &Found { value: hit.value.clone(), expires_at, compute_time: None });
        }
        Ok(LookedUp::Hit { hit: Box::new(hit), is_current, renewal })
    }
}

fn placed(options: &Compute, place: Place) -> Compute {
    let mut options = options.clone();
    options.place = Some(Arc::new(place));
    options
}

fn is_stale(options: &Compute, hit: &Hit) -> bool {
    options.renew_below().zip(hit.meta.ttl).is_some_and(|(below, ttl)| ttl <= below)
}
