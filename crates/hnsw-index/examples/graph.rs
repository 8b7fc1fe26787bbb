//! How fast the graph is built, searched and changed, and what it finds.
//!
//! `cargo run --release -p sutra-hnsw-index --example graph -- [name=value]...`
//!
//! - `base`, `queries`: .npy files of f32 (what `benches/meaning/graph_peers.py` reads too); else vectors are generated
//! - `n`, `dim`: how many rows, how many dimensions if generated
//! - `m`, `efc`: links and candidates while building
//! - `churn`: after the first report, so many per cent of the rows are replaced by themselves in random order
//! - `graph`: `hnsw_rs` measures that crate instead, with the feature `reference`
//! - `lock`: `all` locks the rows once a search or change, `each` for each comparison, as where writers must not wait
//!
//! One thread; seconds are its time on a processor, so that a busy machine disturbs less. Recall is counted against exact cosine: of the true ten, how many are among the first ten that a search
//! returns, and how many among the first twenty, which is what rescoring twenty candidates gives.
#![expect(clippy::unwrap_used, reason = "a program for the terminal")]

use std::collections::BTreeMap;
use std::time::Instant;
use sutra_hnsw_index::graph::{ByCodes, ByRows, Graph, Hnsw, Options, Wanted};
use sutra_hnsw_index::{Candidate, Encoded, Filter, Metric, Query, Rows, Side};

const EFS: [usize; 10] = [20, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const K: usize = 10;
const QUERIES: usize = 1000;
/// Rows that are removed, then inserted again, before the next ones.
const BATCH: usize = 100;

fn main() {
    let arguments: BTreeMap<String, String> = std::env::args()
        .skip(1)
        .map(|argument| argument.split_once('=').map(|(name, value)| (name.into(), value.into())).unwrap())
        .collect();
    let number = |name: &str, default: usize| arguments.get(name).map_or(default, |value| value.parse().unwrap());
    let (base, queries, dim) = match (arguments.get("base"), arguments.get("queries")) {
        (Some(base), Some(queries)) => {
            let ((base, dim), (queries, _)) = (read_npy(base), read_npy(queries));
            (base, queries, dim)
        }
        (Some(_), None) | (None, Some(_) | None) => {
            let (n, dim) = (number("n", 20_000), number("dim", 384));
            let mut vectors = generate(n + QUERIES, dim);
            let queries = vectors.split_off(n * dim);
            (vectors, queries, dim)
        }
    };
    let n = number("n", base.len() / dim).min(base.len() / dim);
    let bytes = |vector: &[f32]| vector.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let queries: Vec<Query> =
        queries.chunks(dim).take(QUERIES).map(|q| Query::new(Metric::Cosine, &bytes(q), dim).unwrap()).collect();
    let rows = Rows::new(dim);
    let base = bytes(&base[..n * dim]);
    let vectors: Vec<&[u8]> = base.chunks(dim * 4).collect();
    for vector in &vectors {
        rows.insert(Some(&Encoded::new(vector, dim).unwrap()), Side::default()).unwrap();
    }
    let exact = |query: &Query| {
        let mut score = |candidate: &Candidate| Some(query.similarity(vectors[candidate.row as usize]));
        rows.top_k(query, K, None, &Filter::default(), &mut score).iter().map(|hit| hit.row).collect::<Vec<u32>>()
    };
    let start = Clock::start();
    let truth: Vec<Vec<u32>> = queries.iter().map(exact).collect();
    println!("{n} x {dim}; exact scan {:.0} queries/s", queries.len() as f64 / start.seconds());

    let options = Options {
        neighbours: number("m", Options::default().neighbours),
        ef_construction: number("efc", Options::default().ef_construction),
        ..Options::default()
    };
    let lock_each = arguments.get("lock").is_some_and(|lock| lock == "each");
    let trial = Trial { rows, queries, truth, lock_each, changes: number("churn", 0) * n / 100 };
    match arguments.get("graph").map(String::as_str) {
        #[cfg(feature = "reference")]
        Some("hnsw_rs") => drop(trial.run(sutra_hnsw_index::graph::reference::HnswRs::new(options, n))),
        Some(other) => println!("there is no graph `{other}` in this program"),
        None => println!("at the end: {:?}", trial.run(Hnsw::new(options)).shape()),
    }
}

struct Trial {
    rows: Rows,
    queries: Vec<Query>,
    truth: Vec<Vec<u32>>,
    lock_each: bool,
    changes: usize,
}

impl Trial {
    fn distances(&self) -> ByCodes<'_> {
        ByCodes::new(self.rows.read_all(), Metric::Cosine)
    }

    /// Builds, searches, changes and searches again.
    fn run<G: for<'a> Graph<ByCodes<'a>> + for<'a> Graph<ByRows<'a>>>(&self, mut graph: G) -> G {
        let n = self.rows.len() as u32;
        let start = Clock::start();
        for row in 0..n {
            graph.insert(&self.distances(), row);
        }
        let inserts = f64::from(n) / start.seconds();
        let bytes = Graph::<ByCodes<'_>>::memory_bytes(&graph) as f64 / f64::from(n);
        println!("built: {inserts:.0} inserts/s, {bytes:.0} bytes a row");
        self.report(&graph);
        let mut state = 1_u64;
        let (mut removing, mut inserting) = (0.0, 0.0);
        for _ in 0..self.changes.div_ceil(BATCH) {
            let mut rows: Vec<u32> = (0..BATCH)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    ((state >> 33) % u64::from(n)) as u32
                })
                .collect();
            let start = Clock::start();
            rows.retain(|row| graph.remove(&self.distances(), *row));
            removing += start.seconds();
            let start = Clock::start();
            rows.into_iter().for_each(|row| graph.insert(&self.distances(), row));
            inserting += start.seconds();
        }
        if self.changes > 0 {
            let (removals, inserts) = (self.changes as f64 / removing, self.changes as f64 / inserting);
            println!("{} rows replaced: {removals:.0} removals/s, {inserts:.0} inserts/s", self.changes);
            self.report(&graph);
        }
        graph
    }

    fn report<G: for<'a> Graph<ByCodes<'a>> + for<'a> Graph<ByRows<'a>>>(&self, graph: &G) {
        for ef in EFS {
            let wanted = Wanted::new(2 * K, ef);
            let (mut best, mut ten, mut twenty) = (f64::INFINITY, 0, 0);
            for _ in 0..5 {
                (ten, twenty) = (0, 0);
                let start = Clock::start();
                for (query, truth) in self.queries.iter().zip(&self.truth) {
                    let found = if self.lock_each {
                        graph.search(&ByRows::new(&self.rows, Metric::Cosine), query, wanted, &mut |_| true).rows
                    } else {
                        graph.search(&self.distances(), query, wanted, &mut |_| true).rows
                    };
                    ten += found.iter().take(K).filter(|hit| truth.contains(&hit.0)).count();
                    twenty += found.iter().filter(|hit| truth.contains(&hit.0)).count();
                }
                best = start.seconds().min(best);
            }
            let count = self.queries.len() as f64;
            let share = |found: usize| found as f64 / (count * K as f64);
            let (ten, twenty) = (share(ten), share(twenty));
            println!("  ef {ef:4}  recall@10 {ten:.4}, rescored {twenty:.4}  {:8.0} queries/s", count / best);
        }
    }
}

/// Seconds that this thread ran; where the system does not say, seconds that passed.
struct Clock {
    ran: Option<u64>,
    began: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { ran: Self::nanoseconds(), began: Instant::now() }
    }

    fn seconds(&self) -> f64 {
        match (self.ran, Self::nanoseconds()) {
            (Some(before), Some(now)) => (now - before) as f64 / 1e9,
            (None, _) | (_, None) => self.began.elapsed().as_secs_f64(),
        }
    }

    fn nanoseconds() -> Option<u64> {
        std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
    }
}

/// The values of a two-dimensional .npy file of little-endian f32, and the length of a row.
fn read_npy(path: &str) -> (Vec<f32>, usize) {
    let bytes = std::fs::read(path).unwrap();
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..start]);
    assert!(header.contains("'<f4'") && header.contains("False"), "{path}: not rows of f32: {header}");
    let shape = header.split('(').nth(1).and_then(|rest| rest.split(')').next()).unwrap();
    let dim = shape.split(',').nth(1).unwrap().trim().parse().unwrap();
    (bytes[start..].chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect(), dim)
}

/// Unit vectors in topics, and within topics in groups of near ones: roughly how embeddings of questions lie.
fn generate(count: usize, dim: usize) -> Vec<f32> {
    let mut state = 0x5EED_u64;
    let mut random = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let mut direction = move |weight: f32| {
        let normal =
            |bits: u64| ((0..4).map(|part| bits >> (16 * part) & 0xffff).sum::<u64>() as f32 - 131_070.0) / 37_837.0;
        // A spectrum that falls: few dimensions carry most of what distinguishes texts.
        let vector: Vec<f32> =
            (0..dim).map(|at| weight * (1.0 + at as f32 / 2.0).powf(-0.27) * normal(random())).collect();
        (vector, random())
    };
    let topics: Vec<_> = (0..150).map(|_| direction(0.6).0).collect();
    let groups: Vec<_> = (0..count / 12 + 1).map(|_| direction(0.55)).collect();
    let mut vectors = Vec::with_capacity(count * dim);
    for _ in 0..count {
        let (own, pick) = direction(1.0);
        let (group, topic) = &groups[pick as usize % groups.len()];
        let nearness = 0.2 + (pick >> 40 & 0xff) as f32 / 400.0;
        let topic = &topics[*topic as usize % topics.len()];
        let start = vectors.len();
        vectors.extend(own.iter().zip(group).zip(topic).map(|((own, group), topic)| own * nearness + group + topic));
        let norm = vectors[start..].iter().map(|x| x * x).sum::<f32>().sqrt();
        vectors[start..].iter_mut().for_each(|x| *x /= norm);
    }
    vectors
}
