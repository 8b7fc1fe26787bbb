//! One block of rows: a page behind a lock, and the hit counters, which need none.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::rows::layout::Layout;
use crate::rows::page::{Hits, Page};
use crate::rows::region::Region;

#[derive(Debug)]
pub(super) struct Block {
    hits: Hits,
    page: RwLock<Page>,
}

impl Block {
    /// `checked` rows have checksums, for whoever finds them in a file later.
    pub(super) fn over(region: Region, layout: Layout, checked: bool) -> Block {
        let (page, hits) = Page::new(region, layout, checked);
        Block { hits, page: RwLock::new(page) }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Page> {
        self.page.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Read access, unless somebody writes.
    pub(super) fn try_read(&self) -> Option<RwLockReadGuard<'_, Page>> {
        self.page.try_read().ok()
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Page> {
        self.page.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_hit(&self, within: usize) {
        self.hits.count(within);
    }

    pub(super) fn hits(&self, within: usize) -> u32 {
        self.hits.get(within)
    }

    pub(super) fn reset_hits(&self, within: usize) {
        self.hits.reset(within);
    }
}
