//! The fields of an answer that is a map.

use crate::{Error, Reply, reply};
use std::time::Duration;
use sutra_protocol::Frame;

/// A map whose keys are words, taken apart field by field. A field that an older shard does not know is as one that is nil.
pub(crate) struct Fields {
    pairs: Vec<(Reply, Reply)>,
    /// Where the next field is looked for first: fields come in the order in which they are taken, mostly.
    next: usize,
}

impl Fields {
    pub(crate) fn of(reply: Reply) -> Result<Fields, Error> {
        if let Frame::Map(pairs) = reply {
            Ok(Fields { pairs, next: 0 })
        } else {
            Err(reply::unexpected("a map", &reply))
        }
    }

    /// The field of this name, which is nil from then on.
    pub(crate) fn take(&mut self, name: &str) -> Reply {
        let count = self.pairs.len();
        for at in (self.next..count).chain(0..self.next) {
            let (key, value) = &mut self.pairs[at];
            if matches!(key, Frame::Bulk(key) if **key == *name.as_bytes())
                || matches!(key, Frame::Simple(key) if key == name)
            {
                self.next = at + 1;
                return std::mem::replace(value, Frame::Null);
            }
        }
        Frame::Null
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<String, Error> {
        reply::text(self.take(name))
    }

    pub(crate) fn text_or_nil(&mut self, name: &str) -> Result<Option<String>, Error> {
        or_nil(self.take(name), reply::text)
    }

    pub(crate) fn count(&mut self, name: &str) -> Result<u64, Error> {
        self.count_or_nil(name).map(Option::unwrap_or_default)
    }

    pub(crate) fn count_or_nil(&mut self, name: &str) -> Result<Option<u64>, Error> {
        or_nil(self.take(name), reply::count)
    }

    pub(crate) fn float(&mut self, name: &str) -> Result<f64, Error> {
        self.float_or_nil(name).map(Option::unwrap_or_default)
    }

    pub(crate) fn float_or_nil(&mut self, name: &str) -> Result<Option<f64>, Error> {
        or_nil(self.take(name), reply::float)
    }

    pub(crate) fn time_or_nil(&mut self, name: &str) -> Result<Option<Duration>, Error> {
        Ok(self.count_or_nil(name)?.map(Duration::from_millis))
    }

    /// The fields of a map in this map; nothing if there is none.
    pub(crate) fn inner(&mut self, name: &str) -> Result<Fields, Error> {
        let inner = or_nil(self.take(name), Fields::of)?;
        Ok(inner.unwrap_or(Fields { pairs: Vec::new(), next: 0 }))
    }

    /// What is left, with the names.
    pub(crate) fn rest(self) -> Vec<(Reply, Reply)> {
        self.pairs
    }
}

/// Nil is nothing; everything else is read.
pub(crate) fn or_nil<T>(reply: Reply, read: impl FnOnce(Reply) -> Result<T, Error>) -> Result<Option<T>, Error> {
    if let Frame::Null = reply { Ok(None) } else { read(reply).map(Some) }
}

/// So many elements as are expected.
pub(crate) fn elements<const N: usize>(reply: Reply, expected: &'static str) -> Result<[Reply; N], Error> {
    reply::array(reply)?.try_into().map_err(|other| reply::unexpected(expected, &Frame::Array(other)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn fields_are_found_in_any_order_and_those_that_are_missing_are_nil() {
        let word = |text: &'static str| Frame::Bulk(Bytes::from_static(text.as_bytes()));
        let pairs = vec![(word("a"), Frame::Integer(1)), (word("b"), word("x")), (word("c"), Frame::Double(0.5))];
        let mut fields = Fields::of(Frame::Map(pairs)).unwrap();
        assert_eq!(fields.float("c").unwrap(), 0.5);
        assert_eq!(fields.count("a").unwrap(), 1);
        assert_eq!(fields.text_or_nil("b").unwrap().as_deref(), Some("x"));
        assert_eq!(fields.count_or_nil("new").unwrap(), None);
        assert!(Fields::of(Frame::Array(Vec::new())).is_err());
    }
}
