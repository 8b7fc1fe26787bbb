//! Random numbers that a printed seed brings back.

/// SplitMix64 (Steele, Lea and Flood 2014): any seed will do, and a test needs no better.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0. The bias of the remainder is far below what any test here could notice.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `times`.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// The seed of this run: `SUTRA_SEED` if it is set, otherwise one that differs from run to run. It is printed, so that a failure names it.
pub(crate) fn run_seed(test: &str) -> u64 {
    let seed = match std::env::var("SUTRA_SEED") {
        Ok(text) => text.parse().expect("SUTRA_SEED is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64),
    };
    eprintln!("{test}: SUTRA_SEED={seed}");
    seed
}
