//! Vectors written per second: in process with the log, and over the wire.

use super::cache::{Cache, NOW_MS};
use super::source::{Set, generated};
use super::timer::thread_seconds;
use super::{Plan, wire};
use crate::process::Scratch;
use crate::table::{Cell, Report, Table};
use std::io;
use std::time::{Duration, Instant};
use sutra_shard::Lsn;

/// Entries that share a write of the log, as a pipeline's do in the server.
const BATCH: usize = 64;
/// Texts of one CACHE.EMB.MSET.
const EMBEDDINGS: usize = 100;
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
const TICK_INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn run(plan: &Plan<'_>, report: &mut Report) -> io::Result<()> {
    let (rows, dim) = (plan.size.unwrap_or(if plan.quick { 20_000 } else { 300_000 }), plan.dim.unwrap_or(384));
    let scratch = Scratch::new("inserts")?;
    let set = generated(scratch.path(), rows, dim, 0)?;
    let mut table = Table::new(
        format!("Logged inserts of {rows} × {dim}"),
        &["how", "vectors/s", "CPU µs each", "per core and second", "goal"],
    );
    let mut line = |how: &str, (wall, cpu): (f64, f64), goal: &str| {
        let count = rows as f64;
        table.row(vec![
            how.into(),
            Cell::Number(count / wall, 0),
            Cell::Number(cpu * 1e6 / count, 2),
            Cell::Number(count / cpu, 0),
            goal.into(),
        ]);
    };
    line("in process, a write of the log every 64", in_process(&set)?, "≥ 100000/s");
    line("CACHE.SET, pipeline 64", by_set(plan, &set)?, "");
    line("CACHE.EMB.MSET of 100", by_embeddings(plan, &set)?, "");
    table.note(format!(
        "{}. The log is synced once a second. CPU: of the inserting thread, or of the whole server with its background threads.",
        set.name
    ));
    report.add(table);
    Ok(())
}

/// Seconds on the clock and of processor time; reading the vectors is not counted.
fn in_process(set: &Set) -> io::Result<(f64, f64)> {
    let cache = Cache::logged(set.base.dim, set.base.count)?;
    let (mut wall, mut cpu) = (Duration::ZERO, 0.0);
    let (mut synced, mut ticked) = (Instant::now(), Instant::now());
    let mut next = 0;
    while next < set.base.count {
        let end = (next + 4096).min(set.base.count);
        let vectors = set.base.rows(next..end)?;
        let (began, cpu_began) = (Instant::now(), thread_seconds());
        for (batch, vectors) in vectors.chunks(BATCH).enumerate() {
            let mut last: Option<Lsn> = None;
            for (at, vector) in vectors.iter().enumerate() {
                last = cache.put((next + batch * BATCH + at) as u64, vector)?;
            }
            if let Some(lsn) = last {
                cache.shard.flush_log(lsn).map_err(io::Error::other)?;
            }
            if ticked.elapsed() >= TICK_INTERVAL {
                ticked = Instant::now();
                if cache.shard.tick(NOW_MS).checkpoint_due {
                    cache.shard.checkpoint(NOW_MS).map_err(io::Error::other)?;
                }
            }
            if synced.elapsed() >= SYNC_INTERVAL {
                cache.shard.sync().map_err(io::Error::other)?;
                synced = Instant::now();
            }
        }
        cpu += thread_seconds() - cpu_began;
        wall += began.elapsed();
        next = end;
    }
    if cache.space.len() != set.base.count {
        return Err(io::Error::other(format!("{} of {} vectors are there", cache.space.len(), set.base.count)));
    }
    Ok((wall.as_secs_f64(), cpu))
}

fn by_set(plan: &Plan<'_>, set: &Set) -> io::Result<(f64, f64)> {
    let server = plan.server(set.base.count, set.base.dim)?;
    let mut client = server.client()?;
    let (began, cpu) = (Instant::now(), server.cpu_ns());
    wire::load(&mut client, set, 0..set.base.count, BATCH)?;
    let spent = (began.elapsed().as_secs_f64(), (server.cpu_ns() - cpu) as f64 / 1e9);
    counted(client.number(&[b"DBSIZE"])?, set)?;
    Ok(spent)
}

fn by_embeddings(plan: &Plan<'_>, set: &Set) -> io::Result<(f64, f64)> {
    let server = plan.server(set.base.count, set.base.dim)?;
    let mut client = server.client()?;
    let (began, cpu) = (Instant::now(), server.cpu_ns());
    for start in (0..set.base.count).step_by(EMBEDDINGS) {
        let end = (start + EMBEDDINGS).min(set.base.count);
        let vectors = set.base.rows(start..end)?;
        let texts: Vec<String> = (start..end).map(|row| format!("question {row}")).collect();
        let mut words: Vec<&[u8]> = vec![b"CACHE.EMB.MSET", wire::SPACE];
        for (text, vector) in texts.iter().zip(&vectors) {
            words.extend([text.as_bytes(), vector]);
        }
        counted_batch(wire::expect_number(client.call(&words)?)?, end - start)?;
    }
    let spent = (began.elapsed().as_secs_f64(), (server.cpu_ns() - cpu) as f64 / 1e9);
    counted(client.number(&[b"DBSIZE"])?, set)?;
    Ok(spent)
}

fn counted_batch(stored: u64, sent: usize) -> io::Result<()> {
    if stored == sent as u64 { Ok(()) } else { Err(io::Error::other(format!("{stored} of {sent} were stored"))) }
}

fn counted(there: u64, set: &Set) -> io::Result<()> {
    if there == set.base.count as u64 {
        Ok(())
    } else {
        Err(io::Error::other(format!("{there} of {} entries are there", set.base.count)))
    }
}
