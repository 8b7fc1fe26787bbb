//! The keys of the check. A value says which version of which key it is; versions of a key are written in ascending order by the one writer that
//! it belongs to, each after the answer to the one before, so that "older" can be decided.

/// Keys of each kind.
pub(crate) const EACH: usize = 24;
pub(crate) const KEYS: usize = 4 * EACH;
/// Keys `tagged` with the same remainder share a tag and a vector.
pub(crate) const GROUPS: usize = 4;
/// Likewise a source.
pub(crate) const SOURCES: usize = 3;

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Redis's commands, expiry, eviction, RENAME, FLUSHALL, SWAPDB.
    Plain,
    /// Native writes and invalidations.
    Tagged,
    /// Invalidations that are taken back, and generations of a space: old versions may return.
    Undone,
    /// The caches write them themselves, all of them, in no order, and sometimes give up before the answer.
    Shared,
}

pub(crate) fn kind(number: usize) -> Kind {
    [Kind::Plain, Kind::Tagged, Kind::Undone, Kind::Shared][number / EACH]
}

/// Its name.
pub(crate) fn name(number: usize) -> String {
    let letter = match kind(number) {
        Kind::Plain => "p",
        Kind::Tagged => "t",
        Kind::Undone => "u",
        Kind::Shared => "w",
    };
    format!("{letter}:{}", number % EACH)
}

/// The numbers of the keys of a kind.
pub(crate) fn of(kind: Kind) -> std::ops::Range<usize> {
    let first = kind as usize * EACH;
    first..first + EACH
}

/// Where it is written that all versions below one are gone, by who was told so.
pub(crate) fn acknowledgement(number: usize) -> String {
    format!("gone-below:{}", name(number))
}

pub(crate) fn value(number: usize, version: u64) -> String {
    format!("{version} {}", name(number))
}

/// The version in a value, which is one of this key.
pub(crate) fn version(number: usize, value: &str) -> Result<u64, String> {
    let parsed =
        value.split_once(' ').filter(|(_, key)| *key == name(number)).and_then(|(version, _)| version.parse().ok());
    parsed.ok_or_else(|| format!("{} has a value that was never written to it: {value:?}", name(number)))
}
