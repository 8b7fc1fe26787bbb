//! What one connection has chosen and begun.

use sutra_protocol::Version;

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    /// The selected database.
    pub db: u8,
    /// The protocol that HELLO chose.
    pub version: Version,
}
