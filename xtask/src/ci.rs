//! The gate that needs no tool but cargo. `.ci/run` runs this and what needs more: peers, clients, sanitizers, fuzzers.

use std::path::Path;
use std::process::Command;

/// Each step: its name, the arguments of cargo, and the environment it runs in.
/// A step: its name, the arguments of cargo, and what is added to the environment.
type Step = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const STEPS: &[Step] = &[
    ("formatting", &["fmt", "--all", "--check"], &[]),
    ("lints", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]),
    ("tests", &["test", "--workspace"], &[]),
    (
        "documentation",
        &["doc", "--workspace", "--no-deps", "--document-private-items"],
        &[("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links")],
    ),
];

/// Runs every step, stopping at the first that fails.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    for (name, arguments, environment) in STEPS {
        println!("== {name}: cargo {}", arguments.join(" "));
        let status = Command::new("cargo")
            .args(*arguments)
            .envs(environment.iter().copied())
            .current_dir(root)
            .status()
            .map_err(|error| format!("cargo does not start: {error}"))?;
        if !status.success() {
            return Err(format!("{name}: {status}"));
        }
    }
    println!("== generated pages");
    crate::docs::check(root)?;
    println!("== tidy");
    crate::tidy::run(root)
}
