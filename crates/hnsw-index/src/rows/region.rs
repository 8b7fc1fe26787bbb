//! The memory of one block: mapped, page-aligned, zero at first.
#![expect(unsafe_code, reason = "memory that other processes see, shared between threads")]

use std::fs::File;
use std::io;
use std::ptr::NonNull;

use memmap2::{MmapOptions, MmapRaw};

/// Memory that is mapped for as long as the value lives. Who may touch which bytes when is [`super::page`]'s business.
#[derive(Debug)]
pub(super) struct Region {
    map: MmapRaw,
    base: NonNull<u8>,
}

// SAFETY: the mapping belongs to the region alone, and every access to it goes through a page, which follows Rust's rules for borrows.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Memory that no file stands behind. Its pages come into being when they are touched.
    pub(super) fn anonymous(bytes: usize) -> io::Result<Region> {
        Region::new(MmapOptions::new().len(bytes).map_anon()?.into())
    }

    /// A part of a file, from a multiple of a page. The file is locked and as long as that, and nobody cuts it.
    pub(super) fn of_file(file: &File, start: u64, bytes: usize) -> io::Result<Region> {
        Region::new(MmapOptions::new().offset(start).len(bytes).map_raw(file)?)
    }

    fn new(map: MmapRaw) -> io::Result<Region> {
        let base = NonNull::new(map.as_mut_ptr()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Region { map, base })
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn bytes(&self) -> usize {
        self.map.len()
    }
}
