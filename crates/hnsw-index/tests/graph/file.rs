//! A saved graph comes back as it was; a damaged one comes back smaller, and never wrong.

use crate::support::{Plain, Random};
use sutra_hnsw_index::graph::{Graph, Hnsw, LoadError, Loaded, Options, Wanted};

const DIMENSION: usize = 16;

fn built(rows: &Plain, count: u32) -> Hnsw {
    let mut graph = Hnsw::new(Options { neighbours: 8, ef_construction: 40, ..Options::default() });
    (0..count).for_each(|row| graph.insert(rows, row));
    graph
}

fn saved(graph: &Hnsw) -> Vec<u8> {
    let mut bytes = Vec::new();
    graph.save(&mut bytes).expect("memory takes everything");
    bytes
}

fn load(bytes: &[u8]) -> Loaded {
    Hnsw::load(&mut &*bytes).expect("the header is sound")
}

fn len(graph: &Hnsw) -> usize {
    Graph::<Plain>::len(graph)
}

#[test]
fn a_saved_graph_finds_what_it_found_and_can_be_changed() {
    let mut random = Random(1);
    let rows = Plain::clustered(&mut random, 5000, DIMENSION, 30);
    let mut graph = built(&rows, 5000);
    for row in (0..5000).step_by(7) {
        graph.remove(&rows, row);
    }
    let Loaded { graph: mut again, blocks_lost, rows_lost } = load(&saved(&graph));
    assert_eq!((blocks_lost, rows_lost), (0, 0));
    assert_eq!(again.validate(), Ok(()));
    assert!(again.rows().eq(graph.rows()));
    assert_eq!(again.options(), graph.options());
    for row in (0..5000).step_by(50) {
        let query = rows.rows[row].clone().unwrap();
        let search = |graph: &Hnsw| graph.search(&rows, &query, Wanted::new(10, 256), &mut |_| true);
        assert_eq!(search(&again).rows[0], search(&graph).rows[0]);
    }
    for row in (0..5000).step_by(7) {
        again.insert(&rows, row);
    }
    assert_eq!((len(&again), again.validate()), (5000, Ok(())));
}

#[test]
fn an_empty_graph_is_saved_too() {
    let graph = built(&Plain { rows: Vec::new() }, 0);
    assert_eq!(len(&load(&saved(&graph)).graph), 0);
}

#[test]
fn a_damaged_block_costs_its_rows_and_few_others() {
    let mut random = Random(2);
    let rows = Plain::clustered(&mut random, 12_000, DIMENSION, 30);
    let mut bytes = saved(&built(&rows, 12_000));
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let Loaded { mut graph, blocks_lost, rows_lost } = load(&bytes);
    assert_eq!((blocks_lost, graph.validate()), (1, Ok(())));
    assert_eq!(len(&graph) + rows_lost, 12_000 - 4096);
    assert!(rows_lost < 100, "{rows_lost} rows were cut off");
    for row in 0..12_000 {
        if !Graph::<Plain>::contains(&graph, row) {
            graph.insert(&rows, row);
        }
    }
    assert_eq!((len(&graph), graph.validate()), (12_000, Ok(())));
}

#[test]
fn what_is_cut_off_at_the_end_is_lost_and_the_rest_is_used() {
    let mut random = Random(3);
    let rows = Plain::clustered(&mut random, 9000, DIMENSION, 30);
    let bytes = saved(&built(&rows, 9000));
    let Loaded { graph, blocks_lost, .. } = load(&bytes[..bytes.len() / 2]);
    assert_eq!((blocks_lost, graph.validate()), (2, Ok(())));
    assert!(len(&graph) > 3500, "{} left", len(&graph));
}

#[test]
fn whatever_sound_checksums_cover_the_graph_keeps_its_rules() {
    let seed = 4;
    println!("seed {seed}");
    let mut random = Random(seed);
    let rows = Plain::clustered(&mut random, 600, DIMENSION, 10);
    let bytes = saved(&built(&rows, 600));
    let header = 36;
    for _ in 0..30 {
        let mut bytes = bytes.clone();
        let end = bytes.len() - 4;
        for _ in 0..1 + random.below(400) {
            let used = 512 + 600 * 16 * 4;
            bytes[header + random.below(used)] = random.next() as u8;
        }
        let checksum = crc32fast::hash(&bytes[header..end]);
        bytes[end..].copy_from_slice(&checksum.to_le_bytes());
        let Loaded { mut graph, blocks_lost, .. } = load(&bytes);
        assert_eq!((blocks_lost, graph.validate()), (0, Ok(())));
        let query = rows.rows[random.below(600)].clone().unwrap();
        graph.search(&rows, &query, Wanted::new(10, 64), &mut |_| true);
        for row in 0..600 {
            graph.insert(&rows, row);
        }
        assert_eq!(graph.validate(), Ok(()));
    }
}

#[test]
fn what_is_no_graph_is_refused() {
    let bytes = saved(&built(&Plain { rows: Vec::new() }, 0));
    assert!(matches!(Hnsw::load(&mut &b""[..]), Err(LoadError::NotAGraph)));
    for at in 0..36 {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        assert!(matches!(Hnsw::load(&mut &*bytes), Err(LoadError::NotAGraph)), "byte {at}");
    }
    let mut newer = bytes;
    newer[5] = 2;
    let checksum = crc32fast::hash(&newer[..32]);
    newer[32..36].copy_from_slice(&checksum.to_le_bytes());
    assert!(matches!(Hnsw::load(&mut &*newer), Err(LoadError::Version([2, 0, 0]))));
}

/// If this fails, files that were written before cannot be read any more: the version must change.
#[test]
fn the_bytes_of_version_1_stay_what_they_are() {
    let rows = Plain { rows: (0..3).map(|row| Some(vec![row as f32, 1.0])).collect() };
    let mut graph = Hnsw::new(Options { neighbours: 4, ef_construction: 16, seed: 1 });
    (0..3).for_each(|row| graph.insert(&rows, row));
    let bytes = saved(&graph);
    assert_eq!(bytes[..32], *b"SGRPH\x01\0\0\x01\0\0\0\0\0\0\0\x04\0\0\0\x10\0\0\0\0\0\0\0\x01\0\0\0");
    assert_eq!(bytes[36..40], [7, 0, 0, 0]);
    assert_eq!((bytes.len(), crc32fast::hash(&bytes)), (153_992, 3_350_441_678));
}
