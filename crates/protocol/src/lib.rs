//! RESP2/RESP3 codec: bytes to requests, replies to bytes. No I/O.
