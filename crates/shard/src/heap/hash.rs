//! A hash: fields with values, each of which may expire on its own.
//!
//! Small hashes are one run of bytes, large ones a table; [`HashOptions`] says where the border is, and as in Redis the
//! border is crossed in one direction only. A field is expired from the very millisecond of its expiry on. An expired
//! field is never shown and counts as missing in every operation; it keeps its memory until it is written, removed, or
//! collected by [`HashValue::remove_expired`].

#[cfg(test)]
mod tests;

use super::codec::{DecodeError, read_number, read_pair, write_number, write_pair};
use super::compact_fields::CompactFields;
use super::field_table::FieldTable;
use super::value::{HEADER_BYTES, TYPE_HASH_LISTPACK, TYPE_HASH_LISTPACKEX, TYPE_HASH_TABLE};

/// Redis's `hash-max-listpack-entries`.
pub const FIELDS_MAX_DEFAULT: usize = 512;
/// Redis's `hash-max-listpack-value`.
pub const ITEM_BYTES_MAX_DEFAULT: usize = 64;

/// Up to where a hash keeps the compact form, and the secret of the table form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashOptions {
    /// The most fields of a compact hash.
    pub fields_max: usize,
    /// The most bytes of a name or a value in a compact hash.
    pub item_bytes_max: usize,
    /// Seeds the hashes of field names in the table form. Keep it secret, lest clients choose names that collide.
    pub seed: u64,
}

impl Default for HashOptions {
    /// Redis's limits; the seed is zero.
    fn default() -> HashOptions {
        HashOptions { fields_max: FIELDS_MAX_DEFAULT, item_bytes_max: ITEM_BYTES_MAX_DEFAULT, seed: 0 }
    }
}

/// A hash. See the module's documentation.
#[derive(Clone, Debug)]
pub struct HashValue {
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Compact(CompactFields),
    Table(Box<FieldTable>),
}

/// A field of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// When the field expires, in Unix milliseconds; `None` for never.
    pub expires_at_ms: Option<u64>,
}

impl Field<'_> {
    /// Whether the field is not expired.
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms)
    }
}

/// What [`HashValue::expire`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldExpire {
    /// There is no such field.
    Missing,
    /// The field has the new expiry.
    Set,
    /// The expiry had come already, so the field was removed.
    Removed,
}

/// What [`HashValue::persist`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldPersist {
    /// There is no such field.
    Missing,
    /// The field had no expiry.
    NoExpiry,
    /// The field expires no more.
    Done,
}

impl Default for HashValue {
    fn default() -> HashValue {
        HashValue { form: Form::Compact(CompactFields::default()) }
    }
}

impl HashValue {
    /// The value of a field.
    pub fn get(&self, name: &[u8], now_ms: u64) -> Option<&[u8]> {
        self.field(name, now_ms).map(|field| field.value)
    }

    /// The expiry of a field, which itself is `None` for "never"; `None` if there is no such field.
    pub fn field_expiry(&self, name: &[u8], now_ms: u64) -> Option<Option<u64>> {
        self.field(name, now_ms).map(|field| field.expires_at_ms)
    }

    /// Whether there is such a field.
    pub fn contains(&self, name: &[u8], now_ms: u64) -> bool {
        self.field(name, now_ms).is_some()
    }

    /// A field with all there is to know of it.
    pub fn field(&self, name: &[u8], now_ms: u64) -> Option<Field<'_>> {
        let field = match &self.form {
            Form::Compact(compact) => compact.field(name),
            Form::Table(table) => table.field(name),
        };
        field.filter(|field| field.is_live(now_ms))
    }

    /// The number of fields. Takes longer only while expired fields wait to be collected.
    pub fn len(&self, now_ms: u64) -> usize {
        match &self.form {
            Form::Compact(compact) => compact.live_count(now_ms),
            Form::Table(table) => table.live_count(now_ms),
        }
    }

    /// Whether there is no field.
    pub fn is_empty(&self, now_ms: u64) -> bool {
        self.len(now_ms) == 0
    }

    /// Names and values.
    pub fn iter(&self, now_ms: u64) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields(now_ms).map(|field| (field.name, field.value))
    }

    /// All fields with their expiries.
    pub fn fields(&self, now_ms: u64) -> impl Iterator<Item = Field<'_>> {
        self.stored().filter(move |field| field.is_live(now_ms))
    }

    /// The name and value of a field chosen by a random number. Constant time in the table form, except that expired
    /// fields not yet collected are stepped over (which also favours the field behind them).
    pub fn random(&self, number: u64, now_ms: u64) -> Option<(&[u8], &[u8])> {
        let field = match &self.form {
            Form::Compact(compact) => {
                let count = compact.live_count(now_ms) as u64;
                let nth = number.checked_rem(count)?;
                compact.fields().filter(|field| field.is_live(now_ms)).nth(nth as usize)
            }
            Form::Table(table) => table.random(number, now_ms),
        };
        field.map(|field| (field.name, field.value))
    }

    /// Visits about `count` fields from `cursor` on, which is 0 at first, and returns the next cursor, 0 at the end. A
    /// field that is there from the first call to the last is visited, exactly once, whatever else changes. A compact
    /// hash is visited as a whole, as in Redis.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        now_ms: u64,
        visit: &mut dyn FnMut(&'a [u8], &'a [u8]),
    ) -> u64 {
        let mut visit_live = |field: Field<'a>| {
            if field.is_live(now_ms) {
                visit(field.name, field.value);
            }
        };
        match &self.form {
            Form::Compact(compact) => {
                compact.fields().for_each(visit_live);
                0
            }
            Form::Table(table) => table.scan(cursor, count, &mut visit_live),
        }
    }

    /// Redis's name of the encoding: "listpack", "listpackex" once a field of a compact hash got an expiry, or
    /// "hashtable".
    pub fn encoding_name(&self) -> &'static str {
        match &self.form {
            Form::Compact(compact) if compact.is_extended() => "listpackex",
            Form::Compact(_) => "listpack",
            Form::Table(_) => "hashtable",
        }
    }

    /// Bytes on the heap, with an estimate for the allocator's overhead. Constant time.
    pub fn memory_bytes(&self) -> usize {
        match &self.form {
            Form::Compact(compact) => compact.memory_bytes(),
            Form::Table(table) => size_of::<FieldTable>() + table.memory_bytes(),
        }
    }

    /// The earliest expiry of any field, expired ones that wait to be collected included. Constant time in the compact
    /// form, logarithmic in the table form.
    pub fn next_expiry(&self) -> Option<u64> {
        match &self.form {
            Form::Compact(compact) => compact.next_expiry(),
            Form::Table(table) => table.next_expiry(),
        }
    }

    /// Sets a field and says whether it is new. With `keep_ttl` a field keeps the expiry it had (HINCRBY), otherwise it
    /// loses it (HSET).
    pub fn set(&mut self, name: &[u8], value: &[u8], keep_ttl: bool, now_ms: u64, options: &HashOptions) -> bool {
        if let Form::Compact(compact) = &self.form
            && (name.len().max(value.len()) > options.item_bytes_max
                || compact.count() >= options.fields_max && compact.field(name).is_none())
        {
            let mut table = FieldTable::with_room_for(compact.count() + 1, options.seed);
            compact.fields().for_each(|field| {
                table.insert(field);
            });
            self.form = Form::Table(Box::new(table));
        }
        match &mut self.form {
            Form::Compact(compact) => compact.set(name, value, keep_ttl, now_ms),
            Form::Table(table) => table.set(name, value, keep_ttl, now_ms),
        }
    }

    /// Removes a field and says whether it was there.
    pub fn remove(&mut self, name: &[u8], now_ms: u64) -> bool {
        match &mut self.form {
            Form::Compact(compact) => compact.remove(name, now_ms),
            Form::Table(table) => table.remove(name, now_ms),
        }
    }

    /// Gives a field an expiry in Unix milliseconds. One that has come already removes the field.
    pub fn expire(&mut self, name: &[u8], at_ms: u64, now_ms: u64) -> FieldExpire {
        if !self.contains(name, now_ms) {
            return FieldExpire::Missing;
        }
        if at_ms <= now_ms {
            self.remove(name, now_ms);
            return FieldExpire::Removed;
        }
        self.set_expiry(name, Some(at_ms));
        FieldExpire::Set
    }

    /// Takes away a field's expiry.
    pub fn persist(&mut self, name: &[u8], now_ms: u64) -> FieldPersist {
        match self.field_expiry(name, now_ms) {
            None => FieldPersist::Missing,
            Some(None) => FieldPersist::NoExpiry,
            Some(Some(_)) => {
                self.set_expiry(name, None);
                FieldPersist::Done
            }
        }
    }

    /// Removes expired fields, the `limit` earliest of them if there are more (in the compact form any of them), and
    /// returns their names.
    pub fn remove_expired(&mut self, now_ms: u64, limit: usize) -> Vec<Vec<u8>> {
        match &mut self.form {
            Form::Compact(compact) => compact.remove_expired(now_ms, limit),
            Form::Table(table) => table.remove_expired(now_ms, limit),
        }
    }

    /// Appends the type and all that follows it in the binary form.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match &self.form {
            Form::Compact(compact) => {
                out.push(if compact.is_extended() { TYPE_HASH_LISTPACKEX } else { TYPE_HASH_LISTPACK });
                write_number(out, compact.count() as u64);
                out.extend_from_slice(compact.as_bytes());
            }
            Form::Table(table) => {
                out.push(TYPE_HASH_TABLE);
                out.extend_from_slice(&table.seed().to_le_bytes());
                write_number(out, table.count() as u64);
                table.fields().for_each(|field| write_pair(out, field));
            }
        }
    }

    /// The hash of a binary form, given whole so that errors can tell the offset; `kind` is its type.
    pub(super) fn decode(kind: u8, bytes: &[u8]) -> Result<HashValue, DecodeError> {
        let mut at = HEADER_BYTES;
        let mut seed = 0;
        if kind == TYPE_HASH_TABLE {
            let chunk = bytes[at..].first_chunk::<8>().ok_or(malformed("no seed", at))?;
            seed = u64::from_le_bytes(*chunk);
            at += chunk.len();
        }
        let count = read_number(bytes, &mut at).ok_or(malformed("no count of fields", at))?;
        // A pair has two bytes at least, so the count is now bounded by what is in memory.
        if count > (bytes.len() - at) as u64 / 2 {
            return Err(malformed("more fields than bytes", at));
        }
        let count = count as usize;
        let pairs_start = at;
        if kind == TYPE_HASH_TABLE {
            let mut table = FieldTable::with_room_for(0, seed);
            for _ in 0..count {
                let pair = read_pair(bytes, at).ok_or(malformed("not a field", at))?;
                if !table.insert(pair.field) {
                    return Err(malformed("a name occurs twice", at));
                }
                at = pair.end;
            }
            at_end(bytes, at)?;
            return Ok(HashValue { form: Form::Table(Box::new(table)) });
        }
        let mut names = Vec::with_capacity(count);
        for _ in 0..count {
            let pair = read_pair(bytes, at).ok_or(malformed("not a field", at))?;
            if kind == TYPE_HASH_LISTPACK && pair.field.expires_at_ms.is_some() {
                return Err(malformed("an expiry in a listpack", at));
            }
            names.push(pair.field.name);
            at = pair.end;
        }
        at_end(bytes, at)?;
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(malformed("a name occurs twice", pairs_start));
        }
        let compact = CompactFields::from_sound_bytes(&bytes[pairs_start..], count, kind == TYPE_HASH_LISTPACKEX);
        Ok(HashValue { form: Form::Compact(compact) })
    }

    fn set_expiry(&mut self, name: &[u8], expires_at_ms: Option<u64>) {
        match &mut self.form {
            Form::Compact(compact) => compact.set_expiry(name, expires_at_ms),
            Form::Table(table) => table.set_expiry(name, expires_at_ms),
        }
    }

    /// All fields, expired ones included.
    fn stored(&self) -> impl Iterator<Item = Field<'_>> {
        let (compact, table) = match &self.form {
            Form::Compact(compact) => (Some(compact), None),
            Form::Table(table) => (None, Some(table)),
        };
        let compact = compact.into_iter().flat_map(CompactFields::fields);
        compact.chain(table.into_iter().flat_map(|table| table.fields()))
    }
}

fn malformed(what: &'static str, offset: usize) -> DecodeError {
    DecodeError::Malformed { what, offset }
}

fn at_end(bytes: &[u8], at: usize) -> Result<(), DecodeError> {
    if at == bytes.len() { Ok(()) } else { Err(malformed("bytes after the last field", at)) }
}
