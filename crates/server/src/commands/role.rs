//! What clients ask to learn what kind of server this is: ROLE, CLUSTER INFO, MODULE LIST, LOLWUT.

use super::container::{HELP, container, subcommand};
use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use sutra_protocol::Reply;

/// ROLE.
pub static ROLE: Spec = Spec {
    name: "role",
    arity: 1,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::FAST),
    keys: Keys::None,
    group: "server",
    since: "2.8.12",
    complexity: "O(1)",
    summary: "Returns the replication role.",
    syntax: "",
    subcommands: &[],
    run: role,
};

/// LOLWUT.
pub static LOLWUT: Spec = Spec {
    name: "lolwut",
    arity: -1,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: Keys::None,
    group: "server",
    since: "5.0.0",
    complexity: "O(1)",
    summary: "Displays computer art and the Redis version.",
    syntax: "[VERSION version]",
    subcommands: &[],
    run: lolwut,
};

/// CLUSTER: clients ask it to learn that there is none.
pub static CLUSTER: Spec = container(
    "cluster",
    "3.0.0",
    "A container for Redis Cluster commands.",
    &[subcommand(
        "cluster|info",
        2,
        Flags::LOADING,
        "3.0.0",
        "Returns information about the state of a node.",
        "",
        no_cluster,
    )],
    no_cluster,
);

/// MODULE.
pub static MODULE: Spec = container(
    "module",
    "4.0.0",
    "A container for module commands.",
    &[
        subcommand(
            "module|help",
            2,
            HELP,
            "5.0.0",
            "Returns helpful text about the different subcommands.",
            "",
            module_help,
        ),
        subcommand(
            "module|list",
            2,
            Flags::ADMIN.and(Flags::NOSCRIPT),
            "4.0.0",
            "Returns all loaded modules.",
            "",
            module_list,
        ),
    ],
    module_list,
);

fn role<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::Array(vec![Reply::Bulk(b"master"), Reply::Integer(0), Reply::Array(Vec::new())]))
}

fn lolwut<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    // A sutra is a thread; this one is short.
    let text = format!("  ~o~o~o~o~o~>  sutra-cache ver. {}\n", env!("CARGO_PKG_VERSION"));
    Ok(Reply::text(text))
}

fn no_cluster<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Err(CommandError::text("ERR This instance has cluster support disabled"))
}

fn module_list<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::Array(Vec::new()))
}

fn module_help<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(super::help("MODULE", &["LIST", "    Return a list of loaded modules."]))
}
