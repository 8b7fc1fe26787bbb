//! Faults that tests plant to show that their checks would see them. Builds without debug assertions have none.

use crate::shard::Shard;
use std::sync::atomic::{AtomicU8, Ordering};

/// A mistake in the handling of invalidations.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// An invalidation is published while transactions are under way.
    PublishWithoutLocks = 1,
    /// The sweep does not look at some rows.
    SweepMissesRows,
    /// Readers take what is being swept for live.
    ReadersIgnoreActive,
    /// Leases are not compared with invalidations.
    LeasesIgnoreInvalidations,
    /// The row of an entry that is overwritten by a plain one stays.
    RowLeftBehind,
    /// Subscribers are not told of changes of some keys.
    ChangeUntold,
}

/// The fault that is planted, if one is.
#[derive(Debug, Default)]
pub(crate) struct Planted(AtomicU8);

impl Planted {
    #[inline]
    pub(crate) fn is(&self, fault: Fault) -> bool {
        cfg!(debug_assertions) && self.0.load(Ordering::Relaxed) == fault as u8
    }
}

impl Shard {
    /// Plants a fault, if this is a build with debug assertions.
    #[doc(hidden)]
    pub fn plant_fault(&self, fault: Fault) {
        self.meaning.planted.0.store(fault as u8, Ordering::Relaxed);
    }
}
