//! Samples that take more than one number.

use super::exposition::Series;
use super::gather::Facts;
use super::operation::{Operation, OperationFigures};
use super::spaces::{OTHER, SpaceFigures};
use crate::http::front::Front;
use crate::process::{cpu_times, resident_parts};
use crate::statistics::InvalidationKind;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// The first words of error replies that have a series of their own: all that the server itself answers.
pub(super) const PREFIXES: [&str; 16] = [
    "BUSYKEY",
    "CROSSSLOT",
    "DENIED",
    "ERR",
    "EXECABORT",
    "HELD",
    "MISCONF",
    "NOAUTH",
    "NOPERM",
    "NOPROTO",
    "NOSCRIPT",
    "OOM",
    "STALELEASE",
    "UNBLOCKED",
    "WRONGPASS",
    "WRONGTYPE",
];

/// The label of cost that reads by key have saved, which know no model.
const NO_MODEL: &str = "none";

pub(super) fn setting(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}

pub(super) fn each_operation(facts: &Facts<'_>, series: &mut Series<'_>, number: fn(&OperationFigures) -> u64) {
    for (operation, figures) in Operation::ALL.iter().zip(&facts.operations) {
        series.labelled(&[operation.name()], number(figures));
    }
}

pub(super) fn durations(facts: &Facts<'_>, series: &mut Series<'_>) {
    for (operation, figures) in Operation::ALL.iter().zip(&facts.operations) {
        series.histogram(&[operation.name()], &figures.latency, figures.nanoseconds);
    }
}

pub(super) fn errors(facts: &Facts<'_>, series: &mut Series<'_>) {
    for (operation, figures) in Operation::ALL.iter().zip(&facts.operations) {
        series.labelled(&["sutra", operation.name()], figures.errors);
    }
}

pub(super) fn error_replies(facts: &Facts<'_>, series: &mut Series<'_>) {
    let mut counts: BTreeMap<&str, u64> = PREFIXES.iter().map(|prefix| (*prefix, 0)).collect();
    counts.insert(OTHER, 0);
    let all = facts.server.error_counts();
    for (prefix, count) in &all {
        let prefix = PREFIXES.iter().find(|known| *known == prefix).copied().unwrap_or(OTHER);
        *counts.entry(prefix).or_default() += count;
    }
    counts.into_iter().for_each(|(prefix, count)| series.labelled(&[prefix], count));
}

pub(super) fn each_space(facts: &Facts<'_>, series: &mut Series<'_>, number: fn(&SpaceFigures) -> u64) {
    for (label, figures) in &facts.spaces {
        series.labelled(&[label], number(figures));
    }
}

pub(super) fn cost_saved(facts: &Facts<'_>, series: &mut Series<'_>) {
    let mut saved: BTreeMap<&str, u64> =
        facts.spaces.iter().map(|(label, figures)| (label.as_str(), figures.saved_micro_usd)).collect();
    *saved.entry(NO_MODEL).or_default() += facts.saved_by_key_micro_usd();
    for (model, micro_usd) in saved {
        series.labelled(&[model], micro_usd as f64 / 1e6);
    }
}

pub(super) fn memory(facts: &Facts<'_>, series: &mut Series<'_>) {
    for (kind, bytes) in facts.memory_kinds() {
        series.labelled(&[kind], bytes);
    }
}

pub(super) fn segments(facts: &Facts<'_>, series: &mut Series<'_>) {
    let memory = &facts.memory;
    series.labelled(&["live"], memory.live_bytes);
    series.labelled(&["dead"], memory.dead_bytes);
    // Taken at different moments, they may overlap for one.
    series.labelled(&["free"], memory.segment_bytes.saturating_sub(memory.live_bytes + memory.dead_bytes));
}

pub(super) fn evictions(facts: &Facts<'_>, series: &mut Series<'_>) {
    series.labelled(&["memory"], facts.stats.evicted_memory);
    series.labelled(&["entries"], facts.stats.evicted_entries);
}

pub(super) fn invalidations(facts: &Facts<'_>, series: &mut Series<'_>) {
    for kind in InvalidationKind::ALL {
        series.labelled(&[kind.name()], facts.server.invalidations.value(kind));
    }
}

pub(super) fn resident(_front: &Front, series: &mut Series<'_>) {
    let (anonymous, mapped) = resident_parts();
    series.labelled(&["anonymous"], anonymous);
    series.labelled(&["mapped"], mapped);
}

pub(super) fn processor_time(_front: &Front, series: &mut Series<'_>) {
    let times = cpu_times();
    series.one((times.user + times.system).as_secs_f64());
}
