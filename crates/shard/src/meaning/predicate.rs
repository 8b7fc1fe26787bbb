//! What an invalidation covers: a conjunction of conditions on an entry.

use super::annex::{Annex, dep_bit, tag_bit};
use super::space::{Space, UNPLACED};
use crate::glob;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use sutra_hnsw_index::{Filter, Query};

/// Where the form in the log has the database.
const DB_AT: usize = 1;

/// Nearness to a vector, as a condition.
pub(crate) struct Nearness {
    pub(crate) query: Query,
    /// The vector as the client gave it, for the log.
    pub(crate) vector: Vec<u8>,
    pub(crate) min: f32,
}

/// The conditions of an invalidation, all of which an entry must meet.
#[derive(Default)]
pub(crate) struct Conditions {
    /// A space's id and its name, for the audit.
    pub(crate) space: Option<(u32, Vec<u8>)>,
    /// Only together with a space.
    pub(crate) near: Option<Nearness>,
    pub(crate) tags: Vec<Vec<u8>>,
    pub(crate) glob: Option<Vec<u8>>,
    /// Written at least so long before the invalidation.
    pub(crate) older_ms: Option<u64>,
    /// Made from a version of this source below this one.
    pub(crate) dep: Option<(Vec<u8>, u64)>,
}

/// An invalidation that was published.
pub(crate) struct Predicate {
    /// Its LSN; entries whose stamp is below it were there before it.
    pub(crate) lsn: u64,
    /// Its position on the clock of leases.
    pub(crate) position: u64,
    /// The database; SWAPDB changes it.
    pub(crate) db: AtomicU8,
    /// Unix milliseconds.
    pub(crate) at_ms: u64,
    /// Until then writes that it covers are refused; 0: it does not hold.
    pub(crate) hold_until_ms: u64,
    pub(crate) conditions: Conditions,
    pub(crate) who: String,
    pub(crate) reason: Vec<u8>,
    /// Entries removed so far.
    pub(crate) count: AtomicU64,
    pub(crate) swept: AtomicBool,
    /// Somebody is sweeping and will report how many entries there were.
    pub(crate) owned: AtomicBool,
    pub(crate) undone: AtomicBool,
}

impl Conditions {
    /// Whether only names are asked for: then entries without an annex are covered too.
    pub(crate) fn names_only(&self) -> bool {
        self.space.is_none()
            && self.near.is_none()
            && self.tags.is_empty()
            && self.older_ms.is_none()
            && self.dep.is_none()
    }

    /// Whether an annotated entry meets all of them, at an instant in Unix milliseconds.
    pub(crate) fn cover(&self, key: &[u8], annex: &Annex<'_>, value: &[u8], at_ms: u64) -> bool {
        self.space.as_ref().is_none_or(|(id, _)| annex.space == *id)
            && self.older_ms.is_none_or(|older| annex.written_ms.saturating_add(older) <= at_ms)
            && self.tags.iter().all(|tag| annex.has_tag(tag))
            && self
                .dep
                .as_ref()
                .is_none_or(|(name, below)| annex.deps().any(|(own, version)| own == &name[..] && version < *below))
            && self.glob.as_ref().is_none_or(|glob| glob::matches(glob, key))
            && self.near.as_ref().is_none_or(|near| {
                annex.similarity(&near.query, value).is_some_and(|similarity| similarity >= near.min)
            })
    }

    /// What the rows can tell of them without looking at the records.
    pub(crate) fn filter(&self, at_ms: u64, stamp_below: Option<u64>) -> Filter {
        let tags = self.tags.iter().map(|tag| tag_bit(tag));
        let dep = self.dep.iter().map(|(name, _)| dep_bit(name));
        Filter {
            signature_all: tags.chain(dep).fold(0, |bits, bit| bits | bit),
            written_before_ms: self.older_ms.map(|older| at_ms.saturating_sub(older).saturating_add(1)),
            written_after_ms: None,
            stamp_below,
        }
    }

    /// Whether entries of this space can meet them.
    pub(crate) fn concern(&self, space: &Space) -> bool {
        self.space.as_ref().is_none_or(|(id, _)| space.id() == *id)
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if let Some((_, name)) = &self.space {
            words.push(format!("IN {}", text(name)));
        }
        if let Some(near) = &self.near {
            words.push(format!("vector of {} MIN {}", near.vector.len() / 4, near.min));
        }
        if !self.tags.is_empty() {
            let tags: Vec<String> = self.tags.iter().map(|tag| text(tag)).collect();
            words.push(format!("TAG {} {}", tags.len(), tags.join(" ")));
        }
        words.extend(self.glob.as_ref().map(|glob| format!("MATCH {}", text(glob))));
        words.extend(self.older_ms.map(|older| format!("OLDER {}", older as f64 / 1000.0)));
        words.extend(self.dep.as_ref().map(|(name, below)| format!("DEP {} BELOW {below}", text(name))));
        f.write_str(&words.join(" "))
    }
}

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Predicate")
            .field("lsn", &self.lsn)
            .field("conditions", &self.conditions.to_string())
            .finish_non_exhaustive()
    }
}

impl Predicate {
    /// Whether it removes an entry of this database that was written at this stamp.
    pub(crate) fn covers(&self, db: u8, key: &[u8], annex: &Annex<'_>, value: &[u8]) -> bool {
        self.is_of(db) && annex.stamp < self.lsn && self.conditions.cover(key, annex, value, self.at_ms)
    }

    /// Whether a new entry, made from what was known at `known_ms`, is one that it would have removed.
    pub(crate) fn covers_new(
        &self,
        db: u8,
        key: &[u8],
        annex: Option<&Annex<'_>>,
        value: &[u8],
        known_ms: u64,
    ) -> bool {
        if !self.is_of(db) {
            return false;
        }
        match annex {
            Some(annex) => {
                let mut as_known = *annex;
                as_known.written_ms = known_ms;
                self.conditions.cover(key, &as_known, value, self.at_ms)
            }
            None => self.conditions.names_only() && self.covers_name(key),
        }
    }

    /// Whether its glob covers the key.
    pub(crate) fn covers_name(&self, key: &[u8]) -> bool {
        self.conditions.glob.as_ref().is_none_or(|glob| glob::matches(glob, key))
    }

    pub(crate) fn is_of(&self, db: u8) -> bool {
        self.db.load(Ordering::Relaxed) == db
    }

    pub(crate) fn holds(&self, now_ms: u64) -> bool {
        self.hold_until_ms > now_ms && !self.undone.load(Ordering::Relaxed)
    }

    /// The form in the log; see `docs/formats/frame-body.md`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let conditions = &self.conditions;
        let mut out = vec![1, self.db.load(Ordering::Relaxed)];
        let bits = [
            conditions.space.is_some(),
            conditions.near.is_some(),
            conditions.glob.is_some(),
            conditions.older_ms.is_some(),
            conditions.dep.is_some(),
        ];
        out.push(bits.iter().enumerate().fold(0u8, |all, (at, set)| all | u8::from(*set) << at));
        out.extend_from_slice(&self.at_ms.to_le_bytes());
        out.extend_from_slice(&self.hold_until_ms.to_le_bytes());
        let put = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        if let Some((id, name)) = &conditions.space {
            out.extend_from_slice(&id.to_le_bytes());
            put(&mut out, name);
        }
        if let Some(near) = &conditions.near {
            out.extend_from_slice(&near.min.to_le_bytes());
            put(&mut out, &near.vector);
        }
        if let Some(glob) = &conditions.glob {
            put(&mut out, glob);
        }
        if let Some(older) = conditions.older_ms {
            out.extend_from_slice(&older.to_le_bytes());
        }
        if let Some((name, below)) = &conditions.dep {
            put(&mut out, name);
            out.extend_from_slice(&below.to_le_bytes());
        }
        out.extend_from_slice(&(conditions.tags.len() as u32).to_le_bytes());
        conditions.tags.iter().for_each(|tag| put(&mut out, tag));
        put(&mut out, self.who.as_bytes());
        put(&mut out, &self.reason);
        out
    }

    /// Exchanges two databases in the form in the log.
    pub(crate) fn swap_encoded(body: &mut [u8], a: u8, b: u8) {
        if let Some(db) = body.get_mut(DB_AT) {
            *db = swapped(*db, a, b);
        }
    }

    /// Reads the form in the log. `find` gives spaces by id; a vector of a space that is gone covers nothing any more, and then, as for a
    /// malformed form, there is no predicate.
    pub(crate) fn decode(bytes: &[u8], lsn: u64, find: &dyn Fn(u32) -> Option<Arc<Space>>) -> Option<Predicate> {
        let mut read = Reader { rest: bytes };
        let [version, db, bits] = read.array()?;
        if version != 1 {
            return None;
        }
        let has = |bit: u8| bits & 1 << bit != 0;
        let (at_ms, hold_until_ms) = (read.u64()?, read.u64()?);
        let mut conditions = Conditions::default();
        if has(0) {
            conditions.space = Some((read.u32()?, read.bytes()?.to_vec()));
        }
        if has(1) {
            let min = f32::from_bits(read.u32()?);
            let vector = read.bytes()?.to_vec();
            let space = find(conditions.space.as_ref().map_or(UNPLACED, |(id, _)| *id))?;
            let query = space.query(&vector).ok()?;
            conditions.near = Some(Nearness { query, vector, min });
        }
        if has(2) {
            conditions.glob = Some(read.bytes()?.to_vec());
        }
        if has(3) {
            conditions.older_ms = Some(read.u64()?);
        }
        if has(4) {
            conditions.dep = Some((read.bytes()?.to_vec(), read.u64()?));
        }
        for _ in 0..read.u32()? {
            conditions.tags.push(read.bytes()?.to_vec());
        }
        let who = String::from_utf8_lossy(read.bytes()?).into_owned();
        let reason = read.bytes()?.to_vec();
        Some(Predicate {
            lsn,
            position: 0,
            db: AtomicU8::new(db),
            at_ms,
            hold_until_ms,
            conditions,
            who,
            reason,
            count: AtomicU64::new(0),
            swept: AtomicBool::new(false),
            owned: AtomicBool::new(false),
            undone: AtomicBool::new(false),
        })
    }
}

/// The number of a database after two were exchanged.
pub(crate) fn swapped(db: u8, a: u8, b: u8) -> u8 {
    match db {
        db if db == a => b,
        db if db == b => a,
        db => db,
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()? as usize;
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }
}
