//! From the answer to an invalidation until no first tier of 4 processes holds anything that it covers.

use super::crew::Worker;
use super::tiers::monotonic_ns;
use crate::arguments::Arguments;
use crate::table::{Cell, Report, Table};
use std::io;
use sutra_cache_client::{Client, Entry, Invalidate};

const MAX_MEMORY_BYTES: u64 = 256 << 20;
const PROCESSES: usize = 4;
const ENTRIES: usize = 100;
const SPACE: &str = "coherence";
const GOAL_MS: f64 = 5.0;

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let server = arguments.start_ours(MAX_MEMORY_BYTES)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connected = runtime.block_on(Client::connect(&format!("sutra://{}", server.address)));
    let client = connected.map_err(io::Error::other)?;
    let mut workers = (0..PROCESSES)
        .map(|_| Worker::start("cache", "sutra", "multi", server.address))
        .collect::<io::Result<Vec<_>>>()?;
    let times = if arguments.quick { 10 } else { 250 };
    let title = format!(
        "Client coherence: {ENTRIES} entries in the first tiers of {PROCESSES} processes, invalidated by another, {times} times"
    );
    let columns = ["invalidated by", "ms after the answer, p50", "p99", "longest", "goal of p99", "within"];
    let mut table = Table::new(title, &columns);
    let towards = [1.0_f32, 0.0, 0.0, 0.0];
    for (name, invalidate) in [
        ("tag", Invalidate::new().tag("t")),
        ("pattern", Invalidate::new().matching("covered:*")),
        ("meaning", Invalidate::new().space(SPACE).vector(&towards).min(0.9)),
    ] {
        eprintln!("client: coherence, {name}");
        let mut late_ms = Vec::new();
        for _ in 0..times {
            runtime.block_on(write(&client, &towards)).map_err(io::Error::other)?;
            for worker in &mut workers {
                worker.tell(&format!("warm covered: {ENTRIES}"))?;
            }
            for worker in &mut workers {
                worker.numbers()?;
            }
            for worker in &mut workers {
                worker.tell("gone")?;
            }
            let removed = runtime.block_on(client.invalidate(&invalidate)).map_err(io::Error::other)?;
            let answered_ns = monotonic_ns();
            if removed != ENTRIES as u64 {
                return Err(io::Error::other(format!("{removed} entries were removed")));
            }
            for worker in &mut workers {
                let gone_ns = worker.numbers()?.first().copied().unwrap_or(u64::MAX);
                late_ms.push(gone_ns.saturating_sub(answered_ns) as f64 / 1e6);
            }
        }
        late_ms.sort_by(f64::total_cmp);
        let p99 = late_ms[late_ms.len() * 99 / 100];
        table.row(vec![
            name.into(),
            Cell::Number(late_ms[late_ms.len() / 2], 2),
            Cell::Number(p99, 2),
            Cell::Number(late_ms[late_ms.len() - 1], 2),
            "≤ 5".into(),
            if p99 <= GOAL_MS { "yes".into() } else { "**no**".into() },
        ]);
    }
    table.note("Each process looks at its first tier every 50 µs and more, so the figures are upper bounds. 0: it was empty before the answer came.");
    report.add(table);
    Ok(())
}

async fn write(client: &Client, towards: &[f32]) -> Result<(), sutra_cache_client::Error> {
    for number in 0..ENTRIES {
        let entry = Entry::new(format!("covered:{number}"), "an answer").tag("t").space(SPACE).vector(towards);
        client.cache_set(&entry).await?;
    }
    Ok(())
}
