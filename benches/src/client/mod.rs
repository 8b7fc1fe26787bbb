//! The client library beside others: every figure of its goals, against our server as a process of its own.

mod calls;
mod coherence;
mod crew;
mod embeddings;
mod l1;
mod library;
mod misses;
mod tiers;
mod vectors;
pub(crate) mod worker;

use crate::arguments::Arguments;
use crate::table::Report;
use std::io;

/// Measures every part (or those whose name contains `--pattern`) and adds their tables.
pub(crate) fn run(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    type Part = fn(&Arguments, &mut Report) -> io::Result<()>;
    let parts: [(&str, Part); 5] = [
        ("calls", calls::run),
        ("l1", l1::run),
        ("embeddings", embeddings::run),
        ("misses", misses::run),
        ("coherence", coherence::run),
    ];
    let is_wanted = |name: &str| arguments.pattern.as_ref().is_none_or(|pattern| name.contains(pattern.as_str()));
    let mut failed = Vec::new();
    for (name, part) in parts.into_iter().filter(|(name, _)| is_wanted(name)) {
        if let Err(error) = part(arguments, report) {
            failed.push(format!("{name}: {error}"));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(io::Error::other(failed.join("\n"))) }
}
