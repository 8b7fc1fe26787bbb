//! Those who change what the caches keep: writers, to each of whom some keys belong, and invalidators. All speak to the shard directly.

use crate::keys::{self, EACH, GROUPS, KEYS, Kind, SOURCES};
use crate::random::Random;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use sutra_cache_client::{Client, Error, Reply, Request};

pub(crate) const WRITERS: usize = 3;

/// What writers and invalidators know of one another.
#[derive(Debug)]
pub(crate) struct World {
    /// Rises with every value.
    version: AtomicU64,
    /// The last version of each key that the shard has answered for.
    written: Vec<AtomicU64>,
    /// The present version of each source.
    sources: [AtomicU64; SOURCES],
}

impl World {
    pub(crate) fn new() -> Arc<World> {
        let written = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
        Arc::new(World { version: AtomicU64::new(1), written, sources: Default::default() })
    }
}

/// Writes until the time has come or somebody has found something.
pub(crate) async fn write(
    world: Arc<World>,
    shard: Client,
    writer: usize,
    mut random: Random,
    until: Instant,
    stop: Arc<AtomicBool>,
) {
    while Instant::now() < until && !stop.load(Ordering::Acquire) {
        let key = random.below(3 * EACH);
        let key = key - key % WRITERS + writer;
        let version = world.version.fetch_add(1, Ordering::AcqRel);
        let requests = match keys::kind(key) {
            Kind::Plain => plain(key, version, writer, &mut random),
            Kind::Tagged => native(&world, "s", key, version, &mut random),
            Kind::Undone => native(&world, "b", key, version, &mut random),
            Kind::Shared => unreachable!("the caches write these"),
        };
        let mut is_written = true;
        for request in requests {
            is_written &= answered(&shard, request).await.is_some();
        }
        if is_written {
            world.written[key].store(version, Ordering::Release);
        }
        // Readers are to have a chance to keep something.
        if random.one_in(4) {
            tokio::task::yield_now().await;
        }
    }
}

fn plain(key: usize, version: u64, writer: usize, random: &mut Random) -> Vec<Request> {
    let (name, value) = (keys::name(key), keys::value(key, version));
    let (fresh, gone) = (format!("fresh:{writer}"), format!("gone:{writer}"));
    let new = |words: &[&str]| Request::new(words[0]).args(&words[1..]);
    match random.below(16) {
        0..6 => vec![new(&["SET", &name, &value])],
        6..8 => vec![new(&["SET", &name, &value, "PX", &(1 + random.below(40)).to_string()])],
        8 => vec![new(&["DEL", &name])],
        9 => vec![new(&["MSET", &name, &value, &gone, "1"])],
        10 => vec![new(&["SET", &fresh, &value]), new(&["RENAME", &fresh, &name])],
        11 => vec![new(&["RENAME", &name, &gone])],
        12 => vec![new(&["SET", &fresh, &value]), new(&["COPY", &fresh, &name, "REPLACE"])],
        13 => vec![new(&["PEXPIRE", &name, &random.below(20).to_string()])],
        14 => vec![new(&["CACHE.SET", &name, &value, "TAG", "1", "plain"])],
        _ => vec![new(&["GETSET", &name, &value])],
    }
}

fn native(world: &World, space: &str, key: usize, version: u64, random: &mut Random) -> Vec<Request> {
    let (name, value) = (keys::name(key), keys::value(key, version));
    if random.one_in(10) {
        return vec![Request::new("UNLINK").arg(name)];
    }
    let source = world.sources[key % SOURCES].load(Ordering::Acquire);
    let request = Request::new("CACHE.SET").args([name, value, "IN".to_owned(), space.to_owned()]);
    let request = request.args(direction(key)).args(["TAG", "1", &tag(key)]);
    let request = request.args(["DEP", "1", &format!("doc{}", key % SOURCES)]).number(source);
    vec![if random.one_in(10) { request.args(["PX", "30"]) } else { request }]
}

fn tag(key: usize) -> String {
    format!("{}{}", keys::name(key).chars().next().expect("a letter"), key % GROUPS)
}

/// The vector of a key: one direction for each group.
fn direction(key: usize) -> Vec<String> {
    let mut words = vec!["VALUES".to_owned(), GROUPS.to_string()];
    words.extend((0..GROUPS).map(|group| if group == key % GROUPS { "1" } else { "0" }.to_owned()));
    words
}

/// Invalidates, takes back, empties and exchanges, and leaves word of what is gone.
pub(crate) async fn invalidate(
    world: Arc<World>,
    shard: Client,
    other_database: Client,
    mut random: Random,
    until: Instant,
    stop: Arc<AtomicBool>,
) {
    while Instant::now() < until && !stop.load(Ordering::Acquire) {
        let what = random.below(40);
        let by = random.below(GROUPS * SOURCES);
        let request = Request::new("CACHE.INVALIDATE");
        match what {
            0..8 => {
                told(
                    &world,
                    &shard,
                    |key| key % GROUPS == by % GROUPS,
                    request.args(["TAG", "1", &format!("t{}", by % GROUPS)]),
                )
                .await
            }
            8..14 => {
                let request = request.args(["IN", "s"]).args(direction(by)).args(["MIN", "0.9"]);
                told(&world, &shard, |key| key % GROUPS == by % GROUPS, request).await;
            }
            14..18 => {
                told(&world, &shard, |key| key % EACH / 10 == 1, request.args(["MATCH", "t:1?"])).await;
            }
            18..22 => {
                // What is written from now on has the new version of its source; what was written is below it.
                let before = written(&world, |key| key % SOURCES == by % SOURCES);
                let source = world.sources[by % SOURCES].fetch_add(1, Ordering::AcqRel) + 1;
                let request = request.args(["DEP", &format!("doc{}", by % SOURCES), "BELOW"]).number(source);
                if answered(&shard, request).await.is_some() {
                    leave_word(&shard, before).await;
                }
            }
            22..25 => drop(answered(&shard, request.args(["OLDER", "1"])).await),
            25..28 => drop(answered(&shard, request.args(["TAG", "1", &format!("u{}", by % GROUPS)])).await),
            28..32 => undo(&shard, &mut random).await,
            32 => drop(answered(&shard, Request::new("CACHE.SPACE").args(["BUMP", "b"])).await),
            33 if random.one_in(4) => drop(answered(&shard, Request::new("FLUSHALL")).await),
            34 if random.one_in(4) => {
                // The other database is empty, so that nothing old comes back.
                answered(&shard, Request::new("SWAPDB").args(["0", "1"])).await;
                answered(&other_database, Request::new("FLUSHDB")).await;
            }
            // tidy: sleeps because caches are to have a chance to keep something
            _ => tokio::time::sleep(std::time::Duration::from_millis(random.below(8) as u64)).await,
        }
    }
}

/// Sends an invalidation of these tagged keys, and once it is answered leaves word that what was written before is gone.
async fn told(world: &World, shard: &Client, covers: impl Fn(usize) -> bool, request: Request) {
    let before = written(world, covers);
    if answered(shard, request).await.is_some() {
        leave_word(shard, before).await;
    }
}

fn written(world: &World, covers: impl Fn(usize) -> bool) -> Vec<(usize, u64)> {
    let covered = keys::of(Kind::Tagged).filter(|key| covers(*key));
    covered.map(|key| (key, world.written[key].load(Ordering::Acquire))).collect()
}

async fn leave_word(shard: &Client, before: Vec<(usize, u64)>) {
    let pairs = before.iter().flat_map(|(key, version)| [keys::acknowledgement(*key), (version + 1).to_string()]);
    answered(shard, Request::new("MSET").args(pairs)).await;
}

/// Takes one of the last invalidations of undone keys back.
async fn undo(shard: &Client, random: &mut Random) {
    let Some(Reply::Array(lines)) = answered(shard, Request::new("CACHE.LOG").number(12)).await else { return };
    let mut lsns = Vec::new();
    for line in lines {
        let Reply::Map(fields) = line else { panic!("a map, not {line:?}") };
        let field =
            |name: &str| fields.iter().find(|(key, _)| format!("{key:?}").contains(name)).map(|(_, value)| value);
        if let (Some(Reply::Integer(lsn)), Some(predicate)) = (field("lsn"), field("predicate"))
            && format!("{predicate:?}").contains("TAG 1 u")
        {
            lsns.push(*lsn);
        }
    }
    if !lsns.is_empty() {
        answered(shard, Request::new("CACHE.UNDO").number(lsns[random.below(lsns.len())])).await;
    }
}

/// The answer; `None`: the shard refuses (no such key, nothing to undo, no such space yet).
async fn answered(shard: &Client, request: Request) -> Option<Reply> {
    match shard.call(request).await {
        Ok(reply) => Some(reply),
        Err(Error::Server(_)) => None,
        Err(error) => panic!("nothing is between a writer and the shard, but {error}"),
    }
}
