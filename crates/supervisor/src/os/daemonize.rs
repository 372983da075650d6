//! Leaves the terminal and whoever started the daemon.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{
    ForkResult, Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, read, setsid, write,
};

use super::signals;

/// How whoever started the daemon learns that it ended before it was up, if it says nothing better.
const EXIT_FAILED: i32 = 2;

/// The daemon on its way into the background. Whoever started it still waits, and still reads its stderr.
#[derive(Debug)]
pub struct Detached {
    waits: OwnedFd,
}

/// Goes on in a child with a session of its own; the process that was started waits until that one is up, and exits
/// with 0, or with the code of the child if it ended before; signals that it held are the child's. Must be called while there is one thread, and before
/// the guardian and the pid file are made.
pub fn daemonize() -> io::Result<Detached> {
    let (waits_read, waits) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: there is one thread, so the child may do whatever it likes.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(waits);
            signals::pass_on(child);
            let code = wait_for(&waits_read, child);
            // SAFETY: nothing of the daemon's, such as its pid file or buffered output, may be undone or done twice.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Child => {
            drop(waits_read);
            setsid()?;
            Ok(Detached { waits })
        }
    }
}

fn wait_for(pipe: &OwnedFd, child: Pid) -> i32 {
    loop {
        match read(pipe, &mut [0]) {
            Ok(1) => return 0,
            Err(Errno::EINTR) => {}
            _ => break,
        }
    }
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, code)) => code,
        _ => EXIT_FAILED,
    }
}

impl Detached {
    /// Works in this folder from now on; the sentence for the log, or the one for its critical lines.
    pub fn work_in(directory: &Path) -> Result<String, String> {
        match chdir(directory) {
            Ok(()) => Ok(format!("set current directory: '{}'", directory.display())),
            Err(errno) => Err(format!("can't chdir into '{}': {errno:?}", directory.display())),
        }
    }

    /// The daemon is up: input and outputs are `/dev/null` from now on, and whoever waits is let go.
    pub fn up(self, mask: u32) -> io::Result<()> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        if null.as_raw_fd() <= 2 {
            // It is one of the three itself.
            std::mem::forget(null);
        }
        umask(Mode::from_bits_truncate(mask));
        // Nobody waits if he was killed; the daemon goes on.
        let _ = write(&self.waits, b"1");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
