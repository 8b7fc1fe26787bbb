//! A cache trace: which object is asked for, in order; its size, and what it costs to compute again.
//!
//! Format `.evt`, little endian: `EVTRACE1`, u32 objects, u32 requests, per object u32 bytes and u32 cost in microseconds, per request
//! u32 object number.

use crate::random::Random;
use std::fs;
use std::io;
use std::path::Path;

const MAGIC: &[u8; 8] = b"EVTRACE1";
/// Zipf exponent of the synthetic trace.
const ZIPF: f64 = 0.9;

/// An object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) bytes: u32,
    pub(super) cost_us: u32,
}

/// A trace in memory.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trace {
    pub(super) name: String,
    pub(super) objects: Vec<Object>,
    pub(super) requests: Vec<u32>,
}

impl Trace {
    pub(super) fn read(path: &Path) -> io::Result<Trace> {
        let bytes =
            fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Trace::parse(name, &bytes)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{} is no trace", path.display())))
    }

    fn parse(name: String, bytes: &[u8]) -> Option<Trace> {
        let (header, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(8)?;
        let mut header = words(header);
        let (objects, requests) = (header.next()? as usize, header.next()? as usize);
        let (table, rest) = body.split_at_checked(objects.checked_mul(8)?)?;
        if rest.len() != requests.checked_mul(4)? {
            return None;
        }
        let objects: Vec<_> = table
            .chunks_exact(8)
            .filter_map(|object| {
                let mut object = words(object);
                Some(Object { bytes: object.next()?, cost_us: object.next()? })
            })
            .collect();
        let requests: Vec<u32> = words(rest).collect();
        requests.iter().all(|request| (*request as usize) < objects.len()).then_some(Trace { name, objects, requests })
    }

    /// Embedding look-ups, answers and small strings in the proportions of an LLM application; a third of the requests are for
    /// objects that nobody asks for again.
    pub(super) fn synthetic(popular: usize, requests: usize) -> Trace {
        let mut random = Random::new(11);
        let mut unit = move || (random.next() >> 11) as f64 / (1u64 << 53) as f64;
        let mut cumulative = Vec::with_capacity(popular);
        let mut sum = 0.0;
        for rank in 1..=popular {
            sum += (rank as f64).powf(-ZIPF);
            cumulative.push(sum);
        }
        let mut objects = Vec::new();
        let object = |kind: f64, size: f64| match kind {
            kind if kind < 0.7 => {
                Object { bytes: [1536, 3072, 4096, 6144][(size * 4.0) as usize & 3], cost_us: 20_000 }
            }
            kind if kind < 0.9 => Object { bytes: 1500 + (size * 2000.0) as u32, cost_us: 2_000_000 },
            _ => Object { bytes: 32 + (size * 200.0) as u32, cost_us: 1000 },
        };
        for _ in 0..popular {
            objects.push(object(unit(), unit()));
        }
        let mut order = Vec::with_capacity(requests);
        for _ in 0..requests {
            if unit() < 0.33 {
                objects.push(object(unit(), unit()));
                order.push(objects.len() as u32 - 1);
            } else {
                let wanted = unit() * sum;
                order.push(cumulative.partition_point(|at| *at < wanted).min(popular - 1) as u32);
            }
        }
        Trace { name: "synthetic".to_owned(), objects, requests: order }
    }

    /// Bytes of all objects: the working set.
    pub(super) fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| u64::from(object.bytes)).sum()
    }

    pub(super) fn object(&self, number: u32) -> Object {
        self.objects[number as usize]
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

/// Counts hits by object, byte and cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Hits {
    requests: u64,
    hits: u64,
    bytes: u64,
    hit_bytes: u64,
    cost_us: u64,
    hit_cost_us: u64,
}

impl Hits {
    pub(super) fn count(&mut self, object: Object, hit: bool) {
        let (bytes, cost_us) = (u64::from(object.bytes), u64::from(object.cost_us));
        self.requests += 1;
        self.bytes += bytes;
        self.cost_us += cost_us;
        if hit {
            self.hits += 1;
            self.hit_bytes += bytes;
            self.hit_cost_us += cost_us;
        }
    }

    /// Per cent of the requests that were hits.
    pub(super) fn object_percent(&self) -> f64 {
        self.hits as f64 * 100.0 / self.requests as f64
    }

    /// Per cent of the bytes asked for.
    pub(super) fn byte_percent(&self) -> f64 {
        self.hit_bytes as f64 * 100.0 / self.bytes as f64
    }

    /// Per cent of the cost of computing everything, that was saved.
    pub(super) fn cost_percent(&self) -> f64 {
        self.hit_cost_us as f64 * 100.0 / self.cost_us as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(trace: &Trace) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((trace.objects.len() as u32).to_le_bytes());
        bytes.extend((trace.requests.len() as u32).to_le_bytes());
        for object in &trace.objects {
            bytes.extend(object.bytes.to_le_bytes());
            bytes.extend(object.cost_us.to_le_bytes());
        }
        for request in &trace.requests {
            bytes.extend(request.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_trace_is_read_as_it_was_written_and_a_damaged_one_is_refused() {
        let trace = Trace::synthetic(50, 300);
        let bytes = encoded(&trace);
        assert_eq!(Trace::parse("synthetic".into(), &bytes), Some(trace));
        for cut in [0, 7, 15, 100, bytes.len() - 1] {
            assert_eq!(Trace::parse(String::new(), &bytes[..cut]), None, "{cut}");
        }
        let mut unknown = bytes.clone();
        let end = unknown.len();
        unknown[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Trace::parse(String::new(), &unknown), None);
    }

    #[test]
    fn ratios_weigh_by_object_byte_and_cost() {
        let mut hits = Hits::default();
        hits.count(Object { bytes: 300, cost_us: 1 }, true);
        hits.count(Object { bytes: 100, cost_us: 9 }, false);
        assert_eq!((hits.object_percent(), hits.byte_percent(), hits.cost_percent()), (50.0, 75.0, 10.0));
    }
}
