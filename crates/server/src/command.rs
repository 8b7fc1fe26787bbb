//! What a command is: a [`Spec`] (what it is called, takes, touches) and a `run` that turns arguments into a reply.
//!
//! A command never locks, never touches the socket and never asks the clock: dispatch has checked arity, authentication and memory,
//! locked the stripes of its keys (the transaction in [`Context`]) and will encode the reply and commit.

use crate::job::Job;
use crate::server::Server;
use crate::session::Session;
use std::borrow::Cow;
use std::fmt;
use sutra_protocol::Reply;
use sutra_shard::{Txn, WriteError};

/// The function behind a command. The reply may borrow from the arguments and from the transaction.
pub type Run = for<'t> fn(Args<'t>, &'t mut Context<'_, '_>) -> Result<Reply<'t>, CommandError>;

/// Everything the table says about a command; COMMAND, COMMAND DOCS, ACL CAT and the reference page come from it.
#[derive(Debug)]
pub struct Spec {
    /// Lower-case name; a subcommand is `parent|child`.
    pub name: &'static str,
    /// Redis's arity: the number of arguments with the name; negative: at least so many.
    pub arity: i16,
    /// What dispatch and clients need to know.
    pub flags: Flags,
    /// Where the keys are.
    pub keys: Keys,
    /// Redis's group: `string`, `generic`, `hash`, `bitmap`, `connection`, `server`, `transactions`, `cache` (native ones).
    pub group: &'static str,
    /// The Redis version that has it, or `sutra 0.1.0`.
    pub since: &'static str,
    /// Time complexity, as COMMAND DOCS gives it.
    pub complexity: &'static str,
    /// One sentence: what it does.
    pub summary: &'static str,
    /// The arguments after the name, in the notation of the reference: `key value [NX | XX] [EX seconds]`.
    pub syntax: &'static str,
    /// Subcommands, of a container command; `run` is then called only when none is given (`COMMAND`): an unknown one is
    /// refused by dispatch.
    pub subcommands: &'static [Spec],
    /// The function.
    pub run: Run,
}

/// Flags of a command, as COMMAND INFO names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// May change entries: refused while the log has failed.
    pub const WRITE: Flags = Flags(1);
    /// Reads entries only.
    pub const READONLY: Flags = Flags(1 << 1);
    /// Refused when there is no room and nothing may be evicted.
    pub const DENYOOM: Flags = Flags(1 << 2);
    /// For the operator.
    pub const ADMIN: Flags = Flags(1 << 3);
    /// Takes constant or logarithmic time.
    pub const FAST: Flags = Flags(1 << 4);
    /// Allowed while the dataset is loading and while the log has failed.
    pub const LOADING: Flags = Flags(1 << 5);
    /// Allowed before authentication.
    pub const NO_AUTH: Flags = Flags(1 << 6);
    /// Not queued by MULTI but run at once (EXEC, DISCARD, WATCH, RESET, QUIT), where the command may refuse itself.
    pub const NO_MULTI: Flags = Flags(1 << 7);
    /// Not shown to MONITOR (AUTH, HELLO).
    pub const SKIP_MONITOR: Flags = Flags(1 << 8);
    /// Not counted for SLOWLOG.
    pub const SKIP_SLOWLOG: Flags = Flags(1 << 9);
    /// Needs the whole keyspace locked (SCAN, KEYS, FLUSHALL, RANDOMKEY, SWAPDB).
    pub const ALL_KEYS: Flags = Flags(1 << 10);
    /// Its key positions can only be found by looking at the arguments.
    pub const MOVABLE_KEYS: Flags = Flags(1 << 11);
    /// Not allowed in scripts.
    pub const NOSCRIPT: Flags = Flags(1 << 12);
    /// Locks entries by itself, so it cannot run among commands whose entries are locked already: refused by MULTI.
    pub const ALONE: Flags = Flags(1 << 13);

    /// Both sets of flags.
    #[must_use]
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Where the keys of a command are among its arguments (0 is the command's name).
#[derive(Debug, Clone, Copy)]
pub enum Keys {
    /// It has none.
    None,
    /// Redis's first, last (negative: from the end), step.
    Range {
        /// Position of the first key.
        first: usize,
        /// Position of the last key; -1: the last argument.
        last: isize,
        /// Distance between keys.
        step: usize,
    },
    /// A function that finds their positions, or `None` if the arguments are not valid.
    Custom(fn(&[&[u8]]) -> Option<Vec<usize>>),
    /// They are none of the arguments but made from them; [`Context::computed_keys`] has them, in this order.
    Computed(fn(&[&[u8]]) -> Vec<Vec<u8>>),
}

impl Keys {
    /// One key, the first argument.
    pub const FIRST: Keys = Keys::Range { first: 1, last: 1, step: 1 };
}

/// What a command may use while it runs.
pub struct Context<'c, 's> {
    /// The process: shard, settings, clients, statistics.
    pub server: &'c Server,
    /// The connection.
    pub session: &'c mut Session,
    /// The locked entries: those of the command's keys, or of all commands of an EXEC.
    pub txn: &'c mut Txn<'s>,
    /// Now, in Unix milliseconds: the same instant for the whole command, or EXEC.
    pub now_ms: u64,
    /// The keys of a command whose keys are [`Keys::Computed`]: locked like others.
    pub computed_keys: &'c [Vec<u8>],
    pub(crate) job: Option<Job>,
}

impl fmt::Debug for Context<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("session", &self.session).field("now_ms", &self.now_ms).finish_non_exhaustive()
    }
}

impl Context<'_, '_> {
    /// The selected database.
    #[must_use]
    pub fn db(&self) -> u8 {
        self.session.db
    }

    /// Leaves the work to a job, whose reply is the command's.
    #[must_use]
    pub fn defer(&mut self, job: Job) -> Reply<'static> {
        self.job = Some(job);
        Reply::None
    }
}

/// A cursor over the arguments behind the command's name.
#[derive(Debug, Clone)]
pub struct Args<'t> {
    items: &'t [&'t [u8]],
    next: usize,
}

impl<'t> Args<'t> {
    /// The arguments of a request; `items[0]` is the command's name (and `items[1]` the subcommand's if `skip` is 2).
    #[must_use]
    pub fn new(items: &'t [&'t [u8]], skip: usize) -> Args<'t> {
        Args { items, next: skip }
    }

    /// The next argument; a syntax error if there is none.
    pub fn take(&mut self) -> Result<&'t [u8], CommandError> {
        self.take_optional().ok_or(CommandError::Syntax)
    }

    /// The next argument, if any.
    pub fn take_optional(&mut self) -> Option<&'t [u8]> {
        let item = self.items.get(self.next).copied();
        self.next += usize::from(item.is_some());
        item
    }

    /// The next argument without taking it.
    #[must_use]
    pub fn peek(&self) -> Option<&'t [u8]> {
        self.items.get(self.next).copied()
    }

    /// Takes the next argument if it is this word, in any case.
    pub fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|item| item.eq_ignore_ascii_case(word.as_bytes()));
        self.next += usize::from(found);
        found
    }

    /// The next argument as a 64-bit integer, or Redis's `value is not an integer or out of range`.
    pub fn take_i64(&mut self) -> Result<i64, CommandError> {
        sutra_protocol::number::parse_i64(self.take()?).ok_or(CommandError::NotAnInteger)
    }

    /// The next argument as a float, or Redis's `value is not a valid float`.
    pub fn take_f64(&mut self) -> Result<f64, CommandError> {
        sutra_protocol::number::parse_f64(self.take()?).ok_or(CommandError::NotAFloat)
    }

    /// The arguments that are left.
    #[must_use]
    pub fn rest(&self) -> &'t [&'t [u8]] {
        self.items.get(self.next..).unwrap_or(&[])
    }

    /// Takes so many arguments, or as many as there are.
    pub fn skip(&mut self, count: usize) {
        self.next = (self.next + count).min(self.items.len());
    }

    /// How many arguments are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest().len()
    }

    /// All items, the command's name first.
    #[must_use]
    pub fn all(&self) -> &'t [&'t [u8]] {
        self.items
    }

    /// A syntax error if anything is left.
    pub fn finish(&self) -> Result<(), CommandError> {
        if self.remaining() == 0 { Ok(()) } else { Err(CommandError::Syntax) }
    }
}

/// Why a command answers an error. Displayed exactly as Redis words it, prefix included; clients match on the text.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandError {
    /// `ERR syntax error`
    Syntax,
    /// `ERR wrong number of arguments for '…' command`
    Arity(Cow<'static, str>),
    /// `WRONGTYPE …`
    WrongType,
    /// `ERR value is not an integer or out of range`
    NotAnInteger,
    /// `ERR value is not a valid float`
    NotAFloat,
    /// `ERR no such key`
    NoSuchKey,
    /// `ERR index out of range` and the like: any other text, prefix included.
    Text(Cow<'static, str>),
    /// The shard refused the write.
    Write(WriteError),
}

impl CommandError {
    /// An error with this whole text (prefix included).
    #[must_use]
    pub fn text(text: impl Into<Cow<'static, str>>) -> CommandError {
        CommandError::Text(text.into())
    }
}

impl From<WriteError> for CommandError {
    fn from(error: WriteError) -> CommandError {
        match error {
            WriteError::WrongType => CommandError::WrongType,
            WriteError::TooLarge { .. }
            | WriteError::OutOfMemory
            | WriteError::Held { .. }
            | WriteError::Unavailable(_) => CommandError::Write(error),
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Syntax => f.write_str("ERR syntax error"),
            CommandError::Arity(name) => write!(f, "ERR wrong number of arguments for '{name}' command"),
            CommandError::WrongType => f.write_str("WRONGTYPE Operation against a key holding the wrong kind of value"),
            CommandError::NotAnInteger => f.write_str("ERR value is not an integer or out of range"),
            CommandError::NotAFloat => f.write_str("ERR value is not a valid float"),
            CommandError::NoSuchKey => f.write_str("ERR no such key"),
            CommandError::Text(text) => f.write_str(text),
            CommandError::Write(WriteError::OutOfMemory) => {
                f.write_str("OOM command not allowed when used memory > 'maxmemory'.")
            }
            CommandError::Write(WriteError::TooLarge { .. }) => {
                f.write_str("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
            }
            CommandError::Write(WriteError::Unavailable(cause)) => write!(f, "MISCONF Writes are refused: {cause}"),
            CommandError::Write(error @ WriteError::Held { .. }) => write!(f, "HELD {error}"),
            CommandError::Write(WriteError::WrongType) => write!(f, "{}", CommandError::WrongType),
        }
    }
}

impl std::error::Error for CommandError {}

/// Values of at least so many bytes are sent from where they lie instead of being copied.
pub const SHARED_BYTES_MIN: usize = 16 * 1024;

/// A string value as a reply, without a copy.
#[must_use]
pub fn bulk<'t>(value: sutra_shard::StringRef<'t>) -> Reply<'t> {
    let bytes = value.as_slice();
    if bytes.len() < SHARED_BYTES_MIN { Reply::Bulk(bytes) } else { Reply::BulkShared(value.to_shared()) }
}
