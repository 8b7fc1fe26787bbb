//! CACHE.WARM: the most used entries of one shard, for another that begins cold.

mod blob;
mod export;
mod import;

use super::group::{in_group, nothing, subcommand};
use crate::command::{Args, CommandError, Context, Flags, Spec};
use crate::commands::container::container;
use sutra_protocol::Reply;

/// CACHE.WARM.
pub static SPEC: Spec = in_group(container(
    "cache.warm",
    "sutra 0.1.0",
    "A container for commands that fill one shard with the most used entries of another.",
    &[
        subcommand(
            "cache.warm|export",
            -2,
            Flags::READONLY.and(Flags::ALONE),
            "Returns a cursor and copies of the entries that are used most, most first.",
            "[COUNT count] [SINCE seconds] [MATCH pattern] [CURSOR cursor]",
            export::run,
        )
        .complexity("O(N) with N being the entries of the database, for every part."),
        subcommand("cache.warm|help", 2, Flags::LOADING, "Returns helpful text about the subcommands.", "", help),
        subcommand(
            "cache.warm|import",
            -3,
            Flags::WRITE.and(Flags::DENYOOM).and(Flags::ALONE),
            "Stores copies of another shard's entries; how many were stored.",
            "[REPLACE] [TTLMIN milliseconds] blob [blob ...]",
            import::run,
        )
        .complexity("O(N) with N being the copies."),
    ],
    nothing,
));

fn help<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(crate::commands::help(
        "CACHE.WARM",
        &[
            "EXPORT [COUNT <count>] [SINCE <seconds>] [MATCH <pattern>] [CURSOR <cursor>]",
            "    Copies of the entries that are used most, and where to go on (0: there are no more).",
            "IMPORT [REPLACE] [TTLMIN <milliseconds>] <blob> [<blob> ...]",
            "    Store such copies; those that live no longer than TTLMIN are left out.",
        ],
    ))
}
