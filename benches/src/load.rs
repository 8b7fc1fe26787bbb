//! Cost per operation: throughput, server CPU and latency, ours in turns with redis, or with another binary of ours.
//!
//! `--other` says what a change costs: both binaries in the same run, round by round, so that what disturbs the machine disturbs both. The
//! column `× other CPU` is the answer.
//!
//! ```text
//! git worktree add ../before COMMIT
//! (cd ../before && cargo build --release -p sutra-cache --target-dir target)
//! cargo run --release -p sutra-bench -- load --other ../before/target/release/sutra-cache --no-half-load --rounds 9
//! ```

use crate::arguments::Arguments;
use crate::drive::{Job, KEYS, Load, Outcome, Pace, Verb, load_value};
use crate::process::{Kind, Server, Setup};
use crate::table::{Cell, Report, Table, median};
use crate::wire::Values;
use std::io;
use std::time::Duration;

/// Enough for 100,000 values of 12 KiB, so that nothing is evicted.
const MAX_MEMORY_BYTES: u64 = 4 << 30;

/// A line of the table.
#[derive(Debug, Clone, Copy)]
struct Row {
    name: &'static str,
    job: Job,
    /// The peer has its append-only file too.
    persistent: bool,
    /// Server CPU per operation that we want, as a share of redis's; 0: none stated.
    goal: f64,
}

const fn row(name: &'static str, verb: Verb, value_bytes: usize, pipeline: usize, goal: f64) -> Row {
    Row { name, job: Job { verb, value_bytes, pipeline }, persistent: false, goal }
}

/// The goals are the absolute ones of the project's table divided by redis 7.0's figure there.
const ROWS: [Row; 12] = [
    row("GET 16 B, pipeline 1", Verb::Get, 16, 1, 0.90),
    row("GET 16 B, pipeline 16", Verb::Get, 16, 16, 0.48),
    row("GET 16 B, pipeline 64", Verb::Get, 16, 64, 0.34),
    row("SET 16 B, pipeline 1", Verb::Set, 16, 1, 0.0),
    row("SET 16 B, pipeline 16", Verb::Set, 16, 16, 0.62),
    row("GET 1 KiB, pipeline 16", Verb::Get, 1024, 16, 0.51),
    row("SET 1 KiB, pipeline 16", Verb::Set, 1024, 16, 0.0),
    row("GET 3 KiB, pipeline 16", Verb::Get, 3072, 16, 0.62),
    row("SET 3 KiB, pipeline 16", Verb::Set, 3072, 16, 0.60),
    Row { persistent: true, goal: 0.30, ..row("SET 3 KiB, pipeline 16, AOF everysec", Verb::Set, 3072, 16, 0.0) },
    row("GET 12 KiB, pipeline 16", Verb::Get, 12_288, 16, 0.74),
    row("SET 12 KiB, pipeline 4", Verb::Set, 12_288, 4, 0.0),
];

/// One round of one server: at full load and, except with `--no-half-load`, at half of redis's.
#[derive(Debug)]
struct Round {
    full: Outcome,
    half_load_p999_us: f64,
}

/// Runs every row (or those whose name contains `--rows`) and adds the table.
pub(crate) fn run(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    let ours = arguments.start_ours(MAX_MEMORY_BYTES)?;
    let peer_setup = match &arguments.other {
        Some(binary) => Setup::new(Kind::Ours(binary.clone())).max_memory(MAX_MEMORY_BYTES),
        None => Setup::new(Kind::Redis),
    };
    let is_redis = arguments.other.is_none();
    let other = Server::start(peer_setup)?;
    let mut appending = None;
    let mut loaded = [0, 0, 0];
    let mut table = Table::new(
        format!("Load: 50 connections, {KEYS} random keys, medians of {} interleaved rounds", arguments.rounds),
        &[
            "load",
            "server",
            "ops/s",
            if is_redis { "× redis" } else { "× other" },
            "CPU µs/op",
            if is_redis { "× redis CPU" } else { "× other CPU" },
            "goal",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "p99.9 at half load",
            "server busy",
            "driver busy",
        ],
    );
    let mut driver_bound = Vec::new();
    for row in ROWS.iter().filter(|row| arguments.wants_row(row.name)) {
        if is_redis && row.persistent && appending.is_none() {
            appending = Some(Server::start(Setup::new(Kind::Redis).append_only())?);
        }
        let peer = if row.persistent { appending.as_ref().unwrap_or(&other) } else { &other };
        eprintln!("load: {}", row.name);
        let prepared = prepare(&ours, row.job.value_bytes, &mut loaded[0]).and_then(|()| {
            prepare(peer, row.job.value_bytes, &mut loaded[if is_redis && row.persistent { 2 } else { 1 }])
        });
        let (our_rounds, peer_rounds) = match prepared.and_then(|()| measure(arguments, row.job, &ours, peer)) {
            Ok(rounds) => rounds,
            Err(error) => {
                table.note(format!("**{} could not be measured: {error}**", row.name));
                continue;
            }
        };
        for server in [&ours, peer] {
            let kept = server.client()?.number(&[b"DBSIZE"])?;
            if kept != KEYS {
                let name = server.setup.kind.name();
                table.note(format!(
                    "**{}: {name} holds {kept} keys afterwards, of {KEYS} that nobody removed.**",
                    row.name
                ));
                loaded = [0, 0, 0];
            }
        }
        if is_driver_bound(&our_rounds) {
            driver_bound.push(row.name);
        }
        let peer_name = match (is_redis, row.persistent) {
            (false, _) => "other",
            (true, true) => "redis AOF",
            (true, false) => "redis",
        };
        // The goals are of redis.
        let row = &Row { goal: if is_redis { row.goal } else { 0.0 }, ..*row };
        table.row(cells(row, "sutra", &our_rounds, Some(&peer_rounds)));
        table.row(cells(row, peer_name, &peer_rounds, None));
        if row.persistent {
            // Its rewrites would go on beside the rows that follow.
            appending = None;
        }
    }
    table.note("CPU: the server's own, of all its threads. Half load: half of the other's throughput of the same round, for both servers, counted from when each batch was due.");
    if !driver_bound.is_empty() {
        let rows = driver_bound.join("; ");
        table.note(format!(
            "In these rows the driver's core was busier than ours: the throughput is the driver's limit, the CPU per operation is not: {rows}."
        ));
    }
    report.add(table);
    Ok(())
}

fn prepare(server: &Server, value_bytes: usize, loaded: &mut usize) -> io::Result<()> {
    if *loaded == value_bytes {
        return Ok(());
    }
    let mut client = server.client()?;
    client.call(&[b"FLUSHALL"])?;
    client.load(KEYS, Values::Same(&load_value(value_bytes)), 0)?;
    let kept = client.number(&[b"DBSIZE"])?;
    if kept != KEYS {
        return Err(io::Error::other(format!("{} kept only {kept} keys", server.setup.kind.name())));
    }
    *loaded = value_bytes;
    Ok(())
}

fn measure(arguments: &Arguments, job: Job, ours: &Server, peer: &Server) -> io::Result<(Vec<Round>, Vec<Round>)> {
    let duration = arguments.phase;
    let (mut our_load, mut peer_load) = (Load::connect(ours.address)?, Load::connect(peer.address)?);
    let (mut our_rounds, mut peer_rounds) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        let our_full = our_load.run(ours, job, Pace::Closed, duration)?;
        let peer_full = peer_load.run(peer, job, Pace::Closed, duration)?;
        let half = Pace::Open(peer_full.operations_per_second / 2.0);
        let half_load = |load: &mut Load, server| -> io::Result<f64> {
            if !arguments.half_load {
                return Ok(f64::NAN);
            }
            Ok(load
                .run(server, job, half, duration.mul_f64(0.7).max(Duration::from_millis(100)))?
                .latency
                .quantile_us(0.999))
        };
        let our_half = half_load(&mut our_load, ours)?;
        let peer_half = half_load(&mut peer_load, peer)?;
        our_rounds.push(Round { full: our_full, half_load_p999_us: our_half });
        peer_rounds.push(Round { full: peer_full, half_load_p999_us: peer_half });
    }
    Ok((our_rounds, peer_rounds))
}

fn is_driver_bound(rounds: &[Round]) -> bool {
    let client = median(rounds.iter().map(|round| round.full.client_busy));
    let server = median(rounds.iter().map(|round| round.full.server_busy));
    client > 0.8 && client > server + 0.05
}

fn cells(row: &Row, server: &str, rounds: &[Round], peer: Option<&[Round]>) -> Vec<Cell> {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value));
    // The ratio of each round, then the median: what disturbs the machine for longer than a round falls out.
    let ratio = |value: fn(&Round) -> f64| match peer {
        Some(peer) => Cell::Number(median(rounds.iter().zip(peer).map(|(ours, peer)| value(ours) / value(peer))), 2),
        None => Cell::Missing,
    };
    let goal = if peer.is_some() && row.goal > 0.0 { Cell::Text(format!("≤ {:.2}", row.goal)) } else { "".into() };
    vec![
        row.name.into(),
        server.into(),
        Cell::Number(of(|round| round.full.operations_per_second), 0),
        ratio(|round| round.full.operations_per_second),
        Cell::Number(of(|round| round.full.cpu_us), 3),
        ratio(|round| round.full.cpu_us),
        goal,
        Cell::Number(of(|round| round.full.latency.quantile_us(0.5)), 0),
        Cell::Number(of(|round| round.full.latency.quantile_us(0.99)), 0),
        Cell::Number(of(|round| round.full.latency.quantile_us(0.999)), 0),
        Cell::Number(of(|round| round.half_load_p999_us), 0),
        Cell::Number(of(|round| round.full.server_busy), 2),
        Cell::Number(of(|round| round.full.client_busy), 2),
    ]
}
