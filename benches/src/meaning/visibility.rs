//! How soon after an invalidation is sent every reader misses what it covers.

use super::source::{Set, generated};
use super::timer::quantile;
use super::{Plan, wire};
use crate::process::{Scratch, Server};
use crate::random::key;
use crate::table::{Cell, Report, Table};
use crate::wire::Client;
use std::io;
use std::time::Instant;
use sutra_protocol::Frame;

/// Connections that read while another invalidates.
const READERS: usize = 2;
const MIN_WORD: &[u8] = b"0.9";

/// Milliseconds since the invalidation was sent, but for `read_ms`.
#[derive(Debug, Default)]
struct Seen {
    gone_ms: Vec<f64>,
    counted_ms: Vec<f64>,
    /// Of reads that have nothing to do with it.
    read_ms: Vec<f64>,
    /// Reads that showed the entry after another read had not.
    stale: u64,
    removed: u64,
}

pub(super) fn run(plan: &Plan<'_>, report: &mut Report) -> io::Result<()> {
    let (rows, dim) = (plan.size.unwrap_or(if plan.quick { 20_000 } else { 1_000_000 }), plan.dim.unwrap_or(384));
    let trials = if plan.quick { 100 } else { 500 };
    let scratch = Scratch::new("visibility")?;
    // The last rows are the entries that are removed.
    let set = generated(scratch.path(), rows + trials, dim, 0)?;
    let server = plan.server(rows + trials, dim)?;
    wire::load(&mut server.client()?, &set, 0..rows, wire::PIPELINE)?;
    let seen = measure(&server, &set, rows, trials)?;
    let mut table = Table::new(
        format!("Invalidations among {rows} × {dim}, {trials} trials, {READERS} readers"),
        &["what", "p50 ms", "p99 ms", "worst ms", "goal"],
    );
    for (what, values, goal) in [
        ("a read, before", &seen.read_ms, ""),
        ("sent → first read that shows it gone", &seen.gone_ms, "≤ 1"),
        ("sent → the count is replied", &seen.counted_ms, ""),
    ] {
        table.row(vec![
            what.into(),
            Cell::Number(quantile(values, 0.5), 3),
            Cell::Number(quantile(values, 0.99), 3),
            Cell::Number(quantile(values, 1.0), 3),
            goal.into(),
        ]);
    }
    table.note(format!(
        "{}. One thread of the driver sends CACHE.INVALIDATE with MIN 0.9 on one connection and at once reads its entry on the others in turn, so \
         the times contain the round trip of a read. The server has one core, its sweep included. {} entries were removed; reads that showed \
         an entry after another read had not: {}.",
        set.name, seen.removed, seen.stale
    ));
    report.add(table);
    if seen.stale > 0 {
        return Err(io::Error::other(format!("{} stale reads", seen.stale)));
    }
    Ok(())
}

fn measure(server: &Server, set: &Set, rows: usize, trials: usize) -> io::Result<Seen> {
    let mut seen = Seen::default();
    let mut writer = server.client()?;
    let mut readers = (0..READERS).map(|_| server.client()).collect::<io::Result<Vec<_>>>()?;
    for row in rows..rows + trials {
        wire::load(&mut writer, set, row..row + 1, 1)?;
        let vector = set.base.rows(row..row + 1)?;
        let name = key(row as u64);
        for reader in &mut readers {
            let asked = Instant::now();
            if !is_there(reader, &name)? {
                return Err(io::Error::other("an entry that was set is not there"));
            }
            seen.read_ms.push(asked.elapsed().as_secs_f64() * 1000.0);
        }
        writer.queue(&[b"CACHE.INVALIDATE", b"IN", wire::SPACE, b"FP32", &vector[0], b"MIN", MIN_WORD]);
        let sent = Instant::now();
        writer.flush()?;
        while readers.first_mut().map(|reader| is_there(reader, &name)).transpose()? == Some(true) {
            readers.rotate_left(1);
        }
        seen.gone_ms.push(sent.elapsed().as_secs_f64() * 1000.0);
        for reader in &mut readers {
            seen.stale += u64::from(is_there(reader, &name)?);
        }
        seen.removed += count_of(writer.reply()?)?;
        seen.counted_ms.push(sent.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(seen)
}

fn is_there(reader: &mut Client, name: &[u8]) -> io::Result<bool> {
    Ok(reader.call(&[b"GET", name])? != Frame::Null)
}

/// How many entries an invalidation has removed: at least the one that was set for it.
fn count_of(reply: Frame) -> io::Result<u64> {
    match wire::expect_number(reply)? {
        0 => Err(io::Error::other("an invalidation removed nothing")),
        count => Ok(count),
    }
}
