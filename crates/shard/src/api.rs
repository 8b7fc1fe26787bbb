//! The vocabulary of the shard: what callers hand in and get back.

use crate::heap::HashValue;
use bytes::Bytes;
use std::fmt;
use sutra_mmap_store::Record;

/// Which entries a transaction may touch; it holds the locks of their stripes until it is dropped.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// No entry at all: for commands that only ask about the shard.
    Nothing,
    /// One key: the common case.
    Key(&'a [u8]),
    /// Several keys, in any order, repeats allowed.
    Keys(&'a [&'a [u8]]),
    /// The whole keyspace: SCAN, KEYS, FLUSHALL, SWAPDB, and EXECs with such commands.
    All,
}

/// The bytes of a string entry, borrowed from the transaction.
#[derive(Clone, Copy)]
pub struct StringRef<'t> {
    pub(crate) bytes: &'t [u8],
    pub(crate) record: Option<Record<'t>>,
}

impl fmt::Debug for StringRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StringRef").field(&self.bytes.len()).finish()
    }
}

impl<'t> StringRef<'t> {
    /// The value itself.
    #[must_use]
    pub fn as_slice(&self) -> &'t [u8] {
        self.bytes
    }

    /// The value as a shared buffer that outlives the transaction without a copy where the store can pin it
    /// (large values in mapped segments); otherwise a copy.
    #[must_use]
    pub fn to_shared(&self) -> Bytes {
        const PINNED_BYTES_MIN: usize = 4096;
        match &self.record {
            Some(record) if self.bytes.len() >= PINNED_BYTES_MIN => record.shared_value(),
            Some(_) | None => Bytes::copy_from_slice(self.bytes),
        }
    }
}

/// What an entry holds.
#[derive(Debug, Clone, Copy)]
pub enum Value<'t> {
    /// A string.
    String(StringRef<'t>),
    /// A hash; it may hold fields that have expired, which its methods never show.
    Hash(&'t HashValue),
}

impl Value<'_> {
    /// The kind of the value.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match self {
            Value::String(_) => ValueKind::String,
            Value::Hash(_) => ValueKind::Hash,
        }
    }
}

/// The kinds of values, named as TYPE names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// A string.
    String,
    /// A hash.
    Hash,
}

impl ValueKind {
    /// Redis's name of the type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ValueKind::String => "string",
            ValueKind::Hash => "hash",
        }
    }
}

/// A live entry: its value and metadata at this instant.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'t> {
    /// The value.
    pub value: Value<'t>,
    /// When it expires, in Unix milliseconds; `None`: never.
    pub expires_at_ms: Option<u64>,
    /// Milliseconds since it was last read or written (before this look).
    pub idle_ms: u64,
    /// The logarithmic access counter (0-255), decayed to now.
    pub frequency: u8,
    /// What it costs to compute again, in any unit the caller likes (1 where none was given).
    pub cost: f32,
    /// Bytes the entry occupies in the store and the index.
    pub memory_bytes: u64,
}

impl Entry<'_> {
    /// How to store a value in the entry's place with its expiry and cost.
    #[must_use]
    pub fn as_put(&self) -> Put {
        #[expect(clippy::float_cmp, reason = "1 is what an entry without a cost reads as, exactly")]
        let cost = (self.cost != 1.0).then_some(self.cost);
        Put { expires_at_ms: self.expires_at_ms, cost }
    }
}

/// How a value is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Put {
    /// When the entry expires, in Unix milliseconds; `None`: never.
    pub expires_at_ms: Option<u64>,
    /// What it costs to compute again; `None`: 1.
    pub cost: Option<f32>,
}

/// Why a write was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// The entry holds another kind of value.
    WrongType,
    /// The value is larger than the store accepts.
    TooLarge {
        /// Bytes asked for.
        bytes: u64,
        /// Bytes accepted.
        bytes_max: u64,
    },
    /// No room within the memory limit and nothing may be evicted.
    OutOfMemory,
    /// An invalidation that covers the entry holds.
    Held {
        /// The invalidation.
        lsn: u64,
        /// Until when, in Unix milliseconds.
        until_ms: u64,
    },
    /// The log or the store has failed; writes are refused until it is whole again. The text names the cause.
    Unavailable(String),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::WrongType => f.write_str("the entry holds another kind of value"),
            WriteError::TooLarge { bytes, bytes_max } => {
                write!(f, "the value has {bytes} bytes, at most {bytes_max} are accepted")
            }
            WriteError::Held { lsn, until_ms } => {
                write!(f, "the entry is covered by invalidation {lsn}, which refuses writes until {until_ms} ms")
            }
            WriteError::OutOfMemory => f.write_str("no room within the memory limit"),
            WriteError::Unavailable(cause) => write!(f, "writes are refused: {cause}"),
        }
    }
}

impl std::error::Error for WriteError {}

/// What INFO keyspace shows of one database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DatabaseStats {
    /// Entries.
    pub keys: u64,
    /// Entries with an expiry.
    pub expires: u64,
    /// Mean time to live of a sample of them, in milliseconds.
    pub average_ttl_ms: u64,
}
