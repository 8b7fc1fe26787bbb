//! How well topics are told apart, on the questions that the demonstration loads (Banking77 by PolyAI, CC BY 4.0).

use super::record::embed;
use crate::analytics::topic::Vectors;

/// A topic in words, and the labels that belong to it.
const TOPICS: &[(&str, &[&str])] = &[
    (
        "exchange rates",
        &["exchange_rate", "card_payment_wrong_exchange_rate", "wrong_exchange_rate_for_cash_withdrawal"],
    ),
    ("refunds", &["request_refund", "Refund_not_showing_up"]),
    ("forgotten passcode", &["passcode_forgotten"]),
    ("PIN", &["change_pin", "pin_blocked"]),
    ("identity verification", &["verify_my_identity", "unable_to_verify_identity", "why_verify_identity"]),
    (
        "virtual cards",
        &["getting_virtual_card", "virtual_card_not_working", "get_disposable_virtual_card", "disposable_card_limits"],
    ),
    ("direct debits", &["direct_debit_payment_not_recognised"]),
    ("closing my account", &["terminate_account"]),
    ("Apple Pay", &["apple_pay_or_google_pay"]),
];

#[test]
fn topics_hold_most_of_what_belongs_to_them_and_little_else() {
    let rows: Vec<(String, String)> = include_str!("../../../demo/banking77.jsonl")
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).expect("a row of JSON");
            let field = |name: &str| row[name].as_str().expect("a field of text").to_owned();
            (field("text"), field("intent"))
        })
        .collect();
    assert_eq!(rows.len(), 1540);
    let vectors = Vectors::default();
    let (mut precisions, mut recalls) = (0.0, 0.0);
    for (topic, intents) in TOPICS {
        // As they would be remembered.
        let kept = |text: &str| text.as_bytes()[..text.len().min(96)].to_vec();
        let texts: Vec<Vec<u8>> = rows.iter().map(|(text, _)| kept(text)).collect();
        let found = vectors.compare(topic, None, texts.iter().map(Vec::as_slice), &embed).expect("known words");
        let (mut right, mut matched, mut wanted) = (0_u32, 0_u32, 0_u32);
        for ((_, intent), text) in rows.iter().zip(&texts) {
            let (holds, belongs) = (found.holds(text), intents.contains(&intent.as_str()));
            right += u32::from(holds && belongs);
            matched += u32::from(holds);
            wanted += u32::from(belongs);
        }
        println!("{topic}: threshold {:.2}, {right} of {matched} right, {right} of {wanted} found", found.threshold);
        precisions += f64::from(right) / f64::from(matched.max(1));
        recalls += f64::from(right) / f64::from(wanted);
    }
    let (precision, recall) = (precisions / TOPICS.len() as f64, recalls / TOPICS.len() as f64);
    println!("precision {precision:.3}, recall {recall:.3}");
    assert!(precision >= 0.5 && recall >= 0.7, "precision {precision:.3}, recall {recall:.3}");
}

#[test]
fn a_broad_topic_is_told_from_everything_else() {
    let financial = [
        "show me the financial report for Q3",
        "What was Microsoft's revenue in 2023?",
        "interest rates of the federal reserve",
        "What is the balance of my savings account?",
        "net income by region last year",
        "quarterly revenue of Tesla",
    ];
    let other = [
        "how do I reset my password?",
        "weather in Paris",
        "how to cook rice",
        "who won the world cup",
        "best laptop for students",
    ];
    let texts = financial.iter().chain(&other).map(|text| text.as_bytes());
    let topic = Vectors::default().compare("financial data", None, texts, &embed).expect("known words");
    assert!(financial.iter().all(|text| topic.holds(text.as_bytes())), "{topic:?}");
    assert!(!other.iter().any(|text| topic.holds(text.as_bytes())), "{topic:?}");
}
