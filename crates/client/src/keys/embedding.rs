//! The key of a vector: its model and its text.

use super::digest::{DIGITS, Digest};
use super::{KeyError, Mismatch, same};
use std::fmt;

/// The longest name of a model, which is the name of a space on the shard.
pub const MODEL_BYTES_MAX: usize = 255;

const FORM: &str = "emb:{model}:{sha256}";
const FRONT: &str = "emb:";

/// `emb:{model}:{sha256 of the text}`: where the vector of a text by a model is kept.
///
/// The model stands there as it is, `:` included: the digest behind it has a fixed length, so that its end is known all the same. This
/// is what the shard computes for `CACHE.EMB.MGET` and `CACHE.EMB.MSET`, and must stay so.
///
/// ```
/// use sutra_cache_client::keys::EmbeddingKey;
///
/// let key = EmbeddingKey::new("m", "abc")?;
/// assert_eq!(key.as_str(), "emb:m:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
/// assert_eq!(EmbeddingKey::parse(key.as_bytes())?.model(), "m");
/// # Ok::<(), sutra_cache_client::keys::KeyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmbeddingKey(String);

impl EmbeddingKey {
    /// Of a text's exact bytes: white space and case count, since embedders see them.
    ///
    /// # Errors
    /// If the model's name has not 1 to [`MODEL_BYTES_MAX`] bytes.
    pub fn new(model: &str, text: impl AsRef<[u8]>) -> Result<EmbeddingKey, KeyError> {
        EmbeddingKey::of_digest(model, &Digest::of(text.as_ref()))
    }

    /// Of a text whose digest is known.
    ///
    /// # Errors
    /// If the model's name has not 1 to [`MODEL_BYTES_MAX`] bytes.
    pub fn of_digest(model: &str, text: &Digest) -> Result<EmbeddingKey, KeyError> {
        check(model)?;
        let mut key = String::with_capacity(FRONT.len() + model.len() + 1 + DIGITS);
        key.push_str(FRONT);
        key.push_str(model);
        key.push(':');
        text.push_to(&mut key);
        Ok(EmbeddingKey(key))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// If it is none of this kind.
    pub fn parse(key: &[u8]) -> Result<EmbeddingKey, KeyError> {
        let rest = key.strip_prefix(FRONT.as_bytes()).ok_or(KeyError::Form(FORM))?;
        let colon = rest.len().checked_sub(DIGITS + 1).ok_or(KeyError::Form(FORM))?;
        let (model, digits) = rest.split_at(colon);
        let digits = digits.strip_prefix(b":").ok_or(KeyError::Form(FORM))?;
        let model = std::str::from_utf8(model).map_err(|_| KeyError::NotText("model"))?;
        EmbeddingKey::of_digest(model, &Digest::parse(digits)?)
    }

    /// How the keys of all vectors of a model begin. Those of a model whose name goes on with a `:` begin like this too.
    #[must_use]
    pub fn prefix(model: &str) -> String {
        format!("{FRONT}{model}:")
    }

    /// Whether this is the key of that text by that model.
    ///
    /// # Errors
    /// If it is not: which part differs.
    pub fn verify(&self, model: &str, text: impl AsRef<[u8]>) -> Result<(), Mismatch> {
        same(self.model() == model, "model")?;
        let mut digits = String::with_capacity(DIGITS);
        Digest::of(text.as_ref()).push_to(&mut digits);
        same(self.0.ends_with(&digits), "text")
    }

    /// The model's name.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.0[FRONT.len()..self.0.len() - DIGITS - 1]
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl AsRef<[u8]> for EmbeddingKey {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for EmbeddingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(model: &str) -> Result<(), KeyError> {
    match model.len() {
        1..=MODEL_BYTES_MAX => Ok(()),
        bytes => Err(KeyError::ModelLength { bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_key_is_the_one_that_the_shard_computes() {
        // `printf %s 'What is a shard?' | sha256sum`, behind the name as it is.
        let key = EmbeddingKey::new("openai:text-embedding-3-small", "What is a shard?").unwrap();
        let digits = "94c454ed04b008a52443048e3c29c1abc984aec488200f762303725c8c36c30a";
        assert_eq!(key.as_str(), format!("emb:openai:text-embedding-3-small:{digits}"));
        assert_eq!(key.model(), "openai:text-embedding-3-small");
    }

    #[test]
    fn what_is_no_key_of_an_embedding_says_why() {
        let digits = Digest::of(b"").to_string();
        let parse = |key: String| EmbeddingKey::parse(key.as_bytes()).map(|key| key.model().to_owned());
        assert_eq!(parse(format!("emb:m:{digits}")), Ok("m".to_owned()));
        assert_eq!(parse(format!("emb::{digits}")), Err(KeyError::ModelLength { bytes: 0 }));
        assert_eq!(parse(format!("emb:{digits}")), Err(KeyError::Form(FORM)));
        assert_eq!(parse(format!("cache:m:{digits}")), Err(KeyError::Form(FORM)));
        assert_eq!(parse(format!("emb:m:{}", digits.to_uppercase())), Err(KeyError::NotADigest));
        assert_eq!(parse("emb:m:".to_owned()), Err(KeyError::Form(FORM)));
        assert!(EmbeddingKey::new("", "text").is_err());
        assert!(EmbeddingKey::new(&"m".repeat(256), "text").is_err());
        let text = [b"emb:\xff:", digits.as_bytes()].concat();
        assert_eq!(EmbeddingKey::parse(&text), Err(KeyError::NotText("model")));
    }

    #[test]
    fn a_key_is_verified_part_by_part() {
        let key = EmbeddingKey::new("m", "text").unwrap();
        assert_eq!(key.verify("m", "text"), Ok(()));
        assert_eq!(key.verify("n", "text"), Err(Mismatch { part: "model" }));
        assert_eq!(key.verify("m", "Text"), Err(Mismatch { part: "text" }));
    }

    proptest! {
        #[test]
        fn a_key_is_read_as_it_was_made_and_different_parts_make_different_keys(
            a in ("[a:]{1,3}", "[ab:]{0,2}"), b in ("[a:]{1,3}", "[ab:]{0,2}"),
        ) {
            let key = |(model, text): &(String, String)| EmbeddingKey::new(model, text).expect("a model has a name");
            prop_assert_eq!(EmbeddingKey::parse(key(&a).as_bytes()), Ok(key(&a)));
            prop_assert_eq!(a == b, key(&a) == key(&b));
            prop_assert!(key(&a).as_str().starts_with(&EmbeddingKey::prefix(&a.0)));
        }

        #[test]
        fn no_bytes_make_parsing_panic_and_what_is_read_is_written_the_same(key in "emb:[a:]{0,3}[0-9a-f:]{63,66}") {
            if let Ok(read) = EmbeddingKey::parse(key.as_bytes()) {
                prop_assert_eq!(read.as_str(), key);
            }
        }
    }
}
