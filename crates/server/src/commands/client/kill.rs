//! CLIENT KILL.

use super::list::Kind;
use crate::clients::{Client, Signal};
use crate::command::{Args, CommandError, Context};
use std::sync::Arc;
use sutra_protocol::Reply;
use sutra_protocol::number::parse_i64;

/// Which clients to close: all given conditions must hold.
#[derive(Debug, Default)]
struct Filter<'t> {
    id: Option<u64>,
    address: Option<&'t [u8]>,
    local_address: Option<&'t [u8]>,
    kind: Option<Kind>,
    user: Option<&'t [u8]>,
    age_seconds_min: Option<u64>,
}

pub(super) fn run<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    if args.remaining() == 1 {
        let filter = Filter { address: Some(args.take()?), ..Filter::default() };
        return match kill(cx, &filter, false) {
            0 => Err(CommandError::text("ERR No such client")),
            _ => Ok(Reply::Ok),
        };
    }
    let mut filter = Filter::default();
    let mut skip_me = true;
    while args.remaining() > 0 {
        let option = args.take()?;
        let value = args.take()?;
        if option.eq_ignore_ascii_case(b"ID") {
            let id = parse_i64(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
            filter.id = Some(id.ok_or(CommandError::text("ERR client-id should be greater than 0"))?);
        } else if option.eq_ignore_ascii_case(b"MAXAGE") {
            let age = parse_i64(value).ok_or(CommandError::text("ERR maxage is not an integer or out of range"))?;
            let age = u64::try_from(age).ok().filter(|age| *age > 0);
            filter.age_seconds_min = Some(age.ok_or(CommandError::text("ERR maxage should be greater than 0"))?);
        } else if option.eq_ignore_ascii_case(b"TYPE") {
            filter.kind = Some(Kind::parse(value)?);
        } else if option.eq_ignore_ascii_case(b"ADDR") {
            filter.address = Some(value);
        } else if option.eq_ignore_ascii_case(b"LADDR") {
            filter.local_address = Some(value);
        } else if option.eq_ignore_ascii_case(b"USER") {
            if value != b"default" {
                let user = String::from_utf8_lossy(value);
                return Err(CommandError::text(format!("ERR No such user '{user}'")));
            }
            filter.user = Some(value);
        } else if option.eq_ignore_ascii_case(b"SKIPME") {
            skip_me = match value {
                yes if yes.eq_ignore_ascii_case(b"yes") => true,
                no if no.eq_ignore_ascii_case(b"no") => false,
                _ => return Err(CommandError::Syntax),
            };
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(Reply::Integer(kill(cx, &filter, skip_me)))
}

/// Closes who matches; how many. The caller itself is closed after its reply.
fn kill(cx: &mut Context<'_, '_>, filter: &Filter<'_>, skip_me: bool) -> i64 {
    let mut killed = 0;
    for client in cx.server.clients.list() {
        if !filter.takes(&client, cx.now_ms) {
            continue;
        }
        if !Arc::ptr_eq(&client, &cx.session.client) {
            client.signal(Signal::KILL);
        } else if skip_me {
            continue;
        } else {
            cx.session.close = true;
        }
        killed += 1;
    }
    killed
}

impl Filter<'_> {
    fn takes(&self, client: &Client, now_ms: u64) -> bool {
        let is = |address: std::net::SocketAddr, text: &[u8]| address.to_string().as_bytes() == text;
        self.id.is_none_or(|id| client.id == id)
            && self.address.is_none_or(|text| is(client.address, text))
            && self.local_address.is_none_or(|text| is(client.local_address, text))
            && self.kind.is_none_or(|kind| kind == Kind::Normal)
            && self.user.is_none_or(|user| client.names().user.as_bytes() == user)
            && self.age_seconds_min.is_none_or(|age| now_ms.saturating_sub(client.connected_ms) / 1000 >= age)
    }
}
