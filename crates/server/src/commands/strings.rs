//! What the commands on strings share.

use crate::command::{CommandError, bulk};
use crate::server::Server;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;
use sutra_protocol::Reply;
use sutra_shard::{Put, StringRef, Txn, Value};

/// The string that a command is about to change, and what the changed one keeps (expiry and cost). Counts no hit or miss, as
/// Redis counts none for writes.
pub(super) fn present<'t>(txn: &'t Txn<'_>, db: u8, key: &[u8]) -> Result<Option<(StringRef<'t>, Put)>, CommandError> {
    let Some(entry) = txn.peek(db, key) else { return Ok(None) };
    match entry.value {
        Value::String(value) => {
            #[expect(clippy::float_cmp, reason = "1 is the stand-in for no cost, never the result of a calculation")]
            let cost = (entry.cost != 1.0).then_some(entry.cost);
            Ok(Some((value, Put { expires_at_ms: entry.expires_at_ms, cost })))
        }
        Value::Hash(_) => Err(CommandError::WrongType),
    }
}

/// Bytes that a string may grow to: proto-max-bulk-len.
pub(super) fn string_bytes_max(server: &Server) -> usize {
    usize::try_from(server.settings.bulk_bytes_max.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
}

/// Refuses to let a string reach beyond [`string_bytes_max`], before anything of that size is allocated.
pub(super) fn check_length(server: &Server, offset: usize, bytes: usize) -> Result<(), CommandError> {
    match offset.checked_add(bytes) {
        Some(length) if length <= string_bytes_max(server) => Ok(()),
        Some(_) | None => Err(CommandError::text("ERR string exceeds maximum allowed size (proto-max-bulk-len)")),
    }
}

/// The value for a reply that outlives the entry.
pub(super) fn owned(value: Option<StringRef<'_>>) -> Reply<'static> {
    value.map_or(Reply::Null, |value| Reply::BulkOwned(value.as_slice().to_vec()))
}

/// The value, or nil.
pub(super) fn bulk_or_null(value: Option<StringRef<'_>>) -> Reply<'_> {
    value.map_or(Reply::Null, bulk)
}

/// A count as a reply.
pub(super) fn integer(count: usize) -> Reply<'static> {
    Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Where the inclusive range from `start` to `end` lies in a string of `length` units, both counted from the end if negative;
/// `None` if it is empty.
pub(super) fn range(start: i64, end: i64, length: usize) -> Option<RangeInclusive<usize>> {
    let reversed = start < 0 && end < 0 && start > end;
    if reversed { None } else { clamped_range(start, end, length) }
}

/// As [`range`], but of a reversed range that lies before the string the first unit is left, since its ends are moved there
/// before they are compared. Only BITPOS has it so.
pub(super) fn clamped_range(start: i64, end: i64, length: usize) -> Option<RangeInclusive<usize>> {
    let length = i64::try_from(length).ok()?;
    let from_start = |index: i64| if index < 0 { index.saturating_add(length).max(0) } else { index };
    let (first, last) = (from_start(start), from_start(end).min(length - 1));
    if first > last {
        return None;
    }
    Some(usize::try_from(first).ok()?..=usize::try_from(last).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_counts_from_either_end_and_is_cut_to_the_string() {
        for (start, end, length, expected) in [
            (0, -1, 5, Some(0..=4)),
            (1, 2, 5, Some(1..=2)),
            (-3, -2, 5, Some(2..=3)),
            (-100, 100, 5, Some(0..=4)),
            (3, 2, 5, None),
            (-2, -3, 5, None),
            (5, 9, 5, None),
            (0, -1, 0, None),
            (0, -100, 5, Some(0..=0)),
            (i64::MIN, i64::MAX, 5, Some(0..=4)),
        ] {
            assert_eq!(range(start, end, length), expected, "{start} to {end} of {length}");
        }
        assert_eq!(range(-7, -9, 5), None);
        assert_eq!(clamped_range(-7, -9, 5), Some(0..=0));
    }
}
