//! A network of the test's own: between a client and a shard, it delays, dribbles, stalls and cuts, and never reorders.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// They arrive.
    Open,
    /// They arrive so much later.
    Delayed(Duration),
    /// They arrive one by one.
    Dribbled,
    /// They do not arrive, and nobody is told. They arrive when it opens again.
    Stalled,
}

/// How connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// In order: all that was sent arrives first (FIN).
    Finish,
    /// At once (RST).
    Reset,
    /// In order, towards the client only: the shard does not see it.
    HalfClose,
}

#[derive(Debug, Clone, Copy)]
struct Rules {
    to_shard: Passage,
    to_client: Passage,
    /// How many cuts there have been, and how the last was done.
    cuts: usize,
    cut: Cut,
    is_accepting: bool,
}

/// The proxy, until it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Before the shard at this address.
    pub(crate) async fn before(shard: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let rules = watch::Sender::new(Rules {
            to_shard: Passage::Open,
            to_client: Passage::Open,
            cuts: 0,
            cut: Cut::Finish,
            is_accepting: true,
        });
        let accepted = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(listener, shard, rules.clone(), Arc::clone(&accepted)));
        Proxy { address, rules, accepted, task }
    }

    /// For the client.
    pub(crate) fn url(&self) -> String {
        format!("sutra://{}", self.address)
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// From now on, what the client sends fares like this.
    pub(crate) fn to_shard(&self, passage: Passage) {
        self.rules.send_modify(|rules| rules.to_shard = passage);
    }

    /// From now on, what the shard sends fares like this.
    pub(crate) fn to_client(&self, passage: Passage) {
        self.rules.send_modify(|rules| rules.to_client = passage);
    }

    /// Ends every connection that there is.
    pub(crate) fn cut(&self, cut: Cut) {
        self.rules.send_modify(|rules| {
            rules.cuts += 1;
            rules.cut = cut;
        });
    }

    /// Whether connections that are made from now on are served; those that are not are cut at once.
    pub(crate) fn accept(&self, is_accepting: bool) {
        self.rules.send_modify(|rules| rules.is_accepting = is_accepting);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut(Cut::Reset);
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shard: SocketAddr, rules: watch::Sender<Rules>, accepted: Arc<AtomicUsize>) {
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        let served = rules.subscribe();
        if !served.borrow().is_accepting {
            continue;
        }
        tokio::spawn(serve(client, shard, served));
    }
}

async fn serve(client: TcpStream, shard: SocketAddr, rules: watch::Receiver<Rules>) {
    let Ok(shard) = TcpStream::connect(shard).await else { return };
    for stream in [&client, &shard] {
        stream.set_nodelay(true).expect("a socket");
    }
    let (from_client, to_client) = client.into_split();
    let (from_shard, to_shard) = shard.into_split();
    tokio::spawn(carry(from_client, to_shard, rules.clone(), Direction::ToShard));
    tokio::spawn(carry(from_shard, to_client, rules, Direction::ToClient));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToShard,
    ToClient,
}

/// Carries bytes one way until there are no more or the connection is cut. Dropping the halves finishes the connection.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, rules: watch::Receiver<Rules>, direction: Direction) {
    let (mut cuts, before) = (rules.clone(), rules.borrow().cuts);
    let is_cut =
        |rules: &Rules| rules.cuts > before && (rules.cut != Cut::HalfClose || direction == Direction::ToClient);
    let cut = tokio::select! {
        biased;
        cut = cuts.wait_for(is_cut) => cut.map_or(Cut::Reset, |rules| rules.cut),
        () = flow(&mut from, &mut to, rules, direction) => return,
    };
    if cut == Cut::Reset {
        for stream in [from.as_ref(), to.as_ref()] {
            // It may be gone already.
            drop(stream.set_zero_linger());
        }
    }
}

async fn flow(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    mut rules: watch::Receiver<Rules>,
    direction: Direction,
) {
    let passage = |rules: &Rules| if direction == Direction::ToShard { rules.to_shard } else { rules.to_client };
    let mut bytes = vec![0; 64 << 10];
    while let Some(count) = from.read(&mut bytes).await.ok().filter(|count| *count > 0) {
        let mut piece_bytes = count;
        let now = passage(&rules.borrow());
        match now {
            Passage::Open => {}
            // tidy: sleeps because a slow network is what is tested
            Passage::Delayed(time) => tokio::time::sleep(time).await,
            Passage::Dribbled => piece_bytes = 1,
            Passage::Stalled => {
                if rules.wait_for(|rules| passage(rules) != Passage::Stalled).await.is_err() {
                    return;
                }
            }
        }
        for piece in bytes[..count].chunks(piece_bytes) {
            if to.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}
