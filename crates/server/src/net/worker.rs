//! The threads that serve connections.

use super::connection::Connection;
use super::housekeeping;
use crate::clients::Signal;
use crate::logging::RateLimit;
use crate::server::{Server, Stop};
use crate::statistics::Worker;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Descriptors that are kept for files, listeners and runtimes beside those of clients.
const DESCRIPTORS_RESERVED: u64 = 128;
/// How long connections may take to send their last replies when the server stops.
const STOP_SECONDS_MAX: u64 = 5;
/// How long a thread waits before it accepts again after the system refused (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long the threads for long work may take to end what they have begun when the server stops. Nobody waits for their answers any more,
/// and what is behind a network may take its time.
const BACKGROUND_PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether they have.
const BACKGROUND_LOOK: Duration = Duration::from_millis(5);
static ACCEPT_FAILURES: RateLimit = RateLimit::one_in(5000);
static REFUSALS: RateLimit = RateLimit::one_in(5000);

/// A server that serves; dropping the handle stops it.
#[derive(Debug)]
pub struct Handle {
    server: Arc<Server>,
    addresses: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
    housekeeper: Option<JoinHandle<()>>,
    committer: Option<JoinHandle<()>>,
}

impl Handle {
    /// Where it listens, with the ports that the system chose if it was asked to.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first of them.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Asks it to stop and waits until it has: no more connections are accepted, batches under way are finished, their replies
    /// sent, the log flushed and (but for [`Stop::NoSave`]) everything made durable.
    pub fn stop(mut self, how: Stop) {
        self.server.request_stop(how);
        self.join();
    }

    /// Waits until somebody else (SHUTDOWN, a signal) has stopped it.
    pub fn wait(mut self) {
        self.join();
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that serves connections has panicked");
            }
        }
        self.server.background.stop();
        self.join_background();
        if let Some(housekeeper) = self.housekeeper.take() {
            housekeeper.thread().unpark();
            drop(housekeeper.join());
        }
        self.server.commit.stop();
        if let Some(committer) = self.committer.take() {
            drop(committer.join());
            self.server.close();
        }
    }
}

impl Handle {
    fn join_background(&mut self) {
        let began_ns = self.server.clock.stamp_ns();
        let patience_ns = u64::try_from(BACKGROUND_PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        for thread in self.background.drain(..) {
            while !thread.is_finished() && self.server.clock.stamp_ns().saturating_sub(began_ns) < patience_ns {
                std::thread::park_timeout(BACKGROUND_LOOK);
            }
            if !thread.is_finished() {
                tracing::warn!("a long call is not waited for: its answer would come too late");
            } else if thread.join().is_err() {
                tracing::error!("a thread for long work has panicked");
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.server.request_stop(Stop::Save);
        self.join();
    }
}

/// Begins to serve; returns once every thread listens.
///
/// # Errors
/// Whatever the system says about an address that cannot be listened on, or a thread that cannot be started.
pub fn serve(server: Server) -> io::Result<Handle> {
    allow_descriptors(&server);
    let server = Arc::new(server);
    let mut addresses = Vec::new();
    let mut listeners: Vec<Vec<Socket>> = server.workers().iter().map(|_| Vec::new()).collect();
    for ip in &server.settings.bind {
        let address = listen_everywhere(&server, *ip, &mut listeners)?;
        addresses.push(address);
    }
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on"));
    }
    let mut handle =
        Handle { server, addresses, threads: Vec::new(), background: Vec::new(), housekeeper: None, committer: None };
    for (number, sockets) in listeners.into_iter().enumerate() {
        let server = Arc::clone(&handle.server);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listeners = {
            let _runtime = runtime.enter();
            sockets.into_iter().map(|socket| TcpListener::from_std(socket.into())).collect::<io::Result<Vec<_>>>()?
        };
        let thread = std::thread::Builder::new().name(format!("worker-{number}"));
        handle.threads.push(thread.spawn(move || runtime.block_on(work(server, number, listeners)))?);
    }
    for number in 0..handle.server.settings.background_threads() {
        let server = Arc::clone(&handle.server);
        let thread = std::thread::Builder::new().name(format!("background-{number}"));
        handle.background.push(thread.spawn(move || server.background.run(&server))?);
    }
    let server = Arc::clone(&handle.server);
    let thread = std::thread::Builder::new().name("housekeeper".to_owned());
    handle.housekeeper = Some(thread.spawn(move || housekeeping::run(&server))?);
    let server = Arc::clone(&handle.server);
    let thread = std::thread::Builder::new().name("committer".to_owned());
    handle.committer = Some(thread.spawn(move || {
        server.commit.run(|| server.shard.sync().map(|lsn| lsn.0).map_err(|error| error.to_string()))
    })?);
    Ok(handle)
}

/// Sees to it that the system lets the process open a descriptor for each client; if it does not, fewer clients are served, as in Redis.
fn allow_descriptors(server: &Server) {
    let clients = u64::from(server.settings.maxclients.load(Ordering::Relaxed));
    let wanted = clients + DESCRIPTORS_RESERVED;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let raised = wanted.min(limit.maximum.unwrap_or(u64::MAX));
    let result = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum });
    let allowed = if result.is_ok() { raised } else { limit.current.unwrap_or(raised) };
    if allowed < wanted {
        let clients_max = allowed.saturating_sub(DESCRIPTORS_RESERVED).max(1);
        tracing::warn!(
            wanted,
            allowed,
            maxclients = clients_max,
            "the system allows too few open files: fewer clients are served"
        );
        server.settings.maxclients.store(u32::try_from(clients_max).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

/// One listener for each thread, all on the same port, among which the system spreads connections.
fn listen_everywhere(server: &Server, ip: IpAddr, listeners: &mut [Vec<Socket>]) -> io::Result<SocketAddr> {
    let mut address = SocketAddr::new(ip, server.settings.port);
    let named = |error: io::Error, address: SocketAddr| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    };
    if address.port() != 0 {
        // Without this, a second server would quietly share the port of the first and take half of its clients.
        let probe = new_socket(address).map_err(|error| named(error, address))?;
        probe.bind(&address.into()).map_err(|error| named(error, address))?;
    }
    for sockets in listeners {
        let listen = || {
            let socket = new_socket(address)?;
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
            socket.listen(i32::try_from(server.settings.tcp_backlog).unwrap_or(i32::MAX))?;
            let bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
            Ok((socket, bound))
        };
        let (socket, bound) = listen().map_err(|error| named(error, address))?;
        address = bound;
        sockets.push(socket);
    }
    Ok(address)
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The connections of one thread that are still open.
#[derive(Debug, Default)]
struct Open {
    count: AtomicUsize,
    none: Notify,
}

/// Counts a connection for as long as its task lives.
struct OpenGuard(Arc<Open>);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none.notify_one();
        }
    }
}

async fn work(server: Arc<Server>, number: usize, listeners: Vec<TcpListener>) {
    let open = Arc::new(Open::default());
    let worker = Arc::clone(&server.workers()[number]);
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(accept(Arc::clone(&server), Arc::clone(&worker), listener, Arc::clone(&open))))
        .collect();
    let mut stop = server.stop_requests();
    // An error means that the server is gone, which holds us: it cannot happen before a stop.
    drop(stop.wait_for(|stop| *stop != Stop::No).await);
    for task in accepting {
        task.abort();
        drop(task.await);
    }
    server.clients.signal_all(Signal::STOP);
    let all_closed = async {
        while open.count.load(Ordering::Acquire) > 0 {
            open.none.notified().await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(STOP_SECONDS_MAX), all_closed).await.is_err() {
        tracing::warn!(
            connections = open.count.load(Ordering::Relaxed),
            "clients did not take their last replies in time"
        );
    }
}

async fn accept(server: Arc<Server>, worker: Arc<Worker>, listener: TcpListener, open: Arc<Open>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Not the fault of the listener but of the peer, or of a system without descriptors: go on, but do not spin.
                if let Some(held_back) = ACCEPT_FAILURES.pass(server.clock.now_ms()) {
                    tracing::warn!(%error, held_back, "could not accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        worker.connections_received.add(1);
        match admit(&server, &worker, stream, peer) {
            None => worker.connections_rejected.add(1),
            Some(connection) => {
                open.count.fetch_add(1, Ordering::AcqRel);
                let guard = OpenGuard(Arc::clone(&open));
                tokio::spawn(async move {
                    let _guard = guard;
                    connection.run().await;
                });
            }
        }
    }
}

fn admit(server: &Arc<Server>, worker: &Arc<Worker>, stream: TcpStream, peer: SocketAddr) -> Option<Connection> {
    let socket = SockRef::from(&stream);
    let settings = &server.settings;
    if settings.protected_mode.load(Ordering::Relaxed) && !settings.has_password() && !is_loopback(peer.ip()) {
        if let Some(held_back) = REFUSALS.pass(server.clock.now_ms()) {
            tracing::warn!(address = %peer, held_back, "refused a client of another machine: protected mode, and no password is set");
        }
        drop(socket.send(DENIED.as_bytes()));
        return None;
    }
    // A connection that is gone already needs no options.
    drop(socket.set_tcp_nodelay(true));
    let keepalive_s = settings.tcp_keepalive_s.load(Ordering::Relaxed);
    if keepalive_s > 0 {
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(keepalive_s.into()))
            .with_interval(Duration::from_secs(u64::from(keepalive_s / 3).max(1)))
            .with_retries(3);
        drop(socket.set_tcp_keepalive(&keepalive));
    }
    let local = stream.local_addr().unwrap_or(peer);
    let client = server.clients.introduce(peer, local, server.clock.now_ms(), Arc::clone(worker));
    if !server.clients.admit(&client, settings.maxclients.load(Ordering::Relaxed) as usize) {
        drop(socket.send(b"-ERR max number of clients reached\r\n"));
        return None;
    }
    if server.is_stopping() {
        client.signal(Signal::STOP);
    }
    Some(Connection::new(Arc::clone(server), stream, client))
}

/// Whether it is an address of this machine alone.
pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    }
}

/// Begins as Redis's text does, since clients look for `DENIED`; the advice is ours.
const DENIED: &str = "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for \
    the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from \
    external computers, set a password (REDIS_AUTH, or CONFIG SET requirepass from the loopback interface), or switch \
    protected mode off (PROTECTED_MODE=false, or CONFIG SET protected-mode no) if you are sure that only friends can reach \
    this port.\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_s_loopback_are_local() {
        for local in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(is_loopback(local.parse().expect("an address")), "{local}");
        }
        for foreign in ["10.0.0.1", "0.0.0.0", "::", "2001:db8::1", "::ffff:10.0.0.1"] {
            assert!(!is_loopback(foreign.parse().expect("an address")), "{foreign}");
        }
    }
}
