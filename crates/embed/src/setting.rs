//! The setting that names an embedder.

use crate::builtin::Builtin;
use crate::embedder::Embedder;
use crate::http::{HttpEmbedder, HttpOptions};
use std::fmt;
use ureq::http::Uri;

/// Why a setting names no embedder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingError {
    /// None of the words and forms that are known.
    Unknown {
        /// What was set.
        value: String,
    },
    /// An address that is none.
    BadAddress {
        /// What was set.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An address needs the name of a model.
    NoModel,
    /// A local transformer, and this program was built without the feature `local`.
    NotBuilt,
    /// The directory does not hold a model that can be run.
    BadModel {
        /// The directory.
        path: String,
        /// What is missing or wrong.
        reason: String,
    },
}

/// The embedder that a setting names: `builtin`, the address of an OpenAI-compatible endpoint (used as it is, so it
/// usually ends with `/v1/embeddings`), `local:` and the directory of a transformer, or `none`.
///
/// # Errors
/// What is wrong with the setting. Whether an endpoint answers is not tried.
pub fn from_setting(value: &str, options: &HttpOptions) -> Result<Option<Box<dyn Embedder>>, SettingError> {
    match value {
        "none" => Ok(None),
        "builtin" => Ok(Some(Box::new(Builtin))),
        _ => {
            if let Some(path) = value.strip_prefix("local:") {
                return local(path).map(Some);
            }
            if !value.starts_with("http://") && !value.starts_with("https://") {
                return Err(SettingError::Unknown { value: value.to_owned() });
            }
            http(value, options).map(|embedder| Some(Box::new(embedder) as Box<dyn Embedder>))
        }
    }
}

fn http(value: &str, options: &HttpOptions) -> Result<HttpEmbedder, SettingError> {
    let bad = |reason: String| SettingError::BadAddress { value: hidden(value), reason };
    let url: Uri = value.parse().map_err(|error: ureq::http::uri::InvalidUri| bad(error.to_string()))?;
    if url.host().is_none_or(str::is_empty) {
        return Err(bad("it has no host".to_owned()));
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(bad("a key belongs into its own setting, not into the address".to_owned()));
    }
    if options.model.trim().is_empty() {
        return Err(SettingError::NoModel);
    }
    Ok(HttpEmbedder::new(url, options.clone()))
}

/// The address without what stands before an `@`: it may be a password.
fn hidden(value: &str) -> String {
    match (value.find("//"), value.rfind('@')) {
        (Some(slashes), Some(at)) if slashes < at => format!("{}//...{}", &value[..slashes], &value[at..]),
        _ => value.to_owned(),
    }
}

#[cfg(feature = "local")]
fn local(path: &str) -> Result<Box<dyn Embedder>, SettingError> {
    let bad = |error: crate::EmbedError| SettingError::BadModel { path: path.to_owned(), reason: error.to_string() };
    Ok(Box::new(crate::local::LocalEmbedder::open(std::path::Path::new(path)).map_err(bad)?))
}

#[cfg(not(feature = "local"))]
fn local(_path: &str) -> Result<Box<dyn Embedder>, SettingError> {
    Err(SettingError::NotBuilt)
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingError::Unknown { value } => write!(
                f,
                "'{value}' is no embedder: use `builtin`, the address of an endpoint (http:// or https://), `local:/path` or `none`"
            ),
            SettingError::BadAddress { value, reason } => write!(f, "'{value}' is no address of an embedder: {reason}"),
            SettingError::NoModel => f.write_str("an embedder behind an address needs the name of a model"),
            SettingError::NotBuilt => {
                f.write_str("this program was built without local transformers (the cargo feature `local`)")
            }
            SettingError::BadModel { path, reason } => write!(f, "no model in '{path}': {reason}"),
        }
    }
}

impl std::error::Error for SettingError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(value: &str) -> Result<Option<String>, SettingError> {
        let embedder = from_setting(value, &HttpOptions { model: "m".into(), ..HttpOptions::default() })?;
        Ok(embedder.map(|embedder| embedder.name().to_owned()))
    }

    #[test]
    fn each_form_names_its_embedder() {
        assert_eq!(name("none"), Ok(None));
        assert_eq!(name("builtin"), Ok(Some("builtin:static-256-v1".into())));
        assert_eq!(name("http://localhost:8080/v1/embeddings"), Ok(Some("http:m".into())));
        assert_eq!(name("https://localhost/v1/embeddings?api-version=1"), Ok(Some("http:m".into())));
    }

    #[test]
    fn what_names_none_is_refused_with_the_reason() {
        assert_eq!(name("Builtin"), Err(SettingError::Unknown { value: "Builtin".into() }));
        assert_eq!(name(""), Err(SettingError::Unknown { value: String::new() }));
        assert_eq!(name("ftp://localhost/"), Err(SettingError::Unknown { value: "ftp://localhost/".into() }));
        assert!(matches!(name("http:///v1"), Err(SettingError::BadAddress { .. })));
        assert!(matches!(name("http:// /"), Err(SettingError::BadAddress { .. })));
        let no_model = HttpOptions { model: " ".into(), ..HttpOptions::default() };
        assert_eq!(from_setting("http://localhost/", &no_model).err(), Some(SettingError::NoModel));
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let refused = name("http://user:secret@localhost/v1").unwrap_err().to_string();
        assert!(refused.contains("its own setting") && !refused.contains("secret"), "{refused}");
    }

    #[cfg(not(feature = "local"))]
    #[test]
    fn a_local_model_says_what_it_needs() {
        assert_eq!(name("local:/models/minilm"), Err(SettingError::NotBuilt));
    }
}
