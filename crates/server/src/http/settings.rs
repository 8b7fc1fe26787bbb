//! What the operator has chosen about HTTP.

use std::net::IpAddr;

/// The settings of the HTTP port. All are chosen at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// `http-port`; `None`: there is no HTTP. 0 asks the system for a free one.
    pub port: Option<u16>,
    /// `http-host`: the addresses to listen on; none: those of the data port.
    pub hosts: Vec<IpAddr>,
    /// `http-allowed-hosts`: names under which the port may be asked, in lower case; `*`: any.
    pub allowed_hosts: Vec<String>,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings { port: Some(DEFAULT_PORT), hosts: Vec::new(), allowed_hosts: Vec::new() }
    }
}

/// The port unless told otherwise. That it is taken then only costs a warning: a second server on a machine is no mistake.
pub const DEFAULT_PORT: u16 = 8888;
