//! What an OpenAI-compatible endpoint is sent, and what may come back.

use crate::embedder::EmbedError;
use crate::unit::normalise;
use serde::{Deserialize, Serialize};

const MESSAGE_CHARACTERS_MAX: usize = 200;

/// The body of a request.
#[derive(Serialize)]
pub(super) struct Question<'t> {
    pub(super) model: &'t str,
    pub(super) input: &'t [&'t str],
    /// Some endpoints would choose base64.
    pub(super) encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    /// Which input this is; where it is missing, the order counts.
    index: Option<usize>,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Refusal {
    error: RefusalError,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RefusalError {
    Object { message: String },
    Text(String),
}

/// The vectors of an answer to `count` texts, unit length, in the order of the texts.
///
/// # Errors
/// [`EmbedError::BadAnswer`] if they are not all there exactly once, alike in dimension, finite and of some length.
pub(super) fn vectors(body: &[u8], count: usize) -> Result<Vec<Vec<f32>>, EmbedError> {
    let bad = |reason: String| EmbedError::BadAnswer { reason };
    let answer: Answer = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    if answer.data.len() != count {
        return Err(bad(format!("{} embeddings for {count} texts", answer.data.len())));
    }
    let mut vectors = vec![Vec::new(); count];
    for (position, item) in answer.data.into_iter().enumerate() {
        let index = item.index.unwrap_or(position);
        let place = vectors.get_mut(index).filter(|place| place.is_empty());
        let Some(place) = place else {
            return Err(bad(format!("the index {index} is out of range or there twice")));
        };
        *place = normalise(item.embedding).ok_or_else(|| bad(format!("embedding {index} has no direction")))?;
    }
    if let Some(other) = vectors.iter().find(|vector| vector.len() != vectors[0].len()) {
        return Err(bad(format!("embeddings of dimension {} and {} in one answer", vectors[0].len(), other.len())));
    }
    Ok(vectors)
}

/// What a refusal says, in one line of reasonable length.
pub(super) fn refusal(body: &[u8]) -> String {
    let message = match serde_json::from_slice(body) {
        Ok(Refusal { error: RefusalError::Object { message } | RefusalError::Text(message) }) => message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let one_line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.chars().filter(|character| !character.is_control()).take(MESSAGE_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(body: &str, count: usize) -> String {
        match vectors(body.as_bytes(), count) {
            Err(EmbedError::BadAnswer { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn embeddings_are_put_in_the_order_of_the_texts_and_normalised() {
        let body = br#"{"data":[{"index":1,"embedding":[0,2]},{"index":0,"embedding":[3,4]}],"model":"m","usage":{}}"#;
        assert_eq!(vectors(body, 2), Ok(vec![vec![0.6, 0.8], vec![0.0, 1.0]]));
        assert_eq!(vectors(br#"{"data":[{"embedding":[1]},{"embedding":[-1]}]}"#, 2), Ok(vec![vec![1.0], vec![-1.0]]));
    }

    #[test]
    fn an_answer_that_is_not_whole_is_refused() {
        assert_eq!(reason(r#"{"data":[]}"#, 1), "0 embeddings for 1 texts");
        let twice = r#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}"#;
        assert_eq!(reason(twice, 2), "the index 0 is out of range or there twice");
        assert_eq!(
            reason(r#"{"data":[{"index":7,"embedding":[1]}]}"#, 1),
            "the index 7 is out of range or there twice"
        );
        let dimensions = r#"{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[1,2]}]}"#;
        assert_eq!(reason(dimensions, 2), "embeddings of dimension 1 and 2 in one answer");
        for without_direction in ["[]", "[0,0]", "[1e39]"] {
            let body = format!(r#"{{"data":[{{"index":0,"embedding":{without_direction}}}]}}"#);
            assert_eq!(reason(&body, 1), "embedding 0 has no direction");
        }
        assert!(reason(r#"{"data":[{"index":0,"embedding":"AAAA"}]}"#, 1).contains("invalid type"));
        assert!(reason("<html>", 1).contains("expected value"));
    }

    #[test]
    fn a_refusal_is_shown_in_one_short_line() {
        assert_eq!(refusal(br#"{"error":{"message":"no such\n model","type":"x"}}"#), "no such model");
        assert_eq!(refusal(br#"{"error":"busy"}"#), "busy");
        assert_eq!(refusal(b"<b>Bad\r\n Gateway</b>"), "<b>Bad Gateway</b>");
        assert_eq!(refusal("x".repeat(5000).as_bytes()).len(), MESSAGE_CHARACTERS_MAX);
        assert_eq!(refusal(b""), "");
    }
}
