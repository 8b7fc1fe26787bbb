//! The story is told whole, and what it claims is checked by other means.

use super::OwnShard;
use super::client::Client;
use super::questions::questions;
use super::screen::Screen;
use super::script::{ASKED, CHANGED, MIN_LOOKUP, play};
use crate::analytics::figures::{count, percent};
use sutra_embed::Builtin;
use sutra_protocol::Frame;

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
    let shard = OwnShard::start().expect("a free port and a directory");
    let report = play(&shard.address(), false, &mut Screen::new(&mut out, false)).expect("told to its end");
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

#[test]
fn a_server_of_the_users_own_is_left_as_it_was() {
    let shard = OwnShard::start().expect("a free port and a directory");
    let directory = shard.directory.clone();
    let address = shard.address();
    let mut client = Client::connect(&address).expect("it listens");
    let mut ask = |line: &str| client.ask(&line.split(' ').collect::<Vec<_>>()).expect("it answers");
    play(&address, false, &mut Screen::new(&mut Vec::new(), false)).expect("told to its end");
    assert_eq!(ask("CACHE.SPACE LIST"), Frame::Array(Vec::new()));
    assert_eq!(ask("DBSIZE"), Frame::Integer(0));

    // A space of the same name that was there before stops the story at its beginning, and stays.
    assert_eq!(ask("CACHE.SET mine 1 IN demo TEXT mine"), Frame::Simple("OK".to_owned()));
    let error = play(&address, false, &mut Screen::new(&mut Vec::new(), false)).expect_err("there is such a space");
    assert!(error.to_string().contains("CACHE.SPACE CREATE demo"), "{error}");
    assert_eq!(ask("CACHE.GET mine"), Frame::Bulk(b"1".to_vec()));
    drop(shard);
    assert!(!directory.exists());
}
