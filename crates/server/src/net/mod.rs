//! Sockets: threads that serve connections, and what keeps any client from harming the others.
//!
//! One current-thread runtime per core, each with its own listener on the same port; a connection stays on the thread that
//! accepted it. One read, many commands, one log write for all connections that are ready, one write. The pieces:
//!
//! | module | noun |
//! | --- | --- |
//! | `worker` | the threads, their listeners, start and stop |
//! | `connection` | one client: read, execute, flush, write, in turns that leave room for others |
//! | `input`, `pool` | its buffers, which go back to the thread when nothing waits in them |
//! | `commit` | waiting for the log, together with everyone else who waits |
//! | `housekeeping` | what nobody's request triggers: idle clients, slow readers, the end of a pause |
//! | `http` | the health probe on the data port |

pub mod commit;
mod connection;
pub mod housekeeping;
mod http;
mod input;
mod pool;
mod worker;

pub(crate) use worker::is_loopback;
pub use worker::{Handle, serve};
