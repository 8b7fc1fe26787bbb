//! The store: appends, lookups, and the life of segments.
//!
//! A segment's life: free → open → sealed → freed (nothing wanted, log not synced yet) → free. After a restart: sealed or freed. Any thread appends, reads, releases and
//! syncs; one maintenance thread at a time opens destinations, frees and shrinks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::error::{Damage, Damaged, IoError, OpenError, StoreError};
use crate::format::{
    CLASSES_MAX, PAGE_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_HEADER_BYTES, decode_expiry, expiry_word,
};
use crate::location::Location;
use crate::memory::{Pin, Writer};
use crate::pool::{Pool, Reserved};
use crate::record::{Appended, Encoded, NewRecord, Record, copy_to};
use crate::registry::Registry;
use crate::segment::{Segment, SegmentPhase, SegmentState};
use crate::space::SegmentSpace;

/// How often a thread that needs a segment tries to move the epoch along before it takes "pinned" for an answer.
const NUDGES: usize = 4;

/// What a store is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Length of a segment: a multiple of 4,096 from 64 KiB to 8 MiB.
    pub segment_bytes: u32,
    /// How many segments of the pool may be in use together, in bytes.
    pub limit_bytes: u64,
    /// How far destinations of merges may go beyond the limit, in bytes: a merge needs room before it makes some.
    pub overdraft_bytes: u64,
    /// Classes of records that are kept apart, each with open segments of its own.
    pub classes: usize,
    /// Open segments of one class. The second is used only while another thread is appending to the first, and so on.
    pub lanes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { segment_bytes: 1 << 20, limit_bytes: u64::MAX, overdraft_bytes: 4 << 20, classes: 1, lanes: 1 }
    }
}

/// Records in segments. See the crate's page for what holds.
pub struct Store {
    options: Options,
    space: Box<dyn SegmentSpace>,
    registry: Registry,
    pool: Mutex<Pool>,
    lanes: Vec<Lane>,
    recovering: AtomicBool,
    names_changed: AtomicBool,
    syncing: Mutex<()>,
    failed: OnceLock<IoError>,
}

/// An open segment, on a cache line of its own.
#[repr(align(64))]
#[derive(Default)]
struct Lane(Mutex<Option<Writer>>);

impl Store {
    /// Opens the segments of a space. Nothing in them is live until [`Store::adopt`] says so; until [`Store::finish_recovery`] none of them
    /// is written. New records may be appended meanwhile.
    ///
    /// # Errors
    /// Options out of range, a space that cannot be read, or a segment written by a newer program. Damage is no error: it is returned.
    pub fn open(space: Box<dyn SegmentSpace>, options: Options) -> Result<(Store, Vec<Damage>), OpenError> {
        let found = options.segment_bytes;
        if !found.is_multiple_of(PAGE_BYTES) || !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&found) {
            return Err(OpenError::SegmentBytes { found });
        }
        let found = options.classes.saturating_mul(options.lanes);
        if !(1..=CLASSES_MAX).contains(&found) {
            return Err(OpenError::Classes { found });
        }
        let (segments, damages) = crate::open::take_over(&*space)?;
        let registry = Registry::new();
        let mut pool = Pool::new(options.segment_bytes, options.limit_bytes);
        for segment in segments {
            pool.found(segment.id(), segment.capacity());
            registry.insert(segment);
        }
        let lanes = (0..found).map(|_| Lane::default()).collect();
        let store = Store {
            options,
            space,
            registry,
            pool: Mutex::new(pool),
            lanes,
            recovering: AtomicBool::new(true),
            names_changed: AtomicBool::new(true),
            syncing: Mutex::default(),
            failed: OnceLock::new(),
        };
        Ok((store, damages))
    }

    /// Keeps everything that can be looked up now readable until it is dropped: some nanoseconds, less if the thread has one already.
    #[must_use]
    #[inline]
    pub fn pin(&self) -> Pin {
        Pin::new()
    }

    /// Appends a record to the open segment of its class. One that would take more than half a segment gets a segment of its own.
    ///
    /// It is not durable before [`Store::sync`] was called and returned.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing is stored then.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn append(&self, class: usize, record: &NewRecord<'_>) -> Result<Appended, StoreError> {
        assert!(class < self.options.classes, "class {class} of {}", self.options.classes);
        if let Some(error) = self.failed.get() {
            return Err(StoreError::Failed(error.clone()));
        }
        let mut encoded = Encoded::new(record)?;
        if encoded.bytes() > self.pool_record_bytes_max() {
            return self.append_dedicated(class, encoded);
        }
        let mut lane = self.lane(class);
        if let Some(writer) = lane.as_mut()
            && let Some(appended) = encoded.append_to(writer)
        {
            return Ok(appended);
        }
        // Only now is the full one sealed, by being replaced: if there is no other, smaller records may still fit into it.
        // The caller made room before it came here; what other threads took meanwhile, and what a reader still holds, is borrowed.
        let mut writer = self.acquire(class, self.options.overdraft_bytes / 2)?;
        let appended = encoded.append_to(&mut writer).expect("an empty segment has room for two of the longest");
        *lane = Some(writer);
        Ok(appended)
    }

    /// Opens a segment for the survivors of a merge; it may take from the overdraft.
    ///
    /// # Errors
    /// See [`StoreError`].
    ///
    /// # Panics
    /// If there is no such class.
    pub fn open_destination(&self, class: usize) -> Result<Destination, StoreError> {
        assert!(class < self.options.classes, "class {class} of {}", self.options.classes);
        if let Some(error) = self.failed.get() {
            return Err(StoreError::Failed(error.clone()));
        }
        Ok(Destination(self.acquire(class, self.options.overdraft_bytes)?))
    }

    /// The record at a location. `None` if there is none, or its header points beyond its segment.
    ///
    /// Whether it is the record that is sought is for the caller to see from the key. Records from an earlier process are not checked
    /// here: see [`Record::is_trusted`].
    #[must_use]
    // Always: for the reason given at `Record::decode`.
    #[inline(always)]
    pub fn record<'g>(&'g self, pin: &'g Pin, location: Location) -> Option<Record<'g>> {
        Record::decode(self.registry.segment(pin, location.segment())?, pin, location)
    }

    /// Has the processor fetch the start of a record that will be looked up soon, without waiting for it.
    #[inline]
    pub fn prefetch(&self, pin: &Pin, location: Location) {
        if let Some(segment) = self.registry.segment(pin, location.segment()) {
            segment.memory().prefetch(location.offset_bytes());
        }
    }

    /// Changes when the record at a location expires, by one atomic store.
    ///
    /// # Errors
    /// There is no record, or its expiry word is damaged; nothing is stored then.
    pub fn set_expiry(&self, pin: &Pin, location: Location, expires_at_ms: Option<u64>) -> Result<(), Damaged> {
        let segment = self.registry.segment(pin, location.segment()).ok_or(Damaged)?;
        let offset = location.offset_bytes();
        decode_expiry(location, segment.memory().word(pin, offset).ok_or(Damaged)?)?;
        if !segment.memory().store_word(pin, offset, expiry_word(location, expires_at_ms)) {
            return Err(Damaged);
        }
        segment.set_expiry_changed();
        Ok(())
    }

    /// The record at a location, of this many bytes, is not wanted any more.
    pub fn release(&self, location: Location, bytes: u32) {
        if let Some(segment) = self.registry.segment(&self.pin(), location.segment()) {
            segment.sub_live(bytes);
        }
    }

    /// Recovery: the record at a location, of this many bytes, is wanted. Touches no page of it. `false` if it is not within a segment:
    /// then it is lost.
    #[must_use]
    pub fn adopt(&self, location: Location, bytes: u32) -> bool {
        let pin = self.pin();
        let Some(segment) = self.registry.segment(&pin, location.segment()) else { return false };
        let Some(end) = location.offset_bytes().checked_add(bytes) else { return false };
        if location.offset_bytes() < SEGMENT_HEADER_BYTES || end > segment.memory().committed() {
            return false;
        }
        segment.add_live(bytes);
        segment.extend_adopted_tail(end);
        true
    }

    /// Recovery: takes a segment's counts from a checkpoint, in place of one [`Store::adopt`] for each record. `false` if there is no such
    /// segment, or it is shorter than `tail_bytes`.
    #[must_use]
    pub fn adopt_segment(&self, id: u16, live_bytes: u32, tail_bytes: u32) -> bool {
        let pin = self.pin();
        let Some(segment) = self.registry.segment(&pin, id) else { return false };
        if tail_bytes > segment.memory().committed() || live_bytes > tail_bytes {
            return false;
        }
        segment.set_live(live_bytes);
        segment.extend_adopted_tail(tail_bytes);
        true
    }

    /// Ends recovery: segments from an earlier process in which nothing was adopted are freed, the others are sealed. The freed ones wait for
    /// [`Store::release_freed`] like any other: until the caller's log says that they are not wanted, the next recovery looks into them.
    pub fn finish_recovery(&self) {
        if !self.recovering.swap(false, Ordering::AcqRel) {
            return;
        }
        for segment in self.registry.all().iter().filter(|it| it.is_recovered() && it.live_bytes() == 0) {
            segment.set_freed();
        }
    }

    /// Closes the open segments of a class; the next append opens another.
    pub fn seal(&self, class: usize) {
        for lane in self.class_lanes(class) {
            drop(lock(lane).take());
        }
    }

    /// Every segment as it is now, by id.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentState> {
        self.registry.all().iter().map(|segment| segment.state()).collect()
    }

    /// Nothing in a sealed segment is wanted any more: every record was moved or dropped. It can still be read, and is not used again
    /// before [`Store::release_freed`]. `false` if it is not sealed.
    pub fn free(&self, id: u16) -> bool {
        self.registry.owned_segment(id).is_some_and(|segment| segment.set_freed())
    }

    /// What freed these segments is durable: they may be used again when nobody is looking at them any more. Those made for one large
    /// record, or of another length than today's, are removed. Ids that are not freed are passed over.
    ///
    /// # Errors
    /// A file could not be removed; everything else is done.
    pub fn release_freed(&self, ids: &[u16]) -> Result<(), IoError> {
        let mut result = Ok(());
        for segment in ids.iter().filter_map(|id| self.registry.owned_segment(*id)).filter(|it| it.is_freed()) {
            if segment.dedicated() || segment.capacity() != self.options.segment_bytes {
                let removed = self.remove(segment.id(), u64::from(segment.capacity()));
                result = result.and(removed);
            } else if segment.retire() {
                self.pool().put(segment);
            }
        }
        self.nudge();
        self.collect();
        result
    }

    /// Makes everything durable that was appended or changed before the call.
    ///
    /// # Errors
    /// The disk failed. What is durable is unknown then, so this and every later call fails, and appends are refused.
    pub fn sync(&self) -> Result<(), IoError> {
        // One at a time: a second caller must not return before the first has made durable what it took on.
        let _turn = lock(&self.syncing);
        if let Some(error) = self.failed.get() {
            return Err(error.clone());
        }
        let unsynced: Vec<_> = self.registry.all().into_iter().filter_map(|it| Some((it.unsynced()?, it))).collect();
        let names = if self.names_changed.swap(false, Ordering::AcqRel) { self.space.sync_directory() } else { Ok(()) };
        let result = names.and_then(|()| {
            for (range, segment) in &unsynced {
                let bytes = range.start as usize..range.end as usize;
                self.space.sync(segment.id(), segment.memory().region(), bytes)?;
                segment.synced(range);
            }
            Ok(())
        });
        result.inspect_err(|error| drop(self.failed.set(error.clone())))
    }

    /// Bytes of records that no sync has made durable: memory that the system cannot take back before it has written them. Looks at every
    /// segment.
    #[must_use]
    pub fn unsynced_bytes(&self) -> u64 {
        self.registry.all().iter().map(|segment| u64::from(segment.unsynced_bytes())).sum()
    }

    /// The first sync that failed, if one did.
    #[must_use]
    pub fn failed(&self) -> Option<&IoError> {
        self.failed.get()
    }

    /// Changes the limit. Nothing is given up for a lower one: see [`Store::shrink`].
    pub fn set_limit_bytes(&self, bytes: u64) {
        self.pool().set_limit_bytes(bytes);
    }

    /// Bytes of all segments, free ones and those on their way out included.
    #[must_use]
    pub fn bytes_mapped(&self) -> u64 {
        self.pool().mapped_bytes()
    }

    /// Bytes of new segments that the limit still allows; room in open segments not counted.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        let pool = self.pool();
        pool.limit_bytes().saturating_sub(pool.in_use_bytes())
    }

    /// Bytes of records that are wanted. Looks at every segment.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.registry.all().iter().map(|segment| u64::from(segment.live_bytes())).sum()
    }

    /// Bytes of records that are not wanted any more, in open and sealed segments. Looks at every segment.
    #[must_use]
    pub fn dead_bytes(&self) -> u64 {
        let dead = |state: &SegmentState| state.tail_bytes.saturating_sub(SEGMENT_HEADER_BYTES + state.live_bytes);
        let states = self.segments();
        states
            .iter()
            .filter(|it| matches!(it.phase, SegmentPhase::Open | SegmentPhase::Sealed))
            .map(|state| u64::from(dead(state)))
            .sum()
    }

    /// Removes free segments while more is mapped than the limit allows.
    ///
    /// # Errors
    /// A file could not be removed; everything else is done.
    pub fn shrink(&self) -> Result<(), IoError> {
        self.nudge();
        let surplus = self.pool().take_surplus();
        self.remove_idle(surplus)
    }

    /// Makes the next segment ahead of time, so that no append waits for it: allocates it and has its pages faulted in. `false` if there is
    /// an unused one already, or the limit allows none.
    ///
    /// # Errors
    /// No space.
    pub fn prefault(&self) -> Result<bool, IoError> {
        self.nudge();
        self.collect();
        let reserved = {
            let mut pool = self.pool();
            if pool.has_idle() { None } else { pool.reserve(0) }
        };
        match reserved {
            None => Ok(false),
            Some(Reserved::Idle(segment)) => {
                self.pool().put(segment);
                Ok(false)
            }
            Some(Reserved::New(id)) => {
                let segment = self.create(id, self.options.segment_bytes, false)?;
                segment.memory().region().populate();
                self.pool().put(segment);
                Ok(true)
            }
        }
    }

    /// Checks records of one segment in the order of their offsets, and returns those that are damaged. For checking in the background
    /// what an earlier process wrote.
    #[must_use]
    pub fn verify(&self, id: u16, locations: &[Location]) -> Vec<Location> {
        if let Some(segment) = self.registry.owned_segment(id) {
            segment.memory().region().will_need();
        }
        let mut sorted: Vec<Location> = locations.iter().copied().filter(|location| location.segment() == id).collect();
        sorted.sort_unstable();
        let sound = |location: Location| {
            // A pin each: a cold segment takes a while.
            let pin = self.pin();
            self.record(&pin, location).is_some_and(|record| record.verify() && record.expires_at_ms().is_ok())
        };
        sorted.retain(|location| !sound(*location));
        sorted
    }

    /// Every record of this segment that is still wanted has been verified: they are trusted from now on.
    pub fn mark_verified(&self, id: u16) {
        if let Some(segment) = self.registry.owned_segment(id) {
            segment.set_verified();
        }
    }

    /// Longest record that goes into the pool: at most half a segment is left over when the next does not fit.
    fn pool_record_bytes_max(&self) -> u32 {
        (self.options.segment_bytes - SEGMENT_HEADER_BYTES) / 2
    }

    fn append_dedicated(&self, class: usize, mut encoded: Encoded<'_>) -> Result<Appended, StoreError> {
        let capacity = (SEGMENT_HEADER_BYTES + encoded.bytes()).next_multiple_of(PAGE_BYTES);
        self.collect();
        let (id, surplus) = self.pool().reserve_new(u64::from(capacity), self.options.overdraft_bytes / 2);
        // Booked before anything that can fail, so that an error gives it back.
        let removed = self.remove_idle(surplus);
        let Some(id) = id else {
            removed?;
            return Err(self.no_room(u64::from(capacity)));
        };
        if let Err(error) = removed {
            self.pool().give_back(id, u64::from(capacity));
            return Err(error.into());
        }
        let segment = self.create(id, capacity, true)?;
        let mut writer = segment.begin(class as u8).expect("a new segment is idle");
        Ok(encoded.append_to(&mut writer).expect("the segment was made for this record"))
    }

    /// A segment to append to: an idle one, or a new one within the limit.
    fn acquire(&self, class: usize, overdraft_bytes: u64) -> Result<Writer, StoreError> {
        for _ in 0..NUDGES {
            self.collect();
            let reserved = self.pool().reserve(overdraft_bytes);
            match reserved {
                Some(Reserved::Idle(segment)) => match segment.begin(class as u8) {
                    Some(writer) => return Ok(writer),
                    None => self.pool().put(segment),
                },
                Some(Reserved::New(id)) => {
                    let segment = self.create(id, self.options.segment_bytes, false)?;
                    return Ok(segment.begin(class as u8).expect("a new segment is idle"));
                }
                // Perhaps one was freed a moment ago, and somebody may still be looking at it.
                None => self.nudge(),
            }
        }
        Err(self.no_room(u64::from(self.options.segment_bytes)))
    }

    /// Makes a segment whose id and bytes are booked; gives them back if that fails.
    fn create(&self, id: u16, bytes: u32, dedicated: bool) -> Result<Arc<Segment>, IoError> {
        let region = self.space.create(id, bytes).and_then(|region| {
            let is_whole = region.len() == bytes as usize;
            let short = || IoError::new("create", format!("{id:05}.seg"), std::io::ErrorKind::UnexpectedEof);
            is_whole.then_some(region).ok_or_else(short)
        });
        let region = region.inspect_err(|_| self.pool().give_back(id, u64::from(bytes)))?;
        let segment = Segment::fresh(id, dedicated, region);
        self.registry.insert(Arc::clone(&segment));
        self.names_changed.store(true, Ordering::Release);
        Ok(segment)
    }

    /// Removes segments that the pool has struck off already.
    fn remove_idle(&self, segments: Vec<Arc<Segment>>) -> Result<(), IoError> {
        let removed = segments.into_iter().map(|segment| self.remove(segment.id(), 0)).fold(Ok(()), Result::and);
        self.nudge();
        self.collect();
        removed
    }

    /// Unlists a segment and removes its file; the memory goes when nobody looks at it any more.
    fn remove(&self, id: u16, booked_bytes: u64) -> Result<(), IoError> {
        if !self.registry.remove(id, booked_bytes) {
            return Ok(());
        }
        self.names_changed.store(true, Ordering::Release);
        self.space.remove(id)
    }

    /// Lets the epoch move on, if no pin is in the way.
    fn nudge(&self) {
        for _ in 0..NUDGES {
            crossbeam_epoch::pin().flush();
        }
    }

    /// Books off what has gone since it was removed.
    fn collect(&self) {
        let gone = self.registry.collect();
        if !gone.is_empty() {
            let mut pool = self.pool();
            gone.into_iter().for_each(|(id, booked_bytes)| pool.give_back(id, booked_bytes));
        }
    }

    fn no_room(&self, needed_bytes: u64) -> StoreError {
        StoreError::NoRoom { needed_bytes, limit_bytes: self.pool().limit_bytes() }
    }

    fn class_lanes(&self, class: usize) -> impl Iterator<Item = &Mutex<Option<Writer>>> {
        let start = class * self.options.lanes;
        self.lanes[start..start + self.options.lanes].iter().map(|lane| &lane.0)
    }

    /// The first lane of a class that nobody is using, or the first.
    #[inline]
    fn lane(&self, class: usize) -> MutexGuard<'_, Option<Writer>> {
        let start = class * self.options.lanes;
        self.class_lanes(class).find_map(|lane| lane.try_lock().ok()).unwrap_or_else(|| lock(&self.lanes[start].0))
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        lock(&self.pool)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("options", &self.options)
            .field("failed", &self.failed.get())
            .finish_non_exhaustive()
    }
}

/// An open segment for the survivors of a merge; sealed when it is dropped.
pub struct Destination(Writer);

impl Destination {
    /// Its segment.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.0.segment().id()
    }

    /// Bytes left.
    #[must_use]
    pub fn room_bytes(&self) -> u32 {
        self.0.segment().capacity() - self.0.tail()
    }

    /// Appends a record; `None` if it does not fit.
    ///
    /// # Errors
    /// Key or value are too long.
    pub fn append(&mut self, record: &NewRecord<'_>) -> Result<Option<Appended>, StoreError> {
        Ok(Encoded::new(record)?.append_to(&mut self.0))
    }

    /// Copies a stored record with its CRC, so that damage stays visible; `None` if it does not fit.
    ///
    /// # Errors
    /// The record is damaged; nothing is copied. One that is not trusted yet is verified first.
    pub fn append_copy(&mut self, record: &Record<'_>) -> Result<Option<Appended>, Damaged> {
        copy_to(record, &mut self.0)
    }
}

/// No lock of this crate protects anything that a panic leaves half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
