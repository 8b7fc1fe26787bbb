//! One shard, and any command on it.

use crate::link::Observer;
use crate::pool::{Pool, PoolSnapshot};
use crate::stats::Stats;
use crate::{Config, Error, Reply, Request, Tracking, reply};
use std::sync::Arc;
use sutra_protocol::Frame;

/// A client of one shard. Cheap to clone; all clones and all tasks share a few connections, on which their requests are pipelined.
///
/// A future of a call may be dropped at any time: the request may then have been carried out, and nothing else is disturbed. Calls that
/// are awaited one after the other are carried out in that order; calls that run at once, in any.
///
/// Errors are returned as they are: [`Cache`](crate::Cache), on top of this, is what turns them into misses.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Arc<Pool>,
}

impl Client {
    /// Connects to the shard at this URL (see [`Target::parse`](crate::Target::parse)), with the default settings.
    ///
    /// ```
    /// use sutra_cache_client::Client;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let client = Client::connect(&shard.url()).await?;
    /// client.set("k", "v").await?;
    /// assert_eq!(client.get::<String>("k").await?.as_deref(), Some("v"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If it is no URL, or no connection could be made in time.
    pub async fn connect(url: &str) -> Result<Client, Error> {
        Client::open(Config::new(url)?).await
    }

    /// Connects with these settings.
    ///
    /// ```
    /// use sutra_cache_client::{Client, Config};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let config = Config::new(&shard.url())?.connections(1).client_name("billing");
    /// let client = Client::open(config).await?;
    /// assert_eq!(client.connections().open, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If no connection could be made in time, or the shard refused it (wrong password).
    pub async fn open(config: Config) -> Result<Client, Error> {
        let client = Client::lazy(config);
        client.pool.ready().await?;
        Ok(client)
    }

    /// A client that connects by and by: an application that can do without its cache starts without it.
    ///
    /// ```
    /// use sutra_cache_client::{Client, Config};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let client = Client::lazy(Config::new(&shard.url())?);
    /// // Calls wait for the connection.
    /// assert_eq!(client.get::<String>("k").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// Outside of a tokio runtime, on which its tasks run.
    #[must_use]
    pub fn lazy(config: Config) -> Client {
        Client::observed(config, None, Arc::default())
    }

    pub(crate) fn observed(config: Config, observer: Option<Arc<dyn Observer>>, stats: Arc<Stats>) -> Client {
        Client { pool: Arc::new(Pool::new(config, observer, stats)) }
    }

    /// Waits until there is a connection.
    ///
    /// ```
    /// use sutra_cache_client::{Client, Config};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let client = Client::lazy(Config::new(&shard.url())?);
    /// client.ready().await?;
    /// assert!(client.connections().open > 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If none could be made within the `connect_timeout`.
    pub async fn ready(&self) -> Result<(), Error> {
        self.pool.ready().await
    }

    /// Sends one command and waits for its answer.
    ///
    /// ```
    /// use sutra_cache_client::{Reply, Request};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.call(Request::new("SET").arg("n").number(41)).await?;
    /// assert_eq!(client.call(Request::new("INCR").arg("n")).await?, Reply::Integer(42));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Error`]; what the shard answers as an error is [`Error::Server`].
    pub async fn call(&self, request: Request) -> Result<Reply, Error> {
        self.pool.call(&request).await
    }

    /// Sends commands one behind the other on one connection, with nothing of others in between, and waits for all answers: one round trip.
    ///
    /// ```
    /// use sutra_cache_client::{Reply, Request};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// let requests = [Request::new("INCR").arg("n"), Request::new("NOSUCH"), Request::new("INCR").arg("n")];
    /// let answers = client.pipeline(&requests).await?;
    /// assert!(answers[1].is_err());
    /// assert_eq!(answers[2].as_ref().ok(), Some(&Reply::Integer(2)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the answers did not come. An error that the shard answers to one of them stands in its place.
    pub async fn pipeline(&self, requests: &[Request]) -> Result<Vec<Result<Reply, Error>>, Error> {
        Ok(self.pool.call_all(requests).await?.into_iter().map(reply::checked).collect())
    }

    /// Sends commands that are carried out all or none, with no other in between (MULTI and EXEC).
    ///
    /// ```
    /// use sutra_cache_client::Request;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// let requests = [Request::new("INCR").arg("n"), Request::new("NOSUCH")];
    /// assert!(client.atomic(&requests).await.is_err());
    /// assert_eq!(client.get::<String>("n").await?, None, "none was carried out");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the shard refused one of them, none was carried out, and its error is returned.
    pub async fn atomic(&self, requests: &[Request]) -> Result<Vec<Result<Reply, Error>>, Error> {
        let mut all = Vec::with_capacity(requests.len() + 2);
        all.push(Request::new("MULTI"));
        all.extend_from_slice(requests);
        all.push(Request::new("EXEC"));
        let mut replies = self.pool.call_all(&all).await?;
        let done = replies.pop().unwrap_or(Frame::Null);
        if let Frame::Error(_) = done {
            // The first refusal says more than EXECABORT.
            for refused in replies {
                reply::checked(refused)?;
            }
        }
        Ok(reply::array(reply::checked(done)?)?.into_iter().map(reply::checked).collect())
    }

    /// Sends a read whose keys the shard is to watch for this client, whichever way of tracking is configured.
    ///
    /// ```
    /// use sutra_cache_client::{Client, Config, Reply, Request, Tracking};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let config = Config::new(&shard.url())?.tracking(Tracking::OptIn { noloop: false });
    /// let client = Client::open(config).await?;
    /// assert_eq!(client.call_tracked(Request::read("GET").arg("k")).await?, Reply::Null);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_tracked(&self, request: Request) -> Result<Reply, Error> {
        match self.pool.config().tracking {
            Tracking::OptIn { .. } => {
                let requests = [Request::read("CLIENT").args(["CACHING", "YES"]), request];
                let mut replies = self.pool.call_all(&requests).await?;
                let answer = replies.pop().unwrap_or(Frame::Null);
                replies.into_iter().try_for_each(|reply| reply::checked(reply).map(drop))?;
                reply::checked(answer)
            }
            Tracking::Off | Tracking::Keys { .. } | Tracking::Broadcast { .. } => self.pool.call(&request).await,
        }
    }

    /// Sends reads as [`Client::pipeline`] does, watched as by [`Client::call_tracked`].
    ///
    /// ```
    /// use sutra_cache_client::{Client, Config, Request, Tracking};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let config = Config::new(&shard.url())?.tracking(Tracking::OptIn { noloop: false });
    /// let client = Client::open(config).await?;
    /// let reads = [Request::read("GET").arg("a"), Request::read("GET").arg("b")];
    /// assert_eq!(client.pipeline_tracked(&reads).await?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Client::pipeline`].
    pub async fn pipeline_tracked(&self, requests: &[Request]) -> Result<Vec<Result<Reply, Error>>, Error> {
        match self.pool.config().tracking {
            Tracking::OptIn { .. } => {
                let caching = Request::read("CLIENT").args(["CACHING", "YES"]);
                let all: Vec<Request> =
                    requests.iter().flat_map(|request| [caching.clone(), request.clone()]).collect();
                let replies = self.pool.call_all(&all).await?;
                Ok(replies.into_iter().skip(1).step_by(2).map(reply::checked).collect())
            }
            Tracking::Off | Tracking::Keys { .. } | Tracking::Broadcast { .. } => self.pipeline(requests).await,
        }
    }

    /// Waits until what the shard has pushed so far has been obeyed here.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        // A shard sends what it has to push behind the answer that it is about to send: it is certainly there before the second one.
        for _ in 0..2 {
            self.pool.call_each(&Request::read("PING")).await?;
        }
        Ok(())
    }

    /// Ends the connections; calls that are under way fail with [`Error::Closed`].
    ///
    /// ```
    /// use sutra_cache_client::Error;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// # let client = sutra_cache_client::Client::connect(&shard.url()).await?;
    /// client.close();
    /// assert!(matches!(client.get::<String>("k").await, Err(Error::Closed)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&self) {
        self.pool.close();
    }

    /// How the connections are doing.
    ///
    /// ```
    /// use sutra_cache_client::Client;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let client = Client::connect(&shard.url()).await?;
    /// assert!(client.connections().open > 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn connections(&self) -> PoolSnapshot {
        self.pool.snapshot()
    }

    /// The settings.
    ///
    /// ```
    /// use sutra_cache_client::Client;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let shard = sutra_cache::embedded::Embedded::start(&[])?;
    /// let client = Client::connect(&shard.url()).await?;
    /// assert_eq!(client.config().target().database, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn config(&self) -> &Config {
        self.pool.config()
    }
}
