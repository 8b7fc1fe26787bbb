//! From arguments to a reply: lookup, arity, authentication, pause, MULTI, memory gate, locks, the command itself, statistics.
//!
//! All of it once, here, so that a command only does its work. Synchronous: a connection calls it for each request of a batch.
//! The order of the checks is Redis's, since clients see which error wins.

use crate::command::{Args, CommandError, Context, Flags, Keys};
use crate::server::{Attention, Server};
use crate::session::{Queued, Replies, Session};
use crate::table::{Command, Handling, table};
use crate::transaction;
use std::sync::atomic::Ordering;
use sutra_protocol::{Mark, Output, Reply};
use sutra_shard::{Scope, Txn};

/// One cheap command in so many is timed, and counts for so many. A power of two.
const TIMED_ONE_IN: u32 = 16;
/// Requests of more bytes are always timed: copying them takes longer than looking at the clock.
const TIMED_BYTES_MIN: usize = 16 * 1024;
/// Below this slow log threshold every command is timed.
const TIMED_BELOW_US: i64 = 1000;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered (or its reply was suppressed, or it was queued).
    Done,
    /// CLIENT PAUSE holds it back until this instant (Unix milliseconds): nothing was done, dispatch it again then.
    Paused {
        /// When the pause ends, if nobody ends it before.
        until_ms: u64,
    },
}

/// Executes one request at the present time and appends its reply. A paused request is not executed.
pub fn dispatch(server: &Server, session: &mut Session, args: &[&[u8]], output: &mut Output) -> Outcome {
    dispatch_at(server, session, args, server.clock.now_ms(), output)
}

/// [`dispatch`] at a given instant, in Unix milliseconds: a connection asks the clock once per batch.
pub fn dispatch_at(
    server: &Server,
    session: &mut Session,
    args: &[&[u8]],
    now_ms: u64,
    output: &mut Output,
) -> Outcome {
    let mark = output.mark();
    let outcome = execute(server, session, args, now_ms, output);
    if session.replies != Replies::On && outcome == Outcome::Done {
        match session.replies {
            Replies::On => {}
            Replies::Off => output.truncate_to(mark),
            Replies::SkipNext => {
                output.truncate_to(mark);
                session.replies = Replies::SkipThis;
            }
            Replies::SkipThis => {
                output.truncate_to(mark);
                session.replies = Replies::On;
            }
        }
    }
    outcome
}

fn execute(server: &Server, session: &mut Session, args: &[&[u8]], now_ms: u64, output: &mut Output) -> Outcome {
    let Some(name) = args.first() else { return Outcome::Done };
    let Some(parent) = table().find(name) else {
        refuse(session, None, &unknown_command(args), output);
        return Outcome::Done;
    };
    let mut command = parent;
    if parent.has_children()
        && let Some(word) = args.get(1)
    {
        match table().find_child(parent, word) {
            Some(child) => command = child,
            None => {
                refuse(session, Some(parent), &unknown_subcommand(parent, word), output);
                return Outcome::Done;
            }
        }
    }
    let flags = command.spec.flags;
    if !command.takes(args.len()) {
        let text = format!("ERR wrong number of arguments for '{}' command", command.spec.name);
        refuse(session, Some(command), text.as_bytes(), output);
        return Outcome::Done;
    }
    if !session.authenticated && !flags.has(Flags::NO_AUTH) {
        refuse(session, Some(command), b"NOAUTH Authentication required.", output);
        return Outcome::Done;
    }
    if let Some(error) = gate(server, flags, args, now_ms) {
        refuse(session, Some(command), error.to_string().as_bytes(), output);
        return Outcome::Done;
    }
    if server.needs_attention() {
        if server.has_attention(Attention::PAUSE)
            && let Some(until_ms) = paused_until(server, session, command, now_ms)
        {
            return Outcome::Paused { until_ms };
        }
        if session.transaction.is_none() || flags.has(Flags::NO_MULTI) {
            show_to_monitors(server, session, command, args);
        }
    }
    if let Some(transaction) = &mut session.transaction
        && !flags.has(Flags::NO_MULTI)
    {
        let args: Vec<Box<[u8]>> = args.iter().map(|arg| Box::from(*arg)).collect();
        transaction.bytes += args.iter().map(|arg| arg.len() + size_of::<Box<[u8]>>()).sum::<usize>();
        transaction.queue.push(Queued { command, args });
        output.encode(&Reply::Simple("QUEUED".into()), session.version);
        return Outcome::Done;
    }
    session.client.command.store(u32::try_from(command.index).unwrap_or(u32::MAX), Ordering::Relaxed);
    if command.handling == Handling::Exec {
        transaction::execute(server, session, command, now_ms, output);
    } else {
        let mark = output.mark();
        let mut txn = with_scope(command, args, |scope| server.shard.begin(scope, now_ms));
        run(server, session, &mut txn, command, args, now_ms, output);
        commit(session, txn, mark, output);
    }
    Outcome::Done
}

/// Appends what was changed to the log while the locks are held. A change that could not be logged is not acknowledged: the replies since
/// `mark` become an error.
pub(crate) fn commit(session: &mut Session, txn: Txn<'_>, mark: Mark, output: &mut Output) {
    match txn.commit() {
        Ok(None) => {}
        Ok(Some(lsn)) => session.logged = Some(lsn),
        Err(error) => {
            let text = CommandError::from(error).to_string();
            output.truncate_to(mark);
            append_error(output, text.as_bytes());
            session.client.worker.errors.count(&text);
        }
    }
}

/// Why a command may not run now: the log has failed, or there is no room for what it brings and none can be made. Called before any
/// lock is taken, since making room takes them.
pub(crate) fn gate(server: &Server, flags: Flags, args: &[&[u8]], now_ms: u64) -> Option<CommandError> {
    if let Some(error) = server.gate.refusal(flags) {
        return Some(error);
    }
    if !flags.has(Flags::DENYOOM) {
        return None;
    }
    let incoming_bytes: usize = args.iter().map(|arg| arg.len()).sum();
    server.shard.make_room(incoming_bytes as u64, now_ms).err().map(CommandError::from)
}

/// Runs one command inside locks that cover its keys, encodes the reply while they are held, and counts.
pub(crate) fn run(
    server: &Server,
    session: &mut Session,
    txn: &mut Txn<'_>,
    command: &'static Command,
    args: &[&[u8]],
    now_ms: u64,
    output: &mut Output,
) {
    let spec = command.spec;
    session.tick = session.tick.wrapping_add(1);
    let weight = timing_weight(server, session.tick, command, args);
    let began_ns = if weight == 0 { 0 } else { server.clock.stamp_ns() };
    let failed = if command.handling == Handling::Hello {
        let result = crate::commands::hello::run_hello(server, session, args);
        encode(result, session, output)
    } else {
        let version = session.version;
        if session.no_touch {
            txn.set_touch(false);
        }
        let mut context = Context { server, session, txn, now_ms };
        match (spec.run)(Args::new(args, command.words), &mut context) {
            Ok(reply) => {
                output.encode(&reply, version);
                matches!(reply, Reply::Error(_))
            }
            Err(error) => {
                let text = error.to_string();
                append_error(output, text.as_bytes());
                session.client.worker.errors.count(&text);
                true
            }
        }
    };
    let worker = &session.client.worker;
    let counters = &worker.commands[command.index];
    counters.calls.add(1);
    if failed {
        counters.failed.add(1);
    }
    if weight != 0 {
        let elapsed_ns = server.clock.stamp_ns().saturating_sub(began_ns);
        counters.took(elapsed_ns, weight);
        note_if_slow(server, session, command, args, now_ms, elapsed_ns);
    }
}

fn encode(result: Result<Reply<'_>, CommandError>, session: &Session, output: &mut Output) -> bool {
    match result {
        Ok(reply) => {
            output.encode(&reply, session.version);
            false
        }
        Err(error) => {
            let text = error.to_string();
            append_error(output, text.as_bytes());
            session.client.worker.errors.count(&text);
            true
        }
    }
}

/// Calls `work` with the locks that the command needs for these arguments.
fn with_scope<R>(command: &Command, args: &[&[u8]], work: impl FnOnce(Scope<'_>) -> R) -> R {
    let spec = command.spec;
    if spec.flags.has(Flags::ALL_KEYS) {
        return work(Scope::All);
    }
    match spec.keys {
        Keys::None => work(Scope::Nothing),
        Keys::Range { first, last, step } => {
            let end = range_end(last, args.len());
            match args.get(first..end) {
                None | Some([]) => work(Scope::Nothing),
                Some([key]) => work(Scope::Key(key)),
                Some(keys) if step == 1 => work(Scope::Keys(keys)),
                Some(keys) => {
                    let keys: Vec<&[u8]> = keys.iter().copied().step_by(step).collect();
                    work(Scope::Keys(&keys))
                }
            }
        }
        Keys::Custom(_) => {
            let mut keys = Vec::new();
            collect_keys(command, args, &mut keys);
            work(if keys.is_empty() { Scope::Nothing } else { Scope::Keys(&keys) })
        }
    }
}

/// Appends the keys among the arguments of a command.
pub(crate) fn collect_keys<'a>(command: &Command, args: &[&'a [u8]], keys: &mut Vec<&'a [u8]>) {
    match command.spec.keys {
        Keys::None => {}
        Keys::Range { first, last, step } => {
            let end = range_end(last, args.len());
            keys.extend(args.get(first..end).unwrap_or_default().iter().step_by(step.max(1)));
        }
        Keys::Custom(find) => {
            let positions = find(args).unwrap_or_default();
            keys.extend(positions.into_iter().filter_map(|position| args.get(position)));
        }
    }
}

/// One past the last key's position, of a request of `count` arguments.
pub(crate) fn range_end(last: isize, count: usize) -> usize {
    match usize::try_from(last) {
        Ok(last) => (last + 1).min(count),
        Err(_) => (count + 1).saturating_sub(last.unsigned_abs()),
    }
}

/// How many calls a measurement of this one stands for; 0: it is not measured.
fn timing_weight(server: &Server, tick: u32, command: &Command, args: &[&[u8]]) -> u64 {
    let threshold_us = server.settings.slowlog_slower_than_us.load(Ordering::Relaxed);
    if !command.cheap || (0..TIMED_BELOW_US).contains(&threshold_us) {
        1
    } else if tick.is_multiple_of(TIMED_ONE_IN) {
        u64::from(TIMED_ONE_IN)
    } else if args.last().is_some_and(|last| last.len() >= TIMED_BYTES_MIN) {
        // Only the last argument is looked at, since a loop over all would cost more than it tells. Counts for
        // itself, a little twice for one in sixteen: this is an estimate either way.
        1
    } else {
        0
    }
}

/// Shows a command that is about to be executed to everyone who runs MONITOR, unless it is secret or the operator's.
pub(crate) fn show_to_monitors(server: &Server, session: &Session, command: &Command, args: &[&[u8]]) {
    let flags = command.spec.flags;
    if server.has_attention(Attention::MONITORS) && !flags.has(Flags::SKIP_MONITOR) && !flags.has(Flags::ADMIN) {
        server.feed_monitors(session.db, &session.client, args);
    }
}

fn note_if_slow(server: &Server, session: &Session, command: &Command, args: &[&[u8]], now_ms: u64, elapsed_ns: u64) {
    let threshold_us = server.settings.slowlog_slower_than_us.load(Ordering::Relaxed);
    let took_us = elapsed_ns / 1000;
    let latency_threshold_ms = server.settings.latency_threshold_ms.load(Ordering::Relaxed);
    if latency_threshold_ms > 0 {
        let event = if command.spec.flags.has(Flags::FAST) { "fast-command" } else { "command" };
        server.latency.note(event, took_us / 1000, latency_threshold_ms, now_ms);
    }
    let is_slow = u64::try_from(threshold_us).is_ok_and(|threshold_us| took_us >= threshold_us);
    if is_slow && !command.spec.flags.has(Flags::SKIP_SLOWLOG) {
        let client = &session.client;
        let len_max = server.settings.slowlog_len_max.load(Ordering::Relaxed);
        server.slowlog.push(args, now_ms, took_us, &client.address.to_string(), &client.names().name, len_max);
    }
}

/// Answers an error without running anything; a transaction that was being queued can no longer be executed.
pub(crate) fn refuse(session: &mut Session, command: Option<&Command>, text: &[u8], output: &mut Output) {
    let worker = &session.client.worker;
    if let Some(command) = command {
        worker.commands[command.index].rejected.add(1);
    }
    worker
        .errors
        .count(std::str::from_utf8(text.split(|byte| *byte == b' ').next().unwrap_or_default()).unwrap_or("ERR"));
    if let Some(transaction) = &mut session.transaction {
        transaction.aborted = true;
    }
    if command.is_some_and(|command| command.handling == Handling::Exec) && session.transaction.is_some() {
        session.discard();
        // Redis leaves the generic prefix out here, but keeps the telling ones.
        let cause = text.strip_prefix(b"ERR ").unwrap_or(text);
        append_error(output, &[b"EXECABORT Transaction discarded because of: ", cause].concat());
    } else {
        append_error(output, text);
    }
}

/// Appends an error reply of any bytes. Line ends would break the framing and become spaces, as in Redis.
pub(crate) fn append_error(output: &mut Output, text: &[u8]) {
    let mut line = Vec::with_capacity(text.len() + 3);
    line.push(b'-');
    line.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    line.extend_from_slice(b"\r\n");
    output.append(&line);
}

fn unknown_command(args: &[&[u8]]) -> Vec<u8> {
    let mut shown = Vec::new();
    for arg in args.iter().skip(1) {
        if shown.len() >= 128 {
            break;
        }
        let room = 128 - shown.len();
        shown.push(b'\'');
        shown.extend_from_slice(printable(arg, room));
        shown.extend_from_slice(b"' ");
    }
    let name = printable(args.first().copied().unwrap_or_default(), 128);
    [b"ERR unknown command '", name, b"', with args beginning with: ", &shown].concat()
}

fn unknown_subcommand(parent: &Command, word: &[u8]) -> Vec<u8> {
    let help = format!("'. Try {} HELP.", parent.spec.name.to_uppercase());
    [b"ERR unknown subcommand '", printable(word, 128), help.as_bytes()].concat()
}

/// What Redis's C would print of a string: so many bytes, up to the first NUL.
fn printable(bytes: &[u8], bytes_max: usize) -> &[u8] {
    let bytes = &bytes[..bytes.len().min(bytes_max)];
    &bytes[..bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())]
}

/// Until when the pause holds this command. CLIENT UNPAUSE always passes, or nobody could end a pause of everything.
fn paused_until(server: &Server, session: &Session, command: &Command, now_ms: u64) -> Option<u64> {
    if command.spec.name == "client|unpause" {
        return None;
    }
    let flags = match (&session.transaction, command.handling) {
        (Some(transaction), Handling::Exec) => transaction::flags(transaction),
        // Queueing a write does not write.
        (Some(_), Handling::Plain | Handling::Hello) => Flags::NONE,
        (None, Handling::Plain | Handling::Exec | Handling::Hello) => command.spec.flags,
    };
    server.pause.holds(flags, now_ms)
}
