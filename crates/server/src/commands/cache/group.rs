//! What the native commands that are containers of subcommands share.

use crate::command::{Args, CommandError, Context, Flags, Run, Spec};
use crate::commands::container::{self, too_many};
use sutra_protocol::Reply;

/// The spec, in the group of the native commands.
pub(super) const fn in_group(mut spec: Spec) -> Spec {
    spec.group = "cache";
    spec
}

/// A subcommand of this group.
pub(super) const fn subcommand(
    name: &'static str,
    arity: i16,
    flags: Flags,
    summary: &'static str,
    syntax: &'static str,
    run: Run,
) -> Spec {
    in_group(container::subcommand(name, arity, flags, "sutra 0.1.0", summary, syntax, run))
}

/// A container without a subcommand.
pub(super) fn nothing<'t>(args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Err(too_many(&args))
}
