//! How long facts take to read, and how often guards tell apart questions that people called duplicates, and others.
//!
//! `cargo run --release -p sutra-guard --example guard_rates [pairs.tsv]`, where a line of the file holds 1 (duplicates)
//! or 0, and the two questions, with tabs between them. `-v` behind it prints the duplicates that are told apart.

use std::hint::black_box;
use std::time::Instant;
use sutra_guard::{Facts, Guard};

const ROUNDS: usize = 300;
const QUESTIONS: &[&str] = &[
    "How do I reset my password?",
    "What can I do if my card still hasn't arrived after 2 weeks?",
    "Why was I charged $1,000.50 on 3 May 2024 for order AB-1234?",
    "I need to know your exchange rates for converting USD to EUR before next Friday.",
    "Is there a way to turn off notifications when someone tries to log in from another country?",
];

fn main() {
    black_box(Facts::of(QUESTIONS[0]));
    for question in QUESTIONS {
        let begun = Instant::now();
        for _ in 0..ROUNDS {
            black_box(Facts::of(black_box(question)));
        }
        println!(
            "{:>6} ns  {:>3} bytes stored  {question}",
            begun.elapsed().as_nanos() as usize / ROUNDS,
            Facts::of(question).encode().len()
        );
    }
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        return;
    };
    let is_verbose = arguments.next().is_some_and(|argument| argument == "-v");
    let pairs = std::fs::read_to_string(&path).expect("a readable file");
    for (label, what) in [("1", "duplicates"), ("0", "others")] {
        let of_label: Vec<(&str, &str)> =
            pairs.lines().filter_map(|line| line.strip_prefix(label)?.strip_prefix('\t')?.split_once('\t')).collect();
        for kind in ["numbers", "dates", "ids", "negation", "numbers,dates,ids,negation"] {
            let guard: Guard = kind.parse().expect("known words");
            let differing = of_label.iter().filter(|(asked, stored)| {
                let difference = guard.differs(&Facts::of(asked), &Facts::of(stored));
                if let Some(difference) =
                    difference.as_ref().filter(|_| is_verbose && label == "1" && !kind.contains(','))
                {
                    println!("    {difference}\n        {asked}\n        {stored}");
                }
                difference.is_some()
            });
            let count = differing.count();
            println!("{what}: {kind} tells apart {count} of {}", of_label.len());
        }
    }
}
