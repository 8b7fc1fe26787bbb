//! The pages that come from the code: `docs/commands.md` from the command table, `docs/configuration.md` and `docs/sutra-cache.toml`
//! from the table of settings, `docs/metrics.md` from the table of metrics.

use std::fmt::Write;
use std::path::Path;
use sutra_cache::command::{Flags, Keys, Spec};
use sutra_cache::commands::TABLE;
use sutra_cache::config::{reference_markdown, sample_toml};
use sutra_cache::http::metrics_markdown;

/// The reference of the commands.
pub(crate) const COMMANDS_PAGE: &str = "docs/commands.md";

/// Groups in the order of the page; one that is not here comes last.
const GROUPS: &[&str] = &["string", "bitmap", "hash", "generic", "transactions", "connection", "server", "cache"];

/// Flags that a reader can use, in Redis's words where it has them.
const FLAGS: &[(Flags, &str)] = &[
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::FAST, "fast"),
    (Flags::LOADING, "loading"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_MULTI, "not queued by MULTI"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::ALL_KEYS, "locks the whole keyspace"),
    (Flags::MOVABLE_KEYS, "movablekeys"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::ALONE, "refused by MULTI"),
];

/// Writes the pages.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    for (path, content) in pages() {
        std::fs::write(root.join(path), content).map_err(|error| format!("{path}: {error}"))?;
    }
    Ok(())
}

/// Compares the pages with what the code says.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let stale: Vec<&str> = pages()
        .iter()
        .filter(|(path, content)| std::fs::read_to_string(root.join(path)).ok().as_ref() != Some(content))
        .map(|(path, _)| *path)
        .collect();
    if stale.is_empty() { Ok(()) } else { Err(format!("stale: {}; run `cargo xtask docs`", stale.join(", "))) }
}

/// How a command is written: `client|list` is CLIENT LIST.
pub(crate) fn title(name: &str) -> String {
    name.replace('|', " ").to_uppercase()
}

fn pages() -> [(&'static str, String); 4] {
    [
        (COMMANDS_PAGE, commands(TABLE)),
        ("docs/configuration.md", reference_markdown()),
        ("docs/sutra-cache.toml", sample_toml()),
        ("docs/metrics.md", metrics_markdown()),
    ]
}

const INTRODUCTION: &str = "\
# Commands

This page is generated from the command table (`cargo xtask docs`), as are `COMMAND`, `COMMAND DOCS` and `ACL CAT`. Replies and error texts
are those of Redis 7.2 and later; [compatibility](compatibility.md) lists every difference. *Arity* counts the name as Redis does: -3 means
at least two arguments behind it. *Since* is the Redis version in which the command appeared.
";

fn commands(table: &[&Spec]) -> String {
    let mut groups: Vec<&str> =
        GROUPS.iter().copied().filter(|group| table.iter().any(|spec| spec.group == *group)).collect();
    for spec in table {
        if !groups.contains(&spec.group) {
            groups.push(spec.group);
        }
    }
    let mut page = String::from(INTRODUCTION);
    let count: usize = table.iter().map(|spec| 1 + spec.subcommands.len()).sum();
    line(&mut page, format_args!("\n{} commands, {count} with their subcommands.\n", table.len()));
    for group in &groups {
        let names: Vec<String> = of(table, group)
            .map(|spec| {
                format!(
                    "[{}](#{})",
                    title(spec.name),
                    title(spec.name).to_lowercase().replace(' ', "-").replace('.', "")
                )
            })
            .collect();
        line(&mut page, format_args!("- **{group}**: {}", names.join(", ")));
    }
    for group in &groups {
        line(&mut page, format_args!("\n## {group}"));
        for spec in of(table, group) {
            describe(&mut page, "###", spec);
            for child in spec.subcommands {
                describe(&mut page, "####", child);
            }
        }
    }
    page
}

fn of<'t>(table: &'t [&Spec], group: &'t str) -> impl Iterator<Item = &'t Spec> {
    table.iter().copied().filter(move |spec| spec.group == group)
}

fn describe(page: &mut String, level: &str, spec: &Spec) {
    let title = title(spec.name);
    let call = format!("{title} {}", spec.syntax);
    line(page, format_args!("\n{level} {title}\n\n```text\n{}\n```\n", call.trim_end()));
    line(page, format_args!("{}\n", spec.summary));
    let mut facts = vec![format!("arity {}", spec.arity), format!("since {}", spec.since)];
    let keys = keys(spec.keys);
    if !keys.is_empty() {
        facts.push(format!("keys: {keys}"));
    }
    let flags: Vec<&str> = FLAGS.iter().filter(|(flag, _)| spec.flags.has(*flag)).map(|(_, name)| *name).collect();
    if !flags.is_empty() {
        facts.push(format!("flags: {}", flags.join(", ")));
    }
    facts.push(spec.complexity.trim_end_matches('.').to_owned());
    line(page, format_args!("{}", facts.join(" · ")));
}

fn keys(keys: Keys) -> String {
    match keys {
        Keys::None => String::new(),
        Keys::Custom(_) => "found among the arguments".to_owned(),
        Keys::Computed(_) => "made from the arguments".to_owned(),
        Keys::Range { first, last, .. } if usize::try_from(last) == Ok(first) => format!("argument {first}"),
        Keys::Range { first, last, step } => {
            let last = if last < 0 { "the last".to_owned() } else { last.to_string() };
            let step = if step == 1 { String::new() } else { format!(", every {step}") };
            format!("arguments {first} to {last}{step}")
        }
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = writeln!(text, "{arguments}");
    debug_assert!(written.is_ok(), "a String takes whatever is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_command_once() {
        let page = commands(TABLE);
        for spec in TABLE {
            let heading = format!("\n### {}\n", title(spec.name));
            assert_eq!(page.matches(&heading).count(), 1, "{}", spec.name);
        }
    }

    #[test]
    fn a_stale_page_is_found() {
        let folder = std::env::temp_dir().join(format!("xtask-docs-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("docs")).expect("a folder");
        write(&folder).expect("written");
        assert_eq!(check(&folder), Ok(()));
        std::fs::write(folder.join(COMMANDS_PAGE), "old").expect("written");
        let found = check(&folder);
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!(found, Err(format!("stale: {COMMANDS_PAGE}; run `cargo xtask docs`")));
    }
}
