//! Development only: simulated storage, a model cache, the conversation runner.
#![forbid(unsafe_code)]

pub mod conversation;
pub mod segments;
pub mod storage;
