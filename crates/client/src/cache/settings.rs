//! What a cache is made of, and how it behaves when its shards do not.

use crate::breaker::BreakerSettings;
use crate::fallback::FallbackSettings;
use crate::l1::L1Settings;
use crate::ttl::AdaptiveTtl;
use crate::{Cache, Config, Error, Tracking};
use std::time::Duration;

/// How long values live of which nothing is known yet, by the default rule for adaptive times.
const ADAPTIVE_TTL_BASE: Duration = Duration::from_secs(600);

/// What a cache does when a shard fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFault {
    /// A read finds nothing, a write is made up for later: the application goes on as without a cache. Every fault is counted.
    #[default]
    Miss,
    /// The error is returned.
    Error,
}

/// What a write waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writes {
    /// The shard's answer.
    #[default]
    Awaited,
    /// Nothing: they are sent in the background, and what becomes of them is only counted.
    BestEffort,
}

/// Builds a [`Cache`].
///
/// ```
/// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// use std::time::Duration;
/// use sutra_cache_client::Cache;
///
/// let cache = Cache::builder(&shard.url())?.ttl(Duration::from_secs(3600)).connect().await?;
/// cache.set("greeting", "hello").await?;
/// assert_eq!(cache.get::<String>("greeting").await?.as_deref(), Some("hello"));
/// # Ok::<(), sutra_cache_client::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct CacheBuilder {
    pub(crate) shards: Vec<(String, f64, Config)>,
    pub(crate) l1: Option<L1Settings>,
    pub(crate) l1_ttl_max: Option<Duration>,
    pub(crate) tracking: Tracking,
    pub(crate) ttl: Option<Duration>,
    pub(crate) adaptive_ttl: AdaptiveTtl,
    pub(crate) on_fault: OnFault,
    pub(crate) writes: Writes,
    pub(crate) breaker: BreakerSettings,
    pub(crate) fallback: FallbackSettings,
    pub(crate) background_max: usize,
}

impl CacheBuilder {
    /// A cache on the shard with these settings. Its name, by which keys are spread, is its address.
    pub fn of(config: Config) -> CacheBuilder {
        let name = config.target().address.to_string();
        CacheBuilder::named(name, 1.0, config)
    }

    /// A cache on a shard with a name of its own, for a cache of several (see [`CacheBuilder::shard`]).
    pub fn named(name: impl Into<String>, weight: f64, config: Config) -> CacheBuilder {
        CacheBuilder {
            shards: vec![(name.into(), weight, config)],
            l1: Some(L1Settings::default()),
            l1_ttl_max: None,
            tracking: Tracking::Keys { noloop: false },
            ttl: None,
            adaptive_ttl: AdaptiveTtl::new(ADAPTIVE_TTL_BASE),
            on_fault: OnFault::default(),
            writes: Writes::default(),
            breaker: BreakerSettings::default(),
            fallback: FallbackSettings::default(),
            background_max: 1024,
        }
    }

    /// One more shard, by a name that stays when its address changes, with a weight: one of weight 2 gets twice the keys of one of weight 1.
    pub fn shard(mut self, name: impl Into<String>, weight: f64, config: Config) -> CacheBuilder {
        self.shards.push((name.into(), weight, config));
        self
    }

    /// How large the tier in this process becomes, for each shard. Default 10,000 entries and 64 MiB.
    pub fn l1(mut self, settings: L1Settings) -> CacheBuilder {
        self.l1 = Some(settings);
        self
    }

    /// No tier in this process: every read asks the shard.
    pub fn without_l1(mut self) -> CacheBuilder {
        self.l1 = None;
        self.tracking = Tracking::Off;
        self
    }

    /// Entries in this process are asked for again after this time, whatever their own. Default: no such limit.
    pub fn l1_ttl_max(mut self, ttl: Duration) -> CacheBuilder {
        self.l1_ttl_max = Some(ttl);
        self
    }

    /// How shards tell of changes. Default: [`Tracking::Keys`]. With [`Tracking::Off`] the tier in this process knows of no changes but its own, and
    /// [`CacheBuilder::l1_ttl_max`] should bound how old it may be. With [`Tracking::Broadcast`] this client's own changes are always told, since a write
    /// whose caller went away could be missed otherwise.
    pub fn tracking(mut self, tracking: Tracking) -> CacheBuilder {
        self.tracking = match tracking {
            Tracking::Broadcast { prefixes, .. } => Tracking::Broadcast { prefixes, noloop: false },
            other @ (Tracking::Off | Tracking::Keys { .. } | Tracking::OptIn { .. }) => other,
        };
        self
    }

    /// How long values live that are written without a time. Default: for ever, or the shard's `DEFAULT_TTL_SECONDS` for native entries.
    pub fn ttl(mut self, ttl: Duration) -> CacheBuilder {
        self.ttl = Some(ttl);
        self
    }

    /// The rule for values that are written with [`Ttl::Adaptive`](crate::Ttl::Adaptive). Default: [`AdaptiveTtl::new`] with ten minutes.
    pub fn adaptive_ttl(mut self, rule: AdaptiveTtl) -> CacheBuilder {
        self.adaptive_ttl = rule;
        self
    }

    /// What a fault of a shard is for the application. Default: a miss.
    pub fn on_fault(mut self, on_fault: OnFault) -> CacheBuilder {
        self.on_fault = on_fault;
        self
    }

    /// Whether writes wait for the shard. Default: they do.
    pub fn writes(mut self, writes: Writes) -> CacheBuilder {
        self.writes = writes;
        self
    }

    /// When a failing shard is left alone.
    pub fn breaker(mut self, settings: BreakerSettings) -> CacheBuilder {
        self.breaker = settings;
        self
    }

    /// What is kept in this process while a shard is away.
    pub fn fallback(mut self, settings: FallbackSettings) -> CacheBuilder {
        self.fallback = settings;
        self
    }

    /// Most writes and refreshes in the background at once; beyond them they are made at once by who asks. Default 1024.
    pub fn background_max(mut self, tasks: usize) -> CacheBuilder {
        self.background_max = tasks;
        self
    }

    /// Makes the cache and waits until every shard is connected.
    ///
    /// # Errors
    /// If one of them cannot be reached in time. An application that is to start without its cache uses [`CacheBuilder::build`].
    pub async fn connect(self) -> Result<Cache, Error> {
        let cache = self.build()?;
        cache.ready().await?;
        Ok(cache)
    }

    /// Makes the cache, which connects by and by.
    ///
    /// # Errors
    /// [`Error::Config`] if two shards have the same name, or a weight is no positive number.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn build(self) -> Result<Cache, Error> {
        Cache::new(self)
    }
}
