//! The number of a log frame.

use std::fmt;

/// The number of one frame: one commit. The first frame is 1 and there are no gaps; 0 means "before everything".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Before the first frame.
    pub const ZERO: Lsn = Lsn(0);

    /// The number of the frame after this one.
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }

    /// The number of the frame before this one; zero stays zero.
    pub fn previous(self) -> Lsn {
        Lsn(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
