//! Makes the process of a program; what goes wrong before the program runs is told by step and error.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::user::Ids;

/// Everything about a process to be.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The program's file.
    pub path: &'a Path,
    /// Its words, the first of them its own name.
    pub argv: &'a [String],
    /// Its whole environment but for `LISTEN_*`.
    pub env: &'a [(String, String)],
    /// Where it works.
    pub directory: Option<&'a Path>,
    /// Its umask.
    pub umask: u32,
    /// Whom it runs as, if not as the daemon does.
    pub ids: Option<&'a Ids>,
    /// Its standard input.
    pub stdin: &'a OwnedFd,
    /// Its standard output.
    pub stdout: &'a OwnedFd,
    /// Its standard error.
    pub stderr: &'a OwnedFd,
    /// Listening sockets that it gets, with their names.
    pub sockets: &'a [(&'a str, &'a OwnedFd)],
    /// Whether it is killed when the daemon dies.
    pub dies_with_daemon: bool,
}

/// Why there is no process.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The command is nowhere.
    #[error("can't find command '{0}'")]
    NotFound(String),
    /// The command's file is no program.
    #[error("command at '{0}' is not executable")]
    NotExecutable(String),
    /// There are no descriptors left.
    #[error("too many open files to spawn '{0}'")]
    TooManyFiles(String),
    /// The system makes no process.
    #[error("unknown error during fork for '{name}': {errno}")]
    Fork {
        /// The program.
        name: String,
        /// What the system says.
        errno: Errno,
    },
    /// A step between the two failed.
    #[error("couldn't {step}: {errno}")]
    Step {
        /// What could not be done, such as `exec /bin/x`.
        step: String,
        /// What the system says.
        errno: Errno,
    },
}

/// The file that a command names: itself if it has a slash, else the first in PATH (supervisor 4.3
/// `process.py:get_execv_args`).
pub fn find(command: &str, path: Option<&OsStr>) -> Result<PathBuf, SpawnError> {
    let candidates: Vec<PathBuf> = if command.contains('/') {
        vec![PathBuf::from(command)]
    } else {
        let path = path.unwrap_or_else(|| OsStr::new("/bin:/usr/bin:/usr/local/bin"));
        std::env::split_paths(path).map(|folder| folder.join(command)).collect()
    };
    let found = candidates.into_iter().find_map(|file| Some((std::fs::metadata(&file).ok()?, file)));
    let Some((metadata, file)) = found else { return Err(SpawnError::NotFound(command.to_owned())) };
    if metadata.is_dir() {
        return Err(SpawnError::NotExecutable(file.display().to_string()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(SpawnError::NotExecutable(file.display().to_string()));
    }
    Ok(file)
}

/// The steps of the child, as numbers that fit through its pipe.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Step {
    Descriptors = 1,
    Group,
    User,
    Directory,
    Exec,
}

/// Room for a pid in `LISTEN_PID=`.
const LISTEN_PID: &[u8] = b"LISTEN_PID=0000000000\0";

/// Forks and executes. Returns once the program runs, or with the step that failed.
pub fn spawn(name: &str, plan: &Plan<'_>) -> Result<u32, SpawnError> {
    let failed = |step: String, errno: Errno| match errno {
        Errno::EMFILE | Errno::ENFILE => SpawnError::TooManyFiles(name.to_owned()),
        errno => SpawnError::Step { step, errno },
    };
    let nul = |_| SpawnError::Step { step: format!("use the words of {name}"), errno: Errno::EINVAL };
    let path = CString::new(plan.path.as_os_str().as_bytes()).map_err(nul)?;
    let argv = strings(plan.argv.iter().map(String::as_str)).map_err(nul)?;
    let mut env: Vec<String> = plan.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !plan.sockets.is_empty() {
        let names: Vec<&str> = plan.sockets.iter().map(|(name, _)| *name).collect();
        env.push(format!("LISTEN_FDS={}", names.len()));
        env.push(format!("LISTEN_FDNAMES={}", names.join(":")));
    }
    let env = strings(env.iter().map(String::as_str)).map_err(nul)?;
    let directory =
        plan.directory.map(|path| CString::new(path.as_os_str().as_bytes())).transpose().map_err(nul)?;
    let (errors, errors_write) =
        pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed("make a pipe".to_owned(), errno))?;
    let mut listen_pid = LISTEN_PID.to_vec();
    let argv_pointers = pointers(&argv, None);
    let env_pointers =
        pointers(&env, (!plan.sockets.is_empty()).then_some(listen_pid.as_mut_ptr().cast_const()));
    let sockets: Vec<RawFd> = plan.sockets.iter().map(|(_, socket)| socket.as_raw_fd()).collect();
    let mut raised = vec![-1; sockets.len()];
    let child = Child {
        path: &path,
        argv: &argv_pointers,
        env: &env_pointers,
        directory: directory.as_deref(),
        plan,
        descriptors: [plan.stdin.as_raw_fd(), plan.stdout.as_raw_fd(), plan.stderr.as_raw_fd()],
        sockets: &sockets,
        errors: errors_write.as_raw_fd(),
        // SAFETY: getpid cannot fail and touches no memory.
        daemon: unsafe { libc::getpid() },
    };
    // SAFETY: the child calls only async-signal-safe functions until it executes or exits, and allocates nothing.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(SpawnError::Fork { name: name.to_owned(), errno: Errno::last() }),
        0 => child.run(&mut listen_pid, &mut raised),
        pid => {
            drop(errors_write);
            match read_error(&errors) {
                None => Ok(pid.unsigned_abs()),
                Some((step, errno)) => {
                    let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
                    let step = match step {
                        s if s == Step::Exec as u8 => format!("exec {}", plan.path.display()),
                        s if s == Step::Directory as u8 => {
                            format!("chdir to {}", plan.directory.unwrap_or(Path::new("")).display())
                        }
                        s if s == Step::User as u8 => {
                            format!("setuid to {}", plan.ids.map_or("", |ids| ids.name.as_str()))
                        }
                        s if s == Step::Group as u8 => "make a process group".to_owned(),
                        _ => "pass on descriptors".to_owned(),
                    };
                    Err(failed(step, errno))
                }
            }
        }
    }
}

fn strings<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<CString>, std::ffi::NulError> {
    words.map(CString::new).collect()
}

fn pointers(strings: &[CString], last: Option<*const u8>) -> Vec<*const libc::c_char> {
    let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
    pointers.extend(last.map(<*const u8>::cast));
    pointers.push(std::ptr::null());
    pointers
}

/// Step and error of a child that failed; `None` once it executes, for then the pipe is closed.
fn read_error(pipe: &OwnedFd) -> Option<(u8, Errno)> {
    let mut bytes = [0; 5];
    loop {
        match nix::unistd::read(pipe, &mut bytes) {
            Ok(5) => {
                let errno = i32::from_ne_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
                return Some((bytes[0], Errno::from_raw(errno)));
            }
            Err(Errno::EINTR) => {}
            _ => return None,
        }
    }
}

struct Child<'a> {
    path: &'a CStr,
    argv: &'a [*const libc::c_char],
    env: &'a [*const libc::c_char],
    directory: Option<&'a CStr>,
    plan: &'a Plan<'a>,
    descriptors: [RawFd; 3],
    sockets: &'a [RawFd],
    errors: RawFd,
    daemon: libc::pid_t,
}

impl Child<'_> {
    /// Runs in the child, which shares nothing but its copy of the memory: no allocation, no lock.
    fn run(&self, listen_pid: &mut [u8], raised: &mut [RawFd]) -> ! {
        let mut errors = self.errors;
        let failed = self.prepare(listen_pid, raised, &mut errors);
        let errno = Errno::last_raw().to_ne_bytes();
        let report = [failed as u8, errno[0], errno[1], errno[2], errno[3]];
        // SAFETY: the buffer lives through the call, and _exit runs nothing of ours.
        unsafe {
            libc::write(errors, report.as_ptr().cast(), report.len());
            libc::_exit(127)
        }
    }

    /// Returns only if a step failed; `errno` says why.
    fn prepare(&self, listen_pid: &mut [u8], raised: &mut [RawFd], errors: &mut RawFd) -> Step {
        // SAFETY: system calls on numbers and on memory that was made before the fork.
        unsafe {
            if libc::setpgid(0, 0) != 0 {
                return Step::Group;
            }
            // First away from the low numbers, then to their places, so that none is overwritten.
            let first_free = 3 + self.sockets.len() as RawFd;
            for (place, socket) in raised.iter_mut().zip(self.sockets) {
                *place = libc::fcntl(*socket, libc::F_DUPFD_CLOEXEC, first_free);
                if *place < 0 {
                    return Step::Descriptors;
                }
            }
            let mut standard = [0; 3];
            for (place, descriptor) in standard.iter_mut().zip(self.descriptors) {
                *place = libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, first_free);
                if *place < 0 {
                    return Step::Descriptors;
                }
            }
            let away = libc::fcntl(*errors, libc::F_DUPFD_CLOEXEC, first_free);
            if away < 0 {
                return Step::Descriptors;
            }
            *errors = away;
            for (target, source) in standard.iter().chain(raised.iter()).enumerate() {
                if libc::dup2(*source, target as RawFd) < 0 {
                    return Step::Descriptors;
                }
            }
            // Everything of ours is close-on-exec already; this is for what others gave us.
            libc::syscall(libc::SYS_close_range, first_free, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
            reset_signals();
            libc::umask(self.plan.umask);
            if let Some(ids) = self.plan.ids
                && !self.become_user(ids)
            {
                return Step::User;
            }
            if let Some(directory) = self.directory
                && libc::chdir(directory.as_ptr()) != 0
            {
                return Step::Directory;
            }
            if self.plan.dies_with_daemon {
                // After the change of user, which clears it.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if libc::getppid() != self.daemon {
                    libc::_exit(127);
                }
            }
            write_pid(listen_pid, libc::getpid());
            libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.env.as_ptr());
        }
        Step::Exec
    }

    /// SAFETY: to be called in the child alone.
    unsafe fn become_user(&self, ids: &Ids) -> bool {
        // SAFETY: system calls on numbers, and on a list that was made before the fork.
        unsafe {
            if libc::geteuid() == ids.uid.as_raw() && libc::geteuid() != 0 {
                return true;
            }
            libc::setgroups(ids.groups.len(), ids.groups.as_ptr().cast()) == 0
                && libc::setgid(ids.gid.as_raw()) == 0
                && libc::setuid(ids.uid.as_raw()) == 0
        }
    }
}

/// Default dispositions and no blocked signals: Rust ignores SIGPIPE, and that would be inherited.
///
/// SAFETY: to be called in the child alone.
unsafe fn reset_signals() {
    // SAFETY: both calls take memory of this frame.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Writes the pid behind the `=`, without leading zeros, as the receiver compares text or number.
fn write_pid(buffer: &mut [u8], pid: libc::pid_t) {
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

/// Whether a failed `find` or `spawn` will fail again in the same way.
impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_written_behind_its_name() {
        for (pid, expected) in [(1, &b"LISTEN_PID=1\0"[..]), (4_194_304, b"LISTEN_PID=4194304\0")] {
            let mut buffer = LISTEN_PID.to_vec();
            write_pid(&mut buffer, pid);
            assert_eq!(&buffer[..expected.len()], expected);
        }
    }

    #[test]
    fn a_command_is_found_as_supervisord_finds_it() {
        let text = |found: Result<PathBuf, SpawnError>| match found {
            Ok(path) => path.display().to_string(),
            Err(error) => error.to_string(),
        };
        let path = Some(OsStr::new("/nowhere:/bin"));
        assert_eq!(text(find("sh", path)), "/bin/sh");
        assert_eq!(text(find("/bin/sh", path)), "/bin/sh");
        assert_eq!(text(find("no-such-command", path)), "can't find command 'no-such-command'");
        assert_eq!(text(find("/etc/passwd", path)), "command at '/etc/passwd' is not executable");
        assert_eq!(text(find("/bin", path)), "command at '/bin' is not executable");
    }
}
