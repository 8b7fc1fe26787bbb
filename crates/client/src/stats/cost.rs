//! What models cost, and what a cache saved of it.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// So many models have accounts of their own. What comes after them goes to [`OTHER_MODELS`]: whoever puts a request's id into the model's name
/// shall not fill the memory, nor the scraper.
pub const MODELS_MAX: usize = 128;

/// The account of the models for which there was no other.
pub const OTHER_MODELS: &str = "other";

/// Accounts in US dollars, by model.
#[derive(Debug, Default)]
pub struct Costs {
    models: RwLock<BTreeMap<Box<str>, Arc<ModelCost>>>,
}

/// The account of one model. Amounts are kept in whole billionths of a dollar, so that sums do not depend on their order.
#[derive(Debug, Default)]
pub struct ModelCost {
    saved_nano_usd: AtomicU64,
    spent_nano_usd: AtomicU64,
}

/// An account at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct CostSummary {
    /// What would have been spent without the cache, beyond what was.
    pub saved_usd: f64,
    /// What was spent.
    pub spent_usd: f64,
    /// The share of the bill that the cache saved: 100 × saved / (saved + spent); 0 if nothing was either.
    pub reduction_percent: f64,
}

impl Costs {
    /// A hit made it unnecessary to pay this to the model.
    pub fn saved(&self, model: &str, usd: f64) {
        self.model(model).saved(usd);
    }

    /// A computation cost this.
    pub fn spent(&self, model: &str, usd: f64) {
        self.model(model).spent(usd);
    }

    /// The account of a model, to be kept by whoever uses it often.
    #[must_use]
    pub fn model(&self, model: &str) -> Arc<ModelCost> {
        let known = self.models.read().unwrap_or_else(PoisonError::into_inner).get(model).cloned();
        known.unwrap_or_else(|| {
            let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
            let name = if models.len() < MODELS_MAX || models.contains_key(model) { model } else { OTHER_MODELS };
            Arc::clone(models.entry(name.into()).or_default())
        })
    }

    /// All accounts, by model.
    #[must_use]
    pub fn summaries(&self) -> BTreeMap<String, CostSummary> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        models.iter().map(|(model, cost)| (model.to_string(), cost.summary())).collect()
    }

    /// The sum of all accounts.
    #[must_use]
    pub fn sum(&self) -> CostSummary {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        let (mut saved, mut spent) = (0_u64, 0_u64);
        for cost in models.values() {
            saved = saved.saturating_add(cost.saved_nano_usd.load(Ordering::Relaxed));
            spent = spent.saturating_add(cost.spent_nano_usd.load(Ordering::Relaxed));
        }
        summary(saved, spent)
    }
}

impl ModelCost {
    /// A hit made it unnecessary to pay this. What is no amount of money (negative, NaN) is nothing.
    pub fn saved(&self, usd: f64) {
        self.saved_nano_usd.fetch_add(nano(usd), Ordering::Relaxed);
    }

    /// A computation cost this. What is no amount of money (negative, NaN) is nothing.
    pub fn spent(&self, usd: f64) {
        self.spent_nano_usd.fetch_add(nano(usd), Ordering::Relaxed);
    }

    /// The account now.
    #[must_use]
    pub fn summary(&self) -> CostSummary {
        summary(self.saved_nano_usd.load(Ordering::Relaxed), self.spent_nano_usd.load(Ordering::Relaxed))
    }
}

const NANO: f64 = 1e9;
/// A million dollars at once is a mistake in a unit; counted as a million, so that sums do not wrap.
const AT_ONCE_MAX_USD: f64 = 1e6;

fn nano(usd: f64) -> u64 {
    // NaN becomes 0 in both steps.
    (usd.clamp(0.0, AT_ONCE_MAX_USD) * NANO).round() as u64
}

fn summary(saved: u64, spent: u64) -> CostSummary {
    let (saved_usd, spent_usd) = (saved as f64 / NANO, spent as f64 / NANO);
    let all = saved_usd + spent_usd;
    let reduction_percent = if all > 0.0 { 100.0 * saved_usd / all } else { 0.0 };
    CostSummary { saved_usd, spent_usd, reduction_percent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reduction_is_the_saved_share_of_the_bill() {
        let costs = Costs::default();
        costs.saved("a", 3.0);
        costs.spent("a", 1.0);
        costs.spent("b", 4.0);
        assert_eq!(costs.summaries()["a"], CostSummary { saved_usd: 3.0, spent_usd: 1.0, reduction_percent: 75.0 });
        assert_eq!(costs.sum(), CostSummary { saved_usd: 3.0, spent_usd: 5.0, reduction_percent: 37.5 });
        assert_eq!(Costs::default().sum(), CostSummary::default());
    }

    #[test]
    fn a_million_small_amounts_add_up_exactly() {
        let cost = ModelCost::default();
        (0..1_000_000).for_each(|_| cost.saved(0.000_013));
        assert_eq!(cost.summary().saved_usd, 13.0);
    }

    #[test]
    fn what_is_no_amount_is_nothing() {
        let cost = ModelCost::default();
        [f64::NAN, -1.0, f64::NEG_INFINITY].into_iter().for_each(|usd| cost.spent(usd));
        assert_eq!(cost.summary(), CostSummary::default());
        cost.spent(f64::INFINITY);
        assert_eq!(cost.summary().spent_usd, AT_ONCE_MAX_USD);
    }

    #[test]
    fn models_without_end_share_one_account() {
        let costs = Costs::default();
        (0..1000).for_each(|index| costs.spent(&format!("model-{index}"), 1.0));
        let summaries = costs.summaries();
        assert_eq!(summaries.len(), MODELS_MAX + 1);
        assert_eq!(summaries[OTHER_MODELS].spent_usd, (1000 - MODELS_MAX) as f64);
        assert_eq!(costs.sum().spent_usd, 1000.0);
    }
}
