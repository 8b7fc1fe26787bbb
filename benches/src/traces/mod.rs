//! Hit ratios: cache traces replayed at equal memory, ours beside redis and exact LRU.

mod embedded;
mod lru;
mod replay;
mod trace;

use crate::arguments::Arguments;
use crate::process::{Kind, Server, Setup};
use crate::table::{Cell, Report, Table};
use replay::{Replayed, Values};
use std::io;
use sutra_eviction::Policy;
use trace::{Hits, Trace};

/// Memory of the caches, as a part of the bytes of all objects.
const MEMORY_SHARE: u64 = 10;
/// A full-speed replay through the library counts as this many requests a second.
const FULL_SPEED_RATE: u64 = 50_000;

/// Replays every trace and adds the table.
pub(crate) fn run(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let mut traces = Vec::new();
    for path in &arguments.traces {
        traces.push(Trace::read(path)?);
    }
    if traces.is_empty() {
        let (popular, requests) = if arguments.quick { (24_000, 40_000) } else { (24_000, 100_000) };
        traces.push(Trace::synthetic(popular, requests));
    }
    let mut table = Table::new(
        "Hit ratio at a tenth of the working set",
        &[
            "trace",
            "cache",
            "policy",
            "requests/s",
            "object hits %",
            "− exact LRU",
            "byte hits %",
            "cost saved %",
            "payload ÷ MAX_MEMORY",
            "live ÷ MAX_MEMORY",
            "write amplification",
            "refused",
        ],
    );
    for trace in &traces {
        let max_memory_bytes = trace.bytes() / MEMORY_SHARE;
        let values = Values::new(trace);
        let exact = lru::replay(trace, max_memory_bytes);
        let line = Line { trace, max_memory_bytes, exact };
        table.row(line.cells("exact, no overhead", "lru", None, &exact));
        let paced = (arguments.rate > 0).then_some(arguments.rate);
        let rates: Vec<_> = paced.map(Some).into_iter().chain([None]).collect();
        for rate in rates {
            eprintln!("traces: {} at {}", trace.name, rate.map_or("full speed".into(), |rate| format!("{rate}/s")));
            over_the_wire(arguments, &line, &values, rate, &mut table)?;
            let clock = rate.unwrap_or(FULL_SPEED_RATE);
            for policy in [Policy::AllkeysLru, Policy::Cost] {
                embedded_row(&line, &values, policy, clock, &mut table);
            }
        }
    }
    table.note(
        "A miss is followed by SET. Payload: keys and values that are there at the end. Live: records in segments at the end. Write amplification: \
         bytes appended by commands and rewritten by merges, divided by the former. `sutra-shard` is the store as a library, each object \
         with its cost, the requests per second being its clock's; over the wire no cost is given.",
    );
    report.add(table);
    Ok(())
}

struct Line<'t> {
    trace: &'t Trace,
    max_memory_bytes: u64,
    exact: Hits,
}

impl Line<'_> {
    /// The row but for what only some caches can tell.
    fn cells(&self, cache: &str, policy: &str, requests_per_second: Option<f64>, hits: &Hits) -> Vec<Cell> {
        vec![
            self.trace.name.as_str().into(),
            cache.into(),
            policy.into(),
            requests_per_second.map_or(Cell::Missing, |rate| Cell::Number(rate, 0)),
            Cell::Number(hits.object_percent(), 2),
            Cell::Number(hits.object_percent() - self.exact.object_percent(), 2),
            Cell::Number(hits.byte_percent(), 2),
            Cell::Number(hits.cost_percent(), 2),
            Cell::Missing,
            Cell::Missing,
            Cell::Missing,
            Cell::Missing,
        ]
    }

    fn share(&self, bytes: u64) -> Cell {
        Cell::Number(bytes as f64 / self.max_memory_bytes as f64, 3)
    }
}

/// Ours and redis: side by side when paced, which loads neither; one after the other at full speed.
fn over_the_wire(
    arguments: &Arguments,
    line: &Line<'_>,
    values: &Values,
    rate: Option<u64>,
    table: &mut Table,
) -> io::Result<()> {
    let mut servers = vec![arguments.start_ours(line.max_memory_bytes)?];
    if arguments.peers {
        servers.push(Server::start(Setup::new(Kind::Redis).max_memory(line.max_memory_bytes))?);
    }
    let run = |server: &Server| replay::replay(server.address, line.trace, values, rate);
    let results: Vec<io::Result<Replayed>> = match rate {
        None => servers.iter().map(run).collect(),
        Some(_) => std::thread::scope(|scope| {
            let threads: Vec<_> = servers.iter().map(|server| scope.spawn(move || run(server))).collect();
            let ended = |_| Err(io::Error::other("the replay panicked"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(ended)).collect()
        }),
    };
    for (server, result) in servers.iter().zip(results) {
        let name = server.setup.kind.name();
        match result {
            Ok(replayed) => {
                let mut cells = line.cells(name, "lru", Some(replayed.requests_per_second), &replayed.hits);
                cells[8] = line.share(replayed.payload_bytes);
                cells[9] = replayed.live_bytes.map_or(Cell::Missing, |bytes| line.share(bytes as u64));
                cells[10] = replayed.write_amplification.map_or(Cell::Missing, |ratio| Cell::Number(ratio, 3));
                cells[11] = replayed.refused.into();
                table.row(cells);
            }
            Err(error) => table.note(format!("**{} in {name}: {error}**", line.trace.name)),
        }
    }
    Ok(())
}

fn embedded_row(line: &Line<'_>, values: &Values, policy: Policy, rate: u64, table: &mut Table) {
    match embedded::replay(line.trace, values, policy, line.max_memory_bytes, rate) {
        Ok(replayed) => {
            let mut cells = line.cells("sutra-shard", policy.name(), Some(rate as f64), &replayed.hits);
            let (stats, memory) = (replayed.stats, replayed.memory);
            cells[9] = line.share(memory.live_bytes);
            let appended = stats.appended_bytes.max(1) as f64;
            cells[10] = Cell::Number((appended + stats.merged_bytes as f64) / appended, 3);
            cells[11] = replayed.refused.into();
            table.row(cells);
        }
        Err(error) => table.note(format!("**{} under {policy} in sutra-shard: {error}**", line.trace.name)),
    }
}
