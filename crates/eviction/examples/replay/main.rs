//! Plays a trace through a log-structured store with rank-merge and through exact LRU, and prints both.
//!
//! `cargo run --release -p sutra-eviction --example replay -- [TRACE.evt] [--policy lru|cost|...] [--fraction 0.1]
//! [--segments N] [--groups N] [--per-group N] [--requests-per-second R]`. Without a trace it makes one up; without a
//! policy it plays several; memory is a fraction of the bytes of all objects.

mod store;
mod trace;

use std::{env, path::PathBuf, process::ExitCode};

use store::{Layout, Score, play, play_exact_lru};
use sutra_eviction::{Policy, VICTIMS_PER_GROUP, segment_bytes};
use trace::Trace;

const SEED: u64 = 42;

struct Options {
    trace: Option<PathBuf>,
    policies: Vec<Policy>,
    fraction: f64,
    segments: Option<u64>,
    groups: usize,
    per_group: usize,
    requests_per_second: u64,
}

fn main() -> ExitCode {
    match options(env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        trace: None,
        policies: vec![Policy::AllkeysLru, Policy::AllkeysLfu, Policy::AllkeysRandom, Policy::Cost],
        fraction: 0.1,
        segments: None,
        groups: 1,
        per_group: VICTIMS_PER_GROUP,
        requests_per_second: 5_000,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--policy" => options.policies = vec![parsed(&value()?)?],
            "--fraction" => options.fraction = parsed(&value()?)?,
            "--segments" => options.segments = Some(parsed::<u64>(&value()?)?.max(1)),
            "--groups" => options.groups = parsed::<usize>(&value()?)?.max(1),
            "--per-group" => options.per_group = parsed::<usize>(&value()?)?.max(2),
            "--requests-per-second" => options.requests_per_second = parsed::<u64>(&value()?)?.max(1),
            path if !path.starts_with("--") => options.trace = Some(PathBuf::from(path)),
            unknown => return Err(format!("unknown option {unknown}")),
        }
    }
    Ok(options)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

fn run(options: &Options) -> Result<(), String> {
    let trace = match &options.trace {
        Some(path) => Trace::read(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => Trace::synthetic(200_000, SEED),
    };
    let memory_bytes = (trace.bytes() as f64 * options.fraction) as u64;
    let segment_bytes = match options.segments {
        Some(count) => u32::try_from(memory_bytes / count).map_err(|_| "segments are too large".to_owned())? / 8 * 8,
        None => segment_bytes(memory_bytes),
    };
    let layout = Layout {
        memory_bytes,
        segment_bytes,
        groups: options.groups,
        per_group: options.per_group,
        requests_per_second: options.requests_per_second,
    };
    println!(
        "{} requests at {}/s, {} objects of {} bytes, memory {} bytes in segments of {}",
        trace.requests.len(),
        options.requests_per_second,
        trace.objects.len(),
        trace.bytes(),
        memory_bytes,
        segment_bytes,
    );
    println!("{:<28}{:>9}{:>9}{:>9}{:>9}{:>9}", "hit ratio by", "objects", "bytes", "cost", "written", "payload");
    row("exact lru, no overhead", &play_exact_lru(&trace, memory_bytes), false);
    for &policy in &options.policies {
        row(policy.name(), &play(&trace, policy, layout, SEED), true);
    }
    Ok(())
}

fn row(name: &str, score: &Score, has_segments: bool) {
    let [objects, bytes, cost] = score.ratios();
    print!("{name:<28}{objects:>9.4}{bytes:>9.4}{cost:>9.4}");
    if has_segments {
        print!("{:>8.3}x{:>8.1}%", score.write_amplification(), score.payload_share() * 100.0);
    }
    println!();
}
