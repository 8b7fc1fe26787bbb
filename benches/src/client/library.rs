//! The client libraries that are compared, each as its documentation says that it is fastest.

use bytes::Bytes;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::config::{Config as FredConfig, ConnectionConfig, ServerConfig, TcpConfig};
use fred::types::{Builder, RespVersion};
use redis::aio::MultiplexedConnection;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use sutra_cache_client::{Client, Config, Reply, Request};

/// A key in the forms that cost each library least.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    bytes: Bytes,
}

impl Key {
    pub(crate) fn numbered(number: u64) -> Key {
        let text = String::from_utf8_lossy(&crate::random::key(number)).into_owned();
        Key { bytes: Bytes::from(text.clone().into_bytes()), text }
    }
}

/// What is measured of a library.
pub(crate) trait Library: Send + Sync + Sized + 'static {
    /// What the task of this number uses.
    fn for_task(&self, number: usize) -> Self;
    /// The value's length.
    fn get(&self, key: &Key) -> impl Future<Output = io::Result<usize>> + Send;
    fn set(&self, key: &Key, value: &Bytes) -> impl Future<Output = io::Result<()>> + Send;
}

/// Reads of many values at once, as the vectors of a batch are read by a library that knows no embeddings.
pub(crate) trait Many {
    /// MGET.
    fn get_many(&self, keys: &[String]) -> impl Future<Output = io::Result<Vec<Option<Bytes>>>> + Send;
}

/// Ours, without its first tier.
#[derive(Debug)]
pub(crate) struct Sutra(Client);

impl Sutra {
    /// With so many connections; none: the default.
    pub(crate) async fn connect(address: SocketAddr, connections: Option<usize>) -> io::Result<Sutra> {
        let mut config = Config::new(&format!("sutra://{address}")).map_err(other)?;
        if let Some(connections) = connections {
            config = config.connections(connections);
        }
        Client::open(config).await.map(Sutra).map_err(other)
    }
}

impl Library for Sutra {
    fn for_task(&self, _number: usize) -> Sutra {
        Sutra(self.0.clone())
    }

    async fn get(&self, key: &Key) -> io::Result<usize> {
        let reply = self.0.call(Request::read("GET").arg(&key.text)).await.map_err(other)?;
        if let Reply::Bulk(value) = reply {
            Ok(value.len())
        } else {
            Err(io::Error::other(format!("GET answered {reply:?}")))
        }
    }

    async fn set(&self, key: &Key, value: &Bytes) -> io::Result<()> {
        self.0.call(Request::new("SET").arg(&key.text).arg(value)).await.map(drop).map_err(other)
    }
}

/// The `redis` crate: multiplexed connections, shared by the tasks in turn.
#[derive(Debug)]
pub(crate) struct Redis(Vec<MultiplexedConnection>);

impl Redis {
    pub(crate) async fn connect(address: SocketAddr, connections: usize) -> io::Result<Redis> {
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
        let info = redis::IntoConnectionInfo::into_connection_info(format!("redis://{address}/?protocol=resp3"));
        let client = redis::Client::open(info.map_err(other)?.set_tcp_settings(tcp)).map_err(other)?;
        // Half a second is its default, which a busy machine exceeds; without a limit it has no timer to keep either.
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(client.get_multiplexed_async_connection_with_config(&config).await.map_err(other)?);
        }
        Ok(Redis(open))
    }
}

impl Library for Redis {
    fn for_task(&self, number: usize) -> Redis {
        Redis(vec![self.0[number % self.0.len()].clone()])
    }

    async fn get(&self, key: &Key) -> io::Result<usize> {
        let mut connection = self.0[0].clone();
        let value: Option<Vec<u8>> =
            redis::cmd("GET").arg(&key.text).query_async(&mut connection).await.map_err(other)?;
        value.map(|value| value.len()).ok_or_else(|| io::Error::other("GET answered nil"))
    }

    async fn set(&self, key: &Key, value: &Bytes) -> io::Result<()> {
        let mut connection = self.0[0].clone();
        redis::cmd("SET").arg(&key.text).arg(&value[..]).query_async(&mut connection).await.map_err(other)
    }
}

impl Many for Redis {
    async fn get_many(&self, keys: &[String]) -> io::Result<Vec<Option<Bytes>>> {
        let mut connection = self.0[0].clone();
        let values: Vec<Option<Vec<u8>>> =
            redis::cmd("MGET").arg(keys).query_async(&mut connection).await.map_err(other)?;
        Ok(values.into_iter().map(|value| value.map(Bytes::from)).collect())
    }
}

/// The `fred` crate: a pool, of one connection or more.
#[derive(Debug)]
pub(crate) struct Fred(fred::clients::Pool);

impl Fred {
    pub(crate) async fn connect(address: SocketAddr, connections: usize) -> io::Result<Fred> {
        let config = FredConfig {
            server: ServerConfig::new_centralized(address.ip().to_string(), address.port()),
            version: RespVersion::RESP3,
            ..FredConfig::default()
        };
        let mut builder = Builder::from_config(config);
        builder.with_connection_config(|connection: &mut ConnectionConfig| {
            connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
        });
        let pool = builder.build_pool(connections).map_err(other)?;
        drop(pool.init().await.map_err(other)?);
        Ok(Fred(pool))
    }
}

impl Library for Fred {
    fn for_task(&self, _number: usize) -> Fred {
        Fred(self.0.clone())
    }

    async fn get(&self, key: &Key) -> io::Result<usize> {
        let value: Option<Bytes> = self.0.next().get(key.bytes.clone()).await.map_err(other)?;
        value.map(|value| value.len()).ok_or_else(|| io::Error::other("GET answered nil"))
    }

    async fn set(&self, key: &Key, value: &Bytes) -> io::Result<()> {
        self.0.next().set(key.bytes.clone(), value.clone(), None, None, false).await.map_err(other)
    }
}

impl Many for Fred {
    async fn get_many(&self, keys: &[String]) -> io::Result<Vec<Option<Bytes>>> {
        self.0.next().mget(keys.to_vec()).await.map_err(other)
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
