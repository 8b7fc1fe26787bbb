//! Vectors in a `.npy` file: read in blocks, so that none of them has to fit into memory, and shared with peers as they are.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Rows that are read or made at a time.
pub(super) const BLOCK_ROWS: usize = 4096;
/// Bytes before the rows of a file that we write.
const HEADER_BYTES: usize = 128;
/// Magic, version and the length of the header's text, of version 1.
const PREFIX_BYTES: usize = 10;

/// Appends the rows of a range.
type Make<'m> = dyn FnMut(Range<usize>, &mut Vec<f32>) -> io::Result<()> + 'm;

/// Rows of little-endian f32.
#[derive(Debug)]
pub(super) struct Vectors {
    file: File,
    path: PathBuf,
    start: u64,
    pub(super) dim: usize,
    pub(super) count: usize,
}

impl Vectors {
    /// Opens a two-dimensional `.npy` file of `<f4` in C order.
    pub(super) fn open(path: &Path) -> io::Result<Vectors> {
        let file = File::open(path)?;
        let mut prefix = [0; PREFIX_BYTES];
        file.read_exact_at(&mut prefix, 0)?;
        let text_bytes = usize::from(u16::from_le_bytes([prefix[8], prefix[9]]));
        let mut text = vec![0; text_bytes];
        file.read_exact_at(&mut text, PREFIX_BYTES as u64)?;
        let text = String::from_utf8_lossy(&text);
        let refuse = || io::Error::other(format!("{}: not rows of little-endian f32: {text}", path.display()));
        let shape = || {
            let inner = text.split('(').nth(1)?.split(')').next()?;
            let mut numbers = inner.split(',').map(str::trim);
            let (count, dim) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
            (dim > 0 && text.contains("<f4") && text.contains("False")).then_some((count, dim))
        };
        let is_npy = prefix.starts_with(b"\x93NUMPY\x01");
        let (count, dim) = shape().filter(|_| is_npy).ok_or_else(refuse)?;
        let start = (PREFIX_BYTES + text_bytes) as u64;
        if file.metadata()?.len() < start + (count * dim * 4) as u64 {
            return Err(refuse());
        }
        Ok(Vectors { file, path: path.to_owned(), start, dim, count })
    }

    /// Writes `count` rows that `make` appends block by block.
    pub(super) fn create(path: &Path, count: usize, dim: usize, make: &mut Make<'_>) -> io::Result<Vectors> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        out.write_all(&header("<f4", &format!("({count}, {dim})")))?;
        let mut block = Vec::new();
        for range in blocks(0..count) {
            block.clear();
            make(range, &mut block)?;
            let bytes: Vec<u8> = block.iter().flat_map(|value| value.to_le_bytes()).collect();
            out.write_all(&bytes)?;
        }
        out.flush()?;
        drop(out);
        Vectors::open(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of consecutive rows.
    pub(super) fn read(&self, rows: Range<usize>, bytes: &mut Vec<u8>) -> io::Result<()> {
        let row_bytes = self.dim * 4;
        bytes.resize(rows.len() * row_bytes, 0);
        self.file.read_exact_at(bytes, self.start + (rows.start * row_bytes) as u64)
    }

    /// All rows of a range, each by itself.
    pub(super) fn rows(&self, rows: Range<usize>) -> io::Result<Vec<Vec<u8>>> {
        let mut bytes = Vec::new();
        self.read(rows, &mut bytes)?;
        Ok(bytes.chunks_exact(self.dim * 4).map(<[u8]>::to_vec).collect())
    }

    /// Calls with each row of a range and its number.
    pub(super) fn each(
        &self,
        rows: Range<usize>,
        visit: &mut dyn FnMut(usize, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        for range in blocks(rows) {
            self.read(range.clone(), &mut bytes)?;
            for (row, vector) in range.zip(bytes.chunks_exact(self.dim * 4)) {
                visit(row, vector)?;
            }
        }
        Ok(())
    }
}

/// Writes a table of whole numbers, `columns` a row, for peers.
pub(super) fn write_numbers(path: &Path, columns: usize, numbers: &[u64]) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    out.write_all(&header("<u8", &format!("({}, {columns})", numbers.len() / columns)))?;
    numbers.iter().try_for_each(|number| out.write_all(&number.to_le_bytes()))?;
    out.flush()
}

/// The numbers of a range in pieces of at most [`BLOCK_ROWS`].
fn blocks(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    rows.clone().step_by(BLOCK_ROWS).map(move |start| start..(start + BLOCK_ROWS).min(rows.end))
}

fn header(kind: &str, shape: &str) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&((HEADER_BYTES - PREFIX_BYTES) as u16).to_le_bytes());
    bytes.extend_from_slice(format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}").as_bytes());
    bytes.resize(HEADER_BYTES - 1, b' ');
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Scratch;

    #[test]
    fn rows_are_read_as_they_were_written_across_blocks() {
        let scratch = Scratch::new("vectors").unwrap();
        let path = scratch.path().join("a.npy");
        let count = BLOCK_ROWS + 3;
        let vectors = Vectors::create(&path, count, 2, &mut |rows, out| {
            rows.for_each(|row| out.extend([row as f32, 0.5]));
            Ok(())
        })
        .unwrap();
        assert_eq!((vectors.count, vectors.dim), (count, 2));
        let expected = |row: usize| [(row as f32).to_le_bytes(), 0.5f32.to_le_bytes()].concat();
        let mut seen = 0;
        vectors
            .each(1..count, &mut |row, bytes| {
                assert_eq!(bytes, expected(row));
                seen += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, count - 1);
        assert_eq!(vectors.rows(count - 1..count).unwrap(), [expected(count - 1)]);
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let scratch = Scratch::new("vectors").unwrap();
        let path = scratch.path().join("b.npy");
        write_numbers(&path, 1, &[1, 2]).unwrap();
        assert!(Vectors::open(&path).unwrap_err().to_string().contains("<u8"));
    }
}
