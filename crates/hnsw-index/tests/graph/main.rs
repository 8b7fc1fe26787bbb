//! What a graph promises: near rows are found whatever came and went, nobody is lost, and a file can do no harm.

mod changing;
mod file;
mod finding;
#[cfg(feature = "reference")]
mod reference;
mod support;
