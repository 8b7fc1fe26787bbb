//! The probabilistic access counter of 8 bits, with Redis's parameters, so that `OBJECT FREQ` reads alike.
//!
//! The counter grows ever more rarely: from value `c` one access in `10 × (c − 5) + 1` counts, so 255 stands for some
//! 300,000 accesses. The idea is Morris's (1978), the parameters are Redis's `lfu-log-factor 10` and initial value 5. New
//! entries start above zero so that they live long enough to show whether they are used.
//!
//! One counter serves every policy, so that a change of policy at run time finds sensible counters. Only the `*-lfu`
//! policies decay it, as users of `lfu-decay-time` expect; `cost` wants the counter as it was at the last access, since
//! its rank divides by the idle time anyway.

/// The counter of an entry at its first access.
pub const INITIAL: u8 = 5;

/// How much rarer each step above [`INITIAL`] makes the next.
const LOG_FACTOR: u32 = 10;

/// The counter after one more access. `random` decides whether the access counts.
#[must_use]
pub const fn touched(counter: u8, random: u32) -> u8 {
    let one_in = LOG_FACTOR * counter.saturating_sub(INITIAL) as u32 + 1;
    // True for one random number in `one_in`, without a division's remainder: the high half of the product.
    let counts = (random as u64 * one_in as u64) >> 32 == 0;
    if counts { counter.saturating_add(1) } else { counter }
}

/// The counter after lying idle: one less for each whole `decay_ms_per_step`. A step of 0 never decays.
#[must_use]
pub fn decayed(counter: u8, idle_ms: u32, decay_ms_per_step: u32) -> u8 {
    let steps = idle_ms.checked_div(decay_ms_per_step).unwrap_or(0);
    counter.saturating_sub(u8::try_from(steps).unwrap_or(u8::MAX))
}

/// How many accesses it takes on average to bring a new entry's counter here: 1 for [`INITIAL`] and below.
#[must_use]
pub const fn accesses(counter: u8) -> u32 {
    let steps = counter.saturating_sub(INITIAL) as u32;
    // 1 + the sum of (LOG_FACTOR × i + 1) over i in 0..steps
    1 + steps + LOG_FACTOR * steps * steps.saturating_sub(1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_steps_are_certain_and_later_ones_rarer() {
        assert_eq!(touched(0, u32::MAX), 1);
        assert_eq!(touched(INITIAL, u32::MAX), 6);
        assert_eq!(touched(6, u32::MAX / 11), 7);
        assert_eq!(touched(6, u32::MAX / 11 + 2), 6);
        assert_eq!(touched(255, 0), 255);
    }

    #[test]
    fn the_estimate_matches_what_counting_does() {
        assert_eq!([0, 5, 6, 7, 8].map(accesses), [1, 1, 2, 13, 34]);
        let seed = 0x9E37_79B9_7F4A_7C15_u64;
        let (mut state, mut total) = (seed, 0_u64);
        let runs = 300_u64;
        for _ in 0..runs {
            let mut counter = INITIAL;
            total += 1;
            while counter < 20 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                counter = touched(counter, (state >> 32) as u32);
                total += 1;
            }
        }
        let mean = total as f64 / runs as f64;
        let expected = f64::from(accesses(20));
        assert!((mean / expected - 1.0).abs() < 0.1, "seed {seed:#x}: {mean} accesses, expected {expected}");
    }

    #[test]
    fn idle_time_takes_one_for_each_step_and_never_goes_below_zero() {
        assert_eq!(decayed(10, 59_999, 60_000), 10);
        assert_eq!(decayed(10, 60_000, 60_000), 9);
        assert_eq!(decayed(10, 600_000, 60_000), 0);
        assert_eq!(decayed(255, u32::MAX, 1), 0);
        assert_eq!(decayed(10, u32::MAX, 0), 10);
    }

    #[test]
    fn the_estimate_rises_with_every_step() {
        for counter in INITIAL..255 {
            assert!(accesses(counter) < accesses(counter + 1));
        }
    }
}
