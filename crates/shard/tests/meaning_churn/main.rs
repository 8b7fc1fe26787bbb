//! Seeded random programs of everything that touches meaning, against a plain model and brute force: what is served is what the model holds,
//! and index and keyspace agree after every few steps.
//!
//! `SUTRA_MEANING_ROUNDS` multiplies the number of programs; `SUTRA_MEANING_SEED` runs one of them.

#![expect(clippy::unwrap_used, reason = "a failure of any step of the program is a failure of the test")]

mod looking;
mod model;

use model::{Held, Item, Judged, Key, Lease, Model, Note, Wish, as_kept, similarity};
use std::collections::BTreeMap;
use std::sync::Arc;
use sutra_eviction::Policy;
use sutra_shard::{
    Annotations, Guard, Invalidation, LeaseGrant, Limits, MeaningError, Metric, Options, Put, Quantization, Query,
    Scope, Shard, Space, SpaceOptions, VectorOf, WriteError,
};
use sutra_testkit::storage::Random;

const DBS: u64 = 2;
const NAMES: [&str; 3] = ["one", "two", "three"];
const TAGS: [&[u8]; 4] = [b"red", b"blue", b"user:1", b""];
const SOURCES: [&[u8]; 2] = [b"doc:1", b"doc:2"];
const GLOBS: [&[u8]; 6] = [b"*", b"key:1*", b"key:?", b"hash:*", b"key:[0-4]*", b"*2"];
const DIMENSIONS: [usize; 5] = [4, 7, 16, 33, 64];

/// Where a program's shard lives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Home {
    Mapped,
    Anonymous,
    /// No log: nothing to reopen.
    Memory,
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    home: Home,
    max_memory_bytes: u64,
    policy: Policy,
    keys: u64,
}

struct Run {
    setting: Setting,
    directory: tempfile::TempDir,
    shard: Option<Shard>,
    model: Model,
    random: Random,
    spaces: BTreeMap<&'static str, Arc<Space>>,
    what: String,
}

fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn refs(words: &[Vec<u8>]) -> Vec<&[u8]> {
    words.iter().map(Vec::as_slice).collect()
}

impl Run {
    fn new(seed: u64, setting: Setting) -> Run {
        let directory = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        model.now_ms = 1_800_000_000_000;
        let (random, what) = (Random::new(seed), format!("seed {seed} {setting:?}"));
        let mut run = Run { setting, directory, shard: None, model, random, spaces: BTreeMap::new(), what };
        run.open();
        run
    }

    fn open(&mut self) {
        let Setting { home, max_memory_bytes, policy, .. } = self.setting;
        let limits = Limits { max_memory_bytes, max_entries: 0, policy };
        if home == Home::Memory {
            self.shard = Some(Shard::in_memory(&limits, 7).unwrap());
            return;
        }
        let options = Options {
            mapped: home == Home::Mapped,
            limits,
            log_file_bytes: 64 << 10,
            seed: 7,
            ..Options::new(self.directory.path())
        };
        let (shard, recovery) = Shard::open(&options, self.model.now_ms).unwrap();
        assert!(recovery.damage.is_empty(), "{}: {recovery:?}", self.what);
        for name in NAMES {
            match shard.space(name.as_bytes()) {
                Some(space) => {
                    let known = self.model.spaces.get(&space.id());
                    assert_eq!(known, Some(space.options()), "{}: space {name}", self.what);
                    self.spaces.insert(name, space);
                }
                None => assert!(!self.spaces.contains_key(name), "{}: space {name} is lost", self.what),
            }
        }
        self.shard = Some(shard);
    }

    fn shard(&self) -> &Shard {
        self.shard.as_ref().unwrap()
    }

    fn evicts(&self) -> bool {
        self.setting.policy != Policy::NoEviction
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.random.below(from.len() as u64) as usize].clone()
    }

    fn key(&mut self) -> Key {
        let kind = if self.random.one_in(10) { "hash" } else { "key" };
        let number = self.random.below(self.setting.keys);
        (self.random.below(DBS) as u8, format!("{kind}:{number}").into_bytes())
    }

    fn space(&mut self) -> Option<(&'static str, Arc<Space>)> {
        let spaces: Vec<_> = self.spaces.iter().map(|(name, space)| (*name, Arc::clone(space))).collect();
        if spaces.is_empty() { None } else { Some(self.pick(&spaces)) }
    }

    fn vector(&mut self, space: &Space) -> Vec<f32> {
        // Near one of a few centres, or on it: so that there are neighbours and ties.
        let mut centre = Random::new(self.random.below(4) * 1000 + u64::from(space.id()));
        let spread = [0.0, 0.02, 0.2, 1.0][self.random.below(4) as usize];
        let component = |random: &mut Random| random.below(2001) as f32 / 1000.0 - 1.0;
        let mut vector: Vec<f32> = (0..space.dimension()).map(|_| component(&mut centre)).collect();
        vector.iter_mut().for_each(|x| *x += component(&mut self.random) * spread);
        if vector.iter().all(|x| *x == 0.0) {
            vector[0] = 1.0;
        }
        vector
    }

    /// A threshold: often exactly the similarity of an entry.
    fn threshold(&mut self, space: &Space, query: &[f32]) -> f32 {
        let metric = space.options().metric;
        let all: Vec<f32> = self
            .model
            .all_live()
            .filter_map(|(_, item)| item.note.as_ref().filter(|note| note.space == Some(space.id())))
            .filter_map(|note| Some(similarity(metric, query, note.vector.as_ref()?)))
            .collect();
        match self.random.below(3) {
            0 if !all.is_empty() => self.pick(&all),
            1 => 0.99,
            _ => [0.9, 0.5, 0.0, -2.0][self.random.below(4) as usize],
        }
    }

    fn wish(&mut self, db: u8) -> Wish {
        let mut wish = Wish { db, ..Wish::default() };
        loop {
            if self.random.one_in(2)
                && let Some((_, space)) = self.space()
            {
                wish.space = Some(space.id());
                if !self.random.one_in(8) {
                    let query = self.vector(&space);
                    let min = self.threshold(&space, &query);
                    wish.near = Some((query, min));
                }
            }
            if self.random.one_in(4) {
                wish.tags = (0..1 + self.below(2)).map(|_| self.pick(&TAGS).to_vec()).collect();
            }
            if self.random.one_in(5) {
                wish.glob = Some(self.pick(&GLOBS).to_vec());
            }
            if self.random.one_in(5) {
                wish.older_ms = Some([0, 100, 1000, 5000][self.below(4) as usize]);
            }
            if self.random.one_in(6) {
                wish.dep = Some((self.pick(&SOURCES).to_vec(), self.below(5)));
            }
            if !wish.names_only() || wish.glob.is_some() {
                return wish;
            }
        }
    }

    fn with_invalidation<R>(&self, wish: &Wish, run: impl FnOnce(&Shard, &Invalidation<'_>) -> R) -> R {
        let space = wish.space.map(|id| self.spaces.values().find(|space| space.id() == id).unwrap());
        let query: Option<Query> = wish.near.as_ref().map(|(vector, _)| space.unwrap().query(&bytes(vector)).unwrap());
        let tags = refs(&wish.tags);
        let near = wish.near.as_ref().zip(query.as_ref()).zip(space);
        let invalidation = Invalidation {
            db: wish.db,
            meaning: near.map(|(((_, min), query), space)| (space, query, *min)),
            space: if near.is_some() { None } else { space },
            tags: &tags,
            glob: wish.glob.as_deref(),
            older_ms: wish.older_ms,
            dep: wish.dep.as_ref().map(|(name, below)| (&name[..], *below)),
            hold_ms: wish.hold_ms,
            reason: b"",
            who: "churn",
        };
        run(self.shard(), &invalidation)
    }

    /// After something that may have evicted: what is gone is gone.
    fn learn(&mut self) {
        if !self.evicts() {
            return;
        }
        for key in self.model.keys() {
            let there = self.shard().begin(Scope::Key(&key.1), self.model.now_ms).peek(key.0, &key.1).is_some();
            if !there {
                self.model.items.remove(&key);
            }
        }
    }

    fn make_room(&mut self, bytes: usize) -> bool {
        let made = self.shard().make_room(bytes as u64 + 2000, self.model.now_ms).is_ok();
        self.learn();
        made
    }

    // ---- steps ----

    fn put_annotated(&mut self) {
        let key = self.key();
        let expires_at_ms = self.random.one_in(4).then(|| self.model.now_ms + 1 + self.random.below(4000));
        let space = if self.random.one_in(6) { None } else { self.space() };
        let given = space.as_ref().filter(|_| !self.random.one_in(12)).cloned();
        let vector = given.as_ref().map(|(_, space)| self.vector(space));
        let tags: Vec<Vec<u8>> = (0..self.below(3)).map(|_| self.pick(&TAGS).to_vec()).collect();
        let deps: Vec<(Vec<u8>, u64)> =
            (0..self.below(2)).map(|_| (self.pick(&SOURCES).to_vec(), self.below(5))).collect();
        let meta = self.random.one_in(4).then(|| b"{\"a\":1}".to_vec());
        let blob = vector.as_ref().map(|vector| bytes(vector));
        let quantization = space.as_ref().map(|(_, space)| space.options().quantization);
        let is_value = blob.is_some() && quantization == Some(Quantization::Cascade) && self.random.one_in(5);
        let value = match &blob {
            Some(blob) if is_value => blob.clone(),
            Some(_) | None => vec![self.random.number() as u8; [0, 5, 300, 3000][self.random.below(4) as usize]],
        };
        if !self.make_room(value.len() + blob.as_ref().map_or(0, Vec::len)) {
            return;
        }
        let note = Note {
            space: given.as_ref().map(|(_, space)| space.id()),
            vector: vector.as_ref().zip(quantization).map(|(vector, kept)| as_kept(kept, vector)),
            tags: tags.clone(),
            deps: deps.clone(),
            meta: meta.clone(),
            written_ms: self.model.now_ms,
        };
        let lease = (!self.model.leases.is_empty() && self.random.one_in(2)).then(|| {
            let leases = self.model.leases.clone();
            self.pick(&leases)
        });
        // Mostly the write that the lease is for.
        let key = lease.as_ref().filter(|_| !self.random.one_in(8)).map_or(key, |lease| lease.key.clone());
        let tags = refs(&tags);
        let deps: Vec<(&[u8], u64)> = deps.iter().map(|(name, version)| (&name[..], *version)).collect();
        let annotations = Annotations {
            space: space.as_ref().map(|(_, space)| space),
            vector: match &blob {
                Some(_) if is_value => VectorOf::Value,
                Some(blob) => VectorOf::Given(blob),
                None => VectorOf::None,
            },
            tags: &tags,
            deps: &deps,
            meta: meta.as_deref(),
            facts: None,
        };
        let mut txn = self.shard.as_ref().unwrap().begin(Scope::Key(&key.1), self.model.now_ms);
        let token = lease.as_ref().map(|lease| lease.token.as_bytes());
        let put = Put { expires_at_ms, cost: None };
        let wrote = txn.put_annotated(key.0, &key.1, &value, put, &annotations, token);
        drop(txn);
        let what = format!("{}: {key:?} with lease {lease:?}: {wrote:?}", self.what);
        if matches!(wrote, Err(MeaningError::Write(WriteError::OutOfMemory))) {
            return assert!(self.evicts(), "{what}");
        }
        if self.model.is_held(&key, Some(&note)) {
            return assert!(matches!(wrote, Err(MeaningError::Held { .. })), "should be held: {what}");
        }
        if let Some(lease) = &lease {
            match (self.model.judge(lease, &key, &note), wrote.is_ok()) {
                (Judged::Fresh, true) | (Judged::Stale, false) | (Judged::Either, _) => {}
                (judged, _) => panic!("the model says {judged:?}: {what}"),
            }
            // A lease ends with its write, also with one that is refused; but not with a write of another key.
            if lease.any_key || lease.key == key {
                self.model.leases.retain(|other| other.token != lease.token);
            }
            if wrote.is_err() {
                return;
            }
        }
        assert!(wrote.is_ok(), "{what}");
        self.model.set(key, Held::Bytes(value), expires_at_ms, Some(note));
    }

    fn put_plain(&mut self) {
        let key = self.key();
        if !self.make_room(3000) {
            return;
        }
        let held = self.model.is_held(&key, None);
        let mut txn = self.shard.as_ref().unwrap().begin(Scope::Key(&key.1), self.model.now_ms);
        if key.1.starts_with(b"hash") {
            let was = txn.hash_set(key.0, &key.1, &[(b"f", b"v")], false);
            match was {
                Err(WriteError::Held { .. }) => return assert!(held, "{}: {key:?}", self.what),
                Err(WriteError::WrongType) => return,
                other => assert!(other.is_ok() && !held, "{}: {key:?} {other:?} held {held}", self.what),
            }
            drop(txn);
            let expires = self.model.live(&key).and_then(|item| item.expires_at_ms);
            let fields = BTreeMap::from([(b"f".to_vec(), b"v".to_vec())]);
            return self.model.set(key, Held::Hash(fields), expires, None);
        }
        let len = [1, 40, 2500][self.random.below(3) as usize];
        let value = vec![self.random.number() as u8; len];
        let expires_at_ms = self.random.one_in(4).then(|| self.model.now_ms + 1 + self.random.below(4000));
        match txn.put(key.0, &key.1, &value, Put { expires_at_ms, cost: None }) {
            Err(WriteError::Held { .. }) => assert!(held, "{}: {key:?}", self.what),
            Err(WriteError::OutOfMemory) => assert!(self.evicts(), "{}", self.what),
            other => {
                assert!(other.is_ok() && !held, "{}: {key:?} {other:?} held {held}", self.what);
                drop(txn);
                self.model.set(key, Held::Bytes(value), expires_at_ms, None);
            }
        }
    }

    fn touch_keys(&mut self) {
        let (key, to) = (self.key(), self.key());
        let now_ms = self.model.now_ms;
        let live = self.model.live(&key).cloned();
        match self.random.below(3) {
            0 => {
                let was = self.shard().begin(Scope::Key(&key.1), now_ms).delete(key.0, &key.1);
                assert_eq!(was, live.is_some(), "{}: delete {key:?}", self.what);
                self.model.items.remove(&key);
                self.model.change(&key);
            }
            1 => {
                let at = (!self.random.one_in(3)).then(|| now_ms + self.random.below(3000));
                let was = self.shard().begin(Scope::Key(&key.1), now_ms).set_expiry(key.0, &key.1, at).unwrap();
                assert_eq!(was, live.is_some(), "{}: expire {key:?}", self.what);
                if was {
                    self.model.change(&key);
                    self.model.items.get_mut(&key).unwrap().expires_at_ms = at;
                    self.model.expire();
                }
            }
            _ => {
                if !self.make_room(6000) {
                    return;
                }
                let live = self.model.live(&key).cloned();
                let moves = self.random.one_in(2);
                let held = live.as_ref().is_some_and(|item| self.model.is_held(&to, item.note.as_ref()));
                let mut txn = self.shard.as_ref().unwrap().begin(Scope::Keys(&[&key.1, &to.1]), now_ms);
                let copied = txn.copy((key.0, &key.1), (to.0, &to.1), moves);
                drop(txn);
                match copied {
                    Err(WriteError::Held { .. }) => return assert!(held, "{}: {key:?} to {to:?}", self.what),
                    Err(WriteError::OutOfMemory) => return assert!(self.evicts(), "{}", self.what),
                    other => assert_eq!(other, Ok(live.is_some()), "{}: copy {key:?} to {to:?}", self.what),
                }
                if let Some(Item { held, expires_at_ms, note, .. }) = live {
                    assert!(!self.model.is_held(&to, note.as_ref()), "{}: copy {key:?} to {to:?}", self.what);
                    self.model.set(to.clone(), held, expires_at_ms, note);
                    if moves && key != to {
                        self.model.items.remove(&key);
                        self.model.change(&key);
                    }
                }
            }
        }
    }

    fn whole_databases(&mut self) {
        let now_ms = self.model.now_ms;
        if self.random.one_in(2) {
            let db = self.random.below(DBS) as u8;
            let mut txn = self.shard.as_ref().unwrap().begin(Scope::All, now_ms);
            txn.flush_database(db).unwrap();
            drop(txn);
            self.model.flush(db);
        } else {
            let mut txn = self.shard.as_ref().unwrap().begin(Scope::All, now_ms);
            txn.swap_databases(0, 1).unwrap();
            drop(txn);
            self.model.swap(0, 1);
        }
    }

    fn make_or_drop_space(&mut self) {
        let name = self.pick(&NAMES);
        match self.spaces.get(name).cloned() {
            None => {
                let metric = self.pick(&[Metric::Cosine, Metric::Cosine, Metric::InnerProduct, Metric::Euclidean]);
                let quantization = if self.random.one_in(4) { Quantization::Int8Only } else { Quantization::Cascade };
                let dimension = self.pick(&DIMENSIONS);
                let options =
                    SpaceOptions { dimension, metric, embedder: String::new(), quantization, guard: Guard::default() };
                let space = self.shard().create_space(name.as_bytes(), &options).unwrap();
                assert!(!self.model.spaces.contains_key(&space.id()), "{}: an id is used twice", self.what);
                self.model.spaces.insert(space.id(), options);
                self.spaces.insert(name, space);
            }
            Some(space) if self.random.one_in(6) => {
                let dropped = self.shard().drop_space(name.as_bytes(), self.model.now_ms).unwrap();
                let live = self.model.drop_space(space.id());
                assert!(dropped >= live, "{}: {dropped} of {live}", self.what);
                self.spaces.remove(name);
            }
            Some(_) => {}
        }
    }

    fn invalidate(&mut self) {
        let db = self.random.below(DBS) as u8;
        let mut wish = self.wish(db);
        let now_ms = self.model.now_ms;
        let covered = self.model.covered(&wish);
        let dry = self.with_invalidation(&wish, |shard, wish| shard.dry_run(wish, usize::MAX, now_ms)).unwrap();
        let mut shown: Vec<Vec<u8>> = dry.samples.into_iter().map(|(key, _)| key).collect();
        shown.sort();
        let expected: Vec<Vec<u8>> = covered.iter().map(|(_, key)| key.clone()).collect();
        assert_eq!(shown, expected, "{}: dry run of {wish:?}", self.what);
        assert_eq!(dry.count, expected.len() as u64, "{}: dry run of {wish:?}", self.what);
        if covered.len() > 12 && self.random.one_in(2) {
            return;
        }
        if self.random.one_in(5) {
            wish.hold_ms = 1 + self.random.below(400);
        }
        let done = self.with_invalidation(&wish, |shard, wish| shard.invalidate(wish, now_ms)).unwrap();
        let count = self.model.invalidate(done.lsn, &wish);
        assert_eq!(done.count, count, "{}: {wish:?}", self.what);
    }

    fn bump(&mut self) {
        let Some((name, space)) = self.space() else { return };
        let db = self.random.below(DBS) as u8;
        let lsn = self.shard().bump_space(name.as_bytes(), db, "churn", self.model.now_ms).unwrap();
        let wish = Wish { db, space: Some(space.id()), ..Wish::default() };
        self.model.invalidate(lsn.0, &wish);
        if self.random.one_in(2) {
            self.shard().tick(self.model.now_ms);
            self.learn();
        } else if let Some(done) = self.model.done.last_mut() {
            // What is written or expires before the sweep is not kept for undoing; how much that is, is not modelled.
            done.is_lazy = true;
        }
    }

    fn undo(&mut self) {
        if self.model.done.is_empty() {
            return;
        }
        let last = self.model.done.len() - 1;
        let at = last - self.random.below(4).min(last as u64) as usize;
        if self.model.done[at].is_lazy {
            return;
        }
        let undone = self.shard().undo(self.model.done[at].lsn, self.model.now_ms);
        let expected = self.model.undo(at);
        assert_eq!(undone.as_ref().ok().copied(), expected, "{}: {undone:?} {:?}", self.what, self.model.done[at]);
        self.learn();
    }

    fn lease(&mut self) {
        let key = self.key();
        let now_ms = self.model.now_ms;
        let ms = 1 + self.random.below(3000);
        let until_ms = now_ms + ms;
        if self.random.one_in(3)
            && let Some((_, space)) = self.space()
        {
            let query = self.vector(&space);
            let query = space.query(&bytes(&query)).unwrap();
            let granted = self.shard().lease_meaning(key.0, &space, (&query, 0.99), ms, 1, now_ms);
            if let LeaseGrant::Granted { token } = granted {
                let step = self.model.step;
                self.model.leases.push(Lease { token, key, any_key: true, granted_ms: now_ms, until_ms, step });
            }
            return;
        }
        let out = self.model.leases.iter().any(|lease| !lease.any_key && lease.key == key && lease.until_ms > now_ms);
        let granted = self.shard().begin(Scope::Key(&key.1), now_ms).lease(key.0, &key.1, ms, 1);
        match granted {
            LeaseGrant::Granted { token } => {
                assert!(!out, "{}: a second lease on {key:?}", self.what);
                self.model.leases.retain(|lease| lease.any_key || lease.key != key);
                let step = self.model.step;
                self.model.leases.push(Lease { token, key, any_key: false, granted_ms: now_ms, until_ms, step });
            }
            LeaseGrant::Wait { .. } => assert!(out, "{}: {key:?} has no lease", self.what),
        }
    }

    fn standing_work(&mut self) {
        match self.random.below(6) {
            0 if self.setting.home != Home::Memory => self.shard().checkpoint(self.model.now_ms).unwrap(),
            1 if self.setting.home != Home::Memory => {
                let last = self.shard().persistence().last_lsn;
                self.shard().flush_log(sutra_wal::Lsn(last)).unwrap();
                self.shard = None;
                self.open();
                self.model.restart();
                self.learn();
                self.check();
            }
            _ => {
                self.model.now_ms += self.random.below(1500);
                self.shard().tick(self.model.now_ms);
                self.model.expire();
                let now_ms = self.model.now_ms;
                self.model.leases.retain(|lease| lease.until_ms > now_ms);
                self.learn();
            }
        }
    }

    fn step(&mut self) {
        self.model.step += 1;
        match self.random.below(40) {
            0..=15 => self.put_annotated(),
            16..=18 => self.put_plain(),
            19..=23 => self.touch_keys(),
            24 if self.random.one_in(4) => self.whole_databases(),
            25..=26 => self.make_or_drop_space(),
            27..=29 => self.invalidate(),
            30 if self.random.one_in(3) => self.bump(),
            31 => self.undo(),
            32..=33 => self.lease(),
            34..=35 => self.standing_work(),
            36 => self.model.now_ms += self.random.below(200),
            _ => self.look(),
        }
    }
}

fn run(seed: u64, setting: Setting, steps: u64) {
    let mut run = Run::new(seed, setting);
    let base = run.what.clone();
    // The run of one seed stops where it first goes wrong.
    let every = if number("SUTRA_MEANING_SEED").is_some() { 1 } else { 20 };
    for step in 0..steps {
        run.what = format!("{base} step {step}");
        run.step();
        if step % every == 0 {
            run.check();
        }
    }
    run.check();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn runs(first: u64, count: u64, setting: Setting, steps: u64) {
    if let Some(seed) = number("SUTRA_MEANING_SEED") {
        return run(seed, setting, steps);
    }
    for seed in first..first + count * number("SUTRA_MEANING_ROUNDS").unwrap_or(1) {
        run(seed, setting, steps);
    }
}

const ROOMY: Setting = Setting { home: Home::Mapped, max_memory_bytes: 64 << 20, policy: Policy::NoEviction, keys: 30 };

#[test]
fn random_programs_agree_with_brute_force_in_mapped_memory() {
    runs(100_000, 20, ROOMY, 600);
}

#[test]
fn random_programs_agree_with_brute_force_in_anonymous_memory() {
    runs(200_000, 20, Setting { home: Home::Anonymous, ..ROOMY }, 600);
}

#[test]
fn random_programs_agree_with_brute_force_without_a_log() {
    runs(300_000, 20, Setting { home: Home::Memory, ..ROOMY }, 600);
}

#[test]
fn what_is_evicted_is_gone_with_its_row_and_the_rest_is_found() {
    let small = Setting { max_memory_bytes: 2 << 20, policy: Policy::AllkeysLru, keys: 600, ..ROOMY };
    runs(400_000, 3, small, 1500);
    runs(500_000, 2, Setting { home: Home::Anonymous, ..small }, 1500);
    runs(600_000, 2, Setting { home: Home::Memory, policy: Policy::AllkeysLfu, ..small }, 1500);
}
