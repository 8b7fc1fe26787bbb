//! The spaces of a shard: made, found, dropped.

use super::rows::Owner;
use super::space::{DIMENSION_MAX, Registry, SPACE_NAME_BYTES_MAX, Space, SpaceOptions, UNPLACED};
use super::{FeedbackReport, MeaningError, Quantization, text};
use crate::api::{Scope, WriteError};
use crate::ops::Op;
use crate::shard::Shard;
use crate::slot::SlotKind;
use crate::txn::Txn;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use sutra_guard::Guard;
use sutra_hnsw_index::{Filter, Metric, Rows, Side};

impl Shard {
    /// Makes the rows of entries without vectors, or takes them over from a file.
    pub(crate) fn make_unplaced(&self, keep: &mut dyn FnMut(u32, &Side) -> bool) {
        let options = SpaceOptions {
            dimension: 0,
            metric: Metric::Cosine,
            embedder: String::new(),
            quantization: Quantization::Cascade,
            guard: Guard::default(),
        };
        let rows = self.open_rows(UNPLACED, 0, keep);
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
        let rows = self.open_rows(id, options.dimension, &mut |_, _| false);
        Space::new(id, name, options, rows)
    }

    /// The rows of a space: in a mapped file if there are files, keeping those that `keep` wants. Rows can be made again from the records, so
    /// what is wrong with a file is no more than a warning.
    pub(super) fn open_rows(&self, id: u32, dimension: usize, keep: &mut dyn FnMut(u32, &Side) -> bool) -> Rows {
        let Some(directory) = &self.rows_directory else { return Rows::new(dimension) };
        let path = rows_path(directory, id);
        let opened = std::fs::create_dir_all(directory).and_then(|()| Rows::open(dimension, &path, keep));
        match opened {
            Ok((rows, report)) => {
                if report.damaged > 0 || report.discarded.is_some() {
                    tracing::warn!(file = %path.display(), ?report, "rows of a space are made again from its entries");
                }
                rows
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "rows of a space are kept in anonymous memory");
                Rows::new(dimension)
            }
        }
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
        if let Some(directory) = &self.rows_directory
            && let Err(error) = std::fs::remove_file(rows_path(directory, space.id()))
        {
            tracing::warn!(%error, "the rows' file of a dropped space could not be removed");
        }
        self.sync()?;
        Ok(removed)
    }

    /// Removes files of rows that are of no use: all if the machine was started anew, since what they hold may be of any time.
    pub(super) fn clear_rows(&self, keep: &dyn Fn(u32) -> bool) {
        let Some(directory) = &self.rows_directory else { return };
        let Ok(files) = std::fs::read_dir(directory) else { return };
        for file in files.flatten() {
            let id = file.file_name().to_str().and_then(|name| name.strip_suffix(".rows")?.parse().ok());
            if !id.is_some_and(keep)
                && let Err(error) = std::fs::remove_file(file.path())
            {
                tracing::warn!(file = %file.path().display(), %error, "a file of rows could not be removed");
            }
        }
    }

    /// What callers said of a space's hits.
    #[must_use]
    pub fn feedback_report(&self, space: &Space) -> FeedbackReport {
        space.feedback.lock().unwrap_or_else(PoisonError::into_inner).report()
    }
}

fn rows_path(directory: &Path, id: u32) -> PathBuf {
    directory.join(format!("{id}.rows"))
}
