//! Concurrent histories: writers, readers, holders of leases and invalidators run over one shard; every operation notes when it began and
//! when it was answered, by one counter; then the history is judged against the promises. Each promise's check is shown to see a planted fault.
//!
//! 1. What is found by meaning has that meaning. No answer shows an entry that was covered by an invalidation answered before the answer's question was asked, unless the entry may have
//!    been set after it. An entry set with a lease that was granted before the invalidation began may not.
//! 2. Once a reader has seen one entry of an invalidation's set gone, it sees none of them again, also not in the same answer.
//! 3. No write with a lease is let in if something that covers it was answered between the lease and the write.
//!
//! `SUTRA_MEANING_ROUNDS` multiplies the length of a history.

#![expect(clippy::unwrap_used, reason = "a thread's failure is a failure of the test")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use sutra_eviction::Policy;
use sutra_shard::{
    Annotations, Fault, Filters, Guard, Invalidation, LeaseGrant, Limits, Lookup, Metric, Options, Put, Quantization,
    Scope, Search, Shard, Space, SpaceOptions, VectorOf,
};
use sutra_testkit::segments::SimSegments;
use sutra_testkit::storage::{Faults, Random, SimStorage};

const NOW_MS: u64 = 1_800_000_000_000;
/// Keys of one group, which are written, and invalidated, together.
const GROUP: u64 = 24;
const GROUPS: u64 = 4;
/// Keys that everybody writes.
const NOISE: u64 = 12;
/// The space has one direction for each group and some for the noise, far enough from each other.
const DIRECTIONS: u64 = GROUPS + 4;

fn rounds() -> u64 {
    let given = std::env::var("SUTRA_MEANING_ROUNDS").ok().and_then(|text| text.parse().ok());
    60 * given.unwrap_or(1)
}

/// The counter from which all times come.
#[derive(Default)]
struct Clock(AtomicU64);

impl Clock {
    fn now(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    start: u64,
    end: u64,
}

/// An entry that was written; its number is its value.
#[derive(Clone, Debug)]
struct Write {
    number: u64,
    key: String,
    direction: u64,
    span: Span,
    lease: Option<Span>,
}

/// What an invalidation covers: a direction, by vector or by tag, or keys that begin so.
#[derive(Clone, Debug, PartialEq)]
enum Cover {
    Near(u64),
    Tag(u64),
    Keys(String),
}

/// Something that was answered.
#[derive(Clone, Debug)]
enum Event {
    Wrote(Write),
    Deleted {
        key: String,
        span: Span,
    },
    Invalidated {
        cover: Cover,
        span: Span,
    },
    /// The numbers of the entries that an answer showed; the group whose entries it was asked for, and how many of them; the direction, if it
    /// was asked by meaning.
    Saw {
        numbers: Vec<u64>,
        asked: Option<(u64, usize)>,
        near: Option<u64>,
        span: Span,
    },
}

impl Cover {
    fn covers(&self, key: &str, direction: u64) -> bool {
        match self {
            Cover::Near(wanted) | Cover::Tag(wanted) => *wanted == direction,
            Cover::Keys(prefix) => key.starts_with(prefix),
        }
    }
}

/// What all threads share.
struct Stage {
    shard: Shard,
    space: Arc<Space>,
    clock: Clock,
    numbers: AtomicU64,
    is_over: AtomicBool,
    barrier: Barrier,
    seed: u64,
}

fn vector(direction: u64, spread: f32) -> Vec<u8> {
    let mut vector = [0f32; DIRECTIONS as usize];
    vector[direction as usize] = 1.0;
    vector[(direction as usize + 1) % DIRECTIONS as usize] = spread;
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn number_of(value: &[u8]) -> u64 {
    u64::from_le_bytes(value.try_into().unwrap())
}

/// One thread's view of the stage, and its part of the history.
struct Actor<'a> {
    stage: &'a Stage,
    random: Random,
    events: Vec<Event>,
}

impl<'a> Actor<'a> {
    fn new(stage: &'a Stage, role: u64) -> Actor<'a> {
        stage.barrier.wait();
        Actor { stage, random: Random::new(stage.seed ^ role << 32), events: Vec::new() }
    }

    fn timed<R>(&self, act: impl FnOnce(&Stage) -> R) -> (R, Span) {
        let start = self.stage.clock.now();
        let result = act(self.stage);
        (result, Span { start, end: self.stage.clock.now() })
    }

    fn write(&mut self, key: &str, direction: u64, lease: Option<(&str, Span)>) -> bool {
        let number = self.stage.numbers.fetch_add(1, Ordering::Relaxed);
        let spread = self.random.below(100) as f32 / 1000.0;
        let (wrote, span) = self.timed(|stage| {
            let (vector, tag) = (vector(direction, spread), format!("tag:{direction}"));
            let tags = [tag.as_bytes()];
            let annotations = Annotations {
                space: Some(&stage.space),
                vector: VectorOf::Given(&vector),
                tags: &tags,
                ..Annotations::default()
            };
            let token = lease.map(|(token, _)| token.as_bytes());
            let mut txn = stage.shard.begin(Scope::Key(key.as_bytes()), NOW_MS);
            let value = number.to_le_bytes();
            let wrote = txn.put_annotated(0, key.as_bytes(), &value, Put::default(), &annotations, token);
            drop(txn);
            wrote.is_ok()
        });
        assert!(wrote || lease.is_some(), "a write without a lease is refused");
        if wrote {
            let lease = lease.map(|(_, granted)| granted);
            self.events.push(Event::Wrote(Write { number, key: key.to_owned(), direction, span, lease }));
        }
        wrote
    }

    fn overwrite_plainly(&mut self, key: &str) {
        // A plain entry has a number of its own, which no invalidation by meaning covers.
        let (_, span) = self.timed(|stage| {
            let mut txn = stage.shard.begin(Scope::Key(key.as_bytes()), NOW_MS);
            txn.put(0, key.as_bytes(), &u64::MAX.to_le_bytes(), Put::default()).unwrap();
        });
        self.events.push(Event::Deleted { key: key.to_owned(), span });
    }

    fn delete(&mut self, key: &str) {
        let (_, span) =
            self.timed(|stage| stage.shard.begin(Scope::Key(key.as_bytes()), NOW_MS).delete(0, key.as_bytes()));
        self.events.push(Event::Deleted { key: key.to_owned(), span });
    }

    fn invalidate(&mut self, cover: Cover) {
        let (_, span) = self.timed(|stage| {
            let (mut tag, mut pattern) = (String::new(), String::new());
            let query = match &cover {
                Cover::Near(direction) => Some(stage.space.query(&vector(*direction, 0.05)).unwrap()),
                Cover::Tag(direction) => {
                    tag = format!("tag:{direction}");
                    None
                }
                Cover::Keys(prefix) => {
                    pattern = format!("{prefix}*");
                    None
                }
            };
            let tags = [tag.as_bytes()];
            let invalidation = Invalidation {
                meaning: query.as_ref().map(|query| (&stage.space, query, 0.9)),
                tags: if tag.is_empty() { &[] } else { &tags },
                glob: if pattern.is_empty() { None } else { Some(pattern.as_bytes()) },
                ..Invalidation::default()
            };
            stage.shard.invalidate(&invalidation, NOW_MS).unwrap();
        });
        self.events.push(Event::Invalidated { cover, span });
    }

    fn get(&mut self, key: &str, asked: Option<(u64, usize)>) {
        let (number, span) = self.timed(|stage| {
            let txn = stage.shard.begin(Scope::Key(key.as_bytes()), NOW_MS);
            txn.string(0, key.as_bytes()).unwrap().map(|value| number_of(value.as_slice()))
        });
        self.events.push(Event::Saw { numbers: number.into_iter().collect(), asked, near: None, span });
    }

    fn search(&mut self, direction: u64, asked: Option<(u64, usize)>) {
        let (numbers, span) = self.timed(|stage| {
            let query = stage.space.query(&vector(direction, 0.05)).unwrap();
            let (filters, min) = (Filters::default(), Some(0.9));
            let (space, count) = (&stage.space, 1000);
            let search = Search {
                db: 0,
                space,
                query: &query,
                count,
                min,
                filters,
                exact: true,
                ef: None,
                with_values: true,
                reader: None,
            };
            let hits = stage.shard.search(&search, NOW_MS).unwrap();
            hits.iter().map(|hit| number_of(&hit.value)).collect()
        });
        self.events.push(Event::Saw { numbers, asked, near: Some(direction), span });
    }

    fn lookup(&mut self, direction: u64) {
        let (number, span) = self.timed(|stage| {
            let query = stage.space.query(&vector(direction, 0.05)).unwrap();
            let lookup = Lookup {
                db: 0,
                space: &stage.space,
                query: &query,
                min: 0.9,
                filters: Filters::default(),
                asked: None,
                runner_up: true,
                exact: false,
                ef: None,
                reader: None,
            };
            let hit = stage.shard.lookup(&lookup, NOW_MS).unwrap();
            hit.map(|hit| {
                assert!(hit.similarity >= 0.9);
                number_of(&hit.value)
            })
        });
        self.events.push(Event::Saw {
            numbers: number.into_iter().collect(),
            asked: None,
            near: Some(direction),
            span,
        });
    }

    // ---- roles ----

    /// Writes a group and invalidates it, over and over; nobody else changes it.
    fn keep_group(mut self, group: u64) -> Vec<Event> {
        for round in 0..rounds() {
            for member in 0..GROUP {
                self.write(&format!("group:{group}:{member}"), group, None);
            }
            let cover = match (group + round) % 3 {
                0 => Cover::Near(group),
                1 => Cover::Tag(group),
                _ => Cover::Keys(format!("group:{group}:")),
            };
            self.invalidate(cover);
        }
        self.events
    }

    fn read(mut self) -> Vec<Event> {
        while !self.stage.is_over.load(Ordering::Relaxed) {
            let group = self.random.below(GROUPS);
            let noise = self.random.below(NOISE);
            match self.random.below(10) {
                0..=3 => {
                    let member = self.random.below(GROUP);
                    self.get(&format!("group:{group}:{member}"), Some((group, 1)));
                }
                4..=6 => self.search(group, Some((group, GROUP as usize))),
                7 => self.get(&format!("noise:{noise}"), None),
                8 => self.lookup(GROUPS + noise % 4),
                _ => self.search(GROUPS + noise % 4, None),
            }
        }
        self.events
    }

    /// Writes, deletes, invalidates and leases keys that others write as well.
    fn disturb(mut self) -> Vec<Event> {
        while !self.stage.is_over.load(Ordering::Relaxed) {
            let key = format!("noise:{}", self.random.below(NOISE));
            let direction = GROUPS + self.random.below(4);
            match self.random.below(16) {
                0..=3 => {
                    self.write(&key, direction, None);
                }
                4 => self.overwrite_plainly(&key),
                5 => self.delete(&key),
                6 => self.invalidate(Cover::Near(direction)),
                7 => self.invalidate(Cover::Tag(direction)),
                8 => self.invalidate(Cover::Keys(key)),
                9 => {
                    self.stage.shard.tick(NOW_MS);
                }
                10 => self.stage.shard.checkpoint(NOW_MS).unwrap(),
                _ => self.compute(&key, direction),
            }
        }
        self.events
    }

    /// Only computes.
    fn hold_leases(mut self) -> Vec<Event> {
        while !self.stage.is_over.load(Ordering::Relaxed) {
            let key = format!("noise:{}", self.random.below(NOISE));
            let direction = GROUPS + self.random.below(4);
            self.compute(&key, direction);
        }
        self.events
    }

    /// Takes a lease, computes for a while, and writes with it.
    fn compute(&mut self, key: &str, direction: u64) {
        let by_meaning = self.random.one_in(3);
        let owner = self.random.number();
        let (grant, granted) = self.timed(|stage| {
            if by_meaning {
                let query = stage.space.query(&vector(direction, 0.05)).unwrap();
                stage.shard.lease_meaning(0, &stage.space, (&query, 0.9), 1_000_000, owner, NOW_MS)
            } else {
                stage.shard.begin(Scope::Key(key.as_bytes()), NOW_MS).lease(0, key.as_bytes(), 1_000_000, owner)
            }
        });
        let LeaseGrant::Granted { token } = grant else { return };
        (0..self.random.below(40)).for_each(|_| std::thread::yield_now());
        if !self.write(key, direction, Some((&token, granted))) {
            let mut txn = self.stage.shard.begin(Scope::Key(key.as_bytes()), NOW_MS);
            txn.release_lease(0, key.as_bytes(), token.as_bytes());
        }
    }
}

/// Plays a history and judges it.
fn play(seed: u64, mapped: bool, fault: Option<Fault>) -> Result<(), String> {
    let limits = Limits { max_memory_bytes: 16 << 20, max_entries: 0, policy: Policy::NoEviction };
    let options = Options { mapped, limits, seed: 3, ..Options::new("simulated") };
    let segments: Box<dyn sutra_mmap_store::SegmentSpace> =
        if mapped { Box::new(SimSegments::new()) } else { Box::new(sutra_mmap_store::Anonymous) };
    let storage = Arc::new(SimStorage::new(seed, Faults::default()));
    let (shard, _) = Shard::open_on(storage, segments, &options, NOW_MS).map_err(|error| error.to_string())?;
    let space_options = SpaceOptions {
        dimension: DIRECTIONS as usize,
        metric: Metric::Cosine,
        embedder: String::new(),
        quantization: Quantization::Cascade,
        guard: Guard::default(),
    };
    let space = shard.create_space(b"s", &space_options).map_err(|error| error.to_string())?;
    if let Some(fault) = fault {
        shard.plant_fault(fault);
    }
    let (readers, disturbers, holders) = (2, 2, 2);
    let stage = Stage {
        shard,
        space,
        clock: Clock::default(),
        numbers: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        barrier: Barrier::new((GROUPS + readers + disturbers + holders) as usize),
        seed,
    };
    let histories: Vec<Vec<Event>> = std::thread::scope(|scope| {
        let stage = &stage;
        let keepers: Vec<_> =
            (0..GROUPS).map(|group| scope.spawn(move || Actor::new(stage, group).keep_group(group))).collect();
        let others: Vec<_> = (0..readers)
            .map(|reader| scope.spawn(move || Actor::new(stage, 100 + reader).read()))
            .chain((0..disturbers).map(|number| scope.spawn(move || Actor::new(stage, 200 + number).disturb())))
            .chain((0..holders).map(|number| scope.spawn(move || Actor::new(stage, 300 + number).hold_leases())))
            .collect();
        let mut histories: Vec<Vec<Event>> = keepers.into_iter().map(|keeper| keeper.join().unwrap()).collect();
        stage.is_over.store(true, Ordering::Relaxed);
        histories.extend(others.into_iter().map(|other| other.join().unwrap()));
        histories
    });
    stage.shard.check_meaning(NOW_MS)?;
    judge(&histories)
}

// ---- judging ----

fn judge(histories: &[Vec<Event>]) -> Result<(), String> {
    let all = || histories.iter().flatten();
    let writes: HashMap<u64, &Write> = all()
        .filter_map(|event| match event {
            Event::Wrote(write) => Some((write.number, write)),
            Event::Deleted { .. } | Event::Invalidated { .. } | Event::Saw { .. } => None,
        })
        .collect();
    let invalidations: Vec<(&Cover, Span)> = all()
        .filter_map(|event| match event {
            Event::Invalidated { cover, span } => Some((cover, *span)),
            Event::Wrote(_) | Event::Deleted { .. } | Event::Saw { .. } => None,
        })
        .collect();
    judge_exactness(histories, &writes, &invalidations)?;
    judge_leases(histories, &writes, &invalidations)?;
    histories.iter().try_for_each(|history| judge_atomicity(history, &writes, &invalidations))
}

/// Whether an entry was there before an invalidation, or is made from what was known before it.
fn is_before(write: &Write, invalidation: Span) -> bool {
    write.span.end < invalidation.start || write.lease.is_some_and(|granted| granted.end < invalidation.start)
}

fn judge_exactness(
    histories: &[Vec<Event>],
    writes: &HashMap<u64, &Write>,
    invalidations: &[(&Cover, Span)],
) -> Result<(), String> {
    // From when on an entry must not be seen.
    let ends: HashMap<u64, Span> = writes
        .values()
        .filter_map(|write| {
            let after = invalidations
                .iter()
                .filter(|(cover, span)| is_before(write, *span) && cover.covers(&write.key, write.direction));
            after.map(|(_, span)| *span).min_by_key(|span| span.end).map(|span| (write.number, span))
        })
        .collect();
    for event in histories.iter().flatten() {
        let Event::Saw { numbers, near, span, .. } = event else { continue };
        for number in numbers {
            let direction = writes.get(number).map(|write| write.direction);
            if near.is_some() && direction != *near {
                return Err(format!("an entry of direction {direction:?} is found in direction {near:?} at {span:?}"));
            }
            if let Some(end) = ends.get(number)
                && end.end < span.start
            {
                return Err(format!("{:?} is shown at {span:?}, after the invalidation at {end:?}", writes[number]));
            }
        }
    }
    Ok(())
}

fn judge_leases(
    histories: &[Vec<Event>],
    writes: &HashMap<u64, &Write>,
    invalidations: &[(&Cover, Span)],
) -> Result<(), String> {
    for write in writes.values() {
        let Some(granted) = write.lease else { continue };
        let between = |span: &Span| granted.end < span.start && span.end < write.span.start;
        let covering = |(cover, span): &&(&Cover, Span)| between(span) && cover.covers(&write.key, write.direction);
        if let Some((cover, span)) = invalidations.iter().find(covering) {
            return Err(format!("{write:?} was let in after {cover:?} at {span:?}"));
        }
        for event in histories.iter().flatten() {
            let (key, span) = match event {
                Event::Wrote(other) if other.number != write.number => (&other.key, &other.span),
                Event::Deleted { key, span } => (key, span),
                Event::Wrote(_) | Event::Invalidated { .. } | Event::Saw { .. } => continue,
            };
            if *key == write.key && between(span) {
                return Err(format!("{write:?} was let in after {event:?}"));
            }
        }
    }
    Ok(())
}

fn judge_atomicity(
    history: &[Event],
    writes: &HashMap<u64, &Write>,
    invalidations: &[(&Cover, Span)],
) -> Result<(), String> {
    for group in 0..GROUPS {
        let name = format!("group:{group}:");
        let mut rounds: Vec<Span> = invalidations
            .iter()
            .filter(|(cover, _)| cover.covers(&format!("{name}0"), group))
            .map(|(_, span)| *span)
            .collect();
        rounds.sort_by_key(|span| span.start);
        // The round to which an entry belongs is the one whose invalidation came next.
        let round_of = |number: &u64| {
            let write = writes.get(number).filter(|write| write.key.starts_with(&name))?;
            Some(rounds.partition_point(|span| span.start < write.span.end))
        };
        let mut last_written = vec![0; rounds.len()];
        for write in writes.values().filter(|write| write.key.starts_with(&name)) {
            if let Some(round) = round_of(&write.number).filter(|round| *round < rounds.len()) {
                last_written[round] = last_written[round].max(write.span.end);
            }
        }
        let mut gone_since: HashMap<usize, Span> = HashMap::new();
        for event in history {
            let Event::Saw { numbers, asked: Some((asked, expected)), span, .. } = event else { continue };
            if *asked != group {
                continue;
            }
            let shown: Vec<usize> = numbers.iter().filter_map(round_of).collect();
            if let Some((round, since)) = shown.iter().find_map(|round| Some((round, gone_since.get(round)?))) {
                return Err(format!(
                    "round {round} of group {group} was seen gone at {since:?} and is shown at {span:?}"
                ));
            }
            // All of a round had been written before the question was asked, and something of it is not in the answer.
            let round = last_written.partition_point(|end| *end < span.start);
            if round == 0 || round > rounds.len() {
                continue;
            }
            let round = round - 1;
            let seen = shown.iter().filter(|own| **own == round).count();
            if seen < *expected {
                if seen > 0 {
                    return Err(format!("one answer shows {seen} of round {round} of group {group}, at {span:?}"));
                }
                gone_since.entry(round).or_insert(*span);
            }
        }
    }
    Ok(())
}

#[test]
fn no_history_breaks_a_promise() {
    for seed in 1..=2 {
        for mapped in [true, false] {
            if let Err(wrong) = play(seed, mapped, None) {
                panic!("seed {seed} mapped {mapped}: {wrong}");
            }
        }
    }
}

/// Plays until the fault is seen.
fn is_seen(fault: Fault) -> String {
    (1..=40)
        .find_map(|seed| play(seed, true, Some(fault)).err())
        .unwrap_or_else(|| panic!("no history shows {fault:?}"))
}

#[test]
fn an_invalidation_that_is_published_without_all_locks_is_seen() {
    is_seen(Fault::PublishWithoutLocks);
}

#[test]
fn a_sweep_that_misses_rows_is_seen() {
    let wrong = is_seen(Fault::SweepMissesRows);
    assert!(wrong.contains("after the invalidation") || wrong.contains("seen gone"), "{wrong}");
}

#[test]
fn readers_that_ignore_what_is_being_swept_are_seen() {
    let wrong = is_seen(Fault::ReadersIgnoreActive);
    assert!(wrong.contains("of group") || wrong.contains("after the invalidation"), "{wrong}");
}

#[test]
fn leases_that_ignore_invalidations_are_seen() {
    is_seen(Fault::LeasesIgnoreInvalidations);
}

#[test]
fn a_row_that_is_left_behind_is_seen() {
    let wrong = is_seen(Fault::RowLeftBehind);
    assert!(wrong.contains("rows"), "{wrong}");
}
