//! Values that live on the heap.
use std::collections::BTreeMap;

/// A hash (interim form).
#[derive(Debug, Clone, Default)]
pub struct HashValue {
    pub(crate) fields: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>,
}

/// A value on the heap.
#[derive(Debug, Clone)]
pub enum HeapValue {
    /// A hash.
    Hash(HashValue),
}

fn live(expiry: Option<u64>, now_ms: u64) -> bool {
    expiry.is_none_or(|at| at > now_ms)
}

impl HashValue {
    /// The value of a field.
    #[must_use]
    pub fn get(&self, field: &[u8], now_ms: u64) -> Option<&[u8]> {
        self.fields.get(field).filter(|(_, e)| live(*e, now_ms)).map(|(v, _)| v.as_slice())
    }
    /// The expiry of a field: `None` if there is no such field.
    #[must_use]
    pub fn field_expiry(&self, field: &[u8], now_ms: u64) -> Option<Option<u64>> {
        self.fields.get(field).filter(|(_, e)| live(*e, now_ms)).map(|(_, e)| *e)
    }
    /// Live fields.
    #[must_use]
    pub fn len(&self, now_ms: u64) -> usize {
        self.iter(now_ms).count()
    }
    /// Whether no field is live.
    #[must_use]
    pub fn is_empty(&self, now_ms: u64) -> bool {
        self.len(now_ms) == 0
    }
    /// Live fields and values.
    pub fn iter(&self, now_ms: u64) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().filter(move |(_, (_, e))| live(*e, now_ms)).map(|(f, (v, _))| (f.as_slice(), v.as_slice()))
    }
    /// A field chosen by a random number.
    #[must_use]
    pub fn random(&self, number: u64, now_ms: u64) -> Option<(&[u8], &[u8])> {
        let n = self.len(now_ms);
        (n > 0).then(|| self.iter(now_ms).nth((number % n as u64) as usize))?
    }
    /// Visits about `count` fields from `cursor` on; returns the next cursor, 0 at the end.
    pub fn scan(&self, _cursor: u64, _count: usize, now_ms: u64, visit: &mut dyn FnMut(&[u8], &[u8])) -> u64 {
        for (f, v) in self.iter(now_ms) {
            visit(f, v);
        }
        0
    }
    /// Redis's name of the encoding.
    #[must_use]
    pub fn encoding_name(&self) -> &'static str {
        "listpack"
    }
}
