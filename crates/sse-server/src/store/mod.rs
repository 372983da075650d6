//! Where accepted events are committed before anybody sees them.

mod mark;
mod memory;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::hub::{EventId, Frame, Recovered};
pub use memory::MemoryStore;

/// Told how a commit ended.
pub type Done = Box<dyn FnOnce(Result<(), Arc<StoreError>>) + Send>;

/// Keeps events, or only the mark that no event id ever reached.
///
/// The caller commits frames in the order of their ids, one call after the other. A store may gather
/// several calls into one commit; it answers each of them once, in the order of the calls, from any
/// thread. Once one failed, the caller's frames of that call are gone for everybody.
pub trait Store: Send + Sync {
    /// `memory` or `disk`.
    fn kind(&self) -> &'static str;

    /// What an earlier run left. Asked once, before the first commit.
    fn recover(&self) -> Result<Recovered, StoreError>;

    /// Makes sure that a later run starts above every id below `mark`. Blocks; the mark is durable on return.
    fn reserve(&self, mark: EventId) -> Result<(), StoreError>;

    /// Commits frames as one, then calls `done`. Never blocks on a disk.
    fn commit(&self, frames: Arc<[Arc<Frame>]>, done: Done);

    /// Nothing more comes: `last` is the highest id issued. Blocks.
    fn close(&self, last: EventId) -> Result<(), StoreError>;
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
    /// The mark cannot be moved, so no further id may be issued.
    #[error("cannot write the event id mark {path}")]
    WriteMark {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
