//! How long scans take, over generated clustered vectors, or over the rows of `$SUTRA_DATA/dev.npy` if that is set.
//!
//! `cargo run --release -p sutra-hnsw-index --example scan -- [rows] [dimension]`
#![expect(clippy::unwrap_used, reason = "a program for the terminal")]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

use sutra_hnsw_index::kernel::Kernels;
use sutra_hnsw_index::{Encoded, Filter, Metric, Query, Rows, Side};

const QUERIES: usize = 200;
const THRESHOLDS: [f32; 5] = [0.70, 0.80, 0.85, 0.90, 0.95];

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (count, dimension) = (arguments.next().unwrap_or(100_000), arguments.next().unwrap_or(384));
    println!("kernels: {:?}", Kernels::get());
    if let Some((vectors, dimension)) = from_file() {
        println!("dev.npy: {} rows, {dimension} dimensions", vectors.len() / dimension);
        measure(vectors, dimension);
    } else {
        println!("SUTRA_DATA is not set; generated vectors only");
    }
    println!("generated: {count} rows, {dimension} dimensions");
    measure(generate(count + QUERIES, dimension), dimension);
}

/// The last rows are the queries, the others the base.
fn measure(vectors: Vec<f32>, dimension: usize) {
    let bytes: Vec<u8> = vectors.iter().flat_map(|value| value.to_le_bytes()).collect();
    drop(vectors);
    let mut vectors: Vec<&[u8]> = bytes.chunks_exact(dimension * 4).collect();
    let queries = vectors.split_off(vectors.len() - QUERIES);
    let rows = Rows::new(dimension);
    let start = now();
    for (index, vector) in vectors.iter().enumerate() {
        let side = Side { stamp: index as u64, ..Side::default() };
        rows.insert(Some(&Encoded::new(vector, dimension).unwrap()), side).unwrap();
    }
    let each = (now() - start) * 1e6 / vectors.len() as f64;
    let some = &vectors[..vectors.len().min(20_000)];
    let encode = best(|| {
        for vector in some {
            black_box(Encoded::new(vector, dimension).unwrap());
        }
    });
    let encode = encode * 1e6 / some.len() as f64;
    println!(
        "  insert {each:.2} us a row, of it encoding {encode:.2}; {} bytes a row",
        rows.memory_bytes() / rows.len()
    );
    for metric in [Metric::Cosine, Metric::Euclidean] {
        let prepare =
            || -> Vec<Query> { queries.iter().map(|query| Query::new(metric, query, dimension).unwrap()).collect() };
        // The clock is coarse: several times.
        let each = best(|| (0..20).for_each(|_| drop(black_box(prepare())))) * 1e6 / (20 * QUERIES) as f64;
        println!("  {metric:?}: {each:.1} us to prepare a query");
        let queries = prepare();
        for cosine in THRESHOLDS {
            let min = match metric {
                Metric::Euclidean => 1.0 - (2.0 - 2.0 * cosine).sqrt(),
                Metric::Cosine | Metric::InnerProduct => cosine,
            };
            let (mut found, mut rescored) = (0, 0);
            let query = best(|| {
                (found, rescored) = (0, 0);
                for query in &queries {
                    let _ = rows.range(query, min, &Filter::default(), &mut |candidate| {
                        let certain = candidate.lower >= min;
                        rescored += usize::from(!certain);
                        found += usize::from(certain || query.similarity(vectors[candidate.row as usize]) >= min);
                        ControlFlow::Continue(())
                    });
                }
            }) / QUERIES as f64;
            println!(
                "  range {cosine:.2}: {:.3} ms a query, {:.2} ns a row; found {:.1}, rescored {:.1}",
                query * 1e3,
                query * 1e9 / vectors.len() as f64,
                found as f64 / QUERIES as f64,
                rescored as f64 / QUERIES as f64
            );
        }
        for (k, min) in [(1, Some(0.85)), (1, None), (10, None), (100, None)] {
            let mut scored = 0;
            let query = best(|| {
                scored = 0;
                for query in &queries {
                    black_box(rows.top_k(query, k, min, &Filter::default(), &mut |candidate| {
                        scored += 1;
                        Some(query.similarity(vectors[candidate.row as usize]))
                    }));
                }
            }) / QUERIES as f64;
            println!(
                "  top {k} from {min:?}: {:.3} ms a query; scored {:.1}",
                query * 1e3,
                scored as f64 / QUERIES as f64
            );
        }
    }
}

/// Seconds that this thread has spent on a processor; on systems that do not tell, seconds.
fn now() -> f64 {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = told.and_then(|told| told.split(' ').next()?.parse::<f64>().ok());
    ns.map_or_else(|| START.elapsed().as_secs_f64(), |ns| ns / 1e9)
}

/// The shortest of several runs, in seconds: what others do on the machine only adds.
fn best(mut run: impl FnMut()) -> f64 {
    let mut once = || {
        let start = now();
        run();
        now() - start
    };
    (0..5).map(|_| once()).fold(f64::INFINITY, f64::min)
}

/// Unit vectors around centres around centres: a query has near neighbours, as paraphrases of cached questions have. The spectrum decays as
/// that of sentence embeddings does, and a common direction lifts the cosine of strangers a little above zero.
fn generate(count: usize, dimension: usize) -> Vec<f32> {
    let mut random = Random(1);
    let spectrum: Vec<f32> = (0..dimension)
        .map(|i| ((1.0 + i as f32 / 2.0).powf(-0.55) * (1.0 - (i as f32 / dimension as f32).powi(2))).sqrt())
        .collect();
    // In place of a rotation: the directions of the spectrum in an order that puts large and small ones side by side.
    let place = |i: usize| (i * 197 + 31) % dimension;
    let mut vectors = Vec::with_capacity(count * dimension);
    let draw = |random: &mut Random| -> Vec<f32> {
        let mut vector = vec![0.0; dimension];
        for (i, size) in spectrum.iter().enumerate() {
            vector[place(i)] += size * random.normal();
        }
        vector
    };
    let topics: Vec<Vec<f32>> = (0..400).map(|_| draw(&mut random)).collect();
    let leaves: Vec<(usize, Vec<f32>)> =
        (0..count / 4 + 1).map(|_| ((random.next() % 400) as usize, draw(&mut random))).collect();
    for _ in 0..count {
        let (topic, leaf) = &leaves[(random.next() as usize) % leaves.len()];
        let near = (random.next() % 1000) as f32 / 1000.0;
        let own = draw(&mut random);
        let mut vector: Vec<f32> = (0..dimension)
            .map(|i| 0.65 * topics[*topic][i] + 0.75 * (near.sqrt() * leaf[i] + (1.0 - near).sqrt() * own[i]))
            .collect();
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
        vectors.extend(vector);
    }
    vectors
}

/// The rows of a `.npy` file of little-endian `f32`.
fn from_file() -> Option<(Vec<f32>, usize)> {
    let path = std::path::Path::new(&std::env::var_os("SUTRA_DATA")?).join("dev.npy");
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let header_bytes = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..header_bytes]).into_owned();
    assert!(header.contains("<f4"), "{header}");
    let shape = header.split("'shape': (").nth(1)?.split(')').next()?;
    let dimension = shape.split(',').nth(1)?.trim().parse().ok()?;
    let value = |value: &[u8]| f32::from_le_bytes([value[0], value[1], value[2], value[3]]);
    Some((bytes[header_bytes..].chunks_exact(4).map(value).collect(), dimension))
}

/// A generator whose whole state is the seed (Steele, Lea, Flood: SplitMix).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Nearly normal: the sum of four uniform numbers, with variance one.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|part| (bits >> (part * 16)) & 0xFFFF).sum();
        (sum as f32 - 131_070.0) / (65_535.0 * (4.0f32 / 12.0).sqrt())
    }
}
