//! The record of recent native reads and writes: bounded, in the order of time, and cheap to add to.
//!
//! A thread adds to an open chunk of its own; a full chunk is closed into one queue, whose oldest chunk goes when there are too many. So a note
//! costs an uncontended lock and a copy of [`Entry`]'s bytes, and the bound holds for all threads together, however unevenly they note.
//!
//! **Invariant:** everything that was noted after [`Snapshot::complete_since_ms`] is in the snapshot. What is older may be there in part, and is
//! not counted.
//!
//! **Lock order:** slots, ascending → the queue of closed chunks.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a text or key that are kept.
pub const TEXT_BYTES_MAX: usize = 96;
/// Entries in a chunk: 16 KiB.
const CHUNK_ENTRIES: usize = 128;
/// Open chunks. Threads beyond so many share them.
const SLOTS: usize = 16;
/// The space of what has none.
pub const NO_SPACE: u32 = u32::MAX;
/// The latency of what was not timed.
pub const NOT_TIMED: u32 = u32::MAX;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// CACHE.LOOKUP.
    Lookup,
    /// CACHE.GET.
    Get,
    /// CACHE.LEASE.
    Lease,
    /// CACHE.SET.
    Set,
    /// CACHE.INVALIDATE.
    Invalidate,
}

impl Kind {
    /// Whether it is a read, which hits or misses.
    #[must_use]
    pub fn is_read(self) -> bool {
        match self {
            Kind::Lookup | Kind::Get | Kind::Lease => true,
            Kind::Set | Kind::Invalidate => false,
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A read found an entry; a write was done.
    Hit,
    /// A read found nothing; a conditional write (NX, XX) was not done.
    Miss,
    /// A guard refused what a lookup would have found, which is a miss to the caller; a write was refused (STALELEASE, HELD).
    Refused,
}

/// What a command has to say.
#[derive(Debug, Clone, Copy)]
pub struct Note<'a> {
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// What was done.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// The question in words, or the key; empty if there is neither (a vector alone). The first [`TEXT_BYTES_MAX`] bytes are kept.
    pub text: &'a [u8],
    /// The id of the space; [`NO_SPACE`]: none.
    pub space: u32,
    /// [`tag_hash`] of the first tag of the request; 0: none.
    pub tag: u64,
    /// How long it took, in microseconds; [`NOT_TIMED`]: nobody looked.
    pub latency_us: u32,
    /// Of a hit, the cost that it saved in millionths of a dollar; of an invalidation, the entries it removed.
    pub amount: u64,
}

/// A note as it is kept.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// As in [`Note`].
    pub amount: u64,
    /// As in [`Note`].
    pub tag: u64,
    /// As in [`Note`].
    pub latency_us: u32,
    /// As in [`Note`].
    pub space: u32,
    /// What was done.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    text_bytes: u8,
    text: [u8; TEXT_BYTES_MAX],
}

impl Entry {
    fn of(note: &Note<'_>) -> Entry {
        let kept = whole_characters(note.text);
        let mut text = [0; TEXT_BYTES_MAX];
        text[..kept.len()].copy_from_slice(kept);
        Entry {
            at_ms: note.at_ms,
            amount: note.amount,
            tag: note.tag,
            latency_us: note.latency_us,
            space: note.space,
            kind: note.kind,
            outcome: note.outcome,
            text_bytes: kept.len() as u8,
            text,
        }
    }

    /// The text or key, or its beginning.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text[..usize::from(self.text_bytes)]
    }

    /// Whether it is a read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.kind.is_read()
    }

    /// Whether it is a read that found something.
    #[must_use]
    pub fn is_hit(&self) -> bool {
        self.kind.is_read() && self.outcome == Outcome::Hit
    }
}

/// A tag as entries of the ring hold it; never 0.
#[must_use]
pub fn tag_hash(tag: &[u8]) -> u64 {
    // FNV-1a: tags are short, and a collision in 64 bits within one ring does not happen.
    let hash = tag
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    hash.max(1)
}

/// The ring.
#[derive(Debug)]
pub struct Ring {
    len_max: AtomicUsize,
    /// When it began to record: what is older was not noted at all.
    began_ms: AtomicU64,
    slots: [Slot; SLOTS],
    closed: Mutex<Closed>,
}

/// An open chunk, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    entries: Vec<Entry>,
    keyed: KeyedReads,
}

/// Reads by key (CACHE.GET, CACHE.LEASE) since the start, which the shard counts among those of Redis's commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyedReads {
    /// Those that found an entry.
    pub hits: u64,
    /// Those that did not.
    pub misses: u64,
}

#[derive(Debug, Default)]
struct Closed {
    /// With the latest instant in each, by which they are sorted.
    chunks: VecDeque<(u64, Arc<Vec<Entry>>)>,
    /// The latest instant of anything that was dropped.
    dropped_ms: Option<u64>,
}

impl Ring {
    /// A ring for so many entries (rounded up to whole chunks, and one open chunk for each thread beside them), which begins to record at `now_ms`. 0: it records nothing.
    #[must_use]
    pub fn new(len_max: usize, now_ms: u64) -> Ring {
        Ring {
            len_max: AtomicUsize::new(len_max),
            began_ms: AtomicU64::new(now_ms),
            slots: std::array::from_fn(|_| Slot::default()),
            closed: Mutex::default(),
        }
    }

    /// Changes the bound; 0 switches it off and forgets everything.
    pub fn set_len_max(&self, len_max: usize, now_ms: u64) {
        let before = self.len_max.swap(len_max, Ordering::Relaxed);
        if before == len_max {
            return;
        }
        let mut slots = self.lock_slots();
        let mut closed = lock(&self.closed);
        if before == 0 || len_max == 0 {
            slots.iter_mut().for_each(|slot| slot.entries = Vec::new());
            *closed = Closed::default();
            self.began_ms.store(now_ms, Ordering::Relaxed);
        }
        closed.shrink_to(len_max);
    }

    /// The bound; 0: off.
    #[must_use]
    pub fn len_max(&self) -> usize {
        self.len_max.load(Ordering::Relaxed)
    }

    /// Adds a note.
    pub fn note(&self, note: &Note<'_>) {
        let len_max = self.len_max();
        if len_max == 0 {
            return;
        }
        let mut slot = lock(&self.slots[slot_of_thread()].0);
        if matches!(note.kind, Kind::Get | Kind::Lease) {
            slot.keyed.hits += u64::from(note.outcome == Outcome::Hit);
            slot.keyed.misses += u64::from(note.outcome != Outcome::Hit);
        }
        if slot.entries.capacity() == 0 {
            slot.entries.reserve_exact(CHUNK_ENTRIES);
        }
        slot.entries.push(Entry::of(note));
        if slot.entries.len() == CHUNK_ENTRIES {
            let full = std::mem::take(&mut slot.entries);
            slot.entries = lock(&self.closed).close(full, len_max);
        }
    }

    /// Everything that is there now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let slots = self.lock_slots();
        let closed = lock(&self.closed);
        let open = slots.iter().flat_map(|slot| slot.entries.iter().copied()).collect::<Vec<_>>();
        let began_ms = self.began_ms.load(Ordering::Relaxed);
        let mut chunks: Vec<Arc<Vec<Entry>>> = closed.chunks.iter().map(|(_, chunk)| Arc::clone(chunk)).collect();
        chunks.push(Arc::new(open));
        Snapshot { chunks, complete_since_ms: closed.dropped_ms.map_or(began_ms, |ms| began_ms.max(ms + 1)) }
    }

    /// Reads by key since the start.
    #[must_use]
    pub fn keyed_reads(&self) -> KeyedReads {
        let mut sum = KeyedReads::default();
        for slot in self.lock_slots() {
            sum.hits += slot.keyed.hits;
            sum.misses += slot.keyed.misses;
        }
        sum
    }

    /// Bytes that it takes now.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let closed = lock(&self.closed).chunks.len();
        let open = self.slots.iter().filter(|slot| lock(&slot.0).entries.capacity() > 0).count();
        (closed + open) * CHUNK_ENTRIES * size_of::<Entry>()
    }

    fn lock_slots(&self) -> Vec<MutexGuard<'_, Open>> {
        self.slots.iter().map(|slot| lock(&slot.0)).collect()
    }
}

impl Closed {
    /// Takes a full chunk in and gives an empty one back.
    fn close(&mut self, full: Vec<Entry>, len_max: usize) -> Vec<Entry> {
        // Within a chunk the order is that of the thread's batches, whose clocks may differ by a moment.
        let latest_ms = full.iter().map(|entry| entry.at_ms).max().unwrap_or(0);
        // A thread that lags behind others must not push out what is newer: its place is almost always the last.
        let behind = self.chunks.iter().rev().take_while(|(ms, _)| *ms > latest_ms).count();
        self.chunks.insert(self.chunks.len() - behind, (latest_ms, Arc::new(full)));
        let spare = self.shrink_to(len_max);
        // A chunk that a question still looks at is left to it.
        let mut entries = spare.and_then(|chunk| Arc::try_unwrap(chunk).ok()).unwrap_or_default();
        entries.clear();
        entries.reserve_exact(CHUNK_ENTRIES);
        entries
    }

    /// Drops the oldest chunks beyond the bound; the last of them.
    fn shrink_to(&mut self, len_max: usize) -> Option<Arc<Vec<Entry>>> {
        let mut spare = None;
        while self.chunks.len() > len_max.div_ceil(CHUNK_ENTRIES) {
            let (latest_ms, oldest) = self.chunks.pop_front()?;
            self.dropped_ms = self.dropped_ms.max(Some(latest_ms));
            spare = Some(oldest);
        }
        spare
    }
}

/// What the ring held at one instant.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    chunks: Vec<Arc<Vec<Entry>>>,
    /// From this instant (Unix milliseconds) on nothing is missing.
    pub complete_since_ms: u64,
}

impl Snapshot {
    /// Nothing.
    pub const EMPTY: Snapshot = Snapshot { chunks: Vec::new(), complete_since_ms: 0 };

    /// The entries since then, each thread's in its order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let since_ms = self.complete_since_ms;
        self.chunks.iter().flat_map(|chunk| chunk.iter()).filter(move |entry| entry.at_ms >= since_ms)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic cannot leave a list of entries in a state that matters.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The slot of this thread, given out in turn.
fn slot_of_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SLOT: Cell<usize> = const { Cell::new(usize::MAX) });
    SLOT.with(|slot| {
        if slot.get() == usize::MAX {
            slot.set(NEXT.fetch_add(1, Ordering::Relaxed) % SLOTS);
        }
        slot.get()
    })
}

/// The beginning of a text that fits, without half a character at its end.
fn whole_characters(text: &[u8]) -> &[u8] {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let is_inside = |at: &usize| text[*at] & 0b1100_0000 == 0b1000_0000;
    let end = (TEXT_BYTES_MAX - 3..=TEXT_BYTES_MAX).rev().find(|at| !is_inside(at)).unwrap_or(TEXT_BYTES_MAX);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(at_ms: u64, text: &[u8]) -> Note<'_> {
        Note { at_ms, kind: Kind::Get, outcome: Outcome::Hit, text, space: NO_SPACE, tag: 0, latency_us: 1, amount: 0 }
    }

    #[test]
    fn an_entry_is_no_larger_than_its_text_and_forty_bytes() {
        assert!(size_of::<Entry>() <= TEXT_BYTES_MAX + 40);
    }

    #[test]
    fn the_newest_entries_are_kept_and_the_snapshot_says_since_when_none_is_missing() {
        let ring = Ring::new(1000, 0);
        for at_ms in 0..10_000 {
            ring.note(&note(at_ms, b"k"));
        }
        let snapshot = ring.snapshot();
        let times: Vec<u64> = snapshot.entries().map(|entry| entry.at_ms).collect();
        assert!((1000..=1000 + 2 * CHUNK_ENTRIES).contains(&times.len()), "{} entries", times.len());
        assert_eq!(times, (snapshot.complete_since_ms..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_missing_since_the_instant_it_names_when_threads_note_unevenly() {
        let ring = Ring::new(2000, 0);
        let clock = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for share in [1, 10, 100] {
                let (ring, clock) = (&ring, &clock);
                scope.spawn(move || {
                    for _ in 0..share * 100 {
                        ring.note(&note(clock.fetch_add(1, Ordering::SeqCst), b"k"));
                    }
                });
            }
        });
        let snapshot = ring.snapshot();
        let mut times: Vec<u64> = snapshot.entries().map(|entry| entry.at_ms).collect();
        times.sort_unstable();
        assert_eq!(times, (snapshot.complete_since_ms..clock.into_inner()).collect::<Vec<_>>());
        assert!(times.len() >= 1900, "{} entries", times.len());
    }

    #[test]
    fn a_thread_that_lags_behind_pushes_out_nothing_newer() {
        let ring = Ring::new(1000, 0);
        for at_ms in 5000..6000 {
            ring.note(&note(at_ms, b"ahead"));
        }
        std::thread::scope(|scope| {
            let ring = &ring;
            scope.spawn(move || (0..3000).for_each(|at_ms| ring.note(&note(at_ms, b"behind"))));
        });
        let snapshot = ring.snapshot();
        assert!(snapshot.complete_since_ms <= 5000 + CHUNK_ENTRIES as u64, "{}", snapshot.complete_since_ms);
        assert!(snapshot.entries().filter(|entry| entry.text() == b"ahead").count() >= 1000 - CHUNK_ENTRIES);
    }

    #[test]
    fn a_ring_of_no_length_notes_nothing_and_takes_no_memory() {
        let ring = Ring::new(0, 0);
        ring.note(&note(1, b"k"));
        assert_eq!((ring.snapshot().entries().count(), ring.memory_bytes()), (0, 0));
        ring.set_len_max(10, 5);
        ring.note(&note(7, b"k"));
        assert_eq!((ring.snapshot().entries().count(), ring.snapshot().complete_since_ms), (1, 5));
        ring.set_len_max(0, 9);
        assert_eq!((ring.snapshot().entries().count(), ring.memory_bytes()), (0, 0));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let ring = Ring::new(10, 0);
        let long = "\u{e9}".repeat(100);
        ring.note(&note(1, long.as_bytes()));
        let odd = format!("x{long}");
        ring.note(&note(1, odd.as_bytes()));
        ring.note(&note(1, &[0x80; 200]));
        let snapshot = ring.snapshot();
        let lengths: Vec<usize> = snapshot.entries().map(|entry| entry.text().len()).collect();
        assert_eq!(lengths, [96, 95, 96]);
        assert!(snapshot.entries().take(2).all(|entry| std::str::from_utf8(entry.text()).is_ok()));
    }

    #[test]
    fn reads_by_key_are_counted_even_when_their_entries_are_gone() {
        let ring = Ring::new(1, 0);
        for _ in 0..1000 {
            ring.note(&note(1, b"k"));
        }
        ring.note(&Note { outcome: Outcome::Miss, ..note(1, b"k") });
        ring.note(&Note { kind: Kind::Lookup, ..note(1, b"k") });
        assert_eq!(ring.keyed_reads(), KeyedReads { hits: 1000, misses: 1 });
    }
}
