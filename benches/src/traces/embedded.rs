//! A trace through the shard as a library: with each object's cost, and with the store's own counters.
//!
//! Time is the trace's: `rate` requests make a second, however long they take.

use super::replay::Values;
use super::trace::{Hits, Trace};
use crate::process::Scratch;
use crate::random::{KEY_BYTES, key};
use std::error::Error;
use sutra_eviction::Policy;
use sutra_shard::{MemoryReport, Options, Put, Scope, Shard, ShardStats, WriteError};

/// When the replay begins, in Unix milliseconds: any moment.
const START_MS: u64 = 1_800_000_000_000;
const TICK_MS: u64 = 100;
const SYNC_MS: u64 = 1000;
/// Bytes that a record and its slot need beside key and value, for asking for room.
const RECORD_BYTES: u64 = 64;

/// What a replay showed.
#[derive(Debug)]
pub(super) struct Embedded {
    pub(super) hits: Hits,
    pub(super) refused: u64,
    pub(super) stats: ShardStats,
    pub(super) memory: MemoryReport,
}

pub(super) fn replay(
    trace: &Trace,
    values: &Values,
    policy: Policy,
    max_memory_bytes: u64,
    rate: u64,
) -> Result<Embedded, Box<dyn Error>> {
    let scratch = Scratch::new("shard")?;
    let mut options = Options::new(scratch.path().join("data"));
    options.limits.max_memory_bytes = max_memory_bytes;
    options.limits.policy = policy;
    options.seed = 0x5EED;
    let (shard, _) = Shard::open(&options, START_MS)?;
    let mut hits = Hits::default();
    let mut refused = 0;
    let (mut next_tick, mut next_sync) = (START_MS + TICK_MS, START_MS + SYNC_MS);
    for (index, &number) in trace.requests.iter().enumerate() {
        let now_ms = START_MS + index as u64 * 1000 / rate;
        if now_ms >= next_tick {
            next_tick = now_ms + TICK_MS;
            if shard.tick(now_ms).checkpoint_due {
                shard.checkpoint(now_ms)?;
            }
        }
        if now_ms >= next_sync {
            next_sync = now_ms + SYNC_MS;
            shard.sync()?;
        }
        let name = key(u64::from(number));
        let object = trace.object(number);
        let hit = shard.begin(Scope::Key(&name), now_ms).get(0, &name).is_some();
        hits.count(object, hit);
        if !hit {
            match put(&shard, &name, values.of(trace, number), object.cost_us, now_ms) {
                Ok(()) => {}
                Err(WriteError::OutOfMemory) => refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(Embedded { hits, refused, stats: shard.stats(), memory: shard.memory() })
}

fn put(shard: &Shard, name: &[u8], value: &[u8], cost_us: u32, now_ms: u64) -> Result<(), WriteError> {
    shard.make_room(value.len() as u64 + KEY_BYTES as u64 + RECORD_BYTES, now_ms)?;
    let mut txn = shard.begin(Scope::Key(name), now_ms);
    txn.put(0, name, value, Put { expires_at_ms: None, cost: Some(cost_us as f32) })?;
    match txn.commit()? {
        Some(lsn) => shard.flush_log(lsn),
        None => Ok(()),
    }
}
