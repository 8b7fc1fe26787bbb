//! Random numbers that are the same in every run, and values that can be told from each other.

/// splitmix64 (Steele, Lea, Flood 2014): fast, and every seed is good.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // Lemire's multiplication; the bias of 2^-64 × bound matters to no benchmark.
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// Fills `value` with bytes that depend on `key` and on nothing else, so that a reader can tell a wrong value.
pub(crate) fn fill(key: u64, value: &mut [u8]) {
    let mut random = Random::new(key ^ 0x5EED_0F5A_17B0_0157);
    for chunk in value.chunks_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
    }
}

/// Bytes of every key that [`key`] makes.
pub(crate) const KEY_BYTES: usize = 16;

/// The name of a key: 16 bytes.
pub(crate) fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_their_numbers_in_sixteen_bytes() {
        assert_eq!(&key(0), b"key:000000000000");
        assert_eq!(&key(123_456_789_012), b"key:123456789012");
    }

    #[test]
    fn values_depend_on_their_key_and_have_every_length() {
        for bytes in [0, 1, 7, 8, 9, 3072] {
            let (mut a, mut b, mut again) = (vec![0; bytes], vec![0; bytes], vec![0; bytes]);
            fill(1, &mut a);
            fill(2, &mut b);
            fill(1, &mut again);
            assert_eq!(a, again);
            assert!(bytes < 2 || a != b);
        }
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let mut random = Random::new(7);
        let mut seen = [false; 10];
        for _ in 0..1000 {
            seen[random.below(10) as usize] = true;
        }
        assert_eq!(seen, [true; 10]);
    }
}
