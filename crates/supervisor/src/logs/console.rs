//! The daemon's own standard outputs: a terminal, a pipe of Docker's, or closed. Nobody waits for them.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use nix::sys::stat::{FileStat, fstat};

/// Pieces that wait for a slow reader; one more is dropped and counted.
const PIECES_MAX: usize = 1024;
/// Bytes that wait for a slow reader; what would be more is dropped and counted.
const WAITING_BYTES_MAX: usize = 2 << 20;
/// How long the end waits for what is still on its way.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// `/dev/stdout`.
    Out,
    /// `/dev/stderr`.
    Err,
}

impl Standard {
    /// Which of them a path means, whatever it is called: `/dev/stdout`, `/dev/fd/1`, `/proc/1/fd/1`. A file that is
    /// one of them only because the daemon's output was sent there is a file like any other.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let named = fs::metadata(path).ok().filter(|named| !named.is_file());
        let is = |open: nix::Result<FileStat>| {
            let (Some(named), Ok(open)) = (&named, open) else { return false };
            (named.dev(), named.ino()) == (open.st_dev, open.st_ino)
        };
        // What the two share is called by its name.
        let word = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if matches!(word, "stderr" | "2") && is(fstat(io::stderr())) {
            Some(Self::Err)
        } else if is(fstat(io::stdout())) {
            Some(Self::Out)
        } else {
            is(fstat(io::stderr())).then_some(Self::Err)
        }
    }
}

/// A way to a standard output that never blocks.
#[derive(Debug, Clone)]
pub struct StdoutQueue {
    pieces: SyncSender<Vec<u8>>,
    lost: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
}

/// Waits for the end of the queue.
#[derive(Debug)]
pub struct StdoutDone(Receiver<()>);

impl StdoutQueue {
    /// Starts the thread that writes.
    pub fn start(standard: Standard) -> io::Result<(Self, StdoutDone)> {
        let (pieces, taken) = sync_channel::<Vec<u8>>(PIECES_MAX);
        let (done, ended) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        thread::Builder::new().name("console".to_owned()).stack_size(64 << 10).spawn(move || {
            let mut stdout: Box<dyn Write> = match standard {
                Standard::Out => Box::new(io::stdout()),
                Standard::Err => Box::new(io::stderr()),
            };
            for piece in taken {
                let bytes = counted.swap(0, Ordering::Relaxed);
                if bytes > 0 {
                    let _ = writeln!(
                        stdout,
                        "({bytes} bytes were not shown here: the reader of this output is too slow)"
                    );
                }
                let _ = stdout.write_all(&piece).and_then(|()| stdout.flush());
                left.fetch_sub(piece.len(), Ordering::Relaxed);
            }
            let _ = done.send(());
        })?;
        Ok((Self { pieces, lost, waiting }, StdoutDone(ended)))
    }

    /// Hands a piece over, or drops it if too much is waiting.
    pub fn write(&self, piece: &[u8]) {
        let waiting = self.waiting.fetch_add(piece.len(), Ordering::Relaxed);
        let sent = waiting + piece.len() <= WAITING_BYTES_MAX && self.pieces.try_send(piece.to_vec()).is_ok();
        if !sent {
            self.waiting.fetch_sub(piece.len(), Ordering::Relaxed);
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
