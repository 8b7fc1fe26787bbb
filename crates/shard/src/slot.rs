//! The index slot: sixteen bytes of metadata for one entry.
//!
//! ```text
//! word 0   hash:32 | clock:30 | kind:2            (most significant bits first)
//! word 1   location:36 | expiry:20 | frequency:8
//! ```
//! The hash is in the highest bits so that slots sorted by their first word are sorted by hash, which is the order of
//! [`Table`](crate::table::Table). Clock and expiry are both cut short and wrap around. They stay unambiguous because
//! every slot is looked at by a rolling pass at least once in [`LOOK_INTERVAL_MS`]; the duties of that pass are:
//! * [`Slot::with_clock_kept_old`] on every slot, so that a long idle entry never looks young again;
//! * a new [`ExpiryHint`] for a slot whose hint is [`ExpiryHint::FAR`], and the record's exact expiry for a slot that
//!   [`ExpiryHint::may_be_expired`].
//!
//! After a pause longer than that interval (the process was down, the clock was set forward) all hints must be made
//! anew from the records, because a wrapped hint cannot be told from a sound one.

use std::fmt;

/// A rolling pass looks at every slot at least this often: six days, in milliseconds.
pub const LOOK_INTERVAL_MS: u64 = 6 * 24 * 60 * 60 * 1000;
/// [`Slot::idle_ms`] says at most this: five days, in milliseconds.
pub const IDLE_MS_MAX: u64 = 5 * 24 * 60 * 60 * 1000;
/// The number of bits of a location: a record's place in a segment or the index of a heap value.
pub const LOCATION_BITS: u32 = 36;
/// The largest location that fits a slot.
pub const LOCATION_MAX: u64 = (1 << LOCATION_BITS) - 1;

const KIND_MASK: u64 = 0b11;
const CLOCK_SHIFT: u32 = 2;
const CLOCK_BITS: u32 = 30;
const CLOCK_MODULUS: u64 = 1 << CLOCK_BITS;
const CLOCK_MASK: u64 = CLOCK_MODULUS - 1;
const HASH_SHIFT: u32 = 32;
const FREQUENCY_MASK: u64 = 0xff;
const EXPIRY_SHIFT: u32 = 8;
const EXPIRY_BITS: u32 = 20;
const EXPIRY_MASK: u64 = (1 << EXPIRY_BITS) - 1;
const LOCATION_SHIFT: u32 = EXPIRY_SHIFT + EXPIRY_BITS;

/// A clock at most this far ahead of `now` counts as "just now", not as almost one whole turn ago: threads read the
/// clock before they take a lock, and clocks are set back. 2^26 ms are 18.6 hours.
const CLOCK_AHEAD_MS: u64 = 1 << 26;

/// Hints count seconds modulo this; two of the 2^20 values have a meaning of their own.
const EXPIRY_MODULUS: u64 = (1 << EXPIRY_BITS) - 2;
const EXPIRY_FIRST: u64 = 2;
/// An expiry further away than this many seconds is [`ExpiryHint::FAR`].
const EXPIRY_HORIZON: u64 = LOOK_INTERVAL_MS / 1000;

const _: () = assert!(CLOCK_SHIFT + CLOCK_BITS == HASH_SHIFT);
const _: () = assert!(LOCATION_SHIFT + LOCATION_BITS == u64::BITS);
// A slot that was not yet old when the pass came by is still told from a young one when the pass comes by again.
const _: () = assert!(IDLE_MS_MAX + LOOK_INTERVAL_MS < CLOCK_MODULUS - CLOCK_AHEAD_MS);
// A near expiry lies in the future half of the circle when it is stored; one second is lost to rounding on either side.
const _: () = assert!(EXPIRY_HORIZON + 1 < EXPIRY_MODULUS / 2);
// An expired slot is looked at before its expiry enters the future half again.
const _: () = assert!(LOOK_INTERVAL_MS / 1000 + 1 < EXPIRY_MODULUS / 2);

/// What a slot's location points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// Nothing: the slot is a gap of the table.
    Empty,
    /// A record in a segment; the location is the segment and offset.
    Record,
    /// A value on the heap; the location is its index in a slab.
    Heap,
    /// A record with an annex, which has a row in a space; the location is the segment and offset.
    Annotated,
}

impl SlotKind {
    /// Whether the location is a record's.
    #[inline]
    #[must_use]
    pub fn is_record(self) -> bool {
        match self {
            SlotKind::Record | SlotKind::Annotated => true,
            SlotKind::Empty | SlotKind::Heap => false,
        }
    }
}

/// One entry of the index. A plain value of 16 bytes; the `with_*` methods give a changed copy.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Slot {
    head: u64,
    body: u64,
}

impl Slot {
    /// A gap.
    pub const EMPTY: Slot = Slot { head: 0, body: 0 };

    /// A slot with clock, expiry and frequency zero. Panics if the location has more than [`LOCATION_BITS`] bits: the
    /// stores never hand out such a location.
    pub fn new(hash: u32, kind: SlotKind, location: u64) -> Slot {
        Slot { head: u64::from(hash) << HASH_SHIFT | kind_bits(kind), body: 0 }.with_location(location)
    }

    /// The slot of a checkpoint image; `None` if a gap is not all zero.
    pub fn from_words(words: [u64; 2]) -> Option<Slot> {
        let [head, body] = words;
        match head & KIND_MASK {
            0 if head != 0 || body != 0 => None,
            _ => Some(Slot { head, body }),
        }
    }

    /// Both words, as stored in a checkpoint image.
    pub fn words(self) -> [u64; 2] {
        [self.head, self.body]
    }

    /// The 32 bits of the key's hash by which the table is sorted.
    #[inline]
    pub fn hash(self) -> u32 {
        (self.head >> HASH_SHIFT) as u32
    }

    /// What the location points at.
    #[inline]
    pub fn kind(self) -> SlotKind {
        match self.head & KIND_MASK {
            0 => SlotKind::Empty,
            1 => SlotKind::Record,
            2 => SlotKind::Heap,
            _ => SlotKind::Annotated,
        }
    }

    /// True for a gap.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.head & KIND_MASK == 0
    }

    /// Where the entry lies; see [`SlotKind`].
    #[inline]
    pub fn location(self) -> u64 {
        self.body >> LOCATION_SHIFT
    }

    /// When the entry expires, roughly.
    #[inline]
    pub fn expiry_hint(self) -> ExpiryHint {
        ExpiryHint((self.body >> EXPIRY_SHIFT & EXPIRY_MASK) as u32)
    }

    /// The access counter; its scale is the eviction policy's affair.
    #[inline]
    pub fn frequency(self) -> u8 {
        (self.body & FREQUENCY_MASK) as u8
    }

    /// Milliseconds since the last access, between 0 and [`IDLE_MS_MAX`]. An access up to 18 hours in the future
    /// counts as now.
    #[inline]
    pub fn idle_ms(self, now_ms: u64) -> u64 {
        let ago = now_ms.wrapping_sub(self.head >> CLOCK_SHIFT) & CLOCK_MASK;
        if ago >= CLOCK_MODULUS - CLOCK_AHEAD_MS { 0 } else { ago.min(IDLE_MS_MAX) }
    }

    /// The entry was accessed at `now_ms`.
    #[inline]
    pub fn with_clock(self, now_ms: u64) -> Slot {
        let head = self.head & !(CLOCK_MASK << CLOCK_SHIFT) | (now_ms & CLOCK_MASK) << CLOCK_SHIFT;
        Slot { head, ..self }
    }

    /// The rolling pass's duty: an entry as idle as [`Slot::idle_ms`] can tell is kept at that age, so that its clock
    /// never wraps around to "accessed just now".
    pub fn with_clock_kept_old(self, now_ms: u64) -> Slot {
        if self.idle_ms(now_ms) < IDLE_MS_MAX { self } else { self.with_clock(now_ms.wrapping_sub(IDLE_MS_MAX)) }
    }

    /// The entry has moved. Panics if the location has more than [`LOCATION_BITS`] bits.
    pub fn with_location(self, location: u64) -> Slot {
        assert!(location <= LOCATION_MAX, "location {location:#x} has more than {LOCATION_BITS} bits");
        Slot { body: self.body & !(LOCATION_MAX << LOCATION_SHIFT) | location << LOCATION_SHIFT, ..self }
    }

    /// The location is now of this kind. Panics for [`SlotKind::Empty`]: a gap carries nothing else, it is
    /// [`Slot::EMPTY`].
    pub fn with_kind(self, kind: SlotKind) -> Slot {
        assert!(kind != SlotKind::Empty, "a gap is Slot::EMPTY");
        Slot { head: self.head & !KIND_MASK | kind_bits(kind), ..self }
    }

    /// The entry's expiry has changed.
    pub fn with_expiry_hint(self, hint: ExpiryHint) -> Slot {
        Slot { body: self.body & !(EXPIRY_MASK << EXPIRY_SHIFT) | u64::from(hint.0) << EXPIRY_SHIFT, ..self }
    }

    /// The access counter has changed.
    #[inline]
    pub fn with_frequency(self, frequency: u8) -> Slot {
        Slot { body: self.body & !FREQUENCY_MASK | u64::from(frequency), ..self }
    }

    /// A slot read from a table, whose words are sound because only slots were ever put there.
    #[inline]
    pub(crate) fn from_sound_words(head: u64, body: u64) -> Slot {
        Slot { head, body }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("kind", &self.kind())
            .field("hash", &format_args!("{:#010x}", self.hash()))
            .field("location", &self.location())
            .field("clock", &(self.head >> CLOCK_SHIFT & CLOCK_MASK))
            .field("expiry", &self.expiry_hint())
            .field("frequency", &self.frequency())
            .finish()
    }
}

/// When an entry expires, as far as 20 bits can tell: enough to leave the records of unexpired entries untouched.
///
/// 0 is "never", 1 is "more than six days away, look again", anything else is the expiry in whole seconds (rounded up)
/// modulo 2^20 - 2, plus 2. One turn is 12.1 days. Now, too, is rounded up to seconds, so the second of the expiry is
/// never greater than the second of a moment at which the entry is expired. Seen from now, the half turn behind is
/// the past and the half turn ahead (6.07 days) is the future. That never calls an expired entry alive:
/// * a near expiry is stored only when it is at most six days ahead, which is less than half a turn; once it has
///   passed it stays in the past half for 6.07 days, and within six days the rolling pass finds and removes the entry;
/// * an expiry already past is stored as "now", so the same six days begin when it is stored;
/// * a far expiry is more than six days away when it is stored, so the pass makes a new hint of it before it passes.
///
/// The other mistake is harmless: "may be expired" up to a second early, or after the clock was set far back, only
/// makes the caller read the record's exact expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ExpiryHint(u32);

impl ExpiryHint {
    /// The entry never expires.
    pub const NONE: ExpiryHint = ExpiryHint(0);
    /// The entry expires more than six days after the hint was made.
    pub const FAR: ExpiryHint = ExpiryHint(1);

    /// The hint for an expiry in Unix milliseconds, `None` for never, made at `now_ms`.
    pub fn new(expires_at_ms: Option<u64>, now_ms: u64) -> ExpiryHint {
        let Some(expires_at_ms) = expires_at_ms else { return ExpiryHint::NONE };
        let now = now_ms.div_ceil(1000);
        let second = expires_at_ms.div_ceil(1000).max(now);
        if second - now > EXPIRY_HORIZON {
            return ExpiryHint::FAR;
        }
        ExpiryHint((EXPIRY_FIRST + second % EXPIRY_MODULUS) as u32)
    }

    /// False only if the entry is surely not expired (`expires_at_ms > now_ms`), provided that the rolling pass keeps
    /// its six days.
    #[inline]
    pub fn may_be_expired(self, now_ms: u64) -> bool {
        if self.0 <= ExpiryHint::FAR.0 {
            return false;
        }
        let now = now_ms.div_ceil(1000) % EXPIRY_MODULUS;
        let second = u64::from(self.0) - EXPIRY_FIRST;
        (now + EXPIRY_MODULUS - second) % EXPIRY_MODULUS < EXPIRY_MODULUS / 2
    }
}

fn kind_bits(kind: SlotKind) -> u64 {
    match kind {
        SlotKind::Empty => 0,
        SlotKind::Record => 1,
        SlotKind::Heap => 2,
        SlotKind::Annotated => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Some day in 2026, in Unix milliseconds.
    const NOW_MS: u64 = 1_780_000_000_123;

    #[test]
    fn a_slot_is_sixteen_bytes() {
        assert_eq!(size_of::<Slot>(), 16);
    }

    #[test]
    fn words_of_a_dirty_gap_are_refused() {
        assert_eq!(Slot::from_words([0, 1]), None);
        assert_eq!(Slot::from_words([4, 0]), None);
        assert_eq!(Slot::from_words([0, 0]), Some(Slot::EMPTY));
    }

    #[test]
    #[should_panic(expected = "more than 36 bits")]
    fn a_location_that_does_not_fit_is_refused() {
        Slot::new(0, SlotKind::Record, 1 << 36);
    }

    #[test]
    fn an_access_from_the_near_future_counts_as_now() {
        let slot = Slot::new(1, SlotKind::Record, 2).with_clock(NOW_MS + 50);
        assert_eq!(slot.idle_ms(NOW_MS), 0);
        assert_eq!(slot.idle_ms(NOW_MS + 51), 1);
    }

    #[test]
    fn an_entry_looked_at_every_six_days_never_looks_young_again() {
        let mut slot = Slot::new(1, SlotKind::Record, 2).with_clock(NOW_MS);
        for look in 1..=100 {
            let now_ms = NOW_MS + look * LOOK_INTERVAL_MS;
            assert_eq!(slot.idle_ms(now_ms), IDLE_MS_MAX, "look {look}");
            slot = slot.with_clock_kept_old(now_ms);
        }
        // Without the pass the thirty bits wrap: this is what the duty is for.
        let unattended = Slot::new(1, SlotKind::Record, 2).with_clock(NOW_MS);
        assert_eq!(unattended.idle_ms(NOW_MS + CLOCK_MODULUS + 7), 7);
    }

    #[test]
    fn an_entry_without_expiry_is_never_suspected() {
        assert_eq!(ExpiryHint::new(None, NOW_MS), ExpiryHint::NONE);
        assert!(!ExpiryHint::NONE.may_be_expired(u64::MAX));
    }

    #[test]
    fn an_expiry_already_past_is_suspected_at_once_however_old() {
        for expires_at_ms in [0, 1, NOW_MS - 9 * LOOK_INTERVAL_MS / 6, NOW_MS - LOOK_INTERVAL_MS * 2, NOW_MS] {
            assert!(ExpiryHint::new(Some(expires_at_ms), NOW_MS).may_be_expired(NOW_MS), "{expires_at_ms}");
        }
    }

    #[test]
    fn the_horizon_is_six_days_to_the_second() {
        let at = |after_ms| ExpiryHint::new(Some(NOW_MS + after_ms), NOW_MS);
        assert_eq!(at(LOOK_INTERVAL_MS + 1000), ExpiryHint::FAR);
        assert_ne!(at(LOOK_INTERVAL_MS), ExpiryHint::FAR);
        assert!(!at(LOOK_INTERVAL_MS).may_be_expired(NOW_MS));
        assert!(at(LOOK_INTERVAL_MS).may_be_expired(NOW_MS + LOOK_INTERVAL_MS));
        assert_eq!(ExpiryHint::new(Some(u64::MAX), NOW_MS), ExpiryHint::FAR);
    }

    #[test]
    fn a_hint_left_alone_for_half_a_turn_does_wrap() {
        // Guards the documentation: the six days are a real condition, not a precaution.
        let hint = ExpiryHint::new(Some(NOW_MS), NOW_MS);
        assert!(!hint.may_be_expired(NOW_MS + 1000 * EXPIRY_MODULUS / 2 + 2000));
    }

    proptest! {
        #[test]
        fn fields_do_not_disturb_each_other(
            hash: u32, location in 0..=LOCATION_MAX, frequency: u8, clock: u64, hint in 0u32..1 << 20, heap: bool,
        ) {
            let kind = if heap { SlotKind::Heap } else { SlotKind::Record };
            let slot = Slot::new(hash, SlotKind::Record, LOCATION_MAX - location)
                .with_clock(!clock).with_expiry_hint(ExpiryHint(!hint & EXPIRY_MASK as u32)).with_frequency(!frequency)
                .with_frequency(frequency).with_location(location).with_clock(clock)
                .with_expiry_hint(ExpiryHint(hint)).with_kind(kind);
            prop_assert_eq!(slot.hash(), hash);
            prop_assert_eq!(slot.kind(), kind);
            prop_assert_eq!(slot.location(), location);
            prop_assert_eq!(slot.frequency(), frequency);
            prop_assert_eq!(slot.expiry_hint(), ExpiryHint(hint));
            prop_assert_eq!(slot.idle_ms(clock), 0);
            prop_assert_eq!(slot.idle_ms(clock.wrapping_add(12_345)), 12_345);
            prop_assert_eq!(Slot::from_words(slot.words()), Some(slot));
        }

        /// Plays an entry's life under the rolling pass: whatever the distances, no check between two looks calls an
        /// expired entry alive, and one that is far from expiring is not suspected.
        #[test]
        fn an_expired_entry_is_always_suspected_if_looked_at_every_six_days(
            start_ms in 0u64..1 << 45,
            until_ms in prop_oneof![0u64..5000, 0..LOOK_INTERVAL_MS * 2, 0u64..1 << 40],
            looks in prop::collection::vec(1..=LOOK_INTERVAL_MS, 1..40),
            checks in prop::collection::vec(0.0f64..=1.0, 8),
        ) {
            let expires_at_ms = start_ms + until_ms;
            let mut hint = ExpiryHint::new(Some(expires_at_ms), start_ms);
            let mut last_ms = start_ms;
            for look in looks {
                for part in &checks {
                    let now_ms = last_ms + (look as f64 * part) as u64;
                    let suspected = hint.may_be_expired(now_ms);
                    prop_assert!(suspected || expires_at_ms > now_ms, "alive at {} though expired", now_ms);
                    prop_assert!(!suspected || expires_at_ms < now_ms + 1000, "suspected at {} far too early", now_ms);
                }
                last_ms += look;
                if hint == ExpiryHint::FAR {
                    prop_assert!(expires_at_ms > last_ms);
                    hint = ExpiryHint::new(Some(expires_at_ms), last_ms);
                }
                if expires_at_ms <= last_ms {
                    prop_assert!(hint.may_be_expired(last_ms));
                    break;
                }
            }
        }
    }
}
