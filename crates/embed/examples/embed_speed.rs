//! How long the built-in model takes for its first text and for each after it, on one core.
//!
//! `cargo run --release -p sutra-embed --example embed_speed`

use std::hint::black_box;
use std::time::Instant;
use sutra_embed::Builtin;

const ROUNDS: usize = 200;

fn main() {
    let begun = Instant::now();
    Builtin::warm();
    println!("tables: {:?}", begun.elapsed());
    let begun = Instant::now();
    black_box(Builtin::vector("How do I reset my password?").is_ok());
    println!("first text after them: {:?}", begun.elapsed());
    let sample = include_str!("../tests/fixtures/banking77.sample.jsonl");
    let texts: Vec<&str> = sample.lines().filter_map(|line| line.split('"').nth(3)).collect();
    let accented = "Wie \u{e4}ndere ich die Kreditkarten-PIN \u{fc}ber das Men\u{fc}?";
    let cyrillic = "\u{41a}\u{430}\u{43a} \u{438}\u{437}\u{43c}\u{435}\u{43d}\u{438}\u{442}\u{44c} \u{43f}\u{430}\u{440}\u{43e}\u{43b}\u{44c}?";
    let unbroken = "a".repeat(100);
    for (what, texts) in [
        ("banking questions", texts.as_slice()),
        ("a German question", &[accented]),
        ("a Russian question", &[cyrillic]),
        ("a word of 100 letters", &[unbroken.as_str()]),
    ] {
        let rounds = ROUNDS * 312 / texts.len();
        let begun = Instant::now();
        for _ in 0..rounds {
            for text in texts {
                black_box(Builtin::vector(black_box(text)).is_ok());
            }
        }
        let count = rounds * texts.len();
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        println!("{what}: {:?} each ({} bytes on average)", begun.elapsed() / count as u32, bytes / texts.len());
    }
}
