//! Exact lookups: the best entry above a threshold, in process and over the wire.

use super::brute;
use super::cache::{Cache, NOW_MS, number_of};
use super::source::Set;
use super::timer::{Timer, quantile};
use super::{Plan, fill, wire};
use crate::process::{Scratch, Server};
use crate::table::{Cell, Report, Table};
use crate::wire::Client;
use std::io;
use std::time::Instant;
use sutra_protocol::Frame;
use sutra_shard::{Filters, Lookup};

const MIN: f32 = 0.85;
const MIN_WORD: &[u8] = b"0.85";
/// Connections of the measurement of throughput.
const CONNECTIONS: usize = 8;
/// Queries that are compared with brute force.
const CHECKED: usize = 100;

/// What a lookup over the wire wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Value,
    /// Also the margin to the second best, for which a threshold does not help.
    Score,
}

/// How one way of asking did.
struct Asked {
    way: String,
    per_second: f64,
    median_ms: f64,
    p99_ms: f64,
    cpu_ms: f64,
    asked: usize,
    hits: usize,
    wrong: usize,
    goal: &'static str,
}

pub(super) fn run(plan: &Plan<'_>, report: &mut Report) -> io::Result<()> {
    let (rows, dim) = (plan.size.unwrap_or(if plan.quick { 20_000 } else { 100_000 }), plan.dim.unwrap_or(384));
    let (queries, rounds) = if plan.quick { (200, 1) } else { (1000, 5) };
    let scratch = Scratch::new("lookups")?;
    let set = plan.set(&scratch, rows, dim, queries)?;
    let truth = brute::near(&set.base, 0..rows, &set.queries[..CHECKED.min(set.queries.len())], f64::from(MIN))?;
    let (answers, in_process) = in_process(&set, &truth, rounds)?;
    let server = plan.server(rows, dim)?;
    wire::load(&mut server.client()?, &set, 0..rows, wire::PIPELINE)?;
    let one = one_connection(&server, &set, &answers, rounds, Shape::Value)?;
    let scored = one_connection(&server, &set, &answers, 1, Shape::Score)?;
    let many = many_connections(&server, &set, &answers, rounds)?;
    let mut table = Table::new(
        format!("Exact lookups in {rows} × {dim} above {MIN}"),
        &["how", "lookups/s", "p50 ms", "p99 ms", "CPU ms", "hits %", "wrong", "goal"],
    );
    for asked in [in_process, one, scored, many] {
        table.row(vec![
            asked.way.into(),
            Cell::Number(asked.per_second, 0),
            Cell::Number(asked.median_ms, 3),
            Cell::Number(asked.p99_ms, 3),
            Cell::Number(asked.cpu_ms, 3),
            Cell::Number(asked.hits as f64 * 100.0 / asked.asked as f64, 1),
            (asked.wrong as u64).into(),
            asked.goal.into(),
        ]);
    }
    table.note(format!(
        "Vectors: {}; {} queries that are not among them, asked {rounds} times. CPU: of the calling thread, or of the whole server for each \
         lookup; with its score a lookup also says how far behind the second best is. Wrong, in process: against cosines in f64 for {} queries; over the wire: another answer than in process.",
        set.name,
        set.queries.len(),
        truth.len()
    ));
    report.add(table);
    Ok(())
}

/// The best entry of each query, and how it was asked for.
fn in_process(set: &Set, truth: &[Vec<(u64, f64)>], rounds: usize) -> io::Result<(Vec<Option<u64>>, Asked)> {
    let cache = Cache::in_memory(set.base.dim, set.base.count)?;
    fill(&cache, set, 0..set.base.count)?;
    let mut timer = Timer::default();
    let mut answers = Vec::new();
    for _ in 0..rounds {
        answers.clear();
        for vector in &set.queries {
            let hit = timer.time(|| {
                let query = cache.space.query(vector)?;
                let lookup = Lookup {
                    db: 0,
                    space: &cache.space,
                    query: &query,
                    min: MIN,
                    filters: Filters::default(),
                    asked: None,
                    runner_up: false,
                    exact: true,
                    ef: None,
                    reader: None,
                };
                cache.shard.lookup(&lookup, NOW_MS)
            });
            answers.push(hit.map_err(io::Error::other)?.map(|hit| number_of(&hit.key)));
        }
    }
    let is_wrong = |(answer, near): (&Option<u64>, &Vec<(u64, f64)>)| {
        let best = near.iter().map(|(_, cosine)| *cosine).fold(f64::NEG_INFINITY, f64::max);
        match answer {
            // Of two that are equally near in f32 either is right.
            Some(row) => !near.iter().any(|(near, cosine)| near == row && *cosine >= best - 2e-7),
            None => near.iter().any(|(_, cosine)| *cosine >= f64::from(MIN) + 2e-7),
        }
    };
    let asked = Asked {
        way: "in process".to_owned(),
        per_second: timer.per_cpu_second(),
        median_ms: timer.median_ms(),
        p99_ms: timer.p99_ms(),
        cpu_ms: timer.cpu_ms(),
        asked: set.queries.len() * rounds,
        hits: answers.iter().flatten().count() * rounds,
        wrong: answers.iter().zip(truth).filter(|pair| is_wrong(*pair)).count(),
        goal: "",
    };
    Ok((answers, asked))
}

fn send(client: &mut Client, vector: &[u8], shape: Shape) -> io::Result<()> {
    let words: [&[u8]; 8] = [b"CACHE.LOOKUP", wire::SPACE, b"FP32", vector, b"MIN", MIN_WORD, b"EXACT", b"WITHSCORE"];
    match shape {
        Shape::Value => client.queue(&words[..7]),
        Shape::Score => client.queue(&words),
    }
    client.flush()
}

/// The entry that a reply names.
fn answer(reply: Frame) -> io::Result<Option<u64>> {
    if reply == Frame::Null {
        return Ok(None);
    }
    // A value is its key.
    let name = if let Frame::Array(items) = &reply { items.first() } else { Some(&reply) };
    if let Some(Frame::Bulk(name)) = name {
        return Ok(Some(number_of(name)));
    }
    Err(io::Error::other(format!("CACHE.LOOKUP: {reply:.80?}")))
}

fn one_connection(
    server: &Server,
    set: &Set,
    answers: &[Option<u64>],
    rounds: usize,
    shape: Shape,
) -> io::Result<Asked> {
    let mut client = server.client()?;
    let (mut milliseconds, mut hits, mut wrong) = (Vec::new(), 0, 0);
    let (began, cpu) = (Instant::now(), server.cpu_ns());
    for _ in 0..rounds {
        for (vector, right) in set.queries.iter().zip(answers) {
            let sent = Instant::now();
            send(&mut client, vector, shape)?;
            let found = answer(client.reply()?)?;
            milliseconds.push(sent.elapsed().as_secs_f64() * 1000.0);
            hits += usize::from(found.is_some());
            wrong += usize::from(found != *right);
        }
    }
    Ok(Asked {
        way: match shape {
            Shape::Value => "over the wire, one connection, pipeline 1".to_owned(),
            Shape::Score => "the same WITHSCORE".to_owned(),
        },
        per_second: milliseconds.len() as f64 / began.elapsed().as_secs_f64(),
        median_ms: quantile(&milliseconds, 0.5),
        p99_ms: quantile(&milliseconds, 0.99),
        cpu_ms: (server.cpu_ns() - cpu) as f64 / 1e6 / milliseconds.len() as f64,
        asked: milliseconds.len(),
        hits,
        wrong,
        goal: if shape == Shape::Value { "≤ 1 ms" } else { "" },
    })
}

/// Every connection always waits for one answer.
fn many_connections(server: &Server, set: &Set, answers: &[Option<u64>], rounds: usize) -> io::Result<Asked> {
    let mut clients = (0..CONNECTIONS).map(|_| server.client()).collect::<io::Result<Vec<_>>>()?;
    let total = set.queries.len() * rounds;
    let (mut milliseconds, mut hits, mut wrong) = (Vec::new(), 0, 0);
    let (began, cpu) = (Instant::now(), server.cpu_ns());
    let mut sent = [began; CONNECTIONS];
    for turn in 0..total + CONNECTIONS {
        let client = &mut clients[turn % CONNECTIONS];
        if let Some(asked) = turn.checked_sub(CONNECTIONS) {
            let found = answer(client.reply()?)?;
            milliseconds.push(sent[turn % CONNECTIONS].elapsed().as_secs_f64() * 1000.0);
            hits += usize::from(found.is_some());
            wrong += usize::from(found != answers[asked % answers.len()]);
        }
        if turn < total {
            sent[turn % CONNECTIONS] = Instant::now();
            send(client, &set.queries[turn % answers.len()], Shape::Value)?;
        }
    }
    Ok(Asked {
        way: format!("over the wire, {CONNECTIONS} connections"),
        per_second: total as f64 / began.elapsed().as_secs_f64(),
        median_ms: quantile(&milliseconds, 0.5),
        p99_ms: quantile(&milliseconds, 0.99),
        cpu_ms: (server.cpu_ns() - cpu) as f64 / 1e6 / total as f64,
        asked: total,
        hits,
        wrong,
        goal: "≥ 1500/s",
    })
}
