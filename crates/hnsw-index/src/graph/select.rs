//! Whom to be linked with: near rows, in different directions.

use super::Distances;
use super::nearness::Nearness;

/// Chooses at most `limit` of the candidates, which are sorted by their distance from one row (algorithm 4 of the
/// paper).
///
/// A candidate is taken unless one taken before it is nearer to it than the row is: then the way to it leads over that
/// one. If fewer than `fill` are found so, the nearest of those passed over make up the number.
pub(super) fn choose(distances: &impl Distances, candidates: &[Nearness], limit: usize, fill: usize) -> Vec<u32> {
    let mut taken: Vec<Nearness> = Vec::with_capacity(limit);
    let mut passed = Vec::new();
    for candidate in candidates {
        if taken.len() == limit {
            break;
        }
        if taken.iter().any(|other| covers(distances, *other, *candidate)) {
            passed.push(candidate.row());
        } else {
            taken.push(*candidate);
        }
    }
    let missing = fill.min(limit).saturating_sub(taken.len());
    taken.iter().map(|near| near.row()).chain(passed.into_iter().take(missing)).collect()
}

/// Whether the way to `far` leads over `near`; both are given by their distance from one row.
///
/// Of copies of one vector one covers the others, but not what is behind them: else a row with many copies would be
/// linked with copies only, or a row beside them with one of them only.
pub(super) fn covers(distances: &impl Distances, near: Nearness, far: Nearness) -> bool {
    let detour = distances.between(near.row(), far.row());
    detour < far.distance() || (detour == far.distance() && near.distance() == far.distance())
}
