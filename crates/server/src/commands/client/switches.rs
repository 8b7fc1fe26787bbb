//! What a client may switch: replies, eviction, touching, pause.

use crate::command::{Args, CommandError, Context};
use crate::session::Replies;
use std::sync::atomic::Ordering;
use sutra_protocol::Reply;
use sutra_protocol::number::parse_i64;

pub(super) fn reply<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    if args.take_word("ON") {
        cx.session.replies = Replies::On;
        return Ok(Reply::Ok);
    }
    if args.take_word("OFF") {
        cx.session.replies = Replies::Off;
    } else if args.take_word("SKIP") {
        if cx.session.replies != Replies::Off {
            cx.session.replies = Replies::SkipNext;
        }
    } else {
        return Err(CommandError::Syntax);
    }
    Ok(Reply::None)
}

pub(super) fn no_evict<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    cx.session.client.no_evict.store(on_or_off(&mut args)?, Ordering::Relaxed);
    Ok(Reply::Ok)
}

pub(super) fn no_touch<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    cx.session.no_touch = on_or_off(&mut args)?;
    cx.session.client.no_touch.store(cx.session.no_touch, Ordering::Relaxed);
    Ok(Reply::Ok)
}

fn on_or_off(args: &mut Args<'_>) -> Result<bool, CommandError> {
    if args.take_word("ON") {
        Ok(true)
    } else if args.take_word("OFF") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

pub(super) fn pause<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let timeout = args.take()?;
    let all = match args.take_optional() {
        None => true,
        Some(word) if word.eq_ignore_ascii_case(b"ALL") => true,
        Some(word) if word.eq_ignore_ascii_case(b"WRITE") => false,
        Some(_) => return Err(CommandError::text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    args.finish()?;
    let timeout_ms = parse_i64(timeout).ok_or(CommandError::text("ERR timeout is not an integer or out of range"))?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    cx.server.begin_pause(cx.now_ms.saturating_add(timeout_ms), all);
    Ok(Reply::Ok)
}

pub(super) fn unpause<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    cx.server.end_pause();
    Ok(Reply::Ok)
}

/// No command blocks yet, so there is nobody to unblock.
pub(super) fn unblock<'t>(mut args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let id = args.take()?;
    if args.remaining() > 0 && !args.take_word("TIMEOUT") && !args.take_word("ERROR") {
        return Err(CommandError::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
    }
    args.finish()?;
    parse_i64(id).ok_or(CommandError::NotAnInteger)?;
    Ok(Reply::Integer(0))
}
