//! The measured load: one thread, 50 connections, epoll; cheap enough that the server is what is measured.
//!
//! Requests of one job differ only in their key's digits, so a batch is one template whose digits are overwritten before each
//! send. Replies have a known length, so they are counted and not parsed; every batch's first bytes are compared, and one in
//! [`CHECK_EVERY`] batches is compared whole.

use crate::histogram::Histogram;
use crate::machine::first_number;
use crate::process::Server;
use crate::random::{KEY_BYTES, Random, key};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use sutra_protocol::encode_request;

/// Connections of a load.
pub(crate) const CONNECTIONS: usize = 50;
/// Keys of a load.
pub(crate) const KEYS: u64 = 100_000;
/// One in so many batches is compared byte for byte with what it must be.
const CHECK_EVERY: u64 = 512;
/// A load without any event for so long has failed.
const STALL_SECONDS: i64 = 20;
/// The part of a phase that is not measured.
const WARM_UP_SHARE: f64 = 0.15;

/// The command of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Set,
}

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub(crate) verb: Verb,
    pub(crate) value_bytes: usize,
    pub(crate) pipeline: usize,
}

/// When the next batch is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// As soon as the one before is answered.
    Closed,
    /// So many operations a second, whatever the answers do; latencies count from when a batch was due.
    Open(f64),
}

/// What a phase showed.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) operations_per_second: f64,
    /// The server's CPU time per operation.
    pub(crate) cpu_us: f64,
    /// Shares of the phase that server and driver spent on their cores.
    pub(crate) server_busy: f64,
    pub(crate) client_busy: f64,
    pub(crate) latency: Histogram,
}

/// The connections of one server.
#[derive(Debug)]
pub(crate) struct Load {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    received: Vec<u8>,
    random: Random,
    batches: u64,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
    /// Reply bytes that are still to come.
    expected: usize,
    began: Instant,
    /// The replies so far, when this batch is compared whole.
    checked: Option<Vec<u8>>,
}

impl Load {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Load> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for index in 0..CONNECTIONS {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
            connections.push(Connection {
                stream,
                unsent: Vec::new(),
                expected: 0,
                began: Instant::now(),
                checked: None,
            });
        }
        Ok(Load { epoll, connections, received: vec![0; 256 * 1024], random: Random::new(1), batches: 0 })
    }

    /// Loads the server for `duration` and measures all of it but the beginning. Every key of a GET must be there.
    pub(crate) fn run(&mut self, server: &Server, job: Job, pace: Pace, duration: Duration) -> io::Result<Outcome> {
        let mut template = Template::new(job);
        let mut events: Vec<Event> = Vec::with_capacity(CONNECTIONS);
        let mut idle: VecDeque<usize> = (0..CONNECTIONS).collect();
        let began = Instant::now();
        let (warm, end) = (began + duration.mul_f64(WARM_UP_SHARE), began + duration);
        let interval = match pace {
            Pace::Closed => None,
            Pace::Open(rate) => Some(Duration::from_secs_f64(job.pipeline as f64 / rate)),
        };
        let mut due = began;
        let mut latency = Histogram::new();
        let mut measured: Option<Counters> = None;
        let mut now = began;
        while now < end {
            if measured.is_none() && now >= warm {
                measured = Some(Counters::read(server));
            }
            match interval {
                None => {
                    for index in idle.drain(..) {
                        self.connections[index].send(
                            &mut template,
                            &mut self.random,
                            &mut self.batches,
                            now,
                            &self.epoll,
                            index,
                        )?;
                    }
                }
                Some(interval) => {
                    while due <= now {
                        let Some(index) = idle.pop_front() else { break };
                        self.connections[index].send(
                            &mut template,
                            &mut self.random,
                            &mut self.batches,
                            due,
                            &self.epoll,
                            index,
                        )?;
                        due += interval;
                    }
                }
            }
            events.clear();
            // An open load turns round and round instead of sleeping past the moment when the next batch is due.
            let wait =
                rustix::event::Timespec { tv_sec: if interval.is_some() { 0 } else { STALL_SECONDS }, tv_nsec: 0 };
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
            if events.is_empty() && interval.is_none() {
                return Err(io::Error::new(ErrorKind::TimedOut, format!("no reply for {STALL_SECONDS} s in {job:?}")));
            }
            for event in &events {
                let index = event.data.u64() as usize;
                if self.connections[index].progress(event.flags, &template, &mut self.received, &self.epoll, index)? {
                    let done = Instant::now();
                    if measured.is_some() {
                        latency.record(done.duration_since(self.connections[index].began).as_nanos() as u64);
                    }
                    idle.push_back(index);
                }
            }
            now = Instant::now();
        }
        let after = Counters::read(server);
        self.drain(&template)?;
        let before = measured.unwrap_or(after);
        let seconds = after.at.duration_since(before.at).as_secs_f64().max(1e-9);
        let operations = (latency.count() * job.pipeline as u64).max(1) as f64;
        Ok(Outcome {
            operations_per_second: operations / seconds,
            cpu_us: (after.server_ns - before.server_ns) as f64 / 1000.0 / operations,
            server_busy: (after.server_ns - before.server_ns) as f64 / 1e9 / seconds,
            client_busy: (after.client_ns - before.client_ns) as f64 / 1e9 / seconds,
            latency,
        })
    }

    /// Takes the replies that are still under way, so that the connections can be used again.
    fn drain(&mut self, template: &Template) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(CONNECTIONS);
        while self.connections.iter().any(|connection| connection.expected > 0) {
            events.clear();
            let wait = rustix::event::Timespec { tv_sec: STALL_SECONDS, tv_nsec: 0 };
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
            if events.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, "replies are missing at the end of a phase"));
            }
            for event in &events {
                let index = event.data.u64() as usize;
                self.connections[index].progress(event.flags, template, &mut self.received, &self.epoll, index)?;
            }
        }
        Ok(())
    }
}

impl Connection {
    fn send(
        &mut self,
        template: &mut Template,
        random: &mut Random,
        batches: &mut u64,
        due: Instant,
        epoll: &OwnedFd,
        index: usize,
    ) -> io::Result<()> {
        self.expected = template.reply_bytes;
        let bytes = template.next_batch(random);
        self.began = due;
        *batches += 1;
        self.checked = (*batches % CHECK_EVERY == 1).then(Vec::new);
        let sent = match self.stream.write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if sent < bytes.len() {
            self.unsent.extend_from_slice(&bytes[sent..]);
            epoll::modify(epoll, &self.stream, EventData::new_u64(index as u64), EventFlags::IN | EventFlags::OUT)?;
        }
        Ok(())
    }

    /// Goes on sending and receiving; whether the batch is answered.
    fn progress(
        &mut self,
        ready: EventFlags,
        template: &Template,
        received: &mut [u8],
        epoll: &OwnedFd,
        index: usize,
    ) -> io::Result<bool> {
        if ready.contains(EventFlags::OUT) && !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if self.unsent.is_empty() {
                epoll::modify(epoll, &self.stream, EventData::new_u64(index as u64), EventFlags::IN)?;
            }
        }
        if !ready.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return Ok(false);
        }
        let count = match self.stream.read(received) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed a connection under load")),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let bytes = &received[..count];
        let is_first = self.expected == template.reply_bytes;
        if count > self.expected || (is_first && bytes[0] != template.reply[0]) {
            return Err(unexpected(bytes));
        }
        self.expected -= count;
        if let Some(checked) = &mut self.checked {
            checked.extend_from_slice(bytes);
            if self.expected == 0 && !checked.chunks(template.reply.len()).all(|reply| reply == template.reply) {
                return Err(unexpected(checked));
            }
        }
        Ok(self.expected == 0)
    }
}

fn unexpected(bytes: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
    io::Error::new(ErrorKind::InvalidData, format!("an unexpected reply: {text:?}"))
}

/// The requests of a batch, and what answers each.
#[derive(Debug)]
struct Template {
    requests: Vec<u8>,
    request_bytes: usize,
    digits_at: usize,
    reply: Vec<u8>,
    reply_bytes: usize,
}

impl Template {
    fn new(job: Job) -> Template {
        let value = load_value(job.value_bytes);
        let mut request = Vec::new();
        let mut reply = Vec::new();
        match job.verb {
            Verb::Get => {
                encode_request(&[&b"GET"[..], &key(0)], &mut request);
                reply.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
                reply.extend_from_slice(&value);
                reply.extend_from_slice(b"\r\n");
            }
            Verb::Set => {
                encode_request(&[&b"SET"[..], &key(0), &value], &mut request);
                reply.extend_from_slice(b"+OK\r\n");
            }
        }
        // "*2\r\n$3\r\nGET\r\n$16\r\n" and then the key, whose first four bytes never change.
        let digits_at = 4 + 9 + 5 + 4;
        debug_assert_eq!(&request[digits_at - 4..digits_at + KEY_BYTES - 4], &key(0));
        Template {
            request_bytes: request.len(),
            requests: request.repeat(job.pipeline),
            digits_at,
            reply_bytes: reply.len() * job.pipeline,
            reply,
        }
    }

    fn next_batch(&mut self, random: &mut Random) -> &[u8] {
        for request in self.requests.chunks_exact_mut(self.request_bytes) {
            let mut number = random.below(KEYS);
            // Keys are below 100,000: the last five digits of twelve.
            for digit in request[self.digits_at + 7..self.digits_at + 12].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        &self.requests
    }
}

/// The value that every key of a load holds.
pub(crate) fn load_value(bytes: usize) -> Vec<u8> {
    let mut value = vec![0; bytes];
    crate::random::fill(0, &mut value);
    value
}

#[derive(Debug, Clone, Copy)]
struct Counters {
    at: Instant,
    server_ns: u64,
    client_ns: u64,
}

impl Counters {
    fn read(server: &Server) -> Counters {
        let client = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Counters { at: Instant::now(), server_ns: server.cpu_ns(), client_ns: first_number(&client).unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_asks_for_known_keys_and_knows_its_replies() {
        let mut template = Template::new(Job { verb: Verb::Get, value_bytes: 16, pipeline: 3 });
        let batch = template.next_batch(&mut Random::new(1)).to_vec();
        let text = String::from_utf8(batch).expect("text");
        for request in text.split("*2\r\n").skip(1) {
            let name =
                request.strip_prefix("$3\r\nGET\r\n$16\r\n").and_then(|rest| rest.strip_suffix("\r\n")).expect("a GET");
            let number: u64 = name.strip_prefix("key:").expect("prefix").parse().expect("a number");
            assert!(number < KEYS);
            assert_eq!(name.as_bytes(), key(number));
        }
        assert_eq!(template.reply_bytes, 3 * ("$16\r\n".len() + 16 + 2));
    }
}
