//! The task that owns a socket: writes what the outbox holds, reads, and hands out answers.

use super::handshake::Opened;
use super::{Link, Observer, Presence, Sink, Waiter};
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
use tokio::time::{Instant, Sleep};

/// Room for one read.
const READ_BYTES: usize = 64 << 10;
/// A buffer that grew beyond this for one large request or answer is given back.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// The same for lists of those who wait.
const KEPT_WAITERS_MAX: usize = 1 << 12;
/// How many callers get their answers in one turn. What they ask next is sent before the others are answered, so that the shard works on it
/// meanwhile; fewer would be more writes, more would leave the shard waiting.
const TURN_CALLERS_MAX: usize = 32;
/// How finely timeouts are kept.
const TICK_MIN: Duration = Duration::from_millis(5);
const TICK_MAX: Duration = Duration::from_millis(100);

/// Serves the link on this socket until it ends; returns why. Everyone who waits has been told then.
pub(crate) async fn drive<S>(presence: &mut Presence<'_>, opened: Opened<S>, config: &Config, stats: &Stats) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Opened { stream, received, decoder } = opened;
    let period = (config.read_timeout.min(config.heartbeat) / 8).clamp(TICK_MIN, TICK_MAX);
    let now = Instant::now();
    let limits = FrameLimits { bulk_bytes_max: config.reply_bytes_max, ..FrameLimits::default() };
    let link = presence.link;
    let mut driver = Driver {
        link,
        presence,
        config,
        stats,
        limits,
        stream,
        received,
        decoder,
        unheard: false,
        writing: Vec::new(),
        written: 0,
        unflushed: false,
        in_flight: VecDeque::new(),
        period,
        look_at: now + period,
        alarm: Box::pin(tokio::time::sleep_until(now + period)),
        now,
        heard: now,
        taken: Vec::new(),
    };
    // What came right behind the handshake (pushes) lies in the buffer already, and no read will announce it.
    let cause = match driver.hand_out() {
        Ok(_) => std::future::poll_fn(|cx| driver.poll(cx)).await,
        Err(cause) => cause,
    };
    let Driver { in_flight, .. } = driver;
    // First the door is closed, then those inside are told: nobody can slip in between and wait for ever.
    link.set_down(&Error::Unavailable { address: config.target.address.to_string(), cause: cause.clone() });
    for waiting in in_flight {
        waiting.waiter.fail(Error::Lost { cause: cause.clone() });
    }
    cause
}

struct Driver<'a, 'p, S> {
    link: &'p Link,
    presence: &'a mut Presence<'p>,
    config: &'a Config,
    stats: &'a Stats,
    limits: FrameLimits,
    stream: S,
    received: BytesMut,
    decoder: FrameDecoder,
    /// Answers may be in the buffer that no read will announce.
    unheard: bool,
    writing: Vec<u8>,
    written: usize,
    /// Something was written that the stream may still hold back.
    unflushed: bool,
    in_flight: VecDeque<InFlight>,
    /// The longest time between two looks at the clock.
    period: Duration,
    /// When the clock is looked at next.
    look_at: Instant,
    /// Wakes the driver for that.
    alarm: Pin<Box<Sleep>>,
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
    /// When its caller is told that it took too long; if it is nobody's (any more), when the shard must have given a sign of life.
    deadline: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<'_, '_, S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        self.now = Instant::now();
        loop {
            let mut progress = match self.poll_write(cx) {
                Ok(progress) => progress,
                Err(error) => return Poll::Ready(self.last_words(cx).unwrap_or_else(|| error.to_string())),
            };
            let heard = match self.poll_read(cx) {
                Ok(heard) => heard,
                Err(cause) => return Poll::Ready(cause),
            };
            // On a busy connection the alarm is never waited for, and its time comes nevertheless.
            if self.now >= self.look_at || self.poll_alarm(cx) {
                progress = true;
                if let Err(cause) = self.look_at_clock() {
                    return Poll::Ready(cause);
                }
            }
            match heard {
                Heard::Nothing => {}
                Heard::Something => progress = true,
                Heard::Answers => {
                    // Those who were answered may well ask again: they get a turn first, so that their requests share one write.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            if progress {
                continue;
            }
            let mut outbox = self.link.lock();
            if outbox.waiting.is_empty() || self.written < self.writing.len() {
                // While a write is stuck the socket will wake us; new requests need not.
                outbox.sleeper = (self.written == self.writing.len()).then(|| cx.waker().clone());
                return Poll::Pending;
            }
        }
    }

    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> bool {
        if self.alarm.deadline() != self.look_at {
            self.alarm.as_mut().reset(self.look_at);
        }
        self.alarm.as_mut().poll(cx).is_ready()
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
        for waiter in self.taken.drain(..) {
            let since = waiter.since.unwrap_or(self.now);
            let deadline = since + waiter.timeout.unwrap_or(self.config.read_timeout);
            self.look_at = self.look_at.min(deadline);
            self.in_flight.push_back(InFlight { waiter, since, deadline });
        }
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
                    self.unflushed = true;
                    progress = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(progress),
            }
        }
        if self.unflushed {
            // TLS holds back what it has encrypted until it is told, and may have to be told again; TCP has nothing to flush.
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(result) => {
                    result?;
                    self.unflushed = false;
                }
                Poll::Pending => {}
            }
        }
        Ok(progress)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Heard, String> {
        if self.unheard {
            return self.hand_out();
        }
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
                self.presence.sign_of_life();
                self.hand_out()
            }
        }
    }

    /// After a failed write: hands out the answers that had come before, and returns what the shard said of the end.
    fn last_words(&mut self, cx: &mut Context<'_>) -> Option<String> {
        loop {
            match self.poll_read(cx) {
                Ok(Heard::Nothing) => return None,
                Ok(Heard::Something | Heard::Answers) => {}
                Err(cause) => return Some(cause),
            }
        }
    }

    /// Hands out what is whole in the buffer, to so many callers at most.
    fn hand_out(&mut self) -> Result<Heard, String> {
        let mut heard = Heard::Something;
        let in_flight = self.in_flight.len();
        loop {
            self.unheard = in_flight - self.in_flight.len() >= TURN_CALLERS_MAX;
            if self.unheard {
                return Ok(heard);
            }
            match self.decoder.decode_shared(&mut self.received, &self.limits) {
                Ok(None) => return Ok(heard),
                Ok(Some(Frame::Push(frames))) => observe(&frames, self.presence.observer),
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
        match &mut first.waiter.sink {
            Sink::One(_) => {}
            Sink::Many { left, replies, .. } => {
                replies.push(reply);
                *left -= 1;
                if *left == 0
                    && let Some(Waiter { sink: Sink::Many { replies, sender, .. }, .. }) = self.take_first()
                {
                    drop(sender.send(Ok(replies)));
                }
                return Ok(());
            }
            Sink::Nobody { left } => {
                *left -= 1;
                if *left == 0 {
                    self.in_flight.pop_front();
                }
                return Ok(());
            }
        }
        if let Some(Waiter { sink: Sink::One(sender), .. }) = self.take_first() {
            drop(sender.send(Ok(reply)));
        }
        Ok(())
    }

    fn take_first(&mut self) -> Option<Waiter> {
        self.in_flight.pop_front().map(|first| first.waiter)
    }

    /// Gives up requests that take too long, and the connection if it gives no sign of life.
    fn look_at_clock(&mut self) -> Result<(), String> {
        self.now = Instant::now();
        let (now, heartbeat) = (self.now, self.config.heartbeat);
        self.look_at = now + self.period;
        for waiting in &mut self.in_flight {
            if let Sink::Nobody { .. } = waiting.waiter.sink {
                continue;
            }
            if now >= waiting.deadline {
                let after = waiting.deadline - waiting.since;
                waiting.waiter.give_up().fail(Error::Timeout { after });
                // The shard may only be slow: it has a while to say something before the connection is given up too.
                waiting.deadline = now + heartbeat;
            } else {
                self.look_at = self.look_at.min(waiting.deadline);
            }
        }
        self.give_up_unsent();
        self.look_at = self.look_at.max(now + TICK_MIN);

        let silence = now - self.heard;
        let silence_max = (heartbeat * 2).saturating_sub(self.period);
        if silence >= silence_max
            && let Some(first) = self.in_flight.front()
        {
            let cause = format!("no sign of life for {} ms", silence.as_millis());
            if matches!(first.waiter.sink, Sink::Nobody { .. }) && now >= first.deadline {
                return Err(cause);
            }
            // Slow or gone, nobody can tell; but what changes meanwhile is not heard of.
            self.presence.doubt(&cause);
        }
        if self.in_flight.is_empty() && self.written == self.writing.len() {
            self.give_back();
            if silence + self.period >= heartbeat {
                Request::read("PING").write(&mut self.writing);
                let waiter = Waiter { sink: Sink::Nobody { left: 1 }, timeout: None, since: None };
                let deadline = (self.heard + silence_max).max(now + heartbeat / 2);
                self.in_flight.push_back(InFlight { waiter, since: now, deadline });
            }
        }
        Ok(())
    }

    /// Gives up requests that wait behind a write which does not end. They are sent nevertheless, if it ever does: their bytes are among others'.
    fn give_up_unsent(&mut self) {
        if self.written == self.writing.len() {
            return;
        }
        let mut given_up = Vec::new();
        for waiter in &mut self.link.lock().waiting {
            let since = *waiter.since.get_or_insert(self.now);
            let timeout = waiter.timeout.unwrap_or(self.config.read_timeout);
            if self.now >= since + timeout && !matches!(waiter.sink, Sink::Nobody { .. }) {
                given_up.push((waiter.give_up(), timeout));
            }
        }
        for (waiter, after) in given_up {
            waiter.fail(Error::Timeout { after });
        }
    }

    /// Nothing is under way: memory that only something large needed is not kept.
    fn give_back(&mut self) {
        if self.received.is_empty() && self.received.capacity() > KEPT_BYTES_MAX {
            self.received = BytesMut::new();
        }
        self.in_flight.shrink_to(KEPT_WAITERS_MAX);
        self.taken.shrink_to(KEPT_WAITERS_MAX);
        self.link.lock().waiting.shrink_to(KEPT_WAITERS_MAX);
    }
}

enum Heard {
    Nothing,
    Something,
    Answers,
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

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
