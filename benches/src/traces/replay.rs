//! A trace over the wire: GET, and on a miss SET, one request at a time.

use super::trace::{Hits, Trace};
use crate::machine::pause;
use crate::random::{KEY_BYTES, Random, fill, key};
use crate::wire::Client;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use sutra_protocol::Frame;

/// Values begin at one of so many places of a common block, so that a wrong one is noticed.
const PLACES: u64 = 1 << 20;

/// What a replay showed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replayed {
    pub(super) hits: Hits,
    pub(super) requests_per_second: f64,
    /// SETs that were answered with an error.
    pub(super) refused: u64,
    /// Keys and values of the trace that are still there at the end.
    pub(super) payload_bytes: u64,
    /// What our server says about its store.
    pub(super) live_bytes: Option<f64>,
    pub(super) write_amplification: Option<f64>,
}

/// The values of a trace's objects.
#[derive(Debug)]
pub(super) struct Values(Vec<u8>);

impl Values {
    pub(super) fn new(trace: &Trace) -> Values {
        let longest = trace.objects.iter().map(|object| object.bytes).max().unwrap_or(0);
        let mut block = vec![0; PLACES as usize + longest as usize];
        fill(5, &mut block);
        Values(block)
    }

    pub(super) fn of(&self, trace: &Trace, number: u32) -> &[u8] {
        let place = Random::new(u64::from(number)).below(PLACES) as usize;
        &self.0[place..place + trace.object(number).bytes as usize]
    }
}

/// Replays the trace at `rate` requests per second, or as fast as answers come (`None`).
pub(super) fn replay(address: SocketAddr, trace: &Trace, values: &Values, rate: Option<u64>) -> io::Result<Replayed> {
    let mut client = Client::connect(address)?;
    let mut hits = Hits::default();
    let mut refused = 0;
    let began = Instant::now();
    for (index, &number) in trace.requests.iter().enumerate() {
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(index as f64 / rate as f64);
            let early = due.saturating_sub(began.elapsed());
            if !early.is_zero() {
                pause(early);
            }
        }
        let name = key(u64::from(number));
        let value = values.of(trace, number);
        let answer = client.call(&[b"GET", &name])?;
        let hit = matches!(&answer, Frame::Bulk(found) if found == value);
        if !hit && answer != Frame::Null {
            return Err(io::Error::other(format!("a wrong answer to GET of object {number}: {answer:.60?}")));
        }
        hits.count(trace.object(number), hit);
        if !hit && matches!(client.call(&[b"SET", &name, value])?, Frame::Error(_)) {
            refused += 1;
        }
    }
    let requests_per_second = trace.requests.len() as f64 / began.elapsed().as_secs_f64();
    Ok(Replayed {
        hits,
        requests_per_second,
        refused,
        payload_bytes: payload_bytes(&mut client, trace)?,
        live_bytes: client.info("sutra_live_bytes")?,
        write_amplification: client.info("sutra_write_amplification")?,
    })
}

fn payload_bytes(client: &mut Client, trace: &Trace) -> io::Result<u64> {
    const BURST: usize = 1000;
    let mut bytes = 0;
    for (burst, objects) in trace.objects.chunks(BURST).enumerate() {
        for offset in 0..objects.len() {
            client.queue(&[b"EXISTS", &key((burst * BURST + offset) as u64)]);
        }
        client.flush()?;
        for object in objects {
            if client.reply()? == Frame::Integer(1) {
                bytes += u64::from(object.bytes) + KEY_BYTES as u64;
            }
        }
    }
    Ok(bytes)
}
