//! Crates depend on each other in one direction: server → shard → stores; server → protocol.

use super::Fault;
use crate::tree::Tree;
use toml::{Table, Value};

/// A package and the packages of ours that its code may use. Tests and benchmarks may use `testkit` as well.
const ROOMS: &[(&str, &[&str])] = &[
    ("sutra-protocol", &[]),
    ("sutra-eviction", &[]),
    ("sutra-wal", &[]),
    ("sutra-mmap-store", &[]),
    ("sutra-hnsw-index", &[]),
    ("sutra-embed", &[]),
    ("sutra-guard", &[]),
    (
        "sutra-shard",
        &["sutra-wal", "sutra-mmap-store", "sutra-hnsw-index", "sutra-eviction", "sutra-embed", "sutra-guard"],
    ),
    // Of eviction only the names of the policies, which are part of the shard's options.
    ("sutra-cache", &["sutra-shard", "sutra-protocol", "sutra-eviction", "sutra-embed"]),
    ("sutra-cache-client", &["sutra-protocol"]),
    // It simulates the storage below the stores.
    ("sutra-testkit", &["sutra-wal", "sutra-mmap-store"]),
];

/// Packages that may use everything, and that nothing uses.
const OUTSIDE: &[&str] = &["sutra-bench", "xtask", "sutra-fuzz"];

/// What tests of a package may use beside: the client is tested against the server itself.
const TESTED_WITH: &[(&str, &str)] = &[("sutra-cache-client", "sutra-cache")];

/// For tests only.
const TESTS_ONLY: &str = "sutra-testkit";

/// Packages of others that stay in one room.
const CONFINED: &[(&str, &[&str])] = &[
    ("tokio", &["sutra-cache", "sutra-cache-client"]),
    ("tracing-subscriber", &["sutra-cache"]),
    ("memmap2", &["sutra-mmap-store", "sutra-hnsw-index"]),
    ("crossbeam-epoch", &["sutra-mmap-store"]),
];

pub(super) fn check(tree: &Tree) -> Vec<Fault> {
    let manifests = tree.texts().filter(|(path, _)| *path != "Cargo.toml" && path.ends_with("Cargo.toml"));
    manifests.flat_map(|(path, text)| check_manifest(path, text)).collect()
}

fn check_manifest(path: &str, text: &str) -> Vec<Fault> {
    let manifest = match text.parse::<Table>() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Fault::whole(path, error.to_string())],
    };
    let name =
        manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str).unwrap_or_default();
    if OUTSIDE.contains(&name) {
        return Vec::new();
    }
    let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == name) else {
        return vec![Fault::whole(path, format!("package `{name}` has no row in the table of edges"))];
    };
    let mut faults = Vec::new();
    for (section, for_tests) in [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)] {
        for (used, value) in sections(&manifest, section) {
            let used = value.get("package").and_then(Value::as_str).unwrap_or(used);
            let ours = ROOMS.iter().any(|(room, _)| *room == used) || OUTSIDE.contains(&used);
            if ours
                && !allowed.contains(&used)
                && !(for_tests && (used == TESTS_ONLY || TESTED_WITH.contains(&(name, used))))
            {
                faults.push(Fault::whole(path, format!("`{name}` must not depend on `{used}`")));
            }
            let confined = CONFINED.iter().find(|(package, _)| *package == used);
            if confined.is_some_and(|(_, rooms)| !for_tests && !rooms.contains(&name)) {
                faults.push(Fault::whole(path, format!("`{used}` does not belong in `{name}`")));
            }
        }
    }
    faults
}

/// The entries of a section, and of the same section under each `[target.…]`.
fn sections<'m>(manifest: &'m Table, section: &'m str) -> impl Iterator<Item = (&'m str, &'m Value)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let everywhere = manifest.get(section).into_iter().chain(targets.filter_map(move |target| target.get(section)));
    everywhere.filter_map(Value::as_table).flatten().map(|(name, value)| (name.as_str(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(package: &str, rest: &str) -> Vec<String> {
        let text = format!("[package]\nname = \"{package}\"\n{rest}");
        check(&Tree::of(&[("crates/x/Cargo.toml", &text)])).into_iter().map(|fault| fault.what).collect()
    }

    #[test]
    fn an_arrow_that_points_back_is_found() {
        assert_eq!(faults("sutra-shard", "[dependencies]\nsutra-wal.workspace = true"), [""; 0]);
        let back = "`sutra-wal` must not depend on `sutra-shard`";
        assert_eq!(faults("sutra-wal", "[dependencies]\nsutra-shard.workspace = true"), [back]);
        assert_eq!(faults("sutra-wal", "[dev-dependencies]\nsutra-shard.workspace = true"), [back]);
        assert_eq!(faults("sutra-wal", "[target.'cfg(unix)'.dependencies]\nsutra-shard.workspace = true"), [back]);
        assert_eq!(faults("sutra-wal", "[dependencies]\nx = { package = \"sutra-shard\", path = \"\" }"), [back]);
    }

    #[test]
    fn the_testkit_is_for_tests() {
        assert_eq!(faults("sutra-wal", "[dev-dependencies]\nsutra-testkit.workspace = true"), [""; 0]);
        assert_eq!(faults("sutra-wal", "[dependencies]\nsutra-testkit.workspace = true").len(), 1);
    }

    #[test]
    fn tokio_stays_in_the_server() {
        assert_eq!(faults("sutra-cache", "[dependencies]\ntokio = \"1\""), [""; 0]);
        assert_eq!(
            faults("sutra-shard", "[dependencies]\ntokio = \"1\""),
            ["`tokio` does not belong in `sutra-shard`"]
        );
    }

    #[test]
    fn a_package_without_a_row_is_found() {
        assert_eq!(faults("sutra-new", ""), ["package `sutra-new` has no row in the table of edges"]);
    }
}
