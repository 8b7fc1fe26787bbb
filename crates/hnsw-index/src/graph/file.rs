#![doc = include_str!("../../../../docs/formats/graph.md")]

use super::hnsw::{Hnsw, Options};
use super::links::{BLOCK_ROWS, Links, NONE, ROWS_MAX};
use std::fmt::{Display, Formatter};
use std::io::{self, ErrorKind, Read, Write};

const MAGIC: [u8; 5] = *b"SGRPH";
const VERSION: [u8; 3] = [1, 0, 0];
const HEADER_BYTES: usize = 36;
const HEADER_CRC: usize = HEADER_BYTES - 4;
const PRESENT_BYTES: usize = BLOCK_ROWS / 8;

/// A graph that was loaded, and what it does not hold.
#[derive(Debug)]
pub struct Loaded {
    /// The graph. It keeps every invariant, whatever the file held.
    pub graph: Hnsw,
    /// Blocks of 4,096 rows whose bytes did not fit their checksum, or were missing.
    pub blocks_lost: usize,
    /// Rows of sound blocks that could no longer be reached, and were left out.
    pub rows_lost: usize,
}

/// Why there is no graph to be had from a file.
#[derive(Debug)]
pub enum LoadError {
    /// It cannot be read.
    Io(io::Error),
    /// It is not a graph, or its header is damaged.
    NotAGraph,
    /// It is a graph of another version.
    Version([u8; 3]),
}

impl Display for LoadError {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the graph cannot be read: {error}"),
            Self::NotAGraph => f.write_str("this is no graph, or its header is damaged"),
            Self::Version([major, minor, patch]) => {
                write!(f, "this is a graph of version {major}.{minor}.{patch}, not one of version 1.0.0")
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl Hnsw {
    /// Writes the graph. Searches may run meanwhile; changes may not.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn save(&self, writer: &mut impl Write) -> io::Result<()> {
        let links = self.links();
        let blocks = links.rows() / BLOCK_ROWS;
        writer.write_all(&header(self.options(), blocks as u32))?;
        let mut bytes = Vec::new();
        for block in 0..blocks {
            bytes.clear();
            for rows in links.present(block) {
                bytes.extend_from_slice(&rows.to_le_bytes());
            }
            for list in links.lists(block) {
                list.iter().for_each(|link| bytes.extend_from_slice(&link.to_le_bytes()));
            }
            let checksum = crc32fast::hash(&bytes);
            bytes.extend_from_slice(&checksum.to_le_bytes());
            writer.write_all(&bytes)?;
        }
        Ok(())
    }

    /// Reads a graph. A block that is damaged costs its rows, and whoever can be reached through them only; insert again
    /// what [`contains`](super::Graph::contains) denies.
    ///
    /// # Errors
    /// [`LoadError`], if not even the header can be used.
    pub fn load(reader: &mut impl Read) -> Result<Loaded, LoadError> {
        let mut bytes = vec![0; HEADER_BYTES];
        reader.read_exact(&mut bytes).map_err(|error| {
            if error.kind() == ErrorKind::UnexpectedEof { LoadError::NotAGraph } else { LoadError::Io(error) }
        })?;
        let (options, blocks) = parse_header(&bytes)?;
        let mut links = Links::new(options.neighbours, options.seed);
        let mut blocks_lost = 0;
        for block in 0..blocks as usize {
            links.make_room_for((block * BLOCK_ROWS) as u32);
            let list_bytes: usize = links.lists(block).map(size_of_val).sum();
            bytes.resize(PRESENT_BYTES + list_bytes + 4, 0);
            match reader.read_exact(&mut bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    blocks_lost += blocks as usize - block;
                    break;
                }
                Err(error) => return Err(LoadError::Io(error)),
            }
            let (content, checksum) = bytes.split_at(PRESENT_BYTES + list_bytes);
            if crc32fast::hash(content).to_le_bytes() == *checksum {
                fill(&mut links, block, content);
            } else {
                blocks_lost += 1;
            }
        }
        drop_impossible_links(&mut links);
        let rows_lost = drop_unreachable_rows(&mut links);
        let top = links.each().map(|row| (row, links.level_of(row))).max_by_key(|(_, level)| *level);
        Ok(Loaded { graph: Hnsw::over(links, top, options), blocks_lost, rows_lost })
    }
}

fn header(options: &Options, blocks: u32) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..5].copy_from_slice(&MAGIC);
    bytes[5..8].copy_from_slice(&VERSION);
    bytes[8..16].copy_from_slice(&options.seed.to_le_bytes());
    bytes[16..20].copy_from_slice(&(options.neighbours as u32).to_le_bytes());
    bytes[20..28].copy_from_slice(&(options.ef_construction as u64).to_le_bytes());
    bytes[28..HEADER_CRC].copy_from_slice(&blocks.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..HEADER_CRC]);
    bytes[HEADER_CRC..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn parse_header(bytes: &[u8]) -> Result<(Options, u32), LoadError> {
    let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |at: usize| u64::from(number(at)) | u64::from(number(at + 4)) << 32;
    if bytes[..5] != MAGIC || number(HEADER_CRC) != crc32fast::hash(&bytes[..HEADER_CRC]) {
        return Err(LoadError::NotAGraph);
    }
    if bytes[5..8] != VERSION {
        return Err(LoadError::Version([bytes[5], bytes[6], bytes[7]]));
    }
    let options = Options { seed: long(8), neighbours: number(16) as usize, ef_construction: long(20) as usize };
    let blocks = number(28);
    if !options.is_sound() || blocks > ROWS_MAX / BLOCK_ROWS as u32 {
        return Err(LoadError::NotAGraph);
    }
    Ok((options, blocks))
}

fn fill(links: &mut Links, block: usize, content: &[u8]) {
    let (present, lists) = content.split_at(PRESENT_BYTES);
    let mut words = lists.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    for list in links.lists_mut(block) {
        for link in list {
            *link = words.next().unwrap_or(NONE);
        }
    }
    for within in 0..BLOCK_ROWS {
        if present[within / 8] >> (within % 8) & 1 == 1 {
            links.set_present((block * BLOCK_ROWS + within) as u32, true);
        }
    }
}

/// Drops links that no graph may have: to rows that are not there or do not reach that level, to oneself, twice the same,
/// and those that do not run both ways.
fn drop_impossible_links(links: &mut Links) {
    let mut kept = Vec::new();
    for row in 0..links.rows() as u32 {
        for level in 0..=links.level_of(row) {
            kept.clear();
            let is_in = links.contains(row);
            for link in links.of(level, row) {
                let possible = is_in && *link != row && links.contains(*link) && !kept.contains(link);
                if possible && links.of(level, *link).contains(&row) {
                    kept.push(*link);
                }
            }
            links.set(level, row, &kept);
        }
    }
}

/// Keeps of every level the largest part that is connected, and drops the other rows, until nothing changes: dropping a
/// row may part others.
fn drop_unreachable_rows(links: &mut Links) -> usize {
    let before = links.len();
    loop {
        let len = links.len();
        let levels = links.each().map(|row| links.level_of(row)).max().map_or(0, |level| level + 1);
        for level in 0..levels {
            let mut parts = parts(links, level);
            parts.sort_by_key(Vec::len);
            parts.pop();
            parts.into_iter().flatten().for_each(|row| drop_row(links, row));
        }
        if links.len() == len {
            return before - len;
        }
    }
}

/// The rows of a level, by who is connected with whom.
fn parts(links: &Links, level: u8) -> Vec<Vec<u32>> {
    let mut seen = vec![false; links.rows()];
    let mut parts = Vec::new();
    for first in links.each().filter(|row| links.level_of(*row) >= level) {
        if std::mem::replace(&mut seen[first as usize], true) {
            continue;
        }
        let mut part = vec![first];
        let mut next = 0;
        while let Some(row) = part.get(next).copied() {
            next += 1;
            for link in links.of(level, row) {
                if !std::mem::replace(&mut seen[*link as usize], true) {
                    part.push(*link);
                }
            }
        }
        parts.push(part);
    }
    parts
}

fn drop_row(links: &mut Links, row: u32) {
    for level in 0..=links.level_of(row) {
        for other in links.of(level, row).to_vec() {
            let mut list = links.of(level, other).to_vec();
            list.retain(|link| *link != row);
            links.set(level, other, &list);
        }
        links.set(level, row, &[]);
    }
    links.set_present(row, false);
}
