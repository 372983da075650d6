//! Sees to it that nothing outlives a daemon that is killed.
//!
//! A small process, made before everything else, waits at the end of a pipe that only the daemon holds. If the
//! daemon dies without a word, the guardian kills every process group and session it was told of, whatever carries
//! one of the daemon's two marks, and the children of those, until none is left. It changes its session and
//! its name, so that what kills the daemon (Ctrl-C, `pkill`) does not meet it. As PID 1 the kernel does all this.
//!
//! One mark is a variable of the environment, which also survives a program that sets its limits. The other is a
//! limit that the kernel inherits and does not apply (RLIMIT_RSS, since Linux 2.4.30): it also marks what was started
//! with a clean environment in a session of its own by a parent that has exited, such as the job of a `cron`. A program
//! whose `rlimits` set `rss` has the first mark alone.
//!
//! It is made after the daemon has become its user and has left its terminal: a guardian that stayed root would kill
//! whatever a daemon that is not root any more tells it. Before the daemon executes itself anew it is dismissed.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigHandler, Signal, kill, killpg, signal};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{ForkResult, Pid, fork, pipe2, setsid, write};

use super::signals;

/// The variable by which a process is known to be of this daemon.
pub const MARK: &str = "SUPERVISOR_DAEMON";

/// How long the guardian goes on looking for what is left.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the daemon waits for a guardian that it dismissed.
const FAREWELL_MS: u16 = 1_000;

/// The daemon's end.
#[derive(Debug)]
pub struct Guardian {
    pipe: OwnedFd,
    pid: Pid,
    /// Holds its pid, also when somebody else collects it.
    process: OwnedFd,
    mark: Mark,
    deaf: Cell<bool>,
}

/// By what the processes of a daemon are known.
#[derive(Debug)]
struct Mark {
    text: String,
    limit: u64,
}

impl Mark {
    /// Of this process: no other has its pid and its start time.
    fn own() -> Self {
        let pid = std::process::id();
        let started = start_time(pid).unwrap_or(0);
        // So high that whoever takes it for a limit is not bound by it.
        let limit = 1 << 62 | u64::from(pid) << 32 | started & 0xffff_ffff;
        Self { text: format!("{pid}-{started}"), limit }
    }

    fn is_on(&self, pid: i32) -> bool {
        self.is_in_environment(pid) || self.is_limit(pid)
    }

    fn is_in_environment(&self, pid: i32) -> bool {
        let wanted = format!("{MARK}={}", self.text);
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| {
            environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
        })
    }

    fn is_limit(&self, pid: i32) -> bool {
        fs::read_to_string(format!("/proc/{pid}/limits")).is_ok_and(|limits| {
            let resident = limits.lines().find_map(|line| line.strip_prefix("Max resident set"));
            resident.and_then(|values| values.split_whitespace().next()) == Some(&self.limit.to_string())
        })
    }
}

impl Guardian {
    /// Makes the guardian. Must be called while the daemon has one thread.
    pub fn start() -> io::Result<Self> {
        let mark = Mark::own();
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        // A guardian that somebody stopped does not stop the daemon.
        fcntl(write.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        // SAFETY: there is one thread, so the child may do whatever it likes.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self {
                pipe: write,
                pid: child,
                process: open_process(child)?,
                mark,
                deaf: Cell::new(false),
            }),
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
        &self.mark.text
    }

    /// The limit that a process of this daemon has on its resident set.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.mark.limit
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

    /// The daemon ends in order, or goes on as another program: nothing is to be killed.
    pub fn dismiss(self) {
        self.tell(0);
        let ended = poll(&mut [PollFd::new(self.process.as_fd(), PollFlags::POLLIN)], FAREWELL_MS);
        if ended != Ok(1) {
            // It does not listen, and would kill everything later.
            // SAFETY: the descriptor is open, and there is no further information.
            unsafe {
                let nothing = std::ptr::null::<libc::c_void>();
                libc::syscall(
                    libc::SYS_pidfd_send_signal,
                    self.process.as_raw_fd(),
                    libc::SIGKILL,
                    nothing,
                    0,
                );
            }
        }
        let _ = waitid(Id::PIDFd(self.process.as_fd()), WaitPidFlag::WEXITED);
    }

    fn tell(&self, word: i32) {
        // Four bytes go whole or not at all.
        if let Err(errno) = write(self.pipe.as_fd(), &word.to_ne_bytes())
            && errno != Errno::EINTR
            && !self.deaf.replace(true)
        {
            log::error!(
                "the guardian process {} does not listen ({errno:?}): if this daemon is killed, programs may live on",
                self.pid
            );
        }
    }
}

/// A descriptor that stands for the process, whatever becomes of its pid.
fn open_process(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: system calls on numbers; the descriptor is new and nobody else's.
    unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor as i32)),
        }
    }
}

/// The life of the guardian.
fn guard(pipe: OwnedFd, mark: &Mark) {
    let _ = setsid();
    let _ = nix::sys::prctl::set_name(c"guardian");
    for kind in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR2] {
        // SAFETY: to ignore a signal runs no code of ours.
        let _ = unsafe { signal(kind, SigHandler::SigIgn) };
    }
    signals::accept();
    close_all_but(&pipe);
    let mut pipe = fs::File::from(pipe);
    let mut groups = BTreeSet::new();
    let mut word = [0; 4];
    while pipe.read_exact(&mut word).is_ok() {
        match i32::from_ne_bytes(word) {
            0 => return,
            // To the system these are everybody.
            1 | -1 | i32::MIN => {}
            pid if pid > 0 => drop(groups.insert(pid)),
            pid => drop(groups.remove(&-pid)),
        }
    }
    kill_all(&groups, mark);
}

/// Whoever waits for the end of a pipe or terminal of the daemon's does not wait for the guardian's.
fn close_all_but(kept: &OwnedFd) {
    let kept = kept.as_raw_fd();
    let close = |first: i32, last: u32| {
        // SAFETY: nothing in this process uses another descriptor any more.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) == 0 }
    };
    if kept > 0 && !close(0, kept as u32 - 1) {
        for descriptor in 0..kept {
            let _ = nix::unistd::close(descriptor);
        }
    }
    close(kept + 1, u32::MAX);
}

fn kill_all(groups: &BTreeSet<i32>, mark: &Mark) {
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
                    || groups.contains(&process.session)
                    || killed.contains(&process.parent)
                    || mark.is_on(process.pid)
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
        let _ = poll(&mut [], 10_u16);
    }
}

struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    /// Its program's, also if a shell put it into a group of its own.
    session: i32,
    dead: bool,
}

fn processes() -> impl Iterator<Item = Process> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may contain anything, so the fields are counted from its end.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let dead = matches!(fields.next()?, "Z" | "X");
        let mut number = || fields.next()?.parse().ok();
        Some(Process { pid, parent: number()?, group: number()?, session: number()?, dead })
    })
}

fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use stack_tests::within;

    use super::super::spawn::{Plan, spawn};
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn a_guardian_that_was_stopped_stops_nobody() {
        let guardian = Guardian::start().unwrap();
        kill(guardian.pid, Signal::SIGSTOP).unwrap();
        let began = Instant::now();
        // More than its pipe takes.
        for pid in 2..100_000 {
            guardian.group_began(pid);
        }
        guardian.dismiss();
        assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    }

    #[test]
    fn a_guardian_that_is_dismissed_or_was_killed_is_collected() {
        for dies_before in [false, true] {
            let guardian = Guardian::start().unwrap();
            let pid = guardian.pid;
            if dies_before {
                kill(pid, Signal::SIGKILL).unwrap();
                nix::sys::wait::waitpid(pid, None).unwrap();
            }
            guardian.dismiss();
            assert_eq!(kill(pid, None), Err(Errno::ESRCH));
        }
    }

    #[test]
    fn a_job_in_a_group_of_its_own_dies_with_the_daemon() {
        // Attack: a shell with job control, whose environment carries no mark.
        dies("set -m; sleep 1000 & echo $! >\"$0.new\"; mv \"$0.new\" \"$0\"; wait", false);
    }

    #[test]
    fn what_has_thrown_away_environment_session_and_parent_dies_with_the_daemon() {
        // Attack: as `cron` starts a job, and ends before the daemon does.
        dies(
            "exec env -i setsid sh -c 'sleep 1000 & echo $! >\"$0.new\"; mv \"$0.new\" \"$0\"' \"$0\"",
            true,
        );
    }

    /// A daemon whose program runs this script, and is killed; the process that the script tells of dies too.
    #[track_caller]
    fn dies(script: &str, is_orphan: bool) {
        let folder = tempfile::TempDir::new().unwrap();
        let told = folder.path().join("told");
        // SAFETY: the thread that is left in the child plays the daemon, and is killed.
        let daemon = match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                let guardian = Guardian::start().unwrap();
                let null: OwnedFd = fs::File::open("/dev/null").unwrap().into();
                let argv = ["bash", "-c", script, told.to_str().unwrap()].map(str::to_owned);
                let plan = Plan {
                    path: Path::new("/bin/bash"),
                    argv: &argv,
                    env: &[],
                    inherited: &[],
                    directory: None,
                    umask: None,
                    nice: None,
                    rlimits: &[],
                    ids: None,
                    stdin: &null,
                    stdout: &null,
                    stderr: &null,
                    sockets: &[],
                    notify: None,
                    watchdog: None,
                    guardian: Some(&guardian),
                };
                let pid = spawn("web", &plan).unwrap();
                guardian.group_began(pid);
                if is_orphan {
                    nix::sys::wait::waitpid(Pid::from_raw(pid as i32), None).unwrap();
                    guardian.group_ended(pid);
                    fs::write(told.with_extension("alone"), "").unwrap();
                }
                nix::unistd::pause();
                unreachable!()
            }
        };
        let job = within(LONG, "the job runs", || fs::read_to_string(&told).ok());
        let job = Pid::from_raw(job.trim().parse().unwrap());
        if is_orphan {
            within(LONG, "its parent is gone", || told.with_extension("alone").exists().then_some(()));
        }
        kill(daemon, Signal::SIGKILL).unwrap();
        nix::sys::wait::waitpid(daemon, None).unwrap();
        within(LONG, "the job is dead", || {
            let dead =
                processes().find(|process| process.pid == job.as_raw()).is_none_or(|process| process.dead);
            dead.then_some(())
        });
    }
}
