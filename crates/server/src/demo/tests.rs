//! The story is told whole, and what it claims is checked by other means.

use super::play_alone;
use super::questions::questions;
use super::script::{ASKED, CHANGED, MIN_LOOKUP};
use crate::analytics::figures::{count, percent};
use sutra_embed::Builtin;

fn vector(text: &str) -> [f32; Builtin::DIMENSION] {
    Builtin::vector(text).expect("known words")
}

/// How near two texts are, from whole vectors.
fn similarity(a: &[f32; Builtin::DIMENSION], b: &[f32; Builtin::DIMENSION]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn the_demonstration_runs_whole_and_what_it_claims_is_true() {
    let mut out = Vec::new();
    let report = play_alone(&mut out).expect("told to its end");
    let said = String::from_utf8(out).expect("text");
    let questions = questions();
    let (stored, incoming) = questions.split_at(questions.len() - ASKED);

    assert_eq!(report.loaded, stored.len());
    assert!(said.contains(&format!("{} real questions embedded and stored", count(stored.len() as u64))), "{said}");

    // Brute force over whole vectors, for the hits; guards may only take some of them away.
    let vectors: Vec<_> = stored.iter().map(|stored| vector(&stored.text)).collect();
    let min: f32 = MIN_LOOKUP.parse().expect("a number");
    let near = incoming.iter().filter(|asked| {
        let asked = vector(&asked.text);
        vectors.iter().any(|stored| similarity(&asked, stored) >= min)
    });
    let traffic = report.traffic;
    assert_eq!(traffic.lookups, ASKED as u64);
    assert!(traffic.hits <= near.count() as u64 && traffic.hits * 3 > traffic.lookups, "{traffic:?}");
    assert!(traffic.right * 10 > traffic.hits * 8, "{traffic:?}");
    assert!(said.contains(&format!(
        "{} answered from the cache ({})",
        traffic.hits,
        percent(traffic.hits, traffic.lookups)
    )));

    let number: usize =
        report.hit.key.rsplit(':').next().and_then(|number| number.parse().ok()).expect("a key of ours");
    let exact = similarity(&vector("How can I get my PIN unblocked, please?"), &vectors[number]);
    assert!(
        (report.hit.similarity - f64::from(exact)).abs() < 1e-4 && report.hit.margin.is_some_and(|margin| margin > 0.0)
    );
    assert!(report.near_miss.similarity > 0.85, "{:?}", report.near_miss);
    assert!(said.contains("(nil): the guard"), "{said}");

    // Exactly what brute force says: no less, no more.
    let changed: f32 = CHANGED.1.parse().expect("a number");
    let text = vector(CHANGED.0);
    let covered = vectors.iter().filter(|stored| similarity(&text, stored) >= changed).count() as u64;
    assert_eq!((report.would_remove, report.removed, report.left), (covered, covered, 0));
    // One entry more than the questions: that of the near miss.
    assert_eq!(report.entries, (stored.len() as u64 + 1, stored.len() as u64 + 1 - covered));
    assert!(said.contains("---- 0.60 ") && said.contains("0.60 "), "{said}");
    assert!(report.refused.starts_with("STALELEASE"), "{}", report.refused);

    // Beside the traffic: the paraphrase, which hit, and the opposite, which did not.
    let (hits, misses) = (traffic.hits + 1, traffic.lookups - traffic.hits + 1);
    let rate = &report.asked[0].1;
    assert!(
        rate.starts_with(&format!(
            "Cache hit rate in space demo: {} ({hits} hits, {misses} misses",
            percent(hits, hits + misses)
        )),
        "{rate}"
    );
    assert!(
        report.asked[1].1.starts_with("Cache hit rate for exchange rates in space demo: "),
        "{:?}",
        report.asked[1]
    );
    let saved = &report.asked[2].1;
    assert!(saved.contains(&format!("({hits} hits, {hits} with a known cost)")), "{saved}");
    assert!(report.asked[3].1.starts_with("Top misses for refunds in space demo"), "{:?}", report.asked[3]);
    assert!(said.contains(&report.asked[1].1), "{said}");
}
