//! Telling subscribers of changes, and registering them for what they read. See `crate::tracking`.

use super::Txn;
use crate::hash::KeyHash;
use crate::meaning::Fault;
use crate::tracking::Subscriber;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// An entry that was looked at and had expired. A list, since there mostly are none, and every transaction carries its beginning.
pub(super) struct Expired {
    db: u8,
    key: Box<[u8]>,
    next: Option<Box<Expired>>,
}

impl Txn<'_> {
    /// Whoever has this number is not told of what is changed from here on; 0: everybody is. For changes whose keys the author knows: those
    /// of an invalidation, an eviction or an expiry are told to everybody.
    pub fn set_author(&mut self, number: u64) {
        self.author = number;
    }

    /// Tells the subscriber of the next change of a key that the transaction has read, in any database, found or not. Once: who wants to
    /// know of the change after that reads again.
    pub fn track(&mut self, key: &[u8], subscriber: &Arc<Subscriber>) {
        // What the read has found expired is removed first: that is no change after it.
        self.remove_expired();
        let hash = self.hash_of(key);
        self.track_hashed(hash, key, subscriber);
    }

    pub(crate) fn track_hashed(&mut self, hash: KeyHash, key: &[u8], subscriber: &Arc<Subscriber>) {
        let tracking = &self.shard.tracking;
        self.stripe_mut(hash.stripe).tracked.remember(tracking, hash.slot, key, subscriber);
    }

    /// A key of the transaction has changed.
    #[inline]
    pub(crate) fn tell(&mut self, hash: KeyHash, key: &[u8]) {
        if self.shard.tracking.is_on() {
            self.tell_of(hash, key, self.author);
        }
    }

    #[cold]
    fn tell_of(&mut self, hash: KeyHash, key: &[u8], author: u64) {
        if self.shard.meaning.has_planted(Fault::ChangeUntold) && hash.slot.is_multiple_of(4) {
            return;
        }
        let tracking = &self.shard.tracking;
        self.stripe_mut(hash.stripe).tracked.changed(tracking, hash.slot, key, author);
    }

    /// An entry was removed whose record is all that names its key; `key`: what it says, which may be damaged.
    pub(crate) fn tell_removed(&mut self, hash: KeyHash, key: Option<&[u8]>) {
        match key.filter(|key| KeyHash::of(key, self.shard.seed) == hash) {
            Some(key) => self.tell_of(hash, key, 0),
            None => {
                let tracking = &self.shard.tracking;
                self.stripe_mut(hash.stripe).tracked.changed_unknown(tracking, hash.slot);
            }
        }
    }

    /// Everything that could be read was changed: told at the end of the transaction, once however much of it there is.
    pub(super) fn tell_everything_at_end(&mut self) {
        self.changes_everything = true;
    }

    /// What is left to tell before the locks are given back.
    #[inline]
    pub(super) fn tell_the_rest(&mut self) {
        self.remove_expired();
        if std::mem::take(&mut self.changes_everything) {
            self.shard.tracking.tell_everything();
        }
    }

    /// Notes that an entry was found that has expired: while somebody is told of changes it is removed at once, since who keeps a copy
    /// should not believe it longer than whoever asks here.
    #[cold]
    pub(super) fn note_expired(&self, db: u8, key: &[u8]) {
        if !self.replays {
            let next = self.expired.take();
            self.expired.set(Some(Box::new(Expired { db, key: key.into(), next })));
        }
    }

    #[inline]
    fn remove_expired(&mut self) {
        if self.expired.get_mut().is_some() {
            self.remove_those_expired();
        }
    }

    #[cold]
    fn remove_those_expired(&mut self) {
        while let Some(first) = self.expired.take() {
            let Expired { db, key, next } = *first;
            self.expired.set(next);
            let hash = self.hash_of(&key);
            let is_expired = self.shard.writable().is_ok()
                && self.find(db, hash, &key).is_some_and(|found| !self.is_live(&found) && !self.is_covered(&found));
            if is_expired && self.remove_entry(db, hash, &key).is_some() {
                self.shard.tally.expired.fetch_add(1, Ordering::Relaxed);
                self.tell_of(hash, &key, 0);
            }
        }
    }
}
