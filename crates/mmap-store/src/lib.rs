//! Records in memory-mapped segments. Knows no index, no log, no policy.
