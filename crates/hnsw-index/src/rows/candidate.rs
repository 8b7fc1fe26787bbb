//! What scans hand out.

use crate::rows::side::Side;

/// A row that may meet a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its number.
    pub row: u32,
    /// Its side, as it was together with the codes that the bounds are of.
    pub side: Side,
    /// The similarity is not below this: a threshold up to it is certainly met.
    pub lower: f32,
    /// The similarity is not above this.
    pub upper: f32,
}

/// A row among the most similar ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its number.
    pub row: u32,
    /// Its side when it was scored.
    pub side: Side,
    /// What the caller said it is.
    pub similarity: f32,
}
