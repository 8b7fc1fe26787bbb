//! A storm of writes of all sizes at the memory limit: does the process stay within it, and how long do readers wait?

use crate::arguments::Arguments;
use crate::probe::watch;
use crate::process::{Kind, Server, Setup};
use crate::random::{Random, fill, key};
use crate::table::{Cell, Report, Table};
use crate::wire::{Client, Values};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use sutra_protocol::Frame;

const MAX_MEMORY_BYTES: u64 = 256 << 20;
/// What the process may have beyond the limit: a part of it, and a fixed amount for itself.
const SLACK_BYTES: u64 = MAX_MEMORY_BYTES / 20 + (32 << 20);
const CONNECTIONS: usize = 50;
const PIPELINE: usize = 8;
const KEYS: u64 = 200_000;
const VALUE_BYTES_MIN: f64 = 16.0;
const VALUE_BYTES_MAX: f64 = 1_048_576.0;

/// Storms each server and adds the table.
pub(crate) fn run(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let mut table = Table::new(
        format!(
            "Storm: SETs of 16 B to 1 MiB, {CONNECTIONS} connections, pipeline {PIPELINE}, MAX_MEMORY 256 MiB, {:.0} s",
            arguments.storm.as_secs_f64()
        ),
        &[
            "server",
            "SETs/s",
            "MiB/s",
            "refused",
            "max RSS MiB",
            "limit MiB",
            "within",
            "GET p50 µs",
            "p99 µs",
            "p99.9 µs",
            "failed GETs",
        ],
    );
    let ours = Setup::new(arguments.ours()).max_memory(MAX_MEMORY_BYTES);
    let peer = arguments.peers.then(|| Setup::new(Kind::Redis).max_memory(MAX_MEMORY_BYTES));
    for setup in [Some(ours), peer].into_iter().flatten() {
        let name = setup.kind.name();
        eprintln!("storm: {name}");
        match measure(arguments, setup) {
            Ok(cells) => table.row(cells),
            Err(error) => table.note(format!("**{name}: {error}**")),
        }
    }
    table.note(
        "Sizes are log-uniform. RSS is sampled every 10 ms; its limit is MAX_MEMORY + 5 % + 32 MiB. The GETs come from four other \
         connections, one each 250 µs.",
    );
    report.add(table);
    Ok(())
}

fn measure(arguments: &Arguments, setup: Setup) -> io::Result<Vec<Cell>> {
    let name = setup.kind.name();
    let server = Server::start(setup)?;
    server.client()?.load(10_000, Values::OfTheirKey { bytes: 1024 }, 0)?;
    let address = server.address;
    let (seen, written) = watch(&server, KEYS, arguments.storm, |stop| write(address, stop))?;
    let written = written?;
    let limit = MAX_MEMORY_BYTES + SLACK_BYTES;
    let mebibytes = |bytes: u64| Cell::Number(bytes as f64 / 1_048_576.0, 0);
    Ok(vec![
        name.into(),
        Cell::Number(written.count as f64 / written.seconds, 0),
        Cell::Number(written.bytes as f64 / 1_048_576.0 / written.seconds, 0),
        written.refused.into(),
        mebibytes(seen.rss_bytes_max),
        mebibytes(limit),
        if seen.rss_bytes_max <= limit { "yes" } else { "**no**" }.into(),
        Cell::Number(seen.latency.quantile_us(0.5), 0),
        Cell::Number(seen.latency.quantile_us(0.99), 0),
        Cell::Number(seen.latency.quantile_us(0.999), 0),
        seen.failures.into(),
    ])
}

#[derive(Debug, Default)]
struct Written {
    count: u64,
    bytes: u64,
    refused: u64,
    seconds: f64,
}

/// All connections in turn: each always has a batch under way but the one whose replies are being read.
fn write(address: std::net::SocketAddr, stop: &AtomicBool) -> io::Result<Written> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push((Client::connect(address)?, 0));
    }
    let mut block = vec![0; 2 * VALUE_BYTES_MAX as usize];
    fill(1, &mut block);
    let mut random = Random::new(23);
    let mut written = Written::default();
    let began = Instant::now();
    'storm: loop {
        for (client, waiting) in &mut clients {
            for _ in 0..std::mem::take(waiting) {
                if matches!(client.reply()?, Frame::Error(_)) {
                    written.refused += 1;
                }
            }
            if stop.load(Ordering::Relaxed) {
                break 'storm;
            }
            for _ in 0..PIPELINE {
                let unit = (random.next() >> 11) as f64 / (1u64 << 53) as f64;
                let bytes = (VALUE_BYTES_MIN * (VALUE_BYTES_MAX / VALUE_BYTES_MIN).powf(unit)) as usize;
                let start = random.below((block.len() - bytes) as u64) as usize;
                client.queue(&[b"SET", &key(random.below(KEYS)), &block[start..start + bytes]]);
                written.count += 1;
                written.bytes += bytes as u64;
                *waiting += 1;
            }
            client.flush()?;
        }
    }
    written.seconds = began.elapsed().as_secs_f64();
    Ok(written)
}
