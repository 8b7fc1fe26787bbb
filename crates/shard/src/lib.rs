//! The cache shard: keyspace, expiry, eviction, durability. Knows no wire, no tokio, no wall clock.
