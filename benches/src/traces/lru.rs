//! Exact LRU without any overhead: the yardstick.

use super::trace::{Hits, Trace};

const NONE: u32 = u32::MAX;

/// A list of objects in the order of their last use, linked by object numbers.
struct Lru {
    /// Towards the older and the newer neighbour; an object that is not in the list has [`ABSENT`] in both.
    links: Vec<(u32, u32)>,
    oldest: u32,
    newest: u32,
}

const ABSENT: (u32, u32) = (NONE - 1, NONE - 1);

/// What the trace hits in a cache that holds `capacity` bytes of values and gives up the longest unused.
pub(super) fn replay(trace: &Trace, capacity: u64) -> Hits {
    let mut list = Lru { links: vec![ABSENT; trace.objects.len()], oldest: NONE, newest: NONE };
    let mut used = 0;
    let mut hits = Hits::default();
    for &number in &trace.requests {
        let object = trace.object(number);
        let hit = list.links[number as usize] != ABSENT;
        hits.count(object, hit);
        if hit {
            list.remove(number);
        } else {
            if u64::from(object.bytes) > capacity {
                continue;
            }
            used += u64::from(object.bytes);
            while used > capacity {
                let victim = list.oldest;
                list.remove(victim);
                used -= u64::from(trace.object(victim).bytes);
            }
        }
        list.push(number);
    }
    hits
}

impl Lru {
    fn push(&mut self, number: u32) {
        self.links[number as usize] = (self.newest, NONE);
        match self.newest {
            NONE => self.oldest = number,
            newest => self.links[newest as usize].1 = number,
        }
        self.newest = number;
    }

    fn remove(&mut self, number: u32) {
        let (older, newer) = std::mem::replace(&mut self.links[number as usize], ABSENT);
        match older {
            NONE => self.oldest = newer,
            older => self.links[older as usize].1 = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.links[newer as usize].0 = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::trace::Object;

    fn hits(requests: &[u32], capacity: u64) -> f64 {
        let object = Object { bytes: 1, cost_us: 1 };
        let trace = Trace { name: String::new(), objects: vec![object; 5], requests: requests.to_vec() };
        replay(&trace, capacity).object_percent()
    }

    #[test]
    fn the_longest_unused_goes_first() {
        // 0 is used again before 2 comes, so 1 goes and 0 stays.
        assert_eq!(hits(&[0, 1, 0, 2, 0, 1, 3, 4], 2), 25.0);
        // A loop one larger than the cache never hits; one that fits always does after the first round.
        assert_eq!(hits(&[0, 1, 2, 0, 1, 2], 2), 0.0);
        assert_eq!(hits(&[0, 1, 2, 0, 1, 2], 3), 50.0);
        assert_eq!(hits(&[0, 0], 0), 0.0);
    }

    #[test]
    fn lists_of_the_same_order_agree_with_a_vector() {
        let trace = Trace::synthetic(200, 5000);
        let capacity = trace.bytes() / 10;
        let (mut order, mut used, mut expected) = (Vec::<u32>::new(), 0, Hits::default());
        for &number in &trace.requests {
            let found = order.iter().position(|other| *other == number);
            expected.count(trace.object(number), found.is_some());
            match found {
                Some(at) => drop(order.remove(at)),
                None => used += u64::from(trace.object(number).bytes),
            }
            order.push(number);
            while used > capacity {
                used -= u64::from(trace.object(order.remove(0)).bytes);
            }
        }
        assert_eq!(replay(&trace, capacity), expected);
    }
}
