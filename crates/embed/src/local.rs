//! A MiniLM-class transformer that this process runs itself, from a directory with `config.json`, `tokenizer.json` and
//! `model.safetensors`: mean pooling over a text's tokens, then unit length, as sentence-transformers does it.
//!
//! Some milliseconds for a short text on one core, so it belongs on a thread that may wait.

use crate::embedder::{EmbedError, Embedder};
use crate::unit::normalise;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use std::fmt;
use std::path::Path;
use tokenizers::{PaddingParams, Tokenizer, TruncationParams};

/// Texts that are computed together. More need more memory and are hardly faster.
const BATCH_TEXTS_MAX: usize = 16;

/// Tokens of a text that are looked at, as in the settings of the MiniLM models; the rest is cut off.
const TOKENS_MAX: usize = 256;

/// A transformer from a directory.
pub struct LocalEmbedder {
    name: String,
    dimension: usize,
    tokenizer: Tokenizer,
    model: BertModel,
}

impl LocalEmbedder {
    /// Reads the model into memory.
    ///
    /// # Errors
    /// [`EmbedError::Model`], with the file that is missing or wrong.
    pub fn open(directory: &Path) -> Result<LocalEmbedder, EmbedError> {
        let read = |file: &str| std::fs::read(directory.join(file)).map_err(|error| failed(file, error));
        let config: Config =
            serde_json::from_slice(&read("config.json")?).map_err(|error| failed("config.json", error))?;
        let mut tokenizer =
            Tokenizer::from_bytes(read("tokenizer.json")?).map_err(|error| failed("tokenizer.json", error))?;
        let max_length = TOKENS_MAX.min(config.max_position_embeddings);
        tokenizer
            .with_truncation(Some(TruncationParams { max_length, ..TruncationParams::default() }))
            .map_err(|error| failed("tokenizer.json", error))?;
        tokenizer.with_padding(Some(PaddingParams { pad_id: config.pad_token_id as u32, ..PaddingParams::default() }));
        // Read and not mapped: mapping is `unsafe`, and a file that changes beneath us would be too.
        let weights = VarBuilder::from_buffered_safetensors(read("model.safetensors")?, DType::F32, &Device::Cpu)
            .map_err(|error| failed("model.safetensors", error))?;
        let model = BertModel::load(weights, &config).map_err(|error| failed("model.safetensors", error))?;
        let folder = directory.canonicalize().unwrap_or_else(|_| directory.to_path_buf());
        let folder = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        Ok(LocalEmbedder { name: format!("local:{folder}"), dimension: config.hidden_size, tokenizer, model })
    }

    /// The vectors of a few texts.
    fn batch(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let encodings =
            self.tokenizer.encode_batch(texts.to_vec(), true).map_err(|error| failed("tokenizer.json", error))?;
        let rows = |of: fn(&tokenizers::Encoding) -> &[u32]| {
            let rows = encodings.iter().map(|encoding| Tensor::new(of(encoding), &Device::Cpu));
            Tensor::stack(&rows.collect::<Result<Vec<_>, _>>()?, 0)
        };
        let pooled = || {
            let ids = rows(tokenizers::Encoding::get_ids)?;
            let mask = rows(tokenizers::Encoding::get_attention_mask)?;
            // [texts, tokens, dimension]
            let states = self.model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
            let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
            let sum = states.broadcast_mul(&mask)?.sum(1)?;
            sum.broadcast_div(&mask.sum(1)?)?.to_vec2::<f32>()
        };
        let pooled = pooled().map_err(|error: candle_core::Error| failed("the model", error))?;
        let unit = |vector| normalise(vector).ok_or_else(|| failed("the model", "a vector without direction"));
        pooled.into_iter().map(unit).collect()
    }
}

impl Embedder for LocalEmbedder {
    fn name(&self) -> &str {
        &self.name
    }

    fn dimension(&self) -> Option<usize> {
        Some(self.dimension)
    }

    fn is_immediate(&self) -> bool {
        false
    }

    fn embed(&self, texts: &[&str], out: &mut Vec<Vec<f32>>) -> Result<(), EmbedError> {
        out.clear();
        // Such a text would get the vector of the marks around it, the same for all of them.
        if let Some(index) = texts.iter().position(|text| text.trim().is_empty()) {
            return Err(EmbedError::NoKnownTokens { index });
        }
        for batch in texts.chunks(BATCH_TEXTS_MAX) {
            match self.batch(batch) {
                Ok(vectors) => out.extend(vectors),
                Err(error) => {
                    out.clear();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

fn failed(what: &str, error: impl fmt::Display) -> EmbedError {
    EmbedError::Model { reason: format!("{what}: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_model_says_what_is_missing() {
        let Err(error) = LocalEmbedder::open(Path::new("/nonexistent")) else { panic!("there is no such model") };
        assert!(error.to_string().contains("config.json"), "{error}");
    }

    #[test]
    fn all_minilm_l6_v2_gives_its_published_similarities() {
        let Some(directory) = std::env::var_os("SUTRA_MINILM_DIR") else {
            eprintln!("not tested: SUTRA_MINILM_DIR (a directory with all-MiniLM-L6-v2) is unset");
            return;
        };
        let embedder = LocalEmbedder::open(Path::new(&directory)).unwrap();
        assert_eq!(embedder.dimension(), Some(384));
        let texts =
            ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"];
        let (mut together, mut alone) = (Vec::new(), Vec::new());
        embedder.embed(&texts, &mut together).unwrap();
        let similarity = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        for (other, expected) in [(1, 0.695), (2, 0.943), (3, 0.257)] {
            assert!((similarity(&together[0], &together[other]) - expected).abs() < 0.001);
        }
        // Padding must not be seen.
        embedder.embed(&texts[..1], &mut alone).unwrap();
        assert!(similarity(&alone[0], &together[0]) > 0.99999);
        assert_eq!(embedder.embed(&["x", " "], &mut alone), Err(EmbedError::NoKnownTokens { index: 1 }));
    }
}
