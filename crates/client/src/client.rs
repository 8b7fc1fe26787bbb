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
    /// # Errors
    /// If it is no URL, or no connection could be made in time.
    pub async fn connect(url: &str) -> Result<Client, Error> {
        Client::open(Config::new(url)?).await
    }

    /// Connects with these settings.
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
    /// # Errors
    /// If none could be made within the `connect_timeout`.
    pub async fn ready(&self) -> Result<(), Error> {
        self.pool.ready().await
    }

    /// Sends one command and waits for its answer.
    ///
    /// # Errors
    /// See [`Error`]; what the shard answers as an error is [`Error::Server`].
    pub async fn call(&self, request: Request) -> Result<Reply, Error> {
        self.pool.call(&request).await
    }

    /// Sends commands one behind the other on one connection, with nothing of others in between, and waits for all answers: one round trip.
    ///
    /// # Errors
    /// If the answers did not come. An error that the shard answers to one of them stands in its place.
    pub async fn pipeline(&self, requests: &[Request]) -> Result<Vec<Result<Reply, Error>>, Error> {
        Ok(self.pool.call_all(requests).await?.into_iter().map(reply::checked).collect())
    }

    /// Sends commands that are carried out all or none, with no other in between (MULTI and EXEC).
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
    pub fn close(&self) {
        self.pool.close();
    }

    /// How the connections are doing.
    #[must_use]
    pub fn connections(&self) -> PoolSnapshot {
        self.pool.snapshot()
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        self.pool.config()
    }
}
