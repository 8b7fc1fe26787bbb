//! What is left to do names its issue: `TODO(#12)`. What is left out of a run says why.

use super::{Fault, lines};
use crate::tree::Tree;

/// Words that need a number in brackets behind them. Put together so that this file does not contain them.
const LATER: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
/// Marks that leave a test out without saying why.
const SILENT: &[&str] =
    &[concat!("#[ign", "ore]"), concat!("mark.sk", "ip\n"), concat!("mark.sk", "ip()"), concat!("pytest.sk", "ip()")];
/// The same in JavaScript, where the mark is the call.
const SILENT_SCRIPT: &[&str] = &[concat!("it.sk", "ip("), concat!("test.sk", "ip(")];

pub(super) fn check(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    let endings = [".rs", ".py", ".js", ".mjs", ".sh", ".toml", ".md", ".ci/run"];
    for (path, text) in tree.texts_ending(&endings) {
        for (line, text) in lines(text) {
            for word in LATER {
                let unlabelled =
                    words(text).any(|(at, found)| found == *word && !text[at..].starts_with(&format!("{word}(#")));
                if unlabelled {
                    faults.push(Fault::at(path, line, format!("{word} without an issue: {word}(#12)")));
                }
            }
            let marked = format!("{}\n", text.trim_end());
            let stands_alone = |at: usize| !marked[..at].ends_with(|c: char| c.is_alphanumeric());
            let marks = SILENT.iter().chain(SILENT_SCRIPT.iter().filter(|_| path.ends_with("js")));
            if marks.flat_map(|mark| marked.match_indices(mark)).any(|(at, _)| stands_alone(at)) {
                faults.push(Fault::at(path, line, "a test is left out and nothing says why"));
            }
        }
    }
    faults
}

/// Words and where they begin.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .map(move |word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        check(&Tree::of(&[("a.rs", text)])).len()
    }

    #[test]
    fn a_note_without_an_issue_is_found() {
        for word in LATER {
            assert_eq!(count(&format!("// {word}: later")), 1);
            assert_eq!(count(&format!("// {word}(#12): later")), 0);
            assert_eq!(count(&format!("let {word}S = 1;")), 0, "part of a word");
        }
    }

    #[test]
    fn a_test_left_out_without_a_reason_is_found() {
        assert_eq!(count(SILENT[0]), 1);
        assert_eq!(count(&SILENT[0].replace(']', " = \"needs a second machine\"]")), 0);
        assert_eq!(count(&format!("@pytest.{}", SILENT[1])), 1);
        assert_eq!(count("pytest.skip(\"redis-cli is not installed\")"), 0);
        assert_eq!(check(&Tree::of(&[("a.mjs", SILENT_SCRIPT[0])])).len(), 1);
    }
}
