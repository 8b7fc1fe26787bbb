//! The command table: a row a command, sorted by name; a file a command (or a small family).

use crate::command::Spec;

mod get;

/// Every command.
pub static TABLE: &[&Spec] = &[&get::SPEC];
