//! What a shard has to be told before it is read again, beyond the keys that are noted in [`Fallback`](crate::fallback::Fallback).

use crate::rendezvous::Rendezvous;
use crate::{Request, fallback};
use std::sync::Arc;

/// So many invalidations are noted. When there are more, everything is owed.
const REQUESTS_MAX: usize = 256;
/// So many bytes of invalidations are noted. When there are more, everything is owed.
const BYTES_MAX: usize = 1 << 20;

/// Removals that did not reach the shard, or not for certain.
#[derive(Debug, Default)]
pub(super) struct Debts {
    /// Invalidations, which do no harm when they are carried out twice, in the order in which they were asked for.
    pub(super) invalidations: Vec<Invalidation>,
    bytes: usize,
    /// Every entry that one of these does not give to the shard is to be deleted: it may have been changed elsewhere since.
    pub(super) sweeps: Vec<Arc<Rendezvous>>,
}

#[derive(Debug)]
pub(super) struct Invalidation {
    pub(super) request: Request,
    /// The space that it names.
    pub(super) space: Option<String>,
}

impl Debts {
    pub(super) fn is_empty(&self) -> bool {
        self.invalidations.is_empty() && self.sweeps.is_empty()
    }

    /// Notes an invalidation. What is owed instead, if there are too many.
    pub(super) fn invalidation(&mut self, request: Request, space: Option<&str>) -> Option<fallback::Owed> {
        self.bytes += request.len_bytes();
        self.invalidations.push(Invalidation { request, space: space.map(str::to_owned) });
        self.overflow()
    }

    /// Takes back what could not be paid: it is older than what has come since.
    pub(super) fn take_back(&mut self, mut older: Debts) -> Option<fallback::Owed> {
        older.invalidations.append(&mut self.invalidations);
        older.sweeps.append(&mut self.sweeps);
        older.bytes += self.bytes;
        *self = older;
        self.overflow()
    }

    /// The sweeps alone.
    pub(super) fn take_sweeps(&mut self) -> Debts {
        Debts { sweeps: std::mem::take(&mut self.sweeps), ..Debts::default() }
    }

    fn overflow(&mut self) -> Option<fallback::Owed> {
        if self.invalidations.len() <= REQUESTS_MAX && self.bytes <= BYTES_MAX {
            return None;
        }
        // To delete everything contains them, and the sweeps as well.
        *self = Debts::default();
        Some(fallback::Owed::Everything)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(debts: &Debts) -> Vec<usize> {
        debts.invalidations.iter().map(|invalidation| invalidation.request.arguments()).collect()
    }

    #[test]
    fn what_could_not_be_paid_comes_before_what_came_since() {
        let mut debts = Debts::default();
        assert_eq!(debts.invalidation(Request::new("A").arg("1"), None), None);
        let unpaid = std::mem::take(&mut debts);
        assert_eq!(debts.invalidation(Request::new("B").args(["1", "2"]), None), None);
        assert_eq!(debts.take_back(unpaid), None);
        assert_eq!(names(&debts), [2, 3]);
    }

    #[test]
    fn too_many_invalidations_or_too_long_ones_are_everything() {
        let mut many = Debts::default();
        let owed: Vec<_> = (0..=REQUESTS_MAX).map(|_| many.invalidation(Request::new("A"), None)).collect();
        assert!(owed[..REQUESTS_MAX].iter().all(Option::is_none));
        assert_eq!(owed[REQUESTS_MAX], Some(fallback::Owed::Everything));
        assert!(many.is_empty());
        let mut long = Debts::default();
        assert_eq!(
            long.invalidation(Request::new("A").arg(vec![0; BYTES_MAX]), None),
            Some(fallback::Owed::Everything)
        );
    }
}
