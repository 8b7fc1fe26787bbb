//! The model file: format SEMB, version 1, little endian.
//!
//! | offset | content |
//! | --- | --- |
//! | 0 | `SEMB` |
//! | 4 | u32 version, 1 |
//! | 8 | u32 rows |
//! | 12 | u32 rows that are pieces of words; the rest would be extra words |
//! | 16 | u32 dimension |
//! | 20 | u32 bytes of the names block |
//! | 24 | u32 CRC-32 (IEEE) of everything from byte 32 |
//! | 28 | u32 0 |
//! | 32 | names, one for each row, joined by `\n`, UTF-8 |
//! | next multiple of 64 | f32 scale of each row |
//! | next multiple of 64 | i8 components, row by row |
//!
//! The file is part of the binary, so a wrong one is a wrong build: opening it panics. Its checksum is verified by a
//! test and not at each start, which would read 8 MB that a first question does not need.

use super::DIMENSION;

const MAGIC: &[u8] = b"SEMB";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
const BLOCK_ALIGNMENT: usize = 64;

/// The parts of a model file.
pub(super) struct Table {
    names: &'static [u8],
    scales: Vec<f32>,
    /// Row by row.
    components: &'static [u8],
}

impl Table {
    /// Panics unless the bytes are such a file, of [`DIMENSION`].
    pub(super) fn open(file: &'static [u8]) -> Table {
        let number = |at: usize| {
            let bytes = file[at..at + 4].try_into().expect("four bytes");
            u32::from_le_bytes(bytes)
        };
        assert!(&file[..4] == MAGIC && number(4) == VERSION, "not a model of format SEMB version {VERSION}");
        let (rows, pieces, dimension) = (number(8) as usize, number(12), number(16) as usize);
        assert_eq!(pieces as usize, rows, "extra words are not supported");
        assert_eq!(dimension, DIMENSION, "dimension of the model");
        assert!(rows <= usize::from(u16::MAX), "rows are numbered with 16 bits");
        let names_end = HEADER_BYTES + number(20) as usize;
        let scales_at = names_end.next_multiple_of(BLOCK_ALIGNMENT);
        let scales_end = scales_at + rows * 4;
        let components_at = scales_end.next_multiple_of(BLOCK_ALIGNMENT);
        assert_eq!(file.len(), components_at + rows * dimension, "length of the model");
        let scale = |bytes: &[u8; 4]| f32::from_le_bytes(*bytes);
        Table {
            names: &file[HEADER_BYTES..names_end],
            scales: file[scales_at..scales_end].as_chunks().0.iter().map(scale).collect(),
            components: &file[components_at..],
        }
    }

    /// One name for each row, joined by line feeds.
    pub(super) fn names(&self) -> &'static [u8] {
        self.names
    }

    /// Adds a row to a sum.
    pub(super) fn add(&self, row: u16, sum: &mut [f32; DIMENSION]) {
        let scale = self.scales[usize::from(row)];
        let at = usize::from(row) * DIMENSION;
        for (sum, component) in sum.iter_mut().zip(&self.components[at..at + DIMENSION]) {
            *sum += scale * f32::from(component.cast_signed());
        }
    }
}
