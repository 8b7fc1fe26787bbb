//! Real questions of customers of a bank: a sample of Banking77 by PolyAI (CC BY 4.0; see `demo/ATTRIBUTION.md`).

use serde::Deserialize;

static FILE: &str = include_str!("../../demo/banking77.jsonl");

/// A question and its label. Questions with the same label can be answered alike.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Question {
    /// What a customer wrote.
    pub text: String,
    /// What people say that it is about.
    pub intent: String,
}

/// All questions, their labels taking turns.
#[must_use]
pub fn questions() -> Vec<Question> {
    FILE.lines()
        .map(|line| serde_json::from_str(line).expect("the file in this repository is as it was written"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_questions_are_balanced_and_their_labels_take_turns() {
        let questions = questions();
        let mut by_intent: BTreeMap<&str, usize> = BTreeMap::new();
        questions.iter().for_each(|question| *by_intent.entry(&question.intent).or_default() += 1);
        assert_eq!((questions.len(), by_intent.len()), (1540, 77));
        assert!(by_intent.values().all(|count| *count == 20));
        assert!(questions.iter().zip(questions.iter().skip(77)).all(|(first, next)| first.intent == next.intent));
    }
}
