//! Values that live on the heap: those that change in place, in small steps.
//!
//! Every value counts its own memory and has a binary form for checkpoints (see [`HeapValue::encode`]).

mod bytes;
mod codec;
mod compact_fields;
mod field_table;
mod hash;
mod value;

pub use bytes::{BYTES_MAX, BytesValue, TooLong};
pub use codec::DecodeError;
pub use hash::{FIELDS_MAX_DEFAULT, Field, FieldExpire, FieldPersist, HashOptions, HashValue, ITEM_BYTES_MAX_DEFAULT};
pub use value::HeapValue;
