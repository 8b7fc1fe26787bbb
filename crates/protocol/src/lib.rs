//! RESP2 and RESP3: bytes to requests, replies to bytes. Shared by the server and the client.
//!
//! | direction | type |
//! | --- | --- |
//! | server reads | [`Decoder`]: one request at a time, in place, resumable |
//! | server writes | [`Reply`] encoded into an [`Output`] for the [`Version`] that the connection chose |
//! | client writes | [`encode_request`] |
//! | client reads | [`FrameDecoder`]: one [`Frame`] at a time, resumable |
//!
//! What this crate does not know: sockets, runtimes, clocks, commands and what they mean. It never allocates for a length
//! that was only declared; everything that a peer can make grow has a limit with a name.
#![forbid(unsafe_code)]

mod frame;
mod long_double;
pub mod number;
mod output;
mod reply;
mod request;

pub use frame::{Frame, FrameDecoder, FrameError, FrameLimits, decode_frame, encode_request};
pub use output::{Chunks, Mark, Output, SHARED_BYTES_MIN};
pub use reply::{Reply, Version};
pub use request::{Arguments, Decoder, Limits, ProtocolError};
