//! The reference, the sample file and the help text, all from the table.

use super::setting::{Access, Setting};
use super::table::SETTINGS;
use std::fmt::Write;

/// `docs/configuration.md`, generated: the page cannot say anything that the program does not do.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n| name | environment | default | at run time | meaning | accepted |\n| --- | --- | --- | --- | --- | --- |\n");
    for setting in SETTINGS.iter().filter(|setting| has_effect(setting)) {
        let default = if setting.default.is_empty() { "empty".to_owned() } else { format!("`{}`", setting.default) };
        let live = match setting.access {
            Access::Live { .. } => "yes",
            Access::Start { .. } | Access::Kept | Access::Fixed { .. } => "no",
        };
        let accepted = match setting.access {
            Access::Fixed { .. } => default.clone(),
            Access::Start { .. } | Access::Live { .. } | Access::Kept => setting.kind.accepted(),
        };
        line(
            &mut page,
            format_args!(
                "| `{}`{} | `{}` | {default} | {live} | {} | {accepted} |",
                setting.name,
                aliases(setting),
                setting.variable_names().join("`, `"),
                setting.doc,
            ),
        );
    }
    page.push_str(COMPATIBILITY);
    for setting in SETTINGS.iter().filter(|setting| !has_effect(setting)) {
        line(&mut page, format_args!("| `{}`{} | `{}` |", setting.name, aliases(setting), setting.default));
    }
    page
}

/// `docs/sutra-cache.toml`: every setting that has an effect, with its default.
#[must_use]
pub fn sample_toml() -> String {
    let mut text = String::from(SAMPLE_INTRODUCTION);
    for setting in SETTINGS.iter().filter(|setting| has_effect(setting)) {
        line(&mut text, format_args!("\n# {}", setting.doc));
        let is_second_name =
            SETTINGS.iter().any(|other| other.rival == Some(setting.name)) || setting.name == "appendonly";
        let mark = if is_second_name { "# " } else { "" };
        line(&mut text, format_args!("{mark}{} = {}", setting.name, setting.kind.in_file(setting.default)));
    }
    text
}

/// `sutra-cache --help`.
#[must_use]
pub fn help_text() -> String {
    let mut text = String::from(USAGE);
    for setting in SETTINGS.iter().filter(|setting| has_effect(setting)) {
        let default = if setting.default.is_empty() { "none" } else { setting.default };
        line(&mut text, format_args!("  --{:<28} {} [{default}]", setting.name, setting.variable_names().join(", ")));
    }
    text
}

fn has_effect(setting: &Setting) -> bool {
    match setting.access {
        Access::Start { .. } | Access::Live { .. } => true,
        Access::Fixed { .. } => !setting.variables.is_empty(),
        Access::Kept => false,
    }
}

fn aliases(setting: &Setting) -> String {
    setting.aliases.iter().map(|alias| format!(" (`{alias}`)")).collect()
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = writeln!(text, "{arguments}");
    debug_assert!(written.is_ok(), "a String takes whatever is written to it");
}

const INTRODUCTION: &str = "\
# Configuration

This page is generated from the table of settings (`cargo run -p xtask -- docs`).

A setting has one name everywhere: in the file `sutra-cache.toml` (`port = 50051`), as a flag (`--port 50051` or `--port=50051`), and in
`CONFIG GET port` and `CONFIG SET port`. Where Redis has the setting, the name is Redis's. Each can be set by an environment variable too.

Where several say something, the later in this list wins:

1. the default,
2. the file: the one named by `--config FILE` or `SUTRA_CONFIG`, otherwise `sutra-cache.toml` in the working directory, if it is there,
3. the environment (an empty variable counts as unset),
4. flags,
5. `CONFIG SET`, until the server stops; `CONFIG REWRITE` writes what it has changed into the file, leaving everything else in it as it is.

A name that is not in the table, or a value that a setting does not accept, stops the start with exit code 1 and a message that names the
setting, the value and what is accepted. Other environment variables are none of our business, but those that begin with `SUTRA_` and mean
nothing here are named in a log line. In the file and as flags, `_` and `-` are the same, case does not matter, and the names of
environment variables are accepted too (`max_memory = \"2gb\"`).

Sizes are bytes, or have a unit: `b`, `k` = 1000, `kb` or `kib` = 1024, and likewise `m`, `mb`, `mib`, `g`, `gb`, `gib`, `t`, `tb`, `tib`.

## Settings
";

const COMPATIBILITY: &str = "
## Accepted for the sake of Redis's clients

Programs set or read these on every Redis. They are accepted and answered by `CONFIG GET`, but have no effect; those whose only sensible
value here is the default refuse any other.

| name | default |
| --- | --- |
";

const SAMPLE_INTRODUCTION: &str = "\
# Every setting of Sutra Cache with its default; see configuration.md for what else each accepts.
# The server reads sutra-cache.toml in its working directory, or the file named by --config. Environment variables and flags win over it.
";

const USAGE: &str = "\
Sutra Cache, a cache shard for AI applications that speaks Redis's protocol.

Usage:
  sutra-cache [serve] [--config FILE] [--name value]...   serve until SIGTERM, SIGINT or SHUTDOWN
  sutra-cache check DIR                                   verify a data directory; exit code 1 if it is damaged
  sutra-cache health [--ready] [--url URL]                ask the server of these settings how it is; exit code 1 if ill
  sutra-cache demo [--url URL] [--stay]                   show what it can do, on real questions
  sutra-cache --help
  sutra-cache --version

Settings come from sutra-cache.toml, the environment and flags; the later wins. Flag, environment variable, default:
";
