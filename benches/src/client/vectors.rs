//! What a worker process does with batches of embeddings.

use super::library::Many;
use super::worker::{answer_lines, cpu_ns, number};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use sutra_cache_client::keys::EmbeddingKey;
use sutra_cache_client::{Cache, Client};
use tokio::runtime::Runtime;

/// The model whose vectors are read.
pub(super) const MODEL: &str = "bench";
/// Their dimensions.
pub(super) const DIM: usize = 768;

/// A text of about the length of a question.
pub(super) fn text(number: usize) -> String {
    format!("What does the handbook say about the return of goods of order {number:09}, and who pays for it?")
}

pub(super) fn vector(number: usize) -> Vec<f32> {
    (0..DIM).map(|at| ((number * 31 + at * 7) % 1000) as f32 / 1000.0 - 0.5).collect()
}

/// `read TEXTS MILLISECONDS` is answered by `BATCHES ELAPSED_NS CPU_NS`; `fill TEXTS KNOWN ROUND`, which computes what is not known (in no
/// time), by `COMPUTED ELAPSED_NS`. Both ask the shard for everything: there is no first tier.
pub(super) fn ours(runtime: &Runtime, address: SocketAddr) -> io::Result<()> {
    let url = format!("sutra://{address}");
    let client = runtime.block_on(Client::connect(&url)).map_err(io::Error::other)?;
    let cache = Cache::builder(&url).map_err(io::Error::other)?.without_l1();
    let cache = runtime.block_on(cache.connect()).map_err(io::Error::other)?;
    answer_lines(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["read", texts, milliseconds] => {
                let texts: Vec<String> = (0..number(texts)?).map(text).collect();
                runtime.block_on(batches(number(milliseconds)?, async || {
                    let vectors = client.embeddings_get(MODEL, &texts).await.map_err(io::Error::other)?;
                    checked(vectors.iter().map(|vector| vector.as_deref()))
                }))
            }
            ["fill", texts, known, round] => {
                runtime.block_on(fill(&cache, number(texts)?, number(known)?, number(round)?))
            }
            _ => Err(io::Error::other(format!("{line}: not understood"))),
        }
    })
}

/// The same reads by a library that has no embeddings: keys by SHA-256, MGET, and bytes to numbers.
pub(super) fn peer<L: Many>(runtime: &Runtime, library: &L) -> io::Result<()> {
    answer_lines(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let ["read", texts, milliseconds] = words[..] else {
            return Err(io::Error::other(format!("{line}: not understood")));
        };
        let texts: Vec<String> = (0..number(texts)?).map(text).collect();
        runtime.block_on(batches(number(milliseconds)?, async || {
            let keys: Vec<String> = texts
                .iter()
                .map(|text| EmbeddingKey::new(MODEL, text).map(|key| key.as_str().to_owned()))
                .collect::<Result<_, _>>()
                .map_err(io::Error::other)?;
            let vectors: Vec<Option<Vec<f32>>> =
                library.get_many(&keys).await?.into_iter().map(|value| value.map(|value| floats(&value))).collect();
            checked(vectors.iter().map(|vector| vector.as_deref()))
        }))
    })
}

async fn batches(milliseconds: usize, batch: impl AsyncFn() -> io::Result<()>) -> io::Result<String> {
    let (began, cpu_before) = (Instant::now(), cpu_ns());
    let mut count = 0;
    while began.elapsed() < Duration::from_millis(milliseconds as u64) {
        batch().await?;
        count += 1;
    }
    Ok(format!("{count} {} {}", began.elapsed().as_nanos(), cpu_ns() - cpu_before))
}

async fn fill(cache: &Cache, count: usize, known: usize, round: usize) -> io::Result<String> {
    // The last of the texts are new in every round.
    let number_of = |at: usize| if at < known { at } else { 1_000_000 * (round + 1) + at };
    let texts: Vec<String> = (0..count).map(|at| text(number_of(at))).collect();
    let computed = AtomicUsize::new(0);
    let began = Instant::now();
    let vectors = cache
        .embeddings(MODEL, &texts, async |missing: Vec<String>| {
            let first = computed.fetch_add(missing.len(), Ordering::Relaxed);
            Ok::<_, io::Error>((first..first + missing.len()).map(vector).collect())
        })
        .await
        .map_err(io::Error::other)?;
    let elapsed = began.elapsed().as_nanos();
    checked(vectors.iter().map(|vector| Some(&vector[..])))?;
    Ok(format!("{} {elapsed}", computed.load(Ordering::Relaxed)))
}

fn checked<'a>(mut vectors: impl Iterator<Item = Option<&'a [f32]>>) -> io::Result<()> {
    if vectors.all(|vector| vector.is_some_and(|vector| vector.len() == DIM)) {
        return Ok(());
    }
    Err(io::Error::other("a vector is missing, or has another dimension"))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("four bytes"))).collect()
}
