//! The file with the mark that no event id of this folder has reached.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::StoreError;
use crate::hub::EventId;

/// `event-id.mark` in the data folder, replaced whole and durably.
#[derive(Debug)]
pub(super) struct Mark {
    /// Held as long as this process uses the folder.
    _lock: File,
    folder: PathBuf,
    path: PathBuf,
    /// One writer at a time; the highest mark written.
    written: Mutex<EventId>,
}

impl Mark {
    /// Opens the mark of a folder, made if it is missing, and shows that it can be written. Nobody else may
    /// use the folder from then on.
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        let io = |source| StoreError::Folder { path: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(io)?;
        let lock = File::create(folder.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path: folder.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let path = folder.join("event-id.mark");
        let found = match fs::read_to_string(&path) {
            Ok(text) => {
                let bad =
                    || StoreError::BadMark { path: path.clone(), found: text.chars().take(64).collect() };
                text.trim_end().parse().map_err(|_| bad())?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => EventId::ZERO,
            Err(source) => return Err(StoreError::ReadMark { path, source }),
        };
        let written = Mutex::new(found);
        let mark = Self { _lock: lock, folder: folder.to_owned(), path, written };
        mark.replace(found)?;
        Ok(mark)
    }

    /// The mark now.
    pub(super) fn get(&self) -> EventId {
        *self.written.lock()
    }

    /// Moves the mark up; one that is high enough already stays.
    pub(super) fn raise(&self, to: EventId) -> Result<(), StoreError> {
        let mut written = self.written.lock();
        if to > *written {
            self.replace(to)?;
            *written = to;
        }
        Ok(())
    }

    /// Puts the mark exactly there, down too: only when nothing will be issued any more.
    pub(super) fn settle(&self, at: EventId) -> Result<(), StoreError> {
        let mut written = self.written.lock();
        self.replace(at)?;
        *written = at;
        Ok(())
    }

    /// Writes the same mark again: whether it can be.
    pub(super) fn rewrite(&self) -> Result<(), StoreError> {
        let written = self.written.lock();
        self.replace(*written)
    }

    fn replace(&self, mark: EventId) -> Result<(), StoreError> {
        let write = || {
            let temporary = self.path.with_extension("mark.new");
            let mut file = File::create(&temporary)?;
            writeln!(file, "{mark}")?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| StoreError::WriteMark { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn id(ms: u64, seq: u64) -> EventId {
        EventId { ms, seq }
    }

    #[test]
    fn mark_outlives_its_process() {
        let data = TempDir::new().unwrap();
        let folder = data.path().join("made/when/missing");
        let mark = Mark::open(&folder).unwrap();
        assert_eq!(mark.get(), EventId::ZERO);
        mark.raise(id(100, 0)).unwrap();
        mark.raise(id(50, 0)).unwrap();
        drop(mark);
        assert_eq!(Mark::open(&folder).unwrap().get(), id(100, 0), "it never goes down while ids are issued");
        let mark = Mark::open(&folder).unwrap();
        assert!(matches!(Mark::open(&folder), Err(StoreError::Locked { .. })), "one process at a time");
        mark.settle(id(70, 3)).unwrap();
        drop(mark);
        assert_eq!(Mark::open(&folder).unwrap().get(), id(70, 3));
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files.len(), 2, "{files:?}");
    }

    #[test]
    fn mark_that_is_none_stops_the_start() {
        let data = TempDir::new().unwrap();
        for text in ["", "garbage", "1-", "\0\0\0"] {
            fs::write(data.path().join("event-id.mark"), text).unwrap();
            assert!(matches!(Mark::open(data.path()), Err(StoreError::BadMark { .. })), "{text:?}");
        }
    }

    #[test]
    fn folder_that_cannot_be_written_stops_the_start() {
        let data = TempDir::new().unwrap();
        let file = data.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Mark::open(&file).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot use data folder {}", file.display()));
    }
}
