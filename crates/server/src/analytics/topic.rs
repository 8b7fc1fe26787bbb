//! Which texts belong to a topic: those whose vectors are near to the topic's.
//!
//! # The threshold
//! A text belongs to a topic if its similarity (cosine, built-in embedder) is at least [`FLOOR`], and at least [`SHARE`] of the mean similarity of the
//! [`NEAREST`] distinct texts that are nearest to the topic. One fixed number cannot do: `lost card` has near-twins at 0.8, while a word for a whole field
//! (`financial`) is 0.2 to 0.5 near to what belongs to it and 0.0 to 0.1 to what does not.
//!
//! Measured on 25 topics over the 6,552 questions of Banking77 mixed with as many public questions of all kinds (topic = labels of the
//! same subject; means over topics; precision counts other banking labels as wrong, which asks more than a mixed cache does):
//!
//! | rule | precision | recall | F1 | foreign texts matched | `financial data`: precision, recall |
//! | --- | --- | --- | --- | --- | --- |
//! | at least 0.25 | 0.29 | 0.82 | 0.31 | 1.5 % | 0.81, 0.14 |
//! | at least 0.45 | 0.58 | 0.60 | 0.48 | 0.1 % | 0.55, 0.00 |
//! | share 0.4, floor 0.2 | 0.41 | 0.76 | 0.42 | 0.8 % | 0.81, 0.25 |
//! | **share 0.5, floor 0.25** | 0.53 | 0.66 | 0.49 | 0.3 % | 0.81, 0.14 |
//! | share 0.6, floor 0.2 | 0.66 | 0.56 | 0.52 | 0.2 % | 0.78, 0.07 |
//!
//! A share of 0.6 has the best F1 but hardly sees broad topics. Whoever wants another line draws it in the sentence: `similarity 0.6`.
//!
//! Vectors are made when a topic is first asked about, and kept as bytes (256 bytes a text) for as long as the text is in the ring.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// No text below this similarity belongs to a topic unless the sentence says so.
pub const FLOOR: f32 = 0.25;
/// The share of the nearest texts' similarity from which a text belongs.
pub const SHARE: f32 = 0.5;
/// How many nearest texts are looked at.
pub const NEAREST: usize = 10;

/// Makes a unit vector of a text; `None`: it has no word that the model knows.
pub type Embed<'e> = dyn Fn(&str) -> Option<Vec<f32>> + Send + Sync + 'e;

/// Vectors of texts that were asked about before.
#[derive(Debug, Default)]
pub struct Vectors(Mutex<HashMap<Box<[u8]>, Option<Code>>>);

/// A vector in bytes: the components are the bytes times the scale.
#[derive(Debug, Clone)]
struct Code {
    bytes: Box<[i8]>,
    scale: f32,
}

/// How near each text of the ring is to a topic.
#[derive(Debug, Clone, Default)]
pub struct Topic {
    similarities: HashMap<Box<[u8]>, f32>,
    /// From here on a text belongs.
    pub threshold: f32,
    /// The nearest text and its similarity.
    pub nearest: Option<(String, f32)>,
}

impl Topic {
    /// Whether a text belongs; an empty one never does.
    #[must_use]
    pub fn holds(&self, text: &[u8]) -> bool {
        self.similarities.get(text).is_some_and(|similarity| *similarity >= self.threshold)
    }
}

impl Vectors {
    /// Compares all these texts with a topic. `None`: the topic has no word that the model knows. Forgets vectors of texts that are not among these.
    pub fn compare<'t>(
        &self,
        topic: &str,
        similarity: Option<f32>,
        texts: impl Iterator<Item = &'t [u8]>,
        embed: &Embed<'_>,
    ) -> Option<Topic> {
        let wanted = embed(topic)?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = HashMap::with_capacity(known.len());
        let mut similarities = HashMap::new();
        for text in texts.filter(|text| !text.is_empty()) {
            if kept.contains_key(text) {
                continue;
            }
            let (name, code) = known
                .remove_entry(text)
                .unwrap_or_else(|| (Box::from(text), embed(&in_words(text)).map(|vector| Code::of(&vector))));
            if let Some(code) = &code {
                similarities.insert(name.clone(), code.similarity(&wanted));
            }
            kept.insert(name, code);
        }
        *known = kept;
        drop(known);
        let mut order: Vec<(&Box<[u8]>, f32)> =
            similarities.iter().map(|(text, similarity)| (text, *similarity)).collect();
        // Of texts equally near the first in the alphabet, so that an answer does not depend on the order of a hash map.
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let nearest = order.first().map(|(text, similarity)| (String::from_utf8_lossy(text).into_owned(), *similarity));
        let near: Vec<f32> = order.iter().take(NEAREST).map(|(_, similarity)| *similarity).collect();
        let mean = near.iter().sum::<f32>() / near.len().max(1) as f32;
        let threshold = similarity.unwrap_or_else(|| FLOOR.max(SHARE * mean));
        Some(Topic { similarities, threshold, nearest })
    }

    /// Texts whose vectors are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Code {
    fn of(vector: &[f32]) -> Code {
        let largest = vector.iter().fold(f32::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
        let scale = largest / 127.0;
        Code { bytes: vector.iter().map(|x| (x / scale).round() as i8).collect(), scale }
    }

    fn similarity(&self, wanted: &[f32]) -> f32 {
        self.bytes.iter().zip(wanted).map(|(byte, x)| f32::from(*byte) * x).sum::<f32>() * self.scale
    }
}

/// A text as the embedder shall read it: the words of a key (`faq:card_payment:7`) are words.
fn in_words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    if text.contains(' ') { text.into_owned() } else { text.replace(['_', ':', '/', '-', '.'], " ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two dimensions: how much a text is about cats, and the rest.
    fn cats(text: &str) -> Option<Vec<f32>> {
        let all = text.split_whitespace().count() as f32;
        let cats = text.split_whitespace().filter(|word| word.starts_with("cat")).count() as f32;
        (all > 0.0).then(|| {
            let x = cats / all;
            vec![x, (1.0 - x * x).sqrt()]
        })
    }

    fn compare(vectors: &Vectors, similarity: Option<f32>, texts: &[&str]) -> Topic {
        vectors.compare("cat", similarity, texts.iter().map(|text| text.as_bytes()), &cats).expect("a known word")
    }

    #[test]
    fn a_text_belongs_if_it_is_half_as_near_as_the_nearest() {
        let topic = compare(&Vectors::default(), None, &["cat", "cat food", "cat a b c", "dog", ""]);
        // (1 + 1/2 + 1/4 + 0) / 4 / 2 = 0.22: the floor.
        assert!((topic.threshold - FLOOR).abs() < 1e-6);
        assert!(topic.holds(b"cat") && topic.holds(b"cat food") && !topic.holds(b"dog") && !topic.holds(b""));
        assert_eq!(topic.nearest.map(|(text, _)| text), Some("cat".to_owned()));
        let topic = compare(&Vectors::default(), None, &["cat", "cats cat", "cat a b"]);
        assert!((topic.threshold - SHARE * (1.0 + 1.0 + 1.0 / 3.0) / 3.0).abs() < 0.01, "{}", topic.threshold);
        assert!(!topic.holds(b"cat a b"));
    }

    #[test]
    fn a_sentence_may_draw_another_line() {
        assert!(compare(&Vectors::default(), Some(0.1), &["cat", "cat a b c d e f"]).holds(b"cat a b c d e f"));
    }

    #[test]
    fn each_text_is_embedded_once_and_forgotten_with_the_ring() {
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let counting = |text: &str| {
            calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            cats(text)
        };
        let vectors = Vectors::default();
        let texts = [&b"cat"[..], b"dog", b"dog", b" "];
        for _ in 0..3 {
            vectors.compare("cat", None, texts.into_iter(), &counting);
        }
        assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 3 + 3, "three texts, and the topic each time");
        vectors.compare("cat", None, [&b"dog"[..]].into_iter(), &counting);
        assert_eq!(vectors.len(), 1);
    }

    #[test]
    fn bytes_are_as_near_as_the_vectors_they_stand_for() {
        let vector: Vec<f32> = (0..256).map(|i| ((i * 37 % 101) as f32 - 50.0) / 467.0).collect();
        let exact: f32 = vector.iter().map(|x| x * x).sum();
        assert!((Code::of(&vector).similarity(&vector) - exact).abs() < 0.005);
    }

    #[test]
    fn the_words_of_a_key_are_words() {
        assert_eq!(in_words(b"faq:card_payment:7"), "faq card payment 7");
        assert_eq!(in_words(b"What about e-mail?"), "What about e-mail?");
    }
}
