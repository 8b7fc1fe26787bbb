//! The spaces of vectors.

use super::fields::Fields;
use crate::{Client, Error, Reply, Request, reply};

/// How a space is made. Spaces that nobody makes are made with their first vector, with cosine.
///
/// ```
/// use sutra_cache_client::{Guard, Metric, SpaceOptions};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
/// client.space_create("prices", &SpaceOptions::new(384).guard(Guard::all()).metric(Metric::Cosine)).await?;
/// let info = client.space_info("prices").await?;
/// assert_eq!((info.dimension, info.metric, info.guard), (384, Metric::Cosine, Guard::all()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct SpaceOptions {
    dimension: u64,
    metric: Option<Metric>,
    embedder: Option<String>,
    quantization: Option<Quantization>,
    guard: Guard,
}

/// What similarity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The cosine of the angle, from -1 to 1.
    Cosine,
    /// The inner product.
    InnerProduct,
    /// Of Euclid's distance.
    Euclidean,
}

/// How vectors are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantization {
    /// With 8 bits for the search and 32 for the result.
    Cascade,
    /// With 8 bits alone: a fifth of the memory, and similarities that are rounded.
    Int8Only,
}

/// In what the question of an entry has to agree with the one that is asked, however similar their vectors are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guard {
    /// Numbers: "30 days" is not "90 days".
    pub numbers: bool,
    /// Dates.
    pub dates: bool,
    /// Identifiers, such as those of products.
    pub ids: bool,
    /// Negation: "with" is not "without".
    pub negation: bool,
}

impl Metric {
    const ALL: [(Metric, &str); 3] =
        [(Metric::Cosine, "cosine"), (Metric::InnerProduct, "ip"), (Metric::Euclidean, "l2")];
}

impl Quantization {
    const ALL: [(Quantization, &str); 2] = [(Quantization::Cascade, "cascade"), (Quantization::Int8Only, "int8-only")];
}

impl Guard {
    /// In everything that can be compared.
    #[must_use]
    pub fn all() -> Guard {
        Guard { numbers: true, dates: true, ids: true, negation: true }
    }

    fn words(self) -> Vec<&'static str> {
        let all = [(self.numbers, "numbers"), (self.dates, "dates"), (self.ids, "ids"), (self.negation, "negation")];
        all.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word).collect()
    }

    fn of_words(text: &str) -> Guard {
        let has = |wanted: &str| text.split(',').any(|word| word == wanted);
        Guard { numbers: has("numbers"), dates: has("dates"), ids: has("ids"), negation: has("negation") }
    }
}

impl SpaceOptions {
    /// For vectors of this dimension that clients bring, with cosine, without a guard.
    pub fn new(dimension: u64) -> SpaceOptions {
        SpaceOptions { dimension, metric: None, embedder: None, quantization: None, guard: Guard::default() }
    }

    /// What similarity is.
    pub fn metric(mut self, metric: Metric) -> SpaceOptions {
        self.metric = Some(metric);
        self
    }

    /// For texts, whose vectors this embedder makes: `builtin`, or a name as [`SpaceInfo::embedder`] tells it.
    pub fn embedder(mut self, embedder: impl Into<String>) -> SpaceOptions {
        self.embedder = Some(embedder.into());
        self
    }

    /// How vectors are kept.
    pub fn quantization(mut self, quantization: Quantization) -> SpaceOptions {
        self.quantization = Some(quantization);
        self
    }

    /// In what questions have to agree.
    pub fn guard(mut self, guard: Guard) -> SpaceOptions {
        self.guard = guard;
        self
    }

    fn request(&self, name: &str) -> Request {
        let mut request = Request::new("CACHE.SPACE").args(["CREATE", name, "DIM"]).number(self.dimension);
        if let Some(metric) = self.metric {
            request = request.arg("METRIC").arg(name_of(&Metric::ALL, metric));
        }
        if let Some(embedder) = &self.embedder {
            request = request.arg("EMBEDDER").arg(embedder);
        }
        if let Some(quantization) = self.quantization {
            request = request.arg("QUANT").arg(name_of(&Quantization::ALL, quantization));
        }
        let guard = self.guard.words();
        if guard.is_empty() { request } else { request.arg("GUARD").arg(guard.join(",")) }
    }
}

/// What is known of a space.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SpaceInfo {
    /// Its name.
    pub name: String,
    /// The dimension of its vectors.
    pub dimension: u64,
    /// What similarity is.
    pub metric: Metric,
    /// Which embedder makes its vectors; empty if clients do.
    pub embedder: String,
    /// How vectors are kept.
    pub quantization: Quantization,
    /// In what questions have to agree.
    pub guard: Guard,
    /// How many entries it has.
    pub entries: u64,
    /// The bytes of memory that it takes.
    pub memory_bytes: u64,
    /// How many vectors are in its graph.
    pub graph_rows: u64,
    /// Lookups that found something.
    pub hits: u64,
    /// Lookups that found nothing.
    pub misses: u64,
    /// Entries that were passed over by the guard.
    pub guarded: u64,
    /// What the hits would have cost to compute, in US dollars.
    pub cost_saved_usd: f64,
    /// Entries that were removed by invalidations.
    pub invalidated: u64,
    /// Hits that were called good ([`Client::feedback`]).
    pub feedback_good: u64,
    /// Hits that were called bad.
    pub feedback_bad: u64,
    /// Which share of the hits is good, by feedback.
    pub feedback_precision: f64,
    /// The threshold that feedback suggests, if there is enough of it.
    pub suggested_threshold: Option<f64>,
}

impl Client {
    /// Makes a space. See [`SpaceOptions`] for an example.
    ///
    /// # Errors
    /// As [`Client::call`]; if there is a space of this name.
    pub async fn space_create(&self, name: &str, options: &SpaceOptions) -> Result<(), Error> {
        reply::done(self.call(options.request(name)).await?)
    }

    /// Removes a space and all its entries; how many there were.
    ///
    /// ```
    /// use sutra_cache_client::Entry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.cache_set(&Entry::new("k", "v").space("s").vector(&[1.0, 0.0])).await?;
    /// assert_eq!(client.space_drop("s").await?, 1);
    /// assert!(client.space_list().await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`]; if there is no such space.
    pub async fn space_drop(&self, name: &str) -> Result<u64, Error> {
        reply::count(self.call(Request::new("CACHE.SPACE").args(["DROP", name])).await?)
    }

    /// The names of the spaces, sorted.
    ///
    /// ```
    /// use sutra_cache_client::SpaceOptions;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.space_create("s", &SpaceOptions::new(2)).await?;
    /// assert_eq!(client.space_list().await?, ["s"]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn space_list(&self) -> Result<Vec<String>, Error> {
        super::entry::texts(self.call(Request::read("CACHE.SPACE").arg("LIST")).await?)
    }

    /// What is known of a space. See [`SpaceOptions`] for an example.
    ///
    /// # Errors
    /// As [`Client::call`]; if there is no such space.
    pub async fn space_info(&self, name: &str) -> Result<SpaceInfo, Error> {
        info(self.call(Request::read("CACHE.SPACE").args(["INFO", name])).await?)
    }

    /// Begins a new generation of a space: everything older is gone at once, however much it is. Returns the position in the shard's log.
    ///
    /// ```
    /// use sutra_cache_client::Entry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.cache_set(&Entry::new("k", "v").space("s").vector(&[1.0, 0.0])).await?;
    /// client.space_bump("s").await?;
    /// assert!(!client.exists("k").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`]; if there is no such space.
    pub async fn space_bump(&self, name: &str) -> Result<u64, Error> {
        reply::count(self.call(Request::read("CACHE.SPACE").args(["BUMP", name])).await?)
    }
}

fn name_of<T: PartialEq>(all: &[(T, &'static str)], wanted: T) -> &'static str {
    all.iter().find(|(each, _)| *each == wanted).map_or("", |(_, name)| *name)
}

fn named<T: Copy>(all: &[(T, &'static str)], answer: Reply, expected: &'static str) -> Result<T, Error> {
    let name = reply::bytes(answer)?;
    let found = all.iter().find(|(_, each)| *each.as_bytes() == *name).map(|(each, _)| *each);
    found.ok_or_else(|| reply::unexpected(expected, &Reply::Bulk(name)))
}

fn info(answer: Reply) -> Result<SpaceInfo, Error> {
    let mut fields = Fields::of(answer)?;
    Ok(SpaceInfo {
        name: fields.text("name")?,
        dimension: fields.count("dim")?,
        metric: named(&Metric::ALL, fields.take("metric"), "a metric")?,
        embedder: fields.text("embedder")?,
        quantization: named(&Quantization::ALL, fields.take("quant"), "a quantization")?,
        guard: Guard::of_words(&fields.text("guard")?),
        entries: fields.count("entries")?,
        memory_bytes: fields.count("memory_bytes")?,
        graph_rows: fields.count("graph_rows")?,
        hits: fields.count("hits")?,
        misses: fields.count("misses")?,
        guarded: fields.count("guarded")?,
        cost_saved_usd: fields.float("cost_saved_usd")?,
        invalidated: fields.count("invalidated")?,
        feedback_good: fields.count("feedback_good")?,
        feedback_bad: fields.count("feedback_bad")?,
        feedback_precision: fields.float("feedback_precision")?,
        suggested_threshold: fields.float_or_nil("suggested_threshold")?,
    })
}
