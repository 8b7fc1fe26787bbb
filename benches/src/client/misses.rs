//! The same value wanted by 1,000 tasks of 4 processes at once: how often it is computed.

use super::crew::Worker;
use crate::arguments::Arguments;
use crate::table::{Cell, Report, Table, median};
use std::io;

const MAX_MEMORY_BYTES: u64 = 256 << 20;
const PROCESSES: usize = 4;
const TASKS: usize = 250;
const COMPUTE_MS: u64 = 50;

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let server = arguments.start_ours(MAX_MEMORY_BYTES)?;
    let mut workers = (0..PROCESSES)
        .map(|_| Worker::start("cache", "sutra", "multi", server.address))
        .collect::<io::Result<Vec<_>>>()?;
    let times = if arguments.quick { 5 } else { 50 };
    eprintln!("client: misses, {times} times");
    let (mut computations, mut milliseconds) = (Vec::new(), Vec::new());
    for round in 0..times {
        for worker in &mut workers {
            worker.tell(&format!("compute wanted:{round} {TASKS} {COMPUTE_MS}"))?;
        }
        let (mut count, mut longest_ns) = (0, 0);
        for worker in &mut workers {
            let answer = worker.numbers()?;
            let [computed, elapsed_ns] = answer[..] else {
                return Err(io::Error::other("a worker answered something else"));
            };
            count += computed;
            longest_ns = longest_ns.max(elapsed_ns);
        }
        computations.push(count);
        milliseconds.push(longest_ns as f64 / 1e6);
    }
    let title = format!(
        "Client misses: {} tasks in {PROCESSES} processes want the same value, {times} times",
        PROCESSES * TASKS
    );
    let columns =
        ["computations, least", "most", "goal", "ms until all have it, median", "longest", "computing takes ms"];
    let mut table = Table::new(title, &columns);
    table.row(vec![
        computations.iter().min().copied().unwrap_or(0).into(),
        computations.iter().max().copied().unwrap_or(0).into(),
        "exactly 1".into(),
        Cell::Number(median(milliseconds.iter().copied()), 1),
        Cell::Number(milliseconds.iter().copied().fold(0.0, f64::max), 1),
        COMPUTE_MS.into(),
    ]);
    report.add(table);
    Ok(())
}
