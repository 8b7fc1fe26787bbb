//! What a graph promises: near rows are found, whatever came and went before, and nobody is lost.

use crate::support::{Clusters, Plain, Random};
use sutra_hnsw_index::graph::{Graph, Hnsw, Options, StalePlan, Wanted};

const DIMENSION: usize = 24;

fn any(_row: u32) -> bool {
    true
}

fn built(rows: &Plain, options: Options) -> Hnsw {
    let mut graph = Hnsw::new(options);
    for row in 0..rows.rows.len() as u32 {
        graph.insert(rows, row);
    }
    graph
}

/// The share of the true ten nearest that a search finds; a row at the distance of the tenth is as good as it.
fn recall_at_10(graph: &Hnsw, rows: &Plain, random: &mut Random, source: &mut Clusters, ef: usize) -> f64 {
    let (queries, k) = (200, 10);
    let mut found = 0;
    for _ in 0..queries {
        let query = source.vector(random);
        let nearest = rows.nearest(&query, k);
        let last = nearest.last().map_or(0.0, |last| last.1);
        found +=
            graph.search(rows, &query, Wanted::new(k, ef), &mut any).rows.iter().filter(|hit| hit.1 <= last).count();
    }
    found as f64 / (queries * k) as f64
}

#[test]
fn the_nearest_rows_are_found() {
    let seed = 1;
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut source = Clusters::new(&mut random, DIMENSION, 60);
    let rows = Plain { rows: (0..6000).map(|_| Some(source.vector(&mut random))).collect() };
    let graph = built(&rows, Options::default());
    assert_eq!(graph.validate(), Ok(()));
    println!("{:?}", graph.shape());
    let recall = recall_at_10(&graph, &rows, &mut random, &mut source, 64);
    assert!(recall >= 0.99, "recall {recall}");
}

#[test]
fn every_row_is_found_by_its_own_vector() {
    let mut random = Random(2);
    let rows = Plain::clustered(&mut random, 4000, DIMENSION, 40);
    let graph = built(&rows, Options::default());
    for row in 0..4000_u32 {
        let query = rows.rows[row as usize].clone().unwrap();
        let found = graph.search(&rows, &query, Wanted::new(1, 64), &mut any);
        assert_eq!(found.rows.first().map(|hit| hit.0), Some(row));
    }
}

#[test]
fn recall_holds_while_rows_come_and_go_ten_times_over() {
    let seed = 3;
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut source = Clusters::new(&mut random, DIMENSION, 60);
    let count = 3000;
    let mut rows = Plain { rows: (0..count).map(|_| Some(source.vector(&mut random))).collect() };
    let mut graph = built(&rows, Options::default());
    println!("built {:?}", graph.shape());
    for round in 0..10 {
        for _ in 0..count {
            let row = random.below(count);
            assert!(Graph::<Plain>::remove(&mut graph, &rows, row as u32));
            rows.rows[row] = Some(source.vector(&mut random));
            graph.insert(&rows, row as u32);
        }
        assert_eq!(graph.validate(), Ok(()));
        let recall = recall_at_10(&graph, &rows, &mut random, &mut source, 64);
        println!("round {round}: recall {recall} {:?}", graph.shape());
        assert!(recall >= 0.99, "round {round}: recall {recall}");
    }
}

#[test]
fn recall_holds_when_half_of_the_rows_go_and_when_nearly_all_do() {
    let seed = 4;
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut source = Clusters::new(&mut random, DIMENSION, 60);
    let count = 6000;
    let mut rows = Plain { rows: (0..count).map(|_| Some(source.vector(&mut random))).collect() };
    let mut graph = built(&rows, Options::default());
    for left in [3000, 300, 30, 1, 0] {
        while Graph::<Plain>::len(&graph) > left {
            let row = random.below(count);
            let was_in = Graph::<Plain>::contains(&graph, row as u32);
            assert_eq!(graph.remove(&rows, row as u32), was_in);
            rows.rows[row] = None;
        }
        assert_eq!(graph.validate(), Ok(()), "{left} left");
        println!("{left}: {:?}", graph.shape());
        if left >= 30 {
            let recall = recall_at_10(&graph, &rows, &mut random, &mut source, 64);
            assert!(recall >= 0.99, "{left} left: recall {recall}");
        }
    }
    assert_eq!(graph.search(&rows, &[0.0; DIMENSION], Wanted::new(3, 10), &mut any).rows, []);
}

#[test]
fn thousands_of_copies_of_one_vector_hide_nobody() {
    let seed = 5;
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut rows = Plain::clustered(&mut random, 6000, DIMENSION, 40);
    let copied = rows.rows[0].clone();
    for row in 0..6000 {
        if row % 2 == 0 {
            rows.rows[row] = copied.clone();
        }
    }
    let mut graph = built(&rows, Options::default());
    assert_eq!(graph.validate(), Ok(()));
    for row in (0..6000).step_by(3) {
        graph.remove(&rows, row as u32);
        rows.rows[row] = None;
    }
    assert_eq!(graph.validate(), Ok(()));
    println!("{:?}", graph.shape());
    let mut lost = 0;
    for row in (0..6000_u32).filter(|row| row % 2 == 1 && row % 3 != 0) {
        let query = rows.rows[row as usize].clone().unwrap();
        let found = graph.search(&rows, &query, Wanted::new(1, 64), &mut any);
        lost += usize::from(found.rows.first().map(|hit| hit.0) != Some(row));
    }
    assert!(lost <= 5, "{lost} of 1333 are not found by their own vectors");
}

#[test]
fn refused_rows_are_made_up_for_by_farther_ones() {
    let seed = 6;
    println!("seed {seed}");
    let mut random = Random(seed);
    let rows = Plain::clustered(&mut random, 5000, DIMENSION, 40);
    let graph = built(&rows, Options::default());
    for _ in 0..50 {
        let query = rows.rows[random.below(5000)].clone().unwrap();
        let mut asked = std::collections::HashSet::new();
        let wanted = Wanted { k: 10, ef: 32, ef_max: 2048 };
        let found = graph.search(&rows, &query, wanted, &mut |row| {
            assert!(asked.insert(row), "row {row} was offered twice");
            row % 50 == 7
        });
        assert!(found.complete);
        assert_eq!(found.rows.len(), 10);
        assert!(found.rows.iter().all(|hit| hit.0 % 50 == 7));
        assert!(found.rows.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        let mut nearest = rows.nearest(&query, 5000);
        nearest.retain(|hit| hit.0 % 50 == 7);
        let right = found.rows.iter().filter(|hit| hit.1 <= nearest[9].1).count();
        assert!(right >= 8, "{right} of 10");
    }
}

#[test]
fn a_search_says_whether_it_gave_up_or_has_seen_everything() {
    let mut random = Random(7);
    let rows = Plain::clustered(&mut random, 3000, DIMENSION, 40);
    let graph = built(&rows, Options::default());
    let query = rows.rows[5].clone().unwrap();
    let mut offered = 0;
    let given_up = graph.search(&rows, &query, Wanted { k: 2, ef: 16, ef_max: 100 }, &mut |_| {
        offered += 1;
        false
    });
    assert!(!given_up.complete && given_up.rows.is_empty());
    assert!((100..=200).contains(&offered), "{offered}");
    let seen_all = graph.search(&rows, &query, Wanted { k: 2, ef: 16, ef_max: 4096 }, &mut |row| row == 2999);
    assert!(seen_all.complete);
    assert_eq!(seen_all.rows.iter().map(|hit| hit.0).collect::<Vec<_>>(), [2999]);
}

#[test]
fn a_plan_is_good_for_the_graph_it_was_made_for_and_for_no_later_one() {
    let mut random = Random(8);
    let rows = Plain::clustered(&mut random, 10, DIMENSION, 2);
    let mut graph = built(&rows, Options::default());
    let (first, second) = (graph.plan_remove(&rows, 3).unwrap(), graph.plan_remove(&rows, 4).unwrap());
    assert_eq!(graph.apply(first), Ok(()));
    assert_eq!(graph.apply(second), Err(StalePlan));
    assert!(!Graph::<Plain>::contains(&graph, 3) && Graph::<Plain>::contains(&graph, 4));
    assert!(graph.plan_remove(&rows, 3).is_none());
    assert_eq!(graph.validate(), Ok(()));
}

#[test]
fn rows_that_vanished_without_notice_cost_recall_only() {
    let mut random = Random(9);
    let mut rows = Plain::clustered(&mut random, 2000, DIMENSION, 20);
    let mut graph = built(&rows, Options::default());
    let gone = |row: usize| row.is_multiple_of(3);
    for row in (0..2000).filter(|row| gone(*row)) {
        rows.rows[row] = None;
    }
    let query = rows.rows[1].clone().unwrap();
    let found = graph.search(&rows, &query, Wanted::new(10, 64), &mut |row| !gone(row as usize));
    assert_eq!(found.rows.first().map(|hit| hit.0), Some(1));
    for row in (0..2000_u32).filter(|row| gone(*row as usize)) {
        assert!(graph.remove(&rows, row));
    }
    assert_eq!(graph.validate(), Ok(()));
}
