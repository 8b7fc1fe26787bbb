//! The payload of DUMP and RESTORE: one value in Redis's RDB format, so that values can be exchanged with a Redis server.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | type of the value |
//! | .. | the value |
//! | 2 | RDB version, little endian |
//! | 8 | CRC-64 of everything before, little endian |
//!
//! | type | value | written | read |
//! | --- | --- | --- | --- |
//! | 0 | string | yes | yes |
//! | 4 | hash: count, then fields and values | large hashes | yes |
//! | 13 | hash as a ziplist in a string | no | yes |
//! | 16 | hash as a listpack in a string | small hashes | yes |
//! | 24 | hash with field expiry (Redis 7.4): earliest expiry (8 bytes LE, Unix ms), count, then for each field its expiry (a length: 0 for none, otherwise 1 more than the time behind the earliest), field, value | hashes with expiring fields | yes |
//! | 25 | the same as earliest expiry and a listpack of field, value, Unix ms (0 for none) in a string | no | yes |
//!
//! We write version 10, that of Redis 7.0, which every later server accepts as well; a server before 7.4 refuses types 24 and 25
//! as a bad data format. Strings are written uncompressed. A value is restored only if every byte of it makes sense.

mod crc64;
mod listpack;
mod lzf;
mod reader;
mod string;
mod ziplist;

pub(crate) use crc64::crc64;
use reader::{Bad, Reader};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use string::{read_length, read_string, write_length, write_string};
use sutra_shard::{HashValue, Value};

/// The version in the payloads that we write: Redis 7.0's.
const VERSION_WRITTEN: u16 = 10;
/// The newest version whose payloads we read: Redis 7.4's and 8.0's.
const VERSION_READ_MAX: u16 = 12;
const FOOTER_BYTES: usize = 10;

const TYPE_STRING: u8 = 0;
const TYPE_HASH: u8 = 4;
const TYPE_HASH_ZIPLIST: u8 = 13;
const TYPE_HASH_LISTPACK: u8 = 16;
const TYPE_HASH_METADATA: u8 = 24;
const TYPE_HASH_LISTPACK_EX: u8 = 25;

/// A value read from a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored<'p> {
    /// A string.
    String(Cow<'p, [u8]>),
    /// A hash: at least one field, no field twice.
    Hash(Vec<HashField<'p>>),
}

/// A field of a hash read from a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashField<'p> {
    /// Its name.
    pub field: Cow<'p, [u8]>,
    /// Its value.
    pub value: Cow<'p, [u8]>,
    /// When it expires, in Unix milliseconds; `None`: never.
    pub expires_at_ms: Option<u64>,
}

/// Why a payload is not restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadError {
    /// From a newer server, or damaged on its way, or no payload at all.
    VersionOrChecksum,
    /// Sound but not understood: a type that we do not have, or broken inside.
    Format,
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PayloadError::VersionOrChecksum => "DUMP payload version or checksum are wrong",
            PayloadError::Format => "Bad data format",
        })
    }
}

impl std::error::Error for PayloadError {}

/// The payload of a value; fields that have expired by `now_ms` are left out.
#[must_use]
pub fn dump(value: Value<'_>, now_ms: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    match value {
        Value::String(string) => {
            payload.push(TYPE_STRING);
            write_string(&mut payload, string.as_slice());
        }
        Value::Hash(hash) => dump_hash(&mut payload, hash, now_ms),
    }
    payload.extend_from_slice(&VERSION_WRITTEN.to_le_bytes());
    payload.extend_from_slice(&crc64(&payload).to_le_bytes());
    payload
}

/// The value in a payload.
pub fn restore(payload: &[u8]) -> Result<Restored<'_>, PayloadError> {
    let (body, footer) = payload.split_last_chunk::<FOOTER_BYTES>().ok_or(PayloadError::VersionOrChecksum)?;
    let [version_low, version_high, checksum @ ..] = *footer;
    let summed = &payload[..body.len() + 2];
    if u16::from_le_bytes([version_low, version_high]) > VERSION_READ_MAX
        || u64::from_le_bytes(checksum) != crc64(summed)
    {
        return Err(PayloadError::VersionOrChecksum);
    }
    read_value(body).map_err(|Bad| PayloadError::Format)
}

fn dump_hash(payload: &mut Vec<u8>, hash: &HashValue, now_ms: u64) {
    let earliest_ms = hash.fields(now_ms).filter_map(|field| field.expires_at_ms).min();
    if let Some(earliest_ms) = earliest_ms {
        payload.push(TYPE_HASH_METADATA);
        payload.extend_from_slice(&earliest_ms.to_le_bytes());
    } else {
        // The listpack of a hash that is small by Redis's measure.
        let small = hash.encoding_name() != "hashtable";
        let listpack =
            if small { listpack::write(hash.iter(now_ms).flat_map(|(field, value)| [field, value])) } else { None };
        if let Some(listpack) = listpack {
            payload.push(TYPE_HASH_LISTPACK);
            write_string(payload, &listpack);
            return;
        }
        payload.push(TYPE_HASH);
    }
    write_length(payload, hash.len(now_ms) as u64);
    for field in hash.fields(now_ms) {
        if let Some(earliest_ms) = earliest_ms {
            write_length(payload, field.expires_at_ms.map_or(0, |at_ms| at_ms - earliest_ms + 1));
        }
        write_string(payload, field.name);
        write_string(payload, field.value);
    }
}

fn read_value(body: &[u8]) -> Result<Restored<'_>, Bad> {
    let mut reader = Reader::new(body);
    let value = match reader.byte()? {
        TYPE_STRING => Restored::String(read_string(&mut reader)?),
        TYPE_HASH => Restored::Hash(read_fields(&mut reader, None)?),
        TYPE_HASH_METADATA => {
            let earliest_ms = u64::from_le_bytes(reader.array()?);
            Restored::Hash(read_fields(&mut reader, Some(earliest_ms))?)
        }
        TYPE_HASH_ZIPLIST => Restored::Hash(pairs(read_list(&mut reader, ziplist::read)?)?),
        TYPE_HASH_LISTPACK => Restored::Hash(pairs(read_list(&mut reader, listpack::read)?)?),
        TYPE_HASH_LISTPACK_EX => {
            // The earliest expiry, which the fields tell as well.
            reader.take(8)?;
            Restored::Hash(triples(read_list(&mut reader, listpack::read)?)?)
        }
        _ => return Err(Bad),
    };
    if let Restored::Hash(fields) = &value {
        let mut names = HashSet::with_capacity(fields.len());
        if fields.is_empty() || !fields.iter().all(|field| names.insert(&field.field)) {
            return Err(Bad);
        }
    }
    if reader.rest().is_empty() { Ok(value) } else { Err(Bad) }
}

/// Fields one by one; with the earliest expiry each has its own in front.
fn read_fields<'p>(reader: &mut Reader<'p>, earliest_ms: Option<u64>) -> Result<Vec<HashField<'p>>, Bad> {
    let count = read_length(reader)?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let expires_at_ms = match earliest_ms {
            None => None,
            Some(earliest_ms) => match read_length(reader)? {
                0 => None,
                behind => Some(earliest_ms.checked_add(behind - 1).ok_or(Bad)?),
            },
        };
        fields.push(HashField { field: read_string(reader)?, value: read_string(reader)?, expires_at_ms });
    }
    Ok(fields)
}

type List<'p> = Vec<Cow<'p, [u8]>>;

/// The elements of a list inside a string, which may be a compressed one.
fn read_list<'p>(
    reader: &mut Reader<'p>,
    read: for<'b> fn(&'b [u8]) -> Result<List<'b>, Bad>,
) -> Result<List<'p>, Bad> {
    match read_string(reader)? {
        Cow::Borrowed(bytes) => read(bytes),
        Cow::Owned(bytes) => Ok(read(&bytes)?.into_iter().map(|element| Cow::Owned(element.into_owned())).collect()),
    }
}

fn pairs(list: List<'_>) -> Result<Vec<HashField<'_>>, Bad> {
    let mut fields = Vec::with_capacity(list.len() / 2);
    let mut elements = list.into_iter();
    while let Some(field) = elements.next() {
        fields.push(HashField { field, value: elements.next().ok_or(Bad)?, expires_at_ms: None });
    }
    Ok(fields)
}

fn triples(list: List<'_>) -> Result<Vec<HashField<'_>>, Bad> {
    let mut fields = Vec::with_capacity(list.len() / 3);
    let mut elements = list.into_iter();
    while let Some(field) = elements.next() {
        let (value, expiry) = (elements.next().ok_or(Bad)?, elements.next().ok_or(Bad)?);
        let expires_at_ms = sutra_protocol::number::parse_u64(&expiry).ok_or(Bad)?;
        fields.push(HashField { field, value, expires_at_ms: (expires_at_ms > 0).then_some(expires_at_ms) });
    }
    Ok(fields)
}

#[cfg(test)]
mod tests;
