//! Every command of the table says what it does, stands on the reference page, and has a conversation.

use super::Fault;
use crate::docs::{COMMANDS_PAGE, title};
use crate::tree::Tree;
use std::collections::BTreeSet;
use sutra_cache::command::Spec;
use sutra_cache::commands::TABLE;

const CONVERSATIONS: &str = "crates/server/tests/conversations/";

/// Commands that a conversation cannot hold, and the test that plays them instead.
const ELSEWHERE: &[(&str, &str)] = &[
    // Its replies come when others run commands.
    ("monitor", "crates/server/tests/net_sockets.rs"),
    // There is nobody left to talk to.
    ("shutdown", "crates/server/tests/net_sockets.rs"),
];

pub(super) fn check(tree: &Tree) -> Vec<Fault> {
    check_table(tree, TABLE)
}

fn check_table(tree: &Tree, table: &[&Spec]) -> Vec<Fault> {
    let page = tree.text(COMMANDS_PAGE).unwrap_or_default();
    let titles: BTreeSet<&str> = page.lines().map(|line| line.trim_start_matches('#').trim()).collect();
    let said = said(tree);
    let mut faults = Vec::new();
    let mut fault = |spec: &Spec, what: &str| {
        faults.push(Fault::whole("crates/server/src/commands/mod.rs", format!("{}: {what}", title(spec.name))));
    };
    for spec in table.iter().flat_map(|spec| std::iter::once(*spec).chain(spec.subcommands)) {
        let texts = [spec.group, spec.since, spec.complexity, spec.summary];
        if texts.iter().any(|text| text.is_empty()) || !spec.summary.ends_with('.') {
            fault(spec, "group, since, complexity and a summary that ends with a full stop");
        }
        if !titles.contains(title(spec.name).as_str()) {
            fault(spec, "is missing on the reference page: run `cargo xtask docs`");
        }
        let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == spec.name);
        match elsewhere {
            Some((_, test)) if !tree.text(test).is_some_and(|text| text.contains(&title(spec.name))) => {
                fault(spec, &format!("is not played by {test}, as it should be"));
            }
            None if !said.contains(spec.name) => fault(spec, "has no conversation"),
            Some(_) | None => {}
        }
    }
    faults
}

/// What is sent in conversations: `set`, and `client|list` for commands of two words.
fn said(tree: &Tree) -> BTreeSet<String> {
    let mut said = BTreeSet::new();
    for (_, text) in tree.texts().filter(|(path, _)| path.starts_with(CONVERSATIONS)) {
        for line in text.lines() {
            let line = line.strip_prefix('@').and_then(|line| line.split_once(' ')).map_or(line, |(_, rest)| rest);
            let Some(sent) = line.strip_prefix("> ") else { continue };
            let mut words = sent.split(' ').map(|word| word.trim_matches('"').to_ascii_lowercase());
            let first = words.next().unwrap_or_default();
            if let Some(second) = words.next() {
                said.insert(format!("{first}|{second}"));
            }
            said.insert(first);
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_without_a_conversation_or_a_place_on_the_page_is_found() {
        let get = TABLE.iter().copied().find(|spec| spec.name == "get").expect("GET");
        let page = (COMMANDS_PAGE, "### GET\n");
        let conversation = ("crates/server/tests/conversations/get.resp", "@2 > get k\n");
        assert_eq!(check_table(&Tree::of(&[page, conversation]), &[get]), []);
        let what = |files: &[(&str, &str)]| check_table(&Tree::of(files), &[get]).pop().expect("a fault").what;
        assert_eq!(what(&[page]), "GET: has no conversation");
        assert_eq!(what(&[conversation]), "GET: is missing on the reference page: run `cargo xtask docs`");
    }

    #[test]
    fn a_subcommand_needs_its_own_line() {
        let client = TABLE.iter().copied().find(|spec| spec.name == "client").expect("CLIENT");
        let faults = |text| {
            let tree = Tree::of(&[("crates/server/tests/conversations/client.resp", text)]);
            check_table(&tree, &[client])
                .into_iter()
                .filter(|fault| fault.what == "CLIENT ID: has no conversation")
                .count()
        };
        assert_eq!(faults("> CLIENT LIST\n"), 1);
        assert_eq!(faults("> CLIENT ID\n"), 0);
    }
}
