//! What callers say of hits: an estimate of a space's precision, and the threshold that it suggests.

use std::collections::VecDeque;

/// Hits that are remembered for feedback to refer to.
const HITS_REMEMBERED: usize = 4096;
/// Verdicts that are kept.
const VERDICTS_KEPT: usize = 4096;
/// The precision that a suggested threshold is to reach.
const PRECISION_WANTED: f64 = 0.95;
/// Verdicts below which nothing is suggested.
const VERDICTS_MIN: usize = 10;

/// What callers said of a space's hits.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FeedbackReport {
    /// Hits that were called good.
    pub good: u64,
    /// Hits that were called bad.
    pub bad: u64,
    /// The share of good ones, with one good and one bad verdict added (Laplace's rule); 0.5 without any verdict.
    pub precision: f64,
    /// The least similarity above which the verdicts reach a precision of 0.95, if there are enough of them and there is such.
    pub suggested_threshold: Option<f32>,
}

/// Recent hits and the verdicts on them. In memory only: a restart forgets both.
#[derive(Debug, Default)]
pub(crate) struct Feedback {
    hits: VecDeque<(u64, f32)>,
    verdicts: VecDeque<(f32, bool)>,
}

impl Feedback {
    /// An entry was served at this similarity.
    pub(crate) fn served(&mut self, entry: u64, similarity: f32) {
        if self.hits.len() == HITS_REMEMBERED {
            self.hits.pop_front();
        }
        self.hits.push_back((entry, similarity));
    }

    /// A verdict on the entry's last hit; whether one is remembered.
    pub(crate) fn judge(&mut self, entry: u64, good: bool) -> bool {
        let Some(at) = self.hits.iter().rposition(|(hit, _)| *hit == entry) else { return false };
        let Some((_, similarity)) = self.hits.remove(at) else { return false };
        if self.verdicts.len() == VERDICTS_KEPT {
            self.verdicts.pop_front();
        }
        self.verdicts.push_back((similarity, good));
        true
    }

    pub(crate) fn report(&self) -> FeedbackReport {
        let good = self.verdicts.iter().filter(|(_, good)| *good).count();
        let bad = self.verdicts.len() - good;
        let precision = smoothed(good, bad);
        FeedbackReport { good: good as u64, bad: bad as u64, precision, suggested_threshold: self.threshold() }
    }

    /// Walks down from the most similar verdict and keeps the last similarity at which the precision above it was high enough.
    fn threshold(&self) -> Option<f32> {
        if self.verdicts.len() < VERDICTS_MIN {
            return None;
        }
        let mut sorted: Vec<(f32, bool)> = self.verdicts.iter().copied().collect();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut good, mut bad) = (0usize, 0usize);
        let mut threshold = None;
        for (at, (similarity, is_good)) in sorted.iter().enumerate() {
            good += usize::from(*is_good);
            bad += usize::from(!is_good);
            // Verdicts of one similarity stand or fall together.
            let ends_run = sorted.get(at + 1).is_none_or(|next| next.0 < *similarity);
            if ends_run && good as f64 >= PRECISION_WANTED * (good + bad) as f64 {
                threshold = Some(*similarity);
            }
        }
        threshold
    }
}

fn smoothed(good: usize, bad: usize) -> f64 {
    (good + 1) as f64 / (good + bad + 2) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(verdicts: &[(f32, bool)]) -> Feedback {
        let mut feedback = Feedback::default();
        for (at, (similarity, good)) in verdicts.iter().enumerate() {
            feedback.served(at as u64, *similarity);
            assert!(feedback.judge(at as u64, *good));
        }
        feedback
    }

    #[test]
    fn a_verdict_needs_a_hit_and_takes_it() {
        let mut feedback = Feedback::default();
        assert!(!feedback.judge(1, true));
        feedback.served(1, 0.9);
        assert!(feedback.judge(1, true));
        assert!(!feedback.judge(1, true));
        assert_eq!(feedback.report().good, 1);
    }

    #[test]
    fn the_threshold_excludes_the_bad_hits_below_it() {
        let verdicts: Vec<(f32, bool)> = (0..40).map(|i| (0.6 + i as f32 * 0.01, i >= 20)).collect();
        let report = judged(&verdicts).report();
        assert_eq!((report.good, report.bad), (20, 20));
        assert!((report.precision - 0.5).abs() < 1e-9);
        // 20 good ones reach down to 0.80; one bad more keeps 20/21 = 0.952.
        assert!((report.suggested_threshold.unwrap() - 0.79).abs() < 1e-4, "{report:?}");
    }

    #[test]
    fn few_verdicts_suggest_nothing() {
        assert_eq!(judged(&[(0.9, true); 9]).report().suggested_threshold, None);
        assert_eq!(judged(&[(0.9, false); 30]).report().suggested_threshold, None);
    }
}
