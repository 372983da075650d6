//! Where accepted events are committed before anybody sees them.

mod disk;
mod engine;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod journal;
mod mark;
mod memory;
mod record;
mod salvage;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::hub::{EventId, Frame, KeyUse, Ordinal, Portion, Recovered};
pub use disk::DiskStore;
pub use memory::MemoryStore;

/// Told how a commit ended.
pub type Done = Box<dyn FnOnce(Result<(), Arc<StoreError>>) + Send>;

/// Events that are committed together, and the keys that they were published under.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The events, in order.
    pub frames: Arc<[Arc<Frame>]>,
    /// The idempotency keys of those that have one.
    pub keys: Vec<KeyUse>,
}

/// What nobody needs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discard {
    /// Events before this one.
    pub events_before: Ordinal,
    /// Idempotency keys used before this time, in milliseconds since 1970.
    pub keys_before_ms: u64,
}

/// Why events could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They were discarded meanwhile.
    #[error("the events were discarded")]
    Gone,
    /// They are damaged: what can be read begins again here.
    #[error("the events before number {until} are damaged")]
    Damaged {
        /// The next event that is whole, or the end.
        until: Ordinal,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps events, or only the mark that no event id ever reached.
///
/// The caller commits frames in the order of their ids, one call after the other; those that were committed are
/// numbered in that order, from [`Recovered::first`] and the events found there on. A store may gather several
/// calls into one commit; it answers each of them once, in the order of the calls, from any thread. Once one
/// failed, the caller's frames of that call are gone for everybody, and have no number.
pub trait Store: Send + Sync {
    /// `memory` or `disk`.
    fn kind(&self) -> &'static str;

    /// What an earlier run left. Asked once, before the first commit.
    fn recover(&self) -> Result<Recovered, StoreError>;

    /// Makes sure that a later run starts above every id below `mark`. Blocks; the mark is durable on return.
    fn reserve(&self, mark: EventId) -> Result<(), Arc<StoreError>>;

    /// Commits frames as one, then calls `done`. Never blocks on a disk.
    fn commit(&self, commit: Commit, done: Done);

    /// Committed events from `from` on, a portion, oldest first; none if there are none yet. Blocks.
    fn read(&self, from: Ordinal, portion: Portion) -> Result<Vec<Arc<Frame>>, ReadError>;

    /// Lets go what nobody needs, at the latest with the next commit. Never blocks on a disk.
    fn discard(&self, what: Discard);

    /// Tries whether a commit would succeed now; a store that failed mends itself here. Blocks.
    fn probe(&self) -> Result<(), Arc<StoreError>>;

    /// Nothing more comes: `last` is the highest id issued. Blocks.
    fn close(&self, last: EventId) -> Result<(), Arc<StoreError>>;
}

/// What the store could not do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be used.
    #[error("cannot use data folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The mark cannot be read.
    #[error("cannot read the event id mark {path}")]
    ReadMark {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The mark holds something else.
    #[error(
        "the event id mark {path} holds {found:?}, not <ms>-<seq>; restore it, or remove it and event ids may repeat"
    )]
    BadMark {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: String,
    },
    /// The history cannot be read or written.
    #[error("cannot use the history in {path}")]
    History {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process uses the data folder.
    #[error("another process uses {path}: end it, or set another DATA_DIR")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The history was written by a later version.
    #[error(
        "the history in {path} has the format of a later version: start that one, or move the folder away to begin with an empty history"
    )]
    NewerFormat {
        /// The folder.
        path: PathBuf,
    },
    /// The history failed, and is not open again yet.
    #[error("the history in {path} is being opened again")]
    Reopening {
        /// The folder.
        path: PathBuf,
    },
    /// A commit neither ends nor fails.
    #[error("a write has not ended for {seconds} s")]
    Stuck {
        /// For so long.
        seconds: u64,
    },
    /// Nothing more is taken.
    #[error("the history in {path} is closed")]
    Closed {
        /// The folder.
        path: PathBuf,
    },
    /// The mark cannot be moved, so no further id may be issued.
    #[error("cannot write the event id mark {path}")]
    WriteMark {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl StoreError {
    /// The sentence with its causes.
    #[must_use]
    pub fn in_full(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }
}
