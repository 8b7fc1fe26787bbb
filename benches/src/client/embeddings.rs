//! Batches of embeddings: 100 that are known beside MGET of other libraries, and 1,000 of which 900 are known.

use super::crew::Worker;
use super::vectors::{DIM, MODEL, text, vector};
use crate::arguments::Arguments;
use crate::table::{Cell, Report, Table, median};
use std::io;
use sutra_cache_client::{Client, EmbeddingOptions};

const MAX_MEMORY_BYTES: u64 = 1 << 30;
const KNOWN: usize = 900;
const TEXTS: usize = 1000;
const OURS: &str = "sutra";
const PEERS: [&str; 2] = ["redis", "fred"];

pub(super) fn run(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let server = arguments.start_ours(MAX_MEMORY_BYTES)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect(&format!("sutra://{}", server.address)).await.map_err(io::Error::other)?;
        for first in (0..KNOWN).step_by(100) {
            let pairs = (first..first + 100).map(|number| (text(number), vector(number)));
            let options = EmbeddingOptions::new();
            client.embeddings_put(MODEL, pairs, &options).await.map_err(io::Error::other)?;
        }
        Ok::<_, io::Error>(())
    })?;
    let libraries: Vec<&str> = if arguments.peers { [OURS].into_iter().chain(PEERS).collect() } else { vec![OURS] };
    let mut workers = libraries
        .iter()
        .map(|library| Worker::start("embeddings", library, "current", server.address))
        .collect::<io::Result<Vec<_>>>()?;
    let mut asking = server.client()?;
    let mut requests = || Ok::<_, io::Error>(asking.info("total_commands_processed")?.unwrap_or(f64::NAN));

    eprintln!("client: embeddings, 100 known");
    let mut rounds = vec![Vec::new(); workers.len()];
    for number in 0..=arguments.rounds {
        for (worker, rounds) in workers.iter_mut().zip(&mut rounds) {
            let before = requests()?;
            let answer = worker.ask(&format!("read 100 {}", arguments.phase.as_millis()))?;
            let [batches, elapsed_ns, cpu_ns] = answer[..] else {
                return Err(io::Error::other("a worker answered something else"));
            };
            // The INFO that asked is one of them.
            let requests = requests()? - before - 1.0;
            let batches = batches as f64;
            if number > 0 {
                rounds.push([elapsed_ns as f64 / batches / 1e3, cpu_ns as f64 / batches / 1e3, requests / batches]);
            }
        }
    }
    let title = format!("Client embeddings: batches of 100 × {DIM}, all known, one after the other");
    let columns = ["library", "µs per batch", "ours ÷ its", "client CPU µs", "ours ÷ its CPU", "requests per batch"];
    let mut table = Table::new(title, &columns);
    for (library, its) in libraries.iter().zip(&rounds) {
        let of = |part: usize| median(its.iter().map(|round| round[part]));
        let ratio = |part: usize| {
            let ratios = rounds[0].iter().zip(its).map(|(ours, its)| ours[part] / its[part]);
            if *library == OURS { Cell::Missing } else { Cell::Number(median(ratios), 2) }
        };
        table.row(vec![
            (*library).into(),
            Cell::Number(of(0), 0),
            ratio(0),
            Cell::Number(of(1), 0),
            ratio(1),
            Cell::Number(of(2), 2),
        ]);
    }
    table.note("Ours: `embeddings_get`, texts in and vectors out. The others: the same keys by SHA-256 in the client, MGET, bytes to floats.");
    report.add(table);
    fill(arguments, report, &mut workers[0], &mut requests)
}

fn fill(
    arguments: &Arguments,
    report: &mut Report,
    worker: &mut Worker,
    requests: &mut impl FnMut() -> io::Result<f64>,
) -> io::Result<()> {
    eprintln!("client: embeddings, {TEXTS} of which {KNOWN} known");
    let mut rounds = Vec::new();
    for round in 0..arguments.rounds.max(5) {
        let before = requests()?;
        let answer = worker.ask(&format!("fill {TEXTS} {KNOWN} {round}"))?;
        let [computed, elapsed_ns] = answer[..] else {
            return Err(io::Error::other("a worker answered something else"));
        };
        rounds.push([computed as f64, elapsed_ns as f64 / 1e6, requests()? - before - 1.0]);
    }
    let of = |part: usize| median(rounds.iter().map(|round| round[part]));
    let title = format!("Client embeddings: {TEXTS} texts, {KNOWN} of them known, medians of {} times", rounds.len());
    let mut table = Table::new(title, &["computed", "ms", "requests"]);
    table.row(vec![Cell::Number(of(0), 0), Cell::Number(of(1), 2), Cell::Number(of(2), 0)]);
    table.note(
        "`Cache::embeddings` without a first tier; the computation takes no time here. Requests: what the shard counted; it takes one to find what is missing, and one to store what was computed.",
    );
    report.add(table);
    Ok(())
}
