//! The pipes of a program: from its output to its log, and to its input.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{fchown, pipe2};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::user::Ids;

/// How much a program may be ahead of its log; the kernel's own default where this is not allowed.
const CAPACITY: i32 = 512 << 10;

/// A pipe: where the daemon reads, without waiting, and where the program writes. It belongs to the program's
/// user, so that the program may open `/dev/stdout` again.
pub fn output(owner: Option<&Ids>) -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(read.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let _ = fcntl(read.as_fd(), FcntlArg::F_SETPIPE_SZ(CAPACITY));
    if let Some(owner) = owner {
        // Where this is not allowed, becoming the user is not either, and that is told by its own name.
        let _ = fchown(write.as_fd(), Some(owner.uid), Some(owner.gid));
    }
    Ok((read, write))
}

/// Waits for what comes through a pipe, as long as the value lives; the pipe itself stays open after it.
pub fn watch(pipe: &Rc<OwnedFd>) -> io::Result<AsyncFd<Rc<OwnedFd>>> {
    // SAFETY: the value holds the pipe, which is open and the same as long as somebody does.
    Ok(unsafe { AsyncFd::register_with_interest(Rc::clone(pipe), Interest::READABLE) }?)
}

/// A pipe for a program's input: where the program reads, and where the daemon writes, without waiting. That end
/// also keeps it open, for a program that reads is not to meet the end of its input.
pub fn input() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(write.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((read, write))
}
