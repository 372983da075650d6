//! What the event history asks of a store, whichever it is.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Result, bail};

use crate::event;
use crate::redb::Extra;

/// A durable, ordered history.
pub trait Store: Send + Sync {
    /// Commits all of a batch, durably, or nothing.
    fn commit(&self, batch: &Batch) -> Result<()>;

    /// Hands up to `limit` events from ordinal `from` to `each`, in order.
    fn scan(&self, from: u64, limit: usize, each: &mut dyn FnMut(u64, &[u8])) -> Result<()>;
}

/// One group of publishes.
pub struct Batch {
    pub first: u64,
    pub events: Vec<Vec<u8>>,
    /// Ordinals that leave the history.
    pub gone: Range<u64>,
    /// An idempotency key that comes, and one that leaves.
    pub key: [u8; 16],
    pub key_gone: [u8; 16],
    /// The meta record.
    pub meta: [u8; 16],
}

/// The candidates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Redb,
    RedbLean,
    RedbQuick,
    Fjall,
    Lmdb,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Redb, Self::RedbLean, Self::RedbQuick, Self::Fjall, Self::Lmdb];

    pub fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::RedbLean => "redb-lean",
            Self::RedbQuick => "redb-quick",
            Self::Fjall => "fjall",
            Self::Lmdb => "lmdb",
        }
    }

    pub fn parse(word: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|kind| kind.name() == word) {
            Some(kind) => Ok(kind),
            None => bail!("no candidate {word}"),
        }
    }

    pub fn open(self, folder: &Path) -> Result<Box<dyn Store>> {
        fs::create_dir_all(folder)?;
        Ok(match self {
            Self::Redb => Box::new(crate::redb::open(folder, Extra::Tables)?),
            Self::RedbLean => Box::new(crate::redb::open(folder, Extra::Nothing)?),
            Self::RedbQuick => Box::new(crate::redb::open(folder, Extra::QuickRepair)?),
            Self::Fjall => Box::new(crate::fjall::open(folder)?),
            Self::Lmdb => Box::new(crate::lmdb::open(folder)?),
        })
    }
}

/// A history being written: events of one size, at most `bound` and a chunk of them.
pub struct Writer<'a> {
    pub store: &'a dyn Store,
    pub size: usize,
    pub bound: u64,
    pub oldest: u64,
    pub next: u64,
}

/// How many events one commit deletes at once.
const CHUNK: u64 = 4096;
/// Idempotency keys kept.
const KEYS: u64 = 1000;

impl<'a> Writer<'a> {
    pub fn new(store: &'a dyn Store, size: usize) -> Self {
        Self { store, size, bound: u64::MAX, oldest: 0, next: 0 }
    }

    pub fn append(&mut self, count: u64) -> Result<()> {
        let over = self.next - self.oldest >= self.bound.saturating_add(CHUNK);
        let keep_from = if over { self.oldest + CHUNK } else { self.oldest };
        self.store.commit(&Batch {
            first: self.next,
            events: (self.next..self.next + count).map(|ordinal| event::make(ordinal, self.size)).collect(),
            gone: self.oldest..keep_from,
            key: key(self.next),
            key_gone: key(self.next.wrapping_sub(KEYS * count)),
            meta: key(!self.next),
        })?;
        self.oldest = keep_from;
        self.next += count;
        Ok(())
    }

    pub fn fill(&mut self, until: u64) -> Result<()> {
        while self.next < until {
            self.append(CHUNK.min(until - self.next))?;
        }
        Ok(())
    }
}

fn key(of: u64) -> [u8; 16] {
    let spread = of.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut key = [0; 16];
    key[..8].copy_from_slice(&spread.to_be_bytes());
    key[8..].copy_from_slice(&of.to_be_bytes());
    key
}

/// Removes a folder, if there is one.
pub fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}
