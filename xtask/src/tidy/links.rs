//! What a Markdown page points to is there: files, headings, and paths written as code. Pages named in Rust comments are there too.

use super::{Fault, lines};
use crate::tree::Tree;

/// A code span that begins so is a path.
const FOLDERS: &[&str] = &["crates/", "docs/", "benches/", "fuzz/", "xtask/", "tests/", ".ci/"];

pub(super) fn check(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in tree.texts_ending(&[".md"]) {
        for (line, text) in prose(text) {
            let broken = targets(text).into_iter().filter(|target| !resolves(tree, path, target));
            faults.extend(broken.map(|target| Fault::at(path, line, format!("the link {target} leads nowhere"))));
            let missing = code_spans(text).filter(|span| is_path(span) && !tree.has(span));
            faults.extend(missing.map(|span| Fault::at(path, line, format!("there is no {span}"))));
        }
    }
    for (path, text) in tree.texts_ending(&[".rs"]) {
        for (line, text) in lines(text) {
            let comment = text.trim_start();
            if comment.starts_with("//") {
                let missing =
                    code_spans(comment).filter(|span| span.starts_with("docs/") && is_path(span) && !tree.has(span));
                faults.extend(missing.map(|span| Fault::at(path, line, format!("there is no {span}"))));
            }
        }
    }
    faults
}

/// The lines of a page that are not in a fenced block.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    lines(text).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Targets of `[text](target)` and `[text]: target`.
fn targets(line: &str) -> Vec<&str> {
    let mut targets: Vec<&str> = line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    if line.starts_with('[')
        && let Some((_, target)) = line.split_once("]: ")
    {
        targets.push(target.trim());
    }
    targets
}

fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Whether a code span is a path, and not a pattern or a command line.
fn is_path(span: &str) -> bool {
    FOLDERS.iter().any(|folder| span.starts_with(folder))
        && span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        && !["NNNN", "NAME"].iter().any(|placeholder| span.contains(placeholder))
        // Made by builds and runs.
        && !["fuzz/target", "fuzz/corpus", "fuzz/artifacts"].iter().any(|made| span.starts_with(made))
}

fn resolves(tree: &Tree, page: &str, target: &str) -> bool {
    if target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let (file, heading) = target.split_once('#').map_or((target, None), |(file, heading)| (file, Some(heading)));
    let Some(file) = (if file.is_empty() { Some(page.to_owned()) } else { joined(page, file) }) else { return false };
    match heading {
        None => tree.has(&file),
        Some(heading) => tree.text(&file).is_some_and(|text| {
            prose(text).any(|(_, line)| line.starts_with('#') && slug(line.trim_start_matches('#').trim()) == heading)
        }),
    }
}

/// `target` as seen from `page`; `None` if it leads out of the repository.
fn joined(page: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The anchor that GitHub makes of a heading.
fn slug(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c => c.is_alphanumeric().then(|| c.to_ascii_lowercase()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(page: &str) -> Vec<String> {
        let files = [("docs/a.md", page), ("docs/b/c.md", "# The `page` of C, v1\n"), ("README.md", "")];
        check(&Tree::of(&files)).into_iter().map(|fault| fault.what).collect()
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        assert_eq!(
            faults("[c](b/c.md) [up](../README.md) [web](https://redis.io/x) [folder](b/) [x](#one)\n# One\n"),
            [""; 0]
        );
        assert_eq!(faults("[c](b/d.md)"), ["the link b/d.md leads nowhere"]);
        assert_eq!(faults("[out](../../README.md)").len(), 1);
        assert_eq!(faults("[c]: b/d.md").len(), 1);
        assert_eq!(faults("```\n[c](b/d.md)\n```"), [""; 0]);
    }

    #[test]
    fn headings_that_are_not_there_are_found() {
        assert_eq!(faults("[c](b/c.md#the-page-of-c-v1)"), [""; 0]);
        assert_eq!(faults("[c](b/c.md#the-page-of-d)"), ["the link b/c.md#the-page-of-d leads nowhere"]);
    }

    #[test]
    fn paths_in_code_spans_are_checked_but_not_patterns() {
        assert_eq!(faults("`docs/b/c.md`, `docs/*.md`, `docs/decisions/NNNN-x.md`, `b/d.md`, `cargo test`"), [""; 0]);
        assert_eq!(faults("see `docs/gone.md`"), ["there is no docs/gone.md"]);
    }

    #[test]
    fn pages_named_in_comments_are_checked() {
        let rust = "//! see `docs/gone.md`\nlet s = \"`docs/other.md`\";\n";
        assert_eq!(check(&Tree::of(&[("a.rs", rust)])), [Fault::at("a.rs", 1, "there is no docs/gone.md")]);
    }
}
