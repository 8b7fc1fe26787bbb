//! Decision records are `docs/decisions/NNNN-what.md`, numbered from 0001 without gaps, and say their number and their status.

use super::Fault;
use crate::tree::Tree;

const FOLDER: &str = "docs/decisions/";

pub(super) fn check(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut expected = 1;
    for path in tree.paths().filter(|path| path.starts_with(FOLDER)) {
        let name = &path[FOLDER.len()..];
        let number = name
            .split_once('-')
            .filter(|(digits, _)| digits.len() == 4)
            .and_then(|(digits, _)| digits.parse::<u32>().ok());
        let Some(number) = number.filter(|_| name.ends_with(".md")) else {
            faults.push(Fault::whole(path, "a decision is called NNNN-what.md"));
            continue;
        };
        if number != expected {
            faults.push(Fault::whole(path, format!("the next number is {expected:04}")));
        }
        expected = number + 1;
        let text = tree.text(path).unwrap_or_default();
        if !text.starts_with(&format!("# {number:04}: ")) || !text.contains("\nStatus: ") {
            faults.push(Fault::whole(path, format!("it begins with `# {number:04}: ` and has a line `Status: `")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).into_iter().map(|fault| fault.what).collect()
    }

    #[test]
    fn gaps_and_wrong_titles_are_found() {
        let first = ("docs/decisions/0001-a.md", "# 0001: A\n\nStatus: accepted.\n");
        assert_eq!(faults(&[first, ("docs/decisions/0002-b.md", "# 0002: B\n\nStatus: proposed.\n")]), [""; 0]);
        assert_eq!(
            faults(&[first, ("docs/decisions/0003-b.md", "# 0003: B\n\nStatus: proposed.\n")]),
            ["the next number is 0002"]
        );
        assert_eq!(
            faults(&[first, ("docs/decisions/0001-b.md", "# 0001: B\n\nStatus: accepted.\n")]),
            ["the next number is 0002"]
        );
        assert_eq!(faults(&[("docs/decisions/0001-a.md", "# 0002: A\n\nStatus: accepted.\n")]).len(), 1);
        assert_eq!(faults(&[("docs/decisions/a.md", "")]), ["a decision is called NNNN-what.md"]);
    }
}
