//! Power loss and process death in the midst of invalidations: a seeded program runs on simulated storage and segments until the machine
//! stops at some operation; what the next process serves, by key and by meaning, must be the state after one frame of the log, no earlier
//! than what was acknowledged. Then the program goes on with what is left, through several such ends, so that places which recovery emptied
//! are used again.
//!
//! `SUTRA_MEANING_ROUNDS` multiplies the number of programs.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail as the test does")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use sutra_eviction::Policy;
use sutra_shard::{
    Annotations, Filters, Guard, Invalidation, Limits, MeaningError, Metric, Options, Put, Quantization, Recovery,
    Scope, Search, Shard, Space, SpaceOptions, Value, VectorOf, WriteError, glob,
};
use sutra_testkit::segments::SimSegments;
use sutra_testkit::storage::{Faults, Random, SimStorage};
use sutra_wal::Lsn;

const NOW_MS: u64 = 1_800_000_000_000;
const KEYS: u64 = 40;
const GENERATIONS: u64 = 3;
const NAMES: [&str; 2] = ["near", "far"];
const GLOBS: [&[u8]; 4] = [b"*", b"key:1*", b"key:[0-4]*", b"plain:*"];
const HOLD_MS: u64 = 3_000_000;

#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    PowerLoss,
    ProcessDeath,
}

/// An entry: its value and, if it was annotated, its space, angle and tag.
#[derive(Clone, PartialEq, Debug)]
struct Item {
    value: Vec<u8>,
    note: Option<(u32, u32, Vec<u8>)>,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct State {
    items: BTreeMap<(u8, Vec<u8>), Item>,
    spaces: BTreeMap<&'static str, u32>,
    /// Databases in which keys `held:*` are refused.
    held: BTreeSet<u8>,
}

/// A state, and the frame that made it.
struct Made {
    lsn: Lsn,
    state: State,
    /// It was reached from the one before in several frames.
    in_steps: bool,
}

struct World {
    storage: SimStorage,
    segments: SimSegments,
}

struct Program {
    random: Random,
    shard: Shard,
    state: State,
    made: Vec<Made>,
    flushed: Lsn,
    /// What invalidations removed, by their LSN, and from which database.
    removed: BTreeMap<u64, (u8, Removed)>,
    /// Every invalidation, in order, for undoing one: its LSN and what it covers.
    wishes: Vec<(u64, Wish)>,
    /// All values are of one size, so that places are used again exactly.
    is_even: bool,
    has_checkpoints: bool,
}

type Removed = Vec<(Vec<u8>, Item)>;

#[derive(Clone, Debug)]
struct Wish {
    db: u8,
    space: Option<u32>,
    /// An angle, and how far from it.
    near: Option<(u32, u32)>,
    tag: Option<Vec<u8>>,
    glob: Option<&'static [u8]>,
    is_undone: bool,
}

fn options(mapped: bool) -> Options {
    // 64 KiB segments, and so few that merges and reuse happen all the time.
    let limits = Limits { max_memory_bytes: 2 << 20, max_entries: 0, policy: Policy::NoEviction };
    Options {
        mapped,
        limits,
        log_file_bytes: 16 << 10,
        checkpoint_log_bytes: 48 << 10,
        seed: 3,
        ..Options::new("simulated")
    }
}

fn open(world: &World, mapped: bool) -> Result<(Shard, Recovery), String> {
    let space: Box<dyn sutra_mmap_store::SegmentSpace> =
        if mapped { Box::new(world.segments.clone()) } else { Box::new(sutra_mmap_store::Anonymous) };
    Shard::open_on(Arc::new(world.storage.clone()), space, &options(mapped), NOW_MS).map_err(|error| error.to_string())
}

fn at(degrees: u32) -> Vec<u8> {
    let radians = (degrees as f32).to_radians();
    [radians.cos(), radians.sin(), 0.0, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect()
}

impl Wish {
    fn names_only(&self) -> bool {
        self.space.is_none() && self.tag.is_none()
    }

    fn covers(&self, key: &[u8], item: &Item) -> bool {
        if !self.glob.is_none_or(|pattern| glob::matches(pattern, key)) {
            return false;
        }
        match &item.note {
            None => self.names_only(),
            Some((space, degrees, tag)) => {
                self.space.is_none_or(|wanted| wanted == *space)
                    && self.near.is_none_or(|(centre, reach)| degrees.abs_diff(centre) <= reach)
                    && self.tag.as_ref().is_none_or(|wanted| wanted == tag)
            }
        }
    }
}

impl Program {
    fn space(&self, name: &str) -> Option<Arc<Space>> {
        self.shard.space(name.as_bytes())
    }

    fn done(&mut self, lsn: Option<Lsn>, in_steps: bool) {
        let (lsn, state) = (lsn.unwrap_or(Lsn(u64::MAX)), self.state.clone());
        self.made.push(Made { lsn, state, in_steps });
    }

    fn last(&self) -> Lsn {
        Lsn(self.shard.persistence().last_lsn)
    }

    fn write(&mut self) -> Result<(), WriteError> {
        let db = self.random.below(2) as u8;
        let number = self.random.below(KEYS);
        let len = if self.is_even { 3000 } else { [5, 300, 3000, 9000][self.random.below(4) as usize] };
        let value: Vec<u8> = (0..len).map(|_| self.random.number() as u8).collect();
        self.shard.make_room(len as u64 + 500, NOW_MS)?;
        let names: Vec<(&'static str, u32)> = self.state.spaces.iter().map(|(name, id)| (*name, *id)).collect();
        let is_plain = names.is_empty() || self.random.one_in(4);
        let kind = if is_plain { "plain" } else { "key" };
        let key = format!("{kind}:{number}").into_bytes();
        if is_plain {
            let as_hash = self.random.one_in(3);
            let mut txn = self.shard.begin(Scope::Key(&key), NOW_MS);
            if as_hash {
                txn.delete(db, &key);
                txn.hash_set(db, &key, &[(b"f", b"v")], false)?;
            } else {
                txn.put(db, &key, &value, Put::default())?;
            }
            let lsn = txn.commit()?;
            let value = if as_hash { b"a hash".to_vec() } else { value };
            self.state.items.insert((db, key), Item { value, note: None });
            self.done(lsn, false);
            return Ok(());
        }
        let (name, id) = names[self.random.below(names.len() as u64) as usize];
        let Some(space) = self.space(name) else { return Ok(()) };
        let degrees = self.random.below(90) as u32;
        let tag = [b"red".to_vec(), b"blue".to_vec()][self.random.below(2) as usize].clone();
        let (vector, tags) = (at(degrees), [&tag[..]]);
        let annotations = Annotations {
            space: Some(&space),
            vector: VectorOf::Given(&vector),
            tags: &tags,
            ..Annotations::default()
        };
        let mut txn = self.shard.begin(Scope::Key(&key), NOW_MS);
        match txn.put_annotated(db, &key, &value, Put::default(), &annotations, None) {
            Ok(()) => {}
            Err(MeaningError::Write(error)) => return Err(error),
            Err(other) => panic!("{other}"),
        }
        let lsn = txn.commit()?;
        self.state.items.insert((db, key), Item { value, note: Some((id, degrees, tag)) });
        self.done(lsn, false);
        Ok(())
    }

    fn change_keys(&mut self) -> Result<(), WriteError> {
        let keys: Vec<(u8, Vec<u8>)> = self.state.items.keys().cloned().collect();
        if keys.is_empty() {
            return Ok(());
        }
        let (db, key) = keys[self.random.below(keys.len() as u64) as usize].clone();
        let lsn = match self.random.below(8) {
            0..=3 => {
                let mut txn = self.shard.begin(Scope::Key(&key), NOW_MS);
                assert!(txn.delete(db, &key));
                self.state.items.remove(&(db, key));
                txn.commit()?
            }
            4..=5 => {
                self.shard.make_room(10_000, NOW_MS)?;
                let prefix = if key.starts_with(b"plain") { "plain" } else { "key" };
                let to = format!("{prefix}:{}", self.random.below(KEYS)).into_bytes();
                let moves = self.random.one_in(2);
                let mut txn = self.shard.begin(Scope::Keys(&[&key, &to]), NOW_MS);
                assert!(txn.copy((db, &key), (db, &to), moves)?);
                let item = self.state.items[&(db, key.clone())].clone();
                if moves {
                    self.state.items.remove(&(db, key));
                }
                self.state.items.insert((db, to), item);
                txn.commit()?
            }
            6 => {
                let mut txn = self.shard.begin(Scope::All, NOW_MS);
                txn.swap_databases(0, 1)?;
                let lsn = txn.commit()?;
                let items = std::mem::take(&mut self.state.items);
                self.state.items = items.into_iter().map(|((db, key), item)| ((1 - db, key), item)).collect();
                self.state.held = self.state.held.iter().map(|db| 1 - db).collect();
                self.removed.values_mut().for_each(|(db, _)| *db = 1 - *db);
                self.wishes.iter_mut().for_each(|(_, wish)| wish.db = 1 - wish.db);
                lsn
            }
            _ => {
                if !self.random.one_in(3) {
                    return Ok(());
                }
                let mut txn = self.shard.begin(Scope::All, NOW_MS);
                txn.flush_database(db)?;
                self.state.items.retain(|(own, _), _| *own != db);
                self.removed.retain(|_, (own, _)| *own != db);
                txn.commit()?
            }
        };
        self.done(lsn, false);
        Ok(())
    }

    fn invalidate(&mut self) -> Result<(), WriteError> {
        let db = self.random.below(2) as u8;
        let mut wish = Wish { db, space: None, near: None, tag: None, glob: None, is_undone: false };
        let names: Vec<(&'static str, u32)> = self.state.spaces.iter().map(|(name, id)| (*name, *id)).collect();
        let named = (!names.is_empty()).then(|| names[self.random.below(names.len() as u64) as usize]);
        match self.random.below(6) {
            0..=1 if named.is_some() => {
                wish.space = named.map(|(_, id)| id);
                wish.near = Some((self.random.below(90) as u32, self.random.below(30) as u32));
            }
            2 => wish.tag = Some(b"red".to_vec()),
            3 if named.is_some() => {
                wish.space = named.map(|(_, id)| id);
                wish.glob = Some(GLOBS[self.random.below(4) as usize]);
            }
            _ => wish.glob = Some(GLOBS[self.random.below(4) as usize]),
        }
        let space = named.filter(|_| wish.space.is_some()).and_then(|(name, _)| self.space(name));
        let query = space.as_ref().zip(wish.near).map(|(space, (centre, _))| space.query(&at(centre)).unwrap());
        let tag = wish.tag.clone().unwrap_or_default();
        let tags = [&tag[..]];
        let min = wish.near.map_or(0.0, |(_, reach)| (reach as f32 + 0.5).to_radians().cos());
        let near = space.as_ref().zip(query.as_ref());
        let invalidation = Invalidation {
            db,
            meaning: near.map(|(space, query)| (space, query, min)),
            space: if near.is_some() { None } else { space.as_ref() },
            tags: if wish.tag.is_some() { &tags } else { &[] },
            glob: wish.glob,
            ..Invalidation::default()
        };
        let before = self.shard.audit(1).first().map_or(0, |line| line.lsn);
        let is_bump = space.is_some() && wish.near.is_none() && self.random.one_in(2);
        let done = match (named, is_bump) {
            (Some((name, _)), true) => {
                wish.glob = None;
                self.shard.bump_space(name.as_bytes(), db, "", NOW_MS).map(|_| None)
            }
            (_, _) => self.shard.invalidate(&invalidation, NOW_MS).map(|done| Some(done.count)),
        };
        // Whether or not it was answered: the audit knows whether it was published.
        let lsn = self.shard.audit(1).first().map_or(0, |line| line.lsn);
        if lsn != before {
            let covered: Vec<(u8, Vec<u8>)> = self
                .state
                .items
                .iter()
                .filter(|((own, key), item)| *own == db && wish.covers(key, item))
                .map(|(key, _)| key.clone())
                .collect();
            let mut removed = Vec::new();
            for key in covered {
                let item = self.state.items.remove(&key).unwrap();
                removed.push((key.1, item));
            }
            if let Ok(Some(count)) = &done {
                assert_eq!(*count, removed.len() as u64, "{wish:?}");
            }
            if !is_bump {
                self.removed.insert(lsn, (db, removed));
            }
            self.wishes.push((lsn, wish));
            self.done(Some(Lsn(lsn)), false);
        }
        match done {
            Ok(_) => {
                assert!(self.shard.durable() >= Lsn(lsn), "an invalidation was answered before it was durable");
                Ok(())
            }
            Err(MeaningError::Write(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    fn hold(&mut self) -> Result<(), WriteError> {
        let db = self.random.below(2) as u8;
        let before = self.shard.audit(1).first().map_or(0, |line| line.lsn);
        let wish = Invalidation { db, glob: Some(b"held:*"), hold_ms: HOLD_MS, ..Invalidation::default() };
        let done = self.shard.invalidate(&wish, NOW_MS);
        let lsn = self.shard.audit(1).first().map_or(0, |line| line.lsn);
        if lsn != before {
            self.state.held.insert(db);
            self.done(Some(Lsn(lsn)), false);
        }
        done.map(|_| ()).map_err(|error| WriteError::Unavailable(error.to_string()))
    }

    fn undo(&mut self) -> Result<(), WriteError> {
        let Some((lsn, (db, removed))) = self.removed.pop_last() else { return Ok(()) };
        let at = self.wishes.iter().position(|(own, _)| *own == lsn).unwrap();
        self.wishes[at].1.is_undone = true;
        for (key, item) in removed {
            let later = self.wishes[at + 1..].iter();
            let is_gone = later.clone().any(|(_, wish)| !wish.is_undone && wish.db == db && wish.covers(&key, &item));
            let space_is_there =
                item.note.as_ref().is_none_or(|(id, ..)| self.state.spaces.values().any(|own| own == id));
            if space_is_there && !is_gone {
                self.state.items.entry((db, key)).or_insert(item);
            }
        }
        let undone = self.shard.undo(lsn, NOW_MS);
        let last = self.last();
        self.done(undone.is_ok().then_some(last), true);
        match undone {
            Ok(_) => Ok(()),
            Err(error) => Err(WriteError::Unavailable(error.to_string())),
        }
    }

    fn spaces(&mut self) -> Result<(), WriteError> {
        let name = NAMES[self.random.below(2) as usize];
        let before = self.last();
        match self.state.spaces.get(name).copied() {
            None => {
                let options = SpaceOptions {
                    dimension: 4,
                    metric: Metric::Cosine,
                    embedder: String::new(),
                    quantization: Quantization::Cascade,
                    guard: Guard::default(),
                };
                let made = self.shard.create_space(name.as_bytes(), &options);
                let space = made.map_err(|error| WriteError::Unavailable(error.to_string()))?;
                self.state.spaces.insert(name, space.id());
                self.done(Some(before.next()), false);
                Ok(())
            }
            Some(id) if self.random.one_in(4) => {
                self.state.spaces.remove(name);
                self.state.items.retain(|_, item| item.note.as_ref().is_none_or(|(own, ..)| *own != id));
                self.done(Some(before.next()), false);
                let dropped = self.shard.drop_space(name.as_bytes(), NOW_MS);
                dropped.map(|_| ()).map_err(|error| WriteError::Unavailable(error.to_string()))
            }
            Some(_) => Ok(()),
        }
    }

    fn step(&mut self) -> Result<(), WriteError> {
        match self.random.below(32) {
            0..=14 => self.write(),
            15..=18 => self.change_keys(),
            19..=22 => self.invalidate(),
            23 => self.undo(),
            24..=25 => self.spaces(),
            26 if self.random.one_in(3) => self.hold(),
            26..=27 => self.shard.sync().map(|_| ()),
            28..=29 => {
                let is_due = self.shard.tick(NOW_MS).checkpoint_due || self.random.one_in(4);
                if is_due && self.has_checkpoints {
                    self.shard.checkpoint(NOW_MS)?;
                }
                Ok(())
            }
            _ => {
                let last = self.last();
                self.shard.flush_log(last)?;
                self.flushed = last;
                Ok(())
            }
        }
    }
}

/// What a shard serves, by key and by meaning, which must agree.
fn content(shard: &Shard) -> Result<State, String> {
    let mut state = State::default();
    let mut found: BTreeSet<(u8, Vec<u8>)> = BTreeSet::new();
    for name in NAMES {
        let Some(space) = shard.space(name.as_bytes()) else { continue };
        state.spaces.insert(name, space.id());
        for db in 0..2 {
            let query = space.query(&at(0)).unwrap();
            let search = Search {
                db,
                space: &space,
                query: &query,
                count: 1000,
                min: None,
                filters: Filters::default(),
                exact: true,
                ef: None,
                with_values: true,
                reader: None,
            };
            for hit in shard.search(&search, NOW_MS).map_err(|error| error.to_string())? {
                let similar = |degrees: &u32| {
                    (hit.similarity - (*degrees as f32).to_radians().cos()).abs() < 1e-6 && hit.details.has_vector
                };
                let degrees = (0..90).find(similar).ok_or("a vector of no angle")?;
                let tag = hit.details.tags.first().cloned().unwrap_or_default();
                let item = Item { value: hit.value.to_vec(), note: Some((space.id(), degrees, tag)) };
                state.items.insert((db, hit.key.clone()), item);
                if !found.insert((db, hit.key.clone())) {
                    return Err(format!("{:?} is found twice", String::from_utf8_lossy(&hit.key)));
                }
            }
        }
    }
    let txn = shard.begin(Scope::All, NOW_MS);
    for db in 0..2u8 {
        let (mut cursor, mut keys) = (0, Vec::new());
        loop {
            cursor = txn.scan(db, cursor, 100, &mut |key, _| keys.push(key.to_vec()));
            if cursor == 0 {
                break;
            }
        }
        for key in keys {
            let entry = txn.peek(db, &key).ok_or("SCAN shows a key that is not there")?;
            let value = match entry.value {
                Value::String(string) => string.as_slice().to_vec(),
                Value::Hash(_) => b"a hash".to_vec(),
            };
            let details = txn.details(db, &key).ok().flatten().map(|(_, details)| details);
            let has_vector = details.is_some_and(|details| details.has_vector);
            match state.items.get(&(db, key.clone())) {
                Some(item) if item.value == value && has_vector => {}
                None if !has_vector => {
                    state.items.insert((db, key.clone()), Item { value, note: None });
                }
                other => return Err(format!("{} by key and by meaning: {other:?}", String::from_utf8_lossy(&key))),
            }
            found.remove(&(db, key));
        }
    }
    drop(txn);
    if let Some(ghost) = found.first() {
        return Err(format!("{ghost:?} is found by meaning and not by key"));
    }
    for db in 0..2 {
        let mut txn = shard.begin(Scope::Key(b"held:1"), NOW_MS);
        match txn.put(db, b"held:1", b"v", Put::default()) {
            Err(WriteError::Held { .. }) => {
                state.held.insert(db);
            }
            Ok(()) => assert!(txn.delete(db, b"held:1")),
            Err(other) => return Err(other.to_string()),
        }
    }
    Ok(state)
}

fn lies_between(found: &State, from: &State, to: &State) -> bool {
    let within =
        |key: &(u8, Vec<u8>), item: &Item| from.items.get(key) == Some(item) || to.items.get(key) == Some(item);
    found.spaces == to.spaces
        && found.held == to.held
        && from.items.keys().all(|key| found.items.contains_key(key))
        && found.items.iter().all(|(key, item)| within(key, item))
}

/// Runs a program through several ends of its process; says what was wrong after one of them.
fn run(seed: u64, mapped: bool, end: End, ignore_syncs: bool) -> Result<(), String> {
    let mut random = Random::new(seed);
    let mut world = World { storage: SimStorage::new(seed, Faults::default()), segments: SimSegments::new() };
    let mut state = State::default();
    for generation in 0..GENERATIONS {
        let steps = 20 + random.below(300);
        let (shard, recovery) = open(&world, mapped)?;
        let what = format!("generation {generation}: {recovery:?}");
        if !recovery.damage.is_empty() {
            return Err(format!("damage is reported: {what}"));
        }
        let operations = world.storage.operations();
        let stop_at = operations + 10 + random.below(steps * 2);
        let stop_at_operation = random.one_in(2).then_some(stop_at);
        world.storage.set_faults(Faults { ignore_syncs, stop_at_operation, ..Faults::default() });
        let made = vec![Made { lsn: Lsn(0), state: state.clone(), in_steps: false }];
        let mut program = Program {
            random: Random::new(random.number()),
            shard,
            state,
            made,
            flushed: Lsn(0),
            removed: BTreeMap::new(),
            wishes: Vec::new(),
            is_even: seed.is_multiple_of(2),
            has_checkpoints: seed % 4 < 2,
        };
        for _ in 0..steps {
            if program.step().is_err() {
                break;
            }
        }
        let Program { shard, made, flushed, .. } = program;
        let durable = shard.durable();
        drop(shard);
        let floor = if end == End::PowerLoss { durable } else { durable.max(flushed) };
        world = match end {
            End::PowerLoss => {
                World { storage: world.storage.crash(), segments: world.segments.crash(seed ^ generation) }
            }
            End::ProcessDeath => World { storage: world.storage.kill(), segments: world.segments.kill() },
        };
        let (shard, recovery) = open(&world, mapped)?;
        let what = format!("after generation {generation}: {recovery:?}");
        if !recovery.damage.is_empty() {
            return Err(format!("damage is reported: {what}"));
        }
        shard.check_meaning(NOW_MS).map_err(|wrong| format!("{wrong}: {what}"))?;
        let found = content(&shard).map_err(|wrong| format!("{wrong}: {what}"))?;
        let first = made.iter().rposition(|made| made.lsn <= floor).unwrap_or(0);
        let matching = (first..made.len()).find(|at| {
            made[*at].state == found
                || (made[*at].in_steps && lies_between(&found, &made[*at - 1].state, &made[*at].state))
        });
        let Some(matching) = matching else {
            let nearest = made.iter().rposition(|made| made.state == found).map(|at| made[at].lsn);
            let at_floor = &made[first].state;
            let odd: Vec<_> = found.items.keys().filter(|key| !at_floor.items.contains_key(*key)).collect();
            let lost: Vec<_> = at_floor.items.keys().filter(|key| !found.items.contains_key(*key)).collect();
            let (held, spaces) = ((&found.held, &at_floor.held), (&found.spaces, &at_floor.spaces));
            return Err(format!(
                "no state matches: floor {floor:?} of {:?}, nearest {nearest:?}; against the floor: too many {odd:?}, \
                 too few {lost:?}, held {held:?}, spaces {spaces:?}; {what}",
                made.last().map(|made| made.lsn)
            ));
        };
        // What is known exactly of it, for the next generation.
        state = State { items: BTreeMap::new(), ..found.clone() };
        for (key, item) in &found.items {
            let exactly = [matching, matching.saturating_sub(1)]
                .iter()
                .find_map(|at| made[*at].state.items.get(key).filter(|own| own.value == item.value).cloned());
            state.items.insert(key.clone(), exactly.ok_or("an item of no state")?);
        }
        drop(shard);
        world.segments = world.segments.kill();
    }
    Ok(())
}

fn runs(first: u64, count: u64, mapped: bool, end: End) {
    let rounds = std::env::var("SUTRA_MEANING_ROUNDS").ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(1);
    for seed in first..first + count * rounds {
        if let Err(error) = run(seed, mapped, end, false) {
            panic!("seed {seed} mapped {mapped} {end:?}: {error}");
        }
    }
}

#[test]
fn power_loss_serves_nothing_that_was_invalidated_and_everything_else_in_mapped_memory() {
    runs(1_000_000, 24, true, End::PowerLoss);
}

#[test]
fn power_loss_serves_nothing_that_was_invalidated_and_everything_else_in_anonymous_memory() {
    runs(2_000_000, 12, false, End::PowerLoss);
}

#[test]
fn process_death_serves_nothing_that_was_invalidated_and_everything_else() {
    runs(3_000_000, 12, true, End::ProcessDeath);
    runs(4_000_000, 8, false, End::ProcessDeath);
}

#[test]
fn the_checks_notice_syncs_that_do_nothing() {
    let noticed = (1..20).filter(|seed| run(*seed, true, End::PowerLoss, true).is_err()).count();
    assert!(noticed > 0, "no run noticed that the log was never synced");
}
