//! HTTP: health, readiness, statistics, metrics, on a port of its own. Answered by one thread that serves nothing else, from before
//! recovery until the server has stopped.
//!
//! | module | noun |
//! | --- | --- |
//! | `listener` | the thread, its connections and their limits |
//! | `front` | what it knows: first that the server starts, then the server |
//! | `route` | every path, and the checks before each |
//! | `host`, `credentials` | names and origins that are answered; the password in a request |
//! | `status`, `stats`, `clear`, `openapi` | the answers |
//! | `metrics` | the table of metrics and its formats |
//! | `page` | an answer |
//! | `probe` | `sutra-cache health` |
//! | `settings` | what the operator has chosen |
//!
//! What only shows something is open to whoever reaches the port, which is this machine alone unless there is a password or the operator
//! says otherwise; what changes something asks for the password. A page for people, events and TLS can come behind the same routes.

mod clear;
mod credentials;
mod front;
mod host;
mod listener;
mod metrics;
mod openapi;
mod page;
pub mod probe;
mod route;
pub mod settings;
mod stats;
mod status;

pub use front::Front;
pub use listener::Listener;
pub use metrics::metrics_markdown;
pub(crate) use metrics::{Facts, SpaceLedger};
