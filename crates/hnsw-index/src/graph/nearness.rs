//! A row and how near it is, in one word that sorts.

use super::links::ROWS_MAX;

/// Distance, row and two marks packed into 64 bits, so that the order of the numbers is the order of nearness and ties
/// are broken by row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Nearness(u64);

const EXPANDED: u64 = 1;
const OFFERED: u64 = 2;
const ROW_SHIFT: u32 = 2;
const _: () = assert!((ROWS_MAX as u64) << ROW_SHIFT == 1 << 32, "a row's number and the marks fill 32 bits");

impl Nearness {
    /// A row that is not a number away is as far away as can be.
    #[inline]
    pub(super) fn new(distance: f32, row: u32) -> Self {
        debug_assert!(row < ROWS_MAX);
        Self(u64::from(ordered(distance)) << 32 | u64::from(row) << ROW_SHIFT)
    }

    #[inline]
    pub(super) fn row(self) -> u32 {
        (self.0 as u32) >> ROW_SHIFT
    }

    #[inline]
    pub(super) fn distance(self) -> f32 {
        let ordered = (self.0 >> 32) as u32;
        f32::from_bits(if ordered >> 31 == 1 { ordered & !SIGN } else { !ordered })
    }

    /// Whether the row's neighbours have been looked at.
    #[inline]
    pub(super) fn is_expanded(self) -> bool {
        self.0 & EXPANDED != 0
    }

    #[inline]
    pub(super) fn expanded(self) -> Self {
        Self(self.0 | EXPANDED)
    }

    /// Whether the row has been offered to the caller.
    pub(super) fn is_offered(self) -> bool {
        self.0 & OFFERED != 0
    }

    pub(super) fn offered(self) -> Self {
        Self(self.0 | OFFERED)
    }

    /// Without marks.
    pub(super) fn plain(self) -> Self {
        Self(self.0 & !(EXPANDED | OFFERED))
    }
}

const SIGN: u32 = 1 << 31;

/// Maps floats to integers of the same order: a negative number's bits grow as it falls, so they are turned around.
#[inline]
fn ordered(distance: f32) -> u32 {
    let bits = if distance.is_nan() { f32::INFINITY.to_bits() } else { distance.to_bits() };
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_words_is_the_order_of_the_distances_then_of_the_rows() {
        let distances = [f32::NEG_INFINITY, -3.5, -1e-40, -0.0, 0.0, 1e-40, 0.25, 7.0, f32::MAX, f32::INFINITY];
        for pair in distances.windows(2) {
            assert!(Nearness::new(pair[0], 900) < Nearness::new(pair[1], 3), "{pair:?}");
        }
        assert!(Nearness::new(0.5, 3) < Nearness::new(0.5, 4));
        for distance in distances {
            assert_eq!(Nearness::new(distance, 5).distance().to_bits(), distance.to_bits());
        }
    }

    #[test]
    fn what_is_not_a_number_is_far_away_whatever_its_sign() {
        for distance in [f32::NAN, -f32::NAN] {
            assert_eq!(Nearness::new(distance, ROWS_MAX - 1).distance(), f32::INFINITY);
        }
    }

    #[test]
    fn marks_change_neither_row_nor_distance() {
        let near = Nearness::new(-2.0, ROWS_MAX - 1);
        let marked = near.expanded().offered();
        assert!(marked.is_expanded() && marked.is_offered() && !near.is_expanded() && !near.is_offered());
        assert_eq!((marked.row(), marked.distance()), (ROWS_MAX - 1, -2.0));
        assert_eq!(marked.plain(), near);
    }
}
