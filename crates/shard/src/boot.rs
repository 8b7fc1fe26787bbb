//! Which start of the machine the data directory was last used in: the file `boot`.
//!
//! While the machine has not been started anew, everything that the last process stored is still in the kernel's page cache, synced or
//! not. A record of an unsynced frame that is not there is then damage to that one record, and not the trace of a power loss, which
//! would mean that the log has to be cut.

use sutra_wal::{IoError, Storage};

const NAME: &str = "boot";
/// Bytes of the file that are looked at: a boot id has 36.
const BYTES_MAX: usize = 64;

/// The machine's name for its present start; `None` where the system does not tell.
pub(crate) fn current_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty() && id.len() <= BYTES_MAX)
}

/// The start in which the directory was last used, if it is known.
pub(crate) fn last_id(storage: &dyn Storage) -> Result<Option<String>, IoError> {
    if !storage.list()?.iter().any(|name| name == NAME) {
        return Ok(None);
    }
    let mut bytes = [0; BYTES_MAX];
    let count = storage.open(NAME)?.read_at(0, &mut bytes)?;
    Ok(std::str::from_utf8(&bytes[..count]).ok().map(|id| id.trim_end_matches('\0').to_owned()))
}

/// Notes the present start, durably.
pub(crate) fn note(storage: &dyn Storage, id: &str) -> Result<(), IoError> {
    const TEMPORARY: &str = "boot.tmp";
    if storage.list()?.iter().any(|name| name == TEMPORARY) {
        storage.remove(TEMPORARY)?;
    }
    let file = storage.create(TEMPORARY, id.len() as u64)?;
    file.write_at(0, id.as_bytes())?;
    file.sync()?;
    storage.rename(TEMPORARY, NAME)?;
    storage.sync_directory()
}
