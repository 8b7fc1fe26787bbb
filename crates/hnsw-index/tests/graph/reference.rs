//! Ours and hnsw_rs keep the same promises; ours finds as much.

use crate::support::{Clusters, Plain, Random};
use sutra_hnsw_index::graph::reference::HnswRs;
use sutra_hnsw_index::graph::{Graph, Hnsw, Options, Wanted};

const DIMENSION: usize = 24;

#[test]
fn both_graphs_find_the_nearest_rows_among_those_that_were_not_removed_or_refused() {
    let seed = 1;
    println!("seed {seed}");
    let mut random = Random(seed);
    let mut source = Clusters::new(&mut random, DIMENSION, 30);
    let count = 2000;
    let mut rows = Plain { rows: (0..count).map(|_| Some(source.vector(&mut random))).collect() };
    let mut ours = Hnsw::new(Options::default());
    let mut theirs = HnswRs::new(Options::default(), count);
    let mut graphs: [&mut dyn Graph<Plain>; 2] = [&mut ours, &mut theirs];
    for graph in &mut graphs {
        (0..count as u32).for_each(|row| graph.insert(&rows, row));
    }
    for row in (0..count).step_by(3) {
        rows.rows[row] = (row % 2 == 0).then(|| source.vector(&mut random));
        for graph in &mut graphs {
            assert!(graph.remove(&rows, row as u32) && !graph.remove(&rows, row as u32));
            if row % 2 == 0 {
                graph.insert(&rows, row as u32);
            }
        }
    }
    let left = (0..count).filter(|row| rows.rows[*row].is_some()).count();
    for graph in &graphs {
        assert_eq!(graph.len(), left);
        assert!(graph.contains(1) && !graph.contains(3) && graph.contains(6));
        let (mut found, mut wanted) = (0, 0);
        for _ in 0..100 {
            let query = source.vector(&mut random);
            let mut nearest = rows.nearest(&query, count);
            nearest.retain(|hit| hit.0 % 4 != 1);
            let last = nearest[9].1;
            let result = graph.search(&rows, &query, Wanted::new(10, 64), &mut |row| row % 4 != 1);
            assert!(result.complete && result.rows.iter().all(|hit| hit.0 % 4 != 1));
            found += result.rows.iter().filter(|hit| hit.1 <= last).count();
            wanted += 10;
        }
        let recall = f64::from(found as u32) / f64::from(wanted);
        assert!(recall >= 0.97, "recall {recall}");
        assert!(graph.memory_bytes() > 100 * left);
    }
}
