//! How far a start has come, for whoever watches it from another thread.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What recovery is doing, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The directory is being opened.
    Opening,
    /// The newest checkpoint is being loaded.
    Checkpoint,
    /// The log behind it is being replayed.
    Log,
    /// Records and vectors are being taken over.
    Records,
}

const STAGES: [Stage; 4] = [Stage::Opening, Stage::Checkpoint, Stage::Log, Stage::Records];

/// Counts that recovery keeps up while it runs. They are for people: nothing waits for them.
#[derive(Debug, Default)]
pub struct Progress {
    stage: AtomicU8,
    entries: AtomicU64,
    frames: AtomicU64,
}

impl Progress {
    /// What is being done: `opening`, `checkpoint`, `log` or `records`.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        match STAGES.get(usize::from(self.stage.load(Ordering::Relaxed))) {
            Some(Stage::Checkpoint) => "checkpoint",
            Some(Stage::Log) => "log",
            Some(Stage::Records) => "records",
            Some(Stage::Opening) | None => "opening",
        }
    }

    /// Entries known so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Frames of the log replayed so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(crate) fn note(&self, entries: u64, frames: u64) {
        self.entries.store(entries, Ordering::Relaxed);
        self.frames.store(frames, Ordering::Relaxed);
    }
}

/// Options that differ only in who watches are the same options.
impl PartialEq for Progress {
    fn eq(&self, _: &Progress) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_its_name_in_order() {
        let progress = Progress::default();
        let names = STAGES.map(|stage| {
            progress.begin(stage);
            progress.stage()
        });
        assert_eq!(names, ["opening", "checkpoint", "log", "records"]);
    }
}
