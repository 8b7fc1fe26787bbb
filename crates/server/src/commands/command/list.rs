//! COMMAND COUNT and COMMAND LIST.

use super::info::categories;
use crate::command::{Args, CommandError, Context, Spec};
use crate::glob;
use crate::table::table;
use sutra_protocol::Reply;

pub(super) fn count<'t>(_args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    Ok(Reply::Integer(i64::try_from(table().top().len()).unwrap_or(i64::MAX)))
}

pub(super) fn run<'t>(mut args: Args<'t>, _cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    if args.remaining() == 0 {
        return Ok(names(|_| true));
    }
    if args.remaining() != 3 || !args.take_word("FILTERBY") {
        return Err(CommandError::Syntax);
    }
    let filter = args.take()?;
    let value = args.take()?;
    if filter.eq_ignore_ascii_case(b"MODULE") {
        // There are no modules.
        Ok(names(|_| false))
    } else if filter.eq_ignore_ascii_case(b"ACLCAT") {
        let name = value.to_ascii_lowercase();
        Ok(names(|spec| categories(spec).iter().any(|category| category.as_bytes() == name)))
    } else if filter.eq_ignore_ascii_case(b"PATTERN") {
        Ok(names(|spec| glob::matches_ignoring_case(value, spec.name.as_bytes())))
    } else {
        Err(CommandError::Syntax)
    }
}

/// Commands and subcommands that pass the filter.
fn names(filter: impl Fn(&Spec) -> bool) -> Reply<'static> {
    let names = table().all().iter().filter(|command| filter(command.spec));
    Reply::Array(names.map(|command| Reply::Bulk(command.spec.name.as_bytes())).collect())
}
