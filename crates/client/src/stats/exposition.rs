//! All figures in Prometheus's text format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).

use super::{Counter, ErrorKind, Operation, Stats};
use crate::l1::L1Snapshot;
use std::fmt::{Display, Write};

const PREFIX: &str = "sutra_client_";

/// The edges of the latency buckets as powers of two of nanoseconds: 256 ns, ×4 each, up to 69 s. A time of exactly an edge is counted in
/// the bucket above it, which is one nanosecond from the letter of `le`.
const LATENCY_EDGES: std::ops::RangeInclusive<u32> = 8..=36;
const LATENCY_EDGES_STEP: usize = 2;

impl Stats {
    /// All figures, and those of the first tier where there is one, in Prometheus's text format; all names begin with `sutra_client_`.
    #[must_use]
    pub fn prometheus(&self, l1: Option<&L1Snapshot>) -> String {
        let mut text = Text::default();
        for counter in Counter::ALL {
            let (name, label, help) = counter.metric();
            text.family(name, "counter", help);
            text.sample("", label.as_slice(), self.total(counter));
        }
        text.family("errors_total", "counter", "Faults between the client and its shard, by kind.");
        for kind in ErrorKind::ALL {
            text.sample("", &[("kind", kind.name())], self.errors(kind));
        }
        self.latencies(&mut text);
        let costs = self.costs().summaries();
        text.family("cost_saved_usd_total", "counter", "US dollars that hits saved, by model.");
        for (model, cost) in &costs {
            text.sample("", &[("model", model)], cost.saved_usd);
        }
        text.family("cost_spent_usd_total", "counter", "US dollars that computations cost, by model.");
        for (model, cost) in &costs {
            text.sample("", &[("model", model)], cost.spent_usd);
        }
        if let Some(l1) = l1 {
            first_tier(&mut text, l1);
        }
        text.text
    }

    fn latencies(&self, text: &mut Text) {
        text.family("request_duration_seconds", "histogram", "How long operations took, by class.");
        for operation in Operation::ALL {
            let histogram = self.latency(operation);
            if histogram.count() == 0 {
                continue;
            }
            let label = ("operation", operation.name());
            for bits in LATENCY_EDGES.step_by(LATENCY_EDGES_STEP) {
                let edge = ((1_u64 << bits) as f64 / 1e9).to_string();
                text.sample("_bucket", &[label, ("le", &edge)], histogram.below_power(bits));
            }
            text.sample("_bucket", &[label, ("le", "+Inf")], histogram.count());
            text.sample("_sum", &[label], histogram.sum().as_secs_f64());
            text.sample("_count", &[label], histogram.count());
        }
    }
}

fn first_tier(text: &mut Text, l1: &L1Snapshot) {
    text.family("l1_entries", "gauge", "Entries in this process.");
    text.sample("", &[], l1.entries);
    text.family("l1_bytes", "gauge", "Bytes of the entries in this process, their keys and what surrounds them.");
    text.sample("", &[], l1.bytes);
    text.family("l1_outdated_total", "counter", "Values not kept because an invalidation overtook them.");
    text.sample("", &[], l1.outdated);
    text.family("l1_removals_total", "counter", "Entries that left this process, by reason.");
    let removals = &l1.removals;
    for (reason, count) in [
        ("entries_limit", removals.entries_limit),
        ("bytes_limit", removals.bytes_limit),
        ("expired", removals.expired),
        ("replaced", removals.replaced),
        ("invalidated", removals.invalidated),
        ("cleared", removals.cleared),
    ] {
        text.sample("", &[("reason", reason)], count);
    }
}

/// The text so far, and whose samples come next.
#[derive(Default)]
struct Text {
    text: String,
    family: &'static str,
}

impl Text {
    /// The head of a family, unless it is the one that the last samples were of.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        if self.family != name {
            self.family = name;
            self.write(format_args!("# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n"));
        }
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let family = self.family;
        self.write(format_args!("{PREFIX}{family}{suffix}"));
        for (index, (name, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            self.write(format_args!("{before}{name}=\""));
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    _ => self.text.push(character),
                }
            }
            self.text.push('"');
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.write(format_args!("{close} {value}\n"));
    }

    fn write(&mut self, what: std::fmt::Arguments<'_>) {
        self.text.write_fmt(what).expect("writing to a string does not fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l1::{About, L1, L1Settings};
    use std::collections::BTreeMap;
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    fn used() -> String {
        let stats = Stats::new();
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            stats.add(counter, index as u64);
        }
        for ns in [100, 300, 70_000, 5_000_000_000] {
            stats.took(Operation::Get, Duration::from_nanos(ns));
        }
        stats.costs().saved("a \"model\"\\of\nmine", 0.125);
        let l1 = L1::new(L1Settings::default());
        let ticket = l1.begin(b"k");
        l1.insert(ticket, b"k", b"v", About::default());
        stats.prometheus(Some(&l1.snapshot()))
    }

    /// Samples by name and labels, and types by family; panics at what the format does not have.
    fn parsed(text: &str) -> (BTreeMap<&str, f64>, BTreeMap<&str, &str>) {
        let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::new());
        let mut family = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type has a name");
                assert_eq!(name, family, "the help comes first");
                assert!(types.insert(name, kind).is_none(), "{name} comes in one piece");
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split_once(' ').expect("help has a text").0;
            } else {
                let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
                assert!(name.starts_with(family), "{name} in {family}");
                let value = value.parse().expect("a sample is a number");
                assert!(samples.insert(name, value).is_none(), "{name} comes once");
            }
        }
        (samples, types)
    }

    #[test]
    fn each_figure_is_a_sample_of_a_family_with_help_and_type() {
        let text = used();
        let (samples, types) = parsed(&text);
        assert!(types.iter().all(|(name, kind)| name.ends_with("_total") == (*kind == "counter")));
        assert!(types.keys().all(|name| name.starts_with(PREFIX)));
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            let (name, label, _) = counter.metric();
            let labels = label.map(|(name, value)| format!("{{{name}=\"{value}\"}}")).unwrap_or_default();
            assert_eq!(samples[&*format!("{PREFIX}{name}{labels}")], index as f64, "{counter:?}");
        }
        assert_eq!(samples["sutra_client_l1_entries"], 1.0);
        assert_eq!(samples["sutra_client_l1_removals_total{reason=\"expired\"}"], 0.0);
        assert_eq!(samples[r#"sutra_client_cost_saved_usd_total{model="a \"model\"\\of\nmine"}"#], 0.125);
    }

    #[test]
    fn a_latency_is_in_every_bucket_above_it() {
        let text = used();
        let (samples, _) = parsed(&text);
        let bucket = |le: &str| {
            samples[&*format!("sutra_client_request_duration_seconds_bucket{{operation=\"get\",le=\"{le}\"}}")]
        };
        assert_eq!(
            [bucket("0.000000256"), bucket("0.000001024"), bucket("0.000262144"), bucket("+Inf")],
            [1.0, 2.0, 3.0, 4.0]
        );
        assert_eq!(samples["sutra_client_request_duration_seconds_count{operation=\"get\"}"], 4.0);
        let sum = samples["sutra_client_request_duration_seconds_sum{operation=\"get\"}"];
        assert!((sum - 5.000_070_4).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn prometheus_s_own_tool_finds_nothing_wrong() {
        let tool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        // Where the tool is not installed, the parser above is what looks at the text.
        let Ok(mut tool) = tool else { return };
        tool.stdin.take().expect("it is piped").write_all(used().as_bytes()).expect("the tool reads");
        let output = tool.wait_with_output().expect("the tool ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}
