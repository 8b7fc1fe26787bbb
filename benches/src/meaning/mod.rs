//! Meaning: every figure of exact ranges, lookups, graphs, inserts, invalidations, memory and the embedder, beside faiss, usearch and hnswlib.

mod brute;
mod cache;
mod embedding;
mod footprint;
mod graphs;
mod inserts;
mod law;
mod lookups;
mod peers;
mod ranges;
mod source;
mod timer;
mod vectors;
mod visibility;
mod wire;

use crate::arguments::Arguments;
use crate::process::{Scratch, Server};
use crate::table::Report;
use cache::Cache;
use source::Set;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Debug)]
struct Plan<'a> {
    arguments: &'a Arguments,
    quick: bool,
    peers: bool,
    python: PathBuf,
    /// `--rows`, in place of the sizes that the goals name.
    size: Option<usize>,
    dim: Option<usize>,
    /// `--data`, or `dev.npy` of `$SUTRA_DATA`.
    data: Option<PathBuf>,
}

/// Measures every part (or those whose name contains `--pattern`) and adds their tables.
pub(crate) fn run(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    type Part = fn(&Plan<'_>, &mut Report) -> io::Result<()>;
    let parts: [(&str, Part); 7] = [
        ("ranges", ranges::run),
        ("lookups", lookups::run),
        ("graphs", graphs::run),
        ("inserts", inserts::run),
        ("visibility", visibility::run),
        ("footprint", footprint::run),
        ("embedding", embedding::run),
    ];
    let directory = std::env::var_os("SUTRA_DATA").map(PathBuf::from);
    let plan = Plan {
        arguments,
        quick: arguments.quick,
        peers: arguments.peers,
        python: arguments.python.clone(),
        size: arguments.row_count(),
        dim: arguments.dim,
        data: arguments.data.clone().or_else(|| Some(directory?.join("dev.npy")).filter(|path| path.exists())),
    };
    let is_wanted = |name: &str| arguments.pattern.as_ref().is_none_or(|pattern| name.contains(pattern.as_str()));
    let mut failed = Vec::new();
    for (name, part) in parts.into_iter().filter(|(name, _)| is_wanted(name)) {
        eprintln!("meaning: {name}");
        if let Err(error) = part(&plan, report) {
            failed.push(format!("{name}: {error}"));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(io::Error::other(failed.join("\n"))) }
}

impl Plan<'_> {
    /// Real vectors if there are any of this dimension, else generated ones.
    fn set(&self, scratch: &Scratch, rows: usize, dim: usize, queries: usize) -> io::Result<Set> {
        match &self.data {
            Some(file) if vectors::Vectors::open(file)?.dim == dim => source::real(scratch.path(), file, rows, queries),
            Some(_) | None => source::generated(scratch.path(), rows, dim, queries),
        }
    }

    /// Our server, with room for so many vectors and without graphs.
    fn server(&self, rows: usize, dim: usize) -> io::Result<Server> {
        let bytes = rows as u64 * (dim as u64 * 4 + 1024);
        let server = self.arguments.start_ours(bytes * 2 + (512 << 20))?;
        wire::expect_ok(server.client()?.call(&[b"CONFIG", b"SET", b"graph-min-rows", b"0"])?)?;
        Ok(server)
    }
}

/// Puts rows of a set under their numbers.
fn fill(cache: &Cache, set: &Set, rows: Range<usize>) -> io::Result<()> {
    set.base.each(rows, &mut |row, vector| cache.put(row as u64, vector).map(drop))
}
