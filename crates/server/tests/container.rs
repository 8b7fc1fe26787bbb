//! The process as a container runs it: HTTP, variables, limits, signals.

#[path = "container/http.rs"]
mod http;
#[path = "container/limits.rs"]
mod limits;
#[path = "container/signals.rs"]
mod signals;
#[path = "support"]
mod support {
    pub(crate) mod client;
    pub(crate) mod process;
}
#[path = "container/variables.rs"]
mod variables;
#[path = "container/web.rs"]
mod web;
