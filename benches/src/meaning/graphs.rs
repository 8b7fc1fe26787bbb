//! The ten nearest by graph, before and after churn, beside usearch, hnswlib and faiss on the same vectors with the same truth.

use super::cache::{Cache, NOW_MS, number_of};
use super::peers::{self, Peer};
use super::source::{Set, generated};
use super::timer::{Timer, thread_seconds};
use super::vectors::write_numbers;
use super::{Plan, fill};
use crate::process::Scratch;
use crate::random::Random;
use crate::table::{Cell, Report, Table};
use serde_json::Value;
use std::ffi::OsString;
use std::io;
use sutra_shard::{Filters, Query, Search};

const K: usize = 10;
const EFS: [usize; 15] = [10, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512];
/// The search is widened until this share of the true ten is found.
const RECALL: f64 = 0.99;
/// Each measurement is the best of so many: neighbours on the machine only add.
const ROUNDS: usize = 3;
/// Rows that the graph takes up at a time.
const MAINTAINED: usize = 1024;

/// One line of the table.
#[derive(Debug)]
struct Line {
    index: String,
    state: String,
    changes_per_second: f64,
    bytes: f64,
    ef: String,
    recall: f64,
    per_second: f64,
}

pub(super) fn run(plan: &Plan<'_>, report: &mut Report) -> io::Result<()> {
    let dim = plan.dim.unwrap_or(384);
    let sizes = match (plan.size, plan.quick) {
        (Some(rows), _) => vec![rows],
        (None, true) => vec![10_000],
        (None, false) => vec![200_000, 1_000_000],
    };
    sizes.into_iter().try_for_each(|rows| one_size(plan, rows, dim, report))
}

fn one_size(plan: &Plan<'_>, rows: usize, dim: usize, report: &mut Report) -> io::Result<()> {
    let mut table = Table::new(
        format!("The ten nearest of {rows} × {dim}, one core, the narrowest search with recall {RECALL}"),
        &["index", "state", "changes/s", "bytes a row", "ef", "recall@10", "queries/s", "sutra ÷ this", "goal"],
    );
    let churned = rows / 2;
    let scratch = Scratch::new("graphs")?;
    let set = generated(scratch.path(), rows + churned, dim, if plan.quick { 200 } else { 1000 })?;
    let order = order(rows, churned);
    let (mut lines, files) = ours(&set, rows, &order, plan)?;
    if plan.peers {
        eprintln!("meaning: peers over {rows} × {dim}");
        let mut arguments: Vec<OsString> =
            vec![set.base.path().into(), peers::write_queries(&set)?.into(), rows.to_string().into()];
        arguments.extend(files);
        arguments.push(plan.arguments.graph_peers.as_str().into());
        let arguments: Vec<_> = arguments.iter().map(OsString::as_os_str).collect();
        match peers::ask(plan, "graphs", &arguments)? {
            Peer::Said(said) => lines.extend(said.iter().map(Line::of)),
            Peer::Missing(why) => table.note(why),
        }
    }
    let own = |state: &str| lines.iter().find(|line| line.index == OWN && line.state == state && line.recall >= RECALL);
    for line in &lines {
        let ratio = own(&line.state).filter(|_| !line.index.starts_with(OWN) && line.per_second > 0.0);
        let ratio = ratio.map_or(Cell::Missing, |own| Cell::Number(own.per_second / line.per_second, 2));
        let goal = if line.index == OWN {
            format!("≥ {RECALL}")
        } else if line.index.starts_with("usearch") {
            "≥ 0.8 of it".to_owned()
        } else {
            String::new()
        };
        table.row(vec![
            line.index.as_str().into(),
            line.state.as_str().into(),
            Cell::Number(line.changes_per_second, 0),
            Cell::Number(line.bytes, 0),
            line.ef.as_str().into(),
            Cell::Number(line.recall, 4),
            Cell::Number(line.per_second, 0),
            ratio,
            goal.into(),
        ]);
    }
    table.note(format!(
        "Vectors: {}; {} queries of the same law. Truth for all: our exact scan, which the range queries compare with brute force. Ours is \
         Shard::search: the graph over codes, its candidates rescored in f32 from their entries, each checked to be live, its key returned; \
         bytes are codes and graph, its vectors being in the entries. Peers return numbers only, with M 16 and ef_construction 128, and \
         their bytes include the vector; `rescored`: the share of the true ten among the first twenty, as if rescoring cost nothing. Changes: rows \
         taken into the graph, and after churn rows replaced (the old one removed, a new one added) in random order. Queries/s: ours by \
         the thread's processor time, peers' likewise, best of {ROUNDS}.",
        set.name,
        set.queries.len()
    ));
    report.add(table);
    Ok(())
}

const OWN: &str = "sutra";

/// Our lines, and the files that tell peers what is right and what to replace.
fn ours(set: &Set, rows: usize, order: &[u64], plan: &Plan<'_>) -> io::Result<(Vec<Line>, Vec<OsString>)> {
    let cache = Cache::in_memory(set.base.dim, set.base.count)?;
    fill(&cache, set, 0..rows)?;
    let queries: Vec<Query> = set
        .queries
        .iter()
        .map(|vector| cache.space.query(vector))
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    let (truth, scan) = exact(&cache, &queries)?;
    let mut lines = vec![Line {
        index: "sutra, exact scan".to_owned(),
        state: "fresh".to_owned(),
        changes_per_second: f64::NAN,
        bytes: cache.space.memory_bytes() as f64 / rows as f64,
        ef: String::new(),
        recall: 1.0,
        per_second: scan,
    }];
    eprintln!("meaning: a graph of {rows}");
    cache.shard.set_graph_min_rows(1);
    let built = settle(&cache);
    lines.extend(sweep(&cache, &queries, &truth, "fresh", rows as f64 / built, rows)?);
    let mut replaced = thread_seconds();
    for (old, row) in order.iter().zip(rows..) {
        cache.delete(*old);
        let vector = set.base.rows(row..row + 1)?;
        cache.put(row as u64, &vector[0])?;
        if row % MAINTAINED == 0 {
            cache.shard.maintain_graphs(MAINTAINED * 2);
        }
    }
    settle(&cache);
    replaced = thread_seconds() - replaced;
    let (truth_churned, _) = exact(&cache, &queries)?;
    lines.extend(sweep(&cache, &queries, &truth_churned, CHURNED, order.len() as f64 / replaced, rows)?);
    if !plan.peers {
        return Ok((lines, Vec::new()));
    }
    let mut files = Vec::new();
    for (name, columns, numbers) in
        [("fresh", K, &truth.concat()), ("order", 1, &order.to_vec()), ("churned", K, &truth_churned.concat())]
    {
        let path = set.base.path().with_file_name(format!("{name}.npy"));
        write_numbers(&path, columns, numbers)?;
        files.push(path.into_os_string());
    }
    Ok((lines, files))
}

const CHURNED: &str = "half replaced";

/// Lets the graph take up everything that it has not; the processor time that this took.
fn settle(cache: &Cache) -> f64 {
    let began = thread_seconds();
    while cache.shard.maintain_graphs(MAINTAINED) > 0 {}
    thread_seconds() - began
}

fn search(cache: &Cache, query: &Query, exact: bool, ef: Option<usize>) -> io::Result<Vec<u64>> {
    let search = Search {
        db: 0,
        space: &cache.space,
        query,
        count: K,
        min: None,
        filters: Filters::default(),
        exact,
        ef,
        with_values: false,
        reader: None,
    };
    let hits = cache.shard.search(&search, NOW_MS).map_err(io::Error::other)?;
    Ok(hits.iter().map(|hit| number_of(&hit.key)).collect())
}

/// The true ten of each query, and scans per second.
fn exact(cache: &Cache, queries: &[Query]) -> io::Result<(Vec<Vec<u64>>, f64)> {
    let mut timer = Timer::default();
    let mut truth = Vec::with_capacity(queries.len());
    for query in queries {
        let ten = timer.time(|| search(cache, query, true, None))?;
        if ten.len() != K {
            return Err(io::Error::other(format!("an exact search found {} of {K}", ten.len())));
        }
        truth.push(ten);
    }
    Ok((truth, timer.per_cpu_second()))
}

/// The line at the default width, and at the narrowest width that finds enough.
fn sweep(
    cache: &Cache,
    queries: &[Query],
    truth: &[Vec<u64>],
    state: &str,
    changes_per_second: f64,
    rows: usize,
) -> io::Result<Vec<Line>> {
    let bytes = cache.space.memory_bytes() as f64 / rows as f64;
    let mut lines = Vec::new();
    for ef in [None].into_iter().chain(EFS.map(Some)) {
        let (mut per_second, mut found): (f64, usize) = (0.0, 0);
        for _ in 0..ROUNDS {
            let mut timer = Timer::default();
            found = 0;
            for (query, truth) in queries.iter().zip(truth) {
                let ten = timer.time(|| search(cache, query, false, ef))?;
                found += ten.iter().filter(|row| truth.contains(row)).count();
            }
            per_second = per_second.max(timer.per_cpu_second());
        }
        let recall = found as f64 / (queries.len() * K) as f64;
        let is_enough = ef.is_some() && (recall >= RECALL || ef == EFS.last().copied());
        if ef.is_none() || is_enough {
            let (index, ef) = match ef {
                None => ("sutra, default ef".to_owned(), "default".to_owned()),
                Some(ef) => (OWN.to_owned(), ef.to_string()),
            };
            lines.push(Line { index, state: state.to_owned(), changes_per_second, bytes, ef, recall, per_second });
        }
        if is_enough {
            break;
        }
    }
    Ok(lines)
}

impl Line {
    fn of(said: &Value) -> Line {
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| said[name].as_f64().unwrap_or(f64::NAN);
        Line {
            index: text("index"),
            state: text("state"),
            changes_per_second: number("changes_per_second"),
            bytes: number("bytes"),
            ef: said["ef"].as_u64().map(|ef| ef.to_string()).unwrap_or_default(),
            recall: number("recall"),
            per_second: number("per_second"),
        }
    }
}

/// Distinct rows in random order (Fisher and Yates): those that are replaced.
fn order(rows: usize, count: usize) -> Vec<u64> {
    let mut random = Random::new(50);
    let mut order: Vec<u64> = (0..rows as u64).collect();
    for at in 0..count {
        order.swap(at, at + random.below((rows - at) as u64) as usize);
    }
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_is_replaced_once_at_most() {
        let order = order(100, 50);
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 50);
        assert!(order.iter().all(|row| *row < 100));
    }
}
