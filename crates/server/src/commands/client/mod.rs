//! CLIENT and its subcommands.

pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod names;
pub(crate) mod switches;
mod tracking;

use crate::command::{Args, CommandError, Context, Flags, Keys, Run, Spec};
use sutra_protocol::Reply;

const OPEN: Flags = Flags::NOSCRIPT.and(Flags::LOADING);
const ADMIN: Flags = OPEN.and(Flags::ADMIN);

/// CLIENT.
pub static SPEC: Spec = Spec {
    name: "client",
    arity: -2,
    flags: Flags::NONE,
    keys: Keys::None,
    group: "connection",
    since: "2.4.0",
    complexity: "Depends on subcommand.",
    summary: "A container for client connection commands.",
    syntax: "",
    subcommands: SUBCOMMANDS,
    run: container,
};

static SUBCOMMANDS: &[Spec] = &[
    sub(
        "client|caching",
        3,
        OPEN,
        "6.0.0",
        "Instructs the server whether to track the keys in the next request.",
        "YES | NO",
        tracking::caching,
    ),
    sub("client|getname", 2, OPEN, "2.6.9", "Returns the name of the connection.", "", names::get),
    sub(
        "client|getredir",
        2,
        OPEN,
        "6.0.0",
        "Returns the client ID to which the connection's tracking notifications are redirected.",
        "",
        tracking::redirection,
    ),
    sub("client|help", 2, Flags::LOADING, "5.0.0", "Returns helpful text about the different subcommands.", "", help),
    sub("client|id", 2, OPEN, "5.0.0", "Returns the unique client ID of the connection.", "", names::id),
    sub("client|info", 2, OPEN, "6.2.0", "Returns information about the connection.", "", list::info),
    sub(
        "client|kill",
        -3,
        ADMIN,
        "2.4.0",
        "Terminates open connections.",
        "ip:port | [ID client-id] [TYPE NORMAL | MASTER | REPLICA | PUBSUB] [USER username] [ADDR ip:port] \
         [LADDR ip:port] [SKIPME YES | NO] [MAXAGE maxage]",
        kill::run,
    ),
    sub(
        "client|list",
        -2,
        ADMIN,
        "2.4.0",
        "Lists open connections.",
        "[TYPE NORMAL | MASTER | REPLICA | PUBSUB] [ID client-id [client-id ...]]",
        list::run,
    ),
    sub(
        "client|no-evict",
        3,
        ADMIN,
        "7.0.0",
        "Sets the client eviction mode of the connection.",
        "ON | OFF",
        switches::no_evict,
    ),
    sub(
        "client|no-touch",
        3,
        OPEN,
        "7.2.0",
        "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
        "ON | OFF",
        switches::no_touch,
    ),
    sub("client|pause", -3, ADMIN, "3.0.0", "Suspends commands processing.", "timeout [WRITE | ALL]", switches::pause),
    sub(
        "client|reply",
        3,
        OPEN,
        "3.2.0",
        "Instructs the server whether to reply to commands.",
        "ON | OFF | SKIP",
        switches::reply,
    ),
    sub(
        "client|setinfo",
        4,
        OPEN,
        "7.2.0",
        "Sets information specific to the client or connection.",
        "LIB-NAME libname | LIB-VER libver",
        names::set_info,
    ),
    sub("client|setname", 3, OPEN, "2.6.9", "Sets the connection name.", "connection-name", names::set),
    sub(
        "client|tracking",
        -3,
        OPEN,
        "6.0.0",
        "Controls server-assisted client-side caching for the connection.",
        "ON | OFF [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
        tracking::run,
    ),
    sub(
        "client|trackinginfo",
        2,
        OPEN,
        "6.2.0",
        "Returns information about server-assisted client-side caching for the connection.",
        "",
        tracking::info,
    ),
    sub(
        "client|unblock",
        -3,
        ADMIN,
        "5.0.0",
        "Unblocks a client blocked by a blocking command from a different connection.",
        "client-id [TIMEOUT | ERROR]",
        switches::unblock,
    ),
    sub("client|unpause", 2, ADMIN, "6.2.0", "Resumes processing commands from paused clients.", "", switches::unpause),
];

const fn sub(
    name: &'static str,
    arity: i16,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    syntax: &'static str,
    run: Run,
) -> Spec {
    Spec {
        name,
        arity,
        flags,
        keys: Keys::None,
        group: "connection",
        since,
        complexity: "O(N) where N is the number of client connections",
        summary,
        syntax,
        subcommands: &[],
        run,
    }
}

fn container<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Err(CommandError::Arity("client".into()))
}

fn help<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(super::help(
        "CLIENT",
        &[
            "CACHING (YES|NO)",
            "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
            "GETREDIR",
            "    Return the client ID we are redirecting to when tracking is enabled.",
            "GETNAME",
            "    Return the name of the current connection.",
            "ID",
            "    Return the ID of the current connection.",
            "INFO",
            "    Return information about the current client connection.",
            "KILL <ip:port>",
            "    Kill connection made from <ip:port>.",
            "KILL <option> <value> [<option> <value> [...]]",
            "    Kill connections. Options are:",
            "    * ADDR (<ip:port>|<unixsocket>:0)",
            "      Kill connections made from the specified address",
            "    * LADDR (<ip:port>|<unixsocket>:0)",
            "      Kill connections made to specified local address",
            "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
            "      Kill connections by type.",
            "    * USER <username>",
            "      Kill connections authenticated by <username>.",
            "    * SKIPME (YES|NO)",
            "      Skip killing current connection (default: yes).",
            "    * ID <client-id>",
            "      Kill connections by client id.",
            "    * MAXAGE <maxage>",
            "      Kill connections older than the specified age.",
            "LIST [options ...]",
            "    Return information about client connections. Options:",
            "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
            "      Return clients of specified type.",
            "    * ID <client-id> [<client-id> [...]]",
            "      Return clients of specified IDs only.",
            "UNPAUSE",
            "    Stop the current client pause, resuming traffic.",
            "PAUSE <timeout> [WRITE|ALL]",
            "    Suspend all, or just write, clients for <timeout> milliseconds.",
            "REPLY (ON|OFF|SKIP)",
            "    Control the replies sent to the current connection.",
            "SETNAME <name>",
            "    Assign the name <name> to the current connection.",
            "SETINFO <option> <value>",
            "    Set client meta attr. Options are:",
            "    * LIB-NAME: the client lib name.",
            "    * LIB-VER: the client lib version.",
            "UNBLOCK <clientid> [TIMEOUT|ERROR]",
            "    Unblock the specified blocked client.",
            "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
            "         [OPTIN] [OPTOUT] [NOLOOP]",
            "    Control server assisted client side caching.",
            "TRACKINGINFO",
            "    Report tracking status for the current connection.",
            "NO-EVICT (ON|OFF)",
            "    Protect current client connection from eviction.",
            "NO-TOUCH (ON|OFF)",
            "    Will not touch LRU/LFU stats when this mode is on.",
        ],
    ))
}
