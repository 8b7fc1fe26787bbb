//! The families into which commands are counted.

use crate::command::{Flags, Spec};
use crate::server::Server;
use crate::statistics::LATENCY_BUCKETS;
use crate::table::table;
use std::sync::LazyLock;

/// What kind of thing a command does: the label `operation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Write,
    Delete,
    Scan,
    Lookup,
    Invalidate,
    Embedding,
    Lease,
    Transaction,
    Connection,
    Admin,
}

impl Operation {
    /// In the order of their figures.
    pub(super) const ALL: [Operation; 11] = [
        Operation::Read,
        Operation::Write,
        Operation::Delete,
        Operation::Scan,
        Operation::Lookup,
        Operation::Invalidate,
        Operation::Embedding,
        Operation::Lease,
        Operation::Transaction,
        Operation::Connection,
        Operation::Admin,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Delete => "delete",
            Operation::Scan => "scan",
            Operation::Lookup => "lookup",
            Operation::Invalidate => "invalidate",
            Operation::Embedding => "embedding",
            Operation::Lease => "lease",
            Operation::Transaction => "transaction",
            Operation::Connection => "connection",
            Operation::Admin => "admin",
        }
    }

    /// The family of a command or subcommand.
    pub(super) fn of(spec: &Spec) -> Operation {
        let parent = spec.name.split('|').next().unwrap_or_default();
        match parent {
            "cache.lookup" | "cache.search" => Operation::Lookup,
            "cache.invalidate" | "cache.undo" | "cache.space" => Operation::Invalidate,
            "cache.lease" | "cache.release" => Operation::Lease,
            "del" | "unlink" | "hdel" | "flushdb" | "flushall" => Operation::Delete,
            "keys" | "scan" | "hscan" | "sort" | "sort_ro" | "randomkey" => Operation::Scan,
            "multi" | "exec" | "discard" | "watch" | "unwatch" => Operation::Transaction,
            name if name.starts_with("cache.emb.") => Operation::Embedding,
            _ if spec.flags.has(Flags::WRITE) => Operation::Write,
            _ if spec.flags.has(Flags::READONLY) => Operation::Read,
            _ if spec.group == "connection" => Operation::Connection,
            _ => Operation::Admin,
        }
    }
}

/// The family of each command, by its number in the table.
static FAMILIES: LazyLock<Vec<Operation>> =
    LazyLock::new(|| table().all().iter().map(|command| Operation::of(command.spec)).collect());

/// What the commands of one family have done.
#[derive(Debug, Clone, Copy)]
pub(super) struct OperationFigures {
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) nanoseconds: u64,
    pub(super) latency: [u64; LATENCY_BUCKETS],
}

/// The figures of all families, in the order of [`Operation::ALL`].
pub(super) fn figures(server: &Server) -> [OperationFigures; Operation::ALL.len()] {
    let none = OperationFigures { calls: 0, errors: 0, nanoseconds: 0, latency: [0; LATENCY_BUCKETS] };
    let mut sums = [none; Operation::ALL.len()];
    for worker in server.workers() {
        for (counters, family) in worker.commands.iter().zip(FAMILIES.iter()) {
            let (calls, rejected) = (counters.calls.value(), counters.rejected.value());
            if calls == 0 && rejected == 0 {
                continue;
            }
            let sum = &mut sums[*family as usize];
            sum.calls += calls;
            sum.errors += counters.failed.value() + rejected;
            sum.nanoseconds += counters.nanoseconds.value();
            for (sum, bucket) in sum.latency.iter_mut().zip(&counters.latency) {
                *sum += bucket.value();
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_where_their_family_says() {
        for (index, operation) in Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
        }
    }

    #[test]
    fn commands_are_in_the_family_that_an_operator_expects() {
        for (name, operation) in [
            ("get", "read"),
            ("mget", "read"),
            ("set", "write"),
            ("incr", "write"),
            ("expire", "write"),
            ("del", "delete"),
            ("flushall", "delete"),
            ("scan", "scan"),
            ("cache.lookup", "lookup"),
            ("cache.search", "lookup"),
            ("cache.invalidate", "invalidate"),
            ("cache.space|bump", "invalidate"),
            ("cache.emb.mget", "embedding"),
            ("cache.lease", "lease"),
            ("cache.set", "write"),
            ("cache.get", "read"),
            ("exec", "transaction"),
            ("hello", "connection"),
            ("client|list", "connection"),
            ("info", "admin"),
            ("config|set", "admin"),
        ] {
            let command = table().find_full_name(name.as_bytes()).unwrap_or_else(|| panic!("{name} is a command"));
            assert_eq!(Operation::of(command.spec).name(), operation, "{name}");
        }
    }
}
