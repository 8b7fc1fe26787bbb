//! The command table as dispatch uses it: found by name in any case without an allocation, numbered for statistics.

use crate::command::{Flags, Spec};
use crate::commands::TABLE;
use std::sync::LazyLock;

/// Bytes of the longest command name that is looked for; longer ones are unknown.
const NAME_BYTES_MAX: usize = 32;

/// A command or subcommand.
#[derive(Debug)]
pub struct Command {
    /// What the table says.
    pub spec: &'static Spec,
    /// Its number: where its counters are.
    pub index: usize,
    /// Takes so little time that timing each call would cost more.
    pub(crate) cheap: bool,
    /// How many arguments name it: 2 for a subcommand.
    pub(crate) words: usize,
    /// What dispatch does differently.
    pub(crate) handling: Handling,
    /// Numbers of its subcommands.
    children: std::ops::Range<usize>,
}

/// Commands that need more than a [`crate::command::Context`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handling {
    /// None of them.
    Plain,
    /// Runs other commands.
    Exec,
    /// Changes the protocol in which its own reply is written.
    Hello,
}

/// All commands and subcommands.
#[derive(Debug)]
pub struct CommandTable {
    commands: Vec<Command>,
    /// Number of commands that are not subcommands; they come first.
    top: usize,
    /// Open addressing by [`hash`]: names padded with zeros, and numbers. A power of two, at most half full.
    slots: Vec<Option<(Name, u16)>>,
}

static COMMANDS: LazyLock<CommandTable> = LazyLock::new(|| CommandTable::new(TABLE));

/// The table of this build.
#[must_use]
pub fn table() -> &'static CommandTable {
    &COMMANDS
}

impl CommandTable {
    fn new(specs: &'static [&'static Spec]) -> CommandTable {
        let mut commands: Vec<Command> = specs.iter().enumerate().map(|(index, spec)| command(spec, index)).collect();
        let top = commands.len();
        for parent in 0..top {
            let first = commands.len();
            for child in commands[parent].spec.subcommands {
                commands.push(command(child, commands.len()));
            }
            commands[parent].children = first..commands.len();
        }
        let mut slots = vec![None; (top * 2).next_power_of_two().max(2)];
        for (index, command) in commands[..top].iter().enumerate() {
            let name = lower_case(command.spec.name.as_bytes()).expect("names in the table are short");
            let mut slot = hash(&name) & (slots.len() - 1);
            while slots[slot].is_some() {
                slot = (slot + 1) & (slots.len() - 1);
            }
            slots[slot] = Some((name, u16::try_from(index).expect("fewer than 65,536 commands")));
        }
        CommandTable { commands, top, slots }
    }

    /// The command of this name, in any case.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&Command> {
        let lower = lower_case(name)?;
        let mask = self.slots.len() - 1;
        let mut slot = hash(&lower) & mask;
        loop {
            let (name, index) = self.slots[slot].as_ref()?;
            if *name == lower {
                return self.commands.get(usize::from(*index));
            }
            slot = (slot + 1) & mask;
        }
    }

    /// The subcommand of `parent` that is called this, in any case.
    #[must_use]
    pub fn find_child(&self, parent: &Command, name: &[u8]) -> Option<&Command> {
        self.children(parent).iter().find(|child| {
            child.spec.name.split_once('|').is_some_and(|(_, word)| name.eq_ignore_ascii_case(word.as_bytes()))
        })
    }

    /// The command a request means: the subcommand if there is one of that name.
    #[must_use]
    pub fn find_request(&self, args: &[&[u8]]) -> Option<&Command> {
        let command = self.find(args.first()?)?;
        match args.get(1) {
            Some(word) if command.has_children() => self.find_child(command, word),
            Some(_) | None => Some(command),
        }
    }

    /// The command of a full name, `get` or `client|list`, in any case.
    #[must_use]
    pub fn find_full_name(&self, name: &[u8]) -> Option<&Command> {
        match name.iter().position(|byte| *byte == b'|') {
            None => self.find(name),
            Some(bar) => self.find_child(self.find(&name[..bar])?, &name[bar + 1..]),
        }
    }

    /// Subcommands of a command.
    #[must_use]
    pub fn children(&self, parent: &Command) -> &[Command] {
        &self.commands[parent.children.clone()]
    }

    /// All commands that are not subcommands, sorted by name.
    #[must_use]
    pub fn top(&self) -> &[Command] {
        &self.commands[..self.top]
    }

    /// All commands and subcommands, by number.
    #[must_use]
    pub fn all(&self) -> &[Command] {
        &self.commands
    }
}

impl Command {
    /// Whether it is only a name before subcommands.
    #[must_use]
    pub fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    /// Whether a request of `count` arguments has as many as the command takes.
    #[must_use]
    pub fn takes(&self, count: usize) -> bool {
        let arity = usize::from(self.spec.arity.unsigned_abs());
        if self.spec.arity < 0 { count >= arity } else { count == arity }
    }
}

fn command(spec: &'static Spec, index: usize) -> Command {
    let handling = match spec.name {
        "exec" => Handling::Exec,
        "hello" => Handling::Hello,
        _ => Handling::Plain,
    };
    let cheap = spec.flags.has(Flags::FAST) || spec.complexity.starts_with("O(1)");
    let words = if spec.name.contains('|') { 2 } else { 1 };
    Command { spec, index, cheap, words, handling, children: 0..0 }
}

/// A name in lower case, padded with zeros: of fixed size, so that it is hashed and compared without a loop.
type Name = [u8; NAME_BYTES_MAX];

fn lower_case(name: &[u8]) -> Option<Name> {
    // A name that ends in zero bytes would look like one without them.
    if name.last().is_none_or(|byte| *byte == 0) {
        return None;
    }
    let mut lower = [0; NAME_BYTES_MAX];
    lower.get_mut(..name.len())?.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(lower)
}

/// Names differ in their first 16 bytes but for a few, which then share a chain.
fn hash(lower: &Name) -> usize {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&lower[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let mixed = (word(0) ^ word(8).rotate_left(23)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_in_any_case_and_by_no_other() {
        let table = table();
        for command in table.top() {
            let name = command.spec.name;
            assert!(std::ptr::eq(table.find(name.as_bytes()).expect(name), command));
            assert!(std::ptr::eq(table.find(name.to_uppercase().as_bytes()).expect(name), command));
            assert!(table.find(format!("{name}x").as_bytes()).is_none_or(|other| other.index != command.index));
        }
        assert!(table.find(b"").is_none());
        assert!(table.find(b"get\0").is_none());
        assert!(table.find(&[b'g'; 1000]).is_none());
    }

    #[test]
    fn the_table_is_sorted_unique_and_documented() {
        let names: Vec<_> = TABLE.iter().map(|spec| spec.name).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "sorted by name, no name twice: {names:?}");
        for command in table().all() {
            let spec = command.spec;
            assert_eq!(spec.name, spec.name.to_lowercase());
            assert!(!spec.summary.is_empty() && spec.summary.ends_with('.'), "{}: one sentence", spec.name);
            assert!(!spec.since.is_empty() && !spec.group.is_empty() && !spec.complexity.is_empty(), "{}", spec.name);
            assert!(spec.arity != 0, "{}", spec.name);
        }
    }

    #[test]
    fn a_subcommand_is_found_below_its_parent_only() {
        let table = table();
        let client = table.find(b"client").expect("client");
        assert_eq!(table.find_child(client, b"ID").expect("client id").spec.name, "client|id");
        assert!(table.find_child(client, b"nothing").is_none());
        assert_eq!(table.find_full_name(b"Client|Id").expect("client|id").spec.name, "client|id");
        assert!(table.find(b"client|id").is_none());
    }
}
