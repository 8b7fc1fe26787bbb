//! The two caches that a trace is played through: a log-structured store with rank-merge, and exact LRU beside it.

use std::collections::BTreeMap;

use sutra_eviction::{Candidate, Facts, Ghosts, Policy, SegmentFacts, choose_keepers, choose_victims, frequency, rank};

use crate::trace::{Object, Random, Trace};

/// How the store is laid out and how fast time passes.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) memory_bytes: u64,
    pub(crate) segment_bytes: u32,
    /// Groups merged in one pass.
    pub(crate) groups: usize,
    /// Segments merged into one.
    pub(crate) per_group: usize,
    pub(crate) requests_per_second: u64,
}

/// What an entry takes beyond its value: record header, key and index slot.
pub(crate) const OVERHEAD_BYTES: u32 = 24;

/// Redis's `lfu-decay-time 1`.
const DECAY_MS_PER_STEP: u32 = 60_000;

/// Hits and requests, by number, by bytes and by cost.
#[derive(Clone, Copy, Default)]
pub(crate) struct Score {
    pub(crate) hits: [f64; 3],
    pub(crate) requests: [f64; 3],
    /// Bytes written by merges, and by the caller.
    pub(crate) bytes_merged: u64,
    pub(crate) bytes_put: u64,
    /// Sum over the second half of the requests of live bytes, overhead included, as a share of the memory.
    share_sum: f64,
    share_samples: u32,
}

impl Score {
    fn count(&mut self, object: Object, hit: bool) {
        let weights = [1.0, f64::from(object.bytes), f64::from(object.cost_us)];
        for (sum, weight) in self.requests.iter_mut().zip(weights) {
            *sum += weight;
        }
        if hit {
            for (sum, weight) in self.hits.iter_mut().zip(weights) {
                *sum += weight;
            }
        }
    }

    /// Hit ratio by number, by bytes, by cost.
    pub(crate) fn ratios(&self) -> [f64; 3] {
        std::array::from_fn(|by| self.hits[by] / self.requests[by])
    }

    /// Bytes written for each byte put.
    pub(crate) fn write_amplification(&self) -> f64 {
        1.0 + self.bytes_merged as f64 / self.bytes_put as f64
    }

    /// Live records as a share of the memory, on average once the store is full.
    pub(crate) fn payload_share(&self) -> f64 {
        self.share_sum / f64::from(self.share_samples)
    }
}

/// Exact LRU that counts values alone: no overhead, no fragmentation. What a store would be glad to reach.
pub(crate) fn play_exact_lru(trace: &Trace, memory_bytes: u64) -> Score {
    let mut score = Score::default();
    let mut used_at: Vec<Option<usize>> = vec![None; trace.objects.len()];
    let mut by_age: BTreeMap<usize, u32> = BTreeMap::new();
    let mut bytes = 0;
    for (now, &number) in trace.requests.iter().enumerate() {
        let object = trace.objects[number as usize];
        let before = used_at[number as usize].replace(now);
        score.count(object, before.is_some());
        match before {
            Some(before) => drop(by_age.remove(&before)),
            None => bytes += u64::from(object.bytes),
        }
        by_age.insert(now, number);
        while bytes > memory_bytes {
            let Some((_, oldest)) = by_age.pop_first() else { break };
            used_at[oldest as usize] = None;
            bytes -= u64::from(trace.objects[oldest as usize].bytes);
        }
    }
    score
}

#[derive(Clone, Copy)]
struct Entry {
    used_at_ms: u64,
    frequency: u8,
    stored: bool,
}

#[derive(Clone, Default)]
struct Segment {
    numbers: Vec<u32>,
    bytes: u32,
    sealed: bool,
}

struct Store<'a> {
    trace: &'a Trace,
    policy: Policy,
    layout: Layout,
    entries: Vec<Entry>,
    segments: Vec<Segment>,
    free: Vec<u32>,
    open: u32,
    ghosts: Ghosts,
    stored: usize,
    live_bytes: u64,
    random: Random,
    score: Score,
}

/// Plays the trace through the store: a miss puts the object.
pub(crate) fn play(trace: &Trace, policy: Policy, layout: Layout, seed: u64) -> Score {
    let count = (layout.memory_bytes / u64::from(layout.segment_bytes)) as u32;
    assert!(count as usize > 2 * layout.groups + layout.per_group, "too few segments: {count}");
    let mut store = Store {
        trace,
        policy,
        layout,
        entries: vec![Entry { used_at_ms: 0, frequency: 0, stored: false }; trace.objects.len()],
        segments: vec![Segment::default(); count as usize],
        free: (1..count).collect(),
        open: 0,
        ghosts: Ghosts::new(0),
        stored: 0,
        live_bytes: 0,
        random: Random::new(seed),
        score: Score::default(),
    };
    for (at, &number) in trace.requests.iter().enumerate() {
        let now_ms = at as u64 * 1_000 / layout.requests_per_second;
        store.ask(number, now_ms);
        if at > trace.requests.len() / 2 {
            store.score.share_sum += store.live_bytes as f64 / layout.memory_bytes as f64;
            store.score.share_samples += 1;
        }
    }
    store.score
}

impl Store<'_> {
    fn ask(&mut self, number: u32, now_ms: u64) {
        let hit = self.entries[number as usize].stored;
        self.score.count(self.trace.objects[number as usize], hit);
        let before = if hit {
            Some(self.counter(number, now_ms))
        } else {
            if !self.put(number, now_ms) {
                return;
            }
            self.ghosts.recall(hash(number))
        };
        let entry = &mut self.entries[number as usize];
        entry.frequency = match before {
            Some(counter) => frequency::touched(counter, self.random.next()),
            None => frequency::INITIAL,
        };
        entry.used_at_ms = now_ms;
    }

    /// Stores the object; false if it is larger than a segment.
    fn put(&mut self, number: u32, now_ms: u64) -> bool {
        let bytes = self.record_bytes(number);
        if bytes > self.layout.segment_bytes {
            return false;
        }
        if self.segments[self.open as usize].bytes + bytes > self.layout.segment_bytes {
            self.segments[self.open as usize].sealed = true;
            // One free segment is kept for the survivors of a merge, which frees more.
            if self.free.len() <= self.layout.groups {
                self.merge(now_ms);
            }
            self.open = self.free.pop().expect("a merge frees segments");
        }
        self.append(self.open, number);
        self.entries[number as usize].stored = true;
        self.stored += 1;
        self.live_bytes += u64::from(bytes);
        self.score.bytes_put += u64::from(bytes);
        true
    }

    fn merge(&mut self, now_ms: u64) {
        if self.policy == Policy::Cost {
            self.ghosts.resize(self.stored);
        }
        let sealed: Vec<u32> =
            (0..self.segments.len() as u32).filter(|&segment| self.segments[segment as usize].sealed).collect();
        let facts: Vec<SegmentFacts> = sealed.into_iter().map(|segment| self.facts(segment, now_ms)).collect();
        for victims in choose_victims(self.policy, &facts, self.layout.groups, self.layout.per_group) {
            let mut candidates = Vec::new();
            for &victim in &victims {
                for number in std::mem::take(&mut self.segments[victim as usize]).numbers {
                    let rank = self.rank(number, now_ms);
                    candidates.push(Candidate { rank, bytes: self.record_bytes(number), index: number });
                }
            }
            let kept = choose_keepers(&mut candidates, u64::from(self.layout.segment_bytes));
            let target = self.free.pop().expect("one is kept free for survivors");
            self.segments[target as usize].sealed = true;
            for keeper in &candidates[..kept] {
                self.append(target, keeper.index);
                self.score.bytes_merged += u64::from(keeper.bytes);
            }
            for lost in &candidates[kept..] {
                let entry = &mut self.entries[lost.index as usize];
                entry.stored = false;
                self.ghosts.remember(hash(lost.index), entry.frequency);
                self.stored -= 1;
                self.live_bytes -= u64::from(lost.bytes);
            }
            self.free.extend(victims);
        }
    }

    fn facts(&mut self, segment: u32, now_ms: u64) -> SegmentFacts {
        let Segment { numbers, bytes, .. } = self.segments[segment as usize].clone();
        SegmentFacts {
            segment,
            capacity_bytes: self.layout.segment_bytes,
            live_bytes: bytes,
            rank_sum: numbers.iter().map(|&number| f64::from(self.rank(number, now_ms))).sum(),
            ranked: numbers.len() as u32,
            unevictable: 0,
        }
    }

    fn append(&mut self, segment: u32, number: u32) {
        let bytes = self.record_bytes(number);
        let segment = &mut self.segments[segment as usize];
        segment.numbers.push(number);
        segment.bytes += bytes;
        assert!(segment.bytes <= self.layout.segment_bytes, "a segment overflows");
    }

    fn rank(&mut self, number: u32, now_ms: u64) -> f32 {
        let object = self.trace.objects[number as usize];
        let facts = Facts {
            idle_ms: self.idle_ms(number, now_ms),
            frequency: self.counter(number, now_ms),
            ttl_ms: None,
            bytes: object.bytes,
            cost: object.cost_us as f32,
        };
        rank(self.policy, &facts, self.random.next())
    }

    fn counter(&self, number: u32, now_ms: u64) -> u8 {
        let counter = self.entries[number as usize].frequency;
        match self.policy {
            Policy::AllkeysLfu | Policy::VolatileLfu => {
                frequency::decayed(counter, self.idle_ms(number, now_ms), DECAY_MS_PER_STEP)
            }
            Policy::AllkeysLru
            | Policy::VolatileLru
            | Policy::AllkeysRandom
            | Policy::VolatileRandom
            | Policy::VolatileTtl
            | Policy::NoEviction
            | Policy::Cost => counter,
        }
    }

    fn idle_ms(&self, number: u32, now_ms: u64) -> u32 {
        u32::try_from(now_ms - self.entries[number as usize].used_at_ms).unwrap_or(u32::MAX)
    }

    fn record_bytes(&self, number: u32) -> u32 {
        (self.trace.objects[number as usize].bytes + OVERHEAD_BYTES).next_multiple_of(8)
    }
}

/// Stands in for the hash of a key.
fn hash(number: u32) -> u64 {
    (u64::from(number) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
