//! Tests wait for the event itself. A sleep needs a reason, on its line or in the comment above: `tidy: sleeps because …`.

use super::{Fault, lines};
use crate::tree::Tree;

const REASON: &str = "tidy: sleeps because ";
/// Put together so that this file does not contain what it looks for.
const CALLS: &[&str] = &[concat!("sle", "ep("), concat!("setTime", "out(")];
/// The lines above a call in which its reason may stand.
const REASON_LINES: usize = 4;

pub(super) fn check(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in tree.texts_ending(&[".rs", ".py", ".js", ".mjs", ".sh"]) {
        let all: Vec<&str> = text.lines().collect();
        let tests_begin = if path.starts_with("tests/") || path.contains("/tests/") {
            0
        } else {
            all.iter().position(|line| line.trim() == "#[cfg(test)]").unwrap_or(all.len())
        };
        for (line, code) in lines(text).skip(tests_begin) {
            let above = &all[line.saturating_sub(REASON_LINES + 1)..line];
            if CALLS.iter().any(|call| calls(code, call)) && !above.iter().any(|line| line.contains(REASON)) {
                faults.push(Fault::at(path, line, format!("a test waits for an event, or says `{REASON}…`")));
            }
        }
    }
    faults
}

/// Whether the line calls the function, and not one whose name ends like it.
fn calls(code: &str, call: &str) -> bool {
    let code = code.trim_start();
    let comment = ["//", "#", "*"].iter().any(|mark| code.starts_with(mark));
    !comment
        && code
            .match_indices(call)
            .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_without_a_reason_is_found_in_tests_only() {
        let sleep = format!("fn wait() {{\n    thread::{}d);\n}}\n", CALLS[0]);
        assert_eq!(check(&Tree::of(&[("crates/a/tests/t.rs", &sleep)])).len(), 1);
        assert_eq!(check(&Tree::of(&[("tests/clients/t.py", &sleep)])).len(), 1);
        assert_eq!(check(&Tree::of(&[("crates/a/src/a.rs", &sleep)])), []);
        assert_eq!(check(&Tree::of(&[("crates/a/src/a.rs", &format!("#[cfg(test)]\n{sleep}"))]))[0].line, 3);
    }

    #[test]
    fn a_reason_near_it_is_enough() {
        let reasoned = format!("// {REASON}the kernel tells nobody\ntime.{}1)\n", CALLS[0]);
        assert_eq!(check(&Tree::of(&[("tests/t.py", &reasoned)])), []);
        let far = format!("// {REASON}of something else\n{}time.{}1)\n", "x\n".repeat(REASON_LINES), CALLS[0]);
        assert_eq!(check(&Tree::of(&[("tests/t.py", &far)])).len(), 1);
    }
}
