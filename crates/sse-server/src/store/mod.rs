//! Where accepted events are committed before anybody sees them.

use std::io;
use std::path::PathBuf;

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
