//! The server of Sutra Cache: connections, command table, configuration. Alone knows the wire.
#![forbid(unsafe_code)]

pub mod command;
pub mod commands;
pub mod dispatch;
pub mod server;
pub mod session;
