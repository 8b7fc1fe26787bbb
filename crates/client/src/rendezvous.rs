//! Which of several shards a key belongs to: weighted rendezvous hashing.
//!
//! Every node draws a number for every key from a hash of both, and the node with the best draw has the key ("highest random weight",
//! Thaler and Ravishankar 1998). A node that comes takes exactly the keys for which it draws best, from all others in proportion; a node that
//! goes leaves exactly its own, to the second best of each. Nothing else moves. Weights are by the logarithmic method of Schindelhauer
//! and Schomaker (2005): a draw u in (0, 1) becomes −ln(u) / weight, an exponentially distributed time whose rate is the weight, and the
//! earliest wins: each node in proportion to its weight, exactly. A ring of virtual nodes balances less well and needs tables;
//! jump hashing can only remove its last node.
//!
//! Routes are equal in every process, on every machine, in every version: the hash is XXH3 with fixed seeds, and the logarithm is computed
//! here, from additions, multiplications and divisions that IEEE 754 rounds the same everywhere; the platform's `ln` may differ in its last
//! bit. Tests pin routes; one that changes would move keys away from their values.
//!
//! As in a Redis Cluster, of a key with `{` … `}` only what is between the first `{` and the next `}` counts, unless that is empty: keys that
//! belong together can be kept together.
//!
//! ```
//! use sutra_cache_client::rendezvous::Rendezvous;
//!
//! let mut shards = Rendezvous::new();
//! shards.add("shard-a", 1.0)?;
//! shards.add("shard-b", 1.0)?;
//! shards.add("shard-c", 2.0)?;
//! let home = shards.route(b"cache:answers:acme:42").unwrap().to_owned();
//! // The next in rank is where the key goes if its shard is away.
//! let ranked = shards.ranked(b"cache:answers:acme:42", 2);
//! assert_eq!(ranked[0], home);
//! let next = ranked[1].to_owned();
//! shards.remove(&home);
//! assert_eq!(shards.route(b"cache:answers:acme:42").unwrap(), next);
//! assert_eq!(shards.route(b"{user:7}:a"), shards.route(b"{user:7}:b"));
//! # Ok::<(), sutra_cache_client::rendezvous::NodeError>(())
//! ```

use std::cmp::Ordering;
use std::fmt;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Nodes that share the keys between them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rendezvous {
    /// By name, so that the order in which they came makes no difference.
    nodes: Vec<Node>,
}

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    name: String,
    weight: f64,
    seed: u64,
}

/// Why a node is not added.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum NodeError {
    /// There is one of this name.
    Known,
    /// A weight is a finite number above 0.
    Weight(f64),
}

impl Rendezvous {
    /// No nodes.
    #[must_use]
    pub fn new() -> Rendezvous {
        Rendezvous::default()
    }

    /// Adds a node. It is known by its name alone: give it one that stays when its address changes. The weight says how large its share is,
    /// beside the weights of the others.
    ///
    /// # Errors
    /// If there is a node of this name, or the weight is none.
    pub fn add(&mut self, name: &str, weight: f64) -> Result<(), NodeError> {
        if !weight.is_finite() || weight <= 0.0 {
            return Err(NodeError::Weight(weight));
        }
        match self.find(name) {
            Ok(_) => Err(NodeError::Known),
            Err(place) => {
                self.nodes.insert(place, Node { name: name.to_owned(), weight, seed: xxh3_64(name.as_bytes()) });
                Ok(())
            }
        }
    }

    /// Removes the node; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.find(name).map(|place| self.nodes.remove(place)).is_ok()
    }

    /// The nodes, by name.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The name of the node that has the key; `None` if there are no nodes.
    #[must_use]
    pub fn route(&self, key: &[u8]) -> Option<&str> {
        self.route_index(key).map(|index| self.nodes[index].name())
    }

    /// The place in [`Rendezvous::nodes`] of the node that has the key; `None` if there are no nodes.
    #[must_use]
    pub fn route_index(&self, key: &[u8]) -> Option<usize> {
        let key = xxh3_64(hash_tag(key));
        let times = self.nodes.iter().map(|node| node.time(key)).enumerate();
        // Of equal times the first is taken: the node with the smaller name.
        times.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index)
    }

    /// The names of the `count` nodes that are first in line for the key, the one that has it in front.
    #[must_use]
    pub fn ranked(&self, key: &[u8], count: usize) -> Vec<&str> {
        let key = xxh3_64(hash_tag(key));
        let mut times: Vec<(f64, &str)> = self.nodes.iter().map(|node| (node.time(key), node.name())).collect();
        times.sort_by(|a, b| a.0.total_cmp(&b.0).then(Ordering::Equal));
        times.into_iter().take(count).map(|(_, name)| name).collect()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| node.name.as_str().cmp(name))
    }
}

impl Node {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its share beside the others.
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.weight
    }

    fn time(&self, key: u64) -> f64 {
        -ln(share(xxh3_64_with_seed(&key.to_le_bytes(), self.seed))) / self.weight
    }
}

/// The part of a key that decides where it goes: what is between its first `{` and the next `}`, if that is not empty; otherwise all of it.
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let tag = || {
        let open = key.iter().position(|byte| *byte == b'{')?;
        let behind = &key[open + 1..];
        let close = behind.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &behind[..close])
    };
    tag().unwrap_or(key)
}

/// 52 bits of the hash as a number between 0 and 1, and never one of them.
fn share(hash: u64) -> f64 {
    ((hash >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

/// The natural logarithm of a normal number, the same on every machine.
///
/// x = m · 2^e with m near 1, and ln m = 2 artanh z = 2 (z + z³/3 + z^5/5 + …) with z = (m − 1) / (m + 1). |z| is below 0.172, so that after
/// z^21 what is left out is below 10^−18.
fn ln(x: f64) -> f64 {
    const MANTISSA_BITS: u64 = 52;
    const MANTISSA: u64 = (1 << MANTISSA_BITS) - 1;
    const BIAS: i32 = 1023;
    let bits = x.to_bits();
    let mut exponent = (bits >> MANTISSA_BITS) as i32 - BIAS;
    let mut m = f64::from_bits(bits & MANTISSA | (BIAS as u64) << MANTISSA_BITS);
    if m > std::f64::consts::SQRT_2 {
        m /= 2.0;
        exponent += 1;
    }
    let z = (m - 1.0) / (m + 1.0);
    let square = z * z;
    let mut sum = 0.0;
    for odd in [21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum * square + 1.0 / odd;
    }
    2.0 * z * sum + f64::from(exponent) * std::f64::consts::LN_2
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeError::Known => f.write_str("there is a node of this name"),
            NodeError::Weight(weight) => write!(f, "a weight is a finite number above 0, got {weight}"),
        }
    }
}

impl std::error::Error for NodeError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEYS: usize = 50_000;

    fn nodes(nodes: &[(&str, f64)]) -> Rendezvous {
        let mut all = Rendezvous::new();
        nodes.iter().for_each(|(name, weight)| all.add(name, *weight).expect("names differ"));
        all
    }

    fn routes(nodes: &Rendezvous) -> Vec<String> {
        let route = |index: usize| nodes.route(format!("cache:answers:acme:{index}").as_bytes()).map(str::to_owned);
        (0..KEYS).map(|index| route(index).expect("there are nodes")).collect()
    }

    fn share_of(routes: &[String], name: &str) -> f64 {
        routes.iter().filter(|route| *route == name).count() as f64 / routes.len() as f64
    }

    #[test]
    fn routes_stay_what_they_are() {
        let shards = nodes(&[("shard-0", 1.0), ("shard-1", 1.0), ("shard-2", 1.0), ("shard-3", 2.5)]);
        let keys = ["", "a", "b", "user:1", "user:2", "emb:m:0", "cache:answers:acme:1", "{tag}x", "{tag}y", "\u{e9}"];
        let routes: Vec<String> =
            keys.iter().map(|key| shards.ranked(key.as_bytes(), 4).join(" ").replace("shard-", "")).collect();
        assert_eq!(routes, GOLDEN);
    }
    const GOLDEN: [&str; 10] =
        ["3 0 2 1", "3 2 1 0", "3 0 2 1", "2 1 0 3", "1 3 0 2", "3 1 2 0", "3 1 0 2", "1 2 3 0", "1 2 3 0", "3 1 2 0"];

    #[test]
    fn the_hash_is_xxh3() {
        // From the reference implementation's tests.
        assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn a_new_node_takes_its_share_and_nothing_else_moves() {
        let before = nodes(&[("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.0)]);
        let mut after = before.clone();
        after.add("e", 1.0).unwrap();
        let (old, new) = (routes(&before), routes(&after));
        let moved: Vec<_> = old.iter().zip(&new).filter(|(old, new)| old != new).collect();
        assert!(moved.iter().all(|(_, new)| *new == "e"));
        let share = moved.len() as f64 / KEYS as f64;
        assert!((0.18..=0.22).contains(&share), "{share} moved, 0.2 is ideal");
        println!("added a fifth node: {share:.4} of the keys moved, 0.2 is ideal");
    }

    #[test]
    fn a_node_that_goes_leaves_its_own_keys_and_nothing_else_moves() {
        let before = nodes(&[("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.0), ("e", 1.0)]);
        let mut after = before.clone();
        assert!(after.remove("c") && !after.remove("c"));
        let (old, new) = (routes(&before), routes(&after));
        assert!(old.iter().zip(&new).all(|(old, new)| old == new || old == "c"));
        for name in ["a", "b", "d", "e"] {
            let share = share_of(&new, name);
            assert!((0.23..=0.27).contains(&share), "{name}: {share}");
        }
        let moved = share_of(&old, "c");
        assert!((0.18..=0.22).contains(&moved), "{moved}");
        println!("removed one of five: {moved:.4} of the keys moved, 0.2 is ideal");
    }

    #[test]
    fn each_has_keys_in_proportion_to_its_weight_and_more_weight_only_takes() {
        let before = nodes(&[("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0)]);
        let old = routes(&before);
        for (name, weight) in [("a", 0.1), ("b", 0.2), ("c", 0.3), ("d", 0.4)] {
            let share = share_of(&old, name);
            assert!((share - weight).abs() < 0.01, "{name}: {share}, {weight} is ideal");
        }
        let new = routes(&nodes(&[("a", 2.0), ("b", 2.0), ("c", 3.0), ("d", 4.0)]));
        assert!(old.iter().zip(&new).all(|(old, new)| old == new || new == "a"));
    }

    #[test]
    fn of_a_key_with_braces_only_the_tag_counts() {
        assert_eq!(hash_tag(b"{user}:1"), b"user");
        assert_eq!(hash_tag(b"a{b}{c}"), b"b");
        assert_eq!(hash_tag(b"a{{b}}"), b"{b");
        assert_eq!(hash_tag(b"a{}{c}"), b"a{}{c}");
        assert_eq!(hash_tag(b"a{b"), b"a{b");
        assert_eq!(hash_tag(b"a}b{"), b"a}b{");
        assert_eq!(hash_tag(b""), b"");
    }

    #[test]
    fn a_node_needs_a_name_of_its_own_and_a_weight() {
        let mut shards = nodes(&[("a", 1.0)]);
        assert_eq!(shards.add("a", 2.0), Err(NodeError::Known));
        assert_eq!(shards.add("b", 0.0), Err(NodeError::Weight(0.0)));
        assert!(shards.add("b", f64::NAN).is_err() && shards.add("b", f64::INFINITY).is_err());
        assert_eq!(shards.nodes().len(), 1);
        assert_eq!(Rendezvous::new().route(b"k"), None);
    }

    proptest! {
        #[test]
        fn the_order_of_coming_makes_no_difference_and_the_first_in_rank_has_the_key(
            names in proptest::collection::btree_set("[a-z]{1,4}", 1..8), key: Vec<u8>, count in 0..10_usize,
        ) {
            let forwards: Vec<_> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
            let backwards: Vec<_> = forwards.iter().rev().copied().collect();
            let (a, b) = (nodes(&forwards), nodes(&backwards));
            prop_assert_eq!(a.ranked(&key, count), b.ranked(&key, count));
            prop_assert_eq!(a.ranked(&key, count).len(), count.min(names.len()));
            prop_assert_eq!(a.route(&key), a.ranked(&key, 1).first().copied());
        }

        #[test]
        fn the_logarithm_is_that_of_the_platform_but_for_its_last_bits(hash: u64, shift in 0..52_u32) {
            let x = share(hash >> shift);
            let (ours, theirs) = (ln(x), x.ln());
            prop_assert!((ours - theirs).abs() <= 4.0 * f64::EPSILON * theirs.abs(), "ln {}: {} and {}", x, ours, theirs);
        }
    }
}
