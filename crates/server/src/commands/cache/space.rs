//! CACHE.SPACE: the spaces of vectors.

use super::answer::{integer, map, meaning_error, number, word};
use super::group::{in_group, nothing, subcommand};
use super::invalidate::{no_such_space, who};
use super::text::{check_default_dimension, default_options, leave_job};
use super::words::{Words, shown};
use crate::command::{Args, CommandError, Context, Flags, Spec};
use crate::commands::container::container;
use crate::statistics::InvalidationKind;
use std::sync::atomic::Ordering;
use sutra_protocol::Reply;
use sutra_shard::{Guard, Metric, Quantization, SpaceOptions};

/// CACHE.SPACE.
pub static SPEC: Spec = in_group(container(
    "cache.space",
    "sutra 0.1.0",
    "A container for commands on the spaces of vectors.",
    &[
        subcommand(
            "cache.space|bump",
            3,
            WRITE,
            "Begins a new generation of a space: everything older is gone at once.",
            "name",
            bump,
        )
        .complexity("O(1); what is gone is swept afterwards."),
        subcommand(
            "cache.space|create",
            -5,
            WRITE.and(Flags::DENYOOM),
            "Makes a space.",
            "name DIM dimension [METRIC (cosine | ip | l2)] [EMBEDDER name] [QUANT (cascade | int8-only)] \
             [GUARD numbers,dates,ids,negation]",
            create,
        ),
        subcommand(
            "cache.space|drop",
            3,
            WRITE,
            "Removes a space and all its entries; how many there were.",
            "name",
            drop_space,
        )
        .complexity("O(N) with N being the entries of the space."),
        subcommand("cache.space|help", 2, Flags::LOADING, "Returns helpful text about the subcommands.", "", help),
        subcommand("cache.space|info", 3, READ, "Returns what is known of a space.", "name", info),
        subcommand("cache.space|list", 2, READ, "Returns the names of the spaces.", "", list),
    ],
    nothing,
));

const READ: Flags = Flags::READONLY.and(Flags::ALONE);
const WRITE: Flags = Flags::WRITE.and(Flags::ALONE);

fn read_options(words: &mut Words<'_>, mut options: SpaceOptions) -> Result<SpaceOptions, CommandError> {
    let mut has_dimension = false;
    while words.any() {
        if !has_dimension && words.word("DIM") {
            has_dimension = true;
            options.dimension = words.number("DIM", "dimension", 1, words.limits.dimension_max as u64)? as usize;
        } else if words.word("METRIC") {
            options.metric = match words.need("the word behind METRIC")? {
                word if word.eq_ignore_ascii_case(b"cosine") => Metric::Cosine,
                word if word.eq_ignore_ascii_case(b"ip") => Metric::InnerProduct,
                word if word.eq_ignore_ascii_case(b"l2") => Metric::Euclidean,
                word => return Err(words.mistake(format_args!("METRIC is cosine, ip or l2, got {}", shown(word)))),
            };
        } else if words.word("EMBEDDER") {
            options.embedder = words.text("EMBEDDER")?.to_owned();
        } else if words.word("QUANT") {
            let word = words.need("the word behind QUANT")?;
            options.quantization = Quantization::parse(word)
                .ok_or_else(|| words.mistake(format_args!("QUANT is cascade or int8-only, got {}", shown(word))))?;
        } else if words.word("GUARD") {
            let text = words.text("GUARD")?;
            options.guard = text.parse::<Guard>().map_err(|error| words.mistake(error))?;
        } else {
            return Err(words.not_understood());
        }
    }
    if has_dimension { Ok(options) } else { Err(words.mistake("DIM is missing")) }
}

fn create<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut words = Words::new("CACHE.SPACE CREATE", args, cx.server);
    let name = words.space()?.to_vec();
    let mut options = read_options(&mut words, default_options(cx.server, 0, ""))?;
    // `builtin`, as in the configuration, is whichever built-in model this server has.
    if let Some(own) = cx.server.embedding.name()
        && own.split(':').next().is_some_and(|kind| kind.eq_ignore_ascii_case(&options.embedder))
    {
        options.embedder = own.to_owned();
    }
    check_default_dimension(cx.server, &name, options.dimension)?;
    Ok(leave_job(cx, false, move |work| {
        work.server.shard.create_space(&name, &options).map_err(meaning_error)?;
        Ok(Reply::Ok)
    }))
}

fn drop_space<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let name = args.take()?.to_vec();
    Ok(leave_job(cx, true, move |work| {
        work.server.shard.drop_space(&name, work.now_ms).map(integer).map_err(meaning_error)
    }))
}

fn bump<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let name = args.take()?.to_vec();
    let (db, who) = (cx.session.db, who(cx.session));
    Ok(leave_job(cx, false, move |work| {
        let lsn = work.server.shard.bump_space(&name, db, &who, work.now_ms).map_err(meaning_error)?;
        work.server.invalidations.count(InvalidationKind::Generation);
        Ok(integer(lsn.0))
    }))
}

fn list<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut names: Vec<Vec<u8>> = cx.server.shard.spaces().iter().map(|space| space.name().to_vec()).collect();
    names.sort();
    Ok(Reply::Array(names.into_iter().map(Reply::BulkOwned).collect()))
}

/// The metric as CACHE.SPACE CREATE takes it.
fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "cosine",
        Metric::InnerProduct => "ip",
        Metric::Euclidean => "l2",
    }
}

fn info<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let name = args.take()?;
    let space = cx.server.shard.space(name).ok_or_else(|| no_such_space(name))?;
    let report = cx.server.shard.feedback_report(&space);
    let (options, counters) = (space.options(), &space.counters);
    let count = |counter: &std::sync::atomic::AtomicU64| integer(counter.load(Ordering::Relaxed));
    Ok(map(vec![
        ("name", Reply::BulkOwned(space.name().to_vec())),
        ("dim", integer(space.dimension() as u64)),
        ("metric", word(metric_name(options.metric))),
        ("embedder", Reply::BulkOwned(options.embedder.clone().into_bytes())),
        ("quant", word(options.quantization.name())),
        ("guard", Reply::BulkOwned(options.guard.to_string().into_bytes())),
        ("entries", integer(space.len() as u64)),
        ("memory_bytes", integer(space.memory_bytes())),
        ("graph_rows", integer(space.graph_rows())),
        ("hits", count(&counters.hits)),
        ("misses", count(&counters.misses)),
        ("guarded", count(&counters.guarded)),
        ("cost_saved_usd", number(counters.cost_saved_micro_usd.load(Ordering::Relaxed) as f32 / 1e6)),
        ("invalidated", count(&counters.invalidated)),
        ("feedback_good", integer(report.good)),
        ("feedback_bad", integer(report.bad)),
        ("feedback_precision", Reply::Double(report.precision)),
        ("suggested_threshold", report.suggested_threshold.map_or(Reply::Null, number)),
    ]))
}

fn help<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(crate::commands::help(
        "CACHE.SPACE",
        &[
            "BUMP <name>",
            "    Begin a new generation: everything older is gone at once.",
            "CREATE <name> DIM <dimension> [METRIC cosine|ip|l2] [EMBEDDER <name>]",
            "       [QUANT cascade|int8-only] [GUARD numbers,dates,ids,negation]",
            "    Make a space.",
            "DROP <name>",
            "    Remove a space and all its entries.",
            "INFO <name>",
            "    Show what is known of a space.",
            "LIST",
            "    Show the names of the spaces.",
        ],
    ))
}
