//! What a vector costs in memory beyond its f32 row: by the growth of the server's resident bytes, and by its own account.

use super::source::generated;
use super::{Plan, wire};
use crate::process::Scratch;
use crate::table::{Cell, Report, Table};
use std::io;

/// What codes and their numbers may need, as a multiple of one bit and one byte a dimension.
const GOAL: f64 = 1.35;

pub(super) fn run(plan: &Plan<'_>, report: &mut Report) -> io::Result<()> {
    let rows = plan.size.unwrap_or(if plan.quick { 20_000 } else { 300_000 });
    // What a server needs once, whatever it holds, is there before the growth is measured.
    let first = rows / 5;
    let mut table = Table::new(
        format!("Memory of {rows} vectors beyond their f32 rows, bytes each"),
        &[
            "dimensions",
            "resident, as SET",
            "resident, with vector",
            "beyond the row",
            "by its own account",
            "÷ (d/8 + d)",
            "goal",
        ],
    );
    for dim in plan.dim.map_or(vec![384, 768], |dim| vec![dim]) {
        let plain = plan.server(rows, dim)?;
        wire::load_plain(&mut plain.client()?, 0..first)?;
        let before = plain.settled_rss_bytes();
        wire::load_plain(&mut plain.client()?, first..rows)?;
        let each = 1.0 / (rows - first) as f64;
        let plain = plain.settled_rss_bytes().saturating_sub(before) as f64 * each;
        let scratch = Scratch::new("footprint")?;
        let set = generated(scratch.path(), rows, dim, 0)?;
        let server = plan.server(rows, dim)?;
        wire::load(&mut server.client()?, &set, 0..first, wire::PIPELINE)?;
        let before = server.settled_rss_bytes();
        wire::load(&mut server.client()?, &set, first..rows, wire::PIPELINE)?;
        let with_vector = server.settled_rss_bytes().saturating_sub(before) as f64 * each;
        let accounted = server.client()?.info("meaning_index_bytes")?.unwrap_or(f64::NAN) / rows as f64;
        let codes = dim as f64 / 8.0 + dim as f64;
        let beyond = with_vector - plain - 4.0 * dim as f64;
        table.row(vec![
            (dim as u64).into(),
            Cell::Number(plain, 1),
            Cell::Number(with_vector, 1),
            Cell::Number(beyond, 1),
            Cell::Number(accounted, 1),
            Cell::Number(beyond / codes, 3),
            format!("≤ {GOAL}").into(),
        ]);
    }
    table.note(
        "The same keys and values by SET and by CACHE.SET in servers of their own; resident: what anonymous, file-mapped and shared pages \
         grow by behind the first fifth of the entries, for each of the others. Beyond the row: \
         the difference of the two less four bytes a dimension, so it also holds the annex around the vector and the map from entries to rows. \
         By its own account: INFO's meaning_index_bytes, which are codes and row data. No graph.",
    );
    report.add(table);
    Ok(())
}
