//! Whether a connection is there, as its link and its observer are told.

use super::{Link, Observer};
use crate::Error;

/// A connection that can be used, from when it is made until this is dropped.
///
/// However it ends (an error, a task that is aborted, a runtime that is shut down), nobody is left to wait on the link, and no L1 to believe in it.
pub(crate) struct Presence<'a> {
    pub(super) link: &'a Link,
    pub(super) observer: Option<&'a dyn Observer>,
    number: usize,
    is_believed: bool,
    cause: String,
}

impl<'a> Presence<'a> {
    /// Connection `number` has been made: requests are taken from now on.
    pub(crate) fn new(link: &'a Link, number: usize, observer: Option<&'a dyn Observer>) -> Presence<'a> {
        let cause = "the client was closed".to_owned();
        let mut presence = Presence { link, observer, number, is_believed: false, cause };
        presence.sign_of_life();
        link.set_open();
        presence
    }

    /// It ends for this reason.
    pub(crate) fn end(mut self, cause: &str) {
        cause.clone_into(&mut self.cause);
    }

    /// Something has come.
    pub(super) fn sign_of_life(&mut self) {
        if !self.is_believed {
            self.is_believed = true;
            if let Some(observer) = self.observer {
                observer.connected(self.number);
            }
        }
    }

    /// For so long has nothing come that what has changed meanwhile would not be known.
    pub(super) fn doubt(&mut self, cause: &str) {
        if self.is_believed {
            self.is_believed = false;
            if let Some(observer) = self.observer {
                observer.lost(self.number, cause);
            }
        }
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.link.set_down(&Error::Closed);
        let cause = std::mem::take(&mut self.cause);
        self.doubt(&cause);
    }
}
