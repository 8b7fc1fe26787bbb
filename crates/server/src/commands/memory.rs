//! MEMORY.

use super::container::{HELP, container, subcommand};
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::process::resident_bytes;
use crate::settings::DATABASES;
use sutra_protocol::Reply;
use sutra_shard::MemoryReport;

/// MEMORY.
pub static SPEC: Spec =
    container("memory", "4.0.0", "A container for memory diagnostics commands.", SUBCOMMANDS, without_subcommand);

static SUBCOMMANDS: &[Spec] = &[
    subcommand("memory|doctor", 2, Flags::NONE, "4.0.0", "Outputs a memory problems report.", "", doctor),
    subcommand("memory|help", 2, HELP, "4.0.0", "Returns helpful text about the different subcommands.", "", help),
    subcommand("memory|malloc-stats", 2, Flags::NONE, "4.0.0", "Returns the allocator statistics.", "", malloc_stats),
    subcommand("memory|purge", 2, Flags::NONE, "4.0.0", "Asks the allocator to release memory.", "", purge),
    // It counts the keys of all stripes, and must not wait for stripes that an EXEC around it holds.
    subcommand("memory|stats", 2, Flags::ALL_KEYS, "4.0.0", "Returns details about memory usage.", "", stats),
    subcommand(
        "memory|usage",
        -3,
        Flags::READONLY,
        "4.0.0",
        "Estimates the memory usage of a key.",
        "key [SAMPLES count]",
        usage,
    )
    .keys(Keys::Range { first: 2, last: 2, step: 1 })
    .complexity("O(1)"),
];

fn without_subcommand<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Err(CommandError::Arity("memory".into()))
}

/// Sizes are accounted, not sampled, so SAMPLES is read over.
fn usage<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let key = args.take()?;
    while args.remaining() > 0 {
        if !args.take_word("SAMPLES") || args.remaining() == 0 {
            return Err(CommandError::Syntax);
        }
        if args.take_i64()? < 0 {
            return Err(CommandError::Syntax);
        }
    }
    let entry = cx.txn.peek(cx.session.db, key);
    Ok(entry.map_or(Reply::Null, |entry| integer(entry.memory_bytes)))
}

fn stats<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let memory = cx.server.shard.memory();
    let used = memory.used_bytes();
    let resident = resident_bytes();
    let expected = used + cx.server.resident_at_start_bytes;
    let peak = cx.server.trends.memory_peak(used);
    let (dataset, overhead) = (dataset_bytes(&memory), overhead_bytes(&memory));
    let databases: Vec<(u8, _)> =
        (0..DATABASES).map(|db| (db, cx.txn.database_stats(db))).filter(|(_, stats)| stats.keys > 0).collect();
    let keys: u64 = databases.iter().map(|(_, stats)| stats.keys).sum();
    let mut rows: Vec<(Reply<'t>, Reply<'t>)> = vec![
        (name("peak.allocated"), integer(peak)),
        (name("total.allocated"), integer(used)),
        (name("startup.allocated"), integer(cx.server.resident_at_start_bytes)),
        (name("replication.backlog"), integer(0)),
        (name("clients.slaves"), integer(0)),
        (name("clients.normal"), integer(cx.server.clients_bytes())),
        (name("cluster.links"), integer(0)),
        (name("aof.buffer"), integer(memory.log_buffer_bytes)),
        (name("lua.caches"), integer(0)),
        (name("functions.caches"), integer(0)),
    ];
    for (db, stats) in databases {
        // One table holds keys and expiries; its bytes are shared out by entries.
        let share = memory.index_bytes * stats.keys / keys.max(1);
        let row = Reply::Map(vec![
            (name("overhead.hashtable.main"), integer(share)),
            (name("overhead.hashtable.expires"), integer(0)),
        ]);
        rows.push((Reply::BulkOwned(format!("db.{db}").into_bytes()), row));
    }
    rows.extend([
        (name("overhead.total"), integer(overhead)),
        (name("keys.count"), integer(keys)),
        (name("keys.bytes-per-key"), integer(used / keys.max(1))),
        (name("dataset.bytes"), integer(dataset)),
        (name("dataset.percentage"), Reply::Double(percent(dataset, used))),
        (name("peak.percentage"), Reply::Double(percent(used, peak))),
        (name("allocator.allocated"), integer(used)),
        (name("allocator.active"), integer(memory.segment_bytes + overhead + memory.heap_bytes)),
        (name("allocator.resident"), integer(resident)),
        (name("fragmentation"), Reply::Double(resident as f64 / expected.max(1) as f64)),
        (name("fragmentation.bytes"), Reply::Integer(resident.cast_signed() - expected.cast_signed())),
        (name("sutra.segments.mapped"), integer(memory.segment_bytes)),
        (name("sutra.segments.live"), integer(memory.live_bytes)),
        (name("sutra.segments.dead"), integer(memory.dead_bytes)),
        (name("sutra.index"), integer(memory.index_bytes)),
        (name("sutra.heap"), integer(memory.heap_bytes)),
        (name("sutra.ghosts"), integer(memory.ghost_bytes)),
        (name("sutra.tracked.keys"), integer(memory.tracking_bytes)),
    ]);
    Ok(Reply::Map(rows))
}

/// Bytes of keys and values with what is stored along.
pub(crate) fn dataset_bytes(memory: &MemoryReport) -> u64 {
    memory.live_bytes + memory.heap_bytes
}

/// Bytes that are used but are not the dataset.
pub(crate) fn overhead_bytes(memory: &MemoryReport) -> u64 {
    memory.used_bytes() - dataset_bytes(memory)
}

/// `part` of `whole` in percent; of nothing, nothing.
pub(crate) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

fn doctor<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let memory = cx.server.shard.memory();
    let mut findings = Vec::new();
    let used = percent(memory.used_bytes(), memory.max_bytes);
    if used > 95.0 {
        findings.push(format!(
            "{used:.0} % of maxmemory is used: entries are evicted to make room. More maxmemory keeps more of them."
        ));
    }
    if memory.dead_bytes > memory.live_bytes && memory.dead_bytes > memory.max_bytes / 4 {
        findings.push(format!(
            "{} bytes of the segments are dead, more than are live: overwritten or deleted entries that compaction has not reached yet.",
            memory.dead_bytes
        ));
    }
    if memory.outside_bytes > memory.max_bytes / 10 {
        findings.push(format!(
            "{} bytes are in clients' buffers: CLIENT LIST shows whose, maxmemory-clients bounds them.",
            memory.outside_bytes
        ));
    }
    if memory.index_bytes > dataset_bytes(&memory) && memory.index_bytes > 16 << 20 {
        findings.push("The index is larger than the data: the entries are very small.".to_owned());
    }
    if findings.is_empty() {
        findings.push("Nothing stands out.".to_owned());
    }
    Ok(Reply::text(findings.join("\n") + "\n"))
}

/// Free segments go back to the system by themselves, within seconds; there is nothing that would have to be asked for.
fn purge<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::Ok)
}

fn malloc_stats<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::text("Stats not supported for the current allocator"))
}

fn name(name: &'static str) -> Reply<'static> {
    Reply::Bulk(name.as_bytes())
}

fn integer(number: u64) -> Reply<'static> {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn help<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(super::help(
        "MEMORY",
        &[
            "DOCTOR",
            "    Return memory problems reports.",
            "MALLOC-STATS",
            "    Return internal statistics report from the memory allocator.",
            "PURGE",
            "    Attempt to purge dirty pages for reclamation by the allocator.",
            "STATS",
            "    Return information about the memory usage of the server.",
            "USAGE <key> [SAMPLES <count>]",
            "    Return memory in bytes used by <key> and its value. Nested values are",
            "    sampled up to <count> times (default: 5, 0 means sample all).",
        ],
    ))
}
