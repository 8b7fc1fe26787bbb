//! The page `docs/metrics.md`.

use super::operation::Operation;
use super::table::SECTIONS;
use std::fmt::Write;

/// `docs/metrics.md`, generated: the page names what the program answers, and nothing else.
#[must_use]
pub fn metrics_markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    for section in &SECTIONS {
        line(&mut page, format_args!("\n## {}\n", section.title));
        line(&mut page, format_args!("| metric | type | labels | unit | meaning |\n| --- | --- | --- | --- | --- |"));
        for metric in section.metrics {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let cells = [labels.join(", "), metric.shown_unit().to_owned()];
            let [labels, unit] = cells.map(|cell| if cell.is_empty() { cell } else { format!("{cell} ") });
            line(
                &mut page,
                format_args!("| `{}` | {} | {labels}| {unit}| {} |", metric.name, metric.kind.name(), metric.help),
            );
        }
    }
    let operations: Vec<String> = Operation::ALL.iter().map(|operation| format!("`{}`", operation.name())).collect();
    page.push_str(&LABELS.replace("{operations}", &operations.join(", ")));
    page
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = writeln!(text, "{arguments}");
    debug_assert!(written.is_ok(), "a String takes whatever is written to it");
}

const INTRODUCTION: &str = "\
# Metrics

This page is generated from the table of metrics (`cargo xtask docs`).

What `GET /metrics` on the HTTP port answers, in Prometheus text or, if `Accept` asks for it, OpenMetrics. Counters start at zero with the process,
and CONFIG RESETSTAT sets those to zero that INFO counts as well; both are what `rate()` expects. Units are base units: seconds, bytes, US dollars.
Labels have few values, so the number of time series does not grow with keys, clients or traffic. While the server recovers, only `cache_ready`,
`cache_build_info`, `cache_resident_bytes` and `process_*` are answered.
";

const LABELS: &str = "\n\
## Labels

| label | values |
| --- | --- |
| `backend` | `sutra` |
| `operation` | {operations} |
| `prefix` | the first words that the server knows; `other` for what scripts and misuse add |
| `space`, `model` | names of spaces, at most a hundred: those made first; `other` for the rest together. For `model` also `none` |
| `kind` of `cache_memory_bytes` | `records`, `slots`, `heap_values`, `vector_index`, `undo`, `log_buffers`, `ghosts`, `tracked_keys`, `client_buffers` |
| `kind` of `cache_resident_bytes` | `anonymous`, `mapped` |
| `kind` of `cache_invalidations_total` | `meaning`, `tag`, `source`, `pattern`, `age`, `generation` (CACHE.SPACE BUMP), `clear` (FLUSHALL, FLUSHDB, POST /cache/clear) |
| `state` | `live`, `dead`, `free` |
| `reason` | `memory`, `entries` |
| `version` | the program's version |

An operation is `lookup` for CACHE.LOOKUP and CACHE.SEARCH; `invalidate` for CACHE.INVALIDATE, CACHE.UNDO and CACHE.SPACE; `embedding` for CACHE.EMB.*; `lease` for CACHE.LEASE and CACHE.RELEASE;
`delete` for DEL, UNLINK, HDEL, FLUSHDB and FLUSHALL; `scan` for KEYS, SCAN, HSCAN, SORT and RANDOMKEY; `transaction` for MULTI, EXEC, DISCARD, WATCH and UNWATCH (what EXEC runs is counted under its own family too); else `read` and `write` by the
command's flags, `connection` by its group, and `admin` for what is left.
";
