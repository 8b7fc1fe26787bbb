//! What the shard should hold, kept in the plainest way: a map of entries, a list of invalidations, and brute force.

use std::collections::{BTreeMap, BTreeSet};
use sutra_shard::{Metric, Quantization, SpaceOptions, glob};

/// How long an invalidation can be undone, by default.
const UNDO_WINDOW_MS: u64 = 60_000;

pub(crate) type Key = (u8, Vec<u8>);

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Held {
    Bytes(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
}

/// What a native write says of its entry.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Note {
    pub(crate) space: Option<u32>,
    /// As it is compared: rounded where the space rounds.
    pub(crate) vector: Option<Vec<f32>>,
    pub(crate) tags: Vec<Vec<u8>>,
    pub(crate) deps: Vec<(Vec<u8>, u64)>,
    pub(crate) meta: Option<Vec<u8>>,
    pub(crate) written_ms: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) held: Held,
    pub(crate) expires_at_ms: Option<u64>,
    pub(crate) note: Option<Note>,
    /// When it was written, counted in steps of the model.
    pub(crate) step: u64,
}

/// The conditions of an invalidation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) db: u8,
    pub(crate) space: Option<u32>,
    pub(crate) near: Option<(Vec<f32>, f32)>,
    pub(crate) tags: Vec<Vec<u8>>,
    pub(crate) glob: Option<Vec<u8>>,
    pub(crate) older_ms: Option<u64>,
    pub(crate) dep: Option<(Vec<u8>, u64)>,
    pub(crate) hold_ms: u64,
}

/// An invalidation that was carried out.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) lsn: u64,
    pub(crate) wish: Wish,
    pub(crate) at_ms: u64,
    pub(crate) step: u64,
    pub(crate) count: u64,
    pub(crate) undone: bool,
    /// It is swept later, by a tick.
    pub(crate) is_lazy: bool,
    /// What it removed, while that is remembered.
    kept: Option<Vec<(Key, Item)>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) token: String,
    pub(crate) key: Key,
    /// A lease on a question lets any key in.
    pub(crate) any_key: bool,
    pub(crate) granted_ms: u64,
    pub(crate) until_ms: u64,
    pub(crate) step: u64,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) items: BTreeMap<Key, Item>,
    pub(crate) done: Vec<Done>,
    pub(crate) leases: Vec<Lease>,
    /// Spaces that exist, by id.
    pub(crate) spaces: BTreeMap<u32, SpaceOptions>,
    changed: BTreeMap<Key, u64>,
    everything_changed: u64,
    pub(crate) step: u64,
    pub(crate) now_ms: u64,
}

/// What is expected of a write with a lease.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Judged {
    Fresh,
    Stale,
    /// The shard may refuse: a hash under this key may have expired without being asked for.
    Either,
}

impl Wish {
    pub(crate) fn names_only(&self) -> bool {
        self.space.is_none() && self.tags.is_empty() && self.older_ms.is_none() && self.dep.is_none()
    }

    pub(crate) fn meets(
        &self,
        spaces: &BTreeMap<u32, SpaceOptions>,
        key: &[u8],
        note: Option<&Note>,
        at_ms: u64,
    ) -> bool {
        let by_name = self.glob.as_ref().is_none_or(|pattern| glob::matches(pattern, key));
        let Some(note) = note else { return self.names_only() && by_name };
        by_name
            && self.space.is_none_or(|space| note.space == Some(space))
            && self.tags.iter().all(|tag| note.tags.contains(tag))
            && self.older_ms.is_none_or(|older| note.written_ms + older <= at_ms)
            && self.dep.as_ref().is_none_or(|(name, below)| note.deps.iter().any(|(n, v)| n == name && v < below))
            && self.near.as_ref().is_none_or(|(query, min)| {
                let metric = note.space.and_then(|space| spaces.get(&space)).map(|options| options.metric);
                metric.is_some_and(|metric| {
                    note.vector.as_ref().is_some_and(|vector| similarity(metric, query, vector) >= *min)
                })
            })
    }
}

impl Model {
    pub(crate) fn live(&self, key: &Key) -> Option<&Item> {
        self.items.get(key).filter(|item| item.expires_at_ms.is_none_or(|at| at > self.now_ms))
    }

    pub(crate) fn all_live(&self) -> impl Iterator<Item = (&Key, &Item)> {
        self.items.iter().filter(|(_, item)| item.expires_at_ms.is_none_or(|at| at > self.now_ms))
    }

    /// Forgets what has expired.
    pub(crate) fn expire(&mut self) {
        let now_ms = self.now_ms;
        self.items.retain(|_, item| item.expires_at_ms.is_none_or(|at| at > now_ms));
    }

    pub(crate) fn change(&mut self, key: &Key) {
        self.changed.insert(key.clone(), self.step);
    }

    pub(crate) fn set(&mut self, key: Key, held: Held, expires_at_ms: Option<u64>, note: Option<Note>) {
        self.change(&key);
        let step = self.step;
        self.items.insert(key, Item { held, expires_at_ms, note, step });
    }

    /// Whether a hold refuses this write.
    pub(crate) fn is_held(&self, key: &Key, note: Option<&Note>) -> bool {
        let new = note.map(|note| Note { written_ms: self.now_ms, ..note.clone() });
        self.done.iter().any(|done| {
            done.wish.hold_ms > 0
                && !done.undone
                && done.at_ms + done.wish.hold_ms > self.now_ms
                && done.wish.db == key.0
                && done.wish.meets(&self.spaces, &key.1, new.as_ref(), done.at_ms)
        })
    }

    pub(crate) fn judge(&self, lease: &Lease, key: &Key, note: &Note) -> Judged {
        let known = Note { written_ms: lease.granted_ms, ..note.clone() };
        let invalidated = self.done.iter().any(|done| {
            done.step > lease.step
                && done.wish.db == key.0
                && done.wish.meets(&self.spaces, &key.1, Some(&known), done.at_ms)
        });
        let is_other = lease.key.0 != key.0 || (!lease.any_key && lease.key != *key);
        if is_other
            || lease.until_ms <= self.now_ms
            || self.everything_changed > lease.step
            || self.changed.get(key).is_some_and(|step| *step > lease.step)
            || invalidated
        {
            return Judged::Stale;
        }
        let was_hash = key.1.starts_with(b"hash");
        if was_hash { Judged::Either } else { Judged::Fresh }
    }

    pub(crate) fn covered(&self, wish: &Wish) -> Vec<Key> {
        let meets = |(key, item): &(&Key, &Item)| {
            key.0 == wish.db && wish.meets(&self.spaces, &key.1, item.note.as_ref(), self.now_ms)
        };
        self.all_live().filter(meets).map(|(key, _)| key.clone()).collect()
    }

    /// Carries an invalidation out; how many entries went.
    pub(crate) fn invalidate(&mut self, lsn: u64, wish: &Wish) -> u64 {
        let keys = self.covered(wish);
        if wish.names_only() {
            keys.iter().for_each(|key| self.change(key));
        }
        let kept: Vec<(Key, Item)> =
            keys.into_iter().filter_map(|key| self.items.remove(&key).map(|item| (key, item))).collect();
        let count = kept.len() as u64;
        let (at_ms, step) = (self.now_ms, self.step);
        self.done.push(Done {
            lsn,
            wish: wish.clone(),
            at_ms,
            step,
            count,
            undone: false,
            is_lazy: false,
            kept: Some(kept),
        });
        count
    }

    /// Takes an invalidation back; how many entries there are again, if it can be done.
    pub(crate) fn undo(&mut self, at: usize) -> Option<u64> {
        let done = &self.done[at];
        if done.undone || done.at_ms + UNDO_WINDOW_MS < self.now_ms || (done.kept.is_none() && done.count > 0) {
            return None;
        }
        let step = done.step;
        let kept = self.done[at].kept.take().unwrap_or_default();
        self.done[at].undone = true;
        let mut again = 0;
        for (key, item) in kept {
            let is_wanted = |other: &Done| {
                let after = if item.note.is_some() { item.step } else { step };
                other.undone
                    || other.wish.db != key.0
                    || other.step <= after
                    || !other.wish.meets(&self.spaces, &key.1, item.note.as_ref(), other.at_ms)
            };
            let space_is_there =
                item.note.as_ref().and_then(|note| note.space).is_none_or(|id| self.spaces.contains_key(&id));
            let is_expired = item.expires_at_ms.is_some_and(|at| at <= self.now_ms);
            if is_expired || !space_is_there || self.live(&key).is_some() || !self.done.iter().all(is_wanted) {
                continue;
            }
            again += 1;
            self.set(key, item.held, item.expires_at_ms, item.note);
        }
        Some(again)
    }

    pub(crate) fn drop_space(&mut self, id: u32) -> u64 {
        self.expire();
        let before = self.items.len();
        self.items.retain(|_, item| item.note.as_ref().is_none_or(|note| note.space != Some(id)));
        self.spaces.remove(&id);
        (before - self.items.len()) as u64
    }

    pub(crate) fn flush(&mut self, db: u8) {
        self.everything_changed = self.step;
        self.items.retain(|key, _| key.0 != db);
        for done in self.done.iter_mut().filter(|done| done.wish.db == db && done.count > 0) {
            done.kept = None;
        }
    }

    pub(crate) fn swap(&mut self, a: u8, b: u8) {
        self.everything_changed = self.step;
        let other = |db: u8| match db {
            db if db == a => b,
            db if db == b => a,
            db => db,
        };
        let items = std::mem::take(&mut self.items);
        self.items = items.into_iter().map(|((db, key), item)| ((other(db), key), item)).collect();
        for done in &mut self.done {
            done.wish.db = other(done.wish.db);
            for (key, _) in done.kept.iter_mut().flatten() {
                key.0 = other(key.0);
            }
        }
    }

    /// What a new process does not know any more.
    pub(crate) fn restart(&mut self) {
        self.leases.clear();
        // Nearness to a vector means nothing without its space.
        let spaces = &self.spaces;
        self.done.retain(|done| done.wish.near.is_none() || done.wish.space.is_some_and(|id| spaces.contains_key(&id)));
        self.done.iter_mut().for_each(|done| done.kept = None);
    }

    /// Similarities of the live entries of a space that pass a filter, best first.
    pub(crate) fn ranked(
        &self,
        db: u8,
        space: u32,
        query: &[f32],
        accepts: impl Fn(&[u8], &Note) -> bool,
    ) -> Vec<(f32, Vec<u8>)> {
        let metric = self.spaces[&space].metric;
        let mut ranked: Vec<(f32, Vec<u8>)> = self
            .all_live()
            .filter(|(key, _)| key.0 == db)
            .filter_map(|(key, item)| Some((key, item.note.as_ref()?)))
            .filter(|(key, note)| note.space == Some(space) && accepts(&key.1, note))
            .filter_map(|(key, note)| Some((similarity(metric, query, note.vector.as_ref()?), key.1.clone())))
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        ranked
    }

    pub(crate) fn tags(&self, db: u8) -> BTreeMap<Vec<u8>, u64> {
        let mut tags = BTreeMap::new();
        for (_, item) in self.all_live().filter(|(key, _)| key.0 == db) {
            // Like the shard's index of tags, an entry counts once for every time it names one.
            for tag in item.note.iter().flat_map(|note| &note.tags) {
                *tags.entry(tag.clone()).or_insert(0) += 1;
            }
        }
        tags
    }

    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        self.items.keys().cloned().collect()
    }
}

/// As `sutra_hnsw_index::Query::similarity` promises: products in f64, element `i` in lane `i % 8`, lanes added pairwise, rounded once.
pub(crate) fn similarity(metric: Metric, query: &[f32], vector: &[f32]) -> f32 {
    let sum = |term: &dyn Fn(f64, f64) -> f64| {
        let mut lanes = [0f64; 8];
        for (at, (q, x)) in query.iter().zip(vector).enumerate() {
            lanes[at % 8] += term(f64::from(*q), f64::from(*x));
        }
        ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))
    };
    let product = sum(&|q, x| q * x);
    match metric {
        Metric::Cosine => {
            let (own, other) = (sum(&|q, _| q * q), sum(&|_, x| x * x));
            (product / (own.sqrt() * other.sqrt())).clamp(-1.0, 1.0) as f32
        }
        Metric::InnerProduct => product as f32,
        Metric::Euclidean => (1.0 - sum(&|q, x| (q - x) * (q - x)).sqrt()) as f32,
    }
}

/// A vector as a space keeps it.
pub(crate) fn as_kept(quantization: Quantization, vector: &[f32]) -> Vec<f32> {
    match quantization {
        Quantization::Cascade => vector.to_vec(),
        Quantization::Int8Only => {
            let scale = vector.iter().fold(0f32, |largest, x| largest.max(x.abs())) / 127.0;
            vector.iter().map(|x| (x / scale).round().clamp(-127.0, 127.0) * scale).collect()
        }
    }
}
