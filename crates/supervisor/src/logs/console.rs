//! The daemon's own standard output: a terminal, a pipe of Docker's, or closed. Nobody waits for it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Pieces that wait for a slow reader; one more is dropped and counted.
const PIECES_MAX: usize = 1024;
/// How long the end waits for what is still on its way.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// A way to standard output that never blocks.
#[derive(Debug, Clone)]
pub struct StdoutQueue {
    pieces: SyncSender<Vec<u8>>,
    lost: Arc<AtomicU64>,
}

/// Waits for the end of the queue.
#[derive(Debug)]
pub struct StdoutDone(Receiver<()>);

impl StdoutQueue {
    /// Starts the thread that writes.
    pub fn start() -> io::Result<(Self, StdoutDone)> {
        let (pieces, taken) = sync_channel::<Vec<u8>>(PIECES_MAX);
        let (done, ended) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        thread::Builder::new().name("stdout".to_owned()).stack_size(64 << 10).spawn(move || {
            let mut stdout = io::stdout();
            for piece in taken {
                let bytes = counted.swap(0, Ordering::Relaxed);
                if bytes > 0 {
                    let _ = writeln!(
                        stdout,
                        "({bytes} bytes were not shown here: the reader of this output is too slow)"
                    );
                }
                let _ = stdout.write_all(&piece).and_then(|()| stdout.flush());
            }
            let _ = done.send(());
        })?;
        Ok((Self { pieces, lost }, StdoutDone(ended)))
    }

    /// Hands a piece over, or drops it if too much is waiting.
    pub fn write(&self, piece: &[u8]) {
        if let Err(TrySendError::Full(piece) | TrySendError::Disconnected(piece)) =
            self.pieces.try_send(piece.to_vec())
        {
            self.lost.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
    }
}

impl StdoutDone {
    /// Waits, not for long, until everything is written. Every queue must have been dropped.
    pub fn wait(self) {
        let _ = self.0.recv_timeout(FLUSH_TIMEOUT);
    }
}
