//! What is counted, under which names.

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Counter {
    /// Values that came from this process.
    L1Hits,
    /// Values that came from the shard.
    L2Hits,
    /// Values that came from the fallback, while the shard was away.
    FallbackHits,
    /// Values that were nowhere.
    Misses,
    /// Hits, among those above, that said "there is no such value".
    NegativeHits,
    /// Hits, among those above, with a value past its time, while a new one was computed or the source was down.
    StaleServed,
    /// Values that were computed anew before their time was over.
    EarlyRefreshes,
    /// How often the caller's function computed a value.
    Computations,
    /// Leases that this client got: it computed.
    LeasesWon,
    /// Leases that others had: it waited for what they computed.
    LeasesWaited,
    /// Values written to the shard.
    Writes,
    /// Values that were to be written and were not.
    WriteFaults,
    /// Requests that were sent again.
    Retries,
    /// Connections made after the first ones.
    Reconnects,
    /// Invalidations that the shard pushed.
    Pushes,
    /// Bytes received from the shard.
    ReadBytes,
    /// Bytes sent to the shard.
    WrittenBytes,
}

/// What went wrong between this client and its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection could be made.
    Connect,
    /// The shard did not take the password, or the user may not do this.
    Authentication,
    /// No answer in time.
    Timeout,
    /// The connection broke with the request on its way.
    Disconnected,
    /// What came was not the protocol.
    Protocol,
    /// The shard answered an error.
    Server,
    /// The value was not of the type that was asked for.
    Decode,
    /// The circuit breaker is open, or a queue is full: nothing was sent.
    Refused,
}

/// Classes of operations whose latency is kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Reading one value, from whichever tier.
    Get,
    /// Reading several values.
    GetMany,
    /// Writing values.
    Set,
    /// Deleting, expiring and asking about entries.
    Manage,
    /// Looking up and searching by meaning.
    Lookup,
    /// Invalidating.
    Invalidate,
    /// Asking for a lease, and waiting for one.
    Lease,
    /// A batch of embeddings, the computing included.
    Embeddings,
    /// The caller's function.
    Compute,
    /// Anything else.
    Other,
}

/// A metric that a counter is a sample of: name, label, help.
pub(super) type Metric = (&'static str, Option<(&'static str, &'static str)>, &'static str);

impl Counter {
    /// All of them, those of one metric beside each other, in the order of their declaration.
    pub const ALL: [Counter; 17] = [
        Counter::L1Hits,
        Counter::L2Hits,
        Counter::FallbackHits,
        Counter::Misses,
        Counter::NegativeHits,
        Counter::StaleServed,
        Counter::EarlyRefreshes,
        Counter::Computations,
        Counter::LeasesWon,
        Counter::LeasesWaited,
        Counter::Writes,
        Counter::WriteFaults,
        Counter::Retries,
        Counter::Reconnects,
        Counter::Pushes,
        Counter::ReadBytes,
        Counter::WrittenBytes,
    ];

    pub(super) fn metric(self) -> Metric {
        const HITS: &str = "Values that were found, by where.";
        const LEASES: &str = "Leases that were asked for on misses, by what came of it.";
        match self {
            Counter::L1Hits => ("hits_total", Some(("tier", "l1")), HITS),
            Counter::L2Hits => ("hits_total", Some(("tier", "l2")), HITS),
            Counter::FallbackHits => ("hits_total", Some(("tier", "fallback")), HITS),
            Counter::Misses => ("misses_total", None, "Values that were not found."),
            Counter::NegativeHits => ("negative_hits_total", None, "Hits that said that there is no such value."),
            Counter::StaleServed => ("stale_served_total", None, "Hits with a value past its time."),
            Counter::EarlyRefreshes => {
                ("early_refreshes_total", None, "Values computed anew before their time was over.")
            }
            Counter::Computations => ("computations_total", None, "Calls of the function that computes a value."),
            Counter::LeasesWon => ("leases_total", Some(("outcome", "won")), LEASES),
            Counter::LeasesWaited => ("leases_total", Some(("outcome", "waited")), LEASES),
            Counter::Writes => ("writes_total", None, "Values written to the shard."),
            Counter::WriteFaults => ("write_faults_total", None, "Values that could not be written."),
            Counter::Retries => ("retries_total", None, "Requests sent again."),
            Counter::Reconnects => ("reconnects_total", None, "Connections made after the first ones."),
            Counter::Pushes => ("pushes_total", None, "Invalidations pushed by the shard."),
            Counter::ReadBytes => ("read_bytes_total", None, "Bytes received from the shard."),
            Counter::WrittenBytes => ("written_bytes_total", None, "Bytes sent to the shard."),
        }
    }
}

impl ErrorKind {
    /// All of them, in the order of their declaration.
    pub const ALL: [ErrorKind; 8] = [
        ErrorKind::Connect,
        ErrorKind::Authentication,
        ErrorKind::Timeout,
        ErrorKind::Disconnected,
        ErrorKind::Protocol,
        ErrorKind::Server,
        ErrorKind::Decode,
        ErrorKind::Refused,
    ];

    /// Its name in snapshots and labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Connect => "connect",
            ErrorKind::Authentication => "authentication",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Disconnected => "disconnected",
            ErrorKind::Protocol => "protocol",
            ErrorKind::Server => "server",
            ErrorKind::Decode => "decode",
            ErrorKind::Refused => "refused",
        }
    }
}

impl Operation {
    /// All of them, in the order of their declaration.
    pub const ALL: [Operation; 10] = [
        Operation::Get,
        Operation::GetMany,
        Operation::Set,
        Operation::Manage,
        Operation::Lookup,
        Operation::Invalidate,
        Operation::Lease,
        Operation::Embeddings,
        Operation::Compute,
        Operation::Other,
    ];

    /// Its name in snapshots and labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::GetMany => "get_many",
            Operation::Set => "set",
            Operation::Manage => "manage",
            Operation::Lookup => "lookup",
            Operation::Invalidate => "invalidate",
            Operation::Lease => "lease",
            Operation::Embeddings => "embeddings",
            Operation::Compute => "compute",
            Operation::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_at_its_own_number() {
        assert!(Counter::ALL.iter().enumerate().all(|(index, counter)| *counter as usize == index));
        assert!(ErrorKind::ALL.iter().enumerate().all(|(index, kind)| *kind as usize == index));
        assert!(Operation::ALL.iter().enumerate().all(|(index, operation)| *operation as usize == index));
    }
}
