//! CONFIG.

use super::container::{ADMIN, HELP, container, subcommand};
use crate::command::{Args, CommandError, Context, Flags, Spec};
use crate::config::{SETTINGS, Setting, WriteError, find, primary, rewrite};
use crate::glob::matches_ignoring_case;
use crate::logging;
use std::borrow::Cow;
use std::sync::PoisonError;
use sutra_protocol::Reply;

/// CONFIG.
pub static SPEC: Spec =
    container("config", "2.0.0", "A container for server configuration commands.", SUBCOMMANDS, without_subcommand);

static SUBCOMMANDS: &[Spec] = &[
    subcommand(
        "config|get",
        -3,
        ADMIN,
        "2.0.0",
        "Returns the effective values of configuration parameters.",
        "parameter [parameter ...]",
        get,
    )
    .complexity("O(N) when N is the number of configuration parameters provided"),
    subcommand("config|help", 2, HELP, "5.0.0", "Returns helpful text about the different subcommands.", "", help),
    // It reads what is counted stripe by stripe, and must not wait for stripes that an EXEC around it holds.
    subcommand(
        "config|resetstat",
        2,
        ADMIN.and(Flags::ALL_KEYS),
        "2.0.0",
        "Resets the server's statistics.",
        "",
        reset_statistics,
    ),
    subcommand("config|rewrite", 2, ADMIN, "2.8.0", "Persists the effective configuration to file.", "", rewrite_file),
    // Values may be secrets, so the slow log does not keep them.
    subcommand(
        "config|set",
        -4,
        ADMIN.and(Flags::SKIP_SLOWLOG),
        "2.0.0",
        "Sets configuration parameters in-flight.",
        "parameter value [parameter value ...]",
        set,
    )
    .complexity("O(N) when N is the number of configuration parameters provided"),
];

fn without_subcommand<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Err(CommandError::Arity("config".into()))
}

fn get<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let settings = &cx.server.settings;
    let mut found: Vec<(Cow<'t, [u8]>, &Setting)> = Vec::new();
    for pattern in args.rest() {
        if !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) {
            // A plain name is answered as it was asked for.
            let setting = std::str::from_utf8(pattern).ok().and_then(find);
            found.extend(setting.map(|setting| (Cow::Borrowed(*pattern), setting)));
            continue;
        }
        for setting in SETTINGS {
            let names = [setting.name].into_iter().chain(setting.aliases.iter().copied());
            let names = names.filter(|name| asks_for(pattern, name));
            found.extend(names.map(|name| (Cow::Borrowed(name.as_bytes()), setting)));
        }
    }
    let mut shown: Vec<(Reply<'t>, Reply<'t>)> = Vec::new();
    for (at, (name, setting)) in found.iter().enumerate() {
        if !found[..at].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            shown.push((Reply::BulkOwned(name.to_vec()), Reply::BulkOwned(setting.value(settings).into_bytes())));
        }
    }
    Ok(Reply::Map(shown))
}

/// Patterns may name a setting with `_`, as the environment does.
fn asks_for(pattern: &[u8], name: &str) -> bool {
    if !pattern.contains(&b'_') {
        return matches_ignoring_case(pattern, name.as_bytes());
    }
    let pattern: Vec<u8> = pattern.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
    matches_ignoring_case(&pattern, name.as_bytes())
}

/// All or nothing: every value is checked before the first is taken.
fn set<'t>(args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let words = args.rest();
    if !words.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let settings = &cx.server.settings;
    let mut wanted: Vec<(&'static Setting, String)> = Vec::new();
    let mut refusal = None;
    for pair in words.chunks_exact(2) {
        let name = String::from_utf8_lossy(pair[0]);
        let Some(setting) = find(&name) else {
            return Err(CommandError::text(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
            )));
        };
        if refusal.is_some() {
            continue;
        }
        if wanted.iter().any(|(other, _)| other.name == setting.name) {
            refusal = Some(failed(&name, "duplicate parameter"));
            continue;
        }
        let Ok(value) = std::str::from_utf8(pair[1]) else {
            refusal = Some(failed(&name, "argument must be text"));
            continue;
        };
        match setting.check_live(settings, value) {
            Ok(value) => wanted.push((setting, value)),
            Err(WriteError::Immutable) if setting.name == "dir" => {
                refusal = Some(failed(&name, "can't set protected config"));
            }
            Err(WriteError::Immutable) => refusal = Some(failed(&name, "can't set immutable config")),
            Err(WriteError::Refused(reason)) => refusal = Some(failed(&name, &reason)),
        }
    }
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let mut changed = settings.changed.lock().unwrap_or_else(PoisonError::into_inner);
    for (setting, value) in wanted {
        if setting.is_secret() {
            tracing::info!(name = setting.name, "a setting was changed");
        } else {
            tracing::info!(name = setting.name, value, "a setting was changed");
        }
        setting.write_live(settings, value);
        changed.insert(primary(setting).name);
    }
    drop(changed);
    settings.apply(&cx.server.shard);
    logging::set_filter(&settings.log_filter.read().unwrap_or_else(PoisonError::into_inner));
    Ok(Reply::Ok)
}

fn failed(name: &str, reason: &str) -> CommandError {
    CommandError::text(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
}

fn reset_statistics<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    cx.txn.reset_stats();
    let server = cx.server;
    server.workers().iter().for_each(|worker| worker.reset());
    server.clients_evicted.store(0, std::sync::atomic::Ordering::Relaxed);
    server.trends.reset();
    Ok(Reply::Ok)
}

fn rewrite_file<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    match rewrite(&cx.server.settings) {
        Ok(overridden) => {
            for name in overridden {
                tracing::warn!(
                    name,
                    "the configuration file now sets this, but so do environment or flags, which win at the next start"
                );
            }
            Ok(Reply::Ok)
        }
        Err(error) => Err(CommandError::text(format!("ERR {error}"))),
    }
}

fn help<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(super::help(
        "CONFIG",
        &[
            "GET <pattern>",
            "    Return parameters matching the glob-like <pattern> and their values.",
            "SET <directive> <value>",
            "    Set the configuration <directive> to <value>.",
            "RESETSTAT",
            "    Reset statistics reported by the INFO command.",
            "REWRITE",
            "    Rewrite the configuration file.",
        ],
    ))
}
