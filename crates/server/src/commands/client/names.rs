//! What a client says of itself: ID, GETNAME, SETNAME, SETINFO.

use crate::command::{Args, CommandError, Context};
use sutra_protocol::Reply;

/// What Redis answers to a name with blanks or control characters, which would break CLIENT LIST.
pub(crate) const NAME_REFUSED: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// The name as text, if all of it prints.
pub(crate) fn valid_name(name: &[u8]) -> Option<&str> {
    if name.iter().all(u8::is_ascii_graphic) { std::str::from_utf8(name).ok() } else { None }
}

pub(super) fn id<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::Integer(i64::try_from(cx.session.client.id).unwrap_or(i64::MAX)))
}

pub(super) fn get<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let name = cx.session.client.names().name;
    Ok(if name.is_empty() { Reply::Null } else { Reply::BulkOwned(name.into_bytes()) })
}

pub(super) fn set<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let name = valid_name(args.take()?).ok_or(CommandError::text(NAME_REFUSED))?;
    cx.session.client.rename(|names| name.clone_into(&mut names.name));
    Ok(Reply::Ok)
}

pub(super) fn set_info<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let option = args.take()?;
    let value = args.take()?;
    let is_name = option.eq_ignore_ascii_case(b"LIB-NAME");
    let label = String::from_utf8_lossy(option).into_owned();
    if !is_name && !option.eq_ignore_ascii_case(b"LIB-VER") {
        return Err(CommandError::text(format!("ERR Unrecognized option '{label}'")));
    }
    let value = valid_name(value).ok_or_else(|| {
        CommandError::text(format!("ERR {label} cannot contain spaces, newlines or special characters."))
    })?;
    cx.session.client.rename(|names| {
        value.clone_into(if is_name { &mut names.library } else { &mut names.library_version });
    });
    Ok(Reply::Ok)
}
