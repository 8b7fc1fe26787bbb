//! The peers of `benches/meaning/peers.py`: run on the same vectors, in the same run, on the driver's core.

use super::Plan;
use super::source::{Set, floats_of};
use super::vectors::Vectors;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The program, so that a copy of this binary needs no other file.
const PROGRAM: &str = include_str!("../../meaning/peers.py");

/// What became of the peers.
#[derive(Debug)]
pub(super) enum Peer {
    /// The lines that they have printed.
    Said(Vec<Value>),
    /// None is installed; the sentence for the table.
    Missing(String),
}

/// Runs the program with these arguments and waits for its end.
pub(super) fn ask(plan: &Plan<'_>, task: &str, arguments: &[&OsStr]) -> io::Result<Peer> {
    let missing = |why: &str| {
        Ok(Peer::Missing(format!(
            "{why}: `pip install numpy faiss-cpu usearch hnswlib`, and name that interpreter with `--python`."
        )))
    };
    let child = Command::new(&plan.python)
        .args(["-", task])
        .args(arguments)
        .env("OMP_NUM_THREADS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return missing("Peers were not measured, there is no Python") };
    if let Some(mut input) = child.stdin.take() {
        input.write_all(PROGRAM.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<Value> =
        text.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(io::Error::other)?;
    if !output.status.success() {
        return Err(io::Error::other(format!("the peers ended with {}", output.status)));
    }
    let (absent, said): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line["missing"].is_string());
    if said.is_empty() && !absent.is_empty() {
        let names: Vec<&str> = absent.iter().filter_map(|line| line["missing"].as_str()).collect();
        return missing(&format!("Peers are not installed ({})", names.join(", ")));
    }
    Ok(Peer::Said(said))
}

/// Writes the queries of a set beside its base.
pub(super) fn write_queries(set: &Set) -> io::Result<PathBuf> {
    let path = set.base.path().with_file_name("queries.npy");
    Vectors::create(&path, set.queries.len(), set.base.dim, &mut |rows, out| {
        rows.for_each(|row| out.extend(floats_of(&set.queries[row])));
        Ok(())
    })?;
    Ok(path)
}
