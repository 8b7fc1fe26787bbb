//! One setting: what it is called everywhere, what it may be, where its value lives.

use super::kind::{Kind, Refusal};
use crate::settings::Settings;
use std::borrow::Cow;
use std::sync::PoisonError;

/// A row of the table.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the configuration file, as a flag (`--name`), in CONFIG GET and CONFIG SET: Redis's where Redis has it.
    pub name: &'static str,
    /// Environment variables that set it; none: `SUTRA_` and the name in capitals.
    pub variables: &'static [&'static str],
    /// Other names that are accepted for it, as flags, in the file and by CONFIG; older ones of Redis.
    pub aliases: &'static [&'static str],
    /// What it may be.
    pub kind: Kind,
    /// Its default, as one would write it.
    pub default: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// How it is read and changed.
    pub access: Access,
    /// What else must not be set beside it in the same place, since it sets the same thing.
    pub rival: Option<&'static str>,
}

/// Where the value lives and when it may change.
#[derive(Debug, Clone, Copy)]
pub enum Access {
    /// Chosen at the start.
    Start {
        /// The value as CONFIG GET shows it.
        read: fn(&Settings) -> String,
        /// Takes a canonical value.
        write: fn(&mut Settings, &str),
    },
    /// Changeable while the server runs.
    Live {
        /// The value as CONFIG GET shows it.
        read: fn(&Settings) -> String,
        /// Takes a canonical value.
        write: fn(&Settings, &str),
        /// Why this value cannot be taken while the server runs, if it cannot.
        veto: fn(&Settings, &str) -> Option<&'static str>,
    },
    /// Accepted and shown, for programs that set it on every Redis; has no effect here.
    Kept,
    /// Always the default; nothing else is accepted.
    Fixed {
        /// Redis does not let CONFIG SET try, either.
        immutable: bool,
    },
}

/// When a setting is changed.
#[derive(Debug, PartialEq, Eq)]
pub enum WriteError {
    /// It is chosen at the start.
    Immutable,
    /// The value is not accepted, in Redis's words.
    Refused(Refusal),
}

impl Setting {
    /// A setting of this name; what is not given afterwards is none.
    pub(super) const fn new(name: &'static str, kind: Kind, default: &'static str, access: Access) -> Setting {
        Setting { name, variables: &[], aliases: &[], kind, default, doc: "", access, rival: None }
    }

    pub(super) const fn variables(mut self, variables: &'static [&'static str]) -> Setting {
        self.variables = variables;
        self
    }

    pub(super) const fn aliases(mut self, aliases: &'static [&'static str]) -> Setting {
        self.aliases = aliases;
        self
    }

    pub(super) const fn doc(mut self, doc: &'static str) -> Setting {
        self.doc = doc;
        self
    }

    pub(super) const fn rival(mut self, rival: &'static str) -> Setting {
        self.rival = Some(rival);
        self
    }

    /// Its environment variables.
    #[must_use]
    pub fn variable_names(&self) -> Vec<Cow<'static, str>> {
        if self.variables.is_empty() {
            vec![format!("SUTRA_{}", self.name.to_ascii_uppercase().replace('-', "_")).into()]
        } else {
            self.variables.iter().map(|name| Cow::Borrowed(*name)).collect()
        }
    }

    /// Whether it goes by this name in the file, as a flag or in CONFIG: in any case, with `_` or `-`. Names of its environment variables
    /// are accepted too, since they are what the deployment files use.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let same =
            |own: &str| own.len() == name.len() && own.bytes().zip(name.bytes()).all(|(a, b)| unified(a) == unified(b));
        same(self.name)
            || self.aliases.iter().any(|alias| same(alias))
            || self.variables.iter().any(|variable| same(variable))
    }

    /// The value as CONFIG GET shows it.
    #[must_use]
    pub fn value(&self, settings: &Settings) -> String {
        match self.access {
            Access::Start { read, .. } | Access::Live { read, .. } => read(settings),
            Access::Kept => {
                let remembered = settings.remembered.read().unwrap_or_else(PoisonError::into_inner);
                remembered.get(self.name).cloned().unwrap_or_else(|| self.default.to_owned())
            }
            Access::Fixed { .. } => self.default.to_owned(),
        }
    }

    /// Sets it before the server starts.
    ///
    /// # Errors
    /// The value is not accepted.
    pub fn write_at_start(&self, settings: &mut Settings, text: &str) -> Result<(), Refusal> {
        let value = self.kind.canonical(text)?;
        match self.access {
            Access::Start { write, .. } => write(settings, &value),
            Access::Live { write, .. } => write(settings, &value),
            Access::Kept => self.remember(settings, value),
            Access::Fixed { .. } => self.check_fixed(&value)?,
        }
        Ok(())
    }

    /// Whether CONFIG SET may set it to this now; the canonical value.
    ///
    /// # Errors
    /// Why not.
    pub fn check_live(&self, settings: &Settings, text: &str) -> Result<String, WriteError> {
        if let Access::Start { .. } | Access::Fixed { immutable: true } = self.access {
            return Err(WriteError::Immutable);
        }
        let value = self.kind.canonical(text).map_err(WriteError::Refused)?;
        match self.access {
            Access::Live { veto, .. } => match veto(settings, &value) {
                Some(reason) => Err(WriteError::Refused(reason.into())),
                None => Ok(value),
            },
            Access::Fixed { .. } => self.check_fixed(&value).map(|()| value).map_err(WriteError::Refused),
            Access::Kept | Access::Start { .. } => Ok(value),
        }
    }

    /// Sets it while the server runs, to what [`Setting::check_live`] returned.
    pub fn write_live(&self, settings: &Settings, value: String) {
        match self.access {
            Access::Live { write, .. } => write(settings, &value),
            Access::Kept => self.remember(settings, value),
            Access::Fixed { .. } | Access::Start { .. } => {}
        }
    }

    /// Whether its value must not appear in messages, logs and MONITOR.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }

    fn remember(&self, settings: &Settings, value: String) {
        settings.remembered.write().unwrap_or_else(PoisonError::into_inner).insert(self.name, value);
    }

    fn check_fixed(&self, value: &str) -> Result<(), Refusal> {
        let is_default = self.kind.canonical(self.default).is_ok_and(|default| default == value);
        if is_default { Ok(()) } else { Err(format!("argument must be '{}' here", self.default).into()) }
    }
}

fn unified(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}
