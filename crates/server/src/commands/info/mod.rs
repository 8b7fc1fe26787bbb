//! INFO: what clients, exporters and dashboards parse. Names and formats are Redis's; what only we have begins with `sutra_`.

mod counters;
mod meaning;
mod server;
mod storage;

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use std::fmt::Display;
use sutra_protocol::Reply;
use sutra_shard::{MemoryReport, PersistenceReport, ShardStats};

/// INFO.
pub static SPEC: Spec = Spec {
    name: "info",
    arity: -1,
    // Numbers are kept stripe by stripe, and must not be waited for by an EXEC that holds some of them.
    flags: Flags::LOADING.and(Flags::ALL_KEYS),
    keys: Keys::None,
    group: "server",
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns information and statistics about the server.",
    syntax: "[section [section ...]]",
    subcommands: &[],
    run,
};

/// The numbers that several sections show, taken once.
struct Facts<'c, 't, 's> {
    cx: &'c Context<'t, 's>,
    memory: MemoryReport,
    persistence: PersistenceReport,
    stats: ShardStats,
}

/// A section: its name, whether plain INFO shows it, what writes it.
struct Section {
    name: &'static str,
    by_default: bool,
    write: fn(&Facts<'_, '_, '_>, &mut Text),
}

/// In Redis's order; ours before the keyspace, which old parsers expect last.
const SECTIONS: [Section; 15] = [
    Section { name: "Server", by_default: true, write: server::server },
    Section { name: "Clients", by_default: true, write: server::clients },
    Section { name: "Memory", by_default: true, write: storage::memory },
    Section { name: "Persistence", by_default: true, write: storage::persistence },
    Section { name: "Stats", by_default: true, write: counters::stats },
    Section { name: "Replication", by_default: true, write: server::replication },
    Section { name: "CPU", by_default: true, write: server::cpu },
    Section { name: "Modules", by_default: true, write: |_, _| {} },
    Section { name: "Commandstats", by_default: false, write: counters::commandstats },
    Section { name: "Errorstats", by_default: true, write: counters::errorstats },
    Section { name: "Latencystats", by_default: false, write: counters::latencystats },
    Section { name: "Cluster", by_default: true, write: |_, text| text.field("cluster_enabled", 0) },
    Section { name: "Sutra", by_default: true, write: storage::sutra },
    Section { name: "Meaning", by_default: true, write: meaning::meaning },
    Section { name: "Keyspace", by_default: true, write: storage::keyspace },
];

fn run<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let words = args.rest();
    let named = |name: &str| words.iter().any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    let all = named("all") || named("everything");
    let default = words.is_empty() || named("default");
    let shard = &cx.server.shard;
    let facts = Facts { memory: shard.memory(), persistence: shard.persistence(), stats: cx.txn.stats(), cx: &*cx };
    let mut text = Text(String::with_capacity(4096));
    for section in SECTIONS {
        if all || named(section.name) || (default && section.by_default) {
            if !text.0.is_empty() {
                text.0.push_str("\r\n");
            }
            text.0.push_str(&format!("# {}\r\n", section.name));
            (section.write)(&facts, &mut text);
        }
    }
    Ok(Reply::text(text.0))
}

/// Lines of `name:value`.
struct Text(String);

impl Text {
    fn field(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("{name}:{value}\r\n"));
    }

    /// Bytes, and the same for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), human(bytes));
    }

    /// Fields that are always 0 here.
    fn zeros(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.field(name, 0));
    }
}

/// Bytes as Redis shows them to people: `1.50M`.
fn human(bytes: u64) -> String {
    const UNITS: [(u64, char); 4] = [(1 << 40, 'T'), (1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

/// `part` ÷ `whole`, or 0.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_people_are_those_of_redis() {
        for (bytes, shown) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_928_656, "1.84M"),
            (25_276_514_304, "23.54G"),
            (1 << 41, "2.00T"),
        ] {
            assert_eq!(human(bytes), shown);
        }
    }
}
