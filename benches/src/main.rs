//! The load driver: `cargo run --release -p sutra-bench -- COMMAND`.
//!
//! Everything is measured in one run on one machine, ours beside Debian's `redis-server` (and `memcached` for memory): servers
//! on core 0, the driver on core 1. Ratios are what counts; absolute figures move with the machine.
#![forbid(unsafe_code)]

mod arguments;
mod attacks;
mod client;
mod drive;
mod histogram;
mod load;
mod machine;
mod meaning;
mod memory;
mod probe;
mod process;
mod random;
mod restart;
mod storm;
mod table;
mod traces;
mod wire;

use arguments::{Arguments, USAGE};
use std::io;
use std::process::ExitCode;
use table::Report;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() || words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if words[0] == client::worker::COMMAND {
        return client::worker::main(&words[1..]);
    }
    let arguments = match Arguments::read(words.clone()) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        process::end_all();
        default_hook(panic);
    }));
    match run(arguments, &shown(&words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The command line without the directories of the machine it ran on.
fn shown(words: &[String]) -> String {
    let base = |word: &String| match std::path::Path::new(word).file_name() {
        Some(name) if word.contains('/') => name.to_string_lossy().into_owned(),
        Some(_) | None => word.clone(),
    };
    words.iter().map(base).collect::<Vec<_>>().join(" ")
}

fn run(mut arguments: Arguments, words: &str) -> io::Result<()> {
    arguments.find_server()?;
    let machine = machine::facts();
    if !machine::has_two_cores() {
        eprintln!("warning: without a core for each, server and driver disturb each other");
    }
    machine::pin(machine::CLIENT_CORE);
    if let Some(nice) = arguments.nice {
        machine::raise_priority(nice)?;
    }
    let mut report = Report::begin(format!("cargo run --release -p sutra-bench -- {words}"), machine);
    let result = execute(&arguments, &mut report);
    if let Some(path) = &arguments.json {
        std::fs::write(path, format!("{:#}\n", report.to_json()))?;
    }
    result
}

fn execute(arguments: &Arguments, report: &mut Report) -> io::Result<()> {
    type Run = fn(&Arguments, &mut Report) -> io::Result<()>;
    let commands: [(&str, Run); 8] = [
        ("load", load::run),
        ("memory", memory::run),
        ("restart", restart::run),
        ("traces", traces::run),
        ("storm", storm::run),
        ("attacks", attacks::run),
        ("meaning", meaning::run),
        ("client", client::run),
    ];
    let is_wanted = |name: &str| arguments.command == name || arguments.command == "all";
    let wanted: Vec<_> = commands.iter().filter(|(name, _)| is_wanted(name)).collect();
    if wanted.is_empty() {
        return Err(io::Error::other(format!("{}: no such command\n\n{USAGE}", arguments.command)));
    }
    // What fails does not keep the rest from being measured.
    let mut failed = Vec::new();
    for (name, command) in wanted {
        if let Err(error) = command(arguments, report) {
            failed.push(format!("{name}: {error}"));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(io::Error::other(failed.join("\n"))) }
}
