//! WordPiece (Schuster and Nakajima 2012, as BERT uses it): a word becomes the longest piece of the vocabulary that it
//! begins with, then the longest continuation, and so on; if any of it matches nothing, the whole word is unknown.
//!
//! Pieces are found in a hash table by the hash of each prefix, from the longest to the shortest. The hash runs over
//! the word once for each piece, and nearly every word is one piece.

use super::table::Table;

/// What is longer is unknown, as in BERT.
const WORD_CHARACTERS_MAX: usize = 100;

/// Twice the vocabulary, so that probes are short.
const SLOTS: usize = 1 << 16;
const CONTINUATION_MARK: &[u8] = b"##";

/// Which row of the model each piece is.
pub(super) struct Pieces {
    /// The row and 16 bits of the hash, or `EMPTY`; linear probing.
    slots: Vec<u32>,
    /// Where each name begins in the names block; one more for the end of the last.
    starts: Vec<u32>,
    names: &'static [u8],
    /// The longest piece in bytes, without the mark.
    bytes_max: usize,
}

/// Rows are below 65,535 (`Table::open`), so that none looks like this.
const EMPTY: u32 = u32::MAX;

/// FNV-1a with another basis for continuations, which share the table with beginnings.
const BASIS: [u64; 2] = [0xcbf2_9ce4_8422_2325, 0x9e37_79b9_7f4a_7c15];
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl Pieces {
    /// Panics if there are more names than the table has room for: the model is compiled in, so that is a wrong build.
    pub(super) fn new(table: &Table) -> Pieces {
        let names = table.names();
        let mut starts = vec![0];
        starts.extend(names.iter().zip(1..).filter(|(byte, _)| **byte == b'\n').map(|(_, after)| after));
        starts.push(names.len() as u32 + 1);
        let count = starts.len() - 1;
        assert!(count <= SLOTS * 3 / 4, "{count} names do not fit the table of pieces");
        let mut pieces = Pieces { slots: vec![EMPTY; SLOTS], starts, names, bytes_max: 0 };
        for row in 0..count {
            let (piece, continues) = pieces.name(row);
            pieces.bytes_max = pieces.bytes_max.max(piece.len());
            let hash = piece.iter().fold(BASIS[usize::from(continues)], |hash, byte| step(hash, *byte));
            let (mut slot, tag) = place(hash);
            while pieces.slots[slot] != EMPTY {
                slot = (slot + 1) % SLOTS;
            }
            pieces.slots[slot] = tag << 16 | row as u32;
        }
        pieces
    }

    /// Appends the rows of a word's pieces, or nothing if it is unknown.
    pub(super) fn append(&self, word: &str, rows: &mut Vec<u16>) {
        let before = rows.len();
        let bytes = word.as_bytes();
        if bytes.len() > WORD_CHARACTERS_MAX && word.chars().count() > WORD_CHARACTERS_MAX {
            return;
        }
        let mut at = 0;
        while at < bytes.len() {
            match self.longest(&bytes[at..], at > 0) {
                Some((row, length)) => {
                    rows.push(row);
                    at += length;
                }
                None => {
                    rows.truncate(before);
                    return;
                }
            }
        }
    }

    /// The longest piece that `rest` begins with, and its length. A piece ends between characters, because it is one
    /// or more whole characters and so is what it was compared with.
    fn longest(&self, rest: &[u8], continues: bool) -> Option<(u16, usize)> {
        const ROOM: usize = 64;
        let length = rest.len().min(self.bytes_max).min(ROOM);
        let mut hashes = [0; ROOM];
        let mut hash = BASIS[usize::from(continues)];
        for (kept, byte) in hashes.iter_mut().zip(&rest[..length]) {
            hash = step(hash, *byte);
            *kept = hash;
        }
        (1..=length).rev().find_map(|end| self.find(&rest[..end], continues, hashes[end - 1]).map(|row| (row, end)))
    }

    fn find(&self, piece: &[u8], continues: bool, hash: u64) -> Option<u16> {
        let (mut slot, tag) = place(hash);
        loop {
            let found = self.slots[slot];
            if found == EMPTY {
                return None;
            }
            let row = found & 0xffff;
            if found >> 16 == tag && self.name(row as usize) == (piece, continues) {
                return Some(row as u16);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// The name of a row without its mark, and whether it had one.
    fn name(&self, row: usize) -> (&'static [u8], bool) {
        let name = &self.names[self.starts[row] as usize..self.starts[row + 1] as usize - 1];
        match name.strip_prefix(CONTINUATION_MARK) {
            Some(piece) if !piece.is_empty() => (piece, true),
            Some(_) | None => (name, false),
        }
    }
}

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(PRIME)
}

/// The slot to look at first, and the 16 bits that are kept.
fn place(hash: u64) -> (usize, u32) {
    let mixed = hash.wrapping_mul(BASIS[1]);
    ((mixed >> 48) as usize % SLOTS, (mixed >> 32) as u32 & 0xffff)
}
