//! The database's journal files from outside: whether their end was torn, and a way around damage in them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::engine::{Engine, EngineError};
use super::salvage::make_private;

/// The journals of a folder, newest first, with the place after their last byte that is not zero: a journal is
/// made longer than what is in it.
pub(super) fn written(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for path in journals(folder)? {
        let end = content_end(&path)?;
        found.push((path, end));
    }
    Ok(found)
}

/// Bytes that the database cut off the end of its journals when it opened them.
pub(super) fn torn_bytes(written: &[(PathBuf, u64)]) -> io::Result<u64> {
    let mut torn = 0;
    for (path, end) in written {
        // One that is gone was finished.
        if let Ok(now) = fs::metadata(path) {
            torn += end.saturating_sub(now.len());
        }
    }
    Ok(torn)
}

/// Cuts the journal before the first damage in it, so that the database opens again; a copy of what it was goes
/// into the folder `aside`. Returns whether that helps. Where the damage is, only the database knows: it opens
/// copies, each cut in the middle of where the damage may be.
pub(super) fn cut_before_damage(folder: &Path, aside: &Path) -> io::Result<bool> {
    let scratch = folder.with_extension("scratch");
    for path in journals(folder)? {
        let opens = |length: u64| -> io::Result<bool> {
            copy(folder, &scratch, &path, length)?;
            let opened = Engine::open(&scratch).map(drop);
            fs::remove_dir_all(&scratch)?;
            match opened {
                Ok(()) => Ok(true),
                Err(EngineError::Damaged(_)) => Ok(false),
                Err(error) => Err(io::Error::other(error)),
            }
        };
        let (mut whole, mut damaged) = (0, content_end(&path)?);
        if !opens(whole)? {
            continue;
        }
        while damaged - whole > 1 {
            let middle = whole + (damaged - whole) / 2;
            *(if opens(middle)? { &mut whole } else { &mut damaged }) = middle;
        }
        make_private(aside)?;
        fs::copy(&path, aside.join(path.file_name().unwrap_or_default()))?;
        let journal = OpenOptions::new().write(true).open(&path)?;
        journal.set_len(whole)?;
        journal.sync_all()?;
        return Ok(true);
    }
    Ok(false)
}

/// Cuts the journal at a record, if it is there: the write that it was part of is then one that was not finished. The
/// database must be closed.
pub(super) fn cut_at(folder: &Path, record: &[u8]) -> io::Result<()> {
    for path in journals(folder)? {
        let bytes = fs::read(&path)?;
        if let Some(at) = bytes.windows(record.len()).position(|window| window == record) {
            OpenOptions::new().write(true).open(&path)?.set_len(at as u64)?;
        }
    }
    Ok(())
}

fn journals(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let number =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|end| end == "jnl")) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().rev().map(|(_, path)| path).collect())
}

fn content_end(path: &Path) -> io::Result<u64> {
    const STEP: u64 = 64 << 10;
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut buffer = vec![0; STEP as usize];
    while end > 0 {
        let from = end.saturating_sub(STEP);
        let piece = &mut buffer[..usize::try_from(end - from).expect("at most a step")];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(piece)?;
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
            return Ok(from + last as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

/// A copy of the database with one journal cut; files that are never written to again are shared.
fn copy(folder: &Path, to: &Path, journal: &Path, length: u64) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    make_private(to)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&from, &to, journal, length)?;
        } else if from == journal {
            io::copy(&mut File::open(&from)?.take(length), &mut File::create(&to)?)?;
        } else if from.parent().is_some_and(|parent| parent.ends_with("tables")) {
            fs::hard_link(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
