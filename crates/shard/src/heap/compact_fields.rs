//! The fields of a small hash, one pair after the other in one run of bytes, in the order in which they were added.
//!
//! Every operation walks the pairs: for the few hundred short fields that are allowed here that is faster than hashing
//! and leaves no byte unused. The bytes are always whole, sound pairs (see the `codec` module), no name occurs twice,
//! and `next_expiry` is exact.

use super::codec::{Pair, pair_bytes, read_pair, reserve_quarter, write_pair};
use super::hash::Field;
use std::ops::Range;

/// The buffer is cut when more than this many bytes and more than half of it are unused.
const SPARE_BYTES_MAX: usize = 64;

/// The fields of a small hash. See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct CompactFields {
    bytes: Vec<u8>,
    count: usize,
    next_expiry_ms: Option<u64>,
    extended: bool,
}

impl CompactFields {
    /// Takes pairs that were checked: whole, sound, `count` of them, all names different.
    pub(super) fn from_sound_bytes(bytes: &[u8], count: usize, extended: bool) -> CompactFields {
        let mut compact = CompactFields { bytes: bytes.to_vec(), count, next_expiry_ms: None, extended };
        compact.find_next_expiry();
        compact
    }

    /// The pairs.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of fields, expired ones included.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether a field ever had an expiry.
    pub(super) fn is_extended(&self) -> bool {
        self.extended
    }

    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.next_expiry_ms
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn live_count(&self, now_ms: u64) -> usize {
        if self.next_expiry_ms.is_none_or(|at_ms| at_ms > now_ms) {
            return self.count;
        }
        self.fields().filter(|field| field.is_live(now_ms)).count()
    }

    /// All fields, expired ones included.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.pairs().map(|pair| pair.field)
    }

    pub(super) fn field(&self, name: &[u8]) -> Option<Field<'_>> {
        self.find(name).map(|pair| pair.field)
    }

    pub(super) fn set(&mut self, name: &[u8], value: &[u8], keep_ttl: bool, now_ms: u64) -> bool {
        let Some(Pair { field: old, start, value_start, end }) = self.find(name) else {
            let field = Field { name, value, expires_at_ms: None };
            reserve_quarter(&mut self.bytes, pair_bytes(field));
            write_pair(&mut self.bytes, field);
            self.count += 1;
            return true;
        };
        let is_live = old.is_live(now_ms);
        let old_expiry = old.expires_at_ms;
        let expires_at_ms = old_expiry.filter(|_| keep_ttl && is_live);
        if expires_at_ms == old_expiry && old.value.len() == value.len() {
            self.bytes[value_start..end].copy_from_slice(value);
        } else {
            self.rewrite(start..end, Field { name, value, expires_at_ms });
            self.expiry_changed(old_expiry, expires_at_ms);
        }
        !is_live
    }

    pub(super) fn remove(&mut self, name: &[u8], now_ms: u64) -> bool {
        let Some(Pair { field, start, end, .. }) = self.find(name) else { return false };
        let is_live = field.is_live(now_ms);
        let old_expiry = field.expires_at_ms;
        self.bytes.drain(start..end);
        self.count -= 1;
        self.expiry_changed(old_expiry, None);
        self.cut_spare();
        is_live
    }

    /// Gives a field that is there another expiry.
    pub(super) fn set_expiry(&mut self, name: &[u8], expires_at_ms: Option<u64>) {
        let Some(Pair { field: old, start, end, .. }) = self.find(name) else { return };
        let old_expiry = old.expires_at_ms;
        let value = old.value.to_vec();
        self.rewrite(start..end, Field { name, value: &value, expires_at_ms });
        self.extended |= expires_at_ms.is_some();
        self.expiry_changed(old_expiry, expires_at_ms);
    }

    pub(super) fn remove_expired(&mut self, now_ms: u64, limit: usize) -> Vec<Vec<u8>> {
        if self.next_expiry_ms.is_none_or(|at_ms| at_ms > now_ms) {
            return Vec::new();
        }
        let mut removed = Vec::new();
        let mut kept = Vec::with_capacity(self.bytes.len());
        for pair in self.pairs() {
            if pair.field.is_live(now_ms) || removed.len() == limit {
                kept.extend_from_slice(&self.bytes[pair.start..pair.end]);
            } else {
                removed.push(pair.field.name.to_vec());
            }
        }
        self.bytes = kept;
        self.count -= removed.len();
        self.find_next_expiry();
        self.cut_spare();
        removed
    }

    fn pairs(&self) -> impl Iterator<Item = Pair<'_>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let pair = read_pair(&self.bytes, at)?;
            at = pair.end;
            Some(pair)
        })
    }

    fn find(&self, name: &[u8]) -> Option<Pair<'_>> {
        self.pairs().find(|pair| pair.field.name == name)
    }

    fn rewrite(&mut self, range: Range<usize>, field: Field<'_>) {
        let mut pair = Vec::with_capacity(pair_bytes(field));
        write_pair(&mut pair, field);
        reserve_quarter(&mut self.bytes, pair.len().saturating_sub(range.len()));
        self.bytes.splice(range, pair);
        self.cut_spare();
    }

    fn expiry_changed(&mut self, old: Option<u64>, new: Option<u64>) {
        if old != new && old == self.next_expiry_ms && old.is_some() {
            self.find_next_expiry();
        } else if let Some(new) = new {
            self.next_expiry_ms = Some(self.next_expiry_ms.map_or(new, |at_ms| at_ms.min(new)));
        }
    }

    fn find_next_expiry(&mut self) {
        self.next_expiry_ms = self.fields().filter_map(|field| field.expires_at_ms).min();
    }

    fn cut_spare(&mut self) {
        let len = self.bytes.len();
        if self.bytes.capacity() > 2 * len + SPARE_BYTES_MAX {
            self.bytes.shrink_to(len + len / 4);
        }
    }
}
