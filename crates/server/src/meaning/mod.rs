//! What the server adds to the shard's meaning: the operator's choices and the embedder.

pub mod embedding;
pub mod settings;
