//! Reading by meaning: the best entry, the nearest entries, and what is known of an entry.

use super::annex::Annex;
use super::annex::tag_bit;
use super::rows::{Owner, RowRef};
use super::space::Space;
use super::{MeaningError, MeaningStats};
use crate::api::{StringRef, Value};
use crate::glob;
use crate::shard::Shard;
use crate::slot::{Slot, SlotKind};
use crate::tracking::Subscriber;
use crate::txn::Txn;
use bytes::Bytes;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use sutra_guard::{Facts, Guard};
use sutra_hnsw_index::{Candidate, Filter, Query};
use sutra_mmap_store::Record;

/// How often what changes while it is ranked is ranked again.
const TURNS_MAX: u32 = 8;

/// Conditions on the entries that a search may find.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filters<'a> {
    /// All of these tags.
    pub tags: &'a [&'a [u8]],
    /// Keys that the pattern covers.
    pub glob: Option<&'a [u8]>,
    /// Written at most so many milliseconds ago.
    pub max_age_ms: Option<u64>,
}

/// How far below the threshold the runner-up is looked for first.
const RUNNER_UP_NEAR: f32 = 0.1;

/// A question to which one answer is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    /// The database.
    pub db: u8,
    /// The space.
    pub space: &'a Arc<Space>,
    /// The question's vector.
    pub query: &'a Query,
    /// The least similarity of an answer.
    pub min: f32,
    /// Conditions on the answer.
    pub filters: Filters<'a>,
    /// Facts of the question, for the space's guard.
    pub asked: Option<&'a Facts>,
    /// Whether the margin to the runner-up is wanted.
    pub runner_up: bool,
    /// Only the exact scan may answer.
    pub exact: bool,
    /// How widely the graph searches (ef), where there is one.
    pub ef: Option<usize>,
    /// Who is told when the answer changes.
    pub reader: Option<&'a Arc<Subscriber>>,
}

/// A question to which the nearest entries are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// The database.
    pub db: u8,
    /// The space.
    pub space: &'a Arc<Space>,
    /// The question's vector.
    pub query: &'a Query,
    /// At most so many.
    pub count: usize,
    /// The least similarity, if there is one.
    pub min: Option<f32>,
    /// Conditions on the entries.
    pub filters: Filters<'a>,
    /// Only the exact scan may answer.
    pub exact: bool,
    /// How widely the graph searches (ef), where there is one.
    pub ef: Option<usize>,
    /// Whether values are wanted.
    pub with_values: bool,
    /// Who is told when one of the entries changes.
    pub reader: Option<&'a Arc<Subscriber>>,
}

/// An entry that was found by meaning.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; empty if none was wanted.
    pub value: Bytes,
    /// Its similarity to the question.
    pub similarity: f32,
    /// How much less similar the next best live entry is, if that was wanted and there is one.
    pub margin: Option<f32>,
    /// Whether no better entry can have been missed.
    pub exact: bool,
    /// What is known of it.
    pub details: Details,
    /// Better entries that the guard refused.
    pub guarded: u32,
}

/// A string that is read by its key.
#[derive(Debug, Clone, Copy)]
pub struct Served<'t> {
    /// The value.
    pub value: StringRef<'t>,
    /// When it expires, in Unix milliseconds; `None`: never.
    pub expires_at_ms: Option<u64>,
    /// What it costs to compute again, if that is known.
    pub cost: Option<f32>,
}

/// What is known of an entry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// Time to live in milliseconds; `None`: no expiry.
    pub ttl_ms: Option<u64>,
    /// Milliseconds since it was written, if it was by a native command.
    pub age_ms: Option<u64>,
    /// The position of the log when it was written, if it was by a native command.
    pub lsn: Option<u64>,
    /// Its tags.
    pub tags: Vec<Vec<u8>>,
    /// Its sources and their versions.
    pub deps: Vec<(Vec<u8>, u64)>,
    /// Its JSON metadata.
    pub meta: Option<Vec<u8>>,
    /// What it costs to compute again.
    pub cost: Option<f32>,
    /// The space of its vector.
    pub space: Option<Vec<u8>>,
    /// How often it was served by native commands since it has its row.
    pub hits: u64,
    /// Whether it has a vector.
    pub has_vector: bool,
}

/// An entry that is often served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopEntry {
    /// Its key.
    pub key: Vec<u8>,
    /// The space of its vector.
    pub space: Option<Vec<u8>>,
    /// How often it was served.
    pub hits: u64,
    /// Milliseconds since it was written.
    pub age_ms: u64,
    /// Bytes of its record.
    pub bytes: u64,
}

/// What is ranked, and how.
#[derive(Clone, Copy)]
struct Ranking<'a> {
    space: &'a Space,
    query: &'a Query,
    wanted: usize,
    least: Option<f32>,
    filters: &'a Filters<'a>,
    may_approximate: bool,
    ef: Option<usize>,
    now_ms: u64,
}

/// An entry that is a candidate for an answer, with the key in case it is the best.
struct Found {
    key: Vec<u8>,
    value: Bytes,
    details: Details,
}

impl Filters<'_> {
    fn rows(&self, now_ms: u64) -> Filter {
        Filter {
            signature_all: self.tags.iter().fold(0, |bits, tag| bits | tag_bit(tag)),
            written_before_ms: None,
            // The filter excludes its bound, an age does not.
            written_after_ms: self.max_age_ms.and_then(|age| now_ms.saturating_sub(age).checked_sub(1)),
            stamp_below: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.glob.is_none() && self.max_age_ms.is_none()
    }

    fn accept(&self, key: &[u8], annex: &Annex<'_>, now_ms: u64) -> bool {
        self.tags.iter().all(|tag| annex.has_tag(tag))
            && self.glob.is_none_or(|pattern| glob::matches(pattern, key))
            && self.max_age_ms.is_none_or(|age| annex.written_ms.saturating_add(age) >= now_ms)
    }
}

impl Shard {
    /// The best live entry at or above a similarity. Counts a hit or a miss of the space; a hit refreshes the entry's recency.
    ///
    /// # Errors
    /// None at present: a space that is dropped meanwhile has no entries.
    pub fn lookup(&self, lookup: &Lookup<'_>, now_ms: u64) -> Result<Option<Hit>, MeaningError> {
        let Lookup { db, space, query, min, filters, .. } = *lookup;
        let guard = space.options().guard;
        let may_approximate = !lookup.exact && filters.is_empty();
        let (wanted, least, ef) = (1, Some(min), lookup.ef);
        let ranking = Ranking { space, query, wanted, least, filters: &filters, may_approximate, ef, now_ms };
        let guarded = Cell::new(0u32);
        let score = |record: &Record<'_>| {
            let annex = record.annex().and_then(Annex::parse)?;
            if !filters.accept(record.key(), &annex, now_ms) {
                return None;
            }
            let similarity = annex.similarity(query, record.value())?;
            if similarity >= min
                && let Some(asked) = lookup.asked
                && !annex.facts.is_empty()
                // Facts that cannot be read do not vouch for anything.
                && Facts::decode(annex.facts).is_none_or(|stored| guard.differs(asked, &stored).is_some())
                && guard != Guard::default()
            {
                guarded.set(guarded.get() + 1);
                return None;
            }
            Some(similarity)
        };
        let mut score_row =
            |candidate: &Candidate| self.with_row(space, candidate, db, now_ms, |_, _, record| score(record));
        let mut turns = 0;
        let (exact, refused, served) = loop {
            turns += 1;
            guarded.set(0);
            let (ranked, exact) = rank(&ranking, &mut score_row);
            let best = ranked.first().filter(|best| best.similarity >= min).copied();
            let served = best.and_then(|best| {
                let entry =
                    self.with_row_for(lookup.reader, space, &candidate(&best), db, now_ms, |txn, slot, record| {
                        // Since it was ranked, the row may have become another entry's.
                        if score(record)? != best.similarity {
                            return None;
                        }
                        txn.touch(db, slot, record);
                        space.rows.count_hit(best.row);
                        Some(self.found(record, Some((space, best.row)), now_ms))
                    })?;
                Some((best, entry))
            });
            // The best was changed or removed meanwhile: what is the best now?
            if best.is_none() || served.is_some() || turns == TURNS_MAX {
                break (exact, guarded.get(), served);
            }
        };
        let Some((best, entry)) = served else {
            space.counters.misses.fetch_add(1, Ordering::Relaxed);
            space.counters.guarded.fetch_add(u64::from(refused > 0), Ordering::Relaxed);
            return Ok(None);
        };
        space.counters.hit(entry.details.cost);
        let mut feedback = space.feedback.lock().unwrap_or_else(PoisonError::into_inner);
        feedback.served(entry_id(db, &entry.key), best.similarity);
        drop(feedback);
        let mut margin = None;
        if lookup.runner_up {
            // It mostly is near, and then is found for a fraction of what a search without a threshold costs.
            for least in [Some(min - RUNNER_UP_NEAR), None] {
                let (ranked, _) = rank(&Ranking { wanted: 2, least, ..ranking }, &mut score_row);
                margin =
                    ranked.iter().find(|other| other.row != best.row).map(|other| best.similarity - other.similarity);
                if margin.is_some() {
                    break;
                }
            }
        }
        let (similarity, Found { key, value, details }) = (best.similarity, entry);
        Ok(Some(Hit { key, value, similarity, margin, exact, details, guarded: refused }))
    }

    /// The nearest live entries, best first. Counts nothing, refreshes nothing.
    ///
    /// # Errors
    /// As [`Shard::lookup`].
    pub fn search(&self, search: &Search<'_>, now_ms: u64) -> Result<Vec<Hit>, MeaningError> {
        let Search { db, space, query, count, min, filters, .. } = *search;
        let may_approximate = !search.exact && filters.is_empty();
        let (wanted, least, ef) = (count, min, search.ef);
        let ranking = Ranking { space, query, wanted, least, filters: &filters, may_approximate, ef, now_ms };
        let score = |record: &Record<'_>| {
            let annex = record.annex().and_then(Annex::parse)?;
            let accepted = filters.accept(record.key(), &annex, now_ms);
            if accepted { annex.similarity(query, record.value()) } else { None }
        };
        let mut turns = 0;
        loop {
            turns += 1;
            let published = self.meaning.published.load(Ordering::SeqCst);
            let (ranked, exact) = rank(&ranking, &mut |candidate: &Candidate| {
                self.with_row(space, candidate, db, now_ms, |_, _, record| score(record))
            });
            let hit = |best: &sutra_hnsw_index::Hit| {
                let (similarity, entry) =
                    self.with_row_for(search.reader, space, &candidate(best), db, now_ms, |_, _, record| {
                        // Since it was ranked, the row may have become another entry's.
                        let similarity = score(record).filter(|now| min.is_none_or(|min| *now >= min))?;
                        Some((similarity, self.found(record, Some((space, best.row)), now_ms)))
                    })?;
                let value = if search.with_values { entry.value } else { Bytes::new() };
                let details = entry.details;
                Some(Hit { key: entry.key, value, similarity, margin: None, exact, details, guarded: 0 })
            };
            let mut hits: Vec<Hit> = ranked.iter().filter_map(hit).collect();
            hits.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
            // One answer never shows a part of an invalidation: who was asked in the middle of one asks again.
            let is_whole = self.meaning.published.load(Ordering::SeqCst) == published;
            if is_whole && (hits.len() == ranked.len() || turns >= TURNS_MAX) {
                return Ok(hits);
            }
        }
    }

    /// Looks at the live entry of a row that a scan has found: `look` is called under its stripe's lock. `None` if the entry is gone, or of
    /// another database, or `look` says so. An entry that a merge has moved meanwhile is found where it is now.
    pub(super) fn with_row<R>(
        &self,
        space: &Space,
        candidate: &Candidate,
        db: u8,
        now_ms: u64,
        look: impl FnOnce(&Txn<'_>, Slot, &Record<'_>) -> Option<R>,
    ) -> Option<R> {
        self.with_row_for(None, space, candidate, db, now_ms, look)
    }

    /// [`Shard::with_row`], and registers a reader of what `look` has accepted.
    fn with_row_for<R>(
        &self,
        reader: Option<&Arc<Subscriber>>,
        space: &Space,
        candidate: &Candidate,
        db: u8,
        now_ms: u64,
        look: impl FnOnce(&Txn<'_>, Slot, &Record<'_>) -> Option<R>,
    ) -> Option<R> {
        let row = RowRef { space: space.id(), row: candidate.row };
        let mut side = candidate.side;
        loop {
            let owner = Owner::unpack(side.owner);
            if owner.db != db {
                return None;
            }
            let mut txn = Txn::begin_stripe(self, owner.hash.stripe, now_ms);
            let stripe = txn.stripe(owner.hash.stripe);
            if stripe.rows.get(&owner.location.to_bits()) == Some(&row) {
                let table = &stripe.database(db)?.table;
                let position = table.find_exact(owner.hash.slot, owner.location.to_bits(), SlotKind::Annotated)?;
                let slot = table.slot(position)?;
                let record = self.store.record(&txn.pin, owner.location)?;
                if !record.is_trusted() && !record.verify() {
                    self.report_damage(db, owner.hash, owner.location);
                    return None;
                }
                let live = record.expires_at_ms().is_ok_and(|at| at.is_none_or(|at| at > now_ms))
                    && !(self.meaning.active_count.load(Ordering::Relaxed) > 0 && self.is_covered(db, &record));
                let looked = if live { look(&txn, slot, &record) } else { None };
                if let Some(reader) = reader.filter(|_| looked.is_some()) {
                    let key = record.key().to_vec();
                    txn.track_hashed(owner.hash, &key, reader);
                }
                return looked;
            }
            drop(txn);
            match space.rows.side(candidate.row) {
                Some(now) if now.owner != side.owner => side = now,
                Some(_) | None => return None,
            }
        }
    }

    fn found(&self, record: &Record<'_>, row: Option<(&Arc<Space>, u32)>, now_ms: u64) -> Found {
        let details = self.describe(record, row, now_ms);
        let value = StringRef { bytes: record.value(), record: Some(*record) }.to_shared();
        Found { key: record.key().to_vec(), value, details }
    }

    fn describe(&self, record: &Record<'_>, row: Option<(&Arc<Space>, u32)>, now_ms: u64) -> Details {
        let expires_at_ms = record.expires_at_ms().ok().flatten();
        let mut details = Details {
            ttl_ms: expires_at_ms.map(|at| at.saturating_sub(now_ms)),
            cost: record.cost(),
            hits: row.map_or(0, |(space, row)| u64::from(space.rows.hits(row))),
            ..Details::default()
        };
        if let Some(annex) = record.annex().and_then(Annex::parse) {
            details.age_ms = Some(now_ms.saturating_sub(annex.written_ms));
            details.lsn = Some(annex.stamp);
            details.tags = annex.tags().map(<[u8]>::to_vec).collect();
            details.deps = annex.deps().map(|(name, version)| (name.to_vec(), version)).collect();
            details.meta = (!annex.meta.is_empty()).then(|| annex.meta.to_vec());
            details.has_vector = annex.form != super::annex::VectorForm::None;
            details.space = row.filter(|(space, _)| !space.name().is_empty()).map(|(space, _)| space.name().to_vec());
        }
        details
    }

    // ---- what there is ----

    /// Tags of live entries of a database and how many entries have them, most first. Looks at every annotated entry.
    #[must_use]
    pub fn tags(&self, db: u8, now_ms: u64) -> Vec<(Vec<u8>, u64)> {
        let mut counts: HashMap<Vec<u8>, u64> = HashMap::new();
        self.each_annotated(db, now_ms, |_, _, annex, _| {
            for tag in annex.tags() {
                match counts.get_mut(tag) {
                    Some(count) => *count += 1,
                    None => {
                        counts.insert(tag.to_vec(), 1);
                    }
                }
            }
        });
        let mut tags: Vec<(Vec<u8>, u64)> = counts.into_iter().collect();
        tags.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        tags
    }

    /// The entries that native commands have served most often, written after `since_ms` if that is given. Looks at every row.
    #[must_use]
    pub fn top(&self, db: u8, n: usize, since_ms: Option<u64>, now_ms: u64) -> Vec<TopEntry> {
        let filter = Filter { written_after_ms: since_ms, ..Filter::default() };
        let mut often: Vec<(u32, Arc<Space>, Candidate)> = Vec::new();
        for space in self.all_spaces() {
            space.each_row(&filter, |candidate| {
                let hits = space.rows.hits(candidate.row);
                if hits > 0 && Owner::unpack(candidate.side.owner).db == db {
                    often.push((hits, Arc::clone(&space), *candidate));
                    if often.len() > n.saturating_mul(4).max(1024) {
                        often.sort_by_key(|(hits, ..)| std::cmp::Reverse(*hits));
                        often.truncate(n);
                    }
                }
            });
        }
        often.sort_by_key(|(hits, ..)| std::cmp::Reverse(*hits));
        let entry = |(hits, space, candidate): &(u32, Arc<Space>, Candidate)| {
            self.with_row(space, candidate, db, now_ms, |_, _, record| {
                let age_ms = now_ms.saturating_sub(candidate.side.written_ms);
                let space = (!space.name().is_empty()).then(|| space.name().to_vec());
                let (hits, bytes) = (u64::from(*hits), u64::from(record.bytes()));
                Some(TopEntry { key: record.key().to_vec(), space, hits, age_ms, bytes })
            })
        };
        often.iter().filter_map(entry).take(n).collect()
    }

    fn each_annotated(&self, db: u8, now_ms: u64, mut visit: impl FnMut(&Arc<Space>, &[u8], &Annex<'_>, &Record<'_>)) {
        for space in self.all_spaces() {
            space.each_row(&Filter::default(), |candidate| {
                self.with_row(&space, candidate, db, now_ms, |_, _, record| {
                    let annex = record.annex().and_then(Annex::parse)?;
                    visit(&space, record.key(), &annex, record);
                    Some(())
                });
            });
        }
    }

    /// A verdict on the last hit that served an entry; whether one is remembered.
    ///
    /// # Errors
    /// None at present.
    pub fn feedback(&self, db: u8, key: &[u8], good: bool, _now_ms: u64) -> Result<bool, MeaningError> {
        let id = entry_id(db, key);
        let spaces = self.spaces();
        let judged =
            spaces.iter().any(|space| space.feedback.lock().unwrap_or_else(PoisonError::into_inner).judge(id, good));
        Ok(judged)
    }

    /// Numbers of spaces, invalidations and leases.
    #[must_use]
    pub fn meaning_stats(&self) -> MeaningStats {
        let meaning = &self.meaning;
        let spaces = self.spaces();
        let by_name = meaning.by_name.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        MeaningStats {
            spaces: spaces.len() as u64,
            vectors: spaces.iter().map(|space| space.len() as u64).sum(),
            index_bytes: self.meaning_bytes() - self.undo_bytes(),
            active_predicates: u64::from(meaning.active_count.load(Ordering::Relaxed)) + by_name,
            holds: u64::from(meaning.holds_count.load(Ordering::Relaxed)),
            invalidations: load(&meaning.counts.invalidations),
            invalidated: load(&meaning.counts.invalidated),
            leases: load(&meaning.leases_out),
            leases_granted: load(&meaning.counts.leases_granted),
            leases_waited: load(&meaning.counts.leases_waited),
            stale_refused: load(&meaning.counts.stale_refused),
            held_refused: load(&meaning.counts.held_refused),
            undo_bytes: self.undo_bytes(),
        }
    }

    /// How long an exact scan of a space takes, roughly, in microseconds on one core: to decide whether a thread that others wait for
    /// should do it. `None`: all spaces.
    #[must_use]
    pub fn estimated_scan_us(&self, space: Option<&Space>) -> u64 {
        // Measured: 0.01 ns a row and dimension for the bits, and some ns a row for what follows.
        let cost = |space: &Space| space.len() as u64 * (space.dimension() as u64 / 64 + 2) / 1000;
        match space {
            Some(space) => cost(space),
            None => self.spaces().iter().map(|space| cost(space)).sum(),
        }
    }
}

impl Txn<'_> {
    /// The live string of a key with the little that every caller of a native read needs, at the price of [`Txn::string`]. Counts a keyspace hit
    /// or miss, refreshes recency, and counts the entry's hit.
    ///
    /// # Errors
    /// [`crate::WriteError::WrongType`] if the entry is no string.
    pub fn serve(&self, db: u8, key: &[u8]) -> Result<Option<Served<'_>>, crate::WriteError> {
        let Some(found) = self.read(db, key) else { return Ok(None) };
        let Value::String(value) = self.value(&found) else { return Err(crate::WriteError::WrongType) };
        let cost = match found.record() {
            Some(record) => record.cost(),
            // A string that was changed in place: rare enough to be found twice.
            None => self.peek(db, key).and_then(|entry| entry.as_put().cost),
        };
        if let Some(row) = self.row_of(self.hash_of(key), found.slot) {
            self.shard.count_hit(row);
        }
        Ok(Some(Served { value, expires_at_ms: found.expires_at_ms(), cost }))
    }

    /// The live entry and what is known of it. Counts a keyspace hit or miss, refreshes recency, and counts the entry's hit.
    ///
    /// # Errors
    /// [`crate::WriteError::WrongType`] if the entry is no string.
    pub fn details(&self, db: u8, key: &[u8]) -> Result<Option<(StringRef<'_>, Details)>, crate::WriteError> {
        let Some(found) = self.read(db, key) else { return Ok(None) };
        let Value::String(string) = self.value(&found) else { return Err(crate::WriteError::WrongType) };
        let hash = self.hash_of(key);
        let details = match found.record() {
            Some(record) => {
                let row = self.row_of(hash, found.slot);
                let space = row.and_then(|row| Some((self.shard.space_by_id(row.space)?, row.row)));
                if let Some((space, row)) = &space {
                    space.rows.count_hit(*row);
                }
                self.shard.describe(&record, space.as_ref().map(|(space, row)| (space, *row)), self.now_ms())
            }
            None => Details {
                ttl_ms: found.expires_at_ms().map(|at| at.saturating_sub(self.now_ms())),
                ..Details::default()
            },
        };
        Ok(Some((string, details)))
    }

    /// Refreshes the recency of an entry that was served by its row.
    fn touch(&self, db: u8, slot: Slot, record: &Record<'_>) {
        let hash = self.hash_of(record.key());
        let stripe = self.stripe(hash.stripe);
        if let Some(database) = stripe.database(db)
            && let Some(position) = database.table.find_exact(slot.hash(), slot.location(), slot.kind())
        {
            database.table.refresh(position, self.touched(stripe, slot));
        }
    }
}

/// The best rows, and whether no better one can have been missed. By the graph where there is one and nothing speaks against it; by a scan
/// if the graph finds too few that count.
fn rank(ranking: &Ranking<'_>, score: &mut dyn FnMut(&Candidate) -> Option<f32>) -> (Vec<sutra_hnsw_index::Hit>, bool) {
    let Ranking { space, query, wanted, least, filters, may_approximate, ef, now_ms } = *ranking;
    if may_approximate && let Some(rows) = space.graph.candidates(space, query, wanted, ef) {
        let mut ranked: Vec<sutra_hnsw_index::Hit> = Vec::with_capacity(rows.len());
        let mut refused = false;
        for row in rows {
            let Some(side) = space.rows.side(row) else { continue };
            match score(&Candidate { row, side, lower: f32::NEG_INFINITY, upper: f32::INFINITY }) {
                Some(similarity) if least.is_none_or(|least| similarity >= least) => {
                    ranked.push(sutra_hnsw_index::Hit { row, side, similarity });
                }
                Some(_) => {}
                None => refused = true,
            }
        }
        ranked.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then_with(|| a.row.cmp(&b.row)));
        ranked.truncate(wanted);
        // Rows that do not count may have kept others from being seen.
        if ranked.len() == wanted || (least.is_some() && !refused) {
            return (ranked, false);
        }
    }
    (space.rows.top_k(query, wanted, least, &filters.rows(now_ms), score), true)
}

fn candidate(hit: &sutra_hnsw_index::Hit) -> Candidate {
    Candidate { row: hit.row, side: hit.side, lower: hit.similarity, upper: hit.similarity }
}

/// Names an entry to the feedback of its space.
fn entry_id(db: u8, key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(key, u64::from(db))
}
