//! What runs beside the commands: making room, expiry, compaction, verification. All of it gathers from the index, stripe by stripe,
//! under one short lock at a time; the segments are never scanned.

use crate::api::WriteError;
use crate::hash::{KeyHash, STRIPES};
use crate::shard::Shard;
use crate::slot::{Slot, SlotKind};
use crate::txn::Txn;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use sutra_eviction::{Candidate, Facts, Policy, SegmentFacts, choose_compaction, choose_keepers, choose_victims};
use sutra_eviction::{evicts, frequency, needs_record, rank};
use sutra_mmap_store::{Location, SegmentPhase, SegmentState};

/// Groups of segments merged in one round: one scan of the index serves them all. With many groups in a small memory the last are less
/// well chosen, hence one for each so many segments.
const SEGMENTS_PER_GROUP: usize = 256;
const GROUPS_PER_ROUND_MAX: usize = 8;
/// Rounds after which making room gives up.
const ROUNDS_MAX: usize = 64;
/// Slots that an expiry pass looks at in one tick.
const EXPIRY_SLOTS_PER_TICK: usize = 400_000;
/// Under a policy that needs a record's metadata, this many records of a segment are looked at to judge it.
const RECORDS_SAMPLED_PER_SEGMENT: u64 = 32;
/// Below the memory limit, dead bytes may take as much as the live ones, or an eighth of the limit within these bounds: what is
/// overwritten fast enough dies with its whole segment, and then nothing is copied.
const DEAD_BYTES_MIN: u64 = 64 << 20;
const DEAD_BYTES_MAX: u64 = 512 << 20;
/// Rounds of compaction in one tick.
const COMPACTION_ROUNDS_PER_TICK: usize = 4;
/// Groups compacted in one round. Nothing is evicted, so there is no need to choose carefully.
const COMPACTION_GROUPS_PER_ROUND: usize = 8;
/// Bytes of records that are checked against their CRC in one tick after a restart.
const VERIFY_BYTES_PER_TICK: u64 = 128 << 20;

/// Where the rolling passes stand.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    expiry_stripe: usize,
    random: u64,
    verified_entries: u64,
    idle_low_water: u64,
    ticks: u64,
    /// Expired entries are left to be found by whoever asks for them (DEBUG SET-ACTIVE-EXPIRE 0).
    expiry_paused: bool,
}

/// What one tick did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TickReport {
    /// Entries removed because they had expired.
    pub expired: u64,
    /// Segments that were freed.
    pub segments_freed: u64,
    /// Whether the log has grown so much that [`Shard::checkpoint`] should be called.
    pub checkpoint_due: bool,
}

/// An entry gathered for a merge.
#[derive(Clone, Copy)]
struct Gathered {
    db: u8,
    hash: KeyHash,
    location: Location,
    rank: f32,
    /// Bytes of the record; 0: not looked at, since its rank did not need it.
    bytes: u32,
}

#[derive(Clone, Copy, Default)]
struct SegmentTally {
    entries: u64,
    expired: u64,
    rank_sum: f64,
    ranked: u32,
    unevictable: u32,
}

impl Shard {
    // ---- room ----

    /// Sees to it that `incoming_bytes` more can be stored within the limits, evicting if the policy allows. Cheap while there is room.
    ///
    /// # Errors
    /// [`WriteError::OutOfMemory`] if there is no room and nothing may or can be evicted; [`WriteError::Unavailable`] if the log or store
    /// has failed.
    pub fn make_room(&self, incoming_bytes: u64, now_ms: u64) -> Result<(), WriteError> {
        if self.is_full_of_entries() {
            self.make_room_for_entry(now_ms)?;
        }
        if self.has_room(incoming_bytes) { Ok(()) } else { self.make_room_slowly(incoming_bytes, now_ms) }
    }

    fn has_room(&self, incoming_bytes: u64) -> bool {
        // A large value gets a segment of its own, rounded up: an eighth more than its bytes is on the safe side.
        self.free_room() >= incoming_bytes + incoming_bytes / 8 + self.reserve_bytes()
    }

    /// Room kept for merges, which write before they free.
    fn reserve_bytes(&self) -> u64 {
        u64::from(self.segment_bytes)
    }

    /// Tells the store what is left for it of the memory limit, and keeps it from spreading over more than it needs: beyond a share of dead
    /// bytes, segments are compacted and used again rather than new ones made. Returns whether the memory limit itself is what binds.
    pub(crate) fn apply_memory_limit(&self) -> bool {
        let hard = self.hard_limit();
        let live = self.store.live_bytes();
        let soft = live + self.dead_bytes_allowed(live) + self.reserve_bytes() * 4;
        self.set_store_limit(hard);
        self.soft_limit.store(hard.min(soft), Ordering::Relaxed);
        hard <= soft
    }

    /// Bytes of segments in use.
    fn bytes_in_use(&self) -> u64 {
        self.store_limit.load(Ordering::Relaxed).saturating_sub(self.store.free_bytes())
    }

    /// Bytes of segments that may still come into use before room is made.
    fn free_room(&self) -> u64 {
        self.soft_limit.load(Ordering::Relaxed).saturating_sub(self.bytes_in_use())
    }

    /// What the memory limit leaves for segments.
    fn hard_limit(&self) -> u64 {
        self.max_memory.load(Ordering::Relaxed).saturating_sub(self.memory_beside_segments())
    }

    fn set_store_limit(&self, bytes: u64) {
        self.store_limit.store(bytes, Ordering::Relaxed);
        self.store.set_limit_bytes(bytes);
    }

    fn dead_bytes_allowed(&self, live_bytes: u64) -> u64 {
        let share = self.max_memory.load(Ordering::Relaxed) / 8;
        live_bytes.max(share.clamp(DEAD_BYTES_MIN, DEAD_BYTES_MAX))
    }

    pub(crate) fn memory_beside_segments(&self) -> u64 {
        let index = u64::try_from(self.index_bytes.load(Ordering::Relaxed)).unwrap_or(0);
        let ghosts = self.ghosts.lock().unwrap_or_else(PoisonError::into_inner).bytes() as u64;
        let log = self.log.as_ref().map_or(0, |log| log.buffered_bytes() as u64);
        let meaning = self.meaning_bytes();
        index
            + ghosts
            + log
            + meaning
            + self.tracking.bytes()
            + self.heap_bytes.load(Ordering::Relaxed)
            + self.outside_bytes.load(Ordering::Relaxed)
    }

    #[cold]
    fn make_room_slowly(&self, incoming_bytes: u64, now_ms: u64) -> Result<(), WriteError> {
        let mut maintenance = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        let policy = self.policy();
        for round in 0..ROUNDS_MAX {
            let limit_binds = self.apply_memory_limit();
            if self.has_room(incoming_bytes) {
                return Ok(());
            }
            let mut freed = 0;
            if !limit_binds {
                // One round of compaction; if that does not help, the store may spread up to the memory limit until the next tick.
                self.merge(&mut maintenance, now_ms, false);
                if !self.freed_segments().is_empty() {
                    self.sync()?;
                }
                self.apply_memory_limit();
                if !self.has_room(incoming_bytes) {
                    self.soft_limit.store(self.hard_limit(), Ordering::Relaxed);
                }
                if self.has_room(incoming_bytes) {
                    return Ok(());
                }
                freed += self.merge(&mut maintenance, now_ms, evicts(policy));
            } else if evicts(policy) {
                if self.heap_bytes.load(Ordering::Relaxed) > 0 {
                    freed += self.evict_heap(now_ms);
                }
                if freed == 0 {
                    freed += self.merge(&mut maintenance, now_ms, true);
                }
            } else {
                freed += self.merge(&mut maintenance, now_ms, false);
            }
            if !self.freed_segments().is_empty() {
                self.sync()?;
            }
            self.shrink();
            if freed == 0 && round > 0 {
                break;
            }
        }
        self.soft_limit.store(self.hard_limit(), Ordering::Relaxed);
        if self.has_room(incoming_bytes) { Ok(()) } else { Err(WriteError::OutOfMemory) }
    }

    /// The time when Redis's `maxmemory` would be in force: changes the limit and applies it.
    pub fn set_max_memory(&self, bytes: u64) {
        self.max_memory.store(bytes, Ordering::Relaxed);
        self.apply_memory_limit();
    }

    /// Changes the limit on entries; 0: none.
    pub fn set_max_entries(&self, entries: u64) {
        self.max_entries.store(entries, Ordering::Relaxed);
    }

    /// What the embedding program uses on the shard's account (client buffers), in bytes.
    pub fn set_outside_bytes(&self, bytes: u64) {
        self.outside_bytes.store(bytes, Ordering::Relaxed);
    }

    // ---- ranks ----

    pub(crate) fn slot_rank(
        &self,
        txn: &Txn<'_>,
        stripe: u8,
        policy: Policy,
        slot: Slot,
        now_ms: u64,
        random: u32,
    ) -> f32 {
        let (ttl_ms, bytes, cost) = if needs_record(policy) || slot.kind() == SlotKind::Heap {
            txn.slot_facts(stripe, slot, now_ms)
        } else {
            (None, 1, 1.0)
        };
        let idle_ms = u32::try_from(slot.idle_ms(now_ms)).unwrap_or(u32::MAX);
        let frequency = match policy {
            Policy::AllkeysLfu | Policy::VolatileLfu => {
                frequency::decayed(slot.frequency(), idle_ms, self.frequency_decay_ms())
            }
            Policy::AllkeysLru
            | Policy::VolatileLru
            | Policy::AllkeysRandom
            | Policy::VolatileRandom
            | Policy::VolatileTtl
            | Policy::NoEviction
            | Policy::Cost => slot.frequency(),
        };
        rank(policy, &Facts { idle_ms, frequency, ttl_ms, bytes, cost }, random)
    }

    pub(crate) fn remember(&self, hash: KeyHash, frequency: u8) {
        if self.policy() == Policy::Cost {
            self.ghosts.lock().unwrap_or_else(PoisonError::into_inner).remember(hash.to_u64(), frequency);
        }
    }

    // ---- merging ----

    /// One round of rank-merge. With `evict` the least worthy segments are merged and most of their entries dropped; without, the ones
    /// with most dead bytes are, and every entry is kept. Returns bytes of segments freed (reusable after the next sync).
    pub(crate) fn merge(&self, maintenance: &mut Maintenance, now_ms: u64, evict: bool) -> u64 {
        let policy = if evict { self.policy() } else { Policy::NoEviction };
        // The list is taken before the index is scanned: a record of a sealed segment was appended before this moment by a transaction
        // that holds its stripe until the slot is there, so the scan misses none.
        let sealed: Vec<SegmentState> =
            self.store.segments().into_iter().filter(|segment| segment.phase == SegmentPhase::Sealed).collect();
        let tallies = self.tally_segments(policy, &sealed, now_ms, maintenance.next_random() as u32);
        let mut freed = 0;
        let mut facts = Vec::new();
        for segment in &sealed {
            let tally = tallies[usize::from(segment.id)];
            if tally.entries == 0 {
                freed += u64::from(segment.capacity_bytes);
                self.store.free(segment.id);
            } else if !segment.dedicated && segment.capacity_bytes == self.segment_bytes {
                let live = u64::from(segment.live_bytes) * (tally.entries - tally.expired) / tally.entries;
                facts.push(SegmentFacts {
                    segment: u32::from(segment.id),
                    capacity_bytes: segment.capacity_bytes,
                    live_bytes: u32::try_from(live).unwrap_or(u32::MAX),
                    rank_sum: tally.rank_sum,
                    ranked: tally.ranked,
                    unevictable: tally.unevictable,
                });
            }
        }
        if freed > 0 && !evict {
            return freed;
        }
        let groups_max = (facts.len() / SEGMENTS_PER_GROUP).clamp(1, GROUPS_PER_ROUND_MAX);
        let groups = if evict {
            choose_victims(policy, &facts, groups_max, sutra_eviction::VICTIMS_PER_GROUP)
        } else {
            choose_compaction(&facts, COMPACTION_GROUPS_PER_ROUND)
        };
        let worst_rank = groups.iter().flatten().map(|id| mean_rank(&tallies[*id as usize])).fold(f64::NAN, f64::max);
        if evict {
            for segment in sealed.iter().filter(|segment| segment.dedicated) {
                let tally = &tallies[usize::from(segment.id)];
                let colder = groups.is_empty() || mean_rank(tally) <= worst_rank;
                if tally.entries > 0 && tally.unevictable == 0 && colder {
                    freed += self.drop_segment(segment, now_ms);
                    if groups.is_empty() {
                        break;
                    }
                }
            }
        }
        if groups.is_empty() {
            return freed;
        }
        self.tally.merges.fetch_add(groups.len() as u64, Ordering::Relaxed);
        let gathered = self.gather(policy, &groups, now_ms, maintenance.next_random() as u32);
        for (group, entries) in groups.iter().zip(gathered) {
            let average = average_bytes(group, &sealed, &tallies);
            if !self.merge_group(entries, average, evict, now_ms) {
                break;
            }
            for id in group {
                let id = *id as u16;
                freed += u64::from(self.segment_bytes);
                self.store.free(id);
            }
            freed = freed.saturating_sub(u64::from(self.segment_bytes));
        }
        freed.max(1)
    }

    fn tally_segments(&self, policy: Policy, sealed: &[SegmentState], now_ms: u64, random: u32) -> Vec<SegmentTally> {
        let mut tallies = vec![SegmentTally::default(); 1 << 16];
        let entries = u64::try_from(self.entries.load(Ordering::Relaxed)).unwrap_or(0);
        let per_segment = entries / (sealed.len() as u64).max(1);
        let mask = (per_segment / RECORDS_SAMPLED_PER_SEGMENT).max(1).next_power_of_two() as u32 - 1;
        let sampled = needs_record(policy);
        for stripe in 0..STRIPES {
            let txn = Txn::begin_stripe(self, stripe as u8, now_ms);
            txn.for_each_database(stripe as u8, |_, database| {
                database.table.for_each(|_, slot| {
                    if !slot.kind().is_record() {
                        return;
                    }
                    let tally = &mut tallies[usize::from(Location::from_bits(slot.location()).segment())];
                    tally.entries += 1;
                    if slot.expiry_hint().may_be_expired(now_ms) {
                        tally.expired += 1;
                    } else if !sampled
                        || slot.hash() & mask == random & mask
                        || per_segment < RECORDS_SAMPLED_PER_SEGMENT
                    {
                        let value = self.slot_rank(&txn, stripe as u8, policy, slot, now_ms, random ^ slot.hash());
                        if value.is_finite() {
                            tally.rank_sum += f64::from(value);
                            tally.ranked += 1;
                        } else {
                            tally.unevictable += 1;
                        }
                    }
                });
            });
        }
        tallies
    }

    fn gather(&self, policy: Policy, groups: &[Vec<u32>], now_ms: u64, random: u32) -> Vec<Vec<Gathered>> {
        let mut group_of = vec![u8::MAX; 1 << 16];
        for (index, group) in groups.iter().enumerate() {
            group.iter().for_each(|id| group_of[*id as usize] = index as u8);
        }
        let mut gathered = vec![Vec::new(); groups.len()];
        for stripe in 0..STRIPES {
            let txn = Txn::begin_stripe(self, stripe as u8, now_ms);
            txn.for_each_database(stripe as u8, |db, database| {
                database.table.for_each(|_, slot| {
                    if !slot.kind().is_record() {
                        return;
                    }
                    let location = Location::from_bits(slot.location());
                    let group = group_of[usize::from(location.segment())];
                    if group != u8::MAX {
                        let rank = self.slot_rank(&txn, stripe as u8, policy, slot, now_ms, random ^ slot.hash());
                        let hash = KeyHash { stripe: stripe as u8, slot: slot.hash() };
                        let bytes = if needs_record(policy) { txn.slot_facts(stripe as u8, slot, now_ms).1 } else { 0 };
                        gathered[usize::from(group)].push(Gathered { db, hash, location, rank, bytes });
                    }
                });
            });
        }
        gathered
    }

    /// Moves the entries worth keeping into one segment and removes the others. False if no segment could be had for them.
    fn merge_group(&self, entries: Vec<Gathered>, average_bytes: u32, evict: bool, now_ms: u64) -> bool {
        let Ok(mut destination) = self.store.open_destination(0) else { return false };
        let mut kept = vec![true; entries.len()];
        if evict {
            let mut candidates: Vec<Candidate> = entries
                .iter()
                .enumerate()
                .map(|(index, entry)| Candidate {
                    rank: entry.rank,
                    bytes: if entry.bytes == 0 { average_bytes } else { entry.bytes },
                    index: index as u32,
                })
                .collect();
            let keep = choose_keepers(&mut candidates, u64::from(destination.room_bytes()));
            candidates[keep..].iter().for_each(|candidate| kept[candidate.index as usize] = false);
        }
        // Entries were gathered stripe by stripe: one lock and one frame serve all of a stripe.
        let mut start = 0;
        while start < entries.len() {
            let stripe = entries[start].hash.stripe;
            let end = start + entries[start..].iter().take_while(|entry| entry.hash.stripe == stripe).count();
            let mut txn = Txn::begin_stripe(self, stripe, now_ms);
            for (entry, keep) in entries[start..end].iter().zip(&kept[start..end]) {
                let mut done = false;
                if *keep || entry.rank.is_infinite() {
                    match txn.move_record(entry.db, entry.hash, entry.location, &mut destination) {
                        Moved::To(bytes) => {
                            self.tally.merged_bytes.fetch_add(u64::from(bytes), Ordering::Relaxed);
                            done = true;
                        }
                        Moved::Gone => done = true,
                        Moved::Expired => {
                            self.tally.expired.fetch_add(1, Ordering::Relaxed);
                            done = true;
                        }
                        Moved::NoRoom if !evict || entry.rank.is_infinite() => {
                            // Nothing may be dropped: the rest goes into a further segment.
                            match self.store.open_destination(0) {
                                Ok(next) => destination = next,
                                Err(_) => return false,
                            }
                            done = !matches!(
                                txn.move_record(entry.db, entry.hash, entry.location, &mut destination),
                                Moved::NoRoom
                            );
                        }
                        Moved::NoRoom => {}
                    }
                }
                if !done
                    && let Some(frequency) =
                        txn.remove_slot_at(entry.db, entry.hash, entry.location.to_bits(), SlotKind::Record)
                {
                    self.tally.evicted_memory.fetch_add(1, Ordering::Relaxed);
                    self.remember(entry.hash, frequency);
                }
            }
            drop(txn);
            start = end;
        }
        true
    }

    /// Evicts the one entry of a dedicated segment.
    fn drop_segment(&self, segment: &SegmentState, now_ms: u64) -> u64 {
        let gathered = self.gather(Policy::AllkeysRandom, &[vec![u32::from(segment.id)]], now_ms, 0);
        for entry in gathered.into_iter().flatten() {
            let mut txn = Txn::begin_stripe(self, entry.hash.stripe, now_ms);
            if txn.remove_slot_at(entry.db, entry.hash, entry.location.to_bits(), SlotKind::Record).is_some() {
                self.tally.evicted_memory.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.store.free(segment.id);
        u64::from(segment.capacity_bytes)
    }

    // ---- the tick ----

    /// Does a bounded share of the standing work: removes expired entries, keeps some room free, compacts, gives memory back, checks
    /// records after a restart. Call it about ten times a second.
    pub fn tick(&self, now_ms: u64) -> TickReport {
        let mut report = TickReport::default();
        let mut maintenance = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        maintenance.ticks += 1;
        self.drop_damaged(now_ms);
        if !maintenance.expiry_paused {
            report.expired = self.expire(&mut maintenance, now_ms, EXPIRY_SLOTS_PER_TICK);
        }
        if self.failure().is_none() {
            let limit_binds = self.apply_memory_limit();
            for _ in 0..COMPACTION_ROUNDS_PER_TICK {
                let live = self.store.live_bytes();
                if self.store.dead_bytes() <= self.dead_bytes_allowed(live) / 4 * 3 {
                    break;
                }
                let freed = self.merge(&mut maintenance, now_ms, false);
                report.segments_freed += freed / u64::from(self.segment_bytes);
                if freed <= u64::from(self.segment_bytes) {
                    break;
                }
            }
            // Room made ahead spares a command the wait, but is not filled: with many segments it goes unnoticed, with few it costs hits.
            let ahead = self.store_limit.load(Ordering::Relaxed) / 512;
            if limit_binds && self.free_room() < self.reserve_bytes() + ahead && evicts(self.policy()) {
                report.segments_freed += self.merge(&mut maintenance, now_ms, true) / u64::from(self.segment_bytes);
                let _ = self.sync();
            }
            self.give_back(&mut maintenance);
        }
        self.verify(&mut maintenance, now_ms);
        self.tick_tracking(|| maintenance.next_random());
        drop(maintenance);
        self.evict_excess_entries(now_ms);
        if let Err(error) = self.tick_meaning(now_ms) {
            tracing::warn!(%error, "invalidations could not be completed");
        }
        report.checkpoint_due = self.checkpoint_due.load(Ordering::Relaxed);
        report
    }

    /// Whether [`Shard::tick`] removes expired entries. They are never served in either case; for tests of that.
    pub fn set_active_expiry(&self, active: bool) {
        self.maintenance.lock().unwrap_or_else(PoisonError::into_inner).expiry_paused = !active;
    }

    /// Unmaps idle segments that nobody needed for a while: the fewest that there were in a window of time.
    fn give_back(&self, maintenance: &mut Maintenance) {
        const TICKS_PER_WINDOW: u64 = 100;
        self.shrink();
        maintenance.idle_low_water = maintenance.idle_low_water.min(self.idle_bytes());
        if maintenance.ticks.is_multiple_of(TICKS_PER_WINDOW) {
            let spare = maintenance.idle_low_water.saturating_sub(self.reserve_bytes() * 4);
            if spare > 0 {
                self.shrink_to(self.store.bytes_mapped().saturating_sub(spare));
            }
            maintenance.idle_low_water = self.idle_bytes();
        }
    }

    /// Bytes of segments that are mapped and hold nothing.
    fn idle_bytes(&self) -> u64 {
        self.store.bytes_mapped().saturating_sub(self.bytes_in_use())
    }

    /// Removes idle segments while more is mapped than the memory limit allows.
    fn shrink(&self) {
        let hard = self.hard_limit();
        if self.store.bytes_mapped() > hard {
            self.shrink_to(hard);
        }
    }

    /// Removes idle segments while more than `bytes` is mapped. Appends meanwhile borrow from the store's overdraft.
    fn shrink_to(&self, bytes: u64) {
        self.store.set_limit_bytes(bytes);
        if let Err(error) = self.store.shrink() {
            tracing::warn!(%error, "a free segment could not be given back");
        }
        self.store.set_limit_bytes(self.store_limit.load(Ordering::Relaxed));
    }

    /// Looks at the next slots for entries that have expired, and keeps old clocks from wrapping. Returns how many were removed.
    fn expire(&self, maintenance: &mut Maintenance, now_ms: u64, slots: usize) -> u64 {
        let mut expired = 0;
        let mut looked = 0;
        for _ in 0..STRIPES {
            let stripe = maintenance.expiry_stripe as u8;
            maintenance.expiry_stripe = (maintenance.expiry_stripe + 1) % STRIPES;
            let mut txn = Txn::begin_stripe(self, stripe, now_ms);
            looked += txn.stripe_len(stripe) + 16;
            expired += txn.expire_stripe(stripe);
            drop(txn);
            if looked >= slots {
                break;
            }
        }
        self.tally.expired.fetch_add(expired, Ordering::Relaxed);
        expired
    }

    fn drop_damaged(&self, now_ms: u64) {
        let damaged = std::mem::take(&mut *self.damaged.lock().unwrap_or_else(PoisonError::into_inner));
        for (db, hash, location) in damaged {
            let mut txn = Txn::begin_stripe(self, hash.stripe, now_ms);
            if txn.remove_slot_at(db, hash, location.to_bits(), SlotKind::Record).is_some() {
                self.tally.damaged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Checks records of segments that were mapped at the start against their CRC, a bounded number of bytes at a time.
    fn verify(&self, maintenance: &mut Maintenance, now_ms: u64) {
        let pending: Vec<u16> = self
            .store
            .segments()
            .iter()
            .filter(|segment| !segment.verified)
            .map(|segment| segment.id)
            .take((VERIFY_BYTES_PER_TICK / u64::from(self.segment_bytes)).max(1) as usize)
            .collect();
        if pending.is_empty() {
            return;
        }
        let group: Vec<u32> = pending.iter().map(|id| u32::from(*id)).collect();
        let gathered = self.gather(Policy::NoEviction, &[group], now_ms, 0);
        let pin = self.store.pin();
        let mut counts = vec![(0u32, 0u32); 1 << 16];
        for entry in gathered.into_iter().flatten() {
            maintenance.verified_entries += 1;
            match self.store.record(&pin, entry.location) {
                Some(record)
                    if record.verify()
                        && record.expires_at_ms().is_ok()
                        && KeyHash::of(record.key(), self.seed) == entry.hash =>
                {
                    let (live, tail) = &mut counts[usize::from(entry.location.segment())];
                    *live += record.bytes();
                    *tail = (*tail).max(entry.location.offset_bytes() + record.bytes());
                }
                Some(_) | None => self.report_damage(entry.db, entry.hash, entry.location),
            }
        }
        drop(pin);
        self.drop_damaged(now_ms);
        for id in pending {
            let (live, tail) = counts[usize::from(id)];
            // Sizes were estimated when the segment was adopted; now they are known.
            let _ = self.store.adopt_segment(id, live, tail);
            self.store.mark_verified(id);
        }
    }
}

/// What became of a record that a merge wanted to move.
pub(crate) enum Moved {
    /// It has a new location; so many bytes.
    To(u32),
    /// It was changed or removed meanwhile.
    Gone,
    /// It had expired and was removed.
    Expired,
    /// The destination is full.
    NoRoom,
}

impl Maintenance {
    fn next_random(&mut self) -> u64 {
        next_random(&mut self.random)
    }
}

/// splitmix64 (Steele, Lea, Flood 2014).
pub(crate) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

fn mean_rank(tally: &SegmentTally) -> f64 {
    if tally.ranked == 0 { 0.0 } else { tally.rank_sum / f64::from(tally.ranked) }
}

fn average_bytes(group: &[u32], sealed: &[SegmentState], tallies: &[SegmentTally]) -> u32 {
    let (mut bytes, mut entries) = (0u64, 0u64);
    for segment in sealed.iter().filter(|segment| group.contains(&u32::from(segment.id))) {
        bytes += u64::from(segment.live_bytes);
        entries += tallies[usize::from(segment.id)].entries;
    }
    u32::try_from(bytes / entries.max(1)).unwrap_or(u32::MAX).max(1)
}
