//! The key of an entry of a cache, of one tenant.

use super::escape::{pattern_of, push_escaped, unescaped};
use super::{KeyError, Mismatch, question, same};
use std::fmt;

pub(super) const FRONT: &str = "cache:";
const FORM: &str = "cache:{name}:{tenant}:{key}";

/// `cache:{name}:{tenant}:{key}`: an entry of a named cache that belongs to a tenant.
///
/// The key itself may be any bytes: it is the rest. Name and tenant are escaped, so that no tenant can choose a name that reaches into
/// another's keys.
///
/// ```
/// use sutra_cache_client::keys::CacheKey;
///
/// let key = CacheKey::new("pages", "acme", "/index:html")?;
/// assert_eq!(key.as_bytes(), b"cache:pages:acme:/index:html");
/// let read = CacheKey::parse(key.as_bytes())?;
/// assert_eq!((read.name(), read.tenant(), read.key()), ("pages", "acme", &b"/index:html"[..]));
/// assert!(read.verify("pages", "other", "/index:html").is_err());
/// # Ok::<(), sutra_cache_client::keys::KeyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey {
    name: String,
    tenant: String,
    bytes: Vec<u8>,
    /// Where the key itself begins in `bytes`.
    key_at: usize,
}

impl CacheKey {
    /// Of its parts. Name and tenant may be empty.
    ///
    /// # Errors
    /// If `key` is `q:` with a SHA-256: that is the key of a question.
    pub fn new(name: &str, tenant: &str, key: impl AsRef<[u8]>) -> Result<CacheKey, KeyError> {
        let key = key.as_ref();
        if question::is_tail(key) {
            return Err(KeyError::IsAQuestion);
        }
        let mut bytes = CacheKey::prefix(name, tenant).into_bytes();
        let key_at = bytes.len();
        bytes.extend_from_slice(key);
        Ok(CacheKey { name: name.to_owned(), tenant: tenant.to_owned(), bytes, key_at })
    }

    /// Reads a key.
    ///
    /// # Errors
    /// If it is none of this kind.
    pub fn parse(key: &[u8]) -> Result<CacheKey, KeyError> {
        let (name, tenant, key) = split(key)?;
        CacheKey::new(&name, &tenant, key)
    }

    /// How all keys of the tenant in this cache begin, those of questions included: what to track.
    #[must_use]
    pub fn prefix(name: &str, tenant: &str) -> String {
        let mut prefix = CacheKey::prefix_of_tenants(name);
        push_escaped(&mut prefix, tenant);
        prefix.push(':');
        prefix
    }

    /// How all keys of this cache begin, whoever's they are.
    #[must_use]
    pub fn prefix_of_tenants(name: &str) -> String {
        let mut prefix = String::from(FRONT);
        push_escaped(&mut prefix, name);
        prefix.push(':');
        prefix
    }

    /// A glob pattern that covers exactly the keys that begin with [`CacheKey::prefix`]: what to invalidate. What is special in globs is
    /// escaped in it, so that a tenant called `*` is that tenant and not everybody.
    #[must_use]
    pub fn pattern(name: &str, tenant: &str) -> String {
        pattern_of(&CacheKey::prefix(name, tenant))
    }

    /// Whether this is the key of these parts.
    ///
    /// # Errors
    /// If it is not: which part differs.
    pub fn verify(&self, name: &str, tenant: &str, key: impl AsRef<[u8]>) -> Result<(), Mismatch> {
        same(self.name == name, "name")?;
        same(self.tenant == tenant, "tenant")?;
        same(self.key() == key.as_ref(), "key")
    }

    /// The cache's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose entry it is.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The key within the tenant's part of the cache.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.bytes[self.key_at..]
    }

    /// The whole key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for CacheKey {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Display for CacheKey {
    /// Bytes that are no text are shown as `U+FFFD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.bytes))
    }
}

/// Name, tenant and the rest.
pub(super) fn split(key: &[u8]) -> Result<(String, String, &[u8]), KeyError> {
    let rest = key.strip_prefix(FRONT.as_bytes()).ok_or(KeyError::Form(FORM))?;
    let mut parts = rest.splitn(3, |byte| *byte == b':');
    let (Some(name), Some(tenant), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Form(FORM));
    };
    Ok((unescaped(name, "name")?, unescaped(tenant, "tenant")?, key))
}

#[cfg(test)]
mod tests {
    use super::super::Digest;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_key_of_a_cache_says_why() {
        let parse = |key: &[u8]| CacheKey::parse(key).map(|key| key.to_string());
        assert_eq!(parse(b"cache:a:b:c:d"), Ok("cache:a:b:c:d".to_owned()));
        assert_eq!(parse(b"cache:::"), Ok("cache:::".to_owned()));
        assert_eq!(parse(b"cache:a:b"), Err(KeyError::Form(FORM)));
        assert_eq!(parse(b"emb:a:b:c"), Err(KeyError::Form(FORM)));
        assert_eq!(parse(b"cache:a%3a:b:c"), Err(KeyError::Escape("name")));
        assert_eq!(parse(b"cache:a:%:c"), Err(KeyError::Escape("tenant")));
        assert_eq!(parse(b"cache:a:\xff:c"), Err(KeyError::NotText("tenant")));
        let question = format!("cache:a:b:q:{}", Digest::of(b""));
        assert_eq!(parse(question.as_bytes()), Err(KeyError::IsAQuestion));
    }

    #[test]
    fn a_key_is_verified_part_by_part() {
        let key = CacheKey::new("a", "b", "c").unwrap();
        assert_eq!(key.verify("a", "b", "c"), Ok(()));
        assert_eq!(key.verify("x", "b", "c"), Err(Mismatch { part: "name" }));
        assert_eq!(key.verify("a", "x", "c"), Err(Mismatch { part: "tenant" }));
        assert_eq!(key.verify("a", "b", "x"), Err(Mismatch { part: "key" }));
    }

    #[test]
    fn a_tenant_cannot_reach_into_the_keys_of_another() {
        let sly = CacheKey::new("c", "a:b", "x").unwrap();
        assert!(!sly.as_bytes().starts_with(CacheKey::prefix("c", "a").as_bytes()));
        assert_eq!(CacheKey::pattern("c", "*"), r"cache:c:\*:*");
    }

    proptest! {
        #[test]
        fn a_key_is_read_as_it_was_made_and_different_parts_make_different_keys(
            a in ("[a:%3A]{0,4}", "[a:%25]{0,4}", proptest::collection::vec(proptest::sample::select(&b"aq:%\xff"[..]), 0..4)),
            b in ("[a:%3A]{0,4}", "[a:%25]{0,4}", proptest::collection::vec(proptest::sample::select(&b"aq:%\xff"[..]), 0..4)),
        ) {
            let key = |(name, tenant, key): &(String, String, Vec<u8>)| CacheKey::new(name, tenant, key).expect("no question");
            prop_assert_eq!(CacheKey::parse(key(&a).as_bytes()), Ok(key(&a)));
            prop_assert_eq!(CacheKey::parse(key(&b).as_bytes()), Ok(key(&b)));
            prop_assert_eq!(a == b, key(&a).as_bytes() == key(&b).as_bytes());
            prop_assert!(key(&a).as_bytes().starts_with(CacheKey::prefix(&a.0, &a.1).as_bytes()));
        }

        #[test]
        fn the_keys_of_two_tenants_never_begin_alike(a in ("[a:%]{0,3}", "[a:%]{0,3}"), b in ("[a:%]{0,3}", "[a:%]{0,3}"), key: Vec<u8>) {
            let of_b = CacheKey::new(&b.0, &b.1, key).expect("no question");
            prop_assert_eq!(of_b.as_bytes().starts_with(CacheKey::prefix(&a.0, &a.1).as_bytes()), a == b);
        }
    }
}
