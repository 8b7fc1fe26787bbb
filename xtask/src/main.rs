//! What the house does to itself: `cargo xtask docs`, `cargo xtask tidy`, `cargo xtask ci`.
#![forbid(unsafe_code)]

mod ci;
mod docs;
mod tidy;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask docs [--check]   write docs/commands.md and docs/configuration.md from the code; --check: fail if they differ
cargo xtask tidy             edges between crates, unsafe, links, commands, sleeps, labels, lengths, text, decisions
cargo xtask ci               what needs no tool but cargo: fmt, clippy, tests, documentation, tidy";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    let result = match words.as_slice() {
        ["docs"] => docs::write(&root),
        ["docs", "--check"] => docs::check(&root),
        ["tidy"] => tidy::run(&root),
        ["ci"] => ci::run(&root),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// The repository: the folder above this package.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}
