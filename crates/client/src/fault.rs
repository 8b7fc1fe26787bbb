//! Faults that tests plant to show that their checks would see them. Builds without debug assertions have none.

use crate::Cache;
use std::sync::atomic::{AtomicU8, Ordering};

/// A mistake in keeping the first tier coherent.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// Pushes that name changed keys are not obeyed.
    ChangesIgnored = 1,
    /// An answer is kept although its key was invalidated while it was under way.
    GenerationsIgnored,
    /// The tier outlives the connection that said what changes.
    LossIgnored,
    /// What is known of a key is noted after its read was answered, not before it was sent.
    BegunLate,
}

/// The fault that is planted, if one is.
#[derive(Debug, Default)]
pub(crate) struct Planted(AtomicU8);

impl Planted {
    #[inline]
    pub(crate) fn is(&self, fault: Fault) -> bool {
        cfg!(debug_assertions) && self.0.load(Ordering::Relaxed) == fault as u8
    }

    pub(crate) fn plant(&self, fault: Fault) {
        self.0.store(fault as u8, Ordering::Relaxed);
    }
}

impl Cache {
    /// Plants a fault, if this is a build with debug assertions.
    #[doc(hidden)]
    pub fn plant_fault(&self, fault: Fault) {
        self.nodes().iter().filter_map(|node| node.l1.as_ref()).for_each(|l1| l1.planted.plant(fault));
    }
}
