//! Sees to it that nothing outlives a daemon that is killed.
//!
//! A small process, made before everything else, waits at the end of a pipe that only the daemon holds. If the
//! daemon dies without a word, the guardian kills every process group it was told of, whatever carries the
//! daemon's mark in its environment, and the children of those, until none is left. It changes its session and
//! its name, so that what kills the daemon (Ctrl-C, `pkill`) does not meet it. As PID 1 the kernel does all this.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::{SigHandler, Signal, kill, killpg, signal};
use nix::unistd::{ForkResult, Pid, close, fork, pipe2, setsid, write};

/// The variable by which a process is known to be of this daemon.
pub const MARK: &str = "SUPERVISOR_DAEMON";

/// How long the guardian goes on looking for what is left.
const PATIENCE: Duration = Duration::from_secs(5);

/// The daemon's end.
#[derive(Debug)]
pub struct Guardian {
    pipe: OwnedFd,
    pid: Pid,
    mark: String,
}

impl Guardian {
    /// Makes the guardian. Must be called while the daemon has one thread.
    pub fn start() -> io::Result<Self> {
        let mark = format!("{}-{}", std::process::id(), start_time(std::process::id()).unwrap_or(0));
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        // SAFETY: there is one thread, so the child may do whatever it likes.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self { pipe: write, pid: child, mark }),
            ForkResult::Child => {
                drop(write);
                guard(read, &mark);
                // SAFETY: nothing of the daemon's, such as buffered output, may be done twice.
                unsafe { libc::_exit(0) }
            }
        }
    }

    /// What a process of this daemon has in its environment.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// The guardian's own process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// There is a process group, led by this pid.
    pub fn group_began(&self, pid: u32) {
        self.tell(pid as i32);
    }

    /// Its leader was collected.
    pub fn group_ended(&self, pid: u32) {
        self.tell(-(pid as i32));
    }

    /// The daemon ends in order: nothing is to be killed.
    pub fn dismiss(self) {
        self.tell(0);
        let _ = nix::sys::wait::waitpid(self.pid, None);
    }

    fn tell(&self, word: i32) {
        let _ = write(self.pipe.as_fd(), &word.to_ne_bytes());
    }
}

/// The life of the guardian.
fn guard(pipe: OwnedFd, mark: &str) {
    let _ = setsid();
    let _ = nix::sys::prctl::set_name(c"guardian");
    for kind in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR2] {
        // SAFETY: to ignore a signal runs no code of ours.
        let _ = unsafe { signal(kind, SigHandler::SigIgn) };
    }
    let pipe = pipe.into_raw_fd();
    for fd in 0..pipe {
        let _ = close(fd);
    }
    // SAFETY: the number is that of the pipe, which nobody else owns here.
    let mut pipe = unsafe { fs::File::from_raw_fd(pipe) };
    let mut groups = BTreeSet::new();
    let mut word = [0; 4];
    while pipe.read_exact(&mut word).is_ok() {
        match i32::from_ne_bytes(word) {
            0 => return,
            pid if pid > 0 => drop(groups.insert(pid)),
            pid => drop(groups.remove(&-pid)),
        }
    }
    kill_all(&groups, mark);
}

fn kill_all(groups: &BTreeSet<i32>, mark: &str) {
    for group in groups {
        let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
    }
    let own = Pid::this().as_raw();
    let mut killed: BTreeSet<i32> = BTreeSet::new();
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let left: Vec<i32> = processes()
            .filter(|process| process.pid != own && !process.dead)
            .filter(|process| {
                groups.contains(&process.group)
                    || killed.contains(&process.parent)
                    || has_mark(process.pid, mark)
            })
            .map(|process| process.pid)
            .collect();
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            killed.insert(pid);
        }
        let _ = nix::poll::poll(&mut [], 10_u16);
    }
}

struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    dead: bool,
}

fn processes() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may contain anything, so the fields are counted from its end.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let dead = matches!(fields.next()?, "Z" | "X");
        Some(Process { pid, parent: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()?, dead })
    })
}

fn has_mark(pid: i32, mark: &str) -> bool {
    let wanted = format!("{MARK}={mark}");
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()))
}

fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}
