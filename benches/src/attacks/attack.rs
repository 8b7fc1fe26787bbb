//! One attack: what some connections send, whether they read, and what they do when they are thrown out.

use crate::machine::pause;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A connection that was refused or closed is opened again after so long.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(5);
/// Floods of all connections together: an attacker with a line of 100 Mbit/s. (No server that runs on one core keeps its latency
/// when the same machine spends another core on nothing but flooding it.)
const FLOOD_BYTES_PER_SECOND: f64 = 12_500_000.0;
/// What one connection floods in one turn.
const TURN_BYTES_MAX: usize = 64 * 1024;
/// How long a sweep over connections that can do nothing waits for the next.
const SWEEP_INTERVAL: Duration = Duration::from_micros(300);

/// What a connection does with replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// Takes all.
    All,
    /// Takes none.
    Nothing,
    /// Takes this many bytes in each sweep.
    Slowly(usize),
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// It stays until the attack is over.
    Stays,
    /// It closes as soon as its opening is sent, and comes again.
    Closes,
    /// It closes its sending side as soon as its opening is sent.
    HalfCloses,
}

/// A pattern of hostile traffic.
#[derive(Debug, Clone)]
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) connections: usize,
    /// Sent first.
    pub(super) opening: Vec<u8>,
    /// Sent again and again behind it; empty: nothing more is said.
    pub(super) flood: Vec<u8>,
    /// Bytes sent at once: 1 is a trickle.
    pub(super) piece_bytes: usize,
    /// Whether a flood goes on only after something was read: one command under way.
    pub(super) waits: bool,
    pub(super) reads: Reads,
    pub(super) ends: Ends,
}

impl Attack {
    /// Connections that say `opening` and then wait.
    pub(super) fn says(name: &'static str, connections: usize, opening: impl Into<Vec<u8>>) -> Attack {
        let opening = opening.into();
        Attack {
            name,
            connections,
            opening,
            flood: Vec::new(),
            piece_bytes: usize::MAX,
            waits: false,
            reads: Reads::All,
            ends: Ends::Stays,
        }
    }

    /// Connections that repeat `flood` without end.
    pub(super) fn floods(name: &'static str, connections: usize, flood: impl Into<Vec<u8>>) -> Attack {
        Attack { flood: flood.into(), ..Attack::says(name, connections, "") }
    }

    /// Connections that repeat one command, each time after the answer to the one before.
    pub(super) fn asks(name: &'static str, connections: usize, command: impl Into<Vec<u8>>) -> Attack {
        Attack { waits: true, ..Attack::floods(name, connections, command) }
    }

    pub(super) fn then_floods(self, flood: impl Into<Vec<u8>>) -> Attack {
        Attack { flood: flood.into(), ..self }
    }

    pub(super) fn reading(self, reads: Reads) -> Attack {
        Attack { reads, ..self }
    }

    pub(super) fn ending(self, ends: Ends) -> Attack {
        Attack { ends, ..self }
    }

    pub(super) fn in_pieces_of(self, piece_bytes: usize) -> Attack {
        Attack { piece_bytes, ..self }
    }

    /// Attacks until `stop`; returns how many bytes the server took.
    pub(super) fn run(&self, address: SocketAddr, stop: &AtomicBool) -> u64 {
        let mut hosts: Vec<Host> = (0..self.connections).map(|_| Host::new()).collect();
        let mut scratch = vec![0; 64 * 1024];
        let began = Instant::now();
        let (mut sent, mut flooded) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            let mut progress = 0;
            for host in &mut hosts {
                let allowed = (began.elapsed().as_secs_f64() * FLOOD_BYTES_PER_SECOND) as usize;
                let turn = host.turn(self, address, &mut scratch, allowed.saturating_sub(flooded));
                progress += turn.opened + turn.flooded;
                flooded += turn.flooded;
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            sent += progress as u64;
            // Another connection comes first each time, so that all get their part of the line.
            let count = hosts.len();
            hosts.rotate_left((count / 7).max(1) % count);
            if progress == 0 || self.piece_bytes != usize::MAX {
                pause(SWEEP_INTERVAL);
            }
        }
        sent
    }
}

/// One hostile connection.
struct Host {
    stream: Option<TcpStream>,
    /// Bytes of opening and floods sent so far.
    position: usize,
    /// Something was read since the last command.
    is_answered: bool,
    /// Not before then.
    next_attempt: Instant,
    half_closed: bool,
}

/// What a turn sent.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    opened: usize,
    flooded: usize,
}

impl Host {
    fn new() -> Host {
        Host { stream: None, position: 0, is_answered: true, next_attempt: Instant::now(), half_closed: false }
    }

    /// Does what can be done without waiting; floods at most `flood_bytes_max`.
    fn turn(&mut self, attack: &Attack, address: SocketAddr, scratch: &mut [u8], flood_bytes_max: usize) -> Turn {
        let mut turn = Turn::default();
        let Some(stream) = &mut self.stream else {
            if Instant::now() >= self.next_attempt {
                self.next_attempt = Instant::now() + RECONNECT_INTERVAL;
                self.stream = TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
                self.stream = self.stream.take().filter(|stream| stream.set_nonblocking(true).is_ok());
                (self.position, self.is_answered, self.half_closed) = (0, true, false);
            }
            turn.opened = usize::from(self.stream.is_some());
            return turn;
        };
        let (mut is_alive, read) = match attack.reads {
            Reads::All => take(stream, scratch),
            Reads::Nothing => (true, 0),
            Reads::Slowly(bytes) => take_once(stream, &mut scratch[..bytes]),
        };
        self.is_answered |= read > 0;
        let is_opening = self.position < attack.opening.len();
        let waiting: &[u8] = if is_opening {
            &attack.opening[self.position..]
        } else if attack.flood.is_empty() {
            &[]
        } else {
            let at = (self.position - attack.opening.len()) % attack.flood.len();
            let is_held = attack.waits && at == 0 && !self.is_answered;
            let rest = &attack.flood[at..];
            if is_held { &[] } else { &rest[..rest.len().min(flood_bytes_max).min(TURN_BYTES_MAX)] }
        };
        let piece = &waiting[..waiting.len().min(attack.piece_bytes)];
        if !piece.is_empty() && !self.half_closed {
            match stream.write(piece) {
                Ok(count) if is_opening => turn.opened = count,
                Ok(count) => {
                    turn.flooded = count;
                    self.is_answered = false;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => is_alive = false,
            }
        }
        self.position += turn.opened + turn.flooded;
        if self.position >= attack.opening.len() {
            match attack.ends {
                Ends::Stays => {}
                Ends::Closes => is_alive = false,
                Ends::HalfCloses if !self.half_closed => {
                    self.half_closed = true;
                    let _ = stream.shutdown(Shutdown::Write);
                }
                Ends::HalfCloses => {}
            }
        }
        if !is_alive {
            self.stream = None;
        }
        turn
    }
}

/// Reads and drops everything that is there; whether the connection is still open, and how much it was.
fn take(stream: &mut TcpStream, scratch: &mut [u8]) -> (bool, usize) {
    const READS_MAX: usize = 16;
    let mut read = 0;
    for _ in 0..READS_MAX {
        let (is_open, count) = take_once(stream, scratch);
        read += count;
        if !is_open || count < scratch.len() {
            return (is_open, read);
        }
    }
    (true, read)
}

fn take_once(stream: &mut TcpStream, scratch: &mut [u8]) -> (bool, usize) {
    match stream.read(scratch) {
        Ok(count) => (count > 0, count),
        Err(error) => (error.kind() == ErrorKind::WouldBlock, 0),
    }
}
