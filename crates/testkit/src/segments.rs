//! A simulated disk for segments: heap memory in place of mappings, and an image of what is durable beside it.
//!
//! A store writes to its memory without telling anybody, so the disk learns of a change only when a page is synced. Until then
//! the kernel may write the page back at any time, or never: after a crash each such page is old, new, or a mix of its sectors.
//! Names are durable after `sync_directory`; before that a created segment may be missing after a crash, and a removed one may be back.
//!
//! Every choice follows from a seed. Nothing here is unsafe, and it all runs under Miri.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sutra_mmap_store::{HeapImage, IoError, Region, SegmentSpace};

const PAGE_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;

/// What goes wrong, and when. Operations are counted from 1 over all calls of [`SegmentSpace`] but `list`.
#[derive(Clone, Debug, Default)]
pub struct SegmentFaults {
    /// The machine stops at this operation: it fails, as does every later one, and a crash leaves what memory held at this moment.
    pub stop_at_operation: Option<u64>,
    /// This sync of a segment, counted from 1, fails; each page of its range is durable or not.
    pub fail_sync: Option<u64>,
    /// Bytes of segments that fit the disk.
    pub space_bytes: Option<u64>,
    /// Decides which pages of a failed sync are durable.
    pub seed: u64,
}

/// The simulated disk. Clones are the same disk, so that a test keeps one and a store has another.
#[derive(Clone, Default)]
pub struct SimSegments(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    files: BTreeMap<u16, SimFile>,
    /// Removed, but not durably.
    removed: BTreeMap<u16, SimFile>,
    /// What memory held when the machine stopped.
    stopped: Option<(BTreeMap<u16, SimFile>, BTreeMap<u16, SimFile>)>,
    faults: SegmentFaults,
    operations: u64,
    syncs: u64,
}

#[derive(Clone)]
struct SimFile {
    durable: Vec<u8>,
    memory: Memory,
    name_is_durable: bool,
}

#[derive(Clone)]
enum Memory {
    /// Not opened: as durable.
    None,
    Region(HeapImage),
    Copy(Vec<u8>),
}

impl SimSegments {
    /// An empty disk without faults.
    #[must_use]
    pub fn new() -> SimSegments {
        SimSegments::default()
    }

    /// An empty disk with faults.
    #[must_use]
    pub fn with_faults(faults: SegmentFaults) -> SimSegments {
        let disk = SimSegments::new();
        disk.set_faults(faults);
        disk
    }

    /// Changes the faults; operations already counted stay counted.
    pub fn set_faults(&self, faults: SegmentFaults) {
        self.disk().faults = faults;
    }

    /// How many operations there were: a test crashes at each of them in turn.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// What the next process sees after power was lost now, or when the machine stopped. One of the many possible outcomes, by seed.
    #[must_use]
    pub fn crash(&self, seed: u64) -> SimSegments {
        let (files, removed) = self.disk().last_state();
        let mut random = Random(seed);
        let mut left = BTreeMap::new();
        for (id, file) in files {
            if file.name_is_durable || random.flip() {
                left.insert(id, SimFile::durable(file.after_crash(&mut random)));
            }
        }
        for (id, file) in removed {
            if random.flip() {
                let content = file.after_crash(&mut random);
                left.entry(id).or_insert(SimFile::durable(content));
            }
        }
        SimSegments::from_files(left)
    }

    /// What the next process sees after this one was killed: memory reaches the disk in the end, and so do names.
    #[must_use]
    pub fn kill(&self) -> SimSegments {
        let (files, _) = self.disk().last_state();
        SimSegments::from_files(files.into_iter().map(|(id, file)| (id, SimFile::durable(file.content()))).collect())
    }

    /// The segments that exist.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<u16> {
        self.disk().files.keys().copied().collect()
    }

    /// A segment's content as its memory has it.
    #[must_use]
    pub fn content(&self, id: u16) -> Option<Vec<u8>> {
        self.disk().files.get(&id).map(SimFile::content)
    }

    /// Replaces a segment that is not open: damage of any kind.
    ///
    /// # Panics
    /// If it is open.
    pub fn set_content(&self, id: u16, content: Vec<u8>) {
        let replaced = self.disk().files.insert(id, SimFile::durable(content));
        assert!(replaced.is_none_or(|file| matches!(file.memory, Memory::None)), "segment {id} is open");
    }

    fn from_files(files: BTreeMap<u16, SimFile>) -> SimSegments {
        SimSegments(Arc::new(Mutex::new(Disk { files, ..Disk::default() })))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SegmentSpace for SimSegments {
    fn create(&self, id: u16, bytes: u32) -> Result<Region, IoError> {
        let mut disk = self.disk();
        disk.begin("create", id)?;
        let used: u64 = disk.files.values().map(|file| file.durable.len() as u64).sum();
        if disk.faults.space_bytes.is_some_and(|space| used + u64::from(bytes) > space) {
            return Err(error("allocate", id, io::ErrorKind::StorageFull));
        }
        if disk.files.contains_key(&id) {
            return Err(error("create", id, io::ErrorKind::AlreadyExists));
        }
        let region = Region::heap(bytes);
        let memory = region.image().map_or(Memory::None, Memory::Region);
        disk.files.insert(id, SimFile { durable: vec![0; bytes as usize], memory, name_is_durable: false });
        Ok(region)
    }

    fn open(&self, id: u16, bytes: u32) -> Result<Region, IoError> {
        let mut disk = self.disk();
        disk.begin("open", id)?;
        let file = disk.files.get_mut(&id).ok_or_else(|| error("open", id, io::ErrorKind::NotFound))?;
        let content =
            file.durable.get(..bytes as usize).ok_or_else(|| error("map", id, io::ErrorKind::UnexpectedEof))?;
        let Memory::None = file.memory else { return Err(error("open", id, io::ErrorKind::ResourceBusy)) };
        let region = Region::heap_from(content);
        file.memory = region.image().map_or(Memory::None, Memory::Region);
        Ok(region)
    }

    fn list(&self) -> Result<Vec<(u16, u64)>, IoError> {
        Ok(self.disk().files.iter().map(|(id, file)| (*id, file.durable.len() as u64)).collect())
    }

    fn sync(&self, id: u16, _region: &Region, range: Range<usize>) -> Result<(), IoError> {
        let mut disk = self.disk();
        disk.begin("sync", id)?;
        disk.syncs += 1;
        let fails = disk.faults.fail_sync == Some(disk.syncs);
        let mut random = Random(disk.faults.seed ^ disk.syncs);
        // A segment may be removed while it is synced: then nothing of it is wanted.
        if let Some(file) = disk.files.get_mut(&id) {
            for page in pages(range.start / PAGE_BYTES * PAGE_BYTES..range.end.min(file.durable.len())) {
                if !fails || random.flip() {
                    let content = file.range(page.clone());
                    file.durable[page].copy_from_slice(&content);
                }
            }
        }
        if fails { Err(error("sync", id, io::ErrorKind::Other)) } else { Ok(()) }
    }

    fn sync_directory(&self) -> Result<(), IoError> {
        let mut disk = self.disk();
        disk.begin("sync the directory of", 0)?;
        disk.files.values_mut().for_each(|file| file.name_is_durable = true);
        disk.removed.clear();
        Ok(())
    }

    fn remove(&self, id: u16) -> Result<(), IoError> {
        let mut disk = self.disk();
        disk.begin("remove", id)?;
        let mut file = disk.files.remove(&id).ok_or_else(|| error("remove", id, io::ErrorKind::NotFound))?;
        // The memory stays with whoever looks at it, but nobody writes it any more.
        file.memory = Memory::Copy(file.content());
        if file.name_is_durable {
            disk.removed.insert(id, file);
        }
        Ok(())
    }
}

impl Disk {
    /// Counts an operation, and stops at the one that is asked for.
    fn begin(&mut self, operation: &'static str, id: u16) -> Result<(), IoError> {
        self.operations += 1;
        if self.faults.stop_at_operation == Some(self.operations) {
            self.stopped = Some(self.last_state());
        }
        if self.stopped.is_some() { Err(error(operation, id, io::ErrorKind::Other)) } else { Ok(()) }
    }

    /// Existing and removed segments, with copies of their memory, when the machine stopped or else now.
    fn last_state(&self) -> (BTreeMap<u16, SimFile>, BTreeMap<u16, SimFile>) {
        let copies = |files: &BTreeMap<u16, SimFile>| {
            let copy = |file: &SimFile| SimFile { memory: Memory::Copy(file.content()), ..file.clone() };
            files.iter().map(|(id, file)| (*id, copy(file))).collect()
        };
        self.stopped.clone().unwrap_or_else(|| (copies(&self.files), copies(&self.removed)))
    }
}

impl SimFile {
    fn durable(content: Vec<u8>) -> SimFile {
        SimFile { durable: content, memory: Memory::None, name_is_durable: true }
    }

    /// As the process sees it: memory, and the file behind what is mapped.
    fn content(&self) -> Vec<u8> {
        let mut content = self.range(0..self.mapped_bytes());
        content.extend_from_slice(&self.durable[content.len()..]);
        content
    }

    fn mapped_bytes(&self) -> usize {
        match &self.memory {
            Memory::None => 0,
            Memory::Region(image) => image.len(),
            Memory::Copy(content) => content.len(),
        }
    }

    fn range(&self, range: Range<usize>) -> Vec<u8> {
        match &self.memory {
            Memory::None => self.durable[range].to_vec(),
            Memory::Region(image) => image.copy(range),
            Memory::Copy(content) => content[range].to_vec(),
        }
    }

    /// Every page that differs from what is durable is old, new, or torn between sectors.
    fn after_crash(mut self, random: &mut Random) -> Vec<u8> {
        let memory = self.content();
        for page in pages(0..self.durable.len()) {
            if self.durable[page.clone()] == memory[page.clone()] {
                continue;
            }
            match random.below(3) {
                0 => {}
                1 => self.durable[page.clone()].copy_from_slice(&memory[page]),
                _ => {
                    for start in page.clone().step_by(SECTOR_BYTES).filter(|_| random.flip()) {
                        let sector = start..page.end.min(start + SECTOR_BYTES);
                        self.durable[sector.clone()].copy_from_slice(&memory[sector]);
                    }
                }
            }
        }
        self.durable
    }
}

fn pages(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(PAGE_BYTES).map(move |start| start..end.min(start + PAGE_BYTES))
}

fn error(operation: &'static str, id: u16, kind: io::ErrorKind) -> IoError {
    IoError::new(operation, format!("simulated {id:05}.seg"), kind)
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and every seed is a good one.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn flip(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sutra_mmap_store::{NewRecord, Options, Store};

    fn store_with_one_record(disk: &SimSegments) -> Store {
        let options = Options { segment_bytes: 65536, ..Options::default() };
        let (store, damages) = Store::open(Box::new(disk.clone()), options).unwrap();
        assert!(damages.is_empty());
        let record = NewRecord { key: b"key", value: &[7; 20_000], expires_at_ms: None, cost: None, annex: None };
        store.append(0, &record).unwrap();
        store
    }

    #[test]
    fn what_is_synced_survives_every_crash() {
        let disk = SimSegments::new();
        let store = store_with_one_record(&disk);
        store.sync().unwrap();
        for seed in 0..50 {
            assert_eq!(disk.crash(seed).content(1), disk.content(1), "seed {seed}");
        }
    }

    #[test]
    fn what_is_not_synced_is_lost_torn_or_there() {
        let disk = SimSegments::new();
        let _store = store_with_one_record(&disk);
        let whole = disk.content(1);
        let outcomes: Vec<Option<Vec<u8>>> = (0..200).map(|seed| disk.crash(seed).content(1)).collect();
        assert!(outcomes.contains(&None), "the name is lost");
        let page = |content: &Vec<u8>, page: usize| content[page * PAGE_BYTES..(page + 1) * PAGE_BYTES].to_vec();
        let whole = whole.unwrap();
        let pages: Vec<Vec<u8>> = outcomes.iter().flatten().map(|content| page(content, 1)).collect();
        assert!(pages.contains(&vec![0; PAGE_BYTES]), "lost");
        assert!(pages.contains(&page(&whole, 1)), "there");
        assert!(pages.iter().any(|it| it.contains(&0) && it.contains(&7)), "torn");
        assert_eq!(disk.kill().content(1), Some(whole));
    }

    #[test]
    fn a_machine_that_stopped_forgets_what_came_later() {
        let disk = SimSegments::with_faults(SegmentFaults { stop_at_operation: Some(2), ..SegmentFaults::default() });
        let store = store_with_one_record(&disk);
        let before = disk.content(1);
        assert!(store.sync().is_err());
        let record = NewRecord { key: b"later", value: &[8; 100], expires_at_ms: None, cost: None, annex: None };
        assert!(store.append(0, &record).is_err(), "a store that failed takes nothing");
        assert_eq!(disk.kill().content(1), before);
    }

    #[test]
    fn a_full_disk_is_an_error_and_not_a_crash() {
        let disk = SimSegments::with_faults(SegmentFaults { space_bytes: Some(65536), ..SegmentFaults::default() });
        let store = store_with_one_record(&disk);
        let record = NewRecord { key: b"key", value: &[7; 20_000], expires_at_ms: None, cost: None, annex: None };
        store.append(0, &record).unwrap();
        store.append(0, &record).unwrap();
        let error = store.append(0, &record).unwrap_err();
        assert!(
            matches!(error, sutra_mmap_store::StoreError::Io(ref it) if it.kind() == sutra_mmap_store::IoErrorKind::NoSpace)
        );
        assert!(store.sync().is_ok(), "what is there can still be made durable");
    }
}
