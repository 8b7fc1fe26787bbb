//! The built-in embedder: microseconds for a short question, and how well it tells duplicates from related questions.

use super::Plan;
use super::timer::Timer;
use crate::table::{Cell, Report, Table};
use std::hint::black_box;
use std::io;
use std::path::Path;
use sutra_embed::Builtin;

/// Questions of customers of a bank; see the notice beside it.
const SAMPLE: &str = include_str!("../../../crates/embed/tests/fixtures/banking77.sample.jsonl");

pub(super) fn run(plan: &Plan<'_>, report: &mut Report) -> io::Result<()> {
    let rounds = if plan.quick { 20 } else { 200 };
    let texts: Vec<&str> = SAMPLE.lines().filter_map(|line| line.split('"').nth(3)).collect();
    Builtin::warm();
    let mut timer = Timer::default();
    for _ in 0..rounds {
        timer.time(|| {
            for text in &texts {
                black_box(Builtin::vector(black_box(text)).is_ok());
            }
        });
    }
    let mut table = Table::new("The built-in embedder, one core", &["what", "measured", "goal"]);
    let bytes = texts.iter().map(|text| text.len()).sum::<usize>() as f64 / texts.len() as f64;
    table.row(vec![
        format!("µs for a question of {bytes:.0} bytes").into(),
        Cell::Number(timer.cpu_ms() * 1000.0 / texts.len() as f64, 2),
        "≤ 20".into(),
    ]);
    match plan.data.as_deref().and_then(Path::parent).filter(|directory| directory.join("dev.pairs.tsv").exists()) {
        Some(directory) => {
            let (area, pairs) = duplicates(directory)?;
            table.row(vec![
                format!("AUC of {pairs} pairs of questions").into(),
                Cell::Number(area, 4),
                "≥ 0.78".into(),
            ]);
        }
        None => table
            .note("The AUC was not measured: SUTRA_DATA names no directory with dev.texts.jsonl and dev.pairs.tsv."),
    }
    report.add(table);
    Ok(())
}

/// The share of pairs of one duplicate and one other in which the duplicate is more similar (Mann and Whitney 1947), and how many
/// questions were compared.
fn duplicates(directory: &Path) -> io::Result<(f64, usize)> {
    let texts = std::fs::read_to_string(directory.join("dev.texts.jsonl"))?;
    let texts: Vec<(String, String)> =
        texts.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(io::Error::other)?;
    let pairs = std::fs::read_to_string(directory.join("dev.pairs.tsv"))?;
    let (mut duplicates, mut others) = (Vec::new(), Vec::new());
    for line in pairs.lines().skip(1) {
        let refuse = || io::Error::other(format!("dev.pairs.tsv: {line}"));
        let mut fields = line.split('\t');
        let mut vector = || {
            let (_, text) = texts.get(fields.next()?.parse::<usize>().ok()?)?;
            Builtin::vector(text).ok()
        };
        let (a, b) = (vector().ok_or_else(refuse)?, vector().ok_or_else(refuse)?);
        let similarity: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
        if fields.next() == Some("1") { duplicates.push(similarity) } else { others.push(similarity) }
    }
    let won = |a: &f32| {
        others
            .iter()
            .map(|b| {
                if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                }
            })
            .sum::<f64>()
    };
    let area = duplicates.iter().map(won).sum::<f64>() / (duplicates.len() * others.len()) as f64;
    Ok((area, duplicates.len() + others.len()))
}
