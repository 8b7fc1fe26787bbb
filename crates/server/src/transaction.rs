//! EXEC: locks the keys of all queued commands at once and runs them at one instant.

use crate::command::Flags;
use crate::dispatch::{Call, append_error, collect_keys, commit, computed_keys, gate, refuse, run, show_to_monitors};
use crate::server::Server;
use crate::session::{Session, Transaction, Watches};
use crate::table::Command;
use std::sync::atomic::Ordering;
use sutra_protocol::{Output, Reply};
use sutra_shard::{Scope, Txn};

/// Executes what was queued, unless it was spoiled or a watched key has changed.
pub(crate) fn execute(
    server: &Server,
    session: &mut Session,
    exec: &'static Command,
    now_ms: u64,
    output: &mut Output,
) {
    let Some(flags) = session.transaction.as_deref().map(flags) else {
        return answer_error(session, exec, "ERR EXEC without MULTI", output);
    };
    if session.transaction.as_ref().is_some_and(|transaction| transaction.aborted) {
        session.discard();
        return answer_error(session, exec, "EXECABORT Transaction discarded because of previous errors.", output);
    }
    let refusal = session.transaction.as_ref().and_then(|transaction| {
        let args: Vec<&[u8]> =
            transaction.queue.iter().flat_map(|queued| queued.args.iter().map(|arg| &**arg)).collect();
        gate(server, flags, &args, now_ms)
    });
    if let Some(error) = refusal {
        return refuse(session, Some(exec), error.to_string().as_bytes(), output);
    }
    let Some(transaction) = session.transaction.take() else { return };
    let watches = session.watches.take();
    let requests: Vec<Vec<&[u8]>> =
        transaction.queue.iter().map(|queued| queued.args.iter().map(|arg| &**arg).collect()).collect();
    let computed: Vec<Vec<Vec<u8>>> =
        transaction.queue.iter().zip(&requests).map(|(queued, args)| computed_keys(queued.command, args)).collect();
    let mut keys: Vec<&[u8]> = computed.iter().flatten().map(Vec::as_slice).collect();
    for (queued, args) in transaction.queue.iter().zip(&requests) {
        collect_keys(queued.command, args, &mut keys);
    }
    // A watched key is locked too: else a change of it could slip in between this look and the first command.
    keys.extend(watches.iter().flat_map(|watches| watches.keys.iter().map(|watched| &*watched.key)));
    let scope = if flags.has(Flags::ALL_KEYS) {
        Scope::All
    } else if keys.is_empty() {
        Scope::Nothing
    } else {
        Scope::Keys(&keys)
    };
    let mut txn = server.shard.begin(scope, now_ms);
    session.client.worker.commands[exec.index].calls.add(1);
    if watches.is_some_and(|watches| has_changed(&watches, &txn)) {
        output.encode(&Reply::NullArray, session.version);
        return;
    }
    let mark = output.mark();
    output.begin_array(requests.len());
    for ((queued, args), computed_keys) in transaction.queue.iter().zip(&requests).zip(&computed) {
        session.client.command.store(u32::try_from(queued.command.index).unwrap_or(u32::MAX), Ordering::Relaxed);
        show_to_monitors(server, session, queued.command, args);
        let call = Call { command: queued.command, args, computed_keys, now_ms };
        if run(server, session, &mut txn, &call, output).is_some() {
            // Entries are locked: nothing that locks or waits may be done before they are not.
            answer_error(
                session,
                queued.command,
                "ERR inside MULTI no embedder can be waited for: give a vector",
                output,
            );
        }
    }
    commit(session, txn, mark, output);
}

/// The flags of all queued commands together.
pub(crate) fn flags(transaction: &Transaction) -> Flags {
    transaction.queue.iter().fold(Flags::NONE, |flags, queued| flags.and(queued.command.spec.flags))
}

fn has_changed(watches: &Watches, txn: &Txn<'_>) -> bool {
    watches.flag.load(Ordering::Acquire)
        || watches.keys.iter().any(|watched| watched.live && txn.peek(watched.db, &watched.key).is_none())
}

fn answer_error(session: &Session, exec: &Command, text: &str, output: &mut Output) {
    let worker = &session.client.worker;
    worker.commands[exec.index].calls.add(1);
    worker.commands[exec.index].failed.add(1);
    worker.errors.count(text);
    append_error(output, text.as_bytes());
}
