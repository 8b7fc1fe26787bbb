//! Where segments live: the seam between the store and the disk.

use std::ops::Range;

use memmap2::MmapOptions;

use crate::error::IoError;
use crate::region::Region;

/// Where segments live. Two spaces are in this crate ([`crate::Directory`], [`Anonymous`]); the simulated disk is a third.
///
/// A store owns its space, and calls it from several threads. Ids are between 1 and 65,535.
pub trait SegmentSpace: Send + Sync {
    /// Makes a segment of `bytes` zeros, with all of its space on the medium allocated, so that writing to it cannot fail for want of
    /// space. Its name is durable only after [`SegmentSpace::sync_directory`]. On an error nothing is left behind.
    ///
    /// # Errors
    /// No space, or an id that exists or is still mapped.
    fn create(&self, id: u16, bytes: u32) -> Result<Region, IoError>;

    /// The first `bytes` of an existing segment, which is at least as long.
    ///
    /// # Errors
    /// It does not exist, is shorter, or is still mapped.
    fn open(&self, id: u16, bytes: u32) -> Result<Region, IoError>;

    /// The segments that exist, with their lengths in bytes, by id.
    ///
    /// # Errors
    /// The space cannot be read.
    fn list(&self) -> Result<Vec<(u16, u64)>, IoError>;

    /// Makes a range of a segment durable, whole pages; returns when it is.
    ///
    /// # Errors
    /// The disk failed; whether the range is durable is unknown, and trying again proves nothing.
    fn sync(&self, id: u16, region: &Region, range: Range<usize>) -> Result<(), IoError>;

    /// Makes the names of created segments durable, and the absence of removed ones.
    ///
    /// # Errors
    /// The disk failed.
    fn sync_directory(&self) -> Result<(), IoError>;

    /// Removes a segment. Regions over it stay readable.
    ///
    /// # Errors
    /// The disk failed; the segment may come back when the store is opened again.
    fn remove(&self, id: u16) -> Result<(), IoError>;
}

/// Anonymous memory: nothing outlives the process, nothing is synced.
#[derive(Debug, Default)]
pub struct Anonymous;

impl SegmentSpace for Anonymous {
    fn create(&self, id: u16, bytes: u32) -> Result<Region, IoError> {
        let map = MmapOptions::new().len(bytes as usize).map_anon();
        let map = map.map_err(|source| IoError::new("allocate memory for", format!("{id:05}.seg"), source))?;
        Ok(Region::mapped(map.into(), None))
    }

    fn open(&self, id: u16, _bytes: u32) -> Result<Region, IoError> {
        Err(IoError::new("open", format!("{id:05}.seg"), std::io::ErrorKind::NotFound))
    }

    fn list(&self) -> Result<Vec<(u16, u64)>, IoError> {
        Ok(Vec::new())
    }

    fn sync(&self, _id: u16, _region: &Region, _range: Range<usize>) -> Result<(), IoError> {
        Ok(())
    }

    fn sync_directory(&self) -> Result<(), IoError> {
        Ok(())
    }

    fn remove(&self, _id: u16) -> Result<(), IoError> {
        Ok(())
    }
}
