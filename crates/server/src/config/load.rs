//! Where values come from: defaults, then the configuration file, then the environment, then flags; the later wins.
//!
//! Nothing is guessed: a name that is not in the table, or a value that its setting does not take, stops the start. Only the
//! environment, which is everybody's, may hold other names; those that begin with `SUTRA_` are reported.

use super::kind::Refusal;
use super::setting::Setting;
use super::table::{SETTINGS, find};
use crate::settings::Settings;
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Value;

/// The file that is read from the working directory if it is there and no other was named.
pub const FILE_NAME: &str = "sutra-cache.toml";
/// The environment variable that names another.
pub const FILE_VARIABLE: &str = "SUTRA_CONFIG";

/// What was read.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Variables that begin with `SUTRA_` but mean nothing to this program: settings of other roles, or misspelt.
    pub unknown_variables: Vec<String>,
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In this file.
    File(PathBuf),
    /// In this environment variable.
    Environment,
    /// On the command line.
    Flag,
}

/// Why the settings cannot be used. Displayed as a whole sentence that names setting, value and what is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// There is no such setting.
    Unknown {
        /// As it was written.
        name: String,
        /// Where.
        from: Source,
    },
    /// The value is not one of this setting.
    Malformed {
        /// As it was written.
        name: String,
        /// As it was written; `None`: it is a secret.
        value: Option<String>,
        /// Where.
        from: Source,
        /// What is accepted.
        accepted: String,
        /// More about what is wrong.
        reason: Refusal,
    },
    /// Two names that set the same thing, in the same place.
    Twice {
        /// One.
        name: String,
        /// The other.
        other: String,
        /// Where.
        from: Source,
    },
    /// A flag without a value, or an argument that is no flag.
    Usage(String),
    /// The file cannot be read or is not TOML.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The settings do not go together.
    Unsafe(String),
}

/// A value as it was given.
struct Given<'a> {
    setting: &'static Setting,
    /// As its source calls it.
    name: Cow<'a, str>,
    value: Cow<'a, str>,
}

/// Reads all sources. `arguments` are those behind the program's name and subcommand; `directory` is where [`FILE_NAME`] is looked for.
///
/// # Errors
/// [`ConfigError`]: the server must not start with something other than what was asked for.
pub fn load(arguments: &[String], environment: &[(String, String)], directory: &Path) -> Result<Loaded, ConfigError> {
    let (named_file, flags) = read_flags(arguments)?;
    let mut settings = Settings::default();
    for setting in SETTINGS {
        setting.write_at_start(&mut settings, setting.default).expect("defaults are accepted, as a test checks");
    }
    let variable_file = environment.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
    let file = match (named_file, variable_file) {
        (Some(path), _) => Some(PathBuf::from(path)),
        (None, Some((_, path))) => Some(PathBuf::from(path)),
        (None, None) => Some(directory.join(FILE_NAME)).filter(|path| path.exists()),
    };
    if let Some(path) = file {
        let table = read_file(&path)?;
        let source = Source::File(path.clone());
        let given = of_file(&table, &source)?;
        take(&mut settings, &given, &source)?;
        settings.file = Some(path);
    }
    let (given, unknown_variables) = of_environment(environment);
    take(&mut settings, &given, &Source::Environment)?;
    settings.overridden.extend(given.iter().map(|given| given.setting.name));
    take(&mut settings, &flags, &Source::Flag)?;
    settings.overridden.extend(flags.iter().map(|given| given.setting.name));
    settings.derive();
    check_exposure(&settings)?;
    Ok(Loaded { settings, unknown_variables })
}

/// Whoever can reach the port can do everything: not without a word from the operator.
fn check_exposure(settings: &Settings) -> Result<(), ConfigError> {
    let http = if settings.http.port.is_some() { settings.http.hosts.as_slice() } else { &[] };
    let listeners = settings.bind.iter().map(|address| ("STORAGE_HOST (bind)", address));
    let listeners = listeners.chain(http.iter().map(|address| ("HTTP_HOST (http-host)", address)));
    match listeners.into_iter().find(|(_, address)| !address.is_loopback()) {
        Some((name, address))
            if !settings.has_password() && settings.protected_mode.load(std::sync::atomic::Ordering::Relaxed) =>
        {
            Err(ConfigError::Unsafe(format!(
                "{name} is {address}, which other machines reach, but no password is set: set REDIS_AUTH, SUTRA_PASSWORD or \
                 SUTRA_PASSWORD_FILE, or PROTECTED_MODE=false if only friends can reach this address"
            )))
        }
        Some(_) | None => Ok(()),
    }
}

fn take(settings: &mut Settings, given: &[Given<'_>], source: &Source) -> Result<(), ConfigError> {
    for (index, one) in given.iter().enumerate() {
        let rival = |other: &Given<'_>| {
            let names = [one.setting.rival, other.setting.rival];
            names.contains(&Some(one.setting.name)) || names.contains(&Some(other.setting.name))
        };
        let clash = given[..index]
            .iter()
            .find(|other| rival(other) || (other.setting.name == one.setting.name && other.value != one.value));
        if let Some(other) = clash {
            let (name, other) = (one.name.to_string(), other.name.to_string());
            return Err(ConfigError::Twice { name, other, from: source.clone() });
        }
        one.setting.write_at_start(settings, &one.value).map_err(|reason| ConfigError::Malformed {
            name: one.name.to_string(),
            value: (!one.setting.is_secret()).then(|| one.value.to_string()),
            from: source.clone(),
            accepted: accepted(one.setting),
            reason,
        })?;
    }
    Ok(())
}

fn accepted(setting: &Setting) -> String {
    match setting.access {
        super::setting::Access::Fixed { .. } => format!("only {:?}", setting.default),
        super::setting::Access::Start { .. } | super::setting::Access::Live { .. } | super::setting::Access::Kept => {
            setting.kind.accepted()
        }
    }
}

/// `--name value` or `--name=value`; `--config` apart.
fn read_flags(arguments: &[String]) -> Result<(Option<String>, Vec<Given<'_>>), ConfigError> {
    let mut file = None;
    let mut given = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let flag = argument.strip_prefix("--").ok_or_else(|| {
            ConfigError::Usage(format!("{argument:?} is no flag: settings are given as --name value"))
        })?;
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, value),
            None => match rest.next() {
                Some(value) => (flag, value.as_str()),
                None => return Err(ConfigError::Usage(format!("--{flag} needs a value: --{flag} value"))),
            },
        };
        if name == "config" {
            file = Some(value.to_owned());
            continue;
        }
        let setting =
            find(name).ok_or_else(|| ConfigError::Unknown { name: format!("--{name}"), from: Source::Flag })?;
        given.push(Given { setting, name: format!("--{name}").into(), value: value.into() });
    }
    Ok((file, given))
}

pub(super) fn read_file(path: &Path) -> Result<toml::Table, ConfigError> {
    let wrong = |reason: String| ConfigError::File { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    text.parse().map_err(|error: toml::de::Error| wrong(error.to_string().trim_end().to_owned()))
}

fn of_file<'a>(table: &'a toml::Table, source: &Source) -> Result<Vec<Given<'a>>, ConfigError> {
    let mut given = Vec::new();
    for (name, value) in table {
        let setting = find(name).ok_or_else(|| ConfigError::Unknown { name: name.clone(), from: source.clone() })?;
        let text = as_text(value).ok_or_else(|| ConfigError::Malformed {
            name: name.clone(),
            value: (!setting.is_secret()).then(|| value.to_string()),
            from: source.clone(),
            accepted: accepted(setting),
            reason: "a string, a whole number, true or false is expected".into(),
        })?;
        given.push(Given { setting, name: name.into(), value: text });
    }
    Ok(given)
}

/// A value of the file as it would stand in the environment.
pub(super) fn as_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Integer(number) => Some(number.to_string().into()),
        Value::Boolean(flag) => Some(if *flag { "yes" } else { "no" }.into()),
        Value::Array(items) => {
            let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            Some(words?.join(" ").into())
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

/// An empty variable counts as unset: compose files write `${NAME:-}`.
fn of_environment(environment: &[(String, String)]) -> (Vec<Given<'_>>, Vec<String>) {
    let mut given = Vec::new();
    let mut unknown = Vec::new();
    for (name, value) in environment.iter().filter(|(_, value)| !value.is_empty()) {
        let called = |setting: &&Setting| setting.variable_names().iter().any(|variable| variable == name);
        match SETTINGS.iter().find(called) {
            Some(setting) => given.push(Given { setting, name: name.into(), value: value.into() }),
            None if name.starts_with("SUTRA_") && name != FILE_VARIABLE => unknown.push(name.clone()),
            None => {}
        }
    }
    unknown.sort();
    (given, unknown)
}

/// Whether the path of a secret is one that can be used; no path is.
pub(super) fn check_secret_file(path: &str) -> Result<(), Refusal> {
    match secret_file(path) {
        _ if path.is_empty() => Ok(()),
        Ok(content) if content.is_empty() => Err("the file is empty".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("the file cannot be read: {error}").into()),
    }
}

/// The content of a file that holds a secret, without line ends at its end.
///
/// # Errors
/// It cannot be read.
pub(super) fn secret_file(path: &str) -> std::io::Result<Vec<u8>> {
    let mut content = std::fs::read(path)?;
    while content.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        content.pop();
    }
    Ok(content)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "in the file {}", path.display()),
            Source::Environment => f.write_str("in the environment"),
            Source::Flag => f.write_str("on the command line"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unknown { name, from } => {
                write!(f, "there is no setting {name:?} ({from}); `sutra-cache --help` lists all")
            }
            ConfigError::Malformed { name, value: Some(value), from, accepted, reason } => {
                write!(f, "{name} is {value:?} ({from}): {reason}; accepted: {accepted}")
            }
            ConfigError::Malformed { name, value: None, from, accepted, reason } => {
                write!(f, "{name} ({from}) is not accepted: {reason}; accepted: {accepted}")
            }
            ConfigError::Twice { name, other, from } => {
                write!(f, "{name} and {other} set the same thing ({from}): give one of them")
            }
            ConfigError::Usage(text) | ConfigError::Unsafe(text) => f.write_str(text),
            ConfigError::File { path, reason } => write!(f, "the file {}: {reason}", path.display()),
        }
    }
}

impl std::error::Error for ConfigError {}
