//! Rows as a set that changes: against a plain vector, and under threads.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;
use sutra_hnsw_index::{Encoded, Filter, Metric, Query, Rows, RowsError, Side};

const DIMENSION: usize = 24;

/// The vector that a number stands for. Neighbouring numbers are similar.
fn vector(number: u64) -> Vec<u8> {
    let value = |i: usize| (number as f32 * 0.05 + i as f32 * 1.3).sin() + (number / 40) as f32 * (i % 3) as f32;
    (0..DIMENSION).flat_map(|i| value(i).to_le_bytes()).collect()
}

fn encoded(number: u64) -> Encoded {
    Encoded::new(&vector(number), DIMENSION).unwrap()
}

fn side(number: u64) -> Side {
    Side { owner: [number, !number], written_ms: number % 50, signature: number % 8, stamp: number }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Replace(u32, u64),
    Stamp(u32, u64),
    Remove(u32),
    Hit(u32),
    Range(u64, f32, Filter),
    Best(u64, usize, Option<f32>, Filter),
    Each(Filter),
}

fn filter() -> impl Strategy<Value = Filter> {
    let bound = || prop::option::weighted(0.2, 0u64..60);
    (prop::sample::select(vec![0, 0, 1, 3, 4]), bound(), bound(), prop::option::weighted(0.2, 0u64..400)).prop_map(
        |(signature_all, written_before_ms, written_after_ms, stamp_below)| Filter {
            signature_all,
            written_before_ms,
            written_after_ms,
            stamp_below,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let (row, number) = (|| 0u32..90, || 0u64..400);
    prop_oneof![
        8 => number().prop_map(Step::Insert),
        2 => (row(), number()).prop_map(|(row, number)| Step::Replace(row, number)),
        1 => (row(), number()).prop_map(|(row, number)| Step::Stamp(row, number)),
        5 => row().prop_map(Step::Remove),
        1 => row().prop_map(Step::Hit),
        2 => (number(), 0.5f32..1.0, filter()).prop_map(|(query, min, filter)| Step::Range(query, min, filter)),
        2 => (number(), 1usize..8, prop::option::of(0.3f32..1.0), filter())
            .prop_map(|(query, k, min, filter)| Step::Best(query, k, min, filter)),
        1 => filter().prop_map(Step::Each),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Model {
    number: u64,
    side: Side,
    hits: u32,
}

fn run(rows: &Rows, model: &mut Vec<Option<Model>>, step: &Step) {
    let live = |model: &[Option<Model>], row: u32| model.get(row as usize).copied().flatten();
    match *step {
        Step::Insert(number) => {
            let row = model.iter().position(Option::is_none).unwrap_or(model.len());
            model.resize(model.len().max(row + 1), None);
            model[row] = Some(Model { number, side: side(number), hits: 0 });
            assert_eq!(rows.insert(Some(&encoded(number)), side(number)).unwrap(), row as u32, "the lowest free row");
        }
        Step::Replace(row, number) => {
            let before = live(model, row);
            assert_eq!(rows.replace(row, Some(&encoded(number)), side(number)).unwrap(), before.is_some());
            if let Some(before) = before {
                model[row as usize] = Some(Model { number, side: side(number), ..before });
            }
        }
        Step::Stamp(row, stamp) => {
            let changed = rows.update_side(row, |side| side.stamp = stamp);
            assert_eq!(changed, live(model, row).is_some());
            if let Some(Some(entry)) = model.get_mut(row as usize) {
                entry.side.stamp = stamp;
            }
        }
        Step::Remove(row) => {
            let side = model.get_mut(row as usize).and_then(Option::take).map(|entry| entry.side);
            assert_eq!(rows.remove(row), side);
        }
        Step::Hit(row) => {
            rows.count_hit(row);
            if let Some(Some(entry)) = model.get_mut(row as usize) {
                entry.hits += 1;
                assert_eq!(rows.hits(row), entry.hits);
            }
        }
        Step::Range(number, min, filter) => {
            let query = Query::new(Metric::Cosine, &vector(number), DIMENSION).unwrap();
            let mut seen = Vec::new();
            let _ = rows.range(&query, min, &filter, &mut |candidate| {
                let entry = live(model, candidate.row).expect("only live rows are visited");
                let similarity = query.similarity(&vector(entry.number));
                assert!(candidate.lower <= similarity && similarity <= candidate.upper);
                assert_eq!(candidate.side, entry.side);
                assert!(filter.passes(&entry.side));
                if similarity >= min {
                    seen.push(candidate.row);
                }
                ControlFlow::Continue(())
            });
            let meets = |entry: &Model| filter.passes(&entry.side) && query.similarity(&vector(entry.number)) >= min;
            let expected: Vec<u32> =
                (0..model.len() as u32).filter(|row| live(model, *row).is_some_and(|entry| meets(&entry))).collect();
            assert_eq!(seen, expected);
        }
        Step::Best(number, k, min, filter) => {
            let query = Query::new(Metric::Euclidean, &vector(number), DIMENSION).unwrap();
            let exact = |row: u32| query.similarity(&vector(live(model, row).expect("live").number));
            let hits = rows.top_k(&query, k, min, &filter, &mut |candidate| Some(exact(candidate.row)));
            let mut expected: Vec<u32> = (0..model.len() as u32)
                .filter(|row| live(model, *row).is_some_and(|entry| filter.passes(&entry.side)))
                .filter(|row| min.is_none_or(|min| exact(*row) >= min))
                .collect();
            expected.sort_by(|a, b| exact(*b).total_cmp(&exact(*a)).then(a.cmp(b)));
            expected.truncate(k);
            assert_eq!(hits.iter().map(|hit| hit.row).collect::<Vec<_>>(), expected);
        }
        Step::Each(filter) => {
            let mut seen = Vec::new();
            let _ = rows.each(&filter, &mut |candidate| {
                seen.push((candidate.row, candidate.side));
                ControlFlow::Continue(())
            });
            let sides = (0..).zip(model.iter()).filter_map(|(row, entry)| Some((row, entry.as_ref()?.side)));
            assert_eq!(seen, sides.filter(|(_, side)| filter.passes(side)).collect::<Vec<_>>());
        }
    }
    let codes = rows.read_all();
    for row in 0..model.len() as u32 {
        assert_eq!(codes.is_live(row), live(model, row).is_some());
    }
    drop(codes);
    assert_eq!(rows.len(), model.iter().flatten().count() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn rows_are_what_a_plain_vector_says(steps in prop::collection::vec(step(), 1..250)) {
        let rows = Rows::new(DIMENSION);
        let mut model = Vec::new();
        for step in &steps {
            run(&rows, &mut model, step);
        }
        for (row, entry) in (0..).zip(&model) {
            prop_assert_eq!(rows.side(row), entry.map(|entry| entry.side));
        }
    }
}

#[test]
fn rows_of_several_blocks_are_found_and_used_again() {
    let rows = Rows::new(DIMENSION);
    for number in 0..9000 {
        assert_eq!(rows.insert(Some(&encoded(number)), side(number)).unwrap(), number as u32);
    }
    assert_eq!((rows.len(), rows.capacity_rows()), (9000, 3 * 4096));
    let query = Query::new(Metric::Cosine, &vector(8999), DIMENSION).unwrap();
    let best =
        rows.top_k(&query, 1, None, &Filter { stamp_below: Some(8999), ..Filter::default() }, &mut |candidate| {
            Some(query.similarity(&vector(candidate.side.stamp)))
        });
    let similarities = (0..8999).map(|number| query.similarity(&vector(number)));
    assert_eq!(best[0].similarity, similarities.fold(f32::NEG_INFINITY, f32::max));
    for row in (0..9000).rev() {
        assert_eq!(rows.remove(row).unwrap().stamp, u64::from(row));
    }
    assert!(rows.is_empty());
    assert_eq!(rows.insert(Some(&encoded(1)), side(1)).unwrap(), 0);
    assert_eq!(rows.capacity_rows(), 3 * 4096);
}

#[test]
fn rows_without_vectors_are_all_visited() {
    let rows = Rows::new(0);
    for number in 0..5000 {
        rows.insert(None, side(number)).unwrap();
    }
    let mut stamps = 0;
    let flow = rows.each(&Filter { signature_all: 3, ..Filter::default() }, &mut |candidate| {
        stamps += 1;
        assert_eq!(candidate.side.signature & 3, 3);
        if stamps == 1000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((flow, stamps), (ControlFlow::Break(()), 1000));
}

#[test]
fn codes_of_another_dimension_are_refused() {
    let rows = Rows::new(DIMENSION + 1);
    for encoded in [Some(&encoded(1)), None] {
        let error = rows.insert(encoded, side(1)).unwrap_err();
        assert!(matches!(error, RowsError::WrongDimension { expected: 25, .. }), "{error}");
    }
    assert_eq!((rows.len(), rows.capacity_rows()), (0, 0));
}

/// Stops the others also if a check fails, so that a failure is not a hang.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writers put vectors and sides of the same number into rows, over each other and anew. Whatever a reader sees, the bounds are of the vector that the
/// side names. A torn row, of new codes and an old side, would show bounds of another vector.
#[test]
fn bounds_are_always_of_the_vector_that_the_side_names() {
    let rows = Rows::new(DIMENSION);
    for number in 0..200 {
        rows.insert(Some(&encoded(number)), side(number)).unwrap();
    }
    let (stop, looks, writes) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (rows, stop, writes) = (&rows, &stop, &writes);
            scope.spawn(move || {
                let mut state = thread + 1;
                while !stop.load(Ordering::Relaxed) {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let (row, number) = ((state >> 33) as u32 % 200, (state >> 40) % 400);
                    if state >> 62 == 0 {
                        if rows.remove(row).is_some() {
                            rows.insert(Some(&encoded(number)), side(number)).unwrap();
                        }
                    } else {
                        rows.replace(row, Some(&encoded(number)), side(number)).unwrap();
                    }
                    writes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for thread in 0..2u64 {
            let (rows, looks) = (&rows, &looks);
            let stop = &stop;
            scope.spawn(move || {
                let _stop = StopAtEnd(stop);
                for round in 0..300 {
                    let query = Query::new(Metric::Cosine, &vector(round * 7 % 400 + thread), DIMENSION).unwrap();
                    let check = |row, side: &Side, lower: f32, upper: f32| {
                        assert_eq!(side.owner[1], !side.stamp, "row {row}: a side of two");
                        let similarity = query.similarity(&vector(side.stamp));
                        assert!(lower <= similarity && similarity <= upper, "row {row}: bounds of another vector");
                        looks.fetch_add(1, Ordering::Relaxed);
                    };
                    let _ = rows.range(&query, 0.2, &Filter::default(), &mut |candidate| {
                        check(candidate.row, &candidate.side, candidate.lower, candidate.upper);
                        ControlFlow::Continue(())
                    });
                    rows.top_k(&query, 5, None, &Filter::default(), &mut |candidate| {
                        check(candidate.row, &candidate.side, candidate.lower, candidate.upper);
                        Some(query.similarity(&vector(candidate.side.stamp)))
                    });
                }
            });
        }
    });
    println!("{looks:?} looks, {writes:?} writes");
    assert!(looks.into_inner() > 0 && writes.into_inner() > 0);
    assert_eq!(rows.len(), 200);
}

/// A row that nobody touches is visited by every scan, whatever is written around it.
#[test]
fn a_row_that_stays_is_never_missed() {
    let rows = Rows::new(DIMENSION);
    let stays: Vec<u32> = (0..50).map(|_| rows.insert(Some(&encoded(7)), side(7)).unwrap()).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (rows, stop) = (&rows, &stop);
        scope.spawn(move || {
            let mut others = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                for number in 0..600 {
                    others.push(rows.insert(Some(&encoded(number % 400)), side(number)).unwrap());
                }
                for row in others.drain(..) {
                    rows.remove(row).unwrap();
                }
            }
        });
        let _stop = StopAtEnd(stop);
        let query = Query::new(Metric::Cosine, &vector(7), DIMENSION).unwrap();
        for _ in 0..300 {
            let mut seen = Vec::new();
            let _ = rows.range(&query, 1.0, &Filter::default(), &mut |candidate| {
                seen.push(candidate.row);
                ControlFlow::Continue(())
            });
            assert!(stays.iter().all(|row| seen.contains(row)));
        }
    });
}
