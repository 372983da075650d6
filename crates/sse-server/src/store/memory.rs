//! The store of a hub whose history does not outlive it: only the mark of the event ids is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mark::Mark;
use super::salvage::{end_history, history_in};
use super::{Commit, Discard, Done, ReadError, Store, StoreError};
use crate::hub::{EventId, Frame, Ordinal, Portion, Recovered};

/// Commits at once, and remembers nothing but the mark.
///
/// After a restart the mark stands for the highest id ever issued (an upper bound after a crash, exact
/// after a close), and everything up to it counts as discarded: a client with an older id is told that
/// its history is truncated, one with a newer id that the id is unknown.
#[derive(Debug)]
pub struct MemoryStore {
    mark: Mark,
    history: PathBuf,
}

impl MemoryStore {
    /// Keeps its mark in this folder, which is made if it is missing.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self { mark: Mark::open(folder)?, history: history_in(folder) })
    }
}

impl Store for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn recover(&self) -> Result<Recovered, StoreError> {
        let mark = self.mark.get();
        Ok(Recovered { newest: mark, floor: mark, ..Recovered::default() })
    }

    /// From here on events are published that a history on disk would not have: one that an earlier run left is
    /// put aside before the first of them.
    fn reserve(&self, mark: EventId) -> Result<(), Arc<StoreError>> {
        end_history(&self.history).map_err(Arc::new)?;
        self.mark.raise(mark).map_err(Arc::new)
    }

    fn commit(&self, _: Commit, done: Done) {
        done(Ok(()));
    }

    /// Whatever is kept is in memory, so nobody asks.
    fn read(&self, _: Ordinal, _: Portion) -> Result<Vec<Arc<Frame>>, ReadError> {
        Err(ReadError::Gone)
    }

    fn discard(&self, _: Discard) {}

    fn probe(&self) -> Result<(), Arc<StoreError>> {
        self.mark.rewrite().map_err(Arc::new)
    }

    fn close(&self, last: EventId) -> Result<(), Arc<StoreError>> {
        self.mark.settle(last).map_err(Arc::new)
    }
}
