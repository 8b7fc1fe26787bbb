//! COMMAND GETKEYS and GETKEYSANDFLAGS.

use crate::command::{Args, CommandError, Context, Flags, Keys, Spec};
use crate::dispatch::collect_keys;
use crate::table::table;
use sutra_protocol::Reply;

pub(super) fn names<'t>(args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (_, keys) = find(args.rest())?;
    Ok(Reply::Array(keys.into_iter().map(Reply::Bulk).collect()))
}

pub(super) fn names_and_flags<'t>(args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let (spec, keys) = find(args.rest())?;
    let with_flags = |key| {
        let flags = access(spec).iter().map(|flag| Reply::simple(*flag)).collect();
        Reply::Array(vec![Reply::Bulk(key), Reply::Set(flags)])
    };
    Ok(Reply::Array(keys.into_iter().map(with_flags).collect()))
}

/// What a command does with its keys, in the words of Redis 7's key specifications.
pub(super) fn access(spec: &Spec) -> &'static [&'static str] {
    match spec.name {
        "set" => &["RW", "access", "update", "variable_flags"],
        "del" | "unlink" | "hdel" => &["RM", "delete"],
        "mset" | "msetnx" | "setex" | "psetex" | "restore" => &["OW", "update"],
        "setnx" => &["OW", "insert"],
        "exists" | "expiretime" | "hexists" | "hlen" | "hstrlen" | "pexpiretime" | "pttl" | "strlen" | "touch"
        | "ttl" | "type" => &["RO"],
        "append" | "hsetnx" => &["RW", "insert"],
        _ if spec.flags.has(Flags::WRITE) => &["RW", "access", "update"],
        _ => &["RO", "access"],
    }
}

fn find<'t>(request: &[&'t [u8]]) -> Result<(&'static Spec, Vec<&'t [u8]>), CommandError> {
    let command = table().find_request(request).ok_or(CommandError::text("ERR Invalid command specified"))?;
    if matches!(command.spec.keys, Keys::None | Keys::Computed(_)) {
        return Err(CommandError::text("ERR The command has no key arguments"));
    }
    if !command.takes(request.len()) {
        return Err(CommandError::text("ERR Invalid number of arguments specified for command"));
    }
    let mut keys = Vec::new();
    collect_keys(command, request, &mut keys);
    if keys.is_empty() {
        return Err(CommandError::text("ERR Invalid arguments specified for command"));
    }
    Ok((command.spec, keys))
}
