//! The signals that the daemon waits for, as bytes on a socket.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use tokio::io::AsyncReadExt;

/// The signals the daemon answers.
pub(super) const SIGNALS: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGCHLD];

/// Wakes when a signal came; many of a kind may count as one.
#[derive(Debug)]
pub struct Signals {
    wake: tokio::net::UnixStream,
    raised: Vec<(Signal, Arc<AtomicBool>)>,
}

impl Signals {
    /// Installs the handlers. Must be called within a tokio runtime.
    pub fn install() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        let mut raised = Vec::new();
        for signal in SIGNALS {
            let flag = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal as i32, Arc::clone(&flag))?;
            signal_hook::low_level::pipe::register(signal as i32, write.try_clone()?)?;
            raised.push((signal, flag));
        }
        // The run before this one may have left them waiting.
        sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&SIGNALS.into_iter().collect::<SigSet>()), None)?;
        Ok(Self { wake: tokio::net::UnixStream::from_std(read)?, raised })
    }

    /// The signals that came since the last call; waits for one.
    pub async fn wait(&mut self) -> Vec<Signal> {
        let mut bytes = [0; 64];
        if self.wake.read(&mut bytes).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.raised
            .iter()
            .filter(|(_, flag)| flag.swap(false, Ordering::SeqCst))
            .map(|(signal, _)| *signal)
            .collect()
    }
}
