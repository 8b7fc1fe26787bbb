//! Rules of the house that no compiler checks. Each is a function from the tree to its faults, with a test that plants one.
//!
//! | module | rule |
//! | --- | --- |
//! | `edges` | crates depend on each other in one direction, and keep what is heavy in one room |
//! | `unsafety` | `unsafe` lives in two crates |
//! | `links` | what a page points to is there |
//! | `commands` | every command is described and has a conversation |
//! | `sleeps` | tests wait for events, not for time |
//! | `labels` | what is left to do, or left out, says where it is tracked or why |
//! | `lengths` | files stay short |
//! | `characters` | no invisible characters, no stray ones |
//! | `outside` | no secrets, no machine's own paths, no hosts but public ones |
//! | `decisions` | decision records are numbered without gaps |
//! | `fuzzing` | every fuzz target is declared and has seeds |

mod characters;
mod commands;
mod decisions;
mod edges;
mod fuzzing;
mod labels;
mod lengths;
mod links;
mod outside;
mod sleeps;
mod unsafety;

use crate::tree::Tree;
use std::fmt;
use std::path::Path;

/// One place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    path: String,
    /// Counted from 1; 0: the file as a whole.
    line: usize,
    what: String,
}

impl Fault {
    fn at(path: &str, line: usize, what: impl Into<String>) -> Fault {
        Fault { path: path.to_owned(), line, what: what.into() }
    }

    fn whole(path: &str, what: impl Into<String>) -> Fault {
        Fault::at(path, 0, what)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// A rule: what it is called, and what breaks it.
type Rule = (&'static str, fn(&Tree) -> Vec<Fault>);

const RULES: &[Rule] = &[
    ("edges", edges::check),
    ("unsafety", unsafety::check),
    ("links", links::check),
    ("commands", commands::check),
    ("sleeps", sleeps::check),
    ("labels", labels::check),
    ("lengths", lengths::check),
    ("characters", characters::check),
    ("outside", outside::check),
    ("decisions", decisions::check),
    ("fuzzing", fuzzing::check),
];

/// Checks every rule and reports all faults at once.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let tree = Tree::read(root)?;
    let faults: Vec<String> = RULES
        .iter()
        .flat_map(|(name, check)| check(&tree).into_iter().map(move |fault| format!("{fault} [{name}]")))
        .collect();
    if faults.is_empty() {
        println!("tidy: {} rules hold in {} files", RULES.len(), tree.paths().count());
        Ok(())
    } else {
        Err(format!("{}\ntidy: {} faults", faults.join("\n"), faults.len()))
    }
}

/// Lines of a text, counted from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}

/// The text with comments, strings and character literals of Rust blanked, so that only code is left. Lines stay where they are.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = token_end(bytes, at);
        if end == at + 1 {
            out.push(bytes[at]);
        } else {
            out.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
        }
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment, string or character that begins at `at` ends; `at + 1` if none does.
fn token_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let until = |needle: &[u8], from: usize| {
        rest.get(from..)
            .and_then(|tail| tail.windows(needle.len()).position(|window| window == needle))
            .map_or(bytes.len(), |found| at + from + found + needle.len())
    };
    if rest.starts_with(b"//") {
        return until(b"\n", 0);
    }
    if rest.starts_with(b"/*") {
        return until(b"*/", 2);
    }
    let word_before = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if !word_before && (rest[0] == b'r' || rest.starts_with(b"br")) {
        let hashes_from = if rest[0] == b'b' { 2 } else { 1 };
        let hashes = rest[hashes_from..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(hashes_from + hashes) == Some(&b'"') {
            let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
            return until(&close, hashes_from + hashes + 1);
        }
    }
    if rest[0] == b'"' {
        let mut end = at + 1;
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        return (end + 1).min(bytes.len());
    }
    // A character, not a lifetime: 'x' or '\…'.
    if rest[0] == b'\'' {
        if rest.get(1) == Some(&b'\\') {
            return until(b"'", 3);
        }
        if rest.get(2) == Some(&b'\'') {
            return at + 3;
        }
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left_and_lines_stay() {
        let text = "a // unsafe\nlet s = \"un\\\"safe\"; 'x' 'a r#\"un\"safe\"# br\"x\" /* b\n */ c '\\''d";
        let code = code_only(text);
        assert_eq!(code.lines().count(), text.lines().count());
        assert!(!code.contains("safe"), "{code}");
        for word in ["a ", "let s =", "'a", "c ", "d"] {
            assert!(code.contains(word), "{word}: {code}");
        }
    }
}
