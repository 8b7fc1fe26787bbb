//! CLIENT TRACKING, CACHING, GETREDIR, TRACKINGINFO.

use crate::clients::Client;
use crate::command::{Args, CommandError, Context};
use crate::tracking::{self, Choice, Reads, Tracking};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use sutra_protocol::Reply;

const PREFIX_WITHOUT_BCAST: &str = "ERR PREFIX option requires BCAST mode to be enabled";
const OTHER_MODE: &str = "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
                          re-enabling it with a different mode.";
const BCAST_AND_OPT: &str = "ERR OPTIN and OPTOUT are not compatible with BCAST";
const BOTH_OPTS: &str = "ERR You can't specify both OPTIN mode and OPTOUT mode";
const OTHER_OPT: &str = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
                         re-enabling it with a different mode.";
const NO_SUCH_TARGET: &str = "ERR The client ID you want redirect to does not exist";
const TWO_TARGETS: &str = "ERR A client can only redirect to a single other client";
const NOT_TRACKING: &str =
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled";
const NOT_OPTIN: &str = "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
const NOT_OPTOUT: &str = "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";

pub(super) fn run<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let switch = args.take()?;
    let (mut choice, mut opt_in, mut opt_out) = (Choice::default(), false, false);
    while args.remaining() > 0 {
        let more = args.remaining() > 1;
        if more && args.take_word("REDIRECT") {
            if choice.target.is_some() {
                return Err(CommandError::text(TWO_TARGETS));
            }
            choice.target = Some(target(cx, args.take_i64()?)?);
        } else if more && args.take_word("PREFIX") {
            choice.prefixes.push(args.take()?);
        } else if args.take_word("BCAST") {
            choice.broadcast = true;
        } else if args.take_word("OPTIN") {
            opt_in = true;
        } else if args.take_word("OPTOUT") {
            opt_out = true;
        } else if args.take_word("NOLOOP") {
            choice.no_loop = true;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    if switch.eq_ignore_ascii_case(b"OFF") {
        tracking::end(cx.server, cx.session);
        return Ok(Reply::Ok);
    }
    if !switch.eq_ignore_ascii_case(b"ON") {
        return Err(CommandError::Syntax);
    }
    check(&choice, (opt_in, opt_out), cx.session.tracking.as_deref())?;
    choice.reads = match (opt_in, opt_out) {
        (true, _) => Reads::OptIn,
        (false, true) => Reads::OptOut,
        (false, false) => Reads::All,
    };
    tracking::begin(cx.server, cx.session, choice);
    Ok(Reply::Ok)
}

/// The client to redirect to. One that speaks RESP2 would need a subscription to be told anything, and there are none.
fn target(cx: &Context<'_, '_>, id: i64) -> Result<Arc<Client>, CommandError> {
    let client = u64::try_from(id).ok().and_then(|id| cx.server.clients.find(id));
    let client = client.ok_or(CommandError::text(NO_SUCH_TARGET))?;
    if client.protocol.load(Ordering::Relaxed) < 3 {
        return Err(CommandError::text(format!(
            "ERR The client {id} you want redirect to speaks RESP2, in which it cannot be told anything: let it say HELLO 3 first"
        )));
    }
    Ok(client)
}

/// Whether the options fit together and to what was chosen before, in Redis's order of checks.
fn check(choice: &Choice<'_>, (opt_in, opt_out): (bool, bool), before: Option<&Tracking>) -> Result<(), CommandError> {
    let refuse = |text: &'static str| Err(CommandError::text(text));
    if !choice.broadcast && !choice.prefixes.is_empty() {
        return refuse(PREFIX_WITHOUT_BCAST);
    }
    if before.is_some_and(|before| before.is_broadcast() != choice.broadcast) {
        return refuse(OTHER_MODE);
    }
    if choice.broadcast && (opt_in || opt_out) {
        return refuse(BCAST_AND_OPT);
    }
    if opt_in && opt_out {
        return refuse(BOTH_OPTS);
    }
    match before.map(Tracking::reads) {
        Some(Reads::OptOut) if opt_in => return refuse(OTHER_OPT),
        Some(Reads::OptIn) if opt_out => return refuse(OTHER_OPT),
        Some(Reads::All | Reads::OptIn | Reads::OptOut) | None => {}
    }
    for (index, prefix) in choice.prefixes.iter().enumerate() {
        let overlaps = |other: &[u8]| other.starts_with(prefix) || prefix.starts_with(other);
        if let Some(other) = before.and_then(|before| before.prefixes().iter().find(|other| overlaps(other))) {
            return Err(overlap(prefix, "an existing prefix", other));
        }
        if let Some(other) = choice.prefixes[index + 1..].iter().find(|other| overlaps(other)) {
            return Err(overlap(prefix, "another provided prefix", other));
        }
    }
    Ok(())
}

fn overlap(prefix: &[u8], which: &str, other: &[u8]) -> CommandError {
    let (prefix, other) = (String::from_utf8_lossy(prefix), String::from_utf8_lossy(other));
    CommandError::text(format!(
        "ERR Prefix '{prefix}' overlaps with {which} '{other}'. Prefixes for a single client must not overlap."
    ))
}

pub(super) fn caching<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let Some(tracking) = &mut cx.session.tracking else { return Err(CommandError::text(NOT_TRACKING)) };
    let wanted = if args.take_word("YES") {
        (Reads::OptIn, NOT_OPTIN)
    } else if args.take_word("NO") {
        (Reads::OptOut, NOT_OPTOUT)
    } else {
        return Err(CommandError::Syntax);
    };
    if tracking.reads() != wanted.0 {
        return Err(CommandError::text(wanted.1));
    }
    tracking.caching = true;
    Ok(Reply::Ok)
}

pub(super) fn redirection<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::Integer(cx.session.client.tracking.redirection()))
}

pub(super) fn info<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let state = &cx.session.client.tracking;
    let mut flags: Vec<&[u8]> = vec![if state.is_on() { b"on" } else { b"off" }];
    let mut prefixes = Vec::new();
    if let Some(tracking) = &cx.session.tracking {
        let (reads, caching) = (tracking.reads(), tracking.caching);
        let said: [(bool, &[u8]); 7] = [
            (tracking.is_broadcast(), b"bcast"),
            (reads == Reads::OptIn, b"optin"),
            (reads == Reads::OptIn && caching, b"caching-yes"),
            (reads == Reads::OptOut, b"optout"),
            (reads == Reads::OptOut && caching, b"caching-no"),
            (tracking.is_no_loop(), b"noloop"),
            (state.is_broken(), b"broken_redirect"),
        ];
        flags.extend(said.iter().filter(|(is_said, _)| *is_said).map(|(_, word)| word));
        prefixes.extend(tracking.prefixes().iter().map(|prefix| Reply::Bulk(prefix)));
    }
    Ok(Reply::Map(vec![
        (Reply::Bulk(b"flags"), Reply::Set(flags.into_iter().map(Reply::Bulk).collect())),
        (Reply::Bulk(b"redirect"), Reply::Integer(state.redirection())),
        (Reply::Bulk(b"prefixes"), Reply::Array(prefixes)),
    ]))
}
