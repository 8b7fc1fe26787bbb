//! The task that owns a socket: writes what the outbox holds, reads, and hands out answers.

use super::handshake::Opened;
use super::{Link, Observer, Sink, Waiter};
use crate::stats::{Counter, Stats};
use crate::{Config, Error, Reply, Request};
use bytes::BytesMut;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use sutra_protocol::{Frame, FrameDecoder, FrameLimits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// Room for one read.
const READ_BYTES: usize = 64 << 10;
/// A write buffer that grew beyond this for one large request is given back.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// How finely timeouts are kept.
const TICK_MIN: Duration = Duration::from_millis(5);
const TICK_MAX: Duration = Duration::from_millis(100);

/// Serves the link on this socket until it ends; returns why. Everyone who waits has been told then.
pub(crate) async fn drive(
    link: &Link,
    opened: Opened,
    config: &Config,
    observer: Option<&dyn Observer>,
    stats: &Stats,
) -> String {
    let Opened { stream, received, decoder } = opened;
    let period = (config.read_timeout.min(config.heartbeat) / 8).clamp(TICK_MIN, TICK_MAX);
    let mut tick = tokio::time::interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let now = Instant::now();
    let limits = FrameLimits { bulk_bytes_max: config.reply_bytes_max, ..FrameLimits::default() };
    let mut driver = Driver {
        link,
        config,
        observer,
        stats,
        limits,
        stream,
        received,
        decoder,
        writing: Vec::new(),
        written: 0,
        in_flight: VecDeque::new(),
        tick,
        now,
        heard: now,
        taken: Vec::new(),
    };
    let cause = std::future::poll_fn(|cx| driver.poll(cx)).await;
    let Driver { in_flight, .. } = driver;
    // First the door is closed, then those inside are told: nobody can slip in between and wait for ever.
    link.set_down(&Error::Unavailable { address: config.target.address.to_string(), cause: cause.clone() });
    for waiting in in_flight {
        waiting.waiter.fail(Error::Lost { cause: cause.clone() });
    }
    cause
}

struct Driver<'a, S> {
    link: &'a Link,
    config: &'a Config,
    observer: Option<&'a dyn Observer>,
    stats: &'a Stats,
    limits: FrameLimits,
    stream: S,
    received: BytesMut,
    decoder: FrameDecoder,
    writing: Vec<u8>,
    written: usize,
    in_flight: VecDeque<InFlight>,
    tick: Interval,
    /// The time when this turn began.
    now: Instant,
    /// When something last came.
    heard: Instant,
    taken: Vec<Waiter>,
}

/// A request that was taken, in the order of answers.
struct InFlight {
    waiter: Waiter,
    since: Instant,
    deadline: Instant,
    /// Its caller was told that it took too long; the answer is still to come.
    given_up: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<'_, S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        self.now = Instant::now();
        // Looked at in every turn, also if there is always more to read.
        while self.tick.poll_tick(cx).is_ready() {
            if let Err(cause) = self.look_at_clock() {
                return Poll::Ready(cause);
            }
        }
        loop {
            let mut progress = match self.poll_write(cx) {
                Ok(progress) => progress,
                Err(error) => return Poll::Ready(error.to_string()),
            };
            match self.poll_read(cx) {
                Ok(Heard::Nothing) => {}
                Ok(Heard::Something) => progress = true,
                Ok(Heard::Answers) => {
                    // Those who were answered may well ask again: they get a turn first, so that their requests share one write.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(cause) => return Poll::Ready(cause),
            }
            if progress {
                continue;
            }
            let mut outbox = self.link.lock();
            if !outbox.open {
                return Poll::Ready("the client was closed".to_owned());
            }
            if outbox.waiting.is_empty() || self.written < self.writing.len() {
                // While a write is stuck the socket will wake us; new requests need not.
                outbox.sleeper = (self.written == self.writing.len()).then(|| cx.waker().clone());
                return Poll::Pending;
            }
        }
    }

    fn take(&mut self) {
        self.writing.clear();
        self.written = 0;
        if self.writing.capacity() > KEPT_BYTES_MAX {
            self.writing = Vec::new();
        }
        {
            let mut outbox = self.link.lock();
            std::mem::swap(&mut self.writing, &mut outbox.bytes);
            std::mem::swap(&mut self.taken, &mut outbox.waiting);
        }
        let (now, timeout) = (self.now, self.config.read_timeout);
        self.in_flight.extend(self.taken.drain(..).map(|waiter| InFlight {
            deadline: now + waiter.timeout.unwrap_or(timeout),
            waiter,
            since: now,
            given_up: false,
        }));
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut progress = false;
        loop {
            if self.written == self.writing.len() {
                self.take();
                if self.writing.is_empty() {
                    break;
                }
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.writing[self.written..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    self.stats.add(Counter::WrittenBytes, count as u64);
                    progress = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(progress),
            }
        }
        if progress {
            // TLS holds back what it has encrypted until it is told; TCP has nothing to flush.
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        Ok(progress)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Heard, String> {
        self.received.reserve(self.decoder.bytes_wanted().clamp(READ_BYTES / 4, 4 << 20));
        if self.received.capacity() - self.received.len() < READ_BYTES / 2 {
            self.received.reserve(READ_BYTES);
        }
        let read = pin!(self.stream.read_buf(&mut self.received)).poll(cx);
        match read {
            Poll::Pending => Ok(Heard::Nothing),
            Poll::Ready(Ok(0)) => Err("the shard closed the connection".to_owned()),
            Poll::Ready(Err(error)) => Err(error.to_string()),
            Poll::Ready(Ok(count)) => {
                self.stats.add(Counter::ReadBytes, count as u64);
                self.heard = self.now;
                self.hand_out()
            }
        }
    }

    fn hand_out(&mut self) -> Result<Heard, String> {
        let mut heard = Heard::Something;
        loop {
            match self.decoder.decode_shared(&mut self.received, &self.limits) {
                Ok(None) => return Ok(heard),
                Ok(Some(Frame::Push(frames))) => observe(&frames, self.observer),
                Ok(Some(Frame::Attribute { reply, .. })) => {
                    self.answer(*reply)?;
                    heard = Heard::Answers;
                }
                Ok(Some(frame)) => {
                    self.answer(frame)?;
                    heard = Heard::Answers;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn answer(&mut self, reply: Reply) -> Result<(), String> {
        let Some(first) = self.in_flight.front_mut() else {
            // What the shard says before it closes (too many clients, DENIED) explains the end.
            if let Frame::Error(text) = reply {
                return Err(text);
            }
            return Err(format!("an answer that nobody asked for: {}", crate::reply::shortened(&reply)));
        };
        if let Sink::Many { left, replies, .. } = &mut first.waiter.sink {
            replies.push(reply);
            *left -= 1;
            if *left > 0 {
                return Ok(());
            }
            if let Some(InFlight { waiter: Waiter { sink: Sink::Many { replies, sender, .. }, .. }, .. }) =
                self.in_flight.pop_front()
            {
                drop(sender.send(Ok(replies)));
            }
            return Ok(());
        }
        if let Some(InFlight { waiter: Waiter { sink: Sink::One(sender), .. }, .. }) = self.in_flight.pop_front() {
            drop(sender.send(Ok(reply)));
        }
        Ok(())
    }

    /// Gives up requests that take too long, and the connection if it gives no sign of life.
    fn look_at_clock(&mut self) -> Result<(), String> {
        let now = self.now;
        for waiting in &mut self.in_flight {
            if now < waiting.deadline {
                continue;
            }
            if self.heard <= waiting.since {
                return Err(format!("no sign of life for {} ms", (now - self.heard).as_millis()));
            }
            if !waiting.given_up {
                waiting.given_up = true;
                let error = Error::Timeout { after: waiting.deadline - waiting.since };
                let replies = match &waiting.waiter.sink {
                    Sink::Many { left, .. } => *left,
                    Sink::One(_) | Sink::Heartbeat => 1,
                };
                // Nobody's any more, but its answers keep their place.
                let nobody = Waiter { sink: nobody(replies), timeout: None };
                std::mem::replace(&mut waiting.waiter, nobody).fail(error);
            }
        }
        if now - self.heard >= self.config.heartbeat && self.in_flight.is_empty() && self.written == self.writing.len()
        {
            Request::read("PING").write(&mut self.writing);
            let waiter = Waiter { sink: Sink::Heartbeat, timeout: None };
            self.in_flight.push_back(InFlight {
                waiter,
                since: now,
                deadline: now + self.config.heartbeat,
                given_up: false,
            });
        }
        Ok(())
    }
}

enum Heard {
    Nothing,
    Something,
    Answers,
}

/// A place for answers that are awaited no longer.
fn nobody(replies: usize) -> Sink {
    if replies == 1 {
        return Sink::Heartbeat;
    }
    let (sender, _) = tokio::sync::oneshot::channel();
    Sink::Many { left: replies, replies: Vec::new(), sender }
}

/// Passes on what the shard pushed.
pub(super) fn observe(frames: &[Reply], observer: Option<&dyn Observer>) {
    let (Some(observer), [Frame::Bulk(kind), rest @ ..]) = (observer, frames) else { return };
    if &kind[..] != b"invalidate" {
        return;
    }
    if let Some(Frame::Array(keys)) = rest.first() {
        observer.changed(&mut keys.iter().filter_map(|key| if let Frame::Bulk(key) = key { Some(key) } else { None }));
    } else {
        observer.all_changed();
    }
}
