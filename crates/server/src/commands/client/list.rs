//! CLIENT LIST and CLIENT INFO.

use crate::clients::Client;
use crate::command::{Args, CommandError, Context};
use crate::table::table;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use sutra_protocol::Reply;
use sutra_protocol::number::parse_i64;

/// Kinds of clients that CLIENT LIST and CLIENT KILL tell apart. Only normal ones exist so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Master,
    Replica,
    Subscriber,
}

impl Kind {
    pub(super) fn parse(word: &[u8]) -> Result<Kind, CommandError> {
        let kinds = [
            (&b"normal"[..], Kind::Normal),
            (b"master", Kind::Master),
            (b"slave", Kind::Replica),
            (b"replica", Kind::Replica),
            (b"pubsub", Kind::Subscriber),
        ];
        kinds
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name))
            .map(|(_, kind)| *kind)
            .ok_or_else(|| CommandError::text(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(word))))
    }
}

pub(super) fn run<'t>(mut args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    let mut kind = Kind::Normal;
    let mut ids = None;
    if args.remaining() == 2 && args.take_word("TYPE") {
        kind = Kind::parse(args.take()?)?;
    } else if args.remaining() >= 2 && args.take_word("ID") {
        let parsed: Option<Vec<u64>> =
            args.rest().iter().map(|id| parse_i64(id).and_then(|id| u64::try_from(id).ok())).collect();
        ids = Some(parsed.ok_or(CommandError::text("ERR Invalid client ID"))?);
    } else {
        args.finish()?;
    }
    cx.session.publish(cx.now_ms);
    let mut text = String::new();
    let clients = match ids {
        None => cx.server.clients.list(),
        Some(ids) => ids.into_iter().filter_map(|id| cx.server.clients.find(id)).collect(),
    };
    for client in clients.iter().filter(|_| kind == Kind::Normal) {
        describe(client, cx.now_ms, &mut text);
        text.push('\n');
    }
    Ok(Reply::Verbatim { format: *b"txt", text: text.into() })
}

pub(super) fn info<'t>(_args: Args<'t>, cx: &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError> {
    cx.session.publish(cx.now_ms);
    let mut text = String::new();
    describe(&cx.session.client, cx.now_ms, &mut text);
    text.push('\n');
    Ok(Reply::Verbatim { format: *b"txt", text: text.into() })
}

/// One line in the format of Redis 7.2. What has no meaning here (descriptors, replica buffers) is zero.
fn describe(client: &Client, now_ms: u64, text: &mut String) {
    let names = client.names();
    let seconds_since = |then_ms: u64| now_ms.saturating_sub(then_ms) / 1000;
    let queued = client.queued.load(Ordering::Relaxed);
    let command = usize::try_from(client.command.load(Ordering::Relaxed)).ok();
    let command = command.and_then(|index| table().all().get(index)).map_or("NULL", |command| command.spec.name);
    let output_bytes = client.output_bytes.load(Ordering::Relaxed);
    let written = write!(
        text,
        "id={} addr={} laddr={} fd=0 name={} age={} idle={} flags={} db={} sub=0 psub=0 ssub=0 multi={} watch={} \
         qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={} oll=0 omem={} tot-mem={} events={} cmd={} \
         user={} redir={} resp={} lib-name={} lib-ver={}",
        client.id,
        client.address,
        client.local_address,
        names.name,
        seconds_since(client.connected_ms),
        seconds_since(client.active_ms.load(Ordering::Relaxed)),
        flags(client, queued),
        client.db.load(Ordering::Relaxed),
        i64::from(queued) - 1,
        client.watched.load(Ordering::Relaxed),
        client.input_bytes.load(Ordering::Relaxed),
        output_bytes,
        output_bytes,
        client.memory_bytes.load(Ordering::Relaxed) + client.mail_bytes(),
        if output_bytes > 0 { "rw" } else { "r" },
        command,
        names.user,
        client.tracking.redirection(),
        client.protocol.load(Ordering::Relaxed),
        names.library,
        names.library_version,
    );
    debug_assert!(written.is_ok(), "a String takes whatever is written to it");
}

fn flags(client: &Client, queued: u32) -> String {
    let mut flags = String::new();
    for (flag, set) in [
        ('O', client.monitor.load(Ordering::Relaxed)),
        ('x', queued > 0),
        ('t', client.tracking.is_on()),
        ('R', client.tracking.is_broken()),
        ('B', client.tracking.is_broadcast()),
        ('e', client.no_evict.load(Ordering::Relaxed)),
        ('T', client.no_touch.load(Ordering::Relaxed)),
    ] {
        if set {
            flags.push(flag);
        }
    }
    if flags.is_empty() { "N".to_owned() } else { flags }
}
