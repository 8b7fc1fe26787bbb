//! What the owner of rows keeps beside each.

/// Data of a row that means something to its owner. Here it is only copied, and compared by a [`crate::Filter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Side {
    /// Who the row belongs to.
    pub owner: [u64; 2],
    /// When it was written, in milliseconds of the owner's clock.
    pub written_ms: u64,
    /// Bits that stand for the labels of the row.
    pub signature: u64,
    /// A number that grows with time, of the owner's choice.
    pub stamp: u64,
}
