//! What a log frame holds: the edits of one commit, in order.
//!
//! With mapped segments an entry's record is already on its way to disk, so its edits name **locations** and carry no payload: replay edits
//! slots and never reads a key. With anonymous memory ([`Op::KeyPut`] and its like) locations mean nothing after a restart: edits carry key and
//! value. Heap values are edited by key in both. The byte layout is documented in `docs/formats/frame-body.md`.

use crate::hash::KeyHash;
use sutra_mmap_store::Location;

/// One edit. Borrowed from the frame when it is decoded.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Op<'a> {
    /// A slot for `hash` points to `new`, instead of to `old` if given.
    Place {
        db: u8,
        hash: KeyHash,
        old: Option<Location>,
        new: Location,
        /// Padded length of the record.
        bytes: u32,
        /// CRC that the record at `new` carries.
        crc: u32,
        expires_at_ms: u64,
        /// The entry was moved by a merge: its access data stay.
        moved: bool,
        /// The record has an annex.
        annotated: bool,
    },
    /// The slot that points to `location` goes.
    Remove { db: u8, hash: KeyHash, location: Location },
    /// The record at `location` expires at (0: never).
    Expire { db: u8, hash: KeyHash, location: Location, expires_at_ms: u64 },
    /// A heap value is stored, replacing a heap value under that key.
    HeapPut { db: u8, key: &'a [u8], expires_at_ms: u64, cost: f32, value: &'a [u8] },
    /// A heap value changes.
    HeapEdit { db: u8, key: &'a [u8], edit: Edit<'a> },
    /// A heap value goes.
    HeapRemove { db: u8, key: &'a [u8] },
    /// A heap value expires at (0: never).
    HeapExpire { db: u8, key: &'a [u8], expires_at_ms: u64 },
    /// A database is emptied.
    Flush { db: u8 },
    /// Two databases are exchanged.
    Swap { a: u8, b: u8 },
    /// A string is stored (anonymous memory).
    KeyPut { db: u8, key: &'a [u8], value: &'a [u8], expires_at_ms: u64, cost: f32, annex: Option<&'a [u8]> },
    /// A string goes (anonymous memory).
    KeyRemove { db: u8, key: &'a [u8] },
    /// A string expires at (anonymous memory; 0: never).
    KeyExpire { db: u8, key: &'a [u8], expires_at_ms: u64 },
    /// No edit: every record that a frame up to this LSN names is durable in its segment. Segments freed by then may have been used again.
    StoreSynced { through: u64 },
    /// A vector space exists; `body` is its description.
    Space { id: u32, body: &'a [u8] },
    /// A vector space, and its rows with it, is gone; its entries are removed by edits of their own.
    SpaceDrop { id: u32 },
    /// An invalidation was published. `lsn` 0: by the frame that holds this edit.
    Predicate { lsn: u64, state: PredicateState, count: u64, body: &'a [u8] },
    /// The invalidation of this LSN has removed all that it covered: so many entries.
    Swept { lsn: u64, count: u64 },
    /// The invalidation of this LSN was taken back.
    Undone { lsn: u64 },
}

/// How far an invalidation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PredicateState {
    /// What it covers is being removed.
    Active,
    /// All that it covered is removed.
    Swept,
    /// It was taken back.
    Undone,
}

/// A change inside a heap value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Edit<'a> {
    /// Bytes written at an offset of a string.
    WriteRange { offset: u64, data: &'a [u8] },
    /// Fields of a hash set. Edits of hashes carry the time at which they were made, so that replay sees the same fields expired.
    HashSet { now_ms: u64, keep_ttl: bool, fields: Vec<(&'a [u8], &'a [u8])> },
    /// Fields of a hash removed.
    HashRemove { now_ms: u64, fields: Vec<&'a [u8]> },
    /// The expiry of fields set (0: cleared).
    HashExpire { now_ms: u64, at_ms: u64, fields: Vec<&'a [u8]> },
    /// Every field that had expired by then removed.
    HashExpired { now_ms: u64 },
}

const PLACE: u8 = 1;
const REMOVE: u8 = 2;
const EXPIRE: u8 = 3;
const HEAP_PUT: u8 = 4;
const HEAP_WRITE_RANGE: u8 = 5;
const HEAP_HASH_SET: u8 = 6;
const HEAP_HASH_REMOVE: u8 = 7;
const HEAP_HASH_EXPIRE: u8 = 8;
const HEAP_HASH_EXPIRED: u8 = 16;
const HEAP_REMOVE: u8 = 9;
const HEAP_EXPIRE: u8 = 10;
const FLUSH: u8 = 11;
const SWAP: u8 = 12;
const KEY_PUT: u8 = 13;
const KEY_REMOVE: u8 = 14;
const KEY_EXPIRE: u8 = 15;
const STORE_SYNCED: u8 = 17;
const SPACE: u8 = 18;
const SPACE_DROP: u8 = 19;
const PREDICATE: u8 = 20;
const SWEPT: u8 = 21;
const UNDONE: u8 = 22;
const PLACE_ANNOTATED: u8 = 23;
const KEY_PUT_ANNOTATED: u8 = 24;

const FLAG_OLD: u8 = 1;
const FLAG_MOVED: u8 = 2;
const FLAG_KEEP_TTL: u8 = 1;

/// A frame body is no sequence of edits: it was written by another version, or its CRC protected a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

impl Op<'_> {
    /// Appends the edit to a frame body.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Op::Place { db, hash, old, new, bytes, crc, expires_at_ms, moved, annotated } => {
                let flag = |set: bool, bit: u8| if set { bit } else { 0 };
                let flags = flag(old.is_some(), FLAG_OLD) | flag(*moved, FLAG_MOVED);
                let tag = if *annotated { PLACE_ANNOTATED } else { PLACE };
                let mut fixed = [0u8; 32];
                fixed[..4].copy_from_slice(&[tag, *db, hash.stripe, flags]);
                fixed[4..8].copy_from_slice(&hash.slot.to_le_bytes());
                fixed[8..16].copy_from_slice(&new.to_bits().to_le_bytes());
                fixed[16..20].copy_from_slice(&bytes.to_le_bytes());
                fixed[20..24].copy_from_slice(&crc.to_le_bytes());
                fixed[24..32].copy_from_slice(&expires_at_ms.to_le_bytes());
                out.extend_from_slice(&fixed);
                if let Some(old) = old {
                    out.extend_from_slice(&old.to_bits().to_le_bytes());
                }
            }
            Op::Remove { db, hash, location } => {
                out.extend_from_slice(&[REMOVE, *db, hash.stripe, 0]);
                out.extend_from_slice(&hash.slot.to_le_bytes());
                out.extend_from_slice(&location.to_bits().to_le_bytes());
            }
            Op::Expire { db, hash, location, expires_at_ms } => {
                out.extend_from_slice(&[EXPIRE, *db, hash.stripe, 0]);
                out.extend_from_slice(&hash.slot.to_le_bytes());
                out.extend_from_slice(&location.to_bits().to_le_bytes());
                out.extend_from_slice(&expires_at_ms.to_le_bytes());
            }
            Op::HeapPut { db, key, expires_at_ms, cost, value } => {
                encode_value(out, [HEAP_PUT, *db, 0, 0], key, *expires_at_ms, *cost, value);
            }
            Op::KeyPut { db, key, value, expires_at_ms, cost, annex } => {
                let tag = if annex.is_some() { KEY_PUT_ANNOTATED } else { KEY_PUT };
                encode_value(out, [tag, *db, 0, 0], key, *expires_at_ms, *cost, value);
                if let Some(annex) = annex {
                    put_bytes(out, annex);
                }
            }
            Op::HeapEdit { db, key, edit } => edit.encode(*db, key, out),
            Op::HeapRemove { db, key } => encode_key(out, HEAP_REMOVE, *db, 0, key),
            Op::KeyRemove { db, key } => encode_key(out, KEY_REMOVE, *db, 0, key),
            Op::HeapExpire { db, key, expires_at_ms } => {
                encode_key(out, HEAP_EXPIRE, *db, 0, key);
                out.extend_from_slice(&expires_at_ms.to_le_bytes());
            }
            Op::KeyExpire { db, key, expires_at_ms } => {
                encode_key(out, KEY_EXPIRE, *db, 0, key);
                out.extend_from_slice(&expires_at_ms.to_le_bytes());
            }
            Op::Flush { db } => out.extend_from_slice(&[FLUSH, *db, 0, 0]),
            Op::Swap { a, b } => out.extend_from_slice(&[SWAP, *a, *b, 0]),
            Op::StoreSynced { through } => {
                out.extend_from_slice(&[STORE_SYNCED, 0, 0, 0]);
                out.extend_from_slice(&through.to_le_bytes());
            }
            Op::Space { id, body } => {
                out.extend_from_slice(&[SPACE, 0, 0, 0]);
                out.extend_from_slice(&id.to_le_bytes());
                put_bytes(out, body);
            }
            Op::SpaceDrop { id } => {
                out.extend_from_slice(&[SPACE_DROP, 0, 0, 0]);
                out.extend_from_slice(&id.to_le_bytes());
            }
            Op::Predicate { lsn, state, count, body } => {
                out.extend_from_slice(&[PREDICATE, 0, 0, *state as u8]);
                out.extend_from_slice(&lsn.to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
                put_bytes(out, body);
            }
            Op::Swept { lsn, count } => {
                out.extend_from_slice(&[SWEPT, 0, 0, 0]);
                out.extend_from_slice(&lsn.to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
            }
            Op::Undone { lsn } => {
                out.extend_from_slice(&[UNDONE, 0, 0, 0]);
                out.extend_from_slice(&lsn.to_le_bytes());
            }
        }
    }
}

fn encode_key(out: &mut Vec<u8>, tag: u8, db: u8, flags: u8, key: &[u8]) {
    out.extend_from_slice(&[tag, db, 0, flags]);
    put_bytes(out, key);
}

fn encode_value(out: &mut Vec<u8>, head: [u8; 4], key: &[u8], expires_at_ms: u64, cost: f32, value: &[u8]) {
    out.extend_from_slice(&head);
    put_bytes(out, key);
    out.extend_from_slice(&expires_at_ms.to_le_bytes());
    out.extend_from_slice(&cost.to_le_bytes());
    put_bytes(out, value);
}

impl Edit<'_> {
    pub(crate) fn encode(&self, db: u8, key: &[u8], out: &mut Vec<u8>) {
        match self {
            Edit::WriteRange { offset, data } => {
                encode_key(out, HEAP_WRITE_RANGE, db, 0, key);
                out.extend_from_slice(&offset.to_le_bytes());
                put_bytes(out, data);
            }
            Edit::HashSet { now_ms, keep_ttl, fields } => {
                encode_key(out, HEAP_HASH_SET, db, if *keep_ttl { FLAG_KEEP_TTL } else { 0 }, key);
                out.extend_from_slice(&now_ms.to_le_bytes());
                out.extend_from_slice(&count(fields.len()));
                for (field, value) in fields {
                    put_bytes(out, field);
                    put_bytes(out, value);
                }
            }
            Edit::HashExpired { now_ms } => {
                encode_key(out, HEAP_HASH_EXPIRED, db, 0, key);
                out.extend_from_slice(&now_ms.to_le_bytes());
            }
            Edit::HashRemove { now_ms, fields } => {
                encode_key(out, HEAP_HASH_REMOVE, db, 0, key);
                out.extend_from_slice(&now_ms.to_le_bytes());
                out.extend_from_slice(&count(fields.len()));
                fields.iter().for_each(|field| put_bytes(out, field));
            }
            Edit::HashExpire { now_ms, at_ms, fields } => {
                encode_key(out, HEAP_HASH_EXPIRE, db, 0, key);
                out.extend_from_slice(&now_ms.to_le_bytes());
                out.extend_from_slice(&at_ms.to_le_bytes());
                out.extend_from_slice(&count(fields.len()));
                fields.iter().for_each(|field| put_bytes(out, field));
            }
        }
    }
}

fn count(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes()
}

/// Reads the edits of a frame body in order.
pub(crate) struct Ops<'a> {
    rest: &'a [u8],
}

impl<'a> Ops<'a> {
    /// The edits of `body`.
    pub(crate) fn new(body: &'a [u8]) -> Ops<'a> {
        Ops { rest: body }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn location(&mut self) -> Result<Location, Malformed> {
        self.u64().map(Location::from_bits)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()? as usize;
        let (head, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    fn fields(&mut self) -> Result<Vec<&'a [u8]>, Malformed> {
        let count = self.u32()?;
        let mut fields = Vec::new();
        for _ in 0..count {
            fields.push(self.bytes()?);
        }
        Ok(fields)
    }

    fn op(&mut self) -> Result<Op<'a>, Malformed> {
        let [tag, db, third, flags] = self.array()?;
        Ok(match tag {
            PLACE | PLACE_ANNOTATED => {
                let hash = KeyHash { stripe: third, slot: self.u32()? };
                let new = self.location()?;
                let (bytes, crc, expires_at_ms) = (self.u32()?, self.u32()?, self.u64()?);
                let old = if flags & FLAG_OLD != 0 { Some(self.location()?) } else { None };
                let (moved, annotated) = (flags & FLAG_MOVED != 0, tag == PLACE_ANNOTATED);
                Op::Place { db, hash, old, new, bytes, crc, expires_at_ms, moved, annotated }
            }
            REMOVE => {
                let hash = KeyHash { stripe: third, slot: self.u32()? };
                Op::Remove { db, hash, location: self.location()? }
            }
            EXPIRE => {
                let hash = KeyHash { stripe: third, slot: self.u32()? };
                Op::Expire { db, hash, location: self.location()?, expires_at_ms: self.u64()? }
            }
            FLUSH => Op::Flush { db },
            SWAP => Op::Swap { a: db, b: third },
            STORE_SYNCED => Op::StoreSynced { through: self.u64()? },
            SPACE => Op::Space { id: self.u32()?, body: self.bytes()? },
            SPACE_DROP => Op::SpaceDrop { id: self.u32()? },
            PREDICATE => {
                let state = match flags {
                    0 => PredicateState::Active,
                    1 => PredicateState::Swept,
                    2 => PredicateState::Undone,
                    _ => return Err(Malformed),
                };
                Op::Predicate { lsn: self.u64()?, state, count: self.u64()?, body: self.bytes()? }
            }
            SWEPT => Op::Swept { lsn: self.u64()?, count: self.u64()? },
            UNDONE => Op::Undone { lsn: self.u64()? },
            _ => {
                let key = self.bytes()?;
                match tag {
                    HEAP_PUT => {
                        let (expires_at_ms, cost) = (self.u64()?, f32::from_bits(self.u32()?));
                        Op::HeapPut { db, key, expires_at_ms, cost, value: self.bytes()? }
                    }
                    KEY_PUT | KEY_PUT_ANNOTATED => {
                        let (expires_at_ms, cost) = (self.u64()?, f32::from_bits(self.u32()?));
                        let value = self.bytes()?;
                        let annex = if tag == KEY_PUT_ANNOTATED { Some(self.bytes()?) } else { None };
                        Op::KeyPut { db, key, expires_at_ms, cost, value, annex }
                    }
                    HEAP_WRITE_RANGE => {
                        let offset = self.u64()?;
                        Op::HeapEdit { db, key, edit: Edit::WriteRange { offset, data: self.bytes()? } }
                    }
                    HEAP_HASH_SET => {
                        let now_ms = self.u64()?;
                        let count = self.u32()?;
                        let mut fields = Vec::new();
                        for _ in 0..count {
                            fields.push((self.bytes()?, self.bytes()?));
                        }
                        let keep_ttl = flags & FLAG_KEEP_TTL != 0;
                        Op::HeapEdit { db, key, edit: Edit::HashSet { now_ms, keep_ttl, fields } }
                    }
                    HEAP_HASH_REMOVE => {
                        let now_ms = self.u64()?;
                        Op::HeapEdit { db, key, edit: Edit::HashRemove { now_ms, fields: self.fields()? } }
                    }
                    HEAP_HASH_EXPIRED => Op::HeapEdit { db, key, edit: Edit::HashExpired { now_ms: self.u64()? } },
                    HEAP_HASH_EXPIRE => {
                        let (now_ms, at_ms) = (self.u64()?, self.u64()?);
                        Op::HeapEdit { db, key, edit: Edit::HashExpire { now_ms, at_ms, fields: self.fields()? } }
                    }
                    HEAP_REMOVE => Op::HeapRemove { db, key },
                    KEY_REMOVE => Op::KeyRemove { db, key },
                    HEAP_EXPIRE => Op::HeapExpire { db, key, expires_at_ms: self.u64()? },
                    KEY_EXPIRE => Op::KeyExpire { db, key, expires_at_ms: self.u64()? },
                    _ => return Err(Malformed),
                }
            }
        })
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let op = self.op();
        if op.is_err() {
            self.rest = &[];
        }
        Some(op)
    }
}
