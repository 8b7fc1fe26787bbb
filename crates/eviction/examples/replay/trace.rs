//! Traces: read from a file, or made up.

use std::{fmt, fs, path::Path};

/// What is asked for in which order, and what each object takes and costs.
pub(crate) struct Trace {
    pub(crate) objects: Vec<Object>,
    /// Object numbers.
    pub(crate) requests: Vec<u32>,
}

#[derive(Clone, Copy)]
pub(crate) struct Object {
    pub(crate) bytes: u32,
    pub(crate) cost_us: u32,
}

/// Why a trace could not be read.
#[derive(Debug)]
pub(crate) enum TraceError {
    Unreadable(std::io::Error),
    Malformed,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(source) => source.fmt(f),
            Self::Malformed => f.write_str("not a trace: expected EVTRACE1, two counts, objects, requests"),
        }
    }
}

impl Trace {
    /// Reads `EVTRACE1`, u32 objects, u32 requests, (u32 bytes, u32 cost in µs) per object, u32 object number per
    /// request, all little endian.
    pub(crate) fn read(path: &Path) -> Result<Self, TraceError> {
        let bytes = fs::read(path).map_err(TraceError::Unreadable)?;
        let mut words = bytes
            .strip_prefix(b"EVTRACE1")
            .ok_or(TraceError::Malformed)?
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        let mut next = || words.next().ok_or(TraceError::Malformed);
        let (object_count, request_count) = (next()?, next()?);
        let objects: Vec<Object> = (0..object_count)
            .map(|_| Ok(Object { bytes: next()?, cost_us: next()? }))
            .collect::<Result<_, TraceError>>()?;
        let requests: Vec<u32> = (0..request_count).map(|_| next()).collect::<Result<_, TraceError>>()?;
        if requests.iter().any(|&object| object >= object_count) {
            return Err(TraceError::Malformed);
        }
        Ok(Self { objects, requests })
    }

    /// A small trace: popularity falls as 1 / rank^0.9, every hundredth request two objects change ranks, one request in
    /// five is for an object that is asked for only once, sizes are 100 bytes to 4 KiB, one object in five is dear.
    pub(crate) fn synthetic(request_count: u32, seed: u64) -> Self {
        const POPULAR: u32 = 10_000;
        let mut random = Random::new(seed);
        let mut by_rank: Vec<u32> = (0..POPULAR).collect();
        let mut total = 0.0;
        let mut sums = Vec::new();
        for rank in 1..=POPULAR {
            total += f64::from(rank).powf(-0.9);
            sums.push(total);
        }
        let mut requests = Vec::new();
        let mut once = POPULAR;
        for at in 0..request_count {
            if at % 100 == 0 {
                by_rank.swap(random.below(POPULAR) as usize, random.below(POPULAR) as usize);
            }
            if random.below(5) == 0 {
                requests.push(once);
                once += 1;
            } else {
                let wanted = random.unit() * total;
                requests.push(by_rank[sums.partition_point(|sum| *sum < wanted).min(by_rank.len() - 1)]);
            }
        }
        let objects = (0..once)
            .map(|_| Object {
                bytes: 100 + random.below(4_000),
                cost_us: if random.below(5) == 0 { 1_000_000 } else { 5_000 },
            })
            .collect();
        Self { objects, requests }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| u64::from(object.bytes)).sum()
    }
}

/// xorshift64* (Vigna 2016): the same numbers on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    fn below(&mut self, end: u32) -> u32 {
        ((u64::from(self.next()) * u64::from(end)) >> 32) as u32
    }

    fn unit(&mut self) -> f64 {
        f64::from(self.next()) / 4_294_967_296.0
    }
}
