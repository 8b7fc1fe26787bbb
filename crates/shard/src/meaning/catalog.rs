//! The spaces of a shard: made, found, dropped.

use super::rows::Owner;
use super::space::{DIMENSION_MAX, Registry, SPACE_NAME_BYTES_MAX, Space, SpaceOptions, UNPLACED};
use super::{FeedbackReport, MeaningError, Quantization, text};
use crate::api::{Scope, WriteError};
use crate::ops::Op;
use crate::shard::Shard;
use crate::slot::SlotKind;
use crate::txn::Txn;
use std::sync::{Arc, PoisonError};
use sutra_guard::Guard;
use sutra_hnsw_index::{Filter, Metric, Rows};

impl Shard {
    /// Makes the rows of entries without vectors.
    pub(crate) fn make_unplaced(&self) {
        let options = SpaceOptions {
            dimension: 0,
            metric: Metric::Cosine,
            embedder: String::new(),
            quantization: Quantization::Cascade,
            guard: Guard::default(),
        };
        let rows = Rows::new(0);
        let mut registry = self.meaning.registry.write().unwrap_or_else(PoisonError::into_inner);
        registry.insert(Arc::new(Space::new(UNPLACED, b"", options, rows)));
    }

    /// Makes a space, and logs it.
    ///
    /// # Errors
    /// [`MeaningError::SpaceExists`], [`MeaningError::SpaceName`], [`MeaningError::Dimension`], [`MeaningError::Write`].
    pub fn create_space(&self, name: &[u8], options: &SpaceOptions) -> Result<Arc<Space>, MeaningError> {
        if !(1..=SPACE_NAME_BYTES_MAX).contains(&name.len()) {
            return Err(MeaningError::SpaceName { bytes: name.len() });
        }
        if !(1..=DIMENSION_MAX).contains(&options.dimension) {
            return Err(MeaningError::Dimension(options.dimension));
        }
        self.writable()?;
        let mut registry = self.meaning.registry.write().unwrap_or_else(PoisonError::into_inner);
        if registry.by_name(name).is_some() {
            return Err(MeaningError::SpaceExists(text(name)));
        }
        let space = Arc::new(self.new_space(registry.next_id(), name, options.clone()));
        // Logged before anybody can use it: no frame names a space that is not in the log before it.
        if let Some(log) = &self.log {
            let mut frame = Vec::new();
            Op::Space { id: space.id(), body: &space.describe() }.encode(&mut frame);
            log.append(&frame).map_err(|error| WriteError::Unavailable(error.to_string()))?;
        }
        registry.insert(Arc::clone(&space));
        Ok(space)
    }

    pub(super) fn new_space(&self, id: u32, name: &[u8], options: SpaceOptions) -> Space {
        let rows = Rows::new(options.dimension);
        Space::new(id, name, options, rows)
    }

    /// The space of a name.
    #[must_use]
    pub fn space(&self, name: &[u8]) -> Option<Arc<Space>> {
        self.meaning.registry.read().unwrap_or_else(PoisonError::into_inner).by_name(name).cloned()
    }

    /// The space of a name, made if it is not there; if it is, it must have this dimension and embedder.
    ///
    /// # Errors
    /// [`MeaningError::Mismatch`], and as [`Shard::create_space`].
    pub fn space_or_create(&self, name: &[u8], options: &SpaceOptions) -> Result<Arc<Space>, MeaningError> {
        loop {
            if let Some(space) = self.space(name) {
                space.agrees(options)?;
                return Ok(space);
            }
            match self.create_space(name, options) {
                Err(MeaningError::SpaceExists(_)) => {}
                made_or_refused => return made_or_refused,
            }
        }
    }

    /// All spaces, oldest first.
    #[must_use]
    pub fn spaces(&self) -> Vec<Arc<Space>> {
        let registry: &Registry = &self.meaning.registry.read().unwrap_or_else(PoisonError::into_inner);
        registry.named()
    }

    /// Removes a space with all its entries, in every database; returns how many entries there were.
    ///
    /// # Errors
    /// [`MeaningError::NoSuchSpace`], [`MeaningError::Write`].
    pub fn drop_space(&self, name: &[u8], now_ms: u64) -> Result<u64, MeaningError> {
        self.writable()?;
        let space = {
            // No writer is between finding the space and writing into it.
            let _all = self.begin(Scope::All, now_ms);
            let mut registry = self.meaning.registry.write().unwrap_or_else(PoisonError::into_inner);
            let Some(space) = registry.by_name(name).cloned() else {
                return Err(MeaningError::NoSuchSpace(text(name)));
            };
            if let Some(log) = &self.log {
                let mut frame = Vec::new();
                Op::SpaceDrop { id: space.id() }.encode(&mut frame);
                log.append(&frame).map_err(|error| WriteError::Unavailable(error.to_string()))?;
            }
            registry.remove(space.id())
        };
        let Some(space) = space else { return Err(MeaningError::NoSuchSpace(text(name))) };
        let mut removed = 0;
        space.each_row(&Filter::default(), |candidate| {
            let mut side = candidate.side;
            loop {
                let owner = Owner::unpack(side.owner);
                let mut txn = Txn::begin_stripe(self, owner.hash.stripe, now_ms);
                let location = owner.location.to_bits();
                if txn.remove_slot_at(owner.db, owner.hash, location, SlotKind::Annotated).is_some() {
                    removed += 1;
                    break;
                }
                drop(txn);
                match space.rows.side(candidate.row) {
                    Some(now) if now.owner != side.owner => side = now,
                    Some(_) | None => break,
                }
            }
        });
        self.sync()?;
        Ok(removed)
    }

    /// What callers said of a space's hits.
    #[must_use]
    pub fn feedback_report(&self, space: &Space) -> FeedbackReport {
        space.feedback.lock().unwrap_or_else(PoisonError::into_inner).report()
    }
}
