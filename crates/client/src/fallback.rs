//! Values in this process for the time while the shard is away, and what the shard is to be told when it is back.
//!
//! While the shard is away, what is computed can neither be written to it nor removed from it. This store takes the values, within
//! limits and for a short time, and **notes every key that would have been changed**: the shard still has what was there before, which
//! would come back to life with it. So the return has an order:
//!
//! 1. [`Fallback::end`]: from now on nothing is served from here, nothing is taken, everything is dropped, and the caller gets what is [`Owed`];
//! 2. the caller deletes those keys in the shard, or all its entries if there were too many to note;
//! 3. only then it lets reads go to the shard. If step 2 fails, [`Fallback::owe`] takes the debt back.
//!
//! Every outage has a number. A value that was computed for an outage that is over is refused by its number, under the same lock: it
//! cannot land behind step 1 and be served in the next outage.
//!
//! ```
//! use std::time::Instant;
//! use sutra_cache_client::fallback::{Fallback, FallbackSettings, Owed};
//! use sutra_cache_client::l1::About;
//!
//! let (fallback, now) = (Fallback::new(FallbackSettings::default()), Instant::now());
//! let outage = fallback.begin();
//! assert!(fallback.put(outage, b"k", b"value", About::default(), now));
//! assert_eq!(fallback.get(b"k", now).unwrap().value, "value");
//!
//! assert_eq!(fallback.end(), Owed::Keys(vec![b"k".to_vec()]));
//! assert!(fallback.get(b"k", now).is_none());
//! assert!(!fallback.put(outage, b"k", b"late", About::default(), now));
//! ```

use crate::l1::{About, Entry, Store};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much is kept while the shard is away, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FallbackSettings {
    /// At most so many values; 0: none are kept, but changes are noted.
    pub entries_max: usize,
    /// At most so many bytes, counted as [the first tier](crate::l1::L1Settings::bytes_max) counts them.
    pub bytes_max: usize,
    /// No value lives longer, whatever it was given: nobody says here what changes.
    pub ttl_max: Duration,
    /// So many changed keys are noted. When there are more, everything is owed.
    pub owed_keys_max: usize,
    /// So many bytes of changed keys are noted. When there are more, everything is owed.
    pub owed_bytes_max: usize,
}

impl Default for FallbackSettings {
    /// 1,000 values and 16 MiB, for a minute; 10,000 keys and 1 MiB of them.
    fn default() -> FallbackSettings {
        FallbackSettings {
            entries_max: 1000,
            bytes_max: 16 << 20,
            ttl_max: Duration::from_secs(60),
            owed_keys_max: 10_000,
            owed_bytes_max: 1 << 20,
        }
    }
}

/// The number of one outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage(u64);

/// What the shard is to be told before it is read again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the shard still has what was changed"]
pub enum Owed {
    /// To delete these keys; none if nothing was changed.
    Keys(Vec<Vec<u8>>),
    /// To delete everything of this client's: more was changed than could be noted.
    Everything,
}

impl Owed {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(self, Owed::Keys(keys) if keys.is_empty())
    }
}

/// The store.
#[derive(Debug)]
pub struct Fallback {
    settings: FallbackSettings,
    /// Odd during an outage; the number of the outage. Written under the lock.
    epoch: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    store: Store,
    owed: BTreeSet<Vec<u8>>,
    owed_bytes: usize,
    owes_everything: bool,
}

impl Fallback {
    /// An empty one; the shard is there.
    #[must_use]
    pub fn new(settings: FallbackSettings) -> Fallback {
        let store = Store::new(settings.entries_max, settings.bytes_max);
        let state = State { store, owed: BTreeSet::new(), owed_bytes: 0, owes_everything: false };
        Fallback { settings, epoch: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// The shard is away. If that is known already, it is the same outage.
    pub fn begin(&self) -> Outage {
        let _state = self.state();
        Outage(self.epoch.fetch_or(1, Ordering::AcqRel) | 1)
    }

    /// The outage that there is, to be asked before something is computed that may be put here.
    #[must_use]
    pub fn outage(&self) -> Option<Outage> {
        let epoch = self.epoch.load(Ordering::Acquire);
        (epoch % 2 == 1).then_some(Outage(epoch))
    }

    /// The value, if the shard is away and the value was put here since. While the shard is there this costs one load.
    #[must_use]
    pub fn get(&self, key: &[u8], now: Instant) -> Option<Entry> {
        self.outage()?;
        // If the outage ends here, the store is empty by the time it is read.
        self.state().store.read(key, now)
    }

    /// Keeps a copy of the value, which ends after [`FallbackSettings::ttl_max`] if not before, and notes that the key was changed. Whether the
    /// outage goes on: if not, nothing has happened, and the value can be written to the shard.
    pub fn put(&self, outage: Outage, key: &[u8], value: &[u8], about: About, now: Instant) -> bool {
        self.change(outage, key, |store, settings| {
            let end = now + settings.ttl_max;
            let expires_at = Some(about.expires_at.map_or(end, |at| at.min(end)));
            store.put(key, value, About { expires_at, ..about });
        })
    }

    /// As [`Fallback::put`], of a value that is a function of its key: whatever the shard has under it is as good, and nothing is owed.
    pub(crate) fn lend(&self, outage: Outage, key: &[u8], value: &[u8], about: About, now: Instant) {
        let mut state = self.state();
        if self.outage() == Some(outage) {
            let end = now + self.settings.ttl_max;
            let expires_at = Some(about.expires_at.map_or(end, |at| at.min(end)));
            state.store.put(key, value, About { expires_at, ..about });
        }
    }

    /// Removes the value, and notes that the key was changed. Whether the outage goes on: if not, nothing has happened.
    pub fn delete(&self, outage: Outage, key: &[u8]) -> bool {
        self.change(outage, key, |store, _| {
            store.invalidate(key);
        })
    }

    /// Something was to be removed that has no list of keys (by pattern, by meaning, everything): nothing that is here can be trusted, and the
    /// shard owes it to everything. Whether the outage goes on: if not, nothing has happened.
    pub fn delete_unknown(&self, outage: Outage) -> bool {
        let mut state = self.state();
        let goes_on = self.outage() == Some(outage);
        if goes_on {
            drop(state.store.clear());
            state.owe_everything();
        }
        goes_on
    }

    /// The shard is back: drops everything, and hands over what is owed. Also what was owed before, if no outage is there.
    pub fn end(&self) -> Owed {
        let mut state = self.state();
        if self.outage().is_some() {
            self.epoch.fetch_add(1, Ordering::AcqRel);
        }
        let entries = state.store.clear();
        state.owed_bytes = 0;
        let keys = std::mem::take(&mut state.owed);
        let everything = std::mem::take(&mut state.owes_everything);
        drop(state);
        drop(entries);
        if everything { Owed::Everything } else { Owed::Keys(keys.into_iter().collect()) }
    }

    /// Drops the values; what is owed stays. For a removal of nobody knows which of them that is owed in another way.
    pub(crate) fn forget(&self) {
        drop(self.state().store.clear());
    }

    /// What was owed could not be told: the next [`Fallback::end`] hands it over again.
    pub fn owe(&self, owed: Owed) {
        let mut state = self.state();
        match owed {
            Owed::Keys(keys) => keys.into_iter().for_each(|key| state.owe(key, &self.settings)),
            Owed::Everything => state.owe_everything(),
        }
    }

    fn change(&self, outage: Outage, key: &[u8], change: impl FnOnce(&mut Store, &FallbackSettings)) -> bool {
        let mut state = self.state();
        let goes_on = self.outage() == Some(outage);
        if goes_on {
            change(&mut state.store, &self.settings);
            state.owe(key.to_vec(), &self.settings);
        }
        goes_on
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn owe(&mut self, key: Vec<u8>, settings: &FallbackSettings) {
        let bytes = key.len();
        if self.owes_everything || !self.owed.insert(key) {
            return;
        }
        self.owed_bytes += bytes;
        if self.owed.len() > settings.owed_keys_max || self.owed_bytes > settings.owed_bytes_max {
            self.owe_everything();
        }
    }

    fn owe_everything(&mut self) {
        self.owes_everything = true;
        self.owed = BTreeSet::new();
        self.owed_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&[u8]]) -> Owed {
        Owed::Keys(keys.iter().map(|key| key.to_vec()).collect())
    }

    fn fallback() -> (Fallback, Instant) {
        (Fallback::new(FallbackSettings::default()), Instant::now())
    }

    #[test]
    fn nothing_is_taken_or_served_while_the_shard_is_there() {
        let (fallback, now) = fallback();
        assert_eq!(fallback.outage(), None);
        let over = fallback.begin();
        assert_eq!(fallback.end(), keys(&[]));
        assert!(!fallback.put(over, b"k", b"v", About::default(), now));
        assert!(!fallback.delete(over, b"k") && !fallback.delete_unknown(over));
        assert!(fallback.get(b"k", now).is_none());
        assert_eq!(fallback.end(), keys(&[]));
    }

    #[test]
    fn each_change_is_owed_once_also_if_its_value_is_gone_by_then() {
        let fallback = Fallback::new(FallbackSettings { entries_max: 1, ..FallbackSettings::default() });
        let now = Instant::now();
        let outage = fallback.begin();
        assert_eq!(fallback.begin(), outage);
        for key in [b"b", b"a", b"b"] {
            assert!(fallback.put(outage, key, b"v", About::default(), now));
        }
        assert!(fallback.delete(outage, b"c"));
        assert!(fallback.get(b"a", now).is_none() && fallback.get(b"b", now).is_some());
        assert_eq!(fallback.end(), keys(&[b"a", b"b", b"c"]));
        assert_eq!(fallback.end(), keys(&[]));
    }

    #[test]
    fn a_value_ends_after_the_longest_time_or_its_own() {
        let (fallback, now) = fallback();
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let outage = fallback.begin();
        fallback.put(outage, b"short", b"v", About { expires_at: Some(now + second), ..About::default() }, now);
        fallback.put(outage, b"long", b"v", About { expires_at: Some(now + 9 * minute), ..About::default() }, now);
        assert!(fallback.get(b"short", now + second).is_none());
        assert!(fallback.get(b"long", now + minute - second).is_some());
        assert!(fallback.get(b"long", now + minute).is_none());
    }

    #[test]
    fn a_late_value_does_not_get_into_the_next_outage() {
        let (fallback, now) = fallback();
        let first = fallback.begin();
        fallback.put(first, b"k", b"first", About::default(), now);
        assert_eq!(fallback.end(), keys(&[b"k"]));
        let second = fallback.begin();
        assert_ne!(first, second);
        assert!(!fallback.put(first, b"k", b"late", About::default(), now));
        assert!(fallback.get(b"k", now).is_none());
    }

    #[test]
    fn too_many_keys_are_everything() {
        let few = FallbackSettings { owed_keys_max: 2, ..FallbackSettings::default() };
        let short = FallbackSettings { owed_bytes_max: 2, ..FallbackSettings::default() };
        for settings in [few, short] {
            let fallback = Fallback::new(settings);
            let outage = fallback.begin();
            assert!(fallback.delete(outage, b"a") && fallback.delete(outage, b"b") && fallback.delete(outage, b"c"));
            assert_eq!(fallback.end(), Owed::Everything);
            let outage = fallback.begin();
            assert!(fallback.delete(outage, b"a"));
            assert_eq!(fallback.end(), keys(&[b"a"]), "what was told is not owed again");
        }
    }

    #[test]
    fn a_removal_without_keys_empties_it_and_is_everything() {
        let (fallback, now) = fallback();
        let outage = fallback.begin();
        fallback.put(outage, b"k", b"v", About::default(), now);
        assert!(fallback.delete_unknown(outage));
        assert!(fallback.get(b"k", now).is_none());
        assert!(fallback.put(outage, b"k", b"new", About::default(), now));
        assert!(fallback.get(b"k", now).is_some());
        assert_eq!(fallback.end(), Owed::Everything);
    }

    #[test]
    fn what_could_not_be_told_is_owed_with_what_came_since() {
        let (fallback, _) = fallback();
        let outage = fallback.begin();
        fallback.delete(outage, b"a");
        let owed = fallback.end();
        let outage = fallback.begin();
        fallback.delete(outage, b"b");
        fallback.owe(owed);
        assert_eq!(fallback.end(), keys(&[b"a", b"b"]));
        fallback.owe(Owed::Everything);
        assert_eq!(fallback.end(), Owed::Everything);
    }
}
