//! How a client behaves: every limit and time it keeps to.

use crate::{Error, Target};
use std::time::Duration;

/// The settings of a [`Client`](crate::Client). Each has a default that suits a cache on the same network.
///
/// ```
/// use std::time::Duration;
/// use sutra_cache_client::Config;
///
/// let config = Config::new("sutra://127.0.0.1:50051")?.connections(4).read_timeout(Duration::from_millis(250));
/// # Ok::<(), sutra_cache_client::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Config {
    pub(crate) target: Target,
    pub(crate) connections: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) read_timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) backoff_min: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) outbox_bytes_max: usize,
    pub(crate) reply_bytes_max: usize,
    pub(crate) client_name: Option<String>,
    pub(crate) tracking: Tracking,
    #[cfg(feature = "tls")]
    pub(crate) tls: crate::link::tls::TlsConfig,
}

/// How a shard tells the client what has changed (`CLIENT TRACKING`), which keeps an L1 coherent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tracking {
    /// It does not.
    #[default]
    Off,
    /// Each connection is told of changes of the keys that were read through it.
    Keys {
        /// Not of changes that the connection made itself (`NOLOOP`).
        noloop: bool,
    },
    /// As `Keys`, but only of the keys whose reads asked for it ([`Client::call_tracked`](crate::Client::call_tracked)).
    OptIn {
        /// Not of changes that the connection made itself.
        noloop: bool,
    },
    /// One connection is told of every change of keys with one of these prefixes, whether they were read or not.
    Broadcast {
        /// The prefixes; none: every key.
        prefixes: Vec<String>,
        /// Not of changes that the connection made itself.
        noloop: bool,
    },
}

impl Config {
    /// The defaults, for the shard at this URL (see [`Target::parse`]).
    ///
    /// ```
    /// use sutra_cache_client::Config;
    /// assert!(Config::new("sutra://127.0.0.1/3").is_ok());
    /// assert!(Config::new("http://127.0.0.1").is_err());
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] if it is no URL of a shard.
    pub fn new(url: &str) -> Result<Config, Error> {
        Ok(Config::of(Target::parse(url)?))
    }

    /// The defaults, for this shard.
    ///
    /// ```
    /// use sutra_cache_client::{Config, Target};
    /// let config = Config::of(Target::parse("sutra://127.0.0.1:50051")?);
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    pub fn of(target: Target) -> Config {
        Config {
            target,
            connections: 2,
            connect_timeout: Duration::from_secs(2),
            read_timeout: Duration::from_secs(2),
            retries: 2,
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_secs(2),
            heartbeat: Duration::from_secs(1),
            outbox_bytes_max: 64 << 20,
            reply_bytes_max: 512 << 20,
            client_name: None,
            tracking: Tracking::Off,
            #[cfg(feature = "tls")]
            tls: crate::link::tls::TlsConfig::default(),
        }
    }

    /// Most connections to the shard, which all tasks share. The first carries everything as long as little waits to be sent on it; those behind
    /// it are for what would wait, and for commands that take long. At least 1; default 2.
    ///
    /// ```
    /// use sutra_cache_client::Config;
    /// let config = Config::new("sutra://127.0.0.1:50051")?.connections(4);
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    pub fn connections(mut self, connections: usize) -> Config {
        self.connections = connections.max(1);
        self
    }

    /// How long a connection may take to be made, and how long a request waits for one. Default 2 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sutra_cache_client::Config;
    /// let config = Config::new("sutra://127.0.0.1:50051")?.connect_timeout(Duration::from_millis(200));
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    pub fn connect_timeout(mut self, timeout: Duration) -> Config {
        self.connect_timeout = timeout;
        self
    }

    /// How long an answer is waited for, kept to within an eighth of it. Default 2 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sutra_cache_client::Config;
    /// let config = Config::new("sutra://127.0.0.1:50051")?.read_timeout(Duration::from_millis(50));
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    pub fn read_timeout(mut self, timeout: Duration) -> Config {
        self.read_timeout = timeout;
        self
    }

    /// How often a request is sent again when its connection ended: at any time if it was not sent, else only if it is repeatable. Default 2.
    ///
    /// ```
    /// use sutra_cache_client::Config;
    /// let config = Config::new("sutra://127.0.0.1:50051")?.retries(0);
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    pub fn retries(mut self, retries: u32) -> Config {
        self.retries = retries;
        self
    }

    /// The pause before a connection is made again: doubled from the first to the second of these at each failure, of which between half and all is
    /// waited at random, so that many clients do not return in step. Default 10 ms to 2 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sutra_cache_client::Config;
    /// let config = Config::new("sutra://127.0.0.1:50051")?.backoff(Duration::from_millis(5), Duration::from_secs(1));
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    pub fn backoff(mut self, min: Duration, max: Duration) -> Config {
        self.backoff_min = min.max(Duration::from_millis(1));
        self.backoff_max = max.max(self.backoff_min);
        self
    }

    /// A connection on which nothing has come for so long is asked for a sign of life, and given up if none comes for as long again. With an L1,
    /// twice this bounds how stale it can become when the network fails silently. Default 1 s.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sutra_cache_client::Config;
    /// let config = Config::new("sutra://127.0.0.1:50051")?.heartbeat(Duration::from_millis(250));
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    pub fn heartbeat(mut self, heartbeat: Duration) -> Config {
        self.heartbeat = heartbeat.max(Duration::from_millis(10));
        self
    }

    /// Bytes of requests that may wait to be sent on one connection; beyond them requests are refused. Default 64 MiB.
    ///
    /// ```
    /// use sutra_cache_client::Config;
    /// let config = Config::new("sutra://127.0.0.1:50051")?.outbox_bytes_max(8 << 20);
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    pub fn outbox_bytes_max(mut self, bytes: usize) -> Config {
        self.outbox_bytes_max = bytes;
        self
    }

    /// The longest bulk string that is accepted in a reply. Default 512 MiB.
    ///
    /// ```
    /// use sutra_cache_client::Config;
    /// let config = Config::new("sutra://127.0.0.1:50051")?.reply_bytes_max(16 << 20);
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    pub fn reply_bytes_max(mut self, bytes: usize) -> Config {
        self.reply_bytes_max = bytes;
        self
    }

    /// What `CLIENT LIST` on the shard calls the client's connections.
    ///
    /// ```
    /// use sutra_cache_client::Config;
    /// let config = Config::new("sutra://127.0.0.1:50051")?.client_name("billing");
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    pub fn client_name(mut self, name: impl Into<String>) -> Config {
        self.client_name = Some(name.into());
        self
    }

    /// How the shard tells of changes. [`Cache`](crate::Cache) chooses this by itself. Default: not at all.
    ///
    /// ```
    /// use sutra_cache_client::{Config, Tracking};
    /// let config = Config::new("sutra://127.0.0.1:50051")?.tracking(Tracking::OptIn { noloop: true });
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    pub fn tracking(mut self, tracking: Tracking) -> Config {
        self.tracking = tracking;
        self
    }

    /// A user and a password, instead of those of the URL.
    ///
    /// ```
    /// use sutra_cache_client::Config;
    /// let config = Config::new("sutra://127.0.0.1:50051")?.credentials(None, Some("secret".to_owned()));
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    pub fn credentials(mut self, user: Option<String>, password: Option<String>) -> Config {
        self.target.user = user;
        self.target.password = password;
        self
    }

    /// The certificates that are believed, and the client's own.
    ///
    /// ```
    /// use sutra_cache_client::{Config, TlsConfig};
    /// let config = Config::new("sutras://127.0.0.1:50051")?.tls(TlsConfig::default());
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::TlsConfig) -> Config {
        self.tls = tls;
        self
    }

    /// The shard that is meant.
    ///
    /// ```
    /// use sutra_cache_client::Config;
    /// let config = Config::new("sutra://127.0.0.1:50051")?;
    /// assert_eq!(config.target().database, 0);
    /// # Ok::<(), sutra_cache_client::Error>(())
    /// ```
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }
}
