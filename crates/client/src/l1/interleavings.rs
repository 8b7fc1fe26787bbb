//! The argument of the module's page, tried: every interleaving of a few reads, changes and a lost connection, step by step; and
//! threads that do the same at random speed.

use super::*;
use std::sync::atomic::AtomicBool;

const KEY: &[u8] = b"key";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    // A read of the shard.
    Begin,
    Answered,
    LockAndCompare,
    StoreAndUnlock,
    // A change, and what its push does here.
    Change,
    Raise,
    LockAndRemove,
    // A change whose push says that everything may have changed.
    RaiseAll,
    ClearAll,
    // The connection that brings pushes is lost, and another one made.
    Lose,
    BecomeOdd,
    Clear,
    Track,
    Resume,
}

const READ: &[Step] = &[Step::Begin, Step::Answered, Step::LockAndCompare, Step::StoreAndUnlock];
const CHANGE: &[Step] = &[Step::Change, Step::Raise, Step::LockAndRemove];
const CHANGE_OF_ALL: &[Step] = &[Step::Change, Step::RaiseAll, Step::ClearAll];
const LOSS: &[Step] = &[Step::Lose, Step::BecomeOdd, Step::Clear, Step::Track, Step::Resume];

#[derive(Default)]
struct Actor {
    ticket: Option<Ticket>,
    answer: u8,
    is_good: bool,
    /// The connection that the push of this actor's change is on, if there was one.
    pushed_on: Option<u8>,
}

/// Plays one order of the actors' steps. `None` if a lock forbids the order; otherwise whether what is in the first tier at the end, when all
/// pushes have been obeyed, is what the shard has.
fn play(l1: &L1, scripts: &[&[Step]], order: &[usize]) -> Option<bool> {
    l1.resume();
    l1.clear();
    let hash = l1.hash(KEY);
    let mut actors: Vec<Actor> = scripts.iter().map(|_| Actor::default()).collect();
    let mut next = vec![0; scripts.len()];
    let (mut shard, mut connection, mut tracked, mut locked_by) = (1_u8, 0_u8, true, None);
    for &who in order {
        let step = scripts[who][next[who]];
        next[who] += 1;
        let actor = &mut actors[who];
        let push_arrives = actor.pushed_on == Some(connection);
        let takes_lock = match step {
            Step::LockAndCompare | Step::Clear => true,
            Step::LockAndRemove | Step::ClearAll => push_arrives,
            Step::Begin
            | Step::Answered
            | Step::StoreAndUnlock
            | Step::Change
            | Step::Raise
            | Step::RaiseAll
            | Step::Lose
            | Step::BecomeOdd
            | Step::Track
            | Step::Resume => false,
        };
        if takes_lock && locked_by.is_some() {
            return None;
        }
        match step {
            Step::Begin => actor.ticket = Some(l1.begin(KEY)),
            Step::Answered => actor.answer = shard,
            Step::LockAndCompare => {
                actor.is_good = l1.is_good(actor.ticket.as_ref().expect("it has begun"));
                locked_by = Some(who);
            }
            Step::StoreAndUnlock => {
                if actor.is_good {
                    l1.store(hash).put(KEY, &[actor.answer], About::default());
                }
                locked_by = None;
            }
            Step::Change => {
                shard += 1;
                actor.pushed_on = tracked.then_some(connection);
            }
            Step::Raise if push_arrives => l1.raise(hash),
            Step::LockAndRemove if push_arrives => {
                l1.store(hash).invalidate(KEY);
            }
            Step::RaiseAll if push_arrives => {
                l1.epoch.fetch_add(2, Ordering::AcqRel);
            }
            Step::ClearAll if push_arrives => l1.clear(),
            Step::Raise | Step::LockAndRemove | Step::RaiseAll | Step::ClearAll => {}
            Step::Lose => {
                connection += 1;
                tracked = false;
            }
            Step::BecomeOdd => {
                l1.epoch.fetch_or(1, Ordering::AcqRel);
            }
            Step::Clear => l1.clear(),
            Step::Track => tracked = true,
            Step::Resume => l1.resume(),
        }
    }
    let left = l1.get(KEY, Instant::now());
    Some(left.is_none_or(|entry| *entry.value == [shard]))
}

/// Plays every order. How many were possible, and how many of them left a stale entry.
fn play_all(scripts: &[&[Step]], blind: bool) -> (u64, u64) {
    fn go(l1: &L1, scripts: &[&[Step]], left: &mut [usize], order: &mut Vec<usize>, found: &mut (u64, u64)) {
        if left.iter().all(|left| *left == 0) {
            if let Some(fresh) = play(l1, scripts, order) {
                found.0 += 1;
                found.1 += u64::from(!fresh);
            }
            return;
        }
        for who in 0..scripts.len() {
            if left[who] > 0 {
                left[who] -= 1;
                order.push(who);
                go(l1, scripts, left, order, found);
                order.pop();
                left[who] += 1;
            }
        }
    }
    let l1 = L1::new(L1Settings { entries_max: 4, bytes_max: 10_000, stores: 1 });
    if blind {
        l1.planted.plant(Fault::GenerationsIgnored);
    }
    let mut left: Vec<usize> = scripts.iter().map(|script| script.len()).collect();
    let mut found = (0, 0);
    go(&l1, scripts, &mut left, &mut Vec::new(), &mut found);
    found
}

#[test]
fn no_order_of_reads_changes_and_lost_connections_leaves_a_stale_entry() {
    for scripts in [
        &[READ, CHANGE][..],
        &[READ, READ, CHANGE],
        &[READ, CHANGE, CHANGE],
        &[READ, CHANGE, CHANGE_OF_ALL],
        &[READ, CHANGE, LOSS],
    ] {
        let (played, stale) = play_all(scripts, false);
        assert!(played > 20, "{played} orders of {scripts:?}");
        assert_eq!(stale, 0, "of {played} orders of {scripts:?}");
    }
}

#[test]
fn without_the_comparison_some_orders_do() {
    for scripts in [&[READ, CHANGE][..], &[READ, CHANGE_OF_ALL], &[READ, CHANGE, LOSS]] {
        let (played, stale) = play_all(scripts, true);
        assert!(stale > 0, "of {played} orders of {scripts:?}");
    }
}

#[test]
fn removing_before_raising_would_too() {
    let (played, stale) = play_all(&[READ, &[Step::Change, Step::LockAndRemove, Step::Raise]], false);
    assert!(stale > 0, "of {played} orders");
}

/// The order that the plays above take for granted, seen from outside: with the store locked, an invalidation cannot end, but tickets
/// must become bad.
#[test]
fn every_invalidation_spoils_tickets_before_it_waits_for_the_lock() {
    let invalidate_key = |l1: &L1| {
        l1.invalidate(KEY);
    };
    for invalidate in [invalidate_key, L1::invalidate_all, L1::suspend] {
        let l1 = L1::new(L1Settings { stores: 1, ..L1Settings::default() });
        let deadline = Instant::now() + std::time::Duration::from_secs(10);
        std::thread::scope(|scope| {
            let ticket = l1.begin(KEY);
            let lock = l1.store(ticket.hash);
            let thread = scope.spawn(|| invalidate(&l1));
            while l1.is_good(&ticket) {
                assert!(Instant::now() < deadline, "the ticket stays good until the lock is free");
                std::thread::yield_now();
            }
            assert!(!thread.is_finished());
            drop(lock);
        });
    }
}

#[test]
fn after_an_invalidation_no_thread_reads_an_older_value() {
    const KEYS: u8 = 4;
    const CHANGES: u64 = 4_000;
    let shard: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    // The versions below which nothing may be read any more: raised when an invalidation has returned.
    let floor: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let l1 = L1::new(L1Settings { entries_max: 64, bytes_max: 1 << 20, stores: 2 });
    let (done, kept) = (AtomicBool::new(false), AtomicU64::new(0));
    let version = |entry: &Entry| u64::from_le_bytes(entry.value[..].try_into().expect("eight bytes were stored"));
    let reader = || {
        let now = Instant::now();
        while !done.load(Ordering::Acquire) {
            for key in 0..KEYS {
                let least = floor[usize::from(key)].load(Ordering::Acquire);
                if let Some(entry) = l1.get(&[key], now) {
                    assert!(version(&entry) >= least, "version {} after {least} was invalidated", version(&entry));
                    continue;
                }
                let ticket = l1.begin(&[key]);
                let answer = shard[usize::from(key)].load(Ordering::Acquire);
                std::thread::yield_now();
                if l1.insert(ticket, &[key], &answer.to_le_bytes(), About::default()) {
                    kept.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(reader)).collect();
        for change in 0.. {
            // On a busy machine the readers may begin late.
            let has_raced = change >= CHANGES && kept.load(Ordering::Relaxed) > CHANGES / 100;
            if has_raced || readers.iter().any(std::thread::ScopedJoinHandle::is_finished) {
                break;
            }
            let key = (change % u64::from(KEYS)) as u8;
            let version = shard[usize::from(key)].fetch_add(1, Ordering::AcqRel) + 1;
            match change % 97 {
                0 => l1.invalidate_all(),
                1 => {
                    l1.suspend();
                    l1.resume();
                }
                2.. => drop(l1.invalidate(&[key])),
            }
            floor[usize::from(key)].store(version, Ordering::Release);
            std::thread::yield_now();
        }
        done.store(true, Ordering::Release);
        readers.into_iter().for_each(|reader| reader.join().expect("no stale read"));
    });
    for key in 0..KEYS {
        let last = shard[usize::from(key)].load(Ordering::Acquire);
        assert!(l1.get(&[key], Instant::now()).is_none_or(|entry| version(&entry) == last));
    }
}
