//! `unsafe` lives in mmap-store and hnsw-index. Every other crate forbids it, and no other file contains it.

use super::{Fault, code_only, lines};
use crate::tree::Tree;

/// Where `unsafe` may be.
const ROOMS: &[&str] = &["crates/mmap-store/src/", "crates/hnsw-index/src/"];
const FORBIDS: &str = "#![forbid(unsafe_code)]";
/// The word is put together here so that this file does not contain it.
const WORD: &str = concat!("un", "safe");

pub(super) fn check(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in tree.texts_ending(&[".rs"]) {
        if ROOMS.iter().any(|room| path.starts_with(room)) {
            continue;
        }
        let crate_root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
        if crate_root && !text.lines().any(|line| line == FORBIDS) {
            faults.push(Fault::whole(path, format!("a crate's root says {FORBIDS}")));
        }
        let code = code_only(text);
        for (line, code) in lines(&code) {
            if code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == WORD) {
                faults.push(Fault::at(path, line, format!("{WORD} code belongs in mmap-store or hnsw-index")));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_does_not_forbid_it_is_found() {
        assert_eq!(check(&Tree::of(&[("crates/a/src/lib.rs", "fn a() {}\n")])).len(), 1);
        assert_eq!(check(&Tree::of(&[("crates/a/src/lib.rs", "#![forbid(unsafe_code)]\nfn a() {}\n")])), []);
        assert_eq!(check(&Tree::of(&[("crates/a/src/main.rs", "// #![forbid(unsafe_code)]\n")])).len(), 1);
    }

    #[test]
    fn a_block_in_a_test_is_found_but_not_one_where_it_may_be() {
        let block = format!("// {WORD}\nlet s = \"{WORD}\";\n{WORD} {{ }}\n");
        assert_eq!(
            check(&Tree::of(&[("crates/a/tests/t.rs", &block)])),
            [Fault::at("crates/a/tests/t.rs", 3, format!("{WORD} code belongs in mmap-store or hnsw-index"))]
        );
        assert_eq!(check(&Tree::of(&[("crates/mmap-store/src/region.rs", &block)])), []);
    }
}
