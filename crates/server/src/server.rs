//! The process: what all connections share.

use sutra_shard::Shard;

/// Shard, settings, clients and statistics.
pub struct Server {
    /// The entries.
    pub shard: Shard,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}
