//! The database under the durable history: fjall, one folder, one synced journal write for each group.

use std::fs;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::time::Instant;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch as WriteBatch, PersistMode};

use super::record::{self, Damaged};
use super::{Commit, Discard};
use crate::hub::{EventId, Frame, IdempotencyKey, KeyUse, Ordinal, Portion, RecoveredEvent};

/// The format of what is in the database; a higher one is refused.
const FORMAT: u64 = 1;

/// Memory for blocks that were read, and for events that are in the journal alone.
const CACHE_BYTES: u64 = 2 << 20;
const MEMTABLE_BYTES: u64 = 4 << 20;
/// The least that fjall takes: 64 MiB of journal, of which only what is written takes room.
const JOURNAL_BYTES: u64 = 64 << 20;

/// Keys let go with one write.
const KEYS_DISCARDED_MAX: usize = 8192;
/// Events let go with one write.
const EVENTS_DISCARDED_MAX: u64 = 8192;

/// Larger than the rest of a page, so that a full disk is noticed.
const PROBE_BYTES: usize = 16 << 10;

/// What the database cannot do.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// Another process has it open.
    #[error("another process uses it")]
    Locked,
    /// It was written by a later version.
    #[error("it has a format of a later version")]
    NewerFormat,
    /// What is there is not what was written.
    #[error("it is damaged")]
    Damaged(#[source] fjall::Error),
    /// The operating system refused.
    #[error(transparent)]
    Io(io::Error),
    /// Anything else.
    #[error(transparent)]
    Other(fjall::Error),
}

impl From<fjall::Error> for EngineError {
    fn from(error: fjall::Error) -> Self {
        use fjall::Error;
        match error {
            Error::Locked => Self::Locked,
            Error::Io(error) => Self::Io(error),
            Error::InvalidVersion(_) => Self::NewerFormat,
            Error::JournalRecovery(_)
            | Error::InvalidTrailer
            | Error::InvalidTag(_)
            | Error::Decompress(_)
            | Error::Unrecoverable => Self::Damaged(error),
            Error::Storage(inner) => match inner {
                fjall::LsmError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => Self::Io(error),
                inner => Self::Damaged(Error::Storage(inner)),
            },
            error => Self::Other(error),
        }
    }
}

/// Small facts beside the events.
#[derive(Debug, Clone, Copy)]
enum Fact {
    Format,
    /// The highest id that was let go.
    Floor,
    /// The number of the oldest event not let go.
    First,
    Probe,
}

/// The open database.
pub(super) struct Engine {
    database: Database,
    /// By number.
    events: Keyspace,
    /// By the id of the event that the key was used for.
    keys: Keyspace,
    facts: Keyspace,
}

impl Engine {
    /// Opens it, or makes a new one.
    pub(super) fn open(folder: &Path) -> Result<Self, EngineError> {
        Self::open_whatever(folder).map_err(|error| match error {
            // Files of its own are missing, cut or not what they were.
            EngineError::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
                ) =>
            {
                EngineError::Damaged(fjall::Error::Io(error))
            }
            EngineError::NewerFormat if !has_version(folder) => {
                EngineError::Damaged(fjall::Error::Unrecoverable)
            }
            error => error,
        })
    }

    fn open_whatever(folder: &Path) -> Result<Self, EngineError> {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1)
            .manual_journal_persist(true)
            .open()?;
        let keyspace = |name| {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            database.keyspace(name, options)
        };
        let (events, keys, facts) = (keyspace("events")?, keyspace("keys")?, keyspace("facts")?);
        let engine = Self { database, events, keys, facts };
        match engine.number(Fact::Format)? {
            Some(format) if format > FORMAT => return Err(EngineError::NewerFormat),
            Some(_) => {}
            None => {
                let mut write = engine.write();
                engine.put(&mut write, Fact::Format, &FORMAT.to_be_bytes());
                write.commit()?;
            }
        }
        Ok(engine)
    }

    /// Writes groups as one, with one sync: events numbered from `first` on, and their keys.
    pub(super) fn commit(&self, first: Ordinal, groups: &[Commit]) -> Result<(), EngineError> {
        let mut write = self.write();
        let mut number = first;
        for Commit { frames, keys } in groups {
            for frame in &**frames {
                write.insert(&self.events, number.to_be_bytes(), record::encode(number, frame));
                number += 1;
            }
            keys.iter().for_each(|key| self.put_key(&mut write, key));
        }
        Ok(write.commit()?)
    }

    fn put_key(&self, write: &mut WriteBatch, KeyUse { key, id, at_ms }: &KeyUse) {
        let value = [&at_ms.to_be_bytes(), key.as_str().as_bytes()].concat();
        write.insert(&self.keys, id_key(*id), value);
    }

    /// Lets go up to a portion of what nobody needs. Nothing is synced: what comes back after a crash is let go
    /// again. Returns whether there may be more.
    pub(super) fn discard(&self, what: Discard) -> Result<bool, EngineError> {
        let mut write = self.database.batch();
        let first = self.first()?;
        let before = what.events_before.min(first + EVENTS_DISCARDED_MAX);
        if before > first {
            // One that cannot be read is below every floor that follows.
            let last = self.events.get((before - 1).to_be_bytes())?;
            if let Some(Ok(last)) = last.map(|bytes| record::outline(before - 1, &bytes)) {
                self.put(&mut write, Fact::Floor, &id_key(last.id));
            }
            self.put(&mut write, Fact::First, &before.to_be_bytes());
            (first..before).for_each(|number| write.remove(&self.events, number.to_be_bytes()));
        }
        let mut keys = 0;
        for entry in self.keys.iter().take(KEYS_DISCARDED_MAX) {
            let (key, value) = entry.into_inner()?;
            if key_use(&key, &value).is_some_and(|found| found.at_ms >= what.keys_before_ms) {
                break;
            }
            write.remove(&self.keys, key);
            keys += 1;
        }
        if !write.is_empty() {
            write.commit()?;
        }
        Ok(before < what.events_before || keys == KEYS_DISCARDED_MAX)
    }

    /// Removes what a write that was refused may have left: events from `number` on, keys of later events than
    /// `last`; and shows that writes succeed.
    pub(super) fn mend(&self, number: Ordinal, last: EventId) -> Result<(), EngineError> {
        let mut write = self.write();
        for entry in self.events.range(number.to_be_bytes()..) {
            write.remove(&self.events, entry.into_inner()?.0);
        }
        for entry in self.keys.range::<[u8; 16], _>((Bound::Excluded(id_key(last)), Bound::Unbounded)) {
            write.remove(&self.keys, entry.into_inner()?.0);
        }
        self.put(&mut write, Fact::Probe, &[0; PROBE_BYTES]);
        Ok(write.commit()?)
    }

    /// The highest id that was let go.
    pub(super) fn floor(&self) -> Result<EventId, EngineError> {
        self.id(Fact::Floor)
    }

    /// The number of the oldest event that was not let go.
    pub(super) fn first(&self) -> Result<Ordinal, EngineError> {
        Ok(self.number(Fact::First)?.unwrap_or(0))
    }

    /// Whether nothing was ever begun here.
    pub(super) fn is_new(&self) -> Result<bool, EngineError> {
        Ok(self.number(Fact::First)?.is_none())
    }

    /// The highest number that is there.
    pub(super) fn last_number(&self) -> Result<Option<Ordinal>, EngineError> {
        let last = self.events.last_key_value().map(|entry| entry.key()).transpose()?;
        Ok(last.and_then(|key| as_number(&key)))
    }

    /// Puts records there as they are.
    pub(super) fn put_records(&self, records: Vec<(Ordinal, Vec<u8>)>) -> Result<(), EngineError> {
        let mut write = self.write();
        for (number, record) in records {
            write.insert(&self.events, number.to_be_bytes(), record);
        }
        Ok(write.commit()?)
    }

    /// Puts keys there.
    pub(super) fn put_keys(&self, keys: &[KeyUse]) -> Result<(), EngineError> {
        let mut write = self.write();
        keys.iter().for_each(|key| self.put_key(&mut write, key));
        if !write.is_empty() {
            write.commit()?;
        }
        Ok(())
    }

    /// Makes a new database one that let everything go before `first` and up to `floor`.
    pub(super) fn begin(&self, first: Ordinal, floor: EventId) -> Result<(), EngineError> {
        let mut write = self.write();
        self.put(&mut write, Fact::Floor, &id_key(floor));
        self.put(&mut write, Fact::First, &first.to_be_bytes());
        Ok(write.commit()?)
    }

    /// Looks at every event from `from` on that is there, damaged ones included, until `each` says no.
    pub(super) fn scan(
        &self,
        from: Ordinal,
        mut each: impl FnMut(Ordinal, Result<RecoveredEvent, Damaged>, &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        for entry in self.events.range(from.to_be_bytes()..) {
            let (key, bytes) = entry.into_inner()?;
            let number = as_number(&key).unwrap_or(Ordinal::MAX);
            if !each(number, record::outline(number, &bytes), &bytes) {
                break;
            }
        }
        Ok(())
    }

    /// Every idempotency key, earliest first.
    pub(super) fn keys(&self) -> Result<Vec<KeyUse>, EngineError> {
        let mut found = Vec::new();
        for entry in self.keys.iter() {
            let (key, value) = entry.into_inner()?;
            found.extend(key_use(&key, &value));
        }
        Ok(found)
    }

    /// A portion of events from `from` on. `Err` inside: the first is not there, or damaged; then the next that is
    /// whole, or the end of what was looked at.
    pub(super) fn read(
        &self,
        from: Ordinal,
        portion: Portion,
    ) -> Result<Result<Vec<Frame>, Ordinal>, EngineError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let now = Instant::now();
        for entry in self.events.range(from.to_be_bytes()..).take(portion.events_max.max(1)) {
            let number = from + found.len() as u64;
            let frame = entry.into_inner().map_err(EngineError::from).map(|(key, value)| {
                let is_next = as_number(&key) == Some(number);
                is_next.then(|| record::decode(number, &value, now).ok()).flatten()
            });
            let frame = match frame {
                Ok(Some(frame)) => frame,
                Ok(None) | Err(EngineError::Damaged(_)) if found.is_empty() => {
                    return Ok(Err(self.next_whole(from + 1)));
                }
                Ok(None) | Err(EngineError::Damaged(_)) => break,
                Err(error) => return Err(error),
            };
            bytes += frame.wire().len();
            if bytes > portion.bytes_max && !found.is_empty() {
                break;
            }
            found.push(frame);
        }
        Ok(Ok(found))
    }

    /// The first whole event from here on.
    fn next_whole(&self, from: Ordinal) -> Ordinal {
        let is_whole = |number: &Ordinal| {
            let record = self.events.get(number.to_be_bytes());
            record.is_ok_and(|record| record.is_some_and(|record| record::outline(*number, &record).is_ok()))
        };
        let end = from + EVENTS_DISCARDED_MAX;
        (from..end).find(is_whole).unwrap_or(end)
    }

    #[cfg(test)]
    pub(super) fn set_format_for_tests(&self, format: u64) {
        let mut write = self.write();
        self.put(&mut write, Fact::Format, &format.to_be_bytes());
        write.commit().expect("it can be written");
    }

    #[cfg(test)]
    pub(super) fn flush_for_tests(&self) {
        for keyspace in [&self.events, &self.keys] {
            keyspace.rotate_memtable_and_wait().expect("it can be written");
        }
    }

    /// A write that is on the disk when it has succeeded.
    fn write(&self) -> WriteBatch {
        self.database.batch().durability(Some(PersistMode::SyncData))
    }

    fn put(&self, write: &mut WriteBatch, fact: Fact, value: &[u8]) {
        write.insert(&self.facts, [fact as u8], value);
    }

    fn number(&self, fact: Fact) -> Result<Option<u64>, EngineError> {
        Ok(self.facts.get([fact as u8])?.and_then(|bytes| as_number(&bytes)))
    }

    fn id(&self, fact: Fact) -> Result<EventId, EngineError> {
        Ok(self.facts.get([fact as u8])?.and_then(|bytes| as_id(&bytes)).unwrap_or(EventId::ZERO))
    }
}

/// Whether the database names its format, known or not.
fn has_version(folder: &Path) -> bool {
    fs::read(folder.join("version")).is_ok_and(|bytes| bytes.len() > 3 && bytes.starts_with(b"FJL"))
}

fn id_key(id: EventId) -> [u8; 16] {
    (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes()
}

fn as_id(bytes: &[u8]) -> Option<EventId> {
    Some(EventId { ms: as_number(bytes.get(..8)?)?, seq: as_number(bytes.get(8..)?)? })
}

fn as_number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

fn key_use(key: &[u8], value: &[u8]) -> Option<KeyUse> {
    let (at_ms, text) = value.split_at_checked(8)?;
    let key_text = IdempotencyKey::parse(std::str::from_utf8(text).ok()?).ok()?;
    Some(KeyUse { key: key_text, id: as_id(key)?, at_ms: as_number(at_ms)? })
}
