//! What a login must remember across restarts, on disk: a line for each change, written anew when most of them are old.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Lines above twice what is in force, at which the file is written anew.
const LINES_SPARE: usize = 1024;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// An address has named so many wrong passcodes.
    Failed { address: IpAddr, count: u32, last_ms: u64 },
    /// An address has named the right one.
    Cleared { address: IpAddr },
    /// A session was ended.
    Ended { id: String, begun_ms: u64, until_ms: u64 },
    /// Sessions that began before this are ended.
    Floor { begun_ms: u64 },
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
    /// A line may be there in part: nothing may be appended to it.
    is_torn: bool,
}

impl Journal {
    /// What `path` holds, oldest first; a line that cannot be read is passed over and counted. No file is an empty one.
    pub(super) fn read(path: &Path) -> io::Result<(Vec<Entry>, usize)> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
            Err(error) => return Err(error),
        };
        Ok(Self::parse(&text))
    }

    /// The entries of a text, and how many of its lines are none.
    pub(super) fn parse(text: &[u8]) -> (Vec<Entry>, usize) {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let (mut entries, mut unreadable) = (Vec::new(), 0);
        for line in lines {
            match serde_json::from_slice(line) {
                Ok(entry) => entries.push(entry),
                Err(_) => unreadable += 1,
            }
        }
        (entries, unreadable)
    }

    /// The text of entries.
    pub(super) fn text(entries: &[Entry]) -> Vec<u8> {
        let mut text = Vec::with_capacity(entries.len() * 96);
        for entry in entries {
            line(&mut text, entry);
        }
        text
    }

    /// A file with these entries alone, whole or not at all, for nobody else to read.
    pub(super) fn begin(path: &Path, entries: &[Entry]) -> io::Result<Self> {
        let partial = path.with_extension("journal.partial");
        let _ = std::fs::remove_file(&partial);
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&partial)?;
        file.write_all(&Self::text(entries))?;
        file.sync_all()?;
        std::fs::rename(&partial, path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self { path: path.to_owned(), file, lines: entries.len(), is_torn: false })
    }

    /// Adds a change; `all`: what is in force, should the file have to be written anew. `is_lasting`: it is to survive a
    /// power cut, not only the end of the process.
    pub(super) fn append(
        &mut self,
        entry: &Entry,
        is_lasting: bool,
        in_force: usize,
        all: impl FnOnce() -> Vec<Entry>,
    ) -> io::Result<()> {
        if self.is_torn || self.lines >= 2 * in_force + LINES_SPARE {
            *self = Self::begin(&self.path, &all())?;
            return Ok(());
        }
        let mut text = Vec::with_capacity(128);
        line(&mut text, entry);
        self.is_torn = true;
        self.file.write_all(&text)?;
        if is_lasting {
            self.file.sync_data()?;
        }
        self.is_torn = false;
        self.lines += 1;
        Ok(())
    }
}

fn line(text: &mut Vec<u8>, entry: &Entry) {
    // A Vec takes everything, and an entry is plain numbers and text.
    let _ = serde_json::to_writer(&mut *text, entry);
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn failed(count: u32) -> Entry {
        Entry::Failed { address: "192.0.2.1".parse().unwrap(), count, last_ms: 7 }
    }

    #[test]
    fn entries_come_back_in_order_and_a_torn_line_costs_no_other() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("login.journal");
        assert_eq!(Journal::read(&path).unwrap(), (Vec::new(), 0));
        let mut journal = Journal::begin(&path, &[failed(1)]).unwrap();
        let ended = Entry::Ended { id: "a".to_owned(), begun_ms: 1, until_ms: 2 };
        for entry in [&ended, &Entry::Floor { begun_ms: 9 }, &failed(2)] {
            journal.append(entry, true, 1, || unreachable!("the file is short")).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("{\"failed\":{\"address\":\"192.0.2.1\",\"count\":1,\"last_ms\":7}}\n"),
            "{text}"
        );
        std::fs::write(&path, format!("{text}{{\"failed\":{{\"addr")).unwrap();
        let expected = vec![failed(1), ended, Entry::Floor { begun_ms: 9 }, failed(2)];
        assert_eq!(Journal::read(&path).unwrap(), (expected, 1));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    /// The attack: wrong passcodes without end fill the disk.
    #[test]
    fn file_is_written_anew_before_it_grows_beyond_its_bound() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("login.journal");
        let mut journal = Journal::begin(&path, &[]).unwrap();
        for count in 0..5000 {
            journal.append(&failed(count), false, 1, || vec![failed(count)]).unwrap();
            assert!(journal.lines <= LINES_SPARE + 2);
        }
        let (entries, unreadable) = Journal::read(&path).unwrap();
        assert_eq!((entries.last(), unreadable, entries.len()), (Some(&failed(4999)), 0, journal.lines));
    }
}
