//! CONFIG REWRITE: the configuration file with what CONFIG SET has changed, everything else as the operator wrote it.
//!
//! The file is edited line by line, so that comments and order stay; then the result is parsed, and only if it says exactly what it
//! should does it take the place of the file, in one rename.

use super::load::{as_text, read_file};
use super::setting::Setting;
use super::table::{SETTINGS, find};
use crate::settings::Settings;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// Why the file was left as it is.
#[derive(Debug)]
pub enum RewriteError {
    /// The server was started without a file.
    NoFile,
    /// It could not be read or written.
    Io(io::Error),
    /// It is no longer what it was at the start, or is written in a way that cannot be edited.
    Content(String),
}

impl From<io::Error> for RewriteError {
    fn from(error: io::Error) -> RewriteError {
        RewriteError::Io(error)
    }
}

impl fmt::Display for RewriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RewriteError::NoFile => f.write_str("The server is running without a config file"),
            RewriteError::Io(error) => write!(f, "Rewriting config file: {error}"),
            RewriteError::Content(reason) => write!(f, "Rewriting config file: {reason}"),
        }
    }
}

impl std::error::Error for RewriteError {}

/// The setting under which a change is written: of two names for one thing, always the same.
#[must_use]
pub fn primary(setting: &'static Setting) -> &'static Setting {
    SETTINGS.iter().find(|other| other.rival == Some(setting.name)).unwrap_or(setting)
}

/// Writes what CONFIG SET has changed into the configuration file. Returns names of settings that environment or flags set as well, so
/// that the file's value will not be the one of the next start.
///
/// # Errors
/// [`RewriteError`]; the file is then as it was.
pub fn rewrite(settings: &Settings) -> Result<Vec<&'static str>, RewriteError> {
    let path = settings.file.as_deref().ok_or(RewriteError::NoFile)?;
    // The file behind a link is replaced, not the link.
    let path = path.canonicalize()?;
    let mut text = std::fs::read_to_string(&path)?;
    let mut expected = read_file(&path).map_err(|error| RewriteError::Content(error.to_string()))?;
    let changed = settings.changed.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for setting in SETTINGS.iter().filter(|setting| changed.contains(setting.name)) {
        text = with_value(&text, &mut expected, setting, &setting.value(settings))?;
    }
    replace(&path, text.as_bytes())?;
    Ok(changed.intersection(&settings.overridden).copied().collect())
}

/// The text with this setting set. `table` is what the text says, before and after.
fn with_value(text: &str, table: &mut toml::Table, setting: &Setting, value: &str) -> Result<String, RewriteError> {
    let names: Vec<String> = table
        .keys()
        .filter(|key| setting.is_called(key) || setting.rival.and_then(find).is_some_and(|rival| rival.is_called(key)))
        .cloned()
        .collect();
    if let [name] = names.as_slice()
        && setting.is_called(name)
        && table.get(name).and_then(as_text).is_some_and(|text| setting.kind.canonical(&text).as_deref() == Ok(value))
    {
        return Ok(text.to_owned());
    }
    let key = names.iter().find(|name| setting.is_called(name)).map_or(setting.name, String::as_str).to_owned();
    let line = format!("{key} = {}", setting.kind.in_file(value));
    let new: toml::Table = line.parse().map_err(|error: toml::de::Error| RewriteError::Content(error.to_string()))?;
    names.iter().for_each(|name| drop(table.remove(name)));
    table.extend(new);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let Some(first) = names.first().and_then(|name| line_of(&lines, name)) else {
        lines.push(line);
        return finished(lines, table);
    };
    for name in &names[1..] {
        if let Some(at) = line_of(&lines, name) {
            lines[at] = format!("# {}", lines[at]);
        }
    }
    // A value may span lines: as many are replaced as it takes for the text to say what it should.
    for last in first..lines.len() {
        let comment = if last == first { comment_of(&lines[first]) } else { "" };
        let replaced = if comment.is_empty() { line.clone() } else { format!("{line}  {comment}") };
        let edited: Vec<String> =
            lines[..first].iter().cloned().chain([replaced]).chain(lines[last + 1..].iter().cloned()).collect();
        if let Ok(text) = finished(edited, table) {
            return Ok(text);
        }
    }
    Err(RewriteError::Content(format!("the line that sets {key} cannot be edited")))
}

fn finished(lines: Vec<String>, expected: &toml::Table) -> Result<String, RewriteError> {
    let text = lines.join("\n") + "\n";
    match text.parse::<toml::Table>() {
        Ok(table) if table == *expected => Ok(text),
        Ok(_) | Err(_) => Err(RewriteError::Content("the file is written in a way that cannot be edited".to_owned())),
    }
}

/// The line that begins with this key.
fn line_of(lines: &[String], key: &str) -> Option<usize> {
    lines.iter().position(|line| {
        let line = line.trim_start();
        let rest = line.strip_prefix(key).or_else(|| line.strip_prefix(&format!("\"{key}\"")));
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    })
}

/// What follows the value of a line, from the `#` on; a `#` within quotes is none.
fn comment_of(line: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in line.char_indices() {
        match (quote, character) {
            (Some('"'), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), close) if open == close && !escaped => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, '#') => return &line[at..],
            (Some(_) | None, _) => {}
        }
        escaped = false;
    }
    ""
}

/// Puts the content in the file's place, so that after a crash there is the old or the new, whole.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = PathBuf::from(format!("{}.{}.tmp", path.display(), std::process::id()));
    let written = (|| {
        let mut file = std::fs::File::create(&temporary)?;
        file.set_permissions(std::fs::metadata(path)?.permissions())?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if written.is_err() {
        drop(std::fs::remove_file(&temporary));
        return written;
    }
    match path.parent() {
        Some(directory) => std::fs::File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(text: &str, changes: &[(&str, &str)]) -> String {
        let mut table: toml::Table = text.parse().expect("TOML");
        let mut text = text.to_owned();
        for (name, value) in changes {
            text = with_value(&text, &mut table, find(name).expect("a setting"), value).expect("editable");
        }
        text
    }

    #[test]
    fn comments_order_and_untouched_lines_stay() {
        let before = "# mine\nport = 7000   # the usual\n\nmaxmemory = \"1gb\" # enough\ntimeout=5\n";
        let after = edit(before, &[("maxmemory", "2147483648"), ("timeout", "0")]);
        assert_eq!(after, "# mine\nport = 7000   # the usual\n\nmaxmemory = 2147483648  # enough\ntimeout = 0\n");
    }

    #[test]
    fn what_was_not_there_is_added_and_what_says_the_same_stays() {
        assert_eq!(edit("maxmemory = '1gb'", &[("maxmemory", "1073741824")]), "maxmemory = '1gb'");
        assert_eq!(
            edit("port = 1", &[("maxmemory-policy", "allkeys-lfu")]),
            "port = 1\nmaxmemory-policy = \"allkeys-lfu\"\n"
        );
        assert_eq!(edit("", &[("protected-mode", "no")]), "protected-mode = false\n");
    }

    #[test]
    fn a_key_keeps_the_spelling_it_has() {
        assert_eq!(edit("MAX_MEMORY = \"1gb\"\n", &[("maxmemory", "9999999")]), "MAX_MEMORY = 9999999\n");
        assert_eq!(edit("\"tcp-keepalive\" = 5\n", &[("tcp-keepalive", "6")]), "tcp-keepalive = 6\n");
    }

    #[test]
    fn a_value_over_several_lines_is_replaced_whole() {
        let before = "requirepass = \"\"\"\nport = 5 # \\\n\"\"\"\nport = 1\n";
        assert_eq!(edit(before, &[("requirepass", "s#e\"c")]), "requirepass = 's#e\"c'\nport = 1\n");
    }

    #[test]
    fn the_other_name_of_the_same_thing_does_not_stay_beside_it() {
        assert_eq!(
            edit("appendfsync = \"always\"\n", &[("wal-sync-interval-ms", "250")]),
            "wal-sync-interval-ms = 250\n"
        );
        let after = edit("port = 1\nrequirepass-file = \"/run/secret\"\n", &[("requirepass", "x")]);
        assert_eq!(after, "port = 1\nrequirepass = \"x\"\n");
    }

    #[test]
    fn a_changed_name_is_written_under_the_one_it_is_a_view_of() {
        let name = |name| primary(find(name).expect("a setting")).name;
        assert_eq!(name("appendfsync"), "wal-sync-interval-ms");
        assert_eq!(name("loglevel"), "rust-log");
        assert_eq!(name("timeout"), "timeout");
    }
}
