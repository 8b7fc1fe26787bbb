//! Which rows a scan looks at.

use crate::rows::side::Side;

/// Conditions on a row's [`Side`], all of which must hold. The default lets every row pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Bits that the row's signature must have.
    pub signature_all: u64,
    /// The row was written before this.
    pub written_before_ms: Option<u64>,
    /// The row was written after this.
    pub written_after_ms: Option<u64>,
    /// The row's stamp is below this.
    pub stamp_below: Option<u64>,
}

impl Filter {
    /// Whether a row passes.
    #[must_use]
    pub fn passes(&self, side: &Side) -> bool {
        side.signature & self.signature_all == self.signature_all
            && self.written_before_ms.is_none_or(|bound| side.written_ms < bound)
            && self.written_after_ms.is_none_or(|bound| side.written_ms > bound)
            && self.stamp_below.is_none_or(|bound| side.stamp < bound)
    }

    /// Of the rows of a tile in `mask` those that pass. Only the columns with a condition are read.
    pub(crate) fn narrow(&self, mut mask: u64, signatures: &[u64], written: &[u64], stamps: &[u64]) -> u64 {
        if self.signature_all != 0 && mask != 0 {
            mask &= select(signatures, |signature| signature & self.signature_all == self.signature_all);
        }
        if let Some(bound) = self.written_before_ms.filter(|_| mask != 0) {
            mask &= select(written, |written| written < bound);
        }
        if let Some(bound) = self.written_after_ms.filter(|_| mask != 0) {
            mask &= select(written, |written| written > bound);
        }
        if let Some(bound) = self.stamp_below.filter(|_| mask != 0) {
            mask &= select(stamps, |stamp| stamp < bound);
        }
        mask
    }
}

fn select(column: &[u64], passes: impl Fn(u64) -> bool) -> u64 {
    column.iter().enumerate().fold(0, |mask, (row, value)| mask | u64::from(passes(*value)) << row)
}
