//! Opens the durable history as an earlier run left it: whole, torn at its end, or damaged.
//!
//! | found | kept | told |
//! |---|---|---|
//! | whole | everything | nothing |
//! | a last write that was not finished | everything that was | one warning |
//! | damage, and whole events after it | those after it | one error; clients with older ids get a reset |
//! | damage at the end | what was before it | the same |
//! | nothing that can be opened | nothing | the same |
//!
//! Damaged files are moved aside, never deleted.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::StoreError;
use super::disk::failed;
use super::engine::{Engine, EngineError};
use super::journal;
use super::record;
use crate::hub::{EventId, Frame, KeyUse, Ordinal, Recovered, RecoveredEvent};

/// Places looked at for the end of a damaged part.
const DAMAGED_MAX: u64 = 1 << 20;

/// Events copied with one write.
const COPIED_MAX: usize = 1024;

/// What is left.
pub(super) struct Left {
    pub(super) recovered: Recovered,
    /// The number that the next event gets.
    pub(super) next: Ordinal,
}

/// Where the history of a data folder is.
pub(super) fn history_in(data_dir: &Path) -> PathBuf {
    data_dir.join("history")
}

/// Puts a history aside that cannot go on, for a run with its history in memory publishes what it would not have.
pub(super) fn end_history(folder: &Path) -> Result<(), StoreError> {
    if folder.exists() {
        let aside = aside(folder, "ended");
        set_aside(folder, &aside, None)
            .map_err(|source| StoreError::History { path: folder.to_owned(), source })?;
        log::warn!("the history is in memory from now on: the one on disk is in {}", aside.display());
    }
    Ok(())
}

/// Opens the database in this folder. `mark`: no id reached it before.
pub(super) fn open(
    folder: &Path,
    mark: EventId,
    ring_bytes_max: usize,
) -> Result<(Engine, Left), StoreError> {
    let io = |source| StoreError::History { path: folder.to_owned(), source };
    let fail = |error| failed(folder, error);
    make_private(folder).map_err(io)?;
    let written = journal::written(folder).map_err(io)?;
    let (mut is_cut, mut torn) = (false, 0);
    let engine = match Engine::open(folder) {
        Ok(engine) => {
            torn = journal::torn_bytes(&written).map_err(io)?;
            engine
        }
        Err(EngineError::Damaged(why)) => {
            let aside = aside(folder, "damaged");
            is_cut = journal::cut_before_damage(folder, &aside).map_err(io)?;
            if !is_cut {
                set_aside(folder, &aside, None).map_err(io)?;
                make_private(folder).map_err(io)?;
            }
            let kept = if is_cut {
                "everything up to the last whole event is kept, what followed is lost"
            } else {
                "nothing of it can be read, and it begins anew"
            };
            let name = folder.display();
            log::error!(
                "the history in {name} was damaged ({why}): {kept}; the damaged files are in {}",
                aside.display()
            );
            Engine::open(folder).map_err(fail)?
        }
        Err(error) => return Err(fail(error)),
    };
    if torn > 0 {
        log::warn!(
            "the last write to the history in {} was not finished: {torn} bytes after the last whole event were cut",
            folder.display()
        );
    }
    if engine.is_new().map_err(fail)? {
        engine.begin(0, mark).map_err(fail)?;
    }
    let mut found = look(&engine, ring_bytes_max).map_err(fail)?;
    if is_cut {
        found.floor = found.floor.max(mark);
        engine.begin(found.first, found.floor).map_err(fail)?;
    }
    let keys = match engine.keys() {
        Ok(keys) => keys,
        Err(EngineError::Damaged(_)) => {
            found.is_damaged = true;
            Vec::new()
        }
        Err(error) => return Err(fail(error)),
    };
    let is_lossy = torn > 0 || found.is_damaged;
    let engine = if found.is_damaged { rebuild(folder, engine, &mut found, &keys, mark)? } else { engine };
    let newest = found.newest();
    let recovered = Recovered {
        newest,
        issued: if is_lossy { newest.max(mark) } else { newest },
        floor: found.floor,
        first: found.first,
        keys,
        events: found.events,
        frames: found.frames.into(),
    };
    let next = recovered.first + recovered.events.len() as u64;
    Ok((engine, Left { recovered, next }))
}

/// The whole events of a database.
#[derive(Default)]
struct Found {
    first: Ordinal,
    floor: EventId,
    events: Vec<RecoveredEvent>,
    /// The frames of the newest.
    frames: VecDeque<Arc<Frame>>,
    frames_bytes: usize,
    is_damaged: bool,
}

impl Found {
    fn newest(&self) -> EventId {
        self.events.last().map_or(self.floor, |event| event.id).max(self.floor)
    }

    fn next(&self) -> Ordinal {
        self.first + self.events.len() as u64
    }

    fn add(&mut self, event: RecoveredEvent, frame: Frame, ring_bytes_max: usize) {
        self.events.push(event);
        self.frames_bytes += event.cost;
        self.frames.push_back(Arc::new(frame));
        while self.frames_bytes > ring_bytes_max
            && let Some(oldest) = self.frames.pop_front()
        {
            self.frames_bytes -= oldest.cost();
        }
    }
}

/// Looks at every event. Of events on both sides of damage the later ones count.
fn look(engine: &Engine, ring_bytes_max: usize) -> Result<Found, EngineError> {
    let (first, floor, now) = (engine.first()?, engine.floor()?, Instant::now());
    let mut found = Found { first, floor, ..Found::default() };
    let (mut before, mut at, mut is_hole) = (None::<Found>, first, false);
    let mut skipped = 0;
    loop {
        let scanned = engine.scan(at, |number, event, bytes| {
            let whole = event.ok().and_then(|event| Some((event, record::decode(number, bytes, now).ok()?)));
            if number != at || whole.is_none() || std::mem::take(&mut is_hole) {
                // The later part begins here, or after this one.
                let next = if whole.is_some() { number } else { number.saturating_add(1) };
                let earlier = std::mem::replace(&mut found, Found { first: next, ..Found::default() });
                found.is_damaged = true;
                if before.is_none() || !earlier.events.is_empty() {
                    before = Some(earlier);
                }
            }
            if let Some((event, frame)) = whole {
                found.add(event, frame, ring_bytes_max);
            }
            at = number.saturating_add(1);
            true
        });
        match scanned {
            Ok(()) => break,
            Err(EngineError::Damaged(_)) if skipped < DAMAGED_MAX => {
                (found.is_damaged, is_hole) = (true, true);
                (at, skipped) = (at + 1, skipped + 1);
            }
            Err(error) => return Err(error),
        }
    }
    match before {
        Some(earlier) if found.events.is_empty() => Ok(Found { is_damaged: true, ..earlier }),
        Some(earlier) => {
            // Whatever is between the two parts is lost.
            let floor = found.events.first().map_or(earlier.floor, |event| event.id.before());
            Ok(Found { floor, ..found })
        }
        None => Ok(found),
    }
}

/// Copies the whole events into a new database, with the keys that could be read, and puts the damaged one aside.
fn rebuild(
    folder: &Path,
    engine: Engine,
    found: &mut Found,
    keys: &[KeyUse],
    mark: EventId,
) -> Result<Engine, StoreError> {
    let io = |source| StoreError::History { path: folder.to_owned(), source };
    let fail = |error| failed(folder, error);
    let has_end = engine.last_number().is_ok_and(|last| last.is_some_and(|last| last < found.next()));
    if !has_end {
        // What is lost was the newest: whoever may have seen it, or missed it, is told.
        found.floor = found.floor.max(mark);
    }
    let new = folder.with_extension("new");
    if new.exists() {
        fs::remove_dir_all(&new).map_err(io)?;
    }
    make_private(&new).map_err(io)?;
    let copy = Engine::open(&new).map_err(fail)?;
    copy.begin(found.first, found.floor).map_err(fail)?;
    let next = found.next();
    let mut at = found.first;
    while at < next {
        let mut records = Vec::with_capacity(COPIED_MAX);
        let read = engine.scan(at, |number, _, bytes| {
            records.push((number, bytes.to_vec()));
            number + 1 < next && records.len() < COPIED_MAX
        });
        read.map_err(fail)?;
        let Some((last, _)) = records.last() else { break };
        at = last + 1;
        copy.put_records(records).map_err(fail)?;
    }
    copy.put_keys(keys).map_err(fail)?;
    drop((engine, copy));
    let aside = aside(folder, "damaged");
    set_aside(folder, &aside, Some(&new)).map_err(io)?;
    log::error!(
        "the history in {} was damaged: {} whole events are kept, from {}; the damaged files are in {}",
        folder.display(),
        found.events.len(),
        found.events.first().map_or(found.floor, |event| event.id),
        aside.display()
    );
    Engine::open(folder).map_err(fail)
}

/// Makes a folder for its owner alone: events may be private.
pub(super) fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn aside(folder: &Path, why: &str) -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    folder.with_extension(format!("{why}-{}", now.as_millis()))
}

/// Moves the folder aside, and another into its place; there is always one, whenever the process is killed.
fn set_aside(folder: &Path, aside: &Path, instead: Option<&Path>) -> io::Result<()> {
    match instead {
        Some(instead) => {
            renameat2(AT_FDCWD, folder, AT_FDCWD, instead, RenameFlags::RENAME_EXCHANGE)?;
            fs::rename(instead, aside)?;
        }
        None => fs::rename(folder, aside)?,
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
