//! From arguments to a reply: lookup, arity, authentication, pause, MULTI, memory gate, locks, the command itself, statistics.
//!
//! All of it once, here, so that a command only does its work. Synchronous: a connection calls it for each request of a batch.
//! The order of the checks is Redis's, since clients see which error wins.

use crate::command::{Args, CommandError, Context, Flags, Keys};
use crate::job::{Answer, Job, perform_first, perform_job};
use crate::logging::{Hashed, RateLimit};
use crate::server::{Attention, Server};
use crate::session::{Queued, Replies, Session};
use crate::slowlog::shortened;
use crate::table::{Command, Handling, table};
use crate::tracking::Tracking;
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

/// Lines about slow calls: with a low threshold, every call is one.
static SLOW_CALLS: RateLimit = RateLimit::one_in(1000);

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

/// What became of a request of a connection that can wait for it.
pub(crate) enum Begun {
    /// All was done that will be done.
    Finished(Outcome),
    /// The job is to be done by other threads, and its answer given to [`finish`] before the next request is begun.
    Deferred(Job, Ticket),
}

/// What is remembered of a request while its task is done elsewhere.
#[derive(Debug)]
pub(crate) struct Ticket {
    command: &'static Command,
    /// As much of the arguments as SLOWLOG keeps.
    args: Vec<Vec<u8>>,
    began_ns: u64,
}

/// A request whose command is known.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) command: &'static Command,
    pub(crate) args: &'a [&'a [u8]],
    /// See [`Keys::Computed`].
    pub(crate) computed_keys: &'a [Vec<u8>],
    pub(crate) now_ms: u64,
}

/// Executes one request at the present time and appends its reply. A paused request is not executed.
pub fn dispatch(server: &Server, session: &mut Session, args: &[&[u8]], output: &mut Output) -> Outcome {
    dispatch_at(server, session, args, server.clock.now_ms(), output)
}

/// [`dispatch`] at a given instant, in Unix milliseconds. Whatever takes long is done by this thread, which waits for it.
pub fn dispatch_at(
    server: &Server,
    session: &mut Session,
    args: &[&[u8]],
    now_ms: u64,
    output: &mut Output,
) -> Outcome {
    match begin_at(server, session, args, now_ms, output) {
        Begun::Finished(outcome) => outcome,
        Begun::Deferred(job, ticket) => {
            finish(server, session, &ticket, perform_job(server, job), output);
            Outcome::Done
        }
    }
}

/// Executes one request, but for what another thread is to do, and appends its reply unless that is still to come. A connection asks the
/// clock once per batch.
pub(crate) fn begin_at(
    server: &Server,
    session: &mut Session,
    args: &[&[u8]],
    now_ms: u64,
    output: &mut Output,
) -> Begun {
    let mark = output.mark();
    let begun = execute(server, session, args, now_ms, output);
    if let Some(tracking) = &mut session.tracking
        && tracking.caching
        && session.transaction.is_none()
        && !matches!(begun, Begun::Finished(Outcome::Paused { .. }))
        && !args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"client"))
    {
        // CLIENT CACHING is for one command, or transaction; as in Redis, those of CLIENT do not count.
        tracking.caching = false;
    }
    if session.replies != Replies::On && matches!(begun, Begun::Finished(Outcome::Done)) {
        suppress(session, output, mark);
    }
    begun
}

/// Appends the reply of a deferred request.
pub(crate) fn finish(server: &Server, session: &mut Session, ticket: &Ticket, answer: Answer, output: &mut Output) {
    let mark = output.mark();
    let args: Vec<&[u8]> = ticket.args.iter().map(Vec::as_slice).collect();
    settle(server, session, ticket.command, &args, ticket.began_ns, answer, output);
    if session.replies != Replies::On {
        suppress(session, output, mark);
    }
}

/// Drops a reply that CLIENT REPLY has told us not to send.
fn suppress(session: &mut Session, output: &mut Output, mark: Mark) {
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

const DONE: Begun = Begun::Finished(Outcome::Done);

fn execute(server: &Server, session: &mut Session, args: &[&[u8]], now_ms: u64, output: &mut Output) -> Begun {
    let Some(name) = args.first() else { return DONE };
    let Some(parent) = table().find(name) else {
        refuse(session, None, &unknown_command(args), output);
        return DONE;
    };
    let mut command = parent;
    if parent.has_children()
        && let Some(word) = args.get(1)
    {
        match table().find_child(parent, word) {
            Some(child) => command = child,
            None => {
                refuse(session, Some(parent), &unknown_subcommand(parent, word), output);
                return DONE;
            }
        }
    }
    let flags = command.spec.flags;
    if !command.takes(args.len()) {
        let text = format!("ERR wrong number of arguments for '{}' command", command.spec.name);
        refuse(session, Some(command), text.as_bytes(), output);
        return DONE;
    }
    if !session.authenticated && !flags.has(Flags::NO_AUTH) {
        refuse(session, Some(command), b"NOAUTH Authentication required.", output);
        return DONE;
    }
    if let Some(error) = gate(server, flags, args, now_ms) {
        refuse(session, Some(command), error.to_string().as_bytes(), output);
        return DONE;
    }
    if server.needs_attention() {
        if server.has_attention(Attention::PAUSE)
            && let Some(until_ms) = paused_until(server, session, command, now_ms)
        {
            return Begun::Finished(Outcome::Paused { until_ms });
        }
        if session.transaction.is_none() || flags.has(Flags::NO_MULTI) {
            show_to_monitors(server, session, command, args);
        }
    }
    if let Some(transaction) = &mut session.transaction
        && !flags.has(Flags::NO_MULTI)
    {
        if flags.has(Flags::ALONE) {
            let name = command.spec.name.to_uppercase().replace('|', " ");
            let text = format!("ERR {name} is not allowed inside MULTI: it locks entries by itself");
            refuse(session, Some(command), text.as_bytes(), output);
            return DONE;
        }
        let args: Vec<Box<[u8]>> = args.iter().map(|arg| Box::from(*arg)).collect();
        transaction.bytes += args.iter().map(|arg| arg.len() + size_of::<Box<[u8]>>()).sum::<usize>();
        transaction.queue.push(Queued { command, args });
        output.encode(&Reply::Simple("QUEUED".into()), session.version);
        return DONE;
    }
    session.client.command.store(u32::try_from(command.index).unwrap_or(u32::MAX), Ordering::Relaxed);
    if command.handling == Handling::Exec {
        transaction::execute(server, session, command, now_ms, output);
        return DONE;
    }
    let mark = output.mark();
    let computed_keys = computed_keys(command, args);
    let call = Call { command, args, computed_keys: &computed_keys, now_ms };
    let mut txn = with_scope(&call, |scope| server.shard.begin(scope, now_ms));
    let left = run(server, session, &mut txn, &call, output);
    commit(session, txn, mark, output);
    let Some((job, began_ns)) = left else { return DONE };
    match job {
        Job::Soon(task) => match perform_first(server, task) {
            Ok(answer) => {
                settle(server, session, command, args, began_ns, answer, output);
                DONE
            }
            Err(rest) => Begun::Deferred(Job::Apart(rest), Ticket { command, args: shortened(args), began_ns }),
        },
        Job::Apart(_) | Job::Embedded(..) => Begun::Deferred(job, Ticket { command, args: shortened(args), began_ns }),
    }
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

/// Runs one command inside locks that cover its keys, encodes the reply while they are held, and counts. If the command leaves a job, that,
/// and when it began (a stamp in nanoseconds): it is neither answered nor counted yet.
pub(crate) fn run(
    server: &Server,
    session: &mut Session,
    txn: &mut Txn<'_>,
    call: &Call<'_>,
    output: &mut Output,
) -> Option<(Job, u64)> {
    let Call { command, args, computed_keys, now_ms } = *call;
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
        if let Some(tracking) = &session.tracking {
            txn.set_author(tracking.author());
        }
        let mut context = Context { server, session, txn, now_ms, computed_keys, job: None };
        let failed = match (command.spec.run)(Args::new(args, command.words), &mut context) {
            Ok(reply) => {
                output.encode(&reply, version);
                matches!(reply, Reply::Error(_))
            }
            Err(error) => {
                let text = error.to_string();
                append_error(output, text.as_bytes());
                context.session.client.worker.errors.count(&text);
                true
            }
        };
        if let Some(job) = context.job.take() {
            return Some((job, if weight == 0 { server.clock.stamp_ns() } else { began_ns }));
        }
        if let Some(tracking) = &session.tracking {
            track(tracking, txn, call);
        }
        failed
    };
    let elapsed_ns = if weight == 0 { 0 } else { server.clock.stamp_ns().saturating_sub(began_ns) };
    count(server, session, call, failed, weight, elapsed_ns);
    None
}

/// Registers a connection for the keys that a command has just read, under the locks under which it did.
fn track(tracking: &Tracking, txn: &mut Txn<'_>, call: &Call<'_>) {
    let Call { command, args, computed_keys, .. } = *call;
    if !command.spec.flags.has(Flags::READONLY) {
        return;
    }
    if let Some(reader) = tracking.reader() {
        let mut keys: Vec<&[u8]> = computed_keys.iter().map(Vec::as_slice).collect();
        collect_keys(command, args, &mut keys);
        keys.into_iter().for_each(|key| txn.track(key, reader));
    }
}

/// Encodes what a job has answered, and counts the command that left it.
fn settle(
    server: &Server,
    session: &mut Session,
    command: &'static Command,
    args: &[&[u8]],
    began_ns: u64,
    answer: Answer,
    output: &mut Output,
) {
    session.logged = answer.logged.or(session.logged);
    let failed = encode(answer.result, session, output);
    let call = Call { command, args, computed_keys: &[], now_ms: server.clock.now_ms() };
    count(server, session, &call, failed, 1, server.clock.stamp_ns().saturating_sub(began_ns));
}

fn count(server: &Server, session: &Session, call: &Call<'_>, failed: bool, weight: u64, elapsed_ns: u64) {
    let counters = &session.client.worker.commands[call.command.index];
    counters.calls.add(1);
    if failed {
        counters.failed.add(1);
    }
    if weight != 0 {
        counters.took(elapsed_ns, weight);
        note_if_slow(server, session, call.command, call.args, call.now_ms, elapsed_ns);
    }
}

fn encode(result: Result<Reply<'_>, CommandError>, session: &Session, output: &mut Output) -> bool {
    match result {
        Ok(reply) => {
            output.encode(&reply, session.version);
            matches!(reply, Reply::Error(_))
        }
        Err(error) => {
            let text = error.to_string();
            append_error(output, text.as_bytes());
            session.client.worker.errors.count(&text);
            true
        }
    }
}

/// The keys that a command makes from its arguments; of most commands none.
pub(crate) fn computed_keys(command: &Command, args: &[&[u8]]) -> Vec<Vec<u8>> {
    match command.spec.keys {
        Keys::Computed(compute) => compute(args),
        Keys::None | Keys::Range { .. } | Keys::Custom(_) => Vec::new(),
    }
}

/// Calls `work` with the locks that the command needs for these arguments.
fn with_scope<R>(call: &Call<'_>, work: impl FnOnce(Scope<'_>) -> R) -> R {
    let Call { command, args, .. } = call;
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
        Keys::Computed(_) => {
            let keys: Vec<&[u8]> = call.computed_keys.iter().map(Vec::as_slice).collect();
            work(Scope::Keys(&keys))
        }
    }
}

/// Appends the keys among the arguments of a command.
pub(crate) fn collect_keys<'a>(command: &Command, args: &[&'a [u8]], keys: &mut Vec<&'a [u8]>) {
    match command.spec.keys {
        Keys::None | Keys::Computed(_) => {}
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
        if let Some(held_back) = SLOW_CALLS.pass(now_ms) {
            let mut keys = Vec::new();
            collect_keys(command, args, &mut keys);
            let key = keys.first().map(|key| Hashed(key).to_string());
            tracing::warn!(
                command = command.spec.name, took_us, arguments = args.len(), key, client = client.id, address = %client.address, held_back,
                "a slow call; SLOWLOG GET has more"
            );
        }
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
