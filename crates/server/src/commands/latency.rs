//! LATENCY.

use super::container::{ADMIN, HELP, container, subcommand};
use crate::command::{Args, CommandError, Context, Spec};
use crate::latency::Series;
use crate::server::Server;
use crate::statistics::LATENCY_BUCKETS;
use crate::table::{Command, table};
use std::sync::atomic::Ordering;
use sutra_protocol::Reply;

/// LATENCY.
pub static SPEC: Spec =
    container("latency", "2.8.13", "A container for latency diagnostics commands.", SUBCOMMANDS, without_subcommand);

static SUBCOMMANDS: &[Spec] = &[
    subcommand("latency|doctor", 2, ADMIN, "2.8.13", "Returns a human-readable latency analysis report.", "", doctor),
    subcommand("latency|graph", 3, ADMIN, "2.8.13", "Returns a latency graph for an event.", "event", graph),
    subcommand("latency|help", 2, HELP, "2.8.13", "Returns helpful text about the different subcommands.", "", help),
    subcommand(
        "latency|histogram",
        -2,
        ADMIN,
        "7.0.0",
        "Returns the cumulative distribution of latencies of a subset or all commands.",
        "[command [command ...]]",
        histogram,
    )
    .complexity("O(N) where N is the number of commands with latency information being retrieved."),
    subcommand(
        "latency|history",
        3,
        ADMIN,
        "2.8.13",
        "Returns timestamp-latency samples for an event.",
        "event",
        history,
    ),
    subcommand("latency|latest", 2, ADMIN, "2.8.13", "Returns the latest latency samples for all events.", "", latest),
    subcommand(
        "latency|reset",
        -2,
        ADMIN,
        "2.8.13",
        "Resets the latency data for one or more events.",
        "[event [event ...]]",
        reset,
    ),
];

/// Columns of a graph.
const GRAPH_COLUMNS: usize = 80;
/// Rows of a graph.
const GRAPH_ROWS: u64 = 4;

fn without_subcommand<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Err(CommandError::Arity("latency".into()))
}

fn latest<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let events = cx.server.latency.all();
    let shown = events.into_iter().filter_map(|(event, series)| {
        let last = series.samples.back()?;
        Some(Reply::Array(vec![
            Reply::Bulk(event.as_bytes()),
            integer(last.at_s),
            integer(last.took_ms),
            integer(series.longest_ms),
        ]))
    });
    Ok(Reply::Array(shown.collect()))
}

fn history<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let series = series(cx.server, args.take()?).unwrap_or_default();
    let shown = series.samples.iter().map(|sample| Reply::Array(vec![integer(sample.at_s), integer(sample.took_ms)]));
    Ok(Reply::Array(shown.collect()))
}

fn reset<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(integer(cx.server.latency.reset(args.rest()) as u64))
}

fn graph<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let event = args.take()?;
    let name = String::from_utf8_lossy(event);
    match series(cx.server, event) {
        Some(series) => Ok(Reply::text(drawn(&name, &series))),
        None => Err(CommandError::text(format!("ERR No samples available for event '{name}'"))),
    }
}

/// A column for each of the last samples: `#` as high as it took long.
fn drawn(name: &str, series: &Series) -> String {
    let skipped = series.samples.len().saturating_sub(GRAPH_COLUMNS);
    let times: Vec<u64> = series.samples.iter().skip(skipped).map(|sample| sample.took_ms).collect();
    let (low, high) = (times.iter().min().copied().unwrap_or(0), times.iter().max().copied().unwrap_or(0));
    let mut text = format!("{name} - high {high} ms, low {low} ms (all time high {} ms)\n", series.longest_ms);
    text.push_str(&"-".repeat(GRAPH_COLUMNS));
    text.push('\n');
    for row in (0..GRAPH_ROWS).rev() {
        let level = |took: u64| (took - low) * (GRAPH_ROWS - 1) / (high - low).max(1);
        text.extend(times.iter().map(|took| match level(*took) {
            level if level > row => '|',
            level if level == row => '#',
            _ => ' ',
        }));
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

fn doctor<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let threshold_ms = cx.server.settings.latency_threshold_ms.load(Ordering::Relaxed);
    let events = cx.server.latency.all();
    if threshold_ms == 0 && events.is_empty() {
        return Ok(Reply::text(
            "Latency monitoring is off. CONFIG SET latency-monitor-threshold <milliseconds> switches it on.\n",
        ));
    }
    if events.is_empty() {
        return Ok(Reply::text(format!("No event took {threshold_ms} ms or longer.\n")));
    }
    let mut text = format!("Events that took {threshold_ms} ms or longer:\n");
    for (event, series) in events {
        let count = series.samples.len() as u64;
        let mean = series.samples.iter().map(|sample| sample.took_ms).sum::<u64>() / count.max(1);
        let advice = match event {
            "log-sync" => "The disk is slow at making the log safe: a faster disk, or a longer WAL_SYNC_INTERVAL_MS.",
            "checkpoint" => "Checkpoints run beside the commands; a long one only costs disk bandwidth.",
            "maintenance" => "Evicting or expiring much at once: more MAX_MEMORY, or times to live that are spread.",
            _ => {
                "SLOWLOG GET shows which calls; commands that walk the whole keyspace (KEYS, SORT) are the usual ones."
            }
        };
        let line = format!("{event}: {count} seconds, mean {mean} ms, longest {} ms. {advice}\n", series.longest_ms);
        text.push_str(&line);
    }
    Ok(Reply::text(text))
}

fn histogram<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let table = table();
    let mut shown = Vec::new();
    let mut show = |command: &Command| {
        if command.has_children() {
            shown.extend(table.children(command).iter().filter_map(|child| distribution(cx.server, child)));
        } else {
            shown.extend(distribution(cx.server, command));
        }
    };
    if args.remaining() == 0 {
        table.top().iter().for_each(&mut show);
    } else {
        args.rest().iter().filter_map(|name| table.find_full_name(name)).for_each(&mut show);
    }
    Ok(Reply::Map(shown))
}

/// How many calls took less than each power of two of microseconds.
fn distribution(server: &Server, command: &Command) -> Option<(Reply<'static>, Reply<'static>)> {
    let buckets = buckets(server, command.index);
    let calls = buckets.iter().sum::<u64>();
    if calls == 0 {
        return None;
    }
    let mut sum = 0;
    let mut steps = Vec::new();
    for (bucket, count) in buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
        sum += count;
        steps.push((integer(1 << bucket), integer(sum)));
    }
    let counts =
        Reply::Map(vec![(Reply::Bulk(b"calls"), integer(calls)), (Reply::Bulk(b"histogram_usec"), Reply::Map(steps))]);
    Some((Reply::Bulk(command.spec.name.as_bytes()), counts))
}

/// The histogram of a command over all threads: calls by the power of two of microseconds below which they stayed.
pub(crate) fn buckets(server: &Server, index: usize) -> [u64; LATENCY_BUCKETS] {
    let mut sum = [0; LATENCY_BUCKETS];
    for worker in server.workers() {
        for (sum, bucket) in sum.iter_mut().zip(&worker.commands[index].latency) {
            *sum += bucket.value();
        }
    }
    sum
}

/// The time in microseconds below which `percent` of the calls stayed; 0 if there were none. As exact as the buckets.
pub(crate) fn percentile_us(buckets: &[u64; LATENCY_BUCKETS], percent: f64) -> u64 {
    let calls: u64 = buckets.iter().sum();
    let wanted = (calls as f64 * percent / 100.0).ceil().max(1.0) as u64;
    let mut sum = 0;
    for (bucket, count) in buckets.iter().enumerate() {
        sum += count;
        if sum >= wanted {
            return 1 << bucket;
        }
    }
    0
}

fn series(server: &Server, event: &[u8]) -> Option<Series> {
    server.latency.series(std::str::from_utf8(event).ok()?)
}

fn integer(number: u64) -> Reply<'static> {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn help<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(super::help(
        "LATENCY",
        &[
            "DOCTOR",
            "    Return a human readable latency analysis report.",
            "GRAPH <event>",
            "    Return an ASCII latency graph for the <event> class.",
            "HISTORY <event>",
            "    Return time-latency samples for the <event> class.",
            "LATEST",
            "    Return the latest latency samples for all events.",
            "RESET [<event> ...]",
            "    Reset latency data of one or more <event> classes.",
            "    (default: reset all data for all event classes)",
            "HISTOGRAM [COMMAND ...]",
            "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
            "    If no commands are specified then all histograms are replied.",
        ],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::{LatencyMonitor, SAMPLES_MAX};

    #[test]
    fn percentiles_come_from_the_bucket_that_reaches_them() {
        let mut buckets = [0; LATENCY_BUCKETS];
        assert_eq!(percentile_us(&buckets, 99.0), 0);
        buckets[0] = 90;
        buckets[3] = 9;
        buckets[10] = 1;
        assert_eq!(percentile_us(&buckets, 50.0), 1);
        assert_eq!(percentile_us(&buckets, 99.0), 8);
        assert_eq!(percentile_us(&buckets, 99.9), 1024);
    }

    #[test]
    fn a_graph_is_as_high_as_the_longest_and_no_wider_than_its_columns() {
        let monitor = LatencyMonitor::default();
        for second in 0..SAMPLES_MAX as u64 {
            monitor.note("command", 10 + second % 4 * 10, 1, second * 1000);
        }
        let text = drawn("command", &monitor.series("command").expect("noted"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "command - high 40 ms, low 10 ms (all time high 40 ms)");
        assert_eq!(lines.len(), 2 + GRAPH_ROWS as usize);
        assert!(lines[2].starts_with("   #   #"), "{text}");
        assert!(lines[5].starts_with("#|||#|||"), "{text}");
        assert!(lines.iter().all(|line| line.len() <= GRAPH_COLUMNS), "{text}");
    }
}
