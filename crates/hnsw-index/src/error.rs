//! What can be wrong with a vector, and why a row may not be stored.

use std::fmt;
use std::io;

/// Why bytes are not a vector of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorError {
    /// It has another number of dimensions than the space.
    WrongDimension {
        /// Dimensions of what was given; of bytes, their number divided by four, rounded down.
        got: usize,
        /// Dimensions of the space.
        expected: usize,
    },
    /// The bytes are not whole numbers of four bytes each.
    Ragged {
        /// How many there are.
        bytes: usize,
        /// Dimensions of the space.
        expected: usize,
    },
    /// A value is infinite or not a number.
    NotFinite {
        /// Where it stands, from 0.
        index: usize,
    },
    /// Every value is zero, so it has no direction.
    ZeroLength,
}

impl fmt::Display for VectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VectorError::WrongDimension { got, expected } => {
                write!(f, "vector has {got} dimensions, the space has {expected}")
            }
            VectorError::Ragged { bytes, expected } => {
                write!(f, "vector is {bytes} bytes, the space has {expected} dimensions of 4 bytes")
            }
            VectorError::NotFinite { index } => write!(f, "vector's value {index} is not a finite number"),
            VectorError::ZeroLength => f.write_str("vector has length zero"),
        }
    }
}

impl std::error::Error for VectorError {}

/// Why a row could not be stored.
#[derive(Debug)]
pub enum RowsError {
    /// The codes are of another number of dimensions; 0 stands for no vector.
    WrongDimension {
        /// Dimensions of what was given.
        got: usize,
        /// Dimensions of these rows.
        expected: usize,
    },
    /// More rows than a `u32` can count.
    Full,
    /// There is no memory, or no place on the disk, for another block of rows.
    Io(io::Error),
}

impl fmt::Display for RowsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RowsError::WrongDimension { got, expected } => {
                write!(f, "codes are of {got} dimensions, the rows of {expected}")
            }
            RowsError::Full => f.write_str("no row number is left"),
            RowsError::Io(error) => write!(f, "no room for another block of rows: {error}"),
        }
    }
}

impl std::error::Error for RowsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RowsError::Io(error) => Some(error),
            RowsError::WrongDimension { .. } | RowsError::Full => None,
        }
    }
}

impl From<io::Error> for RowsError {
    fn from(error: io::Error) -> RowsError {
        RowsError::Io(error)
    }
}
