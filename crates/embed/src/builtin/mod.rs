//! The embedder that is compiled in: a static model, microseconds per text, no network.
//!
//! A vector is the sum of the vectors of a text's pieces, normalised. The model was distilled from a transformer
//! (`model/NOTICE`): good for topics and near-duplicates, weaker than its teacher on fine paraphrase, and blind to
//! order and negation.

mod pieces;
mod table;
mod unicode;
mod words;

use crate::embedder::{EmbedError, Embedder};
use pieces::Pieces;
use std::cell::RefCell;
use std::sync::LazyLock;
use table::Table;
use words::Folding;

/// Components of each vector.
const DIMENSION: usize = 256;

static FILE: &[u8] = include_bytes!("../../model/static-256.semb");

/// Made at the first text and not at start, which every restart of a cache would wait for.
static MODEL: LazyLock<Model> = LazyLock::new(Model::open);

/// The built-in embedder. All of them share one model.
#[derive(Debug, Clone, Copy, Default)]
pub struct Builtin;

struct Model {
    folding: Folding,
    pieces: Pieces,
    table: Table,
}

/// Room for one text, kept by each thread.
#[derive(Default)]
struct Scratch {
    word: String,
    rows: Vec<u16>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Builtin {
    /// Components of each vector.
    pub const DIMENSION: usize = DIMENSION;

    /// The name under which spaces remember it. The number rises if its vectors ever change.
    pub const NAME: &str = "builtin:static-256-v1";

    /// Builds the tables of the model now, in about a millisecond, so that the first text does not wait for them.
    pub fn warm() {
        LazyLock::force(&MODEL);
    }

    /// The unit vector of a text.
    ///
    /// # Errors
    /// [`EmbedError::NoKnownTokens`], with index 0.
    pub fn vector(text: &str) -> Result<[f32; DIMENSION], EmbedError> {
        SCRATCH.with_borrow_mut(|scratch| {
            MODEL.append_rows(text, scratch);
            MODEL.vector(&scratch.rows)
        })
    }

    /// The numbers of the pieces that a text is cut into, unknown words left out; the same as those of the teacher's
    /// own tokeniser. For tests and for whoever wants to explain a similarity.
    #[must_use]
    pub fn pieces(text: &str) -> Vec<u16> {
        let mut scratch = Scratch::default();
        MODEL.append_rows(text, &mut scratch);
        scratch.rows
    }
}

impl Embedder for Builtin {
    fn name(&self) -> &str {
        Builtin::NAME
    }

    fn dimension(&self) -> Option<usize> {
        Some(DIMENSION)
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn embed(&self, texts: &[&str], out: &mut Vec<Vec<f32>>) -> Result<(), EmbedError> {
        out.clear();
        for (index, text) in texts.iter().enumerate() {
            match Builtin::vector(text) {
                Ok(vector) => out.push(vector.to_vec()),
                Err(_) => {
                    out.clear();
                    return Err(EmbedError::NoKnownTokens { index });
                }
            }
        }
        Ok(())
    }
}

impl Model {
    fn open() -> Model {
        let table = Table::open(FILE);
        Model { folding: Folding::new(), pieces: Pieces::new(&table), table }
    }

    fn append_rows(&self, text: &str, scratch: &mut Scratch) {
        let Scratch { word, rows } = scratch;
        rows.clear();
        self.folding.words(text, word, |word| self.pieces.append(word, rows));
    }

    fn vector(&self, rows: &[u16]) -> Result<[f32; DIMENSION], EmbedError> {
        let mut sum = [0.0; DIMENSION];
        for row in rows {
            self.table.add(*row, &mut sum);
        }
        let norm = sum.iter().map(|component| component * component).sum::<f32>().sqrt();
        // Rows that cancel out leave no direction either.
        if !norm.is_normal() {
            return Err(EmbedError::NoKnownTokens { index: 0 });
        }
        for component in &mut sum {
            *component /= norm;
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_whole() {
        let stored = u32::from_le_bytes(FILE[24..28].try_into().expect("four bytes"));
        assert_eq!(crc32fast::hash(&FILE[32..]), stored);
    }

    #[test]
    fn a_text_without_known_words_has_no_vector() {
        for text in ["", " \n", "\u{1f980}", &"a".repeat(101)] {
            assert_eq!(Builtin::vector(text), Err(EmbedError::NoKnownTokens { index: 0 }), "{text:?}");
        }
        let mut out = vec![vec![1.0]];
        assert_eq!(Builtin.embed(&["card", ""], &mut out), Err(EmbedError::NoKnownTokens { index: 1 }));
        assert!(out.is_empty());
    }

    #[test]
    fn vectors_come_in_the_order_of_their_texts() {
        let mut out = Vec::new();
        Builtin.embed(&["my card", "a phone"], &mut out).unwrap();
        assert_eq!(out[0], Builtin::vector("my card").unwrap());
        assert_eq!(out[1], Builtin::vector("a phone").unwrap());
        assert_eq!(out.len(), 2);
    }
}
