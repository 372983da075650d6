//! The child between fork and exec: it shares nothing but a copy of the memory, so it allocates and locks nothing.

use std::ffi::CStr;
use std::os::fd::RawFd;

use nix::errno::Errno;

use super::user::Ids;

/// The steps of the child, as numbers that fit through its pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Session,
    Descriptors,
    /// The place of the limit in the plan.
    Limit(u8),
    Nice,
    User,
    Directory,
    Exec,
}

/// The length of a report.
pub(super) const REPORT: usize = 6;

/// What a child says in place of its report when nobody waits for that any more.
const NOT_SPAWNED: &[u8] = b"supervisor: child process was not spawned\n";

/// Descriptors that are looked at one by one where the kernel does not do it at once.
const DESCRIPTORS_MAX: RawFd = 65_536;

/// Step and error through the pipe.
pub(super) fn report(step: Step, errno: i32) -> [u8; REPORT] {
    let (number, place) = match step {
        Step::Session => (1, 0),
        Step::Descriptors => (2, 0),
        Step::Limit(place) => (3, place),
        Step::Nice => (4, 0),
        Step::User => (5, 0),
        Step::Directory => (6, 0),
        Step::Exec => (7, 0),
    };
    let errno = errno.to_ne_bytes();
    [number, place, errno[0], errno[1], errno[2], errno[3]]
}

/// The other way.
pub(super) fn read_report(bytes: [u8; REPORT]) -> (Step, Errno) {
    let step = match bytes[0] {
        1 => Step::Session,
        2 => Step::Descriptors,
        3 => Step::Limit(bytes[1]),
        4 => Step::Nice,
        5 => Step::User,
        6 => Step::Directory,
        _ => Step::Exec,
    };
    (step, Errno::from_raw(i32::from_ne_bytes([bytes[2], bytes[3], bytes[4], bytes[5]])))
}

/// Room for a pid behind the name of a variable.
#[derive(Debug)]
pub(super) struct PidVariable(Vec<u8>);

impl PidVariable {
    pub(super) fn new(name: &str) -> Self {
        Self(format!("{name}=0000000000\0").into_bytes())
    }

    pub(super) fn pointer(&mut self) -> *const libc::c_char {
        self.0.as_mut_ptr().cast_const().cast()
    }

    /// Writes the pid behind the `=`, without leading zeros, as the receiver compares text or number.
    fn write(&mut self, pid: libc::pid_t) {
        let buffer = &mut self.0;
        let Some(start) = buffer.iter().position(|byte| *byte == b'=').map(|at| at + 1) else { return };
        let mut digits = [0_u8; 10];
        let mut length = 0;
        let mut rest = pid.unsigned_abs();
        loop {
            digits[length] = b'0' + (rest % 10) as u8;
            length += 1;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        for n in 0..length {
            buffer[start + n] = digits[length - 1 - n];
        }
        buffer[start + length] = 0;
    }
}

/// Everything that the child needs, made before the fork.
pub(super) struct Child<'a> {
    pub(super) path: &'a CStr,
    pub(super) argv: &'a [*const libc::c_char],
    pub(super) env: &'a [*const libc::c_char],
    pub(super) directory: Option<&'a CStr>,
    pub(super) umask: Option<u32>,
    pub(super) nice: Option<i32>,
    pub(super) rlimits: &'a [(u32, Option<u64>)],
    pub(super) ids: Option<&'a Ids>,
    pub(super) standard: [RawFd; 3],
    pub(super) sockets: &'a [RawFd],
    pub(super) errors: RawFd,
    /// The guardian's mark, if the child is to die with the daemon.
    pub(super) mark: Option<u64>,
    pub(super) daemon: libc::pid_t,
}

impl Child<'_> {
    pub(super) fn run(&self, pids: &mut [PidVariable], raised: &mut [RawFd]) -> ! {
        let mut errors = self.errors;
        let failed = self.prepare(pids, raised, &mut errors);
        let report = report(failed, Errno::last_raw());
        // SAFETY: the buffers live through the calls, and _exit runs nothing of ours.
        unsafe {
            // The daemon may have stopped waiting for the report; then this is an exit like any other.
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            if libc::write(errors, report.as_ptr().cast(), report.len()) < 0 {
                libc::write(2, NOT_SPAWNED.as_ptr().cast(), NOT_SPAWNED.len());
            }
            libc::_exit(127)
        }
    }

    /// Returns only if a step failed; `errno` says why.
    fn prepare(&self, pids: &mut [PidVariable], raised: &mut [RawFd], errors: &mut RawFd) -> Step {
        // SAFETY: system calls on numbers and on memory that was made before the fork.
        unsafe {
            reset_signals();
            // A session of its own is a process group of its own without a terminal: Ctrl-C does not reach the
            // program, and it cannot put input into the terminal of whoever started the daemon.
            if libc::setsid() < 0 {
                return Step::Session;
            }
            if !self.place_descriptors(raised, errors) {
                return Step::Descriptors;
            }
            let own = self.rlimits.iter().any(|(limit, _)| i64::from(*limit) == i64::from(libc::RLIMIT_RSS));
            if let Some(mark) = self.mark.filter(|_| !own) {
                // Where a lower one is set already, or the program has its own, which could not be raised above this
                // one without privilege, there is the other mark.
                let limit = libc::rlimit { rlim_cur: mark, rlim_max: mark };
                libc::setrlimit(libc::RLIMIT_RSS, &raw const limit);
            }
            for (place, (resource, value)) in self.rlimits.iter().enumerate() {
                let value = value.unwrap_or(libc::RLIM_INFINITY);
                let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
                if libc::setrlimit(*resource as _, &raw const limit) != 0 {
                    return Step::Limit(place as u8);
                }
            }
            if let Some(nice) = self.nice
                && libc::setpriority(libc::PRIO_PROCESS, 0, nice) != 0
            {
                return Step::Nice;
            }
            if let Some(umask) = self.umask {
                libc::umask(umask as libc::mode_t);
            }
            if let Some(ids) = self.ids
                && !become_user(ids)
            {
                return Step::User;
            }
            if let Some(directory) = self.directory
                && libc::chdir(directory.as_ptr()) != 0
            {
                return Step::Directory;
            }
            if self.mark.is_some() {
                // After the change of user, which clears it.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if libc::getppid() != self.daemon {
                    libc::_exit(127);
                }
            }
            let pid = libc::getpid();
            pids.iter_mut().for_each(|variable| variable.write(pid));
            libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.env.as_ptr());
        }
        Step::Exec
    }

    /// Standard input, output and error, then the listening sockets; all else is closed by the exec.
    ///
    /// SAFETY: to be called in the child alone.
    unsafe fn place_descriptors(&self, raised: &mut [RawFd], errors: &mut RawFd) -> bool {
        let first_free = 3 + self.sockets.len() as RawFd;
        // SAFETY: system calls on numbers.
        unsafe {
            // First away from the low numbers, then to their places, so that none is overwritten.
            let away = libc::fcntl(*errors, libc::F_DUPFD_CLOEXEC, first_free);
            if away < 0 {
                return false;
            }
            *errors = away;
            for (place, socket) in raised.iter_mut().zip(self.sockets) {
                *place = libc::fcntl(*socket, libc::F_DUPFD_CLOEXEC, first_free);
                if *place < 0 {
                    return false;
                }
            }
            let mut standard = [0; 3];
            for (place, descriptor) in standard.iter_mut().zip(self.standard) {
                *place = libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, first_free);
                if *place < 0 {
                    return false;
                }
            }
            for (target, source) in standard.iter().chain(raised.iter()).enumerate() {
                if libc::dup2(*source, target as RawFd) < 0 {
                    return false;
                }
            }
            // Everything of ours is close-on-exec already; this is for what others gave us.
            if libc::syscall(libc::SYS_close_range, first_free, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) != 0 {
                let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
                let last = RawFd::try_from(limit.rlim_max).unwrap_or(RawFd::MAX).min(DESCRIPTORS_MAX);
                for descriptor in first_free..last {
                    libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
                }
            }
        }
        true
    }
}

/// SAFETY: to be called in the child alone.
unsafe fn become_user(ids: &Ids) -> bool {
    // SAFETY: system calls on numbers, and on a list that was made before the fork.
    unsafe {
        libc::setgroups(ids.groups.len(), ids.groups.as_ptr().cast()) == 0
            && libc::setgid(ids.gid.as_raw()) == 0
            && libc::setuid(ids.uid.as_raw()) == 0
    }
}

/// Default dispositions and no blocked signals: Rust ignores SIGPIPE, and that would be inherited. The signals are
/// let in last, so that none is swallowed by a handler of the daemon.
///
/// SAFETY: to be called in the child alone.
unsafe fn reset_signals() {
    // Handler, flags, restorer and mask as the kernel has them, whose zero is the default. The C library refuses to
    // touch the two signals that it uses itself, and those may be ignored by whoever started the daemon.
    let default = [0_u64; 4];
    // SAFETY: the calls take memory of this frame.
    unsafe {
        for signal in 1..=64 {
            let nothing = std::ptr::null_mut::<libc::c_void>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), nothing, 8_usize);
        }
        let none = 0_u64;
        let nothing = std::ptr::null_mut::<libc::c_void>();
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, nothing, 8_usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_written_behind_its_name() {
        for (pid, expected) in [(1, &b"LISTEN_PID=1\0"[..]), (4_194_304, b"LISTEN_PID=4194304\0")] {
            let mut variable = PidVariable::new("LISTEN_PID");
            variable.write(pid);
            assert_eq!(&variable.0[..expected.len()], expected);
        }
    }

    #[test]
    fn a_report_arrives_as_it_was_sent() {
        let steps = [
            Step::Session,
            Step::Descriptors,
            Step::Limit(0),
            Step::Limit(15),
            Step::Nice,
            Step::User,
            Step::Directory,
            Step::Exec,
        ];
        for step in steps {
            assert_eq!(read_report(report(step, libc::ENOEXEC)), (step, Errno::ENOEXEC));
        }
    }
}
