//! Metrics: a table of them, and the two formats in which they are read.
//!
//! | module | noun |
//! | --- | --- |
//! | `table` | every metric: name, type, labels, meaning, source |
//! | `gather`, `samples` | the numbers of one scrape, and how they become samples |
//! | `operation` | families of commands |
//! | `spaces` | counts by space, bounded in number, never falling |
//! | `exposition` | the formats |
//! | `reference` | the page `docs/metrics.md` |
//!
//! Nothing is counted for the sake of metrics: the counters are those of INFO, one block for each thread, summed when somebody asks.

mod exposition;
mod gather;
mod operation;
mod reference;
mod samples;
mod spaces;
mod table;

pub(crate) use gather::Facts;
pub use reference::metrics_markdown;
pub(crate) use spaces::SpaceLedger;

use super::front::Front;
use super::page::Page;
use exposition::{Exposition, Format};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use table::Sample;

/// All metrics, in the format that is asked for. Before the server serves: those that are known.
pub(super) fn page<'h>(front: &Front, accept: impl Iterator<Item = &'h HeaderValue>) -> Page {
    let wanted: Vec<&str> = accept.filter_map(|value| value.to_str().ok()).collect();
    let format = format_of(&wanted);
    let body = written(front, format).into_bytes();
    Page { status: StatusCode::OK, content_type: format.content_type(), body, allow: None }
}

fn written(front: &Front, format: Format) -> String {
    let facts = front.serving().map(|serving| Facts::of(&serving.server));
    let mut text = Exposition::new(format);
    for metric in table::all() {
        match (&metric.sample, &facts) {
            (Sample::Always(sample), _) => sample(front, &mut text.begin(metric)),
            (Sample::Serving(sample), Some(facts)) => sample(facts, &mut text.begin(metric)),
            (Sample::Serving(_), None) => {}
        }
    }
    text.finish()
}

/// OpenMetrics if it is accepted at least as gladly as plain text.
fn format_of(accept: &[&str]) -> Format {
    let weight = |wanted: &str| {
        let ranges = accept.iter().flat_map(|value| value.split(','));
        let weights = ranges.filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(wanted) {
                return None;
            }
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            weight.map_or(Some(1.0), |weight| weight.trim().parse::<f64>().ok())
        });
        weights.fold(0.0, f64::max)
    };
    let open = weight("application/openmetrics-text");
    if open > 0.0 && open >= weight("text/plain") { Format::OpenMetrics } else { Format::Text }
}

#[cfg(test)]
mod tests;
