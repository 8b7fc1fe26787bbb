//! The server of Sutra Cache: connections, command table, configuration. Alone knows the wire.
#![forbid(unsafe_code)]

pub mod analytics;
pub mod background;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod command;
pub mod commands;
pub mod config;
pub mod demo;
pub mod digest;
pub mod dispatch;
pub mod embedded;
mod hourly;
pub mod http;
pub mod job;
pub mod latency;
pub mod logging;
mod mailbox;
pub mod meaning;
pub mod net;
pub mod pause;
pub mod process;
pub mod random;
pub mod rdb;
pub mod server;
pub mod session;
pub mod settings;
mod signals;
pub mod slowlog;
pub mod statistics;
pub mod table;
pub mod tracking;
mod transaction;
pub mod trends;

pub use sutra_shard::glob;
