//! One output of a program on its way from the pipe into its log, and to the daemon's stdout if it is teed.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use tokio::net::unix::pipe::Receiver;

use crate::config;
use crate::logs::{Compressor, LogConfig, Outcome, StdoutQueue, Writer};

/// Bytes read at once; then whoever else is ready has his turn.
const READ_BYTES: usize = 256 << 10;
/// Bytes read from each pipe at the end, however much a grandchild goes on writing.
const DRAIN_BYTES_MAX: usize = 16 << 20;

thread_local! {
    /// Filled and emptied between two waits, so one is enough for all.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Where one output of a program goes.
pub(super) struct Output {
    writer: RefCell<Option<Writer>>,
    tee: Option<StdoutQueue>,
    pipes: RefCell<Vec<Rc<Receiver>>>,
}

impl Output {
    pub(super) fn new(
        output: &config::Output,
        compress: bool,
        compressor: &Compressor,
        stdout: &StdoutQueue,
    ) -> Self {
        let writer = (match &output.logfile {
            config::Logfile::File(path) => Some(path),
            _ => None,
        })
        .map(|path| {
            let config = LogConfig {
                path: path.clone(),
                maxbytes: output.maxbytes,
                backups: output.backups,
                compress,
            };
            Writer::new(config, Some(compressor.clone()))
        });
        Self {
            writer: RefCell::new(writer),
            tee: output.tee.then(|| stdout.clone()),
            pipes: RefCell::new(Vec::new()),
        }
    }

    /// The log file, if there is one.
    pub(super) fn path(&self) -> Option<PathBuf> {
        self.writer.borrow().as_ref().map(|writer| writer.path().to_path_buf())
    }

    pub(super) fn reopen(&self) {
        if let Some(writer) = self.writer.borrow_mut().as_mut() {
            writer.reopen();
        }
    }

    pub(super) fn clear(&self) -> io::Result<()> {
        self.writer.borrow_mut().as_mut().map_or(Ok(()), Writer::clear)
    }

    /// Reads a pipe until its end, beside the loop.
    pub(super) fn read(self: &Rc<Self>, pipe: OwnedFd) {
        let pipe = match Receiver::from_owned_fd(pipe) {
            Ok(pipe) => Rc::new(pipe),
            Err(error) => return log::error!("cannot watch the output of a program: {error}"),
        };
        self.pipes.borrow_mut().push(Rc::clone(&pipe));
        let output = Rc::clone(self);
        tokio::task::spawn_local(async move {
            while pipe.readable().await.is_ok() {
                match output.take(&pipe) {
                    Some(0) => break,
                    Some(_) => tokio::task::yield_now().await,
                    None => {}
                }
            }
            output.pipes.borrow_mut().retain(|other| !Rc::ptr_eq(other, &pipe));
        });
    }

    /// Reads what is in the pipes now.
    pub(super) fn drain(&self) {
        let pipes: Vec<_> = self.pipes.borrow().clone();
        for pipe in pipes {
            let mut taken = 0;
            while let Some(length) = self.take(&pipe)
                && length > 0
                && taken < DRAIN_BYTES_MAX
            {
                taken += length;
            }
        }
    }

    /// Reads once: the number of bytes, 0 at the end, `None` if there is nothing now.
    fn take(&self, pipe: &Receiver) -> Option<usize> {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(READ_BYTES, 0);
            let length = match pipe.try_read(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => 0,
            };
            self.write(&buffer[..length]);
            Some(length)
        })
    }

    fn write(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Some(tee) = &self.tee {
            tee.write(bytes);
        }
        let Some(writer) = &mut *self.writer.borrow_mut() else { return };
        let path = writer.path().display().to_string();
        match writer.write(bytes, Instant::now()) {
            Outcome::Quiet => {}
            Outcome::Failed(error) => log::error!("cannot write {path}, output is lost from now on: {error}"),
            Outcome::Resumed { lost } => log::warn!("writing {path} again, {lost} bytes were lost"),
        }
    }
}
