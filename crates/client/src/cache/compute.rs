//! A value that is computed when it is missing: once, however many want it, in however many processes.
//!
//! A caller who does not find the value in this process joins the [flight](super::flight) of its key. The flight asks the shard for the value or the
//! lease to compute it, in one round trip. Whoever gets the lease computes and writes with it; others wait until the key changes or the lease
//! ends. The shard refuses the write (`STALELEASE`) if anything has covered the key since the lease was granted: then the value goes to the
//! caller who had it computed, and to nobody who asked later.
//!
//! **What a caller gets is at most as old as its own call**, as far as this process knows. A flight's result that something was told about
//! while it was read, or whose write was refused, is good for who started it; others start again, and take the result of a flight that began
//! after they did. So nobody waits for more than two.
//!
//! Nothing of this is written into the tier in this process: it is filled by reads.

use super::answers::Answered;
use super::flight::{Flights, Landing};
use super::lease::{Fresh, Held, Leased};
use super::node::{Found, Node};
use super::refresh::{ComputeTimes, Renewals, is_early};
use super::{Cache, OnFault, Ttl, millis};
use crate::codec::{DecodeError, DecodeFault, FromValue, NEGATIVE, ToValue, decode, encode, is_negative};
use crate::fallback::Outage;
use crate::l1::About;
use crate::stats::{Counter, Operation};
use crate::{Error, Query, Request, reply};
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// How it is waited for another's result between two looks at the shard, which also says at once when the key has changed. The first pause, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// How long it is waited before the shard is asked again for the lease to renew a value that another is renewing.
const RENEWAL_PAUSE: Duration = Duration::from_millis(50);
/// Added to the time a value has to live, so that the shard gives the lease to renew it also if the clocks differ.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(1);
/// A lease ends with its connection, so its length matters only if a machine vanishes without a word.
const LEASE_DEFAULT: Duration = Duration::from_secs(30);

/// How a value is computed that is missing, and how it is kept.
///
/// ```
/// use std::time::Duration;
/// use sutra_cache_client::Compute;
///
/// let options = Compute::new()
///     .ttl(Duration::from_secs(3600))
///     .stale_while_revalidate(Duration::from_secs(60))
///     .tag("doc:42")
///     .cost("gpt", 0.02);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Compute {
    ttl: Ttl,
    tags: Vec<String>,
    deps: Vec<(String, u64)>,
    model: String,
    cost_usd: f64,
    pub(super) lease: Duration,
    pub(super) wait_max: Duration,
    stale: Duration,
    beta: f64,
    negative: Option<Duration>,
    /// Where the value is found by meaning, too.
    pub(super) place: Option<Arc<Place>>,
}

/// A place in the space of vectors.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) space: String,
    pub(super) query: Query,
    /// In words, if the query is none.
    pub(super) question: Option<String>,
    pub(super) tags: Vec<String>,
}

impl Default for Compute {
    fn default() -> Compute {
        Compute {
            ttl: Ttl::Default,
            tags: Vec::new(),
            deps: Vec::new(),
            model: String::new(),
            cost_usd: 0.0,
            lease: LEASE_DEFAULT,
            wait_max: LEASE_DEFAULT,
            stale: Duration::ZERO,
            beta: 0.0,
            negative: None,
            place: None,
        }
    }
}

impl Compute {
    /// The defaults.
    pub fn new() -> Compute {
        Compute::default()
    }

    /// How long the value is good. Default: as the cache's settings say.
    pub fn ttl(mut self, ttl: impl Into<Ttl>) -> Compute {
        self.ttl = ttl.into();
        self
    }

    /// One more label, by which the value can be invalidated together with others.
    pub fn tag(mut self, tag: impl Into<String>) -> Compute {
        self.tags.push(tag.into());
        self
    }

    /// One more source that the value is made from, and which version of it: `INVALIDATE DEP name BELOW version` removes it.
    pub fn dep(mut self, name: impl Into<String>, version: u64) -> Compute {
        self.deps.push((name.into(), version));
        self
    }

    /// What computing it costs, and whom it is paid to. Hits count as saved, computations as spent, in [`Snapshot::models`](crate::stats::Snapshot::models).
    pub fn cost(mut self, model: impl Into<String>, usd: f64) -> Compute {
        (self.model, self.cost_usd) = (model.into(), usd);
        self
    }

    /// How long computing may take until another is let to compute as well; what comes later is returned but not kept. Default 30 s. It also is how
    /// long another process's computation is waited for, see [`Compute::wait_max`].
    pub fn lease(mut self, time: Duration) -> Compute {
        (self.lease, self.wait_max) = (time, time);
        self
    }

    /// How long the computation of another process is waited for. After that the value is computed here as well, and not kept. Default: as long as the lease.
    pub fn wait_max(mut self, time: Duration) -> Compute {
        self.wait_max = time;
        self
    }

    /// For so long after its time the value is still returned, while a new one is computed in the background, by one of all processes. The shard
    /// keeps it for its time and this one. Of no effect on values without a time to live.
    pub fn stale_while_revalidate(mut self, time: Duration) -> Compute {
        self.stale = time;
        self
    }

    /// Values are computed anew in the background before their time is over, at random and the likelier the nearer it is (XFetch). A `beta` of 1
    /// suits most; a larger one is earlier. Default: 0, never.
    pub fn early_refresh(mut self, beta: f64) -> Compute {
        self.beta = beta.max(0.0);
        self
    }

    /// That there is no such value is kept as well, for so long ([`Cache::find_or_compute`]). Default: it is not.
    pub fn negative(mut self, ttl: Duration) -> Compute {
        self.negative = Some(ttl);
        self
    }

    pub(super) fn renew_below(&self) -> Option<Duration> {
        (!self.stale.is_zero()).then_some(self.stale)
    }

    /// Whether a value is past its own time and only kept as a stand-in.
    pub(super) fn is_stale(&self, found: &Found, now: Instant) -> bool {
        !self.stale.is_zero() && found.expires_at.is_some_and(|at| at.saturating_duration_since(now) <= self.stale)
    }

    /// If the value should be computed anew: for a value with less than how much time to live the shard is to give the lease.
    pub(super) fn due(&self, found: &Found, times: &ComputeTimes, key: &[u8], now: Instant) -> Option<Duration> {
        let remaining = found.expires_at?.saturating_duration_since(now);
        if self.is_stale(found, now) {
            return Some(self.stale);
        }
        if self.beta == 0.0 {
            return None;
        }
        let took = found.compute_time.or_else(|| times.of(key))?;
        is_early(remaining.saturating_sub(self.stale), took, self.beta, 1.0 - fastrand::f64())
            .then(|| remaining + CLOCKS_DIFFER_MAX)
    }
}

/// What a cache knows for computing.
#[derive(Debug, Default)]
pub(crate) struct Computing {
    pub(crate) flights: Arc<Flights<Outcome>>,
    pub(crate) questions: Arc<Flights<Answered>>,
    pub(crate) renewals: Arc<Renewals>,
    pub(crate) times: Arc<ComputeTimes>,
}

/// How a flight ended well.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// Or [`NEGATIVE`].
    pub(super) value: Bytes,
    pub(super) origin: Origin,
    /// Good for callers who came after it began, too.
    pub(super) is_current: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was on the shard.
    Shard,
    /// Another process computed it.
    Elsewhere,
    /// It was computed here.
    Here,
}

/// The caller's function, with its result encoded; `None`: there is no such value.
pub(crate) type Computation =
    Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, Error>> + Send>> + Send>;

impl Cache {
    /// The value, from this process or the shard, or else computed by the function: **by one caller** of all that want it at once, in all
    /// processes, whose result all get. It is kept for the next ones.
    ///
    /// The function runs in a task of its own, whether or not its caller waits for it, so it owns what it uses. If the shard is away it is
    /// called once in this process.
    ///
    /// # Errors
    /// [`Error::Compute`] if the function fails, for everybody who waits for it; nothing is kept, and whoever comes next tries again. If what is kept is no
    /// value of this type. Faults, if the cache was asked to return them.
    ///
    /// ```
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// use std::time::Duration;
    /// use sutra_cache_client::{Cache, Compute};
    ///
    /// let cache = Cache::connect(&shard.url()).await?;
    /// let options = Compute::new().ttl(Duration::from_secs(60)).tag("greetings");
    /// let name = "Ada".to_owned();
    /// let greeting: String = cache
    ///     .get_or_compute("greeting:ada", &options, async move || Ok::<_, std::io::Error>(format!("Hello, {name}")))
    ///     .await?;
    /// assert_eq!(greeting, "Hello, Ada");
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub async fn get_or_compute<V, F, R, E>(
        &self,
        key: impl AsRef<[u8]>,
        options: &Compute,
        compute: F,
    ) -> Result<V, Error>
    where
        V: ToValue + FromValue + Send + 'static,
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = Result<V, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let key = key.as_ref();
        let value = self.obtain(key, options, || boxed(async move { compute().await.map(Some) })).await?;
        present(value)
    }

    /// As [`Cache::get_or_compute`], for a function that may find that there is no such value. That is kept, too, if the options say for how
    /// [long](Compute::negative).
    ///
    /// # Errors
    /// As [`Cache::get_or_compute`].
    ///
    /// ```
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// use std::time::Duration;
    /// use sutra_cache_client::{Cache, Compute};
    ///
    /// let cache = Cache::connect(&shard.url()).await?;
    /// let options = Compute::new().negative(Duration::from_secs(5));
    /// let user: Option<String> =
    ///     cache.find_or_compute("user:7", &options, async || Ok::<Option<String>, std::io::Error>(None)).await?;
    /// assert_eq!(user, None);
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub async fn find_or_compute<V, F, R, E>(
        &self,
        key: impl AsRef<[u8]>,
        options: &Compute,
        compute: F,
    ) -> Result<Option<V>, Error>
    where
        V: ToValue + FromValue + Send + 'static,
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let value = self.obtain(key.as_ref(), options, || boxed(compute())).await?;
        Ok(decode(value)?)
    }

    async fn obtain(
        &self,
        key: &[u8],
        options: &Compute,
        compute: impl FnOnce() -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, Error>> + Send>> + Send + 'static,
    ) -> Result<Bytes, Error> {
        let began = Instant::now();
        let node = self.node(key);
        if let Some(found) = node.look(key, began) {
            self.counters().took(Operation::Get, began.elapsed());
            self.count_hit(&found.value, options);
            if options.is_stale(&found, began) {
                self.counters().count(Counter::StaleServed);
            }
            if let Some(below) = options.due(&found, &self.inner.computing.times, key, began) {
                self.renew(&node, key, options, Box::new(compute), below);
            }
            return Ok(found.value);
        }
        let mut compute: Option<Computation> = Some(Box::new(compute));
        let mut is_second = false;
        loop {
            let (passenger, landing) = self.inner.computing.flights.join(key);
            let mut flies = false;
            if let Some(landing) = landing
                && let Some(compute) = compute.take()
            {
                flies = true;
                self.take_off(landing, &node, key, options, compute);
            }
            let outcome = passenger.wait().await?;
            if outcome.is_current || flies || is_second {
                self.count_outcome(&outcome, options, flies);
                return Ok(outcome.value);
            }
            is_second = true;
        }
    }

    fn take_off(
        &self,
        landing: Landing<Outcome>,
        node: &Arc<Node>,
        key: &[u8],
        options: &Compute,
        compute: Computation,
    ) {
        let (cache, node, key, options) = (self.clone(), Arc::clone(node), key.to_vec(), options.clone());
        let flight = async move {
            let result = cache.fly(&node, &key, &options, compute).await;
            landing.land(result);
        };
        tokio::spawn(flight.in_current_span());
    }

    /// Reads the value, or waits for another's, or computes it.
    async fn fly(
        &self,
        node: &Arc<Node>,
        key: &[u8],
        options: &Compute,
        compute: Computation,
    ) -> Result<Outcome, Error> {
        let began = Instant::now();
        let waiter = node.waiting.wait_for(key);
        let (mut has_waited, mut pause) = (false, PAUSE_MIN);
        loop {
            let origin = if has_waited { Origin::Elsewhere } else { Origin::Shard };
            match node.lease(key, options.lease, options.renew_below()).await {
                Ok(Leased::Hit(Fresh { found, is_current })) => {
                    let now = Instant::now();
                    if options.is_stale(&found, now) {
                        // Another has the lease to renew it.
                        self.counters().count(Counter::StaleServed);
                    } else if let Some(below) = options.due(&found, &self.inner.computing.times, key, now) {
                        self.renew(node, key, options, compute, below);
                    }
                    return Ok(Outcome { value: found.value, origin, is_current });
                }
                Ok(Leased::Renew(Fresh { found, is_current }, held)) => {
                    self.counters().count(Counter::StaleServed);
                    self.compute_behind(node, key, options, compute, held);
                    return Ok(Outcome { value: found.value, origin, is_current });
                }
                Ok(Leased::Granted(held)) => {
                    self.counters().count(Counter::LeasesWon);
                    return self.compute(node, key, options, compute, Some(held), None).await;
                }
                Ok(Leased::Wait(longest)) => {
                    if !has_waited {
                        self.counters().count(Counter::LeasesWaited);
                    }
                    has_waited = true;
                    if began.elapsed() >= options.wait_max {
                        return self.compute(node, key, options, compute, None, None).await;
                    }
                    waiter.sleep(pause.min(longest)).await;
                    pause = pause.mul_f64(1.5).min(PAUSE_MAX);
                }
                Err(error) if error.is_fault() && self.inner.builder.on_fault == OnFault::Miss => {
                    tracing::debug!(%error, "a fault of the cache: computing without it");
                    return self.compute(node, key, options, compute, None, node.fallback.outage()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Calls the function and writes what it gives: with the lease if there is one, into the fallback while the shard is away, nowhere else.
    pub(super) async fn compute(
        &self,
        node: &Arc<Node>,
        key: &[u8],
        options: &Compute,
        compute: Computation,
        held: Option<Held>,
        outage: Option<Outage>,
    ) -> Result<Outcome, Error> {
        self.counters().count(Counter::Computations);
        let began = Instant::now();
        let computed = compute().await;
        let took = began.elapsed();
        self.counters().took(Operation::Compute, took);
        let value = computed?;
        self.inner.computing.times.note(key, took);
        if options.cost_usd > 0.0 {
            self.counters().costs().spent(&options.model, options.cost_usd);
        }
        let ttl = match &value {
            Some(value) => Some(self.ttl_for(options.ttl, key, value).map(|ttl| ttl.saturating_add(options.stale))),
            None => options.negative.map(Some),
        };
        let value = value.unwrap_or(Bytes::from_static(NEGATIVE));
        let mut outcome = Outcome { value, origin: Origin::Here, is_current: true };
        // Without a time for it, that there is no value is not kept.
        if let Some(ttl) = ttl {
            if let Some(held) = held {
                outcome.is_current = self.write_leased(node, key, &outcome.value, ttl, options, held).await;
            } else if let Some(outage) = outage {
                let now = Instant::now();
                let expires_at = ttl.and_then(|ttl| now.checked_add(ttl));
                let negative = is_negative(&outcome.value);
                let about = About { expires_at, compute_time: Some(took), negative };
                node.fallback.put(outage, key, &outcome.value, about, now);
                self.counters().count(Counter::WriteFaults);
            }
        }
        Ok(outcome)
    }

    /// Whether the shard has no objection to the value. If it could not be asked, nobody knows of any.
    async fn write_leased(
        &self,
        node: &Arc<Node>,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
        options: &Compute,
        held: Held,
    ) -> bool {
        let mut request = Request::new("CACHE.SET").arg(key).arg(value);
        let mut tags: Vec<&String> = options.tags.iter().collect();
        if let Some(place) = &options.place {
            request = place.query.push(request.arg("IN").arg(&place.space));
            if let Some(question) = &place.question {
                request = request.arg("QUESTION").arg(question);
            }
            tags.extend(&place.tags);
        }
        if !tags.is_empty() {
            request = request.arg("TAG").number(tags.len() as u64).args(tags);
        }
        if !options.deps.is_empty() {
            request = request.arg("DEP").number(options.deps.len() as u64);
            for (name, version) in &options.deps {
                request = request.arg(name).number(*version);
            }
        }
        if options.cost_usd > 0.0 {
            request = request.arg("COST").float(options.cost_usd);
        }
        if let Some(ttl) = ttl {
            request = request.arg("PX").number(millis(ttl));
        }
        request = request.arg("LEASE").arg(held.token());
        let _forgetting = node.forgetting(key);
        match node.call(Operation::Set, request).await.and_then(reply::done) {
            Ok(()) => {
                held.spent();
                self.counters().count(Counter::Writes);
                true
            }
            Err(error) => {
                self.counters().count(Counter::WriteFaults);
                node.note_fault(&error);
                tracing::debug!(%error, "what was computed is not kept");
                !matches!(error.code(), Some("STALELEASE" | "HELD"))
            }
        }
    }

    /// Computes in the background what a lease was given for.
    pub(super) fn compute_behind(
        &self,
        node: &Arc<Node>,
        key: &[u8],
        options: &Compute,
        compute: Computation,
        held: Held,
    ) {
        let (cache, node, key, options) = (self.clone(), Arc::clone(node), key.to_vec(), options.clone());
        let work = async move {
            if let Err(error) = cache.compute(&node, &key, &options, compute, Some(held), None).await {
                tracing::warn!(%error, "a value could not be computed anew");
            }
        };
        tokio::spawn(work.in_current_span());
    }

    /// Has the value computed anew in the background if nobody else does, in this process or another. `below`: more time to live than it has.
    pub(super) fn renew(&self, node: &Arc<Node>, key: &[u8], options: &Compute, compute: Computation, below: Duration) {
        let Some(turn) = self.inner.computing.renewals.begin(key) else { return };
        let Ok(permit) = Arc::clone(&self.inner.background).try_acquire_owned() else { return };
        let (cache, node, key, options) = (self.clone(), Arc::clone(node), key.to_vec(), options.clone());
        let work = async move {
            match node.lease(&key, options.lease, Some(below)).await {
                Ok(Leased::Renew(Fresh { found, .. }, held)) => {
                    if !options.is_stale(&found, Instant::now()) {
                        cache.counters().count(Counter::EarlyRefreshes);
                    }
                    if let Err(error) = cache.compute(&node, &key, &options, compute, Some(held), None).await {
                        tracing::warn!(%error, "a value could not be computed anew");
                    }
                }
                // It went meanwhile, and nobody is waiting for it. The lease is given back.
                Ok(Leased::Granted(held)) => drop(held),
                Ok(Leased::Hit(_) | Leased::Wait(_)) | Err(_) => tokio::time::sleep(RENEWAL_PAUSE).await,
            }
            drop((turn, permit));
        };
        tokio::spawn(work.in_current_span());
    }

    pub(super) fn count_hit(&self, value: &[u8], options: &Compute) {
        if is_negative(value) {
            self.counters().count(Counter::NegativeHits);
        }
        if options.cost_usd > 0.0 {
            self.counters().costs().saved(&options.model, options.cost_usd);
        }
    }

    /// `flies`: the caller had it computed.
    pub(super) fn count_outcome(&self, outcome: &Outcome, options: &Compute, flies: bool) {
        if outcome.origin == Origin::Shard {
            self.counters().count(Counter::L2Hits);
            self.count_hit(&outcome.value, options);
            return;
        }
        self.counters().count(Counter::Misses);
        if options.cost_usd > 0.0 && !(flies && outcome.origin == Origin::Here) {
            // Without the flight or the lease this caller would have paid as well.
            self.counters().costs().saved(&options.model, options.cost_usd);
        }
    }
}

/// The value, which has to be one.
pub(super) fn present<V: FromValue>(value: Bytes) -> Result<V, Error> {
    let got_bytes = value.len();
    decode(value)?.ok_or_else(|| {
        let expected = std::any::type_name::<V>();
        DecodeError { expected, got_bytes, why: DecodeFault::Absent }.into()
    })
}

/// The caller's function as flights take it.
pub(super) fn boxed<V, E>(
    compute: impl Future<Output = Result<Option<V>, E>> + Send + 'static,
) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, Error>> + Send>>
where
    V: ToValue + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    Box::pin(async move {
        let value = compute.await.map_err(|error| Error::Compute(Arc::from(error.into())))?;
        Ok(value.map(|value| encode(&value).map(|bytes| Bytes::from(bytes.into_owned()))).transpose()?)
    })
}
