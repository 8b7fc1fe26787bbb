//! One record: how it is encoded, and how it is read without believing it.

use bytes::Bytes;

use crate::error::{Damaged, StoreError};
use crate::format::{
    ANNEX_BYTES_MAX, CRC_AT, EXPIRY_AT, FLAGS_AT, HAS_ANNEX, HAS_COST, KEY_BYTES_MAX, LONG_KEY, RECORD_ALIGNMENT,
    RECORD_BYTES_MIN, RECORD_FLAGS, RECORD_HEADER_BYTES_MAX, RECORD_HEADER_BYTES_MIN, VALUE_BYTES_MAX, VALUE_LENGTH_AT,
    decode_expiry, expiry_word,
};
use crate::location::Location;
use crate::memory::{Pin, Shared, Writer};
use crate::segment::Segment;

/// A record to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    /// At most [`KEY_BYTES_MAX`] bytes.
    pub key: &'a [u8],
    /// At most [`VALUE_BYTES_MAX`] bytes.
    pub value: &'a [u8],
    /// Unix milliseconds; times at or before 1970 are stored as millisecond 1.
    pub expires_at_ms: Option<u64>,
    /// What it costs to compute the value again; the unit is the caller's.
    pub cost: Option<f32>,
    /// What the caller knows of the value, at most [`ANNEX_BYTES_MAX`] bytes, opaque here. None and an empty one are kept apart.
    pub annex: Option<&'a [u8]>,
}

/// Where a record went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Its location.
    pub location: Location,
    /// What it takes in its segment, padding included.
    pub bytes: u32,
    /// The CRC of all but its expiry word, as stored.
    pub crc: u32,
}

/// A stored record. It borrows from the pin it was looked up under: its segment is not written over before that is gone.
#[derive(Clone, Copy)]
pub struct Record<'g> {
    segment: &'g Segment,
    pin: &'g Pin,
    location: Location,
    /// What the CRC covers: from the value's length to the end of the value.
    covered: &'g [u8],
    expiry: u64,
    header_bytes: u32,
    key_bytes: u32,
    /// Counted from the record's start. Between key and value lies the annex.
    value_at: u32,
    crc: u32,
}

impl<'g> Record<'g> {
    /// Reads a record's header. `None` if it lies outside of what was committed, or its lengths point there.
    // Always: with the way to `decode_annexed` in it, the compiler would call it in most places, and no longer put it there.
    #[inline(always)]
    pub(crate) fn decode(segment: &'g Segment, pin: &'g Pin, location: Location) -> Option<Record<'g>> {
        let words = header_words(segment, pin, location)?;
        // One test for the annex and for flags that nobody has given a meaning yet: plain records pay no other.
        if words[2] as u8 > LONG_KEY | HAS_COST {
            return Record::decode_annexed(segment, pin, location);
        }
        Record::assemble(segment, pin, location, words, None)
    }

    /// The same for a record with an annex. Out of line: whoever looks up plain records has nothing of it among his instructions.
    #[cold]
    #[inline(never)]
    fn decode_annexed(segment: &'g Segment, pin: &'g Pin, location: Location) -> Option<Record<'g>> {
        let words = header_words(segment, pin, location)?;
        if words[2] as u8 & !RECORD_FLAGS != 0 {
            return None;
        }
        // The length lies in the word of the flags, in the next, or across both.
        let start = header_lengths(words[2]).0 - FLAGS_AT;
        let next_at = location.offset_bytes() + FLAGS_AT + 8;
        let next = if start + 4 > 8 { segment.memory().word(pin, next_at)? } else { 0 };
        let annex_bytes = ((u128::from(next) << 64 | u128::from(words[2])) >> (8 * start)) as u32;
        if annex_bytes as usize > ANNEX_BYTES_MAX {
            return None;
        }
        Record::assemble(segment, pin, location, words, Some(annex_bytes))
    }

    #[inline]
    fn assemble(
        segment: &'g Segment,
        pin: &'g Pin,
        location: Location,
        [expiry, crc_and_length, flags_and_key]: [u64; 3],
        annex_bytes: Option<u32>,
    ) -> Option<Record<'g>> {
        let (crc, value_bytes) = (crc_and_length as u32, (crc_and_length >> 32) as u32);
        let (mut header_bytes, key_bytes) = header_lengths(flags_and_key);
        if key_bytes as usize > KEY_BYTES_MAX || value_bytes as usize > VALUE_BYTES_MAX {
            return None;
        }
        if annex_bytes.is_some() {
            header_bytes += 4;
        }
        // At most 2^30 and a little more than 2^20: no overflow.
        let value_at = header_bytes + key_bytes + annex_bytes.unwrap_or(0);
        let end = value_at + value_bytes;
        let covered = segment.memory().bytes(pin, location.offset_bytes() + VALUE_LENGTH_AT, end - VALUE_LENGTH_AT)?;
        Some(Record { segment, pin, location, covered, expiry, header_bytes, key_bytes, value_at, crc })
    }

    /// The key.
    #[must_use]
    #[inline]
    pub fn key(&self) -> &'g [u8] {
        let start = (self.header_bytes - VALUE_LENGTH_AT) as usize;
        &self.covered[start..start + self.key_bytes as usize]
    }

    /// The value.
    #[must_use]
    #[inline]
    pub fn value(&self) -> &'g [u8] {
        &self.covered[(self.value_at - VALUE_LENGTH_AT) as usize..]
    }

    /// The annex, if it was stored with one.
    #[must_use]
    #[inline]
    pub fn annex(&self) -> Option<&'g [u8]> {
        let start = (self.header_bytes + self.key_bytes - VALUE_LENGTH_AT) as usize;
        let end = (self.value_at - VALUE_LENGTH_AT) as usize;
        self.has(HAS_ANNEX).then(|| &self.covered[start..end])
    }

    /// When it expires, in Unix milliseconds, as of the lookup.
    ///
    /// # Errors
    /// The expiry word does not pass its check.
    #[inline]
    pub fn expires_at_ms(&self) -> Result<Option<u64>, Damaged> {
        decode_expiry(self.location, self.expiry)
    }

    /// What it costs to compute the value again, if that is known.
    #[must_use]
    pub fn cost(&self) -> Option<f32> {
        let behind = if self.has(HAS_ANNEX) { 4 } else { 0 };
        let end = (self.header_bytes - behind - VALUE_LENGTH_AT) as usize;
        let bytes = self.covered[..end].last_chunk()?;
        self.has(HAS_COST).then(|| f32::from_le_bytes(*bytes))
    }

    /// What it takes in its segment, padding included.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> u32 {
        (VALUE_LENGTH_AT + self.covered.len() as u32).next_multiple_of(RECORD_ALIGNMENT)
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> Location {
        self.location
    }

    /// Whether it was written by this process, or its segment has been verified since: then [`Record::verify`] is not needed.
    #[must_use]
    #[inline]
    pub fn is_trusted(&self) -> bool {
        self.segment.is_verified()
    }

    /// Computes the CRC of all but the expiry word (some 77 ns for 3 KiB) and says whether it is right.
    #[must_use]
    pub fn verify(&self) -> bool {
        crc32fast::hash(self.covered) == self.crc
    }

    /// The CRC that is stored with it.
    #[must_use]
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// The value without a copy, valid beyond the pin: the segment is not written again while it exists, so it should not live long.
    #[must_use]
    pub fn shared_value(&self) -> Bytes {
        let offset = self.location.offset_bytes() + self.value_at;
        match Shared::new(self.segment.this(), self.pin, offset, self.value().len() as u32) {
            Some(shared) => Bytes::from_owner(shared),
            // Withdrawn under this pin: the bytes are still there, but cannot be held any longer than it.
            None => Bytes::copy_from_slice(self.value()),
        }
    }

    #[inline]
    fn has(&self, flag: u8) -> bool {
        self.covered[(FLAGS_AT - VALUE_LENGTH_AT) as usize] & flag != 0
    }
}

/// The first three words. They are loaded singly: a slice is only formed when the lengths say how far it may go, so that it never covers
/// the expiry word of the next record.
#[inline]
fn header_words(segment: &Segment, pin: &Pin, location: Location) -> Option<[u64; 3]> {
    let (memory, offset) = (segment.memory(), location.offset_bytes());
    let expiry = memory.word(pin, offset + EXPIRY_AT)?;
    let crc_and_length = memory.word(pin, offset + CRC_AT)?;
    Some([expiry, crc_and_length, memory.word(pin, offset + FLAGS_AT)?])
}

/// Lengths of the header, without that of an annex, and of the key.
#[inline]
fn header_lengths(flags_and_key: u64) -> (u32, u32) {
    let flags = flags_and_key as u8;
    let (length_bytes, key_bytes) = if flags & LONG_KEY == 0 {
        (1, u32::from((flags_and_key >> 8) as u8))
    } else {
        (4, (flags_and_key >> 8) as u32)
    };
    let cost_bytes = if flags & HAS_COST == 0 { 0 } else { 4 };
    (FLAGS_AT + 1 + length_bytes + cost_bytes, key_bytes)
}

impl std::fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("location", &self.location)
            .field("key_bytes", &self.key_bytes)
            .field("value_bytes", &self.value().len())
            .field("annex_bytes", &self.annex().map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}

/// A new record with its header, all but the expiry word, which needs the location.
pub(crate) struct Encoded<'a> {
    header: [u8; RECORD_HEADER_BYTES_MAX as usize],
    header_bytes: u32,
    key: &'a [u8],
    annex: Option<&'a [u8]>,
    value: &'a [u8],
    expires_at_ms: Option<u64>,
    crc: u32,
    bytes: u32,
}

impl<'a> Encoded<'a> {
    /// Computes lengths and CRC, before any lock is taken.
    #[inline]
    pub(crate) fn new(record: &NewRecord<'a>) -> Result<Encoded<'a>, StoreError> {
        let NewRecord { key, value, expires_at_ms, cost, annex } = *record;
        if key.len() > KEY_BYTES_MAX {
            return Err(StoreError::KeyTooLong { bytes: key.len() });
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(StoreError::ValueTooLong { bytes: value.len() });
        }
        let mut header = [0; RECORD_HEADER_BYTES_MAX as usize];
        header[12..16].copy_from_slice(&(value.len() as u32).to_le_bytes());
        let mut header_bytes = if let Ok(length) = u8::try_from(key.len()) {
            header[17] = length;
            RECORD_HEADER_BYTES_MIN
        } else {
            header[16] = LONG_KEY;
            header[17..21].copy_from_slice(&(key.len() as u32).to_le_bytes());
            RECORD_HEADER_BYTES_MIN + 3
        };
        if let Some(cost) = cost {
            header[16] |= HAS_COST;
            let start = header_bytes as usize;
            header[start..start + 4].copy_from_slice(&cost.to_le_bytes());
            header_bytes += 4;
        }
        let mut annex_bytes = 0;
        if let Some(annex) = annex {
            if annex.len() > ANNEX_BYTES_MAX {
                return Err(StoreError::AnnexTooLong { bytes: annex.len() });
            }
            annex_bytes = annex.len() as u32;
            header[16] |= HAS_ANNEX;
            let start = header_bytes as usize;
            header[start..start + 4].copy_from_slice(&annex_bytes.to_le_bytes());
            header_bytes += 4;
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&header[12..header_bytes as usize]);
        crc.update(key);
        if let Some(annex) = annex {
            crc.update(annex);
        }
        crc.update(value);
        let crc = crc.finalize();
        header[8..12].copy_from_slice(&crc.to_le_bytes());
        // At most 2^30 and a little more than 2^20: no overflow.
        let bytes = header_bytes + key.len() as u32 + annex_bytes + value.len() as u32;
        let bytes = bytes.next_multiple_of(RECORD_ALIGNMENT);
        Ok(Encoded { header, header_bytes, key, annex, value, expires_at_ms, crc, bytes })
    }

    /// What it will take, padding included.
    #[inline]
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Appends it; `None` if it does not fit.
    #[inline]
    pub(crate) fn append_to(&mut self, writer: &mut Writer) -> Option<Appended> {
        let room = writer.segment().capacity() - writer.tail();
        if room < self.bytes {
            return None;
        }
        let location = Location::new(writer.segment().id(), writer.tail());
        self.header[..8].copy_from_slice(&expiry_word(location, self.expires_at_ms).to_le_bytes());
        let header = &self.header[..self.header_bytes as usize];
        match self.annex {
            None => writer.append(&[header, self.key, self.value])?,
            Some(annex) => writer.append(&[header, self.key, annex, self.value])?,
        };
        writer.segment().add_live(self.bytes);
        Some(Appended { location, bytes: self.bytes, crc: self.crc })
    }
}

/// Copies a record with the CRC it has, so that damage to it stays visible; `None` if it does not fit.
pub(crate) fn copy_to(record: &Record<'_>, writer: &mut Writer) -> Result<Option<Appended>, Damaged> {
    if !record.is_trusted() && !record.verify() {
        return Err(Damaged);
    }
    let expires_at_ms = record.expires_at_ms()?;
    if writer.segment().capacity() - writer.tail() < record.bytes() {
        return Ok(None);
    }
    let location = Location::new(writer.segment().id(), writer.tail());
    let expiry = expiry_word(location, expires_at_ms).to_le_bytes();
    let appended = writer.append(&[&expiry, &record.crc.to_le_bytes(), record.covered]);
    Ok(appended.map(|_| {
        writer.segment().add_live(record.bytes());
        Appended { location, bytes: record.bytes(), crc: record.crc }
    }))
}

const _: () = assert!(RECORD_BYTES_MIN >= FLAGS_AT + 8, "the three words of a short header are in every record");
