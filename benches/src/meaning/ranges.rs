//! Exact invalidation over many vectors: how long it takes, whether anything is missed, and faiss's scan of the same vectors.

use super::brute;
use super::cache::{Cache, NOW_MS};
use super::peers::{self, Peer};
use super::source::{Set, generated};
use super::timer::Timer;
use super::{Plan, fill};
use crate::process::Scratch;
use crate::table::{Cell, Report, Table};
use std::io;
use sutra_shard::{Invalidation, Query};

const THRESHOLDS: [f32; 5] = [0.70, 0.80, 0.85, 0.90, 0.95];
/// Cosines in f64 and in f32 may lie on different sides of a threshold when they are so near to it.
const TIE: f64 = 2e-7;
/// Room to take every invalidation back.
const UNDO_BYTES: u64 = 2 << 30;
const GOAL_MS: f64 = 15.0;

/// What one threshold showed.
#[derive(Debug, Default)]
struct Ranged {
    invalidation: Timer,
    dry_run: Timer,
    removed: u64,
    right: u64,
    missed: u64,
    wrong: u64,
}

pub(super) fn run(plan: &Plan<'_>, report: &mut Report) -> io::Result<()> {
    let (rows, dim) = (plan.size.unwrap_or(if plan.quick { 50_000 } else { 1_000_000 }), plan.dim.unwrap_or(768));
    let queries = if plan.quick { 10 } else { 20 };
    let mut table = Table::new(
        format!("Exact range queries over {rows} × {dim}, {queries} queries, one core"),
        &["what", "least cosine", "median ms", "CPU ms", "rows found", "recall", "missed", "wrong", "goal"],
    );
    let scratch = Scratch::new("ranges")?;
    let set = generated(scratch.path(), rows, dim, queries)?;
    eprintln!("meaning: brute force over {rows} × {dim}");
    let truth = brute::near(&set.base, 0..rows, &set.queries, f64::from(THRESHOLDS[0]) - 0.01)?;
    measure(&set, &truth, &mut table)?;
    // The shard is gone before the peer needs the memory.
    faiss(plan, &set, &truth, &mut table)?;
    table.note(format!(
        "{}. An invalidation publishes its predicate, removes what it covers, and keeps it so that it can be taken back; between two it is. \
         A dry run also counts what is up to 0.1 below the threshold. Without a log here: with one, an invalidation also waits for one sync \
         of the disk. Recall, missed and wrong are against cosines in f64; rows within {TIE:.0e} of a threshold may be on either side.",
        set.name
    ));
    report.add(table);
    Ok(())
}

fn measure(set: &Set, truth: &[Vec<(u64, f64)>], table: &mut Table) -> io::Result<()> {
    let cache = Cache::in_memory(set.base.dim, set.base.count)?;
    cache.shard.set_undo_limits(3_600_000, UNDO_BYTES);
    fill(&cache, set, 0..set.base.count)?;
    let mut ranged: Vec<Ranged> = THRESHOLDS.iter().map(|_| Ranged::default()).collect();
    for (vector, truth) in set.queries.iter().zip(truth) {
        let query = cache.space.query(vector).map_err(io::Error::other)?;
        for (min, ranged) in THRESHOLDS.into_iter().zip(&mut ranged) {
            ranged.one(&cache, &query, min, truth)?;
        }
    }
    for (kind, timer) in [("invalidate", 0), ("dry run", 1)] {
        for (min, ranged) in THRESHOLDS.into_iter().zip(&ranged) {
            let timer = [&ranged.invalidation, &ranged.dry_run][timer];
            table.row(vec![
                format!("sutra, {kind}").into(),
                Cell::Number(f64::from(min), 2),
                Cell::Number(timer.median_ms(), 2),
                Cell::Number(timer.cpu_ms(), 2),
                Cell::Number(ranged.removed as f64 / set.queries.len() as f64, 1),
                // Where there is nothing to find, recall is no number.
                Cell::Number((ranged.right - ranged.missed) as f64 / ranged.right as f64, 4),
                ranged.missed.into(),
                ranged.wrong.into(),
                format!("≤ {GOAL_MS}").into(),
            ]);
        }
    }
    Ok(())
}

impl Ranged {
    fn one(&mut self, cache: &Cache, query: &Query, min: f32, truth: &[(u64, f64)]) -> io::Result<()> {
        let shard = &cache.shard;
        let invalidation =
            Invalidation { meaning: Some((&cache.space, query, min)), who: "sutra-bench", ..Invalidation::default() };
        let would = self.dry_run.time(|| shard.dry_run(&invalidation, 0, NOW_MS)).map_err(io::Error::other)?;
        let did = self.invalidation.time(|| shard.invalidate(&invalidation, NOW_MS)).map_err(io::Error::other)?;
        let least = f64::from(min);
        let certain = truth.iter().filter(|(_, cosine)| *cosine >= least + TIE);
        let possible = truth.iter().filter(|(_, cosine)| *cosine >= least - TIE).count() as u64;
        self.right += certain.clone().count() as u64;
        self.missed += certain.filter(|(row, _)| cache.contains(*row)).count() as u64;
        self.wrong += did.count.saturating_sub(possible) + would.count.abs_diff(did.count);
        self.removed += did.count;
        if did.count > 0 {
            let again = shard.undo(did.lsn, NOW_MS).map_err(io::Error::other)?;
            if again != did.count {
                return Err(io::Error::other(format!("{} were removed, {again} came back", did.count)));
            }
        }
        Ok(())
    }
}

fn faiss(plan: &Plan<'_>, set: &Set, truth: &[Vec<(u64, f64)>], table: &mut Table) -> io::Result<()> {
    if !plan.peers {
        return Ok(());
    }
    eprintln!("meaning: faiss over {} × {}", set.base.count, set.base.dim);
    let queries = peers::write_queries(set)?;
    let thresholds = THRESHOLDS.map(|min| min.to_string()).join(",");
    let lines =
        match peers::ask(plan, "ranges", &[set.base.path().as_os_str(), queries.as_os_str(), thresholds.as_ref()])? {
            Peer::Said(lines) => lines,
            Peer::Missing(why) => {
                table.note(why);
                return Ok(());
            }
        };
    for line in lines {
        let least = line["least"].as_f64().unwrap_or(f64::NAN);
        let right = truth.iter().flatten().filter(|(_, cosine)| *cosine >= least).count() as f64;
        let found = line["found"].as_f64().unwrap_or(f64::NAN);
        table.row(vec![
            line["what"].as_str().unwrap_or("peer").into(),
            Cell::Number(least, 2),
            Cell::Number(line["median_ms"].as_f64().unwrap_or(f64::NAN), 2),
            Cell::Number(line["cpu_ms"].as_f64().unwrap_or(f64::NAN), 2),
            Cell::Number(found / set.queries.len() as f64, 1),
            // By the number of rows only, so that rounding at the threshold shows as a little more or less than 1.
            Cell::Number(found / right.max(1.0), 4),
            Cell::Missing,
            Cell::Missing,
            "".into(),
        ]);
    }
    Ok(())
}
