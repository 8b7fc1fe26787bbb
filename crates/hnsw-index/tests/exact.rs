//! No row that meets a threshold is missed, and the best are the best: against brute force, with vectors that ask for trouble.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::ops::ControlFlow;

use proptest::prelude::*;
use sutra_hnsw_index::kernel::{Kernels, Level};
use sutra_hnsw_index::{Encoded, Filter, Metric, Query, Rows, Side};

const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::Euclidean];

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Values of every size, with many equal ones, so that zeros, ties, opposites and one-hot vectors are common.
fn value() -> impl Strategy<Value = f32> {
    prop_oneof![
        3 => Just(0.0f32),
        4 => prop::sample::select(vec![1.0, -1.0, 0.5]),
        6 => -1.0f32..1.0,
        1 => prop::sample::select(vec![f32::MAX, f32::MIN, 1e-45, -1e-40, 1e30, -1e-30]),
    ]
}

/// A vector that is noise, or a copy of the query with noise of some size, which is where thresholds lie.
fn vectors(dimension: usize, count: usize) -> impl Strategy<Value = (Vec<f32>, Vec<Vec<f32>>)> {
    let whole = || prop::collection::vec(value(), dimension);
    let smooth = || prop::collection::vec(-1.0f32..1.0, dimension);
    let query = prop_oneof![whole(), smooth()];
    let near = (
        smooth(),
        prop::sample::select(vec![0.0f32, 1e-7, 1e-3, 0.05, 0.3, 1.0]),
        prop::sample::select(vec![1.0f32, -1.0, 2.0, 1e-20, 1e20]),
    );
    let row = prop_oneof![
        1 => whole().prop_map(|values| (Vec::new(), values, 1.0)),
        3 => near.prop_map(|(noise, size, factor)| (noise.iter().map(|n| n * size).collect(), Vec::new(), factor)),
    ];
    (query, prop::collection::vec(row, count)).prop_map(|(query, rows)| {
        let rows = rows.into_iter().map(|(noise, values, factor): (Vec<f32>, Vec<f32>, f32)| {
            if noise.is_empty() {
                return values;
            }
            query.iter().zip(&noise).map(|(q, n)| ((q + n) * factor).clamp(f32::MIN, f32::MAX)).collect()
        });
        let rows = rows.collect();
        (query, rows)
    })
}

fn is_vector(values: &[f32]) -> bool {
    values.iter().any(|value| *value != 0.0)
}

fn check(kernels: &'static Kernels, dimension: usize, query: &[f32], vectors: &[Vec<f32>]) {
    let vectors: Vec<_> = vectors.iter().filter(|values| is_vector(values)).map(|values| bytes(values)).collect();
    let rows = Rows::new(dimension);
    for (index, vector) in vectors.iter().enumerate() {
        let side = Side { stamp: index as u64, ..Side::default() };
        assert_eq!(rows.insert(Some(&Encoded::new(vector, dimension).unwrap()), side).unwrap(), index as u32);
    }
    for metric in METRICS {
        let query = Query::with(kernels, metric, &bytes(query), dimension).unwrap();
        let similarities: Vec<f32> = vectors.iter().map(|vector| query.similarity(vector)).collect();
        // Each similarity as a threshold, which it meets itself, and its neighbours.
        let mut thresholds =
            vec![-1.0, 0.0, -0.0, 0.3, 0.7, 0.85, 0.95, 1.0, f32::MIN, f32::MAX, f32::INFINITY, f32::NEG_INFINITY];
        thresholds.extend(similarities.iter().flat_map(|s| [*s, s.next_up(), s.next_down()]));
        for min in thresholds {
            let mut seen = vec![None; vectors.len()];
            let _ = rows.range(&query, min, &Filter::default(), &mut |candidate| {
                seen[candidate.row as usize] = Some(*candidate);
                ControlFlow::Continue(())
            });
            for (row, similarity) in similarities.iter().enumerate() {
                if let Some(candidate) = seen[row] {
                    assert!(
                        candidate.lower <= *similarity && *similarity <= candidate.upper,
                        "{metric:?}, {similarity}, {candidate:?}"
                    );
                } else {
                    assert!(*similarity < min, "{metric:?}: row {row} of similarity {similarity} was missed at {min}");
                }
            }
        }
        let mut order: Vec<u32> = (0..vectors.len() as u32).collect();
        order.sort_by(|a, b| similarities[*b as usize].total_cmp(&similarities[*a as usize]).then(a.cmp(b)));
        for (k, min) in
            [(1, None), (3, None), (vectors.len() + 1, None), (2, Some(0.5)), (3, similarities.first().copied())]
        {
            let counted = |row: u32| row % 5 != 4;
            let hits = rows.top_k(&query, k, min, &Filter::default(), &mut |candidate| {
                assert_eq!(candidate.side.stamp, u64::from(candidate.row));
                counted(candidate.row).then(|| similarities[candidate.row as usize])
            });
            let got: Vec<u32> = hits.iter().map(|hit| hit.row).collect();
            let meets = |row: &&u32| counted(**row) && min.is_none_or(|min| similarities[**row as usize] >= min);
            let expected: Vec<u32> = order.iter().filter(meets).take(k).copied().collect();
            assert_eq!(got, expected, "{metric:?}, {k} best from {min:?}");
        }
    }
}

fn all_levels(dimension: usize, query: &[f32], vectors: &[Vec<f32>]) {
    if is_vector(query) {
        for kernels in Level::ALL.into_iter().filter_map(Kernels::at) {
            check(kernels, dimension, query, vectors);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn nothing_is_missed_in_few_dimensions((query, rows) in (1usize..10).prop_flat_map(|d| vectors(d, 24))) {
        all_levels(query.len(), &query, &rows);
    }

    #[test]
    fn nothing_is_missed_in_many_dimensions((query, rows) in (10usize..200).prop_flat_map(|d| vectors(d, 16))) {
        all_levels(query.len(), &query, &rows);
    }
}

#[test]
fn nothing_is_missed_in_the_most_dimensions() {
    let dimension = sutra_hnsw_index::DIMENSIONS_MAX;
    let wave = |shift: f32| -> Vec<f32> { (0..dimension).map(|i| (i as f32 * 0.37 + shift).sin()).collect() };
    let mut one_hot = vec![0.0; dimension];
    one_hot[777] = 1e30;
    let rows = [
        wave(0.0),
        wave(0.1),
        wave(0.5),
        wave(3.0),
        one_hot.clone(),
        vec![f32::MAX; dimension],
        vec![1e-45; dimension],
    ];
    all_levels(dimension, &wave(0.0), &rows);
    all_levels(dimension, &one_hot, &rows);
}

#[test]
fn a_tie_at_the_threshold_counts() {
    let rows = Rows::new(3);
    rows.insert(Some(&Encoded::new(&bytes(&[3.0, 4.0, 0.0]), 3).unwrap()), Side::default()).unwrap();
    let query = Query::from_values(Metric::Cosine, &[1.0, 0.0, 0.0], 3).unwrap();
    let hits =
        rows.top_k(&query, 1, Some(0.6), &Filter::default(), &mut |_| Some(query.similarity(&bytes(&[3.0, 4.0, 0.0]))));
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0].similarity, 0.6);
}
