//! Files stay short enough to be read. A ratchet: what is longer is listed with its length, and may only shrink.

use super::Fault;
use crate::tree::Tree;

const LINES_MAX: usize = 900;

/// Files that are longer, and how long they may be.
const LONGER: &[(&str, usize)] = &[];

pub(super) fn check(tree: &Tree) -> Vec<Fault> {
    check_with(tree, LONGER)
}

fn check_with(tree: &Tree, longer: &[(&str, usize)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in tree.texts_ending(&[".rs", ".py", ".js", ".mjs", ".sh"]) {
        let lines = text.lines().count();
        let listed = longer.iter().find(|(name, _)| *name == path).map(|(_, lines)| *lines);
        let lines_max = listed.unwrap_or(LINES_MAX);
        if lines > lines_max {
            faults.push(Fault::whole(path, format!("{lines} lines, at most {lines_max}: split it by nouns")));
        } else if listed.is_some_and(|listed| lines < listed) {
            faults.push(Fault::whole(path, format!("has shrunk to {lines} lines: lower its row in the list")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found_and_a_listed_one_may_only_shrink() {
        let long = "x\n".repeat(LINES_MAX + 1);
        let tree = Tree::of(&[("a.rs", &long)]);
        assert_eq!(check(&tree).len(), 1);
        assert_eq!(check_with(&tree, &[("a.rs", LINES_MAX + 1)]), []);
        assert_eq!(check_with(&tree, &[("a.rs", LINES_MAX)]).len(), 1);
        assert!(check_with(&tree, &[("a.rs", LINES_MAX + 2)])[0].what.contains("lower its row"));
        assert_eq!(check(&Tree::of(&[("a.rs", &long[2..])])), []);
    }
}
