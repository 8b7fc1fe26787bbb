//! What commands that are only a name before subcommands share.

use crate::command::{Args, CommandError, Flags, Keys, Run, Spec};

/// Flags of most of the operator's subcommands.
pub(crate) const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING);
/// Flags of a HELP subcommand.
pub(crate) const HELP: Flags = Flags::LOADING;

/// A container of the operator's commands. Its `run` is only called when no subcommand is given, which the arity excludes.
pub(crate) const fn container(
    name: &'static str,
    since: &'static str,
    summary: &'static str,
    subcommands: &'static [Spec],
    run: Run,
) -> Spec {
    Spec {
        name,
        arity: -2,
        flags: Flags::NONE,
        keys: Keys::None,
        group: "server",
        since,
        complexity: "Depends on subcommand.",
        summary,
        syntax: "",
        subcommands,
        run,
    }
}

/// One of its subcommands, in the order of its row: name, arity, flags, since; what it does, takes; the function.
pub(crate) const fn subcommand(
    name: &'static str,
    arity: i16,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    syntax: &'static str,
    run: Run,
) -> Spec {
    Spec {
        name,
        arity,
        flags,
        keys: Keys::None,
        group: "server",
        since,
        complexity: "O(1)",
        summary,
        syntax,
        subcommands: &[],
        run,
    }
}

/// Redis's error when a subcommand that takes a varying number of arguments was given too many.
pub(crate) fn too_many(args: &Args<'_>) -> CommandError {
    let word = |at: usize| String::from_utf8_lossy(args.all().get(at).copied().unwrap_or_default());
    let (parent, word) = (word(0).to_uppercase(), word(1));
    CommandError::text(format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try {parent} HELP."))
}

impl Spec {
    /// The same with another complexity.
    pub(crate) const fn complexity(mut self, complexity: &'static str) -> Spec {
        self.complexity = complexity;
        self
    }

    /// The same with keys.
    pub(crate) const fn keys(mut self, keys: Keys) -> Spec {
        self.keys = keys;
        self
    }
}
