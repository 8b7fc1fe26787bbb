//! What is computed from, as far as a test can tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;

/// A source that counts how often it is asked, and answers when it is told to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source {
    calls: Arc<AtomicU32>,
    gate: Option<Arc<Notify>>,
}

impl Source {
    pub(crate) fn gated() -> Source {
        Source { gate: Some(Arc::default()), ..Source::default() }
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) {
        self.gate.as_ref().expect("it has a gate").notify_one();
    }

    /// The number of this call, 1 at the first, once the gate is open.
    pub(crate) async fn called(&self) -> u32 {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        call
    }
}
