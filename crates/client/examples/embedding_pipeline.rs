//! A thousand texts become vectors, of which nine hundred are known: one round trip finds those, and the model is asked for the rest alone. A restart of the
//! pipeline asks it for nothing.
//!
//! `cargo run -p sutra-cache-client --example embedding_pipeline`

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use sutra_cache::embedded::Embedded;
use sutra_cache_client::{Cache, Embeddings};

const TEXTS: usize = 1000;
const KNOWN: usize = 900;
/// Texts that the model takes at once.
const BATCH: usize = 32;
const DIMENSION: usize = 384;
const COST_USD: f64 = 0.000_02;
const MONTH: Duration = Duration::from_secs(30 * 86_400);

type Done = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Done {
    story(&mut std::io::stdout()).await
}

/// Stands for a model that is paid for each text, and counts how many it gets.
#[derive(Debug, Clone, Default)]
struct Model {
    texts: Arc<AtomicUsize>,
    batches: Arc<AtomicUsize>,
}

impl Model {
    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, std::io::Error> {
        self.texts.fetch_add(texts.len(), Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(texts.iter().map(|text| vector(text)).collect())
    }

    fn said(&self) -> String {
        let (texts, batches) = (self.texts.swap(0, Ordering::Relaxed), self.batches.swap(0, Ordering::Relaxed));
        format!("{texts} texts computed in {batches} batches")
    }
}

pub(crate) async fn story(out: &mut (impl Write + Send)) -> Done {
    let shard = Embedded::start(&[])?;
    let options = Embeddings::new("minilm").dimension(DIMENSION).batch(BATCH).cost(COST_USD).ttl(MONTH);
    let texts: Vec<String> = (0..TEXTS).map(|number| format!("Paragraph {number} of the handbook.")).collect();
    let model = Model::default();

    let yesterday = Cache::connect(&shard.url()).await?;
    embed(&yesterday, &options, &model, &texts[..KNOWN]).await?;
    writeln!(out, "yesterday: {}", model.said())?;

    // Another process, which has nothing of its own yet.
    let today = Cache::connect(&shard.url()).await?;
    let began = Instant::now();
    let vectors = embed(&today, &options, &model, &texts).await?;
    writeln!(out, "today: {}", model.said())?;
    writeln!(out, "took {} ms, most of it the model", began.elapsed().as_millis())?;
    for (text, got) in texts.iter().zip(&vectors) {
        if *got != vector(text) {
            return Err(format!("the vector of {text:?} is another's").into());
        }
    }
    writeln!(out, "all {} vectors are those of their texts, in order", vectors.len())?;

    embed(&today, &options, &model, &texts).await?;
    writeln!(out, "again: {}", model.said())?;
    let stats = today.stats();
    writeln!(out, "{} from this process, {} from the shard, {} missing", stats.l1_hits, stats.l2_hits, stats.misses)?;
    let cost = &stats.models["minilm"];
    writeln!(out, "saved {:.4} USD, spent {:.4} USD", cost.saved_usd, cost.spent_usd)?;
    Ok(())
}

async fn embed(
    cache: &Cache,
    options: &Embeddings,
    model: &Model,
    texts: &[String],
) -> Result<Vec<Vec<f32>>, sutra_cache_client::Error> {
    cache.embeddings(options.clone(), texts, |texts| model.embed(texts)).await
}

/// What the model makes of a text.
fn vector(text: &str) -> Vec<f32> {
    let sum: u32 = text.bytes().map(u32::from).sum();
    (0..DIMENSION).map(|place| (sum as f32 + place as f32).sin() + text.len() as f32).collect()
}
