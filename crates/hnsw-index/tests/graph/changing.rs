//! Every change keeps every rule, also where rows are copies of each other; and searches run beside it.

use crate::support::{Plain, Random};
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use sutra_hnsw_index::graph::{Graph, Hnsw, Options, Wanted};

#[test]
fn every_rule_holds_after_every_change_of_small_graphs() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut random = Random(seed);
        // From all different to three vectors only; few links, so that they are short everywhere.
        let kinds = [3, 10, 1000][random.below(3)];
        let vectors: Vec<Vec<f32>> = (0..kinds).map(|_| (0..4).map(|_| random.normal()).collect()).collect();
        let count = 150;
        let mut rows = Plain { rows: vec![None; count] };
        let mut graph = Hnsw::new(Options { neighbours: 4, ef_construction: 12, seed });
        let mut live = 0;
        let growing = 60 + random.below(40);
        for _ in 0..600 {
            let row = random.below(count);
            let was_in = rows.rows[row].is_some();
            if random.below(100) < growing {
                rows.rows[row] = Some(vectors[random.below(kinds)].clone());
                graph.insert(&rows, row as u32);
                live += usize::from(!was_in);
            } else {
                // The graph hears of it first or last: both happen.
                let vector = (random.below(2) == 0).then(|| rows.rows[row].take()).flatten();
                assert_eq!(graph.remove(&rows, row as u32), was_in);
                drop((vector, rows.rows[row].take()));
                live -= usize::from(was_in);
            }
            assert_eq!((Graph::<Plain>::len(&graph), graph.validate()), (live, Ok(())), "seed {seed}");
        }
        let found = graph.search(&rows, &vectors[0], Wanted::new(count, count), &mut |_| true);
        assert_eq!((found.rows.len(), found.complete), (live, true), "all are in one piece, so all are found");
    }
}

#[test]
fn searches_beside_changes_find_rows_that_stay() {
    let seed = 11;
    println!("seed {seed}");
    let mut random = Random(seed);
    let count = 1500;
    let rows = Plain::clustered(&mut random, count, 16, 20);
    let mut graph = Hnsw::new(Options::default());
    (0..count as u32).for_each(|row| graph.insert(&rows, row));
    let stays = |row: usize| row.is_multiple_of(2);
    let graph = RwLock::new(graph);
    let done = AtomicBool::new(false);
    let missed = std::thread::scope(|scope| {
        let searchers: Vec<_> = (0..2_u64)
            .map(|thread| {
                let (graph, rows, done) = (&graph, &rows, &done);
                scope.spawn(move || {
                    let mut random = Random(seed + 1 + thread);
                    let (mut searches, mut missed) = (0, 0);
                    while !done.load(Ordering::Relaxed) || searches < 500 {
                        let row = random.below(count / 2) * 2;
                        let Some(query) = &rows.rows[row] else { continue };
                        let graph = graph.read().unwrap();
                        let found = graph.search(rows, query, Wanted::new(1, 64), &mut |row| stays(row as usize));
                        missed += usize::from(found.rows.first().map(|hit| hit.0) != Some(row as u32));
                        searches += 1;
                    }
                    (searches, missed)
                })
            })
            .collect();
        for _ in 0..1500 {
            let row = random.below(count / 2) as u32 * 2 + 1;
            let plan = {
                let graph = graph.read().unwrap();
                graph.plan_remove(&rows, row).unwrap_or_else(|| graph.plan_insert(&rows, row))
            };
            graph.write().unwrap().apply(plan).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        searchers.into_iter().map(|searcher| searcher.join().unwrap()).collect::<Vec<_>>()
    });
    for (searches, missed) in missed {
        assert!(missed * 100 <= searches, "{missed} of {searches} searches missed");
    }
    assert_eq!(graph.into_inner().unwrap().validate(), Ok(()));
}
