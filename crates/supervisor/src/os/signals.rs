//! The signals that the daemon waits for, as bytes on a socket.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, pthread_sigmask, raise};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;

/// The signals the daemon answers.
const SIGNALS: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGCHLD];

/// What came and was not taken yet.
static RAISED: OnceLock<Vec<(Signal, Arc<AtomicBool>)>> = OnceLock::new();

/// Has the signals wait until they are taken by [`Signals::install`], in this thread alone. Must be called before the
/// daemon makes other threads: those never take one, so that none is lost in them when the daemon begins anew.
pub fn hold() {
    let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&SIGNALS.into_iter().collect()), None);
}

/// Gives to another process what waits for this one, which from now on takes its signals as any process does.
pub(super) fn pass_on(to: Pid) {
    let held: SigSet = SIGNALS.into_iter().filter(|signal| *signal != Signal::SIGCHLD).collect();
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        // SAFETY: the call reads memory of this frame and tells nothing more of the signal.
        let number = unsafe { libc::sigtimedwait(held.as_ref(), std::ptr::null_mut(), &raw const at_once) };
        match Signal::try_from(number) {
            Ok(signal) => drop(kill(to, signal)),
            Err(_) => break,
        }
    }
    accept();
}

/// Ends what [`hold`] began, for a process that has no loop.
pub(super) fn accept() {
    let _ = pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&SIGNALS.into_iter().collect()), None);
}

/// Leaves to the program that this process executes next what has come and was not taken.
pub(super) fn leave() {
    hold();
    for (signal, flag) in RAISED.get().into_iter().flatten() {
        if flag.swap(false, Ordering::SeqCst) {
            let _ = raise(*signal);
        }
    }
}

/// Wakes when a signal came; many of a kind may count as one.
#[derive(Debug)]
pub struct Signals {
    wake: tokio::net::UnixStream,
    raised: &'static [(Signal, Arc<AtomicBool>)],
}

impl Signals {
    /// Installs the handlers, once in a process. Must be called within a tokio runtime.
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
        let wake = tokio::net::UnixStream::from_std(read)?;
        let raised = RAISED.get_or_init(|| raised);
        // From now on they are taken; some may have been left by the run before this one.
        let held: SigSet = SIGNALS.into_iter().collect();
        pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&held), None)?;
        Ok(Self { wake, raised })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked() -> SigSet {
        let mut set = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, None, Some(&mut set)).unwrap();
        set
    }

    fn pending() -> Vec<Signal> {
        let mut set = std::mem::MaybeUninit::uninit();
        // SAFETY: the call fills the set.
        let set = unsafe {
            libc::sigpending(set.as_mut_ptr());
            SigSet::from_sigset_t_unchecked(set.assume_init())
        };
        set.iter().collect()
    }

    #[test]
    fn signals_are_taken_by_the_loop_alone_and_none_is_lost_when_the_daemon_begins_anew() {
        hold();
        raise(Signal::SIGUSR2).unwrap();
        let other = std::thread::spawn(blocked).join().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut signals = Signals::install().unwrap();
            assert_eq!(signals.wait().await, [Signal::SIGUSR2], "left by the run before");
            raise(Signal::SIGTERM).unwrap();
            assert_eq!(signals.wait().await, [Signal::SIGTERM]);
            // Nobody waits any more.
            raise(Signal::SIGTERM).unwrap();
        });
        assert!(!blocked().contains(Signal::SIGTERM));
        assert!(SIGNALS.into_iter().all(|signal| other.contains(signal)));
        leave();
        raise(Signal::SIGHUP).unwrap();
        assert_eq!(pending(), [Signal::SIGHUP, Signal::SIGTERM]);
    }
}
