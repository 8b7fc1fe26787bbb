//! Whole policies over a small made-up trace: the same numbers on every machine.

#[path = "../examples/replay/store.rs"]
#[expect(dead_code, reason = "shared with the example, which prints more than is tested")]
mod store;
#[path = "../examples/replay/trace.rs"]
#[expect(dead_code, reason = "shared with the example, which also reads files")]
mod trace;

use store::{Layout, Score, play, play_exact_lru};
use sutra_eviction::{Policy, SEGMENTS_WANTED, VICTIMS_PER_GROUP};
use trace::Trace;

const SEED: u64 = 7;

/// 10 % of the bytes, with and without ties on the millisecond clock.
fn played(policy: Policy, requests_per_second: u64) -> (Score, Score) {
    let trace = Trace::synthetic(100_000, SEED);
    let memory_bytes = trace.bytes() / 10;
    // Small as the memory is, its segments are as many as those of a large one.
    let segment_bytes = (memory_bytes / SEGMENTS_WANTED) as u32;
    let layout = Layout { memory_bytes, segment_bytes, groups: 1, per_group: VICTIMS_PER_GROUP, requests_per_second };
    (play(&trace, policy, layout, SEED), play_exact_lru(&trace, memory_bytes))
}

#[test]
fn lru_by_rank_merge_is_within_a_point_of_exact_lru_at_any_speed() {
    for requests_per_second in [5_000, 200_000] {
        let (merged, exact) = played(Policy::AllkeysLru, requests_per_second);
        let (merged, exact) = (merged.ratios()[0], exact.ratios()[0]);
        assert!(merged > exact - 0.01, "{requests_per_second}/s: {merged} against {exact}");
    }
}

#[test]
fn cost_saves_more_recomputation_than_lru_and_lru_hits_more_than_random() {
    let cost = played(Policy::Cost, 5_000).0.ratios();
    let lru = played(Policy::AllkeysLru, 5_000).0.ratios();
    let random = played(Policy::AllkeysRandom, 5_000).0.ratios();
    assert!(cost[2] > lru[2] + 0.1, "cost {cost:?}, lru {lru:?}");
    assert!(lru[0] > random[0] + 0.01, "lru {lru:?}, random {random:?}");
}

#[test]
fn merging_writes_less_than_half_of_what_is_put() {
    for policy in [Policy::AllkeysLru, Policy::AllkeysLfu, Policy::Cost] {
        let (score, _) = played(policy, 5_000);
        assert!(score.write_amplification() <= 1.45, "{policy}: {}", score.write_amplification());
    }
}
