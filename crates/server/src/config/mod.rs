//! Configuration: one table of settings, and everything that reads or shows it.
//!
//! | module | noun |
//! | --- | --- |
//! | `setting`, `table` | a setting; all of them |
//! | `http`, `meaning` | those about HTTP; about meaning |
//! | `kind` | what values may be |
//! | `load` | file, environment, flags |
//! | `rewrite` | CONFIG REWRITE |
//! | `document` | the reference page, the sample file, the help text |
//! | `memory_limit` | what the container or the machine leaves |

mod document;
mod http;
pub mod kind;
mod load;
mod meaning;
mod memory_limit;
mod rewrite;
mod setting;
mod table;

pub use document::{help_text, reference_markdown, sample_toml};
pub use load::{ConfigError, FILE_NAME, FILE_VARIABLE, Loaded, Source, load};
pub use memory_limit::{memory_limit, memory_share};
pub use rewrite::{RewriteError, primary, rewrite};
pub use setting::{Access, Setting, WriteError};
pub use table::{SETTINGS, find};
