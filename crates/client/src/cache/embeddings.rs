//! The vectors of many texts: what is known comes from the cache, the rest is computed, and each text is asked for and computed once.
//!
//! A vector is a function of its model and its text and of nothing else. So there are no leases here, a vector that was computed while the shard was away
//! is as good as the one that the shard may have, and whichever of two writers comes last is right.

use super::node::{Found, Node};
use super::{Cache, Writes, millis};
use crate::codec::{Finite, decode, encode};
use crate::commands::embeddings_request;
use crate::keys::{EmbeddingKey, KeyError};
use crate::l1::About;
use crate::stats::{Counter, Operation};
use crate::{Error, Request, reply};
use bytes::Bytes;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Texts of one command: the shard takes twice as many unless it is told otherwise (`embedding-batch-max`). More go in several commands of one round trip.
const COMMAND_TEXTS_MAX: usize = 1024;

/// Whose vectors are wanted, how they are computed, and how they are kept.
///
/// ```
/// use std::time::Duration;
/// use sutra_cache_client::Embeddings;
///
/// let options = Embeddings::new("minilm").batch(64).concurrency(2).cost(0.000_02).ttl(Duration::from_secs(86_400));
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Embeddings {
    model: String,
    batch: usize,
    concurrency: usize,
    ttl: Option<Duration>,
    cost_usd: f64,
    store_text: bool,
    dimension: Option<usize>,
}

impl Embeddings {
    /// Of this model: the name of a space on the shard.
    pub fn new(model: impl Into<String>) -> Embeddings {
        Embeddings {
            model: model.into(),
            batch: 128,
            concurrency: 4,
            ttl: None,
            cost_usd: 0.0,
            store_text: false,
            dimension: None,
        }
    }

    /// Most texts that the function gets at once. Default 128.
    pub fn batch(mut self, texts: usize) -> Embeddings {
        self.batch = texts.max(1);
        self
    }

    /// Most batches that are computed at once. Default 4.
    pub fn concurrency(mut self, batches: usize) -> Embeddings {
        self.concurrency = batches.max(1);
        self
    }

    /// How long vectors are kept. Default: as the cache's settings say.
    pub fn ttl(mut self, ttl: Duration) -> Embeddings {
        self.ttl = Some(ttl);
        self
    }

    /// What computing one vector costs, in US dollars.
    pub fn cost(mut self, usd: f64) -> Embeddings {
        self.cost_usd = usd;
        self
    }

    /// The shard keeps the texts, too, as metadata of their vectors.
    pub fn store_text(mut self) -> Embeddings {
        self.store_text = true;
        self
    }

    /// How many dimensions the model's vectors have. What is kept and has another number is computed anew. Default: as many as the first one.
    pub fn dimension(mut self, dimension: usize) -> Embeddings {
        self.dimension = Some(dimension);
        self
    }

    /// What is kept, as a vector of this model, if it is one.
    fn verified(&self, value: &Bytes) -> Option<Vec<f32>> {
        let Finite(vector) = decode(value.clone()).ok().flatten()?;
        let is_right = self.dimension.map_or(!vector.is_empty(), |dimension| vector.len() == dimension);
        is_right.then_some(vector)
    }
}

impl From<&str> for Embeddings {
    fn from(model: &str) -> Embeddings {
        Embeddings::new(model)
    }
}

impl From<&Embeddings> for Embeddings {
    fn from(options: &Embeddings) -> Embeddings {
        options.clone()
    }
}

/// One of the different texts.
struct Wanted<'a> {
    text: &'a str,
    key: EmbeddingKey,
    node: Arc<Node>,
    vector: Option<Vec<f32>>,
}

impl Cache {
    /// The vectors of the texts, in their order: from this process, the rest from the shards in one round trip, and what is not there from the
    /// function, which gets texts in batches and gives their vectors in the same order. Equal texts are one. What was computed is kept.
    ///
    /// Each batch is kept as soon as it is computed, so that what was paid for is not lost if a later one fails or the caller goes away.
    ///
    /// # Errors
    /// [`Error::Compute`] if the function fails, or gives another number of vectors than it got texts, vectors that are not finite, or of other
    /// dimensions than the rest. [`Error::Config`] if the shard cannot have a model of this name. Faults, if the cache was asked to return them.
    ///
    /// ```
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// use sutra_cache_client::Cache;
    ///
    /// let cache = Cache::connect(&shard.url()).await?;
    /// // Your model stands here.
    /// let model = async |texts: Vec<String>| {
    ///     Ok::<_, std::io::Error>(texts.iter().map(|text| vec![text.len() as f32, 1.0]).collect())
    /// };
    /// let vectors = cache.embeddings("lengths", &["a", "bcd", "a"], model).await?;
    /// assert_eq!(vectors, [[1.0, 1.0], [3.0, 1.0], [1.0, 1.0]]);
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub async fn embeddings<T, F, R, E>(
        &self,
        options: impl Into<Embeddings>,
        texts: &[T],
        compute: F,
    ) -> Result<Vec<Vec<f32>>, Error>
    where
        T: AsRef<str>,
        F: Fn(Vec<String>) -> R,
        R: Future<Output = Result<Vec<Vec<f32>>, E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (options, began) = (options.into(), Instant::now());
        let (mut wanted, places) = self.distinct(&options, texts)?;
        self.look_up_vectors(&options, &mut wanted).await?;
        let computed = self.compute_vectors(&options, &mut wanted, compute).await?;
        if options.cost_usd > 0.0 {
            let saved = texts.len() - computed;
            self.counters().costs().saved(&options.model, options.cost_usd * saved as f64);
        }
        let vectors: Option<Vec<Vec<f32>>> = places.iter().map(|place| wanted[*place].vector.clone()).collect();
        self.counters().took(Operation::Embeddings, began.elapsed());
        vectors.ok_or_else(|| broken(BrokenBatch::Count { texts: wanted.len(), vectors: 0 }))
    }

    /// The different texts, and which of them each text is.
    fn distinct<'a, T: AsRef<str>>(
        &self,
        options: &Embeddings,
        texts: &'a [T],
    ) -> Result<(Vec<Wanted<'a>>, Vec<usize>), Error> {
        let mut known: HashMap<&str, usize> = HashMap::with_capacity(texts.len());
        let (mut wanted, mut places) = (Vec::new(), Vec::with_capacity(texts.len()));
        for text in texts {
            let text = text.as_ref();
            let place = *known.entry(text).or_insert(wanted.len());
            if place == wanted.len() {
                let refused = |error: KeyError| Error::Config(error.to_string());
                let key = EmbeddingKey::new(&options.model, text).map_err(refused)?;
                let node = self.node(key.as_bytes());
                wanted.push(Wanted { text, key, node, vector: None });
            }
            places.push(place);
        }
        Ok((wanted, places))
    }

    /// Fills in what this process and the shards have.
    async fn look_up_vectors(&self, options: &Embeddings, wanted: &mut [Wanted<'_>]) -> Result<(), Error> {
        let now = Instant::now();
        for one in wanted.iter_mut() {
            let found = one.node.look(one.key.as_bytes(), now);
            one.vector = found.and_then(|found| options.verified(&found.value));
        }
        let asked = by_node(wanted, |one| one.vector.is_none());
        let (shared, asked) = (&*wanted, &asked);
        let fetches =
            asked.iter().map(|(node, places)| async move { node.fetch_vectors(options, shared, places).await });
        let fetched = futures_util::future::join_all(fetches).await;
        for ((_, places), found) in asked.iter().zip(fetched) {
            let found = self.missed(found, vec![None; places.len()], places.len() as u64)?;
            for (place, vector) in places.iter().zip(found) {
                wanted[*place].vector = vector;
            }
        }
        Ok(())
    }

    /// Computes and keeps what is missing; how many that were.
    async fn compute_vectors<F, R, E>(
        &self,
        options: &Embeddings,
        wanted: &mut [Wanted<'_>],
        compute: F,
    ) -> Result<usize, Error>
    where
        F: Fn(Vec<String>) -> R,
        R: Future<Output = Result<Vec<Vec<f32>>, E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let missing: Vec<usize> = (0..wanted.len()).filter(|place| wanted[*place].vector.is_none()).collect();
        let known = wanted.iter().find_map(|one| one.vector.as_ref()).map(Vec::len);
        let dimension = AtomicUsize::new(options.dimension.or(known).unwrap_or(UNKNOWN));
        let first_error = FirstError::default();
        let (shared, compute) = (&*wanted, &compute);
        // Collected: a future that holds the closure over borrowed places cannot be spawned.
        let batches: Vec<_> = missing
            .chunks(options.batch)
            .map(|places| {
                let (dimension, first_error) = (&dimension, &first_error);
                async move {
                    // Nothing more is begun, and what is under way is finished and kept.
                    if first_error.is_some() {
                        return (places, Vec::new());
                    }
                    match self.compute_batch(options, shared, places, dimension, compute).await {
                        Ok(vectors) => (places, vectors),
                        Err(error) => {
                            first_error.set(error);
                            (places, Vec::new())
                        }
                    }
                }
            })
            .collect();
        let done: Vec<_> = futures_util::stream::iter(batches).buffer_unordered(options.concurrency).collect().await;
        if let Some(error) = first_error.take() {
            return Err(error);
        }
        for (places, vectors) in done {
            for (place, vector) in places.iter().zip(vectors) {
                wanted[*place].vector = Some(vector);
            }
        }
        Ok(missing.len())
    }

    async fn compute_batch<F, R, E>(
        &self,
        options: &Embeddings,
        wanted: &[Wanted<'_>],
        places: &[usize],
        dimension: &AtomicUsize,
        compute: &F,
    ) -> Result<Vec<Vec<f32>>, Error>
    where
        F: Fn(Vec<String>) -> R,
        R: Future<Output = Result<Vec<Vec<f32>>, E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.counters().count(Counter::Computations);
        let began = Instant::now();
        let computed = compute(places.iter().map(|place| wanted[*place].text.to_owned()).collect()).await;
        self.counters().took(Operation::Compute, began.elapsed());
        let vectors = computed.map_err(|error| Error::Compute(Arc::from(error.into())))?;
        if options.cost_usd > 0.0 {
            self.counters().costs().spent(&options.model, options.cost_usd * places.len() as f64);
        }
        if vectors.len() != places.len() {
            return Err(broken(BrokenBatch::Count { texts: places.len(), vectors: vectors.len() }));
        }
        for vector in &vectors {
            let known = dimension.compare_exchange(UNKNOWN, vector.len(), Ordering::Relaxed, Ordering::Relaxed);
            let expected = known.err().unwrap_or(vector.len());
            if vector.len() != expected || vector.is_empty() {
                return Err(broken(BrokenBatch::Dimension { expected, got: vector.len() }));
            }
            if !vector.iter().all(|component| component.is_finite()) {
                return Err(broken(BrokenBatch::NotFinite));
            }
        }
        self.keep_vectors(options, wanted, places, &vectors).await;
        Ok(vectors)
    }

    /// Writes vectors to their shards. What becomes of it is counted: the caller has what it wants.
    async fn keep_vectors(&self, options: &Embeddings, wanted: &[Wanted<'_>], places: &[usize], vectors: &[Vec<f32>]) {
        let ttl = options.ttl.or(self.inner.builder.ttl);
        let mut by_node: Vec<(&Arc<Node>, Vec<usize>)> = Vec::new();
        for index in 0..places.len() {
            let node = &wanted[places[index]].node;
            match by_node.iter_mut().find(|(other, _)| Arc::ptr_eq(other, node)) {
                Some((_, indexes)) => indexes.push(index),
                None => by_node.push((node, vec![index])),
            }
        }
        let mut writes = Vec::new();
        for (node, indexes) in by_node {
            for indexes in indexes.chunks(COMMAND_TEXTS_MAX) {
                let mut request = Request::read("CACHE.EMB.MSET").arg(&options.model);
                if let Some(ttl) = ttl {
                    request = request.arg("PX").number(millis(ttl));
                }
                if options.cost_usd > 0.0 {
                    request = request.arg("COST").float(options.cost_usd);
                }
                if options.store_text {
                    request = request.arg("STORETEXT");
                }
                let mut entries = Vec::with_capacity(indexes.len());
                for index in indexes {
                    let one = &wanted[places[*index]];
                    let blob = encode(&vectors[*index]).map(|blob| Bytes::from(blob.into_owned())).unwrap_or_default();
                    request = request.arg(one.text).arg(&blob);
                    entries.push((one.key.clone(), blob));
                }
                writes.push(Arc::clone(node).keep_vectors(request, entries, ttl));
            }
        }
        if self.inner.builder.writes == Writes::BestEffort
            && let Ok(permit) = Arc::clone(&self.inner.background).try_acquire_owned()
        {
            tokio::spawn(async move {
                futures_util::future::join_all(writes).await;
                drop(permit);
            });
        } else {
            futures_util::future::join_all(writes).await;
        }
    }
}

impl Node {
    /// Reads vectors in one round trip, and keeps what is found in this process.
    async fn fetch_vectors(
        self: &Arc<Node>,
        options: &Embeddings,
        wanted: &[Wanted<'_>],
        places: &[usize],
    ) -> Result<Vec<Option<Vec<f32>>>, Error> {
        if self.is_away() {
            return Err(Error::BreakerOpen);
        }
        let tickets: Vec<_> = places.iter().map(|place| self.begin(wanted[*place].key.as_bytes())).collect();
        let texts = |places: &[usize]| places.iter().map(|place| wanted[*place].text).collect::<Vec<_>>();
        let requests: Vec<Request> =
            places.chunks(COMMAND_TEXTS_MAX).map(|places| embeddings_request(&options.model, texts(places))).collect();
        let answer = self.guarded(Operation::GetMany, async {
            let mut values = Vec::with_capacity(places.len());
            for reply in self.client.pipeline_tracked(&requests).await? {
                for value in reply::array(reply?)? {
                    values.push(reply::bytes_or_nil(value)?);
                }
            }
            Ok(values)
        });
        let values = answer.await.inspect_err(|error| self.note_fault(error))?;
        // How long they have to live is not told; that they have ended is.
        let expires_at = options.ttl.and_then(|ttl| Instant::now().checked_add(ttl));
        let mut vectors = Vec::with_capacity(places.len());
        for ((ticket, place), value) in tickets.into_iter().zip(places).zip(values) {
            let vector = value.as_ref().and_then(|value| options.verified(value));
            self.stats.count(if vector.is_some() { Counter::L2Hits } else { Counter::Misses });
            if let (Some(value), true) = (value, vector.is_some()) {
                let found = Found { value, expires_at, compute_time: None };
                self.keep(ticket, wanted[*place].key.as_bytes(), &found);
            }
            vectors.push(vector);
        }
        vectors.resize(places.len(), None);
        Ok(vectors)
    }

    async fn keep_vectors(
        self: Arc<Node>,
        request: Request,
        entries: Vec<(EmbeddingKey, Bytes)>,
        ttl: Option<Duration>,
    ) {
        let _forgetting: Vec<_> = entries.iter().map(|(key, _)| self.forgetting(key.as_bytes())).collect();
        let written = self.call(Operation::Set, request).await.and_then(reply::count);
        let counter = if written.is_ok() { Counter::Writes } else { Counter::WriteFaults };
        self.stats.add(counter, entries.len() as u64);
        let Err(error) = written else { return };
        self.note_fault(&error);
        if !error.is_fault() {
            tracing::warn!(%error, "the shard refuses vectors");
        }
        if let Some(outage) = self.fallback.outage() {
            let now = Instant::now();
            let about = About { expires_at: ttl.and_then(|ttl| now.checked_add(ttl)), ..About::default() };
            for (key, blob) in &entries {
                self.fallback.lend(outage, key.as_bytes(), blob, about, now);
            }
        }
    }
}

/// The places of those for which it holds, by shard.
fn by_node(wanted: &[Wanted<'_>], is_meant: impl Fn(&Wanted<'_>) -> bool) -> Vec<(Arc<Node>, Vec<usize>)> {
    let mut groups: Vec<(Arc<Node>, Vec<usize>)> = Vec::new();
    for (place, one) in wanted.iter().enumerate().filter(|(_, one)| is_meant(one)) {
        match groups.iter_mut().find(|(node, _)| Arc::ptr_eq(node, &one.node)) {
            Some((_, places)) => places.push(place),
            None => groups.push((Arc::clone(&one.node), vec![place])),
        }
    }
    groups
}

/// The dimension of vectors of which none is there yet.
const UNKNOWN: usize = 0;

/// The error that came first.
#[derive(Debug, Default)]
struct FirstError(Mutex<Option<Error>>);

impl FirstError {
    fn set(&self, error: Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn is_some(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(self) -> Option<Error> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a function gave that are not the vectors of its texts.
#[derive(Debug)]
enum BrokenBatch {
    Count { texts: usize, vectors: usize },
    Dimension { expected: usize, got: usize },
    NotFinite,
}

impl fmt::Display for BrokenBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BrokenBatch::Count { texts, vectors } => write!(f, "it gave {vectors} vectors for {texts} texts"),
            BrokenBatch::Dimension { expected, got } => {
                write!(f, "it gave a vector of {got} dimensions, the others have {expected}")
            }
            BrokenBatch::NotFinite => f.write_str("it gave a vector with NaN or infinity"),
        }
    }
}

impl std::error::Error for BrokenBatch {}

fn broken(why: BrokenBatch) -> Error {
    Error::Compute(Arc::new(why))
}
