//! The binary `sutra-cache`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    sutra_shard::map_large_allocations();
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    sutra_cache::cli::run(&arguments)
}
