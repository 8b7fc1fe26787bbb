//! The annex of a record: what an annotated entry carries beside key and value. The layout is documented in `docs/formats/annex.md`.

use std::borrow::Cow;
use sutra_hnsw_index::Query;

/// The version in the first byte.
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 36;
const STAMP_AT: usize = 8;

/// Where an entry's vector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VectorForm {
    /// It has none.
    None,
    /// In the annex, little-endian f32.
    Floats,
    /// It is the entry's value, little-endian f32.
    Value,
    /// In the annex, a little-endian f32 scale and one signed byte a dimension.
    Bytes,
}

/// What is written into an annex.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewAnnex<'a> {
    /// The last LSN when the entry is written.
    pub(crate) stamp: u64,
    /// Unix milliseconds.
    pub(crate) written_ms: u64,
    /// The space's id; 0: none.
    pub(crate) space: u32,
    pub(crate) form: VectorForm,
    /// The vector in its form, if it stands in the annex.
    pub(crate) vector: &'a [u8],
    pub(crate) tags: &'a [&'a [u8]],
    pub(crate) deps: &'a [(&'a [u8], u64)],
    /// Encoded facts of the question, or empty.
    pub(crate) facts: &'a [u8],
    /// JSON, or empty.
    pub(crate) meta: &'a [u8],
}

impl NewAnnex<'_> {
    /// The bytes. The caller has checked every count and length against its limit; what does not fit its field is cut.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let form = match self.form {
            VectorForm::None => 0,
            VectorForm::Floats => 1,
            VectorForm::Value => 2,
            VectorForm::Bytes => 3,
        };
        let mut out = Vec::with_capacity(HEADER_BYTES + self.vector.len() + self.meta.len() + self.facts.len() + 64);
        out.extend_from_slice(&[VERSION, form]);
        for count in [self.tags.len(), self.deps.len(), self.facts.len()] {
            out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
        }
        out.extend_from_slice(&self.stamp.to_le_bytes());
        out.extend_from_slice(&self.written_ms.to_le_bytes());
        out.extend_from_slice(&self.space.to_le_bytes());
        for bytes in [self.meta.len(), self.vector.len()] {
            out.extend_from_slice(&u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes());
        }
        out.extend_from_slice(self.vector);
        for tag in self.tags {
            put_short(&mut out, tag);
        }
        for (name, version) in self.deps {
            put_short(&mut out, name);
            out.extend_from_slice(&version.to_le_bytes());
        }
        out.extend_from_slice(self.facts);
        out.extend_from_slice(self.meta);
        out
    }
}

fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Changes the stamp of an annex: the entry is written anew (RENAME, COPY).
pub(crate) fn restamp(annex: &mut [u8], stamp: u64) {
    if let Some(place) = annex.get_mut(STAMP_AT..STAMP_AT + 8) {
        place.copy_from_slice(&stamp.to_le_bytes());
    }
}

/// An annex that is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Annex<'a> {
    pub(crate) stamp: u64,
    pub(crate) written_ms: u64,
    pub(crate) space: u32,
    pub(crate) form: VectorForm,
    vector: &'a [u8],
    tags: &'a [u8],
    deps: &'a [u8],
    pub(crate) facts: &'a [u8],
    pub(crate) meta: &'a [u8],
}

impl<'a> Annex<'a> {
    /// Reads an annex; `None` if it is of another version or its lengths do not add up.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Annex<'a>> {
        let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let short = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let long = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let word = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        if header[0] != VERSION {
            return None;
        }
        let form = match header[1] {
            0 => VectorForm::None,
            1 => VectorForm::Floats,
            2 => VectorForm::Value,
            3 => VectorForm::Bytes,
            _ => return None,
        };
        let vector = take(&mut rest, long(32) as usize)?;
        let tags = run(&mut rest, short(2), 0)?;
        let deps = run(&mut rest, short(4), 8)?;
        let facts = take(&mut rest, short(6))?;
        let meta = take(&mut rest, long(28) as usize)?;
        let (stamp, written_ms, space) = (word(STAMP_AT), word(16), long(24));
        rest.is_empty().then_some(Annex { stamp, written_ms, space, form, vector, tags, deps, facts, meta })
    }

    /// The tags.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.tags;
        std::iter::from_fn(move || short(&mut rest))
    }

    /// Sources and their versions.
    pub(crate) fn deps(&self) -> impl Iterator<Item = (&'a [u8], u64)> {
        let mut rest = self.deps;
        std::iter::from_fn(move || {
            let name = short(&mut rest)?;
            let version = u64::from_le_bytes(*take(&mut rest, 8)?.first_chunk()?);
            Some((name, version))
        })
    }

    pub(crate) fn has_tag(&self, tag: &[u8]) -> bool {
        self.tags().any(|own| own == tag)
    }

    /// The vector as little-endian f32, given the entry's value; `None` if it has none.
    pub(crate) fn vector(&self, value: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match self.form {
            VectorForm::None => None,
            VectorForm::Floats => Some(Cow::Borrowed(self.vector)),
            VectorForm::Value => Some(Cow::Borrowed(value)),
            VectorForm::Bytes => expand(self.vector).map(Cow::Owned),
        }
    }

    /// The similarity of the entry's vector to a query of its space.
    pub(crate) fn similarity(&self, query: &Query, value: &[u8]) -> Option<f32> {
        let vector = self.vector(value)?;
        (vector.len() == query.dimension() * 4).then(|| query.similarity(&vector))
    }

    /// One bit of 64 for each tag and source (a Bloom filter with one hash): an entry that lacks a bit of a predicate's signature does not meet it.
    pub(crate) fn signature(&self) -> u64 {
        let tags = self.tags().map(tag_bit);
        let deps = self.deps().map(|(name, _)| dep_bit(name));
        tags.chain(deps).fold(0, |bits, bit| bits | bit)
    }
}

/// The bit of a tag in signatures.
pub(crate) fn tag_bit(tag: &[u8]) -> u64 {
    1 << (xxhash_rust::xxh3::xxh3_64(tag) >> 58)
}

/// The bit of a source in signatures.
pub(crate) fn dep_bit(name: &[u8]) -> u64 {
    1 << (xxhash_rust::xxh3::xxh3_64_with_seed(name, 1) >> 58)
}

/// The int8 form of a vector: symmetric, scaled so that the largest component is 127.
pub(crate) fn compress(vector: &[u8]) -> Vec<u8> {
    let floats = || vector.chunks_exact(4).filter_map(|bytes| bytes.first_chunk().map(|b| f32::from_le_bytes(*b)));
    let largest = floats().fold(0f32, |largest, x| largest.max(x.abs()));
    let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    let mut out = Vec::with_capacity(4 + vector.len() / 4);
    out.extend_from_slice(&scale.to_le_bytes());
    out.extend(floats().map(|x| (x / scale).round().clamp(-127.0, 127.0) as i8 as u8));
    out
}

/// The vector of an int8 form.
pub(crate) fn expand(compressed: &[u8]) -> Option<Vec<u8>> {
    let (scale, codes) = compressed.split_first_chunk::<4>()?;
    let scale = f32::from_le_bytes(*scale);
    Some(codes.iter().flat_map(|code| (f32::from(*code as i8) * scale).to_le_bytes()).collect())
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(bytes)?;
    *rest = tail;
    Some(head)
}

fn short<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let bytes = u16::from_le_bytes(*take(rest, 2)?.first_chunk()?);
    take(rest, usize::from(bytes))
}

/// The bytes of `count` items, each a short string and `after` bytes.
fn run<'a>(rest: &mut &'a [u8], count: usize, after: usize) -> Option<&'a [u8]> {
    let start = *rest;
    for _ in 0..count {
        short(rest)?;
        take(rest, after)?;
    }
    start.get(..start.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_annex_is_read_as_it_was_written() {
        let new = NewAnnex {
            stamp: 7,
            written_ms: 8,
            space: 9,
            form: VectorForm::Floats,
            vector: &[0, 0, 128, 63],
            tags: &[b"user:1", b""],
            deps: &[(b"doc", 3), (b"", u64::MAX)],
            facts: b"facts",
            meta: b"{}",
        };
        let mut bytes = new.encode();
        restamp(&mut bytes, 70);
        let annex = Annex::parse(&bytes).unwrap();
        assert_eq!((annex.stamp, annex.written_ms, annex.space), (70, 8, 9));
        assert_eq!(annex.tags().collect::<Vec<_>>(), [&b"user:1"[..], b""]);
        assert_eq!(annex.deps().collect::<Vec<_>>(), [(&b"doc"[..], 3), (&b""[..], u64::MAX)]);
        assert_eq!((annex.facts, annex.meta), (&b"facts"[..], &b"{}"[..]));
        assert_eq!(annex.vector(b"value").as_deref(), Some(&[0, 0, 128, 63][..]));
        assert!(annex.has_tag(b"user:1") && !annex.has_tag(b"user:2"));
        let signature = tag_bit(b"user:1") | tag_bit(b"") | dep_bit(b"doc") | dep_bit(b"");
        assert_eq!(annex.signature(), signature);
    }

    #[test]
    fn the_value_is_the_vector_of_a_self_entry() {
        let new = NewAnnex {
            stamp: 0,
            written_ms: 0,
            space: 1,
            form: VectorForm::Value,
            vector: b"",
            tags: &[],
            deps: &[],
            facts: b"",
            meta: b"",
        };
        let bytes = new.encode();
        assert_eq!(Annex::parse(&bytes).unwrap().vector(b"1234").as_deref(), Some(&b"1234"[..]));
    }

    #[test]
    fn a_compressed_vector_is_near_the_original() {
        let floats: Vec<f32> = (0..100).map(|i| (i as f32 * 0.37).sin()).collect();
        let bytes: Vec<u8> = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
        let back = expand(&compress(&bytes)).unwrap();
        for (x, y) in floats.iter().zip(back.chunks_exact(4)) {
            let y = f32::from_le_bytes(y.try_into().unwrap());
            assert!((x - y).abs() <= 0.5 / 127.0 + 1e-6, "{x} became {y}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_or_read_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            if let Some(annex) = Annex::parse(&bytes) {
                prop_assert!(annex.tags().count() <= 120 && annex.deps().count() <= 120);
                annex.vector(b"");
            }
        }
    }
}
