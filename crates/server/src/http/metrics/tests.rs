//! What is written, against the table, against Prometheus's own checker, and over time.

use super::exposition::Format;
use super::table::{self, MetricKind};
use super::{Front, format_of, metrics_markdown, written};
use crate::clock::Clock;
use crate::dispatch::dispatch;
use crate::server::Server;
use crate::session::Session;
use crate::settings::Settings;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use sutra_protocol::Output;
use sutra_shard::{Limits, Progress, Shard};

struct Bench {
    front: Arc<Front>,
    server: Arc<Server>,
    session: Session,
}

impl Bench {
    fn new() -> Bench {
        let shard = Shard::in_memory(&Limits::default(), 1).expect("limits");
        let server = Arc::new(Server::new(Settings::default(), shard, Clock::manual(1_000_000)));
        let front = Front::new(&server.settings, Arc::new(Progress::default()));
        front.serve(Arc::clone(&server), &[]);
        let session = Session::new(&server);
        Bench { front, server, session }
    }

    fn say(&mut self, line: &str) {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        dispatch(&self.server, &mut self.session, &args, &mut Output::default());
    }

    fn scrape(&self, format: Format) -> String {
        written(&self.front, format)
    }
}

/// Samples by their name with labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(samples.insert(name.to_owned(), value).is_none(), "twice: {name}");
    }
    samples
}

fn busy() -> Bench {
    let mut bench = Bench::new();
    for line in [
        "SET a 1",
        "GET a",
        "GET none",
        "NOSUCH",
        "INCR a b",
        "LPUSH",
        "CACHE.SET q answer IN text TEXT how-high-is-the-tower COST 0.25",
        "CACHE.LOOKUP text TEXT how-high-is-the-tower MIN 0.9",
        "CACHE.LOOKUP text TEXT something-else-entirely MIN 0.9",
        "CACHE.SET tagged x TAG 1 t",
        "CACHE.INVALIDATE TAG 1 t",
        "FLUSHALL",
    ] {
        bench.say(line);
    }
    bench
}

#[test]
fn what_is_written_is_what_the_table_says() {
    let bench = busy();
    let text = bench.scrape(Format::Text);
    let samples = samples(&text);
    let mut families: Vec<&str> = Vec::new();
    for metric in table::all() {
        let head = format!("# HELP {} {}\n# TYPE {} {}\n", metric.name, metric.help, metric.name, metric.kind.name());
        assert!(text.contains(&head.replace('\\', "\\\\")), "{head}");
        families.push(metric.name);
    }
    for name in samples.keys() {
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            name.strip_suffix(suffix)
                .filter(|base| table::all().any(|it| it.name == *base && it.kind == MetricKind::Histogram))
        });
        let metric =
            table::all().find(|metric| metric.name == base.unwrap_or(name)).unwrap_or_else(|| panic!("{name}"));
        let found: Vec<&str> =
            labels.trim_end_matches('}').split(',').filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
        let expected: Vec<&str> =
            metric.labels.iter().copied().chain(name.ends_with("_bucket").then_some("le")).collect();
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(samples["cache_hits_total"], 2.0);
    assert_eq!(samples["cache_misses_total"], 2.0);
    assert_eq!(samples["cache_space_hits_total{space=\"text\"}"], 1.0);
    assert_eq!(samples["cache_cost_saved_usd_total{model=\"text\"}"], 0.25);
    assert_eq!(samples["cache_invalidations_total{kind=\"tag\"}"], 1.0);
    assert_eq!(samples["cache_invalidations_total{kind=\"clear\"}"], 1.0);
    assert_eq!(samples["cache_error_replies_total{prefix=\"ERR\"}"], 3.0);
    assert_eq!(samples["cache_errors_total{backend=\"sutra\",operation=\"write\"}"], 1.0);
    assert_eq!(samples["cache_requests_total{operation=\"lookup\"}"], 2.0);
    assert_eq!(samples["cache_ready"], 1.0);
    let buckets = "cache_request_duration_seconds_bucket{operation=\"lookup\",le=\"+Inf\"}";
    assert_eq!(samples[buckets], samples["cache_request_duration_seconds_count{operation=\"lookup\"}"]);
}

#[test]
fn openmetrics_names_families_without_total_and_says_where_it_ends() {
    let bench = busy();
    let text = bench.scrape(Format::OpenMetrics);
    assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1);
    for metric in table::all() {
        assert!(text.contains(&format!("\n# TYPE {} {}\n", metric.family(), metric.kind.name())), "{}", metric.name);
        if let Some(unit) = metric.unit() {
            assert!(text.contains(&format!("\n# UNIT {} {unit}\n", metric.family())), "{}", metric.name);
        }
    }
    assert_eq!(samples(&text).len(), samples(&bench.scrape(Format::Text)).len());
    assert!(!bench.scrape(Format::Text).contains("# EOF"));
}

#[test]
fn prometheus_s_own_checker_finds_nothing_to_complain_about() {
    let text = busy().scrape(Format::Text);
    let checker = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut checker = match checker {
        Ok(checker) => checker,
        Err(error) => {
            eprintln!("SKIPPED: promtool is not there ({error}); Debian's package prometheus has it");
            return;
        }
    };
    checker.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = checker.wait_with_output().expect("it ends");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn before_the_server_serves_only_the_process_is_known() {
    let front = Front::new(&Settings::default(), Arc::new(Progress::default()));
    let samples = samples(&written(&front, Format::Text));
    assert_eq!(samples["cache_ready"], 0.0);
    assert!(samples["process_resident_memory_bytes"] > 0.0);
    assert!(!samples.contains_key("cache_entries"));
}

#[test]
fn the_format_is_the_one_that_is_asked_for() {
    // As Prometheus 2.42 asks.
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(format_of(&[prometheus]), Format::OpenMetrics);
    assert_eq!(format_of(&["text/plain", "application/openmetrics-text; q=0.3"]), Format::Text);
    assert_eq!(format_of(&["application/openmetrics-text;q=0"]), Format::Text);
    assert_eq!(format_of(&["*/*"]), Format::Text);
    assert_eq!(format_of(&[]), Format::Text);
}

#[test]
fn the_page_names_every_metric_once_and_every_value_of_a_label() {
    let page = metrics_markdown();
    for metric in table::all() {
        assert_eq!(page.matches(&format!("| `{}` |", metric.name)).count(), 1, "{}", metric.name);
    }
    let labels = &page[page.find("## Labels").expect("a section")..];
    let text = busy().scrape(Format::Text);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, labelled)) = line.split_once('{') else { continue };
        let labelled = labelled.split('}').next().unwrap_or_default();
        for (name, value) in labelled.split(',').filter_map(|pair| pair.split_once('=')) {
            assert!(name == "le" || labels.contains(&format!("`{name}`")), "{name}");
            let open = ["le", "space", "model", "prefix", "version"].contains(&name);
            assert!(open || labels.contains(&format!("`{}`", value.trim_matches('"'))), "{name} = {value}");
        }
    }
}

/// What clients may do between two scrapes.
fn command() -> impl Strategy<Value = String> {
    let key = 0..6_u8;
    prop_oneof![
        key.clone().prop_map(|key| format!("SET k{key} v")),
        key.clone().prop_map(|key| format!("GET k{key}")),
        key.clone().prop_map(|key| format!("DEL k{key}")),
        key.clone().prop_map(|key| format!("CACHE.SET k{key} v IN s{} VALUES 2 1 {key} COST 0.5", key % 3)),
        key.clone().prop_map(|key| format!("CACHE.LOOKUP s{} VALUES 2 1 {key} MIN 0.99", key % 3)),
        key.clone().prop_map(|key| format!("CACHE.GET k{key}")),
        key.prop_map(|key| format!("CACHE.SPACE DROP s{}", key % 3)),
        Just("CACHE.INVALIDATE MATCH k1".to_owned()),
        Just("CACHE.LEASE k9".to_owned()),
        Just("FLUSHALL".to_owned()),
        Just("INCR".to_owned()),
        Just("NOSUCH".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counters_never_fall(rounds in prop::collection::vec(prop::collection::vec(command(), 0..12), 1..8)) {
        let mut bench = Bench::new();
        let counters: Vec<&str> =
            table::all().filter(|metric| metric.kind != MetricKind::Gauge).map(|metric| metric.name).collect();
        let mut before: BTreeMap<String, f64> = BTreeMap::new();
        for round in rounds {
            round.iter().for_each(|line| bench.say(line));
            let now = samples(&bench.scrape(Format::Text));
            for (name, value) in &before {
                if counters.iter().any(|counter| name.starts_with(counter)) {
                    prop_assert!(now.get(name).is_some_and(|now| now >= value), "{name}: {value} then {:?}", now.get(name));
                }
            }
            before = now;
        }
    }
}
