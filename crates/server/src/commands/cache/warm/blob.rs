//! One entry as it travels between shards; the layout is documented in `docs/formats/warm.md`.

use crate::rdb::crc64;
use sutra_shard::{SPACE_NAME_BYTES_MAX, Space, SpaceOptions};

const MAGIC: &[u8; 4] = b"SCWE";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 60;
const CHECKSUM_BYTES: usize = 8;

const HAS_COST: u8 = 1;
const HAS_NOTES: u8 = 1 << 1;
const HAS_EXPIRY: u8 = 1 << 2;
const FLAGS: u8 = HAS_COST | HAS_NOTES | HAS_EXPIRY;

/// An entry and all that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Blob<'b> {
    /// When it was copied, in Unix milliseconds.
    pub(super) exported_ms: u64,
    /// In Unix milliseconds; `None`: it does not expire.
    pub(super) expires_at_ms: Option<u64>,
    pub(super) cost: Option<f32>,
    pub(super) key: &'b [u8],
    pub(super) value: BlobValue<'b>,
    /// What a native command has written beside the value.
    pub(super) notes: Option<BlobNotes<'b>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum BlobValue<'b> {
    String(&'b [u8]),
    /// Any other kind, as DUMP writes it.
    Dump(&'b [u8]),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct BlobNotes<'b> {
    pub(super) written_ms: u64,
    /// The description of the space, as [`Space::describe`] makes it; empty: the entry has no vector.
    pub(super) space: &'b [u8],
    pub(super) vector: BlobVector<'b>,
    pub(super) tags: Vec<&'b [u8]>,
    pub(super) deps: Vec<(&'b [u8], u64)>,
    /// As stored; see the crate `guard`.
    pub(super) facts: &'b [u8],
    pub(super) meta: &'b [u8],
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum BlobVector<'b> {
    None,
    /// Little-endian f32.
    Given(&'b [u8]),
    /// The value is the vector.
    Value,
}

/// Why bytes are no blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadBlob {
    /// Not made by EXPORT.
    Alien,
    /// Made by another version.
    Version(u8),
    Damaged,
}

impl std::fmt::Display for BadBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadBlob::Alien => f.write_str("is none that CACHE.WARM EXPORT has made"),
            BadBlob::Version(version) => {
                write!(f, "is of version {version}, this server reads version {VERSION}")
            }
            BadBlob::Damaged => f.write_str("is damaged: its checksum or a length is wrong"),
        }
    }
}

impl<'b> Blob<'b> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, value) = match self.value {
            BlobValue::String(value) => (0, value),
            BlobValue::Dump(payload) => (1, payload),
        };
        let none = BlobNotes::NONE;
        let notes = self.notes.as_ref().unwrap_or(&none);
        let (form, vector) = match notes.vector {
            BlobVector::None => (0, &[][..]),
            BlobVector::Given(vector) => (1, vector),
            BlobVector::Value => (2, &[][..]),
        };
        let mut flags = 0;
        for (has, flag) in [
            (self.cost.is_some(), HAS_COST),
            (self.notes.is_some(), HAS_NOTES),
            (self.expires_at_ms.is_some(), HAS_EXPIRY),
        ] {
            flags |= if has { flag } else { 0 };
        }
        let bytes = self.key.len() + value.len() + vector.len() + notes.meta.len() + notes.facts.len();
        let mut out = Vec::with_capacity(HEADER_BYTES + bytes + notes.space.len() + 256);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[VERSION, flags, kind, form]);
        for instant in [self.exported_ms, self.expires_at_ms.unwrap_or(0), notes.written_ms] {
            out.extend_from_slice(&instant.to_le_bytes());
        }
        out.extend_from_slice(&self.cost.unwrap_or(0.0).to_le_bytes());
        for count in [notes.tags.len(), notes.deps.len(), notes.facts.len(), notes.space.len()] {
            out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
        }
        for bytes in [self.key.len(), value.len(), vector.len(), notes.meta.len()] {
            out.extend_from_slice(&u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes());
        }
        for part in [self.key, value, notes.space, vector] {
            out.extend_from_slice(part);
        }
        for tag in &notes.tags {
            put_short(&mut out, tag);
        }
        for (name, version) in &notes.deps {
            put_short(&mut out, name);
            out.extend_from_slice(&version.to_le_bytes());
        }
        out.extend_from_slice(notes.facts);
        out.extend_from_slice(notes.meta);
        let checksum = crc64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a blob. Allocates no more than the bytes hold.
    pub(super) fn decode(bytes: &'b [u8]) -> Result<Blob<'b>, BadBlob> {
        let Some((&[m0, m1, m2, m3, version], _)) = bytes.split_first_chunk::<5>() else { return Err(BadBlob::Alien) };
        if [m0, m1, m2, m3] != *MAGIC {
            return Err(BadBlob::Alien);
        }
        if version != VERSION {
            return Err(BadBlob::Version(version));
        }
        let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(BadBlob::Damaged)?;
        if u64::from_le_bytes(*checksum) != crc64(body) {
            return Err(BadBlob::Damaged);
        }
        read(body).ok_or(BadBlob::Damaged)
    }
}

impl BlobNotes<'_> {
    const NONE: BlobNotes<'static> = BlobNotes {
        written_ms: 0,
        space: &[],
        vector: BlobVector::None,
        tags: Vec::new(),
        deps: Vec::new(),
        facts: &[],
        meta: &[],
    };

    /// Name and options of the space; `None` if the description is of another version.
    pub(super) fn options(&self) -> Option<(Vec<u8>, SpaceOptions)> {
        Space::understand(self.space).filter(|(name, _)| (1..=SPACE_NAME_BYTES_MAX).contains(&name.len()))
    }
}

fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Reads what the checksum has vouched for; `None` if it does not add up all the same.
fn read(body: &[u8]) -> Option<Blob<'_>> {
    let (header, mut rest) = body.split_at_checked(HEADER_BYTES)?;
    let (flags, kind, form) = (header[5], header[6], header[7]);
    let instant = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let short = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let long = |at: usize| header[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)) as usize;
    let rest = &mut rest;
    let key = take(rest, long(44))?;
    let value = take(rest, long(48))?;
    let space = take(rest, short(42))?;
    let vector = take(rest, long(52))?;
    let tags: Vec<&[u8]> = (0..short(36)).map(|_| take_short(rest)).collect::<Option<_>>()?;
    let deps = (0..short(38)).map(|_| Some((take_short(rest)?, u64::from_le_bytes(*take(rest, 8)?.first_chunk()?))));
    let deps: Vec<(&[u8], u64)> = deps.collect::<Option<_>>()?;
    let facts = take(rest, short(40))?;
    let meta = take(rest, long(56))?;
    let vector = match form {
        0 if vector.is_empty() => BlobVector::None,
        1 => BlobVector::Given(vector),
        2 if vector.is_empty() => BlobVector::Value,
        _ => return None,
    };
    let value = match kind {
        0 => BlobValue::String(value),
        1 => BlobValue::Dump(value),
        _ => return None,
    };
    let has_vector = vector != BlobVector::None;
    if !rest.is_empty() || flags & !FLAGS != 0 || has_vector == space.is_empty() {
        return None;
    }
    let notes = BlobNotes { written_ms: instant(24), space, vector, tags, deps, facts, meta };
    if flags & HAS_NOTES == 0 && notes != BlobNotes::NONE {
        return None;
    }
    let cost = f32::from_le_bytes(*header[32..].first_chunk()?);
    if !cost.is_finite() || cost < 0.0 {
        return None;
    }
    Some(Blob {
        exported_ms: instant(8),
        expires_at_ms: (flags & HAS_EXPIRY != 0).then(|| instant(16)),
        cost: (flags & HAS_COST != 0).then_some(cost),
        key,
        value,
        notes: (flags & HAS_NOTES != 0).then_some(notes),
    })
}

fn take<'b>(rest: &mut &'b [u8], bytes: usize) -> Option<&'b [u8]> {
    let (head, tail) = rest.split_at_checked(bytes)?;
    *rest = tail;
    Some(head)
}

fn take_short<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let bytes = u16::from_le_bytes(*take(rest, 2)?.first_chunk()?);
    take(rest, usize::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Written by `golden/make.py` from `docs/formats/warm.md`, so that page and code are checked against each other.
    const GOLDEN: &[u8] = include_bytes!("golden/v1.blob");

    /// A space `docs` of two dimensions, with cosine, made by `builtin:m`, guarding numbers.
    const SPACE: &[u8] = b"\x01\0\0\x01\x02\0\0\0\x04\0\0\0docs\x09\0\0\0builtin:m";

    fn golden() -> Blob<'static> {
        Blob {
            exported_ms: 1_800_000_000_000,
            expires_at_ms: Some(1_800_000_060_000),
            cost: Some(0.25),
            key: b"answer:1",
            value: BlobValue::String(b"forty-two"),
            notes: Some(BlobNotes {
                written_ms: 1_799_999_999_000,
                space: SPACE,
                vector: BlobVector::Given(&[0, 0, 64, 64, 0, 0, 128, 64]),
                tags: vec![b"user:1", b"doc:2"],
                deps: vec![(b"doc:2", 7)],
                facts: b"\x01\0\0\0\0\0\0",
                meta: b"{\"model\":\"m\"}",
            }),
        }
    }

    #[test]
    fn version_1_is_written_and_read_as_the_page_says() {
        assert_eq!(golden().encode(), GOLDEN);
        assert_eq!(Blob::decode(GOLDEN), Ok(golden()));
        let (name, options) = golden().notes.and_then(|notes| notes.options()).unwrap();
        assert_eq!((&name[..], options.dimension, &options.embedder[..]), (&b"docs"[..], 2, "builtin:m"));
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        for at in 0..GOLDEN.len() {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] ^= 0x40;
            let expected = match at {
                0..4 => BadBlob::Alien,
                4 => BadBlob::Version(VERSION ^ 0x40),
                _ => BadBlob::Damaged,
            };
            assert_eq!(Blob::decode(&bytes), Err(expected), "byte {at}");
            let cut = if at < 5 { BadBlob::Alien } else { BadBlob::Damaged };
            assert_eq!(Blob::decode(&GOLDEN[..at]), Err(cut), "cut at {at}");
        }
    }

    #[test]
    fn a_sound_checksum_does_not_make_nonsense_a_blob() {
        let sum = |mut body: Vec<u8>| {
            let checksum = crc64(&body);
            body.extend_from_slice(&checksum.to_le_bytes());
            body
        };
        let body = &GOLDEN[..GOLDEN.len() - CHECKSUM_BYTES];
        // Flags, kind, form, cost, count of tags, bytes of the key: each of them beyond what there is.
        for at in [5, 6, 7, 35, 37, 47] {
            let mut body = body.to_vec();
            body[at] = 0xff;
            assert_eq!(Blob::decode(&sum(body)), Err(BadBlob::Damaged), "byte {at}");
        }
        assert_eq!(Blob::decode(&sum([body, b"x"].concat())), Err(BadBlob::Damaged));
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..40)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            (exported_ms, expires_at_ms, cost) in (any::<u64>(), any::<Option<u64>>(), prop::option::of(0.0f32..1e9)),
            (key, value, is_dump) in (bytes(), bytes(), any::<bool>()),
            (has_notes, written_ms, form) in (any::<bool>(), any::<u64>(), 0..3u8),
            (vector, facts, meta) in (bytes(), bytes(), bytes()),
            tags in prop::collection::vec(bytes(), 0..4),
            deps in prop::collection::vec((bytes(), any::<u64>()), 0..4),
        ) {
            let vector = match form {
                0 => BlobVector::None,
                1 => BlobVector::Given(&vector),
                _ => BlobVector::Value,
            };
            let space = if vector == BlobVector::None { &[][..] } else { SPACE };
            let tags = tags.iter().map(Vec::as_slice).collect();
            let deps = deps.iter().map(|(name, version)| (&name[..], *version)).collect();
            let notes = BlobNotes { written_ms, space, vector, tags, deps, facts: &facts, meta: &meta };
            let value = if is_dump { BlobValue::Dump(&value) } else { BlobValue::String(&value) };
            let notes = has_notes.then_some(notes);
            let blob = Blob { exported_ms, expires_at_ms, cost, key: &key, value, notes };
            let encoded = blob.encode();
            prop_assert_eq!(Blob::decode(&encoded), Ok(blob));
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = [&MAGIC[..], &[VERSION], &body].concat();
            let checksum = crc64(&bytes);
            bytes.extend_from_slice(&checksum.to_le_bytes());
            let _ = Blob::decode(&bytes);
        }
    }
}
