//! ACL, of the one user there is: `default`. Other users come later; what would make them is refused.

use super::container::{ADMIN, HELP, container, subcommand, too_many};
use crate::command::{Args, CommandError, Context, Flags, Spec};
use crate::commands::command::info::categories;
use crate::digest::sha256_hex;
use crate::server::Server;
use crate::table::table;
use std::io::Read;
use sutra_protocol::Reply;

/// ACL.
pub static SPEC: Spec =
    container("acl", "6.0.0", "A container for Access List Control commands.", SUBCOMMANDS, without_subcommand);

const OPEN: Flags = Flags::NOSCRIPT.and(Flags::LOADING);

static SUBCOMMANDS: &[Spec] = &[
    subcommand(
        "acl|cat",
        -2,
        OPEN,
        "6.0.0",
        "Lists the ACL categories, or the commands inside a category.",
        "[category]",
        cat,
    ),
    subcommand(
        "acl|deluser",
        -3,
        ADMIN,
        "6.0.0",
        "Deletes ACL users, and terminates their connections.",
        "username [username ...]",
        no_other_users,
    ),
    subcommand(
        "acl|genpass",
        -2,
        OPEN,
        "6.0.0",
        "Generates a pseudorandom, secure password that can be used to identify ACL users.",
        "[bits]",
        generate,
    ),
    subcommand("acl|getuser", 3, ADMIN, "6.0.0", "Lists the ACL rules of a user.", "username", user),
    subcommand("acl|help", 2, HELP, "6.0.0", "Returns helpful text about the different subcommands.", "", help),
    subcommand("acl|list", 2, ADMIN, "6.0.0", "Dumps the effective rules in ACL file format.", "", list),
    subcommand("acl|load", 2, ADMIN, "6.0.0", "Reloads the rules from the configured ACL file.", "", no_file),
    subcommand(
        "acl|log",
        -2,
        ADMIN,
        "6.0.0",
        "Lists recent security events generated due to ACL rules.",
        "[count | RESET]",
        log,
    ),
    subcommand("acl|save", 2, ADMIN, "6.0.0", "Saves the effective ACL rules in the configured ACL file.", "", no_file),
    subcommand(
        "acl|setuser",
        -3,
        ADMIN.and(Flags::SKIP_SLOWLOG),
        "6.0.0",
        "Creates and modifies an ACL user and its rules.",
        "username [rule [rule ...]]",
        no_other_users,
    ),
    subcommand("acl|users", 2, ADMIN, "6.0.0", "Lists all ACL users.", "", users),
    subcommand(
        "acl|whoami",
        2,
        OPEN,
        "6.0.0",
        "Returns the authenticated username of the current connection.",
        "",
        whoami,
    ),
];

/// All categories, in Redis's order.
const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// Bits of a generated password unless told otherwise, and at most.
const PASSWORD_BITS_DEFAULT: i64 = 256;
const PASSWORD_BITS_MAX: i64 = 4096;

fn without_subcommand<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Err(CommandError::Arity("acl".into()))
}

fn cat<'t>(mut args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let wanted = args.take_optional();
    if args.remaining() > 0 {
        return Err(too_many(&args));
    }
    let Some(wanted) = wanted else {
        return Ok(Reply::Array(CATEGORIES.iter().map(|name| Reply::Bulk(name.as_bytes())).collect()));
    };
    let Some(category) = CATEGORIES.iter().find(|name| name.as_bytes().eq_ignore_ascii_case(wanted)) else {
        return Err(CommandError::text(format!("ERR Unknown category '{}'", String::from_utf8_lossy(wanted))));
    };
    let commands = table().all().iter().filter(|command| categories(command.spec).contains(category));
    Ok(Reply::Array(commands.map(|command| Reply::Bulk(command.spec.name.as_bytes())).collect()))
}

fn generate<'t>(mut args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let bits = if args.remaining() > 0 { args.take_i64()? } else { PASSWORD_BITS_DEFAULT };
    if args.remaining() > 0 {
        return Err(too_many(&args));
    }
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err(CommandError::text(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {PASSWORD_BITS_MAX}"
        )));
    }
    let digits = usize::try_from(bits).unwrap_or(0).div_ceil(4);
    let mut random = vec![0; digits.div_ceil(2)];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(|error| CommandError::text(format!("ERR no randomness: {error}")))?;
    let mut password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    password.truncate(digits);
    Ok(Reply::BulkOwned(password.into_bytes()))
}

fn user<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    if args.take()? != b"default" {
        return Ok(Reply::Null);
    }
    let hash = password_hash(cx.server);
    let mut flags = vec![Reply::Bulk(b"on")];
    if hash.is_none() {
        flags.push(Reply::Bulk(b"nopass"));
    }
    Ok(Reply::Map(vec![
        (Reply::Bulk(b"flags"), Reply::Set(flags)),
        (
            Reply::Bulk(b"passwords"),
            Reply::Array(hash.into_iter().map(|hash| Reply::BulkOwned(hash.into_bytes())).collect()),
        ),
        (Reply::Bulk(b"commands"), Reply::Bulk(b"+@all")),
        (Reply::Bulk(b"keys"), Reply::Bulk(b"~*")),
        (Reply::Bulk(b"channels"), Reply::Bulk(b"&*")),
        (Reply::Bulk(b"selectors"), Reply::Array(Vec::new())),
    ]))
}

fn list<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let secret = password_hash(cx.server).map_or("nopass".to_owned(), |hash| format!("#{hash}"));
    Ok(Reply::Array(vec![Reply::BulkOwned(format!("user default on {secret} ~* &* +@all").into_bytes())]))
}

fn password_hash(server: &Server) -> Option<String> {
    server.settings.password().map(|password| sha256_hex(&password))
}

/// Nobody is ever denied anything by a rule yet, so nothing is logged.
fn log<'t>(mut args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let reset = args.take_word("RESET");
    if !reset && args.remaining() > 0 {
        args.take_i64()?;
    }
    if args.remaining() > 0 {
        return Err(too_many(&args));
    }
    Ok(if reset { Reply::Ok } else { Reply::Array(Vec::new()) })
}

fn users<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::Array(vec![Reply::Bulk(b"default")]))
}

fn whoami<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::BulkOwned(cx.session.client.names().user.into_bytes()))
}

fn no_other_users<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Err(CommandError::text(
        "ERR There is only the user 'default' yet, and its rules are fixed; its password is CONFIG SET requirepass",
    ))
}

fn no_file<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Err(CommandError::text(
        "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
         command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in \
         the Redis configuration.",
    ))
}

fn help<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(super::help(
        "ACL",
        &[
            "CAT [<category>]",
            "    List all commands that belong to <category>, or all command categories",
            "    when no category is specified.",
            "GETUSER <username>",
            "    Get the user's details.",
            "GENPASS [<bits>]",
            "    Generate a secure 256-bit user password. The optional `bits` argument can",
            "    be used to specify a different size.",
            "LIST",
            "    Show users details in config file format.",
            "LOG [<count> | RESET]",
            "    Show the ACL log entries.",
            "USERS",
            "    List all the registered usernames.",
            "WHOAMI",
            "    Return the current connection username.",
        ],
    ))
}
