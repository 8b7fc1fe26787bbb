//! Checkpoints: the index as it is, stripe by stripe, in a file; byte layout in `docs/formats/checkpoint.md`.
//!
//! Each stripe is copied under its own lock together with the log's last LSN, so there is no pause longer than one stripe's copy. The
//! file becomes current by its rename, after it and the segments it points into are synced; only then is the log trimmed.
//!
//! The file is a row of chunks, each beginning on a 4 KiB page with its own CRC, so that damage costs the entries of one chunk.

use crate::api::WriteError;
use crate::hash::STRIPES;
use crate::heap::HeapValue;
use crate::ops::Op;
use crate::shard::Shard;
use crate::txn::Txn;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use sutra_mmap_store::Location;
use sutra_wal::{File, IoError, Lsn, Storage};

/// Chunks begin at multiples of this.
pub(crate) const PAGE_BYTES: usize = 4096;
const HEADER_BYTES: usize = 32;
/// Words of slots in one chunk: with the header they fill a page.
const WORDS_PER_CHUNK: usize = (PAGE_BYTES - HEADER_BYTES) / 8 / 2 * 2;
/// `SCKP` and the version of the format.
const MAGIC: [u8; 8] = *b"SCKP\x01\0\0\0";

const CHUNK_SLOTS: u8 = 1;
const CHUNK_OPS: u8 = 2;
const CHUNK_STRIPE: u8 = 3;
const CHUNK_END: u8 = 4;

const _: () = assert!(HEADER_BYTES + WORDS_PER_CHUNK * 8 <= PAGE_BYTES);

/// The name of the checkpoint from which replay starts after `lsn`.
pub(crate) fn file_name(lsn: Lsn) -> String {
    format!("checkpoint-{:020}", lsn.0)
}

/// The LSN in a checkpoint's name.
pub(crate) fn file_lsn(name: &str) -> Option<Lsn> {
    let digits = name.strip_prefix("checkpoint-")?;
    (digits.len() == 20).then(|| digits.parse().ok().map(Lsn))?
}

/// A chunk that was read.
pub(crate) enum Chunk {
    /// The LSN at which a stripe was copied; its chunks follow.
    Stripe { stripe: u8, lsn: Lsn },
    /// Slots of a database, as words.
    Slots { stripe: u8, db: u8, words: Vec<u64> },
    /// Entries that are not in segments, as edits of the log.
    Ops { body: Vec<u8> },
    /// The end: so many chunks stand before it.
    End { chunks: u64 },
}

struct Writer {
    file: Box<dyn File>,
    buffer: Vec<u8>,
    offset: u64,
    chunks: u64,
}

impl Writer {
    fn chunk(&mut self, kind: u8, stripe: u8, db: u8, lsn: Lsn, body: &[u8]) -> Result<(), IoError> {
        let mut header = [0u8; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[12..16].copy_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        header[16..19].copy_from_slice(&[kind, stripe, db]);
        header[24..32].copy_from_slice(&lsn.0.to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&header[12..]);
        crc.update(body);
        header[8..12].copy_from_slice(&crc.finalize().to_le_bytes());
        self.buffer.extend_from_slice(&header);
        self.buffer.extend_from_slice(body);
        self.buffer.resize(self.buffer.len().next_multiple_of(PAGE_BYTES), 0);
        self.chunks += 1;
        if self.buffer.len() >= 1 << 20 { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), IoError> {
        self.file.write_at(self.offset, &self.buffer)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Shard {
    /// Writes a checkpoint and trims the log up to it. The commands go on meanwhile.
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] when a file cannot be written or synced; the former checkpoint and the log stay as they are.
    pub fn checkpoint(&self, now_ms: u64) -> Result<(), WriteError> {
        let Some(log) = &self.log else { return Ok(()) };
        let _alone = self.maintenance.lock().unwrap_or_else(PoisonError::into_inner);
        self.checkpoint_due.store(false, Ordering::Relaxed);
        let result = self.write_checkpoint(now_ms);
        self.tally.checkpoint_failed.store(result.is_err(), Ordering::Relaxed);
        let start = result.map_err(|error| WriteError::Unavailable(error.to_string()))?;
        log.trim(start).map_err(|error| WriteError::Unavailable(error.to_string()))?;
        self.tally.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.tally.last_checkpoint_ms.store(now_ms, Ordering::Relaxed);
        Ok(())
    }

    fn write_checkpoint(&self, now_ms: u64) -> Result<Lsn, CheckpointError> {
        const TEMPORARY: &str = "checkpoint.tmp";
        let Some(storage) = &self.storage else { return Ok(Lsn(0)) };
        if storage.list()?.iter().any(|name| name == TEMPORARY) {
            storage.remove(TEMPORARY)?;
        }
        let estimate = u64::try_from(self.index_bytes.load(Ordering::Relaxed)).unwrap_or(0);
        let file = storage.create(TEMPORARY, estimate.next_multiple_of(PAGE_BYTES as u64))?;
        let mut writer = Writer { file, buffer: Vec::new(), offset: 0, chunks: 0 };
        let mut start = Lsn(u64::MAX);
        for stripe in 0..STRIPES {
            start = start.min(self.write_stripe(stripe as u8, &mut writer, now_ms)?);
        }
        // Last: what comes into being while the stripes are copied is in the log that is replayed, and is understood twice.
        let mut body = Vec::new();
        let mut bodies = Vec::new();
        for edit in self.meaning_edits() {
            body.extend_from_slice(&edit);
            flush_body(&mut body, &mut bodies);
        }
        if !body.is_empty() {
            bodies.push(body);
        }
        for body in &bodies {
            writer.chunk(CHUNK_OPS, 0, 0, start, body)?;
        }
        let chunks = writer.chunks;
        writer.chunk(CHUNK_END, 0, 0, Lsn(chunks), &[])?;
        writer.write()?;
        writer.file.set_len(writer.offset)?;
        // The slots point into segments and the log after `start` builds on them: all of it is durable before the rename.
        self.sync().map_err(CheckpointError::Sync)?;
        writer.file.sync()?;
        storage.rename(TEMPORARY, &file_name(start))?;
        storage.sync_directory()?;
        for name in storage.list()? {
            if file_lsn(&name).is_some_and(|lsn| lsn < start) {
                storage.remove(&name)?;
            }
        }
        Ok(start)
    }

    fn write_stripe(&self, stripe: u8, writer: &mut Writer, now_ms: u64) -> Result<Lsn, CheckpointError> {
        // Copied under the lock; written after it is released.
        let mut tables = Vec::new();
        let mut inline: Vec<(u8, Location)> = Vec::new();
        let mut body = Vec::new();
        let mut bodies = Vec::new();
        let txn = Txn::begin_stripe(self, stripe, now_ms);
        let pin = self.pin();
        let lsn = self.log.as_ref().map_or(Lsn(0), sutra_wal::Log::last);
        txn.for_each_database(stripe, |db, database| {
            let mut words = Vec::with_capacity(if self.mapped { database.table.len() * 2 } else { 0 });
            database.table.for_each(|_, slot| {
                if slot.kind().is_record() {
                    if self.mapped {
                        words.extend_from_slice(&slot.words());
                    } else {
                        inline.push((db, Location::from_bits(slot.location())));
                    }
                }
            });
            tables.push((db, words));
        });
        for entry in txn.heap_entries(stripe) {
            let mut value = Vec::new();
            HeapValue::encode(&entry.value, &mut value);
            let expires_at_ms = entry.expires_at_ms.unwrap_or(0);
            Op::HeapPut { db: entry.db, key: &entry.key, expires_at_ms, cost: entry.cost, value: &value }
                .encode(&mut body);
            flush_body(&mut body, &mut bodies);
        }
        // With anonymous memory the payloads go into the checkpoint too. The pin keeps their segments; an expiry that changes
        // meanwhile is in the log after `lsn`.
        drop(txn);
        for (db, location) in inline {
            let Some(record) = self.store.record(&pin, location) else { continue };
            let expires_at_ms = record.expires_at_ms().ok().flatten().unwrap_or(0);
            let cost = record.cost().unwrap_or(1.0);
            let (key, value, annex) = (record.key(), record.value(), record.annex());
            Op::KeyPut { db, key, value, expires_at_ms, cost, annex }.encode(&mut body);
            flush_body(&mut body, &mut bodies);
        }
        if !body.is_empty() {
            bodies.push(body);
        }
        writer.chunk(CHUNK_STRIPE, stripe, 0, lsn, &[])?;
        for (db, words) in &tables {
            for words in words.chunks(WORDS_PER_CHUNK) {
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                writer.chunk(CHUNK_SLOTS, stripe, *db, lsn, &bytes)?;
            }
        }
        for body in &bodies {
            writer.chunk(CHUNK_OPS, stripe, 0, lsn, body)?;
        }
        Ok(lsn)
    }
}

/// Edits are gathered until they fill about a page.
fn flush_body(body: &mut Vec<u8>, bodies: &mut Vec<Vec<u8>>) {
    if body.len() >= PAGE_BYTES - HEADER_BYTES - 512 {
        bodies.push(std::mem::take(body));
    }
}

/// Why a checkpoint could not be written.
#[derive(Debug)]
pub(crate) enum CheckpointError {
    Io(IoError),
    Sync(WriteError),
}

impl From<IoError> for CheckpointError {
    fn from(error: IoError) -> CheckpointError {
        CheckpointError::Io(error)
    }
}

impl std::fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CheckpointError::Io(error) => error.fmt(f),
            CheckpointError::Sync(error) => error.fmt(f),
        }
    }
}

/// Damage found in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChunkDamage {
    pub(crate) offset: u64,
    /// It was one byte, which the checksum has set right; otherwise the entries of the chunk are lost.
    pub(crate) corrected: bool,
}

/// Reads a checkpoint's chunks in order. Returns the damaged ones, and whether the end was there.
pub(crate) fn read(
    storage: &dyn Storage,
    name: &str,
    visit: &mut dyn FnMut(Chunk),
) -> Result<(Vec<ChunkDamage>, bool), IoError> {
    let file = storage.open(name)?;
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    let mut damage = Vec::new();
    let mut ended = false;
    let mut offset = 0;
    let mut page = vec![0u8; 1 << 20];
    let mut buffered = 0..0;
    while offset < len {
        // Keep at least one page of the chunk at hand; larger chunks are read whole.
        let at_hand = |range: &std::ops::Range<usize>, need: usize| range.start <= offset && offset + need <= range.end;
        if !at_hand(&buffered, PAGE_BYTES) {
            let read = file.read_at(offset as u64, &mut page)?;
            buffered = offset..offset + read;
        }
        let have = &page[offset - buffered.start..buffered.end - buffered.start];
        let body_len = have.get(12..16).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let total = HEADER_BYTES + body_len;
        let parsed = if total <= have.len() {
            parse(&have[..total])
        } else if total <= len - offset {
            let mut whole = vec![0u8; total];
            file.read_at(offset as u64, &mut whole)?;
            parse(&whole)
        } else {
            None
        };
        let first_page = &have[..have.len().min(PAGE_BYTES)];
        let parsed = parsed.map(|chunk| (chunk, total)).or_else(|| {
            let (chunk, total) = repair(first_page)?;
            damage.push(ChunkDamage { offset: offset as u64, corrected: true });
            Some((chunk, total))
        });
        match parsed {
            Some((chunk, total)) => {
                ended |= matches!(chunk, Chunk::End { .. });
                visit(chunk);
                offset += total.next_multiple_of(PAGE_BYTES);
            }
            None => {
                damage.push(ChunkDamage { offset: offset as u64, corrected: false });
                offset += PAGE_BYTES;
            }
        }
    }
    Ok((damage, ended))
}

fn parse(bytes: &[u8]) -> Option<Chunk> {
    let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    if header[..8] != MAGIC || header[19..24] != [0; 5] {
        return None;
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[12..]);
    crc.update(body);
    if crc.finalize().to_le_bytes() != header[8..12] {
        return None;
    }
    let lsn = Lsn(u64::from_le_bytes(*header[24..].first_chunk()?));
    let (stripe, db) = (header[17], header[18]);
    Some(match header[16] {
        CHUNK_STRIPE => Chunk::Stripe { stripe, lsn },
        CHUNK_SLOTS => {
            let words =
                body.chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(*word.first_chunk()?))).collect();
            Chunk::Slots { stripe, db, words }
        }
        CHUNK_OPS => Chunk::Ops { body: body.to_vec() },
        CHUNK_END => Chunk::End { chunks: lsn.0 },
        _ => return None,
    })
}

/// Tries every value of every byte of a one-page chunk against its checksum: damage confined to one byte is undone.
fn repair(page: &[u8]) -> Option<(Chunk, usize)> {
    let mut page = page.to_vec();
    for at in 0..page.len() {
        let original = page[at];
        // Damage to the length itself changes how much the checksum covers, so the length is read anew each time.
        for value in 0..=u8::MAX {
            page[at] = value;
            let len = page.get(12..16).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
            if (at < 24 || len + HEADER_BYTES <= page.len())
                && let Some(bytes) = page.get(..HEADER_BYTES.saturating_add(len))
                && let Some(chunk) = parse(bytes)
            {
                return Some((chunk, bytes.len()));
            }
        }
        page[at] = original;
    }
    None
}
