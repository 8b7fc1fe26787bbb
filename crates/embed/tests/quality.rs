//! How well the built-in model tells questions apart: pinned, so that a change of tokeniser, arithmetic or model that
//! costs quality is seen.

use std::path::Path;
use sutra_embed::Builtin;

const SAMPLE: &str = include_str!("fixtures/banking77.sample.jsonl");

fn similarity(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The share of pairs (one equal, one different) in which the equal one is more similar; ties count half. That is the
/// area under the curve of a threshold's hits and false hits (Mann and Whitney 1947).
fn area_under_curve(scores: &[(f32, bool)]) -> f64 {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut differing_below = 0.0;
    let mut won = 0.0;
    for ties in sorted.chunk_by(|(a, _), (b, _)| a == b) {
        let equal = ties.iter().filter(|(_, equal)| *equal).count() as f64;
        let differing = ties.len() as f64 - equal;
        won += equal * (differing_below + differing / 2.0);
        differing_below += differing;
    }
    won / (differing_below * (scores.len() as f64 - differing_below))
}

/// The mean over all questions of the precision at each question of the same label, by falling similarity.
fn mean_average_precision(rows: &[([f32; 256], String)]) -> f64 {
    let precision = rows.iter().enumerate().map(|(asked, (vector, label))| {
        let others = rows.iter().enumerate().filter(|(other, _)| *other != asked);
        let mut scores: Vec<(f32, bool)> =
            others.map(|(_, (row, theirs))| (similarity(vector, row), theirs == label)).collect();
        scores.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let ranks = (1_u32..).zip(&scores).filter(|(_, (_, equal))| *equal).map(|(rank, _)| f64::from(rank));
        let precisions: Vec<f64> = (1_u32..).zip(ranks).map(|(found, rank)| f64::from(found) / rank).collect();
        precisions.iter().sum::<f64>() / precisions.len() as f64
    });
    precision.sum::<f64>() / rows.len() as f64
}

fn rows(lines: &str) -> Vec<([f32; 256], String)> {
    let row = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        let field = |name: &str| line[name].as_str().expect("a text").to_owned();
        (Builtin::vector(&field("text")).expect("its words are known"), field("intent"))
    };
    lines.lines().map(row).collect()
}

#[test]
fn questions_of_one_intent_are_nearer_than_others() {
    let rows = rows(SAMPLE);
    assert_eq!(rows.len(), 312);
    let mut scores = Vec::new();
    for (at, (a, intent)) in rows.iter().enumerate() {
        scores.extend(rows[..at].iter().map(|(b, other)| (similarity(a, b), intent == other)));
    }
    let (area, precision) = (area_under_curve(&scores), mean_average_precision(&rows));
    assert!(area >= 0.90, "AUC {area}");
    assert!(precision >= 0.50, "mAP {precision}");
}

#[test]
fn examples_of_the_model_keep_their_similarities() {
    let of = |a: &str, b: &str| similarity(&Builtin::vector(a).unwrap(), &Builtin::vector(b).unwrap());
    for (a, b, expected) in [
        ("How do I reset my password?", "how can i change my password", 0.80),
        ("Apple Inc stock data", "AAPL share price today", 0.33),
        ("Enable two-factor authentication", "Disable two-factor authentication", 0.91),
    ] {
        assert!((of(a, b) - expected).abs() < 0.006, "{a:?} and {b:?}: {}", of(a, b));
    }
}

#[test]
fn duplicate_questions_are_nearer_than_related_ones() {
    let Some(directory) = std::env::var_os("SUTRA_DATA") else {
        eprintln!("not measured: SUTRA_DATA (a directory with dev.texts.jsonl and dev.pairs.tsv) is unset");
        return;
    };
    let read = |name: &str| std::fs::read_to_string(Path::new(&directory).join(name)).unwrap();
    let texts: Vec<(String, String)> =
        read("dev.texts.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut scores = Vec::new();
    for line in read("dev.pairs.tsv").lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let vector = |field: &str| Builtin::vector(&texts[field.parse::<usize>().unwrap()].1).unwrap();
        scores.push((similarity(&vector(fields[0]), &vector(fields[1])), fields[2] == "1"));
    }
    let area = area_under_curve(&scores);
    println!("AUC {area:.4} of {} pairs", scores.len());
    assert!(area >= 0.78, "AUC {area}");
}
