//! A log of frames in one order: append, group commit, sync, replay, trim; and the file-system seam.
