//! A storage that reads a directory and keeps every change to itself: recovery can run on it as it would on the disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sutra_wal::{File, IoError, Storage};

/// Changes are kept in pages of so many bytes.
const PAGE_BYTES: u64 = 4096;

/// A directory of files as it was, and what was changed since in memory.
pub(super) struct Overlay {
    directory: PathBuf,
    files: Mutex<BTreeMap<String, Arc<Content>>>,
}

/// A file: the one on disk, if there is one, under the pages that were written.
struct Content {
    path: PathBuf,
    base: Option<fs::File>,
    base_bytes: u64,
    changes: Mutex<Changes>,
}

struct Changes {
    len: u64,
    /// How much of the file on disk still shows through.
    base_bytes: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

struct Opened(Arc<Content>);

impl Overlay {
    /// Reads the names of a directory; contents are read when they are asked for.
    pub(super) fn open(directory: &Path) -> Result<Overlay, IoError> {
        let wrap = |error| IoError::new("list", directory, error);
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(directory).map_err(wrap)? {
            let entry = entry.map_err(wrap)?;
            let (true, Ok(name)) = (entry.file_type().map_err(wrap)?.is_file(), entry.file_name().into_string()) else {
                continue;
            };
            let path = entry.path();
            let base = fs::File::open(&path).map_err(|error| IoError::new("open", &path, error))?;
            let base_bytes = base.metadata().map_err(|error| IoError::new("measure", &path, error))?.len();
            files.insert(name, Arc::new(Content::new(path, Some(base), base_bytes, base_bytes)));
        }
        Ok(Overlay { directory: directory.to_owned(), files: Mutex::new(files) })
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Content>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn missing(&self, operation: &'static str, name: &str) -> IoError {
        IoError::new(operation, self.directory.join(name), io::ErrorKind::NotFound.into())
    }
}

impl Storage for Overlay {
    fn create(&self, name: &str, allocate_bytes: u64) -> Result<Box<dyn File>, IoError> {
        let path = self.directory.join(name);
        let mut files = self.files();
        if files.contains_key(name) {
            return Err(IoError::new("create", path, io::ErrorKind::AlreadyExists.into()));
        }
        let content = Arc::new(Content::new(path, None, 0, allocate_bytes));
        files.insert(name.to_owned(), Arc::clone(&content));
        Ok(Box::new(Opened(content)))
    }

    fn open(&self, name: &str) -> Result<Box<dyn File>, IoError> {
        let content = self.files().get(name).cloned();
        content.map(|content| Box::new(Opened(content)) as Box<dyn File>).ok_or_else(|| self.missing("open", name))
    }

    fn list(&self) -> Result<Vec<String>, IoError> {
        Ok(self.files().keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), IoError> {
        let mut files = self.files();
        let content = files.remove(from).ok_or_else(|| self.missing("rename", from))?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), IoError> {
        self.files().remove(name).map(drop).ok_or_else(|| self.missing("remove", name))
    }

    fn sync_directory(&self) -> Result<(), IoError> {
        Ok(())
    }
}

impl Content {
    fn new(path: PathBuf, base: Option<fs::File>, base_bytes: u64, len: u64) -> Content {
        Content { path, base, base_bytes, changes: Mutex::new(Changes { len, base_bytes, pages: BTreeMap::new() }) }
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the disk has at `offset`, zeros where it has nothing.
    fn read_base(&self, visible_bytes: u64, offset: u64, buffer: &mut [u8]) -> Result<(), IoError> {
        buffer.fill(0);
        let visible = visible_bytes.min(self.base_bytes).saturating_sub(offset).min(buffer.len() as u64) as usize;
        match &self.base {
            Some(file) if visible > 0 => {
                let wrap = |error| IoError::new("read", &self.path, error);
                file.read_exact_at(&mut buffer[..visible], offset).map_err(wrap)
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl File for Opened {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, IoError> {
        let changes = self.0.changes();
        let count = changes.len.saturating_sub(offset).min(buffer.len() as u64);
        let buffer = &mut buffer[..count as usize];
        self.0.read_base(changes.base_bytes, offset, buffer)?;
        let end = offset + count;
        for (number, page) in changes.pages.range(offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES)) {
            let begins = number * PAGE_BYTES;
            let from = begins.max(offset);
            let to = (begins + PAGE_BYTES).min(end);
            let piece = &page[(from - begins) as usize..(to - begins) as usize];
            buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(piece);
        }
        Ok(count as usize)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), IoError> {
        let mut changes = self.0.changes();
        let end = offset + bytes.len() as u64;
        for number in offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES) {
            let begins = number * PAGE_BYTES;
            if !changes.pages.contains_key(&number) {
                let mut page = vec![0; PAGE_BYTES as usize].into_boxed_slice();
                self.0.read_base(changes.base_bytes, begins, &mut page)?;
                changes.pages.insert(number, page);
            }
            let Some(page) = changes.pages.get_mut(&number) else { continue };
            let from = begins.max(offset);
            let to = (begins + PAGE_BYTES).min(end);
            let piece = &bytes[(from - offset) as usize..(to - offset) as usize];
            page[(from - begins) as usize..(to - begins) as usize].copy_from_slice(piece);
        }
        changes.len = changes.len.max(end);
        Ok(())
    }

    fn sync(&self) -> Result<(), IoError> {
        Ok(())
    }

    fn len(&self) -> Result<u64, IoError> {
        Ok(self.0.changes().len)
    }

    fn set_len(&self, bytes: u64) -> Result<(), IoError> {
        let mut changes = self.0.changes();
        changes.len = bytes;
        changes.base_bytes = changes.base_bytes.min(bytes);
        changes.pages.retain(|number, _| number * PAGE_BYTES < bytes);
        let last = bytes / PAGE_BYTES;
        if let Some(page) = changes.pages.get_mut(&last) {
            page[(bytes % PAGE_BYTES) as usize..].fill(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &dyn File, offset: u64, count: usize) -> Vec<u8> {
        let mut buffer = vec![9; count];
        let count = file.read_at(offset, &mut buffer).unwrap();
        buffer.truncate(count);
        buffer
    }

    #[test]
    fn changes_are_seen_through_the_overlay_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one");
        let content: Vec<u8> = (0..10_000_u32).map(|number| number as u8).collect();
        fs::write(&path, &content).unwrap();
        let overlay = Overlay::open(directory.path()).unwrap();
        let file = overlay.open("one").unwrap();
        assert_eq!(read(&*file, 4000, 200), content[4000..4200]);
        file.write_at(4090, &[1; 20]).unwrap();
        let mut expected = content.clone();
        expected[4090..4110].fill(1);
        assert_eq!(read(&*file, 0, 20_000), expected);
        file.set_len(4100).unwrap();
        file.set_len(4200).unwrap();
        expected.truncate(4100);
        expected.resize(4200, 0);
        assert_eq!(read(&*file, 0, 20_000), expected, "what was cut off does not come back");
        file.write_at(9_000, b"x").unwrap();
        expected.resize(9_000, 0);
        expected.push(b'x');
        assert_eq!(read(&*file, 0, 20_000), expected);
        overlay.rename("one", "two").unwrap();
        overlay.create("three", 100).unwrap();
        assert_eq!(overlay.list().unwrap(), ["three", "two"]);
        overlay.remove("two").unwrap();
        assert!(overlay.open("two").is_err() && overlay.create("three", 1).is_err());
        assert_eq!(fs::read(&path).unwrap(), content);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
