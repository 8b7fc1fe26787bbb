//! The key of the answer to a question.

use super::cache::{CacheKey, split};
use super::digest::{DIGITS, Digest};
use super::{KeyError, Mismatch, same};
use std::fmt;

const FORM: &str = "cache:{name}:{tenant}:q:{sha256}";
const MARK: &str = "q:";
/// What the digest is of. Another way of normalising gets another number: its keys are others.
const KIND: &[u8] = b"sutra question 1";

/// `cache:{name}:{tenant}:q:{sha256}`: where the answer to a question is kept.
///
/// The digest covers name, tenant, the [normalised](normalise) question, and session and model if they are given, each with its length
/// in front: an answer is found by whoever asks the same in the same session of the same model, and by nobody else.
///
/// ```
/// use sutra_cache_client::keys::QuestionKey;
///
/// let key = QuestionKey::new("answers", "acme").question("What is new?").session("s1").model("gpt").build();
/// let same = QuestionKey::new("answers", "acme").question("what  is new?").session("s1").model("gpt");
/// assert!(same.verify(key.as_bytes()).is_ok());
/// assert_eq!(QuestionKey::parse(key.as_bytes())?.tenant(), "acme");
/// # Ok::<(), sutra_cache_client::keys::KeyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionKey {
    name: String,
    tenant: String,
    digest: Digest,
    text: String,
}

/// The parts of a [`QuestionKey`].
#[derive(Debug, Clone)]
pub struct QuestionKeyBuilder<'a> {
    name: &'a str,
    tenant: &'a str,
    question: String,
    session: Option<&'a str>,
    model: Option<&'a str>,
}

/// A question without what its author did not mean: white space (Unicode's `White_Space`) at the ends is dropped and elsewhere becomes one
/// space, and letters become small (Unicode's lower case, which does not depend on a language). Accents and punctuation stay: they may
/// be what is asked about. Composed and decomposed accents differ; normalise them before if they come from different keyboards.
#[must_use]
pub fn normalise(question: &str) -> String {
    if question.is_ascii() { normalise_ascii(question) } else { normalise_unicode(question) }
}

impl QuestionKey {
    /// The beginning of a key in the cache of this name and tenant, of an empty question.
    #[expect(clippy::new_ret_no_self, reason = "a key has parts that may be left out: the builder is how it is made")]
    #[must_use]
    pub fn new<'a>(name: &'a str, tenant: &'a str) -> QuestionKeyBuilder<'a> {
        QuestionKeyBuilder { name, tenant, question: String::new(), session: None, model: None }
    }

    /// Reads a key. The question cannot be read back; it can be [verified](QuestionKeyBuilder::verify).
    ///
    /// # Errors
    /// If it is none of this kind.
    pub fn parse(key: &[u8]) -> Result<QuestionKey, KeyError> {
        let (name, tenant, tail) = split(key)?;
        let digits = tail.strip_prefix(MARK.as_bytes()).ok_or(KeyError::Form(FORM))?;
        Ok(QuestionKey::of_digest(name, tenant, Digest::parse(digits)?))
    }

    /// The cache's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose answer it is.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Of everything that was asked.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    fn of_digest(name: String, tenant: String, digest: Digest) -> QuestionKey {
        let mut text = CacheKey::prefix(&name, &tenant);
        text.reserve_exact(MARK.len() + DIGITS);
        text.push_str(MARK);
        digest.push_to(&mut text);
        QuestionKey { name, tenant, digest, text }
    }
}

impl<'a> QuestionKeyBuilder<'a> {
    /// What is asked. It is [normalised](normalise).
    #[must_use]
    pub fn question(mut self, question: &str) -> QuestionKeyBuilder<'a> {
        self.question = normalise(question);
        self
    }

    /// The conversation in which it is asked, if the answer depends on it.
    #[must_use]
    pub fn session(mut self, session: &'a str) -> QuestionKeyBuilder<'a> {
        self.session = Some(session);
        self
    }

    /// The model that is asked, if the answers of another one do not do.
    #[must_use]
    pub fn model(mut self, model: &'a str) -> QuestionKeyBuilder<'a> {
        self.model = Some(model);
        self
    }

    /// The key of all this.
    #[must_use]
    pub fn build(&self) -> QuestionKey {
        QuestionKey::of_digest(self.name.to_owned(), self.tenant.to_owned(), self.digest())
    }

    /// Whether a key that was read is the one of all this.
    ///
    /// # Errors
    /// If it is not: which part differs. `question` stands for session and model too. A key of another kind differs in `name`.
    pub fn verify(&self, key: &[u8]) -> Result<(), Mismatch> {
        let key = QuestionKey::parse(key).map_err(|_| Mismatch { part: "name" })?;
        same(key.name == self.name, "name")?;
        same(key.tenant == self.tenant, "tenant")?;
        same(key.digest == self.digest(), "question")
    }

    fn digest(&self) -> Digest {
        let parts = [Some(self.name), Some(self.tenant), Some(self.question.as_str()), self.session, self.model];
        Digest::of_parts(KIND, &parts.map(|part| part.map(str::as_bytes)))
    }
}

impl AsRef<[u8]> for QuestionKey {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for QuestionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether the rest of a key behind name and tenant makes it the key of a question.
pub(super) fn is_tail(rest: &[u8]) -> bool {
    rest.strip_prefix(MARK.as_bytes()).is_some_and(|digits| Digest::parse(digits).is_ok())
}

fn normalise_unicode(question: &str) -> String {
    let mut collapsed = String::with_capacity(question.len());
    for word in question.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed.to_lowercase()
}

/// The same for what most questions are made of, in one pass.
fn normalise_ascii(question: &str) -> String {
    let mut normal = String::with_capacity(question.len());
    let mut is_apart = false;
    for byte in question.bytes() {
        // Unicode's white space within ASCII, which has the vertical tab as well.
        if matches!(byte, b'\t'..=b'\r' | b' ') {
            is_apart = !normal.is_empty();
        } else {
            if is_apart {
                normal.push(' ');
                is_apart = false;
            }
            normal.push(char::from(byte.to_ascii_lowercase()));
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(question: &str) -> QuestionKey {
        QuestionKey::new("answers", "acme").question(question).build()
    }

    #[test]
    fn keys_stay_what_they_are() {
        // Computed apart from this code, by Python's hashlib, from the encoding that the digest's documentation describes.
        let digits = "5d86d21c995c83d021839a94646704d016db312ad7f269906aa862aca10995f0";
        let key = QuestionKey::new("answers", "acme:eu").question("What is\ta Shard? ").session("s1").build();
        assert_eq!(key.as_str(), format!("cache:answers:acme%3Aeu:q:{digits}"));
    }

    #[test]
    fn case_and_white_space_make_no_difference_and_everything_else_does() {
        assert_eq!(key("  What\u{a0}is\r\n\u{2003}new?"), key("what is NEW?"));
        assert_eq!(key("STRASSE \u{c4}"), key("strasse \u{e4}"));
        assert_ne!(key("what is new?"), key("whatis new?"));
        assert_ne!(key("what is new?"), key("what is new"));
        assert_ne!(key("resume"), key("r\u{e9}sum\u{e9}"));
        let asked = QuestionKey::new("answers", "acme").question("q");
        let all = [
            asked.build(),
            asked.clone().session("").build(),
            asked.clone().session("1").build(),
            asked.clone().model("1").build(),
            asked.clone().session("1").model("1").build(),
            QuestionKey::new("answers", "other").question("q").build(),
            QuestionKey::new("other", "acme").question("q").build(),
        ];
        let digests: std::collections::BTreeSet<_> = all.iter().map(|key| key.digest).collect();
        assert_eq!(digests.len(), all.len());
    }

    #[test]
    fn a_key_is_verified_part_by_part() {
        let asked = QuestionKey::new("a", "b").question("What?");
        let verify = |key: &QuestionKey| asked.verify(key.as_bytes());
        assert_eq!(verify(&asked.build()), Ok(()));
        assert_eq!(verify(&QuestionKey::new("x", "b").question("what?").build()), Err(Mismatch { part: "name" }));
        assert_eq!(verify(&QuestionKey::new("a", "x").question("what?").build()), Err(Mismatch { part: "tenant" }));
        assert_eq!(verify(&asked.clone().model("m").build()), Err(Mismatch { part: "question" }));
        assert!(asked.verify(b"cache:a:b:c").is_err());
    }

    proptest! {
        #[test]
        fn a_key_is_read_as_it_was_made(name in "[a:%]{0,3}", tenant in "[a:%]{0,3}", question: String) {
            let key = QuestionKey::new(&name, &tenant).question(&question).build();
            prop_assert_eq!(QuestionKey::parse(key.as_bytes()), Ok(key.clone()));
            prop_assert_eq!(CacheKey::parse(key.as_bytes()), Err(KeyError::IsAQuestion));
        }

        #[test]
        fn ascii_is_normalised_as_unicode_is(question in "[\\x00-\\x7f]{0,30}") {
            prop_assert_eq!(normalise_ascii(&question), normalise_unicode(&question));
        }

        #[test]
        fn what_is_normalised_is_normal(question: String, spaced in "[ \tAb\u{a0}\u{3a3}\u{130}]{0,8}") {
            for text in [question, spaced] {
                let normal = normalise(&text);
                prop_assert_eq!(normalise(&normal), normal.clone());
                prop_assert_eq!(normalise(&text.replace(' ', "\n  ")), normal);
            }
        }
    }
}
