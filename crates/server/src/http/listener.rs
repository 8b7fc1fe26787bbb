//! The thread that answers HTTP: a runtime of its own, so that no scrape ever takes the time of a thread that serves the cache's clients.

use super::front::Front;
use super::page::{Content, Page};
use super::route::answer;
use super::settings::DEFAULT_PORT;
use crate::net::is_loopback;
use crate::settings::Settings;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Connections that are answered at once; more are closed without an answer.
const CONNECTIONS_MAX: usize = 128;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// How long a client may take to send a head, and how long a connection may stay silent between two requests.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection may last; whoever goes on scraping connects again.
const CONNECTION_LIFE: Duration = Duration::from_secs(600);
/// How long a request under way may take to end once its connection's life is over, or the server stops.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// How long the thread waits before it accepts again after the system refused (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// HTTP being answered; dropping it ends that.
#[derive(Debug)]
pub struct Listener {
    front: Arc<Front>,
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Begins to answer, if HTTP is wanted. That the default port is taken is a warning only.
    ///
    /// # Errors
    /// An address that cannot be listened on.
    pub fn start(front: &Arc<Front>, settings: &Settings) -> io::Result<Option<Listener>> {
        let Some(port) = settings.http.port else { return Ok(None) };
        let ips = if settings.http.hosts.is_empty() { &settings.bind } else { &settings.http.hosts };
        match Listener::listen(front, ips, port) {
            Ok(listener) => Ok(Some(listener)),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && port == DEFAULT_PORT
                    && !settings.overridden.contains("http-port") =>
            {
                tracing::warn!(port, "no HTTP: the port is taken by another program; HTTP_PORT sets another, or off");
                Ok(None)
            }
            Err(error) => {
                Err(io::Error::new(error.kind(), format!("HTTP_PORT (http-port) {port}: cannot listen: {error}")))
            }
        }
    }

    fn listen(front: &Arc<Front>, ips: &[IpAddr], port: u16) -> io::Result<Listener> {
        let mut sockets = Vec::new();
        let mut addresses = Vec::new();
        let mut port = port;
        for ip in ips {
            let socket = std::net::TcpListener::bind((*ip, port))?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            port = address.port();
            addresses.push(address);
            sockets.push(socket);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listeners = {
            let _runtime = runtime.enter();
            sockets.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>()?
        };
        let stop = watch::Sender::new(false);
        let (answering, stopping) = (Arc::clone(front), stop.subscribe());
        let thread = std::thread::Builder::new().name("http".to_owned());
        let thread = thread.spawn(move || runtime.block_on(run(answering, listeners, stopping)))?;
        Ok(Listener { front: Arc::clone(front), addresses, stop, thread: Some(thread) })
    }

    /// Where it is answered, with the port that the system chose if it was asked to.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What it shows.
    #[must_use]
    pub fn front(&self) -> &Arc<Front> {
        &self.front
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that answers HTTP has panicked");
        }
    }
}

async fn run(front: Arc<Front>, listeners: Vec<TcpListener>, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    for listener in listeners {
        tokio::spawn(accept(Arc::clone(&front), listener, Arc::clone(&places), stopping.clone()));
    }
    // An error means that the listener is gone: that ends it too.
    drop(stopping.wait_for(|stop| *stop).await);
    // Answers under way are finished: whoever has all the places has no connection left.
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    drop(tokio::time::timeout(LAST_PATIENCE, places.acquire_many(all)).await);
}

async fn accept(front: Arc<Front>, listener: TcpListener, places: Arc<Semaphore>, stopping: watch::Receiver<bool>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept an HTTP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Without a place the stream is dropped: closed.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (front, stopping) = (Arc::clone(&front), stopping.clone());
        tokio::spawn(async move {
            converse(front, stream, peer, stopping).await;
            drop(place);
        });
    }
}

/// Serves one connection until it ends, has lived long enough, or the server stops.
async fn converse(front: Arc<Front>, stream: TcpStream, peer: SocketAddr, mut stopping: watch::Receiver<bool>) {
    let service = service_fn(|request: Request<Incoming>| {
        // Its body is dropped unread.
        let response = respond(&front, peer, &request.into_parts().0);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let over = async {
        tokio::select! {
            () = tokio::time::sleep(CONNECTION_LIFE) => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    };
    // What goes wrong on the way concerns the client alone.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = over => connection.as_mut().graceful_shutdown(),
    }
    drop(tokio::time::timeout(LAST_PATIENCE, connection).await);
}

fn respond(front: &Front, peer: SocketAddr, request: &Parts) -> Response<Content> {
    let page = if front.is_only_local() && !is_loopback(peer.ip()) {
        let why =
            "protected mode: without a password only clients of this machine are answered (REDIS_AUTH, PROTECTED_MODE)";
        Page::error(StatusCode::FORBIDDEN, why)
    } else {
        answer(front, request)
    };
    page.into_response(request.method == Method::HEAD)
}
