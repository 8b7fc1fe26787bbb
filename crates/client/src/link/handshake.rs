//! What is said first on every connection: protocol, credentials, database, tracking.

use super::driver::observe;
use super::{Observer, Stream};
use crate::{Config, Error, Reply, Request, Tracking};
use bytes::BytesMut;
use sutra_protocol::{Frame, FrameDecoder, FrameLimits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A connection that may be used, with what was received beyond the handshake.
pub(crate) struct Opened<S = Stream> {
    pub(crate) stream: S,
    pub(crate) received: BytesMut,
    pub(crate) decoder: FrameDecoder,
}

/// Connects and introduces itself as connection number `number` of its client.
pub(crate) async fn open(config: &Config, number: usize, observer: Option<&dyn Observer>) -> Result<Opened, Error> {
    let mut stream = Stream::connect(config).await?;
    let mut received = BytesMut::new();
    let mut decoder = FrameDecoder::new();
    for reply in exchange(&mut stream, &mut received, &mut decoder, &greeting(config, number), config, observer).await?
    {
        if let Frame::Error(text) = reply {
            return Err(Error::Server(crate::ServerError::new(&text)));
        }
    }
    Ok(Opened { stream, received, decoder })
}

fn greeting(config: &Config, number: usize) -> Vec<Request> {
    let target = &config.target;
    let mut hello = Request::new("HELLO").arg("3");
    if let Some(password) = &target.password {
        hello = hello.arg("AUTH").arg(target.user.as_deref().unwrap_or("default")).arg(password);
    }
    if let Some(name) = &config.client_name {
        hello = hello.arg("SETNAME").arg(name);
    }
    let mut greeting = vec![
        hello,
        Request::new("CLIENT").args(["SETINFO", "LIB-NAME", env!("CARGO_PKG_NAME")]),
        Request::new("CLIENT").args(["SETINFO", "LIB-VER", env!("CARGO_PKG_VERSION")]),
    ];
    if target.database != 0 {
        greeting.push(Request::new("SELECT").number(target.database));
    }
    greeting.extend(tracking(&config.tracking, number));
    greeting
}

fn tracking(tracking: &Tracking, number: usize) -> Option<Request> {
    let on = Request::new("CLIENT").args(["TRACKING", "ON"]);
    let (request, noloop) = match tracking {
        Tracking::Off => return None,
        Tracking::Keys { noloop } => (on, *noloop),
        Tracking::OptIn { noloop } => (on.arg("OPTIN"), *noloop),
        Tracking::Broadcast { prefixes, noloop } => {
            if number != 0 {
                return None;
            }
            let on = prefixes.iter().fold(on.arg("BCAST"), |request, prefix| request.arg("PREFIX").arg(prefix));
            (on, *noloop)
        }
    };
    Some(if noloop { request.arg("NOLOOP") } else { request })
}

/// Sends the requests and waits for their answers; nothing else is under way on the connection.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    received: &mut BytesMut,
    decoder: &mut FrameDecoder,
    requests: &[Request],
    config: &Config,
    observer: Option<&dyn Observer>,
) -> Result<Vec<Reply>, Error> {
    let lost = |cause: String| Error::Unavailable { address: config.target.address.to_string(), cause };
    let mut bytes = Vec::new();
    requests.iter().for_each(|request| request.write(&mut bytes));
    let written = match stream.write_all(&bytes).await {
        Ok(()) => stream.flush().await,
        Err(error) => Err(error),
    };
    // A shard that refuses (too many clients, DENIED) may have closed already; what it said before is there to be read.
    let refused = |cause: &str| lost(written.as_ref().err().map_or_else(|| cause.to_owned(), ToString::to_string));
    let mut replies = Vec::new();
    while replies.len() < requests.len() {
        match decoder.decode_shared(received, &FrameLimits::default()) {
            Ok(Some(Frame::Push(frames))) => observe(&frames, observer),
            // The shard ends the connection after such an error; what it says would be lost with it.
            Ok(Some(Frame::Error(text))) => return Err(Error::Server(crate::ServerError::new(&text))),
            Ok(Some(reply)) => replies.push(reply),
            Ok(None) => {
                let read = stream.read_buf(received).await.map_err(|error| refused(&error.to_string()))?;
                if read == 0 {
                    return Err(refused("the shard closed the connection before it answered"));
                }
            }
            Err(error) => return Err(lost(error.to_string())),
        }
    }
    Ok(replies)
}
