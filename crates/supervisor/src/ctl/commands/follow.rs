//! A log that is followed while something else happens: a task that sends what comes.

use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::super::client::{CallError, Daemon};

/// Pieces of output that wait to be shown; who sends more waits.
pub(super) const PIECES_MAX: usize = 64;

/// What comes from a log that is followed.
pub(super) enum Piece {
    /// Output.
    Bytes(Bytes),
    /// The log at this path cannot be followed.
    Failed(String, CallError),
}

/// A task that ends with its owner.
pub(super) struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Follows the log at `path`; its pieces carry `index`. With `again` a log that is not there yet is tried again after
/// that time: a program that has not started has none.
pub(super) fn follow(
    daemon: Daemon,
    path: String,
    index: usize,
    again: Option<Duration>,
    pieces: mpsc::Sender<(usize, Piece)>,
) -> Task {
    Task(tokio::task::spawn_local(async move {
        loop {
            let followed = daemon
                .follow(&path, async |bytes| {
                    // Nobody who takes it means that the command is over, and this task with it.
                    let _ = pieces.send((index, Piece::Bytes(bytes))).await;
                    Ok::<(), CallError>(())
                })
                .await;
            match (followed, again) {
                (Err(CallError::Status(StatusCode::NOT_FOUND)), Some(pause)) => {
                    tokio::time::sleep(pause).await;
                }
                (Err(error), _) => {
                    let _ = pieces.send((index, Piece::Failed(path, error))).await;
                    return;
                }
                (Ok(()), _) => return,
            }
        }
    }))
}
