//! Ctrl-C, as a byte on a socket: a command that follows something ends by it instead of being killed.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use nix::sys::signal::Signal;

/// Catches SIGINT from its making until the process ends.
#[derive(Debug, Clone)]
pub(super) struct Interrupt {
    /// The same socket twice: one is waited for with the runtime, one read without it.
    wake: Rc<(tokio::net::UnixStream, UnixStream)>,
}

impl Interrupt {
    /// Installs the handler. Must be called within a tokio runtime.
    pub(super) fn install() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(Signal::SIGINT as i32, write)?;
        let again = read.try_clone()?;
        Ok(Self { wake: Rc::new((tokio::net::UnixStream::from_std(read)?, again)) })
    }

    /// Waits for a Ctrl-C and takes it.
    pub(super) async fn wait(&self) {
        loop {
            if self.wake.0.readable().await.is_err() {
                std::future::pending::<()>().await;
            }
            match self.wake.0.try_read(&mut [0; 64]) {
                Ok(read) if read > 0 => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => std::future::pending().await,
            }
        }
    }

    /// Whether there was a Ctrl-C since the last was taken.
    pub(super) fn take(&self) -> bool {
        (&self.wake.1).read(&mut [0; 64]).is_ok_and(|read| read > 0)
    }

    /// What becomes readable by a Ctrl-C, for those who wait without the runtime.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.1.as_fd()
    }
}
