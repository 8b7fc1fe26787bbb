//! COMMAND and its subcommands: the table, as clients ask for it.

pub(crate) mod docs;
pub mod info;
pub(crate) mod keys;
pub(crate) mod list;

use crate::command::{Args, CommandError, Context, Flags, Keys, Run, Spec};
use sutra_protocol::Reply;

/// COMMAND.
pub static SPEC: Spec = Spec {
    name: "command",
    arity: -1,
    flags: Flags::LOADING,
    keys: Keys::None,
    group: "server",
    since: "2.8.13",
    complexity: "O(N) where N is the total number of Redis commands",
    summary: "Returns detailed information about all commands.",
    syntax: "",
    subcommands: SUBCOMMANDS,
    run: info::all,
};

static SUBCOMMANDS: &[Spec] = &[
    sub("command|count", 2, "2.8.13", "Returns a count of commands.", "", list::count),
    sub(
        "command|docs",
        -2,
        "7.0.0",
        "Returns documentary information about one, multiple or all commands.",
        "[command-name [command-name ...]]",
        docs::run,
    ),
    sub(
        "command|getkeys",
        -3,
        "2.8.13",
        "Extracts the key names from an arbitrary command.",
        "command [arg [arg ...]]",
        keys::names,
    ),
    sub(
        "command|getkeysandflags",
        -3,
        "7.0.0",
        "Extracts the key names and access flags for an arbitrary command.",
        "command [arg [arg ...]]",
        keys::names_and_flags,
    ),
    sub("command|help", 2, "5.0.0", "Returns helpful text about the different subcommands.", "", help),
    sub(
        "command|info",
        -2,
        "2.8.13",
        "Returns information about one, multiple or all commands.",
        "[command-name [command-name ...]]",
        info::run,
    ),
    sub(
        "command|list",
        -2,
        "7.0.0",
        "Returns a list of command names.",
        "[FILTERBY MODULE module-name | ACLCAT category | PATTERN pattern]",
        list::run,
    ),
];

const fn sub(
    name: &'static str,
    arity: i16,
    since: &'static str,
    summary: &'static str,
    syntax: &'static str,
    run: Run,
) -> Spec {
    Spec {
        name,
        arity,
        flags: Flags::LOADING,
        keys: Keys::None,
        group: "server",
        since,
        complexity: "O(N) where N is the number of commands",
        summary,
        syntax,
        subcommands: &[],
        run,
    }
}

fn help<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(super::help(
        "COMMAND",
        &[
            "(no subcommand)",
            "    Return details about all Redis commands.",
            "COUNT",
            "    Return the total number of commands in this Redis server.",
            "LIST",
            "    Return a list of all commands in this Redis server.",
            "INFO [<command-name> ...]",
            "    Return details about multiple Redis commands.",
            "    If no command names are given, documentation details for all",
            "    commands are returned.",
            "DOCS [<command-name> ...]",
            "    Return documentation details about multiple Redis commands.",
            "    If no command names are given, documentation details for all",
            "    commands are returned.",
            "GETKEYS <full-command>",
            "    Return the keys from a full Redis command.",
            "GETKEYSANDFLAGS <full-command>",
            "    Return the keys and the access flags from a full Redis command.",
        ],
    ))
}
