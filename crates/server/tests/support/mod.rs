//! What whole-process tests share: the server as a process of its own, and a client that knows nothing of its insides.

pub(crate) mod client;
pub(crate) mod process;
pub(crate) mod random;
