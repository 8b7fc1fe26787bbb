//! One client: read, execute, flush, write, in turns.
//!
//! A turn executes what has arrived, but only so many commands and so many bytes of replies; then the replies are sent before
//! anything more is read, so a client that does not read is not read from, and its replies stay bounded.

use super::commit::end_of_round;
use super::http::{self, Http};
use super::input::Input;
use super::pool::{Kit, return_kit, take_kit};
use crate::background;
use crate::clients::{Client, Signal};
use crate::dispatch::{Begun, Outcome, Ticket, append_error, begin_at, finish};
use crate::job::Answer;
use crate::server::{Attention, Server};
use crate::session::Session;
use crate::tracking;
use std::io::IoSlice;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use sutra_protocol::{Decoder, Limits};
use sutra_shard::Lsn;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// How many requests are looked at ahead of their execution.
const LOOKAHEAD_COMMANDS: usize = 16;
/// Commands of one turn; then others are served.
const TURN_COMMANDS_MAX: usize = 1024;
/// Bytes of replies after which a turn ends.
const TURN_REPLY_BYTES_MAX: usize = 256 * 1024;
/// Arguments that need no allocation to be passed on.
const ARGUMENTS_FEW: usize = 16;
/// Pieces of one vectored write.
const SLICES_MAX: usize = 64;
/// Bytes of pushes that are repeated behind a deferred answer.
const OVERTAKEN_BYTES_MAX: usize = 1 << 20;
/// Bytes that are read and forgotten when a connection is closed by us, so that the peer receives our last words: closing with
/// unread bytes would reset the connection and destroy them.
const LINGER_BYTES_MAX: usize = 1 << 20;

/// A connection and everything it holds.
pub(super) struct Connection {
    server: Arc<Server>,
    stream: TcpStream,
    session: Session,
    input: Input,
    kit: Option<Box<Kit>>,
    /// What goes on without another read.
    state: State,
    /// The request that a background thread works on; nothing goes on before its answer.
    deferred: Option<(Ticket, oneshot::Receiver<Answer>)>,
    /// What was pushed while a deferred request that may have read before was under way: pushed again behind its answer.
    overtaken: Vec<u8>,
    is_known_to_waker: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Everything that arrived is executed, but for the beginning of a request.
    Waiting,
    /// The turn ended before the input did.
    Busy,
    /// CLIENT PAUSE holds the next request.
    Paused,
}

/// Why a connection goes on.
enum Event {
    /// There is something to execute.
    Input,
    /// The deferred request is answered; `None`: it never will be, since the background threads have ended.
    Answer(Ticket, Option<Answer>),
    /// Somebody pushed something.
    Mail,
    /// The peer or the server ends it.
    End,
}

impl Connection {
    /// A connection of a client that is registered.
    pub(super) fn new(server: Arc<Server>, stream: TcpStream, client: Arc<Client>) -> Connection {
        let session = Session::of_client(&server, client);
        Connection {
            server,
            stream,
            session,
            input: Input::default(),
            kit: None,
            state: State::Waiting,
            deferred: None,
            overtaken: Vec::new(),
            is_known_to_waker: false,
        }
    }

    /// Serves the client until either side ends it.
    pub(super) async fn run(mut self) {
        loop {
            let mut leaves_more = false;
            match std::future::poll_fn(|cx| self.poll_event(cx)).await {
                Event::Input => leaves_more = self.execute(),
                Event::Answer(ticket, Some(answer)) => self.finish(&ticket, answer),
                Event::Answer(_, None) => return,
                Event::Mail => self.take_mail(),
                Event::End => {
                    if self.session.client.is_signalled(Signal::STOP) {
                        // Requests that the stop left unread must not cost the peer the replies before them.
                        self.linger();
                    }
                    return;
                }
            }
            if let Some(lsn) = self.session.logged.take() {
                end_of_round().await;
                if !self.make_safe(lsn).await {
                    return;
                }
            }
            if !std::future::poll_fn(|cx| self.poll_send(cx)).await {
                return;
            }
            self.settle();
            if self.session.close {
                self.linger();
                return;
            }
            if leaves_more {
                // Not only after the tasks that are ready: also after whatever has arrived on other sockets meanwhile.
                tokio::task::yield_now().await;
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let client = &self.session.client;
        if !self.is_known_to_waker {
            client.wake_with(cx.waker());
            self.is_known_to_waker = true;
        }
        if client.is_any_signalled() {
            // A stop lets a request that was begun be finished.
            if client.is_signalled(Signal::KILL) || (client.is_signalled(Signal::STOP) && self.deferred.is_none()) {
                return Poll::Ready(Event::End);
            }
            if client.is_signalled(Signal::MAIL) && self.may_take_mail() {
                return Poll::Ready(Event::Mail);
            }
        }
        if let Some((ticket, mut answer)) = self.deferred.take() {
            return match Pin::new(&mut answer).poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Event::Answer(ticket, answer.ok())),
                Poll::Pending => {
                    self.deferred = Some((ticket, answer));
                    Poll::Pending
                }
            };
        }
        match self.state {
            State::Busy => return Poll::Ready(Event::Input),
            State::Paused if self.server.has_attention(Attention::PAUSE) => return Poll::Pending,
            State::Paused => return Poll::Ready(Event::Input),
            State::Waiting => {}
        }
        let wanted = self.kit.as_ref().map_or(0, |kit| kit.decoder.bytes_wanted());
        match self.input.poll_read(&mut self.stream, wanted, cx) {
            Poll::Pending => {
                if !self.input.is_empty() {
                    self.account();
                }
                Poll::Pending
            }
            Poll::Ready(Ok((0, _)) | Err(_)) => Poll::Ready(Event::End),
            Poll::Ready(Ok((count, had_room))) => {
                client.worker.input_bytes.add(count as u64);
                if !had_room {
                    self.state = State::Busy;
                }
                Poll::Ready(Event::Input)
            }
        }
    }

    /// Executes a turn; whether others should be served before the next one.
    fn execute(&mut self) -> bool {
        let was_full = self.state == State::Busy;
        self.state = State::Waiting;
        let Connection { server, session, input, kit, .. } = self;
        let Kit { decoder, scout, output } = &mut **kit.get_or_insert_with(take_kit);
        let settings = &server.settings;
        let limits = Limits {
            bulk_bytes_max: settings.bulk_bytes_max.load(Ordering::Relaxed) as usize,
            query_buffer_bytes_max: settings.query_buffer_bytes_max.load(Ordering::Relaxed) as usize,
            ..Limits::default()
        };
        let now_ms = server.clock.now_ms();
        let mut commands = 0;
        while !input.is_empty() {
            if commands % LOOKAHEAD_COMMANDS == 0 && session.authenticated {
                look_ahead(server, session.db, scout, input.bytes(), &limits);
            }
            let consumed = match decoder.decode(input.bytes(), &limits, session.authenticated) {
                Ok(Some(consumed)) => consumed,
                Ok(None) => {
                    input.consume(decoder.take_skipped());
                    break;
                }
                Err(error) => {
                    tracing::debug!(client = session.client.id, address = %session.client.address, %error, "broken framing");
                    append_error(output, error.to_string().as_bytes());
                    session.client.worker.errors.count("ERR");
                    session.close = true;
                    break;
                }
            };
            let arguments = decoder.arguments(input.bytes());
            let mut few: [&[u8]; ARGUMENTS_FEW] = [&[]; ARGUMENTS_FEW];
            let many: Vec<&[u8]>;
            let args = match few.get_mut(..arguments.len()) {
                Some(few) => {
                    few.iter_mut().zip(arguments.iter()).for_each(|(slot, argument)| *slot = argument);
                    &*few
                }
                None => {
                    many = arguments.iter().collect();
                    &many
                }
            };
            if decoder.is_inline()
                && let Some(http) = http::look(args)
            {
                answer_http(http, session, output);
                break;
            }
            match begin_at(server, session, args, now_ms, output) {
                Begun::Finished(Outcome::Done) => {}
                Begun::Finished(Outcome::Paused { .. }) => {
                    self.state = State::Paused;
                    break;
                }
                Begun::Deferred(job, ticket) => match background::start(server, job) {
                    Ok(answer) => self.deferred = Some((ticket, answer)),
                    Err(answer) => finish(server, session, &ticket, answer, output),
                },
            }
            if session.tracking.is_some() && session.client.is_signalled(Signal::MAIL) && self.deferred.is_none() {
                // Behind the reply of the command that they belong to, or came before, and in front of what is read next.
                output.append(&session.client.take_mail().encode(session.version));
            }
            input.consume(consumed);
            commands += 1;
            if session.close {
                break;
            }
            if self.deferred.is_some() || commands >= TURN_COMMANDS_MAX || output.len_bytes() >= TURN_REPLY_BYTES_MAX {
                self.state = if input.is_empty() { State::Waiting } else { State::Busy };
                break;
            }
        }
        session.publish(now_ms);
        if input.is_empty() {
            input.settle();
        }
        was_full || self.state == State::Busy
    }

    /// Answers the deferred request.
    fn finish(&mut self, ticket: &Ticket, answer: Answer) {
        let Connection { server, session, kit, .. } = self;
        let output = &mut kit.get_or_insert_with(take_kit).output;
        finish(server, session, ticket, answer, output);
        output.append(&std::mem::take(&mut self.overtaken));
        // Waiting for an answer is no idleness.
        session.publish(server.clock.now_ms());
    }

    /// Whether what is pushed may overtake the answer that is still to come. A request that reads entries may have read one before it
    /// changed: a push before its answer would be about nothing, and the answer would be believed for good. So the push is repeated
    /// behind it, and waits if there is too much to repeat, or lines of MONITOR in it.
    fn may_take_mail(&self) -> bool {
        self.deferred.is_none()
            || self.session.tracking.is_none()
            || (self.overtaken.len() <= OVERTAKEN_BYTES_MAX && !self.session.client.monitor.load(Ordering::Relaxed))
    }

    /// Puts what was pushed between two replies.
    fn take_mail(&mut self) {
        let mail = self.session.client.take_mail().encode(self.session.version);
        if self.deferred.is_some() && self.session.tracking.is_some() {
            self.overtaken.extend_from_slice(&mail);
        }
        self.kit.get_or_insert_with(take_kit).output.append(&mail);
    }

    /// Makes the writes of this turn as safe as the settings promise; `false`: they are not, and must not be acknowledged.
    async fn make_safe(&self, lsn: Lsn) -> bool {
        let mut result = self.server.shard.flush_log(lsn).map_err(|error| error.to_string());
        if result.is_ok() && self.server.settings.sync_interval_ms.load(Ordering::Relaxed) == 0 {
            result = self.server.commit.wait(lsn.0).await;
        }
        if let Err(cause) = &result {
            tracing::error!(
                client = self.session.client.id,
                cause,
                "closed a client whose writes could not be made safe"
            );
        }
        result.is_ok()
    }

    /// Sends what waits; `false`: the connection is to end.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(kit) = &mut self.kit else { return Poll::Ready(true) };
        let output = &mut kit.output;
        if output.is_empty() {
            return Poll::Ready(true);
        }
        let client = &self.session.client;
        let hard_max = self.server.settings.output_hard_bytes_max.load(Ordering::Relaxed);
        if hard_max > 0 && output.len_bytes() as u64 > hard_max {
            tracing::warn!(client = client.id, address = %client.address, bytes = output.len_bytes(),
                "closed a client whose replies exceed the hard output limit");
            return Poll::Ready(false);
        }
        while !output.is_empty() {
            if client.is_any_signalled() && client.is_signalled(Signal::KILL) {
                return Poll::Ready(false);
            }
            let polled = {
                let mut chunks = output.chunks();
                let first = chunks.next().unwrap_or_default();
                if chunks.next().is_none() {
                    Pin::new(&mut self.stream).poll_write(cx, first)
                } else {
                    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                    let count = output.io_slices(&mut slices);
                    Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count])
                }
            };
            match polled {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(count)) => {
                    output.advance(count);
                    client.worker.output_bytes.add(count as u64);
                }
                Poll::Pending => {
                    self.account();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(true)
    }

    /// After a turn: lends back what is not needed and tells how much is held.
    fn settle(&mut self) {
        if self.input.is_empty()
            && let Some(kit) = self.kit.take_if(|kit| kit.output.is_empty())
        {
            return_kit(kit);
        }
        self.account();
    }

    /// Publishes what this connection holds, for CLIENT LIST and the limits.
    fn account(&mut self) {
        let client = &self.session.client;
        let output_bytes = self.kit.as_ref().map_or(0, |kit| kit.output.len_bytes());
        let memory_bytes = self.input.memory_bytes()
            + self.kit.as_ref().map_or(0, |kit| size_of::<Kit>() + kit.output.capacity_bytes().max(output_bytes))
            + self.session.held_bytes()
            + self.overtaken.capacity();
        client.input_bytes.store(self.input.len(), Ordering::Relaxed);
        client.output_bytes.store(output_bytes, Ordering::Relaxed);
        let soft_max = self.server.settings.output_soft_bytes_max.load(Ordering::Relaxed);
        let is_over = soft_max > 0 && output_bytes as u64 > soft_max;
        if !is_over {
            client.over_soft_limit_ms.store(0, Ordering::Relaxed);
        } else if client.over_soft_limit_ms.load(Ordering::Relaxed) == 0 {
            client.over_soft_limit_ms.store(self.server.clock.now_ms(), Ordering::Relaxed);
        }
        let grew = memory_bytes > client.memory_bytes.load(Ordering::Relaxed);
        client.set_memory(memory_bytes);
        if grew {
            self.server.evict_clients();
        }
    }

    /// Says that no more will be sent, and reads what the peer had already sent.
    fn linger(&self) {
        let socket = socket2::SockRef::from(&self.stream);
        if socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut forgotten = [0; 4096];
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match self.stream.try_read(&mut forgotten) {
                Ok(0) | Err(_) => return,
                Ok(count) => left = left.saturating_sub(count),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let client = &self.session.client;
        client.set_memory(0);
        self.server.shard.release_owner(client.id);
        self.server.remove_monitor(client);
        client.leave();
        self.server.clients.dismiss(client.id);
        tracking::end(&self.server, &mut self.session);
    }
}

fn answer_http(http: Http, session: &mut Session, output: &mut sutra_protocol::Output) {
    match http {
        Http::Answer(bytes) => output.append(bytes),
        Http::Refuse => {
            let client = &session.client;
            tracing::warn!(client = client.id, address = %client.address,
                "closed a client that speaks HTTP: somebody may be trying to use a web browser to reach this port");
        }
    }
    session.close = true;
}
/// Has the entries of the next requests fetched into the processor's cache before the first of them is executed, so that their cache
/// misses overlap: half of the time of a pipelined GET on 100,000 keys. The first argument is taken for the key, as it is for almost every
/// command; where it is not, nothing is lost but a look into the index.
fn look_ahead(server: &Server, db: u8, scout: &mut Decoder, bytes: &[u8], limits: &Limits) {
    // Not held while commands run: making room waits for pins to go.
    let pin = server.shard.pin();
    let mut at = 0;
    for request in 0..LOOKAHEAD_COMMANDS {
        let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return };
        match scout.decode(rest, limits, true) {
            // One request alone is executed just as soon as it would be fetched.
            Ok(Some(consumed)) if request == 0 && consumed == bytes.len() => return,
            Ok(Some(consumed)) => {
                if let Some(key) = scout.arguments(rest).get(1) {
                    server.shard.prefetch(&pin, db, key);
                }
                at += consumed;
            }
            Ok(None) | Err(_) => {
                *scout = Decoder::new();
                return;
            }
        }
    }
}
