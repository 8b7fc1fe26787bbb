//! What a note costs, and a question to a full ring: `cargo run --release -p sutra-cache --example ask`.

use std::time::Instant;
use sutra_cache::analytics::answer::{Records, answer};
use sutra_cache::analytics::ring::{Kind, NO_SPACE, Note, Outcome, Ring};
use sutra_cache::analytics::samples::Samples;
use sutra_cache::analytics::topic::Vectors;
use sutra_cache::demo::questions::questions;
use sutra_embed::Builtin;

const NOTES: u64 = 10_000_000;
const RING_LEN: usize = 65_536;

fn main() {
    let questions = questions();
    let texts: Vec<String> =
        (0..RING_LEN).map(|number| format!("{} {number}", questions[number % questions.len()].text)).collect();
    let ring = Ring::new(RING_LEN, 0);
    let note = |number: u64| Note {
        at_ms: number / 1000,
        kind: Kind::Lookup,
        outcome: if number.is_multiple_of(3) { Outcome::Miss } else { Outcome::Hit },
        text: texts[number as usize % texts.len()].as_bytes(),
        space: NO_SPACE,
        tag: 0,
        latency_us: 10,
        amount: 0,
    };
    let mut first = 0;
    for threads in [1, 2] {
        let numbers = first..first + NOTES;
        first += NOTES;
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| numbers.clone().for_each(|number| ring.note(&note(number))));
            }
        });
        let each = began.elapsed().as_nanos() as f64 / NOTES as f64;
        println!(
            "{threads} at once, {NOTES} notes each: {each:.0} ns for one of each, {} bytes held",
            ring.memory_bytes()
        );
    }
    let (samples, vectors) = (Samples::default(), Vectors::default());
    let now_ms = first / 1000;
    for sentence in [
        "hit rate",
        "hit rate for exchange rates",
        "hit rate for exchange rates",
        "hit rate about lost cards",
        "top 10 misses",
    ] {
        let began = Instant::now();
        let snapshot = ring.snapshot();
        let taken = began.elapsed();
        let records = Records {
            now_ms,
            ring: Some(&snapshot),
            samples: &samples,
            vectors: &vectors,
            embed: &|text| Builtin::vector(text).ok().map(Vec::from),
            spaces: &[],
            entries_with_tag: &|_| 0,
            memory_bytes_max: 0,
        };
        let said = answer(sentence, &records);
        println!("{:?} (snapshot {taken:?}): {}", began.elapsed(), said.lines().next().unwrap_or_default());
    }
}
