//! Collects what has exited: our programs, and, as PID 1 or subreaper, everybody's orphans.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::program::Exit;

/// The next process that has exited. It is not collected yet: its pid and its group are still its own.
#[must_use]
pub fn next_exited() -> Option<Pid> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        match waitid(Id::All, flags) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) => return Some(pid),
            Err(Errno::EINTR) => {}
            _ => return None,
        }
    }
}

/// Collects a process that has exited; from now on its pid may be another's.
#[must_use]
pub fn collect(pid: Pid) -> Exit {
    loop {
        return match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Signaled(_, signal, core)) => {
                Exit::Signal { name: signal.as_str().to_owned(), core }
            }
            Ok(WaitStatus::Exited(_, code)) => Exit::Code(code),
            Err(Errno::EINTR) => continue,
            _ => Exit::Code(-1),
        };
    }
}

/// Sends a signal to a process that is not collected yet, or to its whole group.
pub fn signal(pid: u32, signal: Signal, group: bool) -> Result<(), Errno> {
    let pid = match i32::try_from(pid) {
        // To the system 0 and 1 are our own group and everybody.
        Ok(0 | 1) | Err(_) => return Err(Errno::ESRCH),
        Ok(pid) => Pid::from_raw(pid),
    };
    match if group { killpg(pid, signal) } else { kill(pid, signal) } {
        // It has exited by itself; that is told by its end.
        Err(Errno::ESRCH) => Ok(()),
        done => done,
    }
}

/// Whether there is a process in this group, collected or not.
#[must_use]
pub fn has_members(group: u32) -> bool {
    i32::try_from(group)
        .is_ok_and(|group| group > 1 && killpg(Pid::from_raw(group), None) != Err(Errno::ESRCH))
}
