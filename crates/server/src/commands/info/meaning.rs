//! Spaces, what was found and removed by meaning, leases.

use super::{Facts, Text};
use crate::commands::cache::Tally;

pub(super) fn meaning(facts: &Facts<'_, '_, '_>, text: &mut Text) {
    let server = facts.cx.server;
    let spaces = server.shard.spaces();
    let tally = Tally::of_spaces(spaces.iter().map(|space| &**space));
    let keys = Tally::of_keys(server);
    text.field("meaning_embedder", server.embedding.name().unwrap_or("none"));
    text.field("meaning_spaces", spaces.len());
    text.field("meaning_lookups", tally.lookups);
    text.field("meaning_hits", tally.hits);
    text.field("meaning_misses", tally.misses);
    text.field("meaning_hit_rate", format_args!("{:.4}", tally.hit_rate().unwrap_or(0.0)));
    text.field("meaning_key_hits", keys.hits);
    text.field("meaning_key_misses", keys.misses);
    let saved_micro_usd = tally.saved_micro_usd + keys.saved_micro_usd;
    text.field("meaning_cost_saved_usd", format_args!("{:.6}", saved_micro_usd as f64 / 1e6));
    text.field("meaning_guarded", tally.guarded);
    let stats = server.shard.meaning_stats();
    text.field("meaning_vectors", stats.vectors);
    text.field("meaning_index_bytes", stats.index_bytes);
    let (graph_rows, behind) = server.shard.graph_rows();
    text.field("meaning_graph_rows", graph_rows);
    text.field("meaning_graph_rows_behind", behind);
    text.field("meaning_invalidations", stats.invalidations);
    text.field("meaning_invalidated", stats.invalidated);
    text.field("meaning_active_predicates", stats.active_predicates);
    text.field("meaning_holds", stats.holds);
    text.field("meaning_held_refused", stats.held_refused);
    text.field("meaning_leases", stats.leases);
    text.field("meaning_leases_granted", stats.leases_granted);
    text.field("meaning_leases_waited", stats.leases_waited);
    text.field("meaning_stale_refused", stats.stale_refused);
    text.field("meaning_undo_bytes", stats.undo_bytes);
    text.field("meaning_background_waiting", server.background.waiting());
}
