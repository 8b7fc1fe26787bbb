//! Leases: who computes what is missing, and whether the answer is still wanted when it comes.

use super::annex::Annex;
use super::fault::Fault;
use super::space::Space;
use super::{LEASE_MS_MAX, MeaningError};
use crate::shard::Shard;
use crate::stripe::Stripe;
use crate::txn::Txn;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use sutra_hnsw_index::Query;

/// Changes of keys that a stripe remembers while leases are out.
const CHANGES_MAX: usize = 1024;

const STALE_UNKNOWN: &str = "the lease is unknown, has ended, or was granted for another key";
const STALE_CHANGED: &str = "the key was written or deleted since the lease was granted";
const STALE_INVALIDATED: &str = "an invalidation since the lease was granted covers the entry";
const STALE_FORGOTTEN: &str = "too much has happened since the lease was granted to know whether it concerns the entry";

/// What a caller is told who asks for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseGrant {
    /// The caller computes, and writes with this token.
    Granted {
        /// To be given with the write.
        token: String,
    },
    /// Another computes.
    Wait {
        /// Milliseconds after which that one's lease ends at the latest.
        ms: u64,
    },
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    token: u64,
    position: u64,
    granted_ms: u64,
    until_ms: u64,
    owner: u64,
}

/// The leases on keys of one stripe, and what changed in it while leases are out.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    by_key: HashMap<(u8, Box<[u8]>), Lease>,
    changes: VecDeque<(u64, u8, u32)>,
    /// Changes up to this position are forgotten.
    floor: u64,
}

impl Leases {
    /// The key of this hash changed at a position.
    pub(crate) fn note(&mut self, position: u64, db: u8, hash: u32) {
        if self.changes.len() == CHANGES_MAX
            && let Some((forgotten, ..)) = self.changes.pop_front()
        {
            self.floor = self.floor.max(forgotten);
        }
        self.changes.push_back((position, db, hash));
    }

    /// Everything changed: leases up to this position are stale.
    pub(crate) fn forget_before(&mut self, position: u64) {
        self.floor = self.floor.max(position);
        self.changes.clear();
    }

    fn changed_since(&self, position: u64, db: u8, hash: u32) -> bool {
        self.changes
            .iter()
            .rev()
            .take_while(|change| change.0 > position)
            .any(|change| (change.1, change.2) == (db, hash))
    }
}

/// Leases on questions, by space.
#[derive(Default)]
pub(crate) struct Questions(Mutex<Vec<Question>>);

struct Question {
    space: u32,
    db: u8,
    vector: Vec<u8>,
    lease: Lease,
}

impl Txn<'_> {
    /// A lease on a key of the transaction, for `ms` milliseconds, for a connection of this number. The caller has found no live entry.
    pub fn lease(&mut self, db: u8, key: &[u8], ms: u64, owner: u64) -> LeaseGrant {
        let now_ms = self.now_ms();
        let hash = self.hash_of(key);
        let shard = self.shard;
        let stripe = self.stripe_mut(hash.stripe);
        if let Some(lease) = stripe.leases.by_key.get(&(db, key.into()))
            && lease.until_ms > now_ms
        {
            shard.meaning.counts.leases_waited.fetch_add(1, Ordering::Relaxed);
            return LeaseGrant::Wait { ms: lease.until_ms - now_ms };
        }
        let lease = shard.new_lease(ms, owner, now_ms);
        if stripe.leases.by_key.insert((db, key.into()), lease).is_none() {
            shard.meaning.leases_out.fetch_add(1, Ordering::Relaxed);
        }
        LeaseGrant::Granted { token: name(&lease) }
    }

    /// Whether a write with this lease may be let in.
    pub(crate) fn check_lease(
        &self,
        db: u8,
        key: &[u8],
        token: &[u8],
        annex: &[u8],
        value: &[u8],
    ) -> Result<(), MeaningError> {
        let result = self.judge_lease(db, key, token, annex, value);
        if result.is_err() {
            self.shard.meaning.counts.stale_refused.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn judge_lease(&self, db: u8, key: &[u8], token: &[u8], annex: &[u8], value: &[u8]) -> Result<(), MeaningError> {
        let stale = |why| Err(MeaningError::Stale(why));
        let Some(token) = parse(token) else { return stale(STALE_UNKNOWN) };
        let hash = self.hash_of(key);
        let leases = &self.stripe(hash.stripe).leases;
        let of_key = leases.by_key.get(&(db, key.into())).filter(|lease| lease.token == token).copied();
        let Some(lease) = of_key.or_else(|| self.shard.question_lease(db, token)) else { return stale(STALE_UNKNOWN) };
        if lease.until_ms <= self.now_ms() {
            return stale(STALE_UNKNOWN);
        }
        if leases.changed_since(lease.position, db, hash.slot) {
            return stale(STALE_CHANGED);
        }
        let floor = self.shard.meaning.fence_floor.load(Ordering::Relaxed).max(leases.floor);
        if floor > lease.position {
            return stale(STALE_FORGOTTEN);
        }
        let annex = Annex::parse(annex);
        let history = self.shard.meaning.history.lock().unwrap_or_else(PoisonError::into_inner);
        let covered = !self.shard.meaning.planted.is(Fault::LeasesIgnoreInvalidations)
            && history
                .iter()
                .rev()
                .take_while(|predicate| predicate.position > lease.position)
                .any(|predicate| predicate.covers_new(db, key, annex.as_ref(), value, lease.granted_ms));
        if covered { stale(STALE_INVALIDATED) } else { Ok(()) }
    }

    /// Gives a lease back, on a key of the transaction or on a question; whether it was out.
    pub fn release_lease(&mut self, db: u8, key: &[u8], token: &[u8]) -> bool {
        let Some(token) = parse(token) else { return false };
        let hash = self.hash_of(key);
        let shard = self.shard;
        self.stripe_mut(hash.stripe).end_lease(shard, db, key, token) || shard.end_question(token)
    }
}

impl Stripe {
    fn end_lease(&mut self, shard: &Shard, db: u8, key: &[u8], token: u64) -> bool {
        let place = (db, Box::from(key));
        let is_this = self.leases.by_key.get(&place).is_some_and(|lease| lease.token == token);
        if is_this {
            self.leases.by_key.remove(&place);
            shard.leases_ended(1);
        }
        is_this
    }
}

impl Shard {
    /// A lease on a question: nobody else computes an answer to one that is at least `min` similar, for `ms` milliseconds.
    pub fn lease_meaning(
        &self,
        db: u8,
        space: &Space,
        (query, min): (&Query, f32),
        ms: u64,
        owner: u64,
        now_ms: u64,
    ) -> LeaseGrant {
        let mut questions = self.meaning.questions.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = questions.iter().find(|question| {
            question.space == space.id()
                && question.db == db
                && question.lease.until_ms > now_ms
                && query.similarity(&question.vector) >= min
        });
        if let Some(question) = same {
            self.meaning.counts.leases_waited.fetch_add(1, Ordering::Relaxed);
            return LeaseGrant::Wait { ms: question.lease.until_ms - now_ms };
        }
        let lease = self.new_lease(ms, owner, now_ms);
        let vector = query.values().iter().flat_map(|x| x.to_le_bytes()).collect();
        questions.push(Question { space: space.id(), db, vector, lease });
        self.meaning.leases_out.fetch_add(1, Ordering::Relaxed);
        LeaseGrant::Granted { token: name(&lease) }
    }

    /// Ends all leases of a connection that is closed.
    pub fn release_owner(&self, owner: u64) {
        if self.meaning.leases_out.load(Ordering::Relaxed) > 0 {
            self.end_leases(|lease| lease.owner == owner);
        }
    }

    pub(super) fn end_old_leases(&self, now_ms: u64) {
        if self.meaning.leases_out.load(Ordering::Relaxed) > 0 {
            self.end_leases(|lease| lease.until_ms <= now_ms);
        }
    }

    fn end_leases(&self, ends: impl Fn(&Lease) -> bool) {
        let mut ended = 0;
        for stripe in 0..=u8::MAX {
            let mut stripe = self.lock(stripe);
            let before = stripe.leases.by_key.len();
            if before > 0 {
                stripe.leases.by_key.retain(|_, lease| !ends(lease));
                ended += before - stripe.leases.by_key.len();
            }
        }
        let mut questions = self.meaning.questions.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = questions.len();
        questions.retain(|question| !ends(&question.lease));
        ended += before - questions.len();
        drop(questions);
        self.leases_ended(ended as u64);
    }

    fn new_lease(&self, ms: u64, owner: u64, now_ms: u64) -> Lease {
        self.meaning.counts.leases_granted.fetch_add(1, Ordering::Relaxed);
        let until_ms = now_ms.saturating_add(ms.clamp(1, LEASE_MS_MAX));
        let position = self.meaning.tick_position();
        // Positions begin anew with the process; the time keeps a token of an earlier one from being taken for a new one.
        let mut facts = [0; 16];
        facts[..8].copy_from_slice(&position.to_le_bytes());
        facts[8..].copy_from_slice(&now_ms.to_le_bytes());
        let token = xxhash_rust::xxh3::xxh3_64_with_seed(&facts, self.seed);
        Lease { token, position, granted_ms: now_ms, until_ms, owner }
    }

    fn question_lease(&self, db: u8, token: u64) -> Option<Lease> {
        let questions = self.meaning.questions.0.lock().unwrap_or_else(PoisonError::into_inner);
        questions
            .iter()
            .find(|question| question.db == db && question.lease.token == token)
            .map(|question| question.lease)
    }

    fn end_question(&self, token: u64) -> bool {
        let mut questions = self.meaning.questions.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = questions.len();
        questions.retain(|question| question.lease.token != token);
        let ended = before - questions.len();
        drop(questions);
        self.leases_ended(ended as u64);
        ended > 0
    }

    fn leases_ended(&self, n: u64) {
        self.meaning.leases_out.fetch_sub(n, Ordering::Relaxed);
    }
}

fn name(lease: &Lease) -> String {
    format!("{:016x}", lease.token)
}

fn parse(token: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(token).ok().filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}
