//! A file system in memory that crashes, tears, forgets, fills up and fails, all from one seed.
//!
//! Each file has a live image (what a read sees) and a durable image (what survives a power loss), with the writes between
//! the two in a list; directory entries likewise. [`SimStorage::crash`] is a power loss: each unsynced write survives
//! wholly, in part (some of its 512-byte sectors, or a prefix that ends anywhere), or not at all, whatever became of the
//! others. That is harsher than any file system: a log that holds here assumes nothing about order.
//! [`SimStorage::kill`] is the death of the process: the operating system goes on with the live image.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sutra_wal::{File, IoError, Storage};

const SECTOR_BYTES: usize = 512;

/// A small deterministic generator of random numbers (SplitMix64, Steele et al. 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// What goes wrong, and when. Operations are counted from 0 over every call that changes something.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// From this operation on every call fails, as if the machine had stopped: this one may take effect in part.
    pub stop_at_operation: Option<u64>,
    /// The n-th sync of a file or of the directory fails: part of what it should have made durable is, and the rest
    /// never will be, whatever a later sync says.
    pub fail_sync_at: Option<u64>,
    /// The n-th write fails after part of it was written.
    pub fail_write_at: Option<u64>,
    /// How many bytes all files together may have; beyond it there is no space.
    pub capacity_bytes: Option<u64>,
    /// Plants a fault in the storage itself: syncs report success and do nothing. For showing that a test notices.
    pub ignore_syncs: bool,
    /// Plants a fault: the n-th write reports success and does nothing.
    pub drop_write_at: Option<u64>,
}

/// Simulated storage. Clones share one world; what a crash or kill gives is a world of its own.
#[derive(Clone)]
pub struct SimStorage {
    world: Arc<Mutex<World>>,
}

impl SimStorage {
    /// An empty directory. `seed` decides everything that is left to chance.
    pub fn new(seed: u64, faults: Faults) -> SimStorage {
        let world = World { random: Random::new(seed), faults, ..World::default() };
        SimStorage { world: Arc::new(Mutex::new(world)) }
    }

    /// What the next process finds after a power loss now, and after the operation that stopped the world if one did.
    /// It has no faults of its own.
    pub fn crash(&self) -> SimStorage {
        let mut old = self.world();
        let mut random = Random::new(old.random.number());
        let mut world = World { next_node: old.next_node, random: Random::new(random.number()), ..World::default() };
        let mut names = old.durable_names.clone();
        for change in &old.pending_names {
            if random.one_in(2) {
                change.apply(&mut names);
            }
        }
        for (&node, content) in &old.nodes {
            let image = content.after_power_loss(&mut random);
            world.nodes.insert(node, Content { live: image.clone(), durable: image, pending: Vec::new() });
        }
        world.names = names.clone();
        world.durable_names = names;
        SimStorage { world: Arc::new(Mutex::new(world)) }
    }

    /// What the next process finds after this one died: everything that returned, synced or not, and still as likely
    /// to be lost by a later [`crash`](Self::crash). It has no faults of its own.
    pub fn kill(&self) -> SimStorage {
        let mut old = self.world();
        let random = Random::new(old.random.number());
        let world = World {
            nodes: old.nodes.clone(),
            names: old.names.clone(),
            durable_names: old.durable_names.clone(),
            pending_names: old.pending_names.clone(),
            next_node: old.next_node,
            random,
            ..World::default()
        };
        SimStorage { world: Arc::new(Mutex::new(world)) }
    }

    /// How many operations were counted.
    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    /// How many writes were counted.
    pub fn writes(&self) -> u64 {
        self.world().writes
    }

    /// How many syncs were counted.
    pub fn syncs(&self) -> u64 {
        self.world().syncs
    }

    /// Changes what goes wrong from now on; the counts go on.
    pub fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    /// The live content of a file.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let world = self.world();
        world.names.get(name).map(|node| world.nodes[node].live.clone())
    }

    /// Puts a file there with this content, durable, without counting an operation.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut world = self.world();
        let node = world.new_node();
        world.nodes.insert(node, Content { live: bytes.clone(), durable: bytes, pending: Vec::new() });
        world.names.insert(name.to_owned(), node);
        world.durable_names.insert(name.to_owned(), node);
    }

    /// Flips one bit of a file, on the disk and in every cache. False if there is no such byte.
    pub fn flip_bit(&self, name: &str, offset: usize, bit: u8) -> bool {
        let mut world = self.world();
        let Some(node) = world.names.get(name).copied() else { return false };
        let Some(content) = world.nodes.get_mut(&node) else { return false };
        let Some(byte) = content.live.get_mut(offset) else { return false };
        *byte ^= 1 << (bit % 8);
        if let Some(byte) = content.durable.get_mut(offset) {
            *byte ^= 1 << (bit % 8);
        }
        true
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for SimStorage {
    fn create(&self, name: &str, allocate_bytes: u64) -> Result<Box<dyn File>, IoError> {
        let mut world = self.world();
        let last = world.count_operation("create", name)?;
        if world.names.contains_key(name) {
            return Err(IoError::new("create", name, io::ErrorKind::AlreadyExists.into()));
        }
        world.reserve("allocate", name, allocate_bytes)?;
        let node = world.new_node();
        let mut content = Content::default();
        content.change(Change::Length(allocate_bytes as usize));
        world.nodes.insert(node, content);
        world.change_names(NameChange::Add(name.to_owned(), node));
        last.then_err("create", name)?;
        drop(world);
        Ok(Box::new(SimFile { storage: self.clone(), node, name: name.to_owned() }))
    }

    fn open(&self, name: &str) -> Result<Box<dyn File>, IoError> {
        let world = self.world();
        world.running("open", name)?;
        let node = world.node("open", name)?;
        drop(world);
        Ok(Box::new(SimFile { storage: self.clone(), node, name: name.to_owned() }))
    }

    fn list(&self) -> Result<Vec<String>, IoError> {
        let world = self.world();
        world.running("list", ".")?;
        Ok(world.names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), IoError> {
        let mut world = self.world();
        let last = world.count_operation("rename", from)?;
        let node = world.node("rename", from)?;
        world.change_names(NameChange::Move(from.to_owned(), to.to_owned(), node));
        last.then_err("rename", from)
    }

    fn remove(&self, name: &str) -> Result<(), IoError> {
        let mut world = self.world();
        let last = world.count_operation("remove", name)?;
        world.node("remove", name)?;
        world.change_names(NameChange::Remove(name.to_owned()));
        last.then_err("remove", name)
    }

    fn sync_directory(&self) -> Result<(), IoError> {
        let mut world = self.world();
        let last = world.count_operation("sync directory", ".")?;
        let fails = world.count_sync() || (last.0 && world.random.one_in(2));
        if fails {
            let pending = std::mem::take(&mut world.pending_names);
            for change in pending {
                if world.random.one_in(2) {
                    change.apply(&mut world.durable_names);
                }
            }
            return Err(failed("sync directory", "."));
        }
        if !world.faults.ignore_syncs {
            world.durable_names = world.names.clone();
            world.pending_names.clear();
        }
        last.then_err("sync directory", ".")
    }
}

struct SimFile {
    storage: SimStorage,
    node: u64,
    name: String,
}

impl File for SimFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, IoError> {
        let world = self.storage.world();
        world.running("read", &self.name)?;
        let live = &world.nodes[&self.node].live;
        let rest = live.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), IoError> {
        let mut world = self.storage.world();
        let last = world.count_operation("write", &self.name)?;
        let number = world.writes;
        world.writes += 1;
        if world.faults.drop_write_at == Some(number) {
            return Ok(());
        }
        let offset = offset as usize;
        let grown = (offset + bytes.len()).saturating_sub(world.nodes[&self.node].live.len());
        world.reserve("write", &self.name, grown as u64)?;
        let fails = world.faults.fail_write_at == Some(number);
        let written = match fails || last.0 {
            true => &bytes[..world.random.below(bytes.len() as u64 + 1) as usize],
            false => bytes,
        };
        world.content(self.node).change(Change::Write(offset, written.to_vec()));
        if fails {
            return Err(failed("write", &self.name));
        }
        last.then_err("write", &self.name)
    }

    fn sync(&self) -> Result<(), IoError> {
        let mut world = self.storage.world();
        let last = world.count_operation("sync", &self.name)?;
        let fails = world.count_sync() || (last.0 && world.random.one_in(2));
        if fails {
            let mut random = Random::new(world.random.number());
            let content = world.content(self.node);
            content.durable = content.after_power_loss(&mut random);
            content.pending.clear();
            return Err(failed("sync", &self.name));
        }
        if !world.faults.ignore_syncs {
            let content = world.content(self.node);
            let pending = std::mem::take(&mut content.pending);
            for change in &pending {
                change.apply(&mut content.durable);
            }
        }
        last.then_err("sync", &self.name)
    }

    fn len(&self) -> Result<u64, IoError> {
        let world = self.storage.world();
        world.running("inspect", &self.name)?;
        Ok(world.nodes[&self.node].live.len() as u64)
    }

    fn set_len(&self, bytes: u64) -> Result<(), IoError> {
        let mut world = self.storage.world();
        let last = world.count_operation("set length of", &self.name)?;
        world.content(self.node).change(Change::Length(bytes as usize));
        last.then_err("set length of", &self.name)
    }
}

#[derive(Default)]
struct World {
    nodes: BTreeMap<u64, Content>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending_names: Vec<NameChange>,
    next_node: u64,
    random: Random,
    faults: Faults,
    operations: u64,
    writes: u64,
    syncs: u64,
}

impl Default for Random {
    fn default() -> Random {
        Random::new(0)
    }
}

/// Whether this operation is the one that stops the world.
struct IsLast(bool);

impl IsLast {
    fn then_err(&self, operation: &'static str, name: &str) -> Result<(), IoError> {
        if self.0 { Err(failed(operation, name)) } else { Ok(()) }
    }
}

impl World {
    fn running(&self, operation: &'static str, name: &str) -> Result<(), IoError> {
        let stopped = self.faults.stop_at_operation.is_some_and(|stop| self.operations > stop);
        if stopped { Err(failed(operation, name)) } else { Ok(()) }
    }

    fn count_operation(&mut self, operation: &'static str, name: &str) -> Result<IsLast, IoError> {
        self.running(operation, name)?;
        let is_last = self.faults.stop_at_operation == Some(self.operations);
        self.operations += 1;
        // The last operation may not even begin.
        if is_last && self.random.one_in(3) {
            return Err(failed(operation, name));
        }
        Ok(IsLast(is_last))
    }

    /// True if this sync is to fail.
    fn count_sync(&mut self) -> bool {
        let number = self.syncs;
        self.syncs += 1;
        self.faults.fail_sync_at == Some(number)
    }

    fn reserve(&self, operation: &'static str, name: &str, bytes: u64) -> Result<(), IoError> {
        let used: u64 = self.names.values().map(|node| self.nodes[node].live.len() as u64).sum();
        if self.faults.capacity_bytes.is_some_and(|capacity| used + bytes > capacity && bytes > 0) {
            return Err(IoError::new(operation, name, io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }

    fn node(&self, operation: &'static str, name: &str) -> Result<u64, IoError> {
        self.names.get(name).copied().ok_or_else(|| IoError::new(operation, name, io::ErrorKind::NotFound.into()))
    }

    fn new_node(&mut self) -> u64 {
        self.next_node += 1;
        self.next_node
    }

    fn content(&mut self, node: u64) -> &mut Content {
        self.nodes.entry(node).or_default()
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }
}

#[derive(Clone, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl Content {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    fn after_power_loss(&self, random: &mut Random) -> Vec<u8> {
        let mut image = self.durable.clone();
        for change in &self.pending {
            change.survive(&mut image, random);
        }
        image
    }
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Change::Write(offset, bytes) => {
                let end = offset + bytes.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(bytes);
            }
            Change::Length(bytes) => image.resize(*bytes, 0),
        }
    }

    /// As much of the change as a power loss leaves.
    fn survive(&self, image: &mut Vec<u8>, random: &mut Random) {
        match (self, random.below(4)) {
            (_, 0) => {}
            (Change::Write(offset, bytes), 1) => {
                let sectors = *offset / SECTOR_BYTES..(offset + bytes.len()).div_ceil(SECTOR_BYTES);
                for sector in sectors.filter(|_| random.one_in(2)) {
                    let from = (sector * SECTOR_BYTES).max(*offset);
                    let to = ((sector + 1) * SECTOR_BYTES).min(offset + bytes.len());
                    Change::Write(from, bytes[from - offset..to - offset].to_vec()).apply(image);
                }
            }
            (Change::Write(offset, bytes), 2) => {
                let kept = random.below(bytes.len() as u64 + 1) as usize;
                Change::Write(*offset, bytes[..kept].to_vec()).apply(image);
            }
            (Change::Write(..) | Change::Length(_), _) => self.apply(image),
        }
    }
}

#[derive(Clone)]
enum NameChange {
    Add(String, u64),
    Move(String, String, u64),
    Remove(String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Add(name, node) => {
                names.insert(name.clone(), *node);
            }
            NameChange::Move(from, to, node) => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                    names.insert(to.clone(), *node);
                }
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

fn failed(operation: &'static str, name: &str) -> IoError {
    IoError::new(operation, name, io::Error::other("simulated failure"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_sectors(storage: &SimStorage) -> Box<dyn File> {
        let file = storage.create("a", 2 * SECTOR_BYTES as u64).unwrap();
        file.sync().unwrap();
        storage.sync_directory().unwrap();
        file
    }

    #[test]
    fn a_power_loss_keeps_what_was_synced_and_any_part_of_what_was_not() {
        let (mut whole, mut lost, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let storage = SimStorage::new(seed, Faults::default());
            let file = two_sectors(&storage);
            file.write_at(0, &[1; 100]).unwrap();
            file.sync().unwrap();
            file.write_at(100, &[2; 900]).unwrap();
            let content = storage.crash().content("a").unwrap();
            assert_eq!(content.len(), 2 * SECTOR_BYTES, "seed {seed}");
            assert_eq!(content[..100], [1; 100], "seed {seed}");
            match content[100..1000].iter().filter(|&&byte| byte == 2).count() {
                900 => whole += 1,
                0 => lost += 1,
                _ => torn += 1,
            }
        }
        assert!(whole > 20 && lost > 20 && torn > 20, "{whole} {lost} {torn}");
    }

    #[test]
    fn names_are_durable_only_after_the_directory_is_synced() {
        let mut counts = [0; 3];
        for seed in 0..100 {
            let storage = SimStorage::new(seed, Faults::default());
            two_sectors(&storage);
            storage.rename("a", "b").unwrap();
            counts[usize::from(storage.crash().content("b").is_some())] += 1;
            storage.sync_directory().unwrap();
            counts[2] += usize::from(storage.crash().content("b").is_some());
        }
        assert!(counts[0] > 20 && counts[1] > 20 && counts[2] == 100, "{counts:?}");
    }

    #[test]
    fn a_killed_process_loses_nothing_but_a_power_loss_behind_it_may() {
        let mut lost = 0;
        for seed in 0..50 {
            let storage = SimStorage::new(seed, Faults::default());
            two_sectors(&storage).write_at(0, b"text").unwrap();
            let next = storage.kill();
            assert_eq!(&next.content("a").unwrap()[..4], b"text");
            lost += usize::from(&next.crash().content("a").unwrap()[..4] != b"text");
        }
        assert!(lost > 5, "{lost}");
    }

    #[test]
    fn a_stopped_world_fails_every_call() {
        let storage = SimStorage::new(1, Faults { stop_at_operation: Some(1), ..Faults::default() });
        let file = storage.create("a", 10).unwrap();
        assert!(file.write_at(0, b"x").is_err());
        assert!(file.sync().is_err() && file.len().is_err() && storage.list().is_err() && storage.open("a").is_err());
        assert_eq!(storage.operations(), 2);
        assert!(storage.kill().open("a").is_ok());
    }

    #[test]
    fn a_failed_sync_is_not_made_good_by_the_next() {
        let mut lost = 0;
        for seed in 0..50 {
            let storage = SimStorage::new(seed, Faults { fail_sync_at: Some(2), ..Faults::default() });
            let file = two_sectors(&storage);
            file.write_at(0, b"text").unwrap();
            assert!(file.sync().is_err());
            file.sync().unwrap();
            assert_eq!(&storage.content("a").unwrap()[..4], b"text");
            lost += usize::from(&storage.crash().content("a").unwrap()[..4] != b"text");
        }
        assert!(lost > 5, "{lost}");
    }

    #[test]
    fn a_full_disk_refuses_new_bytes_and_accepts_old_ones() {
        let storage = SimStorage::new(1, Faults { capacity_bytes: Some(100), ..Faults::default() });
        let file = storage.create("a", 90).unwrap();
        assert_eq!(storage.create("b", 11).err().unwrap().kind, sutra_wal::IoErrorKind::NoSpace);
        file.write_at(0, &[1; 90]).unwrap();
        assert_eq!(file.write_at(80, &[1; 21]).unwrap_err().kind, sutra_wal::IoErrorKind::NoSpace);
        storage.remove("a").unwrap();
        storage.create("b", 100).unwrap();
    }

    #[test]
    fn planted_faults_do_what_they_say() {
        let faults = Faults { drop_write_at: Some(0), ignore_syncs: true, ..Faults::default() };
        let storage = SimStorage::new(3, faults);
        let file = two_sectors(&storage);
        file.write_at(0, b"gone").unwrap();
        file.write_at(8, b"here").unwrap();
        assert_eq!(&storage.content("a").unwrap()[..12], b"\0\0\0\0\0\0\0\0here");
        let names = (0..50).filter(|_| storage.crash().content("a").is_some()).count();
        assert!(names < 50, "a name whose sync was ignored can be lost");
    }

    #[test]
    fn a_flipped_bit_is_on_the_disk_too() {
        let storage = SimStorage::new(1, Faults::default());
        two_sectors(&storage);
        assert!(storage.flip_bit("a", 3, 7));
        assert!(!storage.flip_bit("a", 5_000, 7) && !storage.flip_bit("b", 0, 7));
        assert_eq!(storage.crash().content("a").unwrap()[3], 128);
    }
}
