//! Every fuzz target is declared, has seeds, and is run: `fuzz/run` without a name runs what the manifest declares.

use super::Fault;
use crate::tree::Tree;
use toml::{Table, Value};

const FOLDER: &str = "fuzz/fuzz_targets/";
const MANIFEST: &str = "fuzz/Cargo.toml";

pub(super) fn check(tree: &Tree) -> Vec<Fault> {
    let manifest = tree.text(MANIFEST).and_then(|text| text.parse::<Table>().ok()).unwrap_or_default();
    let bins = manifest.get("bin").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let declared: Vec<&str> = bins.iter().filter_map(|bin| bin.get("name")?.as_str()).collect();
    let mut faults = Vec::new();
    for path in tree.paths().filter(|path| path.starts_with(FOLDER)) {
        let name = path[FOLDER.len()..].trim_end_matches(".rs");
        if !declared.contains(&name) {
            faults.push(Fault::whole(path, format!("is not declared in {MANIFEST}, so nobody runs it")));
        }
        if !tree.has(&format!("fuzz/seeds/{name}/")) {
            faults.push(Fault::whole(path, format!("has no seeds in fuzz/seeds/{name}")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_without_declaration_or_seeds_is_found() {
        let target = ("fuzz/fuzz_targets/glob.rs", "");
        let manifest = (MANIFEST, "[[bin]]\nname = \"glob\"\n");
        let seed = ("fuzz/seeds/glob/a", "x");
        assert_eq!(check(&Tree::of(&[target, manifest, seed])), []);
        assert_eq!(check(&Tree::of(&[target, seed])).len(), 1);
        assert_eq!(check(&Tree::of(&[target, manifest])).len(), 1);
    }
}
