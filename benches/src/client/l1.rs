//! A hit in the first tier: what it takes, of one task on one thread.

use super::crew::Worker;
use crate::arguments::Arguments;
use crate::table::{Cell, Report, Table, median};
use std::io;

const MAX_MEMORY_BYTES: u64 = 256 << 20;
const GOAL_NS: f64 = 500.0;

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let server = arguments.start_ours(MAX_MEMORY_BYTES)?;
    let title = format!("Client L1: hits on 1,000 keys, medians of {} rounds", arguments.rounds);
    let mut table = Table::new(title, &["value", "ns per hit", "CPU ns per hit", "goal", "within"]);
    let mut worker = Worker::start("cache", "sutra", "current", server.address)?;
    for (name, value_bytes) in [("16 B", 16), ("3 KiB", 3072)] {
        eprintln!("client: l1, {name}");
        let mut rounds = Vec::new();
        for _ in 0..arguments.rounds {
            let answer = worker.ask(&format!("hits {value_bytes} {}", arguments.phase.as_millis()))?;
            let [hits, elapsed_ns, cpu_ns] = answer[..] else {
                return Err(io::Error::other("a worker answered something else"));
            };
            rounds.push((elapsed_ns as f64 / hits as f64, cpu_ns as f64 / hits as f64));
        }
        let cpu_ns = median(rounds.iter().map(|round| round.1));
        table.row(vec![
            name.into(),
            Cell::Number(median(rounds.iter().map(|round| round.0)), 0),
            Cell::Number(cpu_ns, 0),
            "≤ 500".into(),
            if cpu_ns <= GOAL_NS { "yes".into() } else { "**no**".into() },
        ]);
    }
    table.note("`Cache::get::<Bytes>` with its statistics. The worker looks that every one of these reads was answered by the first tier.");
    report.add(table);
    Ok(())
}
