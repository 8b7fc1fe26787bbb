//! Questions put to a record that was made by hand, at an instant that stands still.

mod counts;
mod record;
mod sentences;
mod topics;
