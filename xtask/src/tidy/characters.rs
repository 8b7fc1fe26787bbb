//! Text is ASCII and a few signs that stand for nothing else; no tabs, no spaces at line ends, no carriage returns. Characters that
//! change how code is shown, or look like others, do not get in.

use super::{Fault, lines};
use crate::tree::Tree;

/// Signs beyond ASCII that are allowed.
const SIGNS: &str = "…×→←↔µ≤≥÷−–²³½·±≈";

/// Files with content of others: their lines are what they are.
const EXEMPT: &[&str] = &["LICENSE", ".resp"];

pub(super) fn check(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in
        tree.texts().filter(|(path, _)| !EXEMPT.iter().any(|name| path.ends_with(name)) && !is_fixture(path))
    {
        if !text.is_empty() && !text.ends_with('\n') {
            faults.push(Fault::whole(path, "the last line has no end"));
        }
        for (line, text) in text.split('\n').enumerate().map(|(index, text)| (index + 1, text)) {
            if text.ends_with([' ', '\t', '\r']) {
                faults.push(Fault::at(path, line, "space at the end of the line"));
            }
            let stray = text.chars().find(|c| !(' '..='~').contains(c) && !SIGNS.contains(*c) && *c != '\r');
            if let Some(stray) = stray {
                faults.push(Fault::at(path, line, format!("the character {:?} (U+{:04X})", stray, u32::from(stray))));
            }
        }
    }
    for (path, text) in tree.texts_ending(&[".resp"]) {
        let hidden = lines(text).find(|(_, text)| text.chars().any(|c| c.is_control() || is_hidden(c)));
        faults.extend(hidden.map(|(line, _)| Fault::at(path, line, "a control character: write it as an escape")));
    }
    faults
}

fn is_fixture(path: &str) -> bool {
    ["/golden/", "/seeds/", "/fixtures/"].iter().any(|folder| path.contains(folder))
}

/// Characters of no width, and those that turn the direction of text.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn stray_characters_are_found() {
        assert_eq!(count("a.rs", "// 1 … 2 → 3\n"), 0);
        for text in ["a\tb\n", "a \n", "a\r\n", "a", "\u{430}\n", "a\u{202e}b\n", "\u{7}\n"] {
            assert_eq!(count("a.rs", text), 1, "{text:?}");
        }
        assert_eq!(count("a/golden/v1.txt", "a \n"), 0);
        assert_eq!(count("a.resp", "< \"\u{430}\" \n"), 0);
        assert_eq!(count("a.resp", "< \"\u{202e}\"\n"), 1);
    }
}
