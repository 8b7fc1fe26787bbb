//! Stands between a client and its shard: each direction is delayed by random times, and now and then the connection is cut. Bytes stay in
//! their order.

use crate::random::Random;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What is done to connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// A piece is held back for as long as this at most.
    pub(crate) delay_max_us: usize,
    /// Before one in so many pieces the connection ends; 0: never.
    pub(crate) cut_one_in: usize,
}

/// Ends with its connections when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(shard: SocketAddr, weather: Weather, seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let task = tokio::spawn(async move {
            let mut random = Random::new(seed);
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (there, back) = (Random::new(random.next()), Random::new(random.next()));
                connections.spawn(async move {
                    let Ok(shard) = TcpStream::connect(shard).await else { return };
                    client.set_nodelay(true).and_then(|()| shard.set_nodelay(true)).expect("sockets");
                    let ((from_client, to_client), (from_shard, to_shard)) = (client.into_split(), shard.into_split());
                    // Whichever direction ends first takes the other with it.
                    tokio::select! {
                        () = carry(from_client, to_shard, weather, there) => {}
                        () = carry(from_shard, to_client, weather, back) => {}
                    }
                });
            }
        });
        Proxy { address, task }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    weather: Weather,
    mut random: Random,
) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        if weather.cut_one_in > 0 && random.one_in(weather.cut_one_in) {
            return;
        }
        if random.one_in(2) {
            // tidy: sleeps because that is what a slow network does
            tokio::time::sleep(Duration::from_micros(random.below(weather.delay_max_us.max(1)) as u64)).await;
        }
        if to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}
