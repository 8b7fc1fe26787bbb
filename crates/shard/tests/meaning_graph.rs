//! A space that is large enough for a graph: lookups by the graph find what scans find, also while rows come and go.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail as the test does")]

use std::collections::BTreeSet;
use std::sync::Arc;
use sutra_shard::{
    Annotations, Filters, Guard, Limits, Lookup, Metric, Put, Quantization, Scope, Search, Shard, Space, SpaceOptions,
    VectorOf,
};

const NOW_MS: u64 = 1_790_000_000_000;
const DIMENSION: usize = 32;
const SEED: u64 = 11;

/// Vectors around few centres, as texts are around few topics.
fn vector(n: u64) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ SEED;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let centre = n % 40;
    (0..DIMENSION).flat_map(|i| (((centre * 37 + i as u64 * 11) as f32).sin() + 0.8 * next()).to_le_bytes()).collect()
}

fn set(shard: &Shard, space: &Arc<Space>, key: &str, vector: &[u8]) {
    let annotations = Annotations { space: Some(space), vector: VectorOf::Given(vector), ..Annotations::default() };
    let mut txn = shard.begin(Scope::Key(key.as_bytes()), NOW_MS);
    txn.put_annotated(0, key.as_bytes(), b"v", Put::default(), &annotations, None).unwrap();
    txn.commit().unwrap();
}

fn nearest(shard: &Shard, space: &Arc<Space>, vector: &[u8], exact: bool) -> (BTreeSet<Vec<u8>>, bool) {
    let query = space.query(vector).unwrap();
    let filters = Filters::default();
    let search = Search {
        db: 0,
        space,
        query: &query,
        count: 10,
        min: None,
        filters,
        exact,
        ef: None,
        with_values: false,
        reader: None,
    };
    let hits = shard.search(&search, NOW_MS).unwrap();
    let by_scan = hits.iter().all(|hit| hit.exact);
    (hits.into_iter().map(|hit| hit.key).collect(), by_scan)
}

fn recall(shard: &Shard, space: &Arc<Space>, from: u64) -> f64 {
    let mut found = 0;
    for n in from..from + 100 {
        let (by_graph, by_scan) = nearest(shard, space, &vector(n), false);
        assert!(!by_scan, "the graph was not asked");
        found += by_graph.intersection(&nearest(shard, space, &vector(n), true).0).count();
    }
    found as f64 / 1000.0
}

fn settled(shard: &Shard) {
    while shard.maintain_graphs(100) > 0 {}
}

#[test]
fn the_graph_finds_what_scans_find_also_after_churn_and_sees_each_write_at_once() {
    let shard = Shard::in_memory(&Limits { max_memory_bytes: 256 << 20, ..Limits::default() }, 7).unwrap();
    shard.set_graph_min_rows(1000);
    let options = SpaceOptions {
        dimension: DIMENSION,
        metric: Metric::Cosine,
        embedder: String::new(),
        quantization: Quantization::Cascade,
        guard: Guard::default(),
    };
    let space = shard.create_space(b"s", &options).unwrap();
    (0..3000).for_each(|n| set(&shard, &space, &format!("k{n}"), &vector(n)));
    assert!(nearest(&shard, &space, &vector(5), false).1, "without a graph a scan answers");
    settled(&shard);
    assert_eq!(space.graph_rows(), 3000);
    let fresh = recall(&shard, &space, 100_000);
    assert!(fresh >= 0.99, "recall {fresh}");
    for n in 0..1500u64 {
        shard.begin(Scope::All, NOW_MS).delete(0, format!("k{}", n * 2).as_bytes());
        set(&shard, &space, &format!("n{n}"), &vector(50_000 + n));
        if n % 100 == 0 {
            shard.maintain_graphs(64);
        }
    }
    set(&shard, &space, "just now", &vector(77_777));
    let query = space.query(&vector(77_777)).unwrap();
    let (filters, asked) = (Filters::default(), None);
    let lookup = Lookup {
        db: 0,
        space: &space,
        query: &query,
        min: 0.999,
        filters,
        asked,
        runner_up: false,
        exact: false,
        ef: None,
        reader: None,
    };
    let hit = shard.lookup(&lookup, NOW_MS).unwrap().unwrap();
    assert_eq!((hit.key.as_slice(), hit.exact), (&b"just now"[..], false));
    settled(&shard);
    let churned = recall(&shard, &space, 200_000);
    assert!(churned >= 0.99, "recall after churn {churned}");
    assert_eq!(space.graph_rows(), 3001);
    for n in 0..1500u64 {
        shard.begin(Scope::All, NOW_MS).delete(0, format!("n{n}").as_bytes());
        shard.begin(Scope::All, NOW_MS).delete(0, format!("k{}", n * 2 + 1).as_bytes());
    }
    settled(&shard);
    assert_eq!((space.graph_rows(), space.len()), (0, 1), "a small space has no graph");
    assert_eq!(shard.check_meaning(NOW_MS), Ok(1));
}
