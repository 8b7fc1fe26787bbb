//! Single commands of 64 tasks at once: throughput, and CPU time per request of the client and of the server.

use super::crew::Worker;
use super::worker::KEYS;
use crate::arguments::Arguments;
use crate::process::Server;
use crate::random::key;
use crate::table::{Cell, Report, Table, median};
use crate::wire::Client;
use std::io;

const MAX_MEMORY_BYTES: u64 = 1 << 30;
const TASKS: usize = 64;
const WORK: [(&str, usize); 6] = [("get", 16), ("get", 1024), ("get", 3072), ("set", 16), ("set", 1024), ("set", 3072)];
const OURS: &str = "sutra default";
/// The library and its connections.
const PEERS: [&str; 4] = ["redis 1", "redis 2", "fred 1", "fred 2"];

/// One library in one round.
#[derive(Debug, Clone, Copy)]
struct Round {
    per_second: f64,
    client_us: f64,
    server_us: f64,
}

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let server = arguments.start_ours(MAX_MEMORY_BYTES)?;
    let libraries: Vec<&str> = if arguments.peers { [OURS].into_iter().chain(PEERS).collect() } else { vec![OURS] };
    for (runtime, described) in [
        ("current", "a current-thread runtime, on a core of its own"),
        ("multi", "a runtime of 2 threads, on any core"),
    ] {
        let title = format!(
            "Client calls: {TASKS} tasks, {described}, medians of {} interleaved rounds of {:.2} s",
            arguments.rounds,
            arguments.phase.as_secs_f64()
        );
        let mut table = Table::new(
            title,
            &[
                "calls",
                "library, connections",
                "requests/s",
                "ours × its",
                "client CPU µs",
                "ours × its CPU",
                "server CPU µs",
            ],
        );
        let mut workers = libraries
            .iter()
            .map(|library| Worker::start("calls", library, runtime, server.address))
            .collect::<io::Result<Vec<_>>>()?;
        for (verb, value_bytes) in WORK {
            let name = format!("{} {}", verb.to_uppercase(), size(value_bytes));
            if !arguments.wants_row(&name) {
                continue;
            }
            eprintln!("client: calls, {runtime}, {name}");
            fill(&server, value_bytes)?;
            let mut rounds = vec![Vec::new(); workers.len()];
            for number in 0..=arguments.rounds {
                for (worker, rounds) in workers.iter_mut().zip(&mut rounds) {
                    let round = measure(&server, worker, verb, value_bytes, arguments)?;
                    // The first warms everything up.
                    if number > 0 {
                        rounds.push(round);
                    }
                }
            }
            for (library, its) in libraries.iter().zip(&rounds) {
                let of = |part: fn(&Round) -> f64| median(its.iter().map(part));
                let ratio = |part: fn(&Round) -> f64| {
                    let ratios = rounds[0].iter().zip(its).map(|(ours, its)| part(ours) / part(its));
                    if *library == OURS { Cell::Missing } else { Cell::Number(median(ratios), 2) }
                };
                table.row(vec![
                    name.clone().into(),
                    (*library).into(),
                    Cell::Number(of(|round| round.per_second), 0),
                    ratio(|round| round.per_second),
                    Cell::Number(of(|round| round.client_us), 2),
                    ratio(|round| round.client_us),
                    Cell::Number(of(|round| round.server_us), 2),
                ]);
            }
        }
        table.note("Goals against the better of the peers: throughput ≥ 1.2 ×, CPU of the client ≤ 0.8 ×. A ratio is the median of the rounds' ratios.");
        report.add(table);
    }
    Ok(())
}

fn measure(
    server: &Server,
    worker: &mut Worker,
    verb: &str,
    value_bytes: usize,
    arguments: &Arguments,
) -> io::Result<Round> {
    let before = server.cpu_ns();
    let answer = worker.ask(&format!("{verb} {value_bytes} {TASKS} {}", arguments.phase.as_millis()))?;
    let server_ns = server.cpu_ns() - before;
    let [operations, elapsed_ns, cpu_ns] = answer[..] else {
        return Err(io::Error::other("a worker answered something else"));
    };
    let operations = operations as f64;
    Ok(Round {
        per_second: operations * 1e9 / elapsed_ns as f64,
        client_us: cpu_ns as f64 / operations / 1e3,
        server_us: server_ns as f64 / operations / 1e3,
    })
}

fn fill(server: &Server, value_bytes: usize) -> io::Result<()> {
    let value = vec![b'v'; value_bytes];
    let mut client: Client = server.client()?;
    for number in 0..KEYS {
        client.call(&[b"SET", &key(number), &value])?;
    }
    Ok(())
}

fn size(bytes: usize) -> String {
    if bytes.is_multiple_of(1024) { format!("{} KiB", bytes / 1024) } else { format!("{bytes} B") }
}
