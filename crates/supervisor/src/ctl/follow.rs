//! Follows a log file for a client of `tail -f`: its last bytes, then whatever is appended.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::sync::mpsc;

use super::Body;

/// What a client gets at once (supervisor 4.3 `http.py:tail_f_producer`).
const HEAD_BYTES: u64 = 1024;
/// How often the file is looked at, while somebody follows it.
const INTERVAL: Duration = Duration::from_millis(100);
/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;
/// Pieces that wait for a slow client.
const PIECES_MAX: usize = 1;

/// A file that somebody follows.
pub(super) struct Followed {
    path: PathBuf,
    file: Option<File>,
    inode: u64,
    offset: u64,
}

impl Followed {
    /// Begins with the last bytes of what the file holds.
    pub(super) fn new(path: PathBuf) -> Self {
        let mut followed = Self { path, file: None, inode: 0, offset: 0 };
        followed.reopen(HEAD_BYTES);
        followed
    }

    /// When the file was written to, as HTTP tells times.
    pub(super) fn modified(&self) -> Option<String> {
        let modified = self.file.as_ref()?.metadata().ok()?.modified().ok()?;
        DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::try_from(modified).ok()?).ok()
    }

    /// A body that never ends while the client stays.
    pub(super) fn body(mut self) -> Body {
        let (pieces, mut taken) = mpsc::channel::<Bytes>(PIECES_MAX);
        tokio::task::spawn_local(async move {
            loop {
                while let Some(piece) = self.next() {
                    if pieces.send(piece).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    () = pieces.closed() => return,
                    () = tokio::time::sleep(INTERVAL) => {}
                }
            }
        });
        let stream = futures_util::stream::poll_fn(move |context| {
            taken.poll_recv(context).map(|piece| piece.map(|piece| Ok::<_, Infallible>(Frame::data(piece))))
        });
        BodyExt::boxed(StreamBody::new(stream))
    }

    fn reopen(&mut self, before_end: u64) {
        let open = |path: &Path| -> io::Result<(File, u64, u64)> {
            // A pipe without a writer would stop the daemon here, and one with a writer when it is read.
            let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other("not a regular file"));
            }
            Ok((file, metadata.ino(), metadata.len()))
        };
        if let Ok((file, inode, size)) = open(&self.path) {
            self.file = Some(file);
            self.inode = inode;
            self.offset = size.saturating_sub(before_end);
        }
    }

    /// The next bytes, if there are any.
    fn next(&mut self) -> Option<Bytes> {
        if let Some(piece) = self.read() {
            return Some(piece);
        }
        let size =
            self.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len());
        if self.file.is_some() && size < self.offset {
            self.offset = 0;
            return Some(Bytes::from_static(b"==> File truncated <==\n"));
        }
        // Everything of the old file is read before a new one of the same name is opened.
        let replaced = std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() != self.inode);
        if replaced || self.file.is_none() {
            self.reopen(u64::MAX);
            return self.read();
        }
        None
    }

    fn read(&mut self) -> Option<Bytes> {
        let file = self.file.as_mut()?;
        let mut bytes = vec![0; READ_BYTES];
        file.seek(SeekFrom::Start(self.offset)).ok()?;
        let length = file.read(&mut bytes).ok()?;
        bytes.truncate(length);
        self.offset += length as u64;
        (length > 0).then(|| Bytes::from(bytes))
    }
}
