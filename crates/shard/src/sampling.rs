//! Entries that are evicted one by one, chosen among samples: under a limit on the number of entries, and on the heap, where there are no
//! segments to merge.
//!
//! A sample is a window of positions of a table, at a place that does not depend on the hashes in it: each entry is as likely to be
//! seen as any other, also in a stripe that holds few.

use crate::api::WriteError;
use crate::hash::{KeyHash, STRIPES};
use crate::maintenance::next_random;
use crate::shard::Shard;
use crate::slot::{ExpiryHint, Slot, SlotKind};
use crate::txn::Txn;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use sutra_eviction::{Policy, Pool, evicts};

/// Entries sampled for each that is evicted.
const SAMPLES: usize = 10;
/// Positions of a table that are looked at under one lock: two cache lines, so that two stripes make a sample.
const POSITIONS_PER_LOOK: usize = 8;
/// What one write evicts at most while there are more entries than are allowed, beside a share of the excess: so the limit can be lowered
/// without that a write waits for all of it, and is still reached however many entries a single write brings.
const EVICTED_PER_WRITE: u64 = 256;
const EXCESS_SHARE_PER_WRITE: u64 = 8;
/// What one tick evicts at most while there are more entries than are allowed.
const EVICTED_PER_TICK: u64 = 10_000;
/// Heap values evicted at most before segments are considered again.
const HEAP_VALUES_PER_ROUND: usize = 256;

/// Chooses entries that are evicted one by one: the candidates that are carried over from one eviction to the next.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    random: u64,
    candidates: Pool<Sampled>,
    /// By which the candidates were ranked; ranks of different policies do not compare.
    policy: Policy,
}

/// An entry found by sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sampled {
    db: u8,
    hash: KeyHash,
    location: u64,
    kind: SlotKind,
}

impl Shard {
    /// Whether a further entry would be one too many.
    #[inline]
    pub(crate) fn is_full_of_entries(&self) -> bool {
        let max = self.max_entries.load(Ordering::Relaxed);
        max != 0 && self.entries.load(Ordering::Relaxed) >= i64::try_from(max).unwrap_or(i64::MAX)
    }

    /// Evicts entries until there is place for one more, or as many as one write may be kept waiting for.
    ///
    /// # Errors
    /// [`WriteError::OutOfMemory`] if nothing may or can be evicted.
    #[cold]
    pub(crate) fn make_room_for_entry(&self, now_ms: u64) -> Result<(), WriteError> {
        let mut sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = EVICTED_PER_WRITE + self.excess_entries() / EXCESS_SHARE_PER_WRITE;
        let mut evicted = 0;
        while evicted < wanted && self.is_full_of_entries() {
            if !self.evict_one_entry(&mut sampler, now_ms) {
                // What was freed so far may be enough for others; for a limit that is still exceeded it is not.
                return Err(WriteError::OutOfMemory);
            }
            evicted += 1;
        }
        Ok(())
    }

    /// The tick's share of bringing the number of entries down to a limit that was lowered.
    pub(crate) fn evict_excess_entries(&self, now_ms: u64) {
        if self.excess_entries() == 0 {
            return;
        }
        let mut sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..EVICTED_PER_TICK {
            if self.excess_entries() == 0 || !self.evict_one_entry(&mut sampler, now_ms) {
                return;
            }
        }
    }

    /// How many entries there are beyond the limit.
    fn excess_entries(&self) -> u64 {
        let entries = u64::try_from(self.entries.load(Ordering::Relaxed)).unwrap_or(0);
        match self.max_entries.load(Ordering::Relaxed) {
            0 => 0,
            max => entries.saturating_sub(max),
        }
    }

    /// Evicts the least worthy of some sampled entries and of those carried over; whether there was one.
    fn evict_one_entry(&self, sampler: &mut Sampler, now_ms: u64) -> bool {
        let policy = self.policy();
        if !evicts(policy) {
            return false;
        }
        let Sampler { random, candidates, policy: ranked_by } = sampler;
        if *ranked_by != policy {
            candidates.clear();
            *ranked_by = policy;
        }
        self.sample(random, candidates, policy, now_ms);
        while let Some(worst) = candidates.take(|sampled| self.rank_now(sampled, policy, now_ms)) {
            if self.evict(worst, now_ms) {
                self.tally.evicted_entries.fetch_add(1, Ordering::Relaxed);
                return true;
            }
        }
        false
    }

    /// Evicts sampled heap values while they are the least worthy of a sample of all entries. Returns bytes freed.
    pub(crate) fn evict_heap(&self, now_ms: u64) -> u64 {
        let policy = self.policy();
        let before = self.heap_bytes.load(Ordering::Relaxed);
        let freed = || before.saturating_sub(self.heap_bytes.load(Ordering::Relaxed));
        let wanted = u64::from(self.segment_bytes);
        let alone = self.store.live_bytes() == 0;
        let mut sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..HEAP_VALUES_PER_ROUND {
            // A sample of its own each time: it decides between the heap and the segments by which of them holds the worst, and records
            // that were carried over would decide for the segments again and again, while a merge never takes them out.
            let mut candidates = Pool::new();
            self.sample(&mut sampler.random, &mut candidates, policy, now_ms);
            let Some(worst) = candidates.take(|sampled| self.rank_now(sampled, policy, now_ms)) else { break };
            if worst.kind != SlotKind::Heap && !alone {
                break;
            }
            if self.evict(worst, now_ms) {
                self.tally.evicted_memory.fetch_add(1, Ordering::Relaxed);
            }
            if freed() >= wanted {
                break;
            }
        }
        freed()
    }

    /// Offers sampled entries as candidates: [`SAMPLES`] that may be evicted, and fewer only if there are few.
    fn sample(&self, random: &mut u64, candidates: &mut Pool<Sampled>, policy: Policy, now_ms: u64) {
        let mut seen = 0;
        // Every stripe once in an order of chance: an odd stride comes by all of them.
        let order = next_random(random);
        let (first, stride) = (order as u8, (order >> 8) as u8 | 1);
        for step in 0..STRIPES {
            let stripe = first.wrapping_add(stride.wrapping_mul(step as u8));
            seen += self.sample_stripe(stripe, POSITIONS_PER_LOOK, next_random(random), candidates, policy, now_ms);
            if seen >= SAMPLES {
                return;
            }
        }
        if seen > 0 {
            return;
        }
        // Where few entries may be evicted, samples can miss them; before writes are refused for that, all are looked at.
        for step in 0..STRIPES {
            let stripe = first.wrapping_add(step as u8);
            if self.sample_stripe(stripe, usize::MAX, next_random(random), candidates, policy, now_ms) > 0 {
                return;
            }
        }
    }

    /// Offers the entries in a window of so many positions of each table of a stripe. Returns how many may be evicted.
    fn sample_stripe(
        &self,
        stripe: u8,
        positions: usize,
        number: u64,
        candidates: &mut Pool<Sampled>,
        policy: Policy,
        now_ms: u64,
    ) -> usize {
        let mut seen = 0;
        let txn = Txn::begin_stripe(self, stripe, now_ms);
        txn.for_each_database(stripe, |db, database| {
            let table = &database.table;
            let count = table.positions();
            if count == 0 {
                return;
            }
            let start = ((u128::from(number) * count as u128) >> 64) as usize;
            let positions = positions.min(count);
            let behind_the_end = (start + positions).saturating_sub(count);
            for (_, slot) in table.position_range(start, positions).chain(table.position_range(0, behind_the_end)) {
                if policy.spares_persistent() && slot.expiry_hint() == ExpiryHint::NONE {
                    continue;
                }
                let rank = self.slot_rank(&txn, stripe, policy, slot, now_ms, number as u32 ^ slot.hash());
                if rank.is_finite() {
                    seen += 1;
                    candidates.offer(Sampled::new(db, stripe, slot), rank);
                }
            }
        });
        seen
    }

    /// What a candidate is worth now; `None`: it is gone.
    fn rank_now(&self, sampled: Sampled, policy: Policy, now_ms: u64) -> Option<f32> {
        let Sampled { db, hash, location, kind } = sampled;
        let txn = Txn::begin_stripe(self, hash.stripe, now_ms);
        let table = &txn.stripe(hash.stripe).database(db)?.table;
        let slot = table.slot(table.find_exact(hash.slot, location, kind)?)?;
        // The lowest number of chance: under the policies that leave it to chance, whoever was drawn stays drawn.
        Some(self.slot_rank(&txn, hash.stripe, policy, slot, now_ms, 0))
    }

    /// Removes an entry, unless it has gone by itself.
    fn evict(&self, worst: Sampled, now_ms: u64) -> bool {
        let mut txn = Txn::begin_stripe(self, worst.hash.stripe, now_ms);
        let frequency = txn.remove_slot_at(worst.db, worst.hash, worst.location, worst.kind);
        drop(txn);
        if let Some(frequency) = frequency {
            self.remember(worst.hash, frequency);
        }
        frequency.is_some()
    }
}

impl Sampled {
    fn new(db: u8, stripe: u8, slot: Slot) -> Self {
        Self { db, hash: KeyHash { stripe, slot: slot.hash() }, location: slot.location(), kind: slot.kind() }
    }
}
