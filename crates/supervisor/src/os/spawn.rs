//! Makes the process of a program; what goes wrong before the program runs is told by step and error.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::unistd::{AccessFlags, Pid, Uid, access, geteuid, pipe2};
use tokio::io::unix::AsyncFd;

use super::child::{Child, PidVariable, REPORT, Step, read_report};
use super::guardian::Guardian;
use super::pipes;
use super::user::Ids;
use crate::config::Rlimit;

/// How long the daemon waits for the program to run. What takes longer, on a disk that hangs, is taken for running;
/// if it fails after all, the process exits with 127.
const EXEC_WAIT: Duration = Duration::from_secs(1);

/// Everything about a process to be.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The program's file.
    pub path: &'a Path,
    /// Its words, the first of them its own name.
    pub argv: &'a [String],
    /// Its whole environment but for `LISTEN_*`, `NOTIFY_SOCKET` and `WATCHDOG_*`.
    pub env: &'a [(String, String)],
    /// What is no UTF-8 of it, none of it twice.
    pub inherited: &'a [(&'a OsStr, &'a OsStr)],
    /// Where it works.
    pub directory: Option<&'a Path>,
    /// Its umask, if it is another one than the daemon's.
    pub umask: Option<u32>,
    /// Its nice value, if it is another one than the daemon's.
    pub nice: Option<i32>,
    /// Its limits, soft and hard; set before it becomes its user, so that root may raise them.
    pub rlimits: &'a [Rlimit],
    /// Whom it runs as, if not as the daemon does.
    pub ids: Option<&'a Ids>,
    /// Its standard input: a pipe, or the listening socket of an fcgi-program.
    pub stdin: &'a OwnedFd,
    /// Its standard output.
    pub stdout: &'a OwnedFd,
    /// Its standard error.
    pub stderr: &'a OwnedFd,
    /// Listening sockets that it gets, with their names.
    pub sockets: &'a [(&'a str, &'a OwnedFd)],
    /// Where it says that it is ready (`NOTIFY_SOCKET`).
    pub notify: Option<&'a str>,
    /// How often it has to say that it is alive (`WATCHDOG_USEC`).
    pub watchdog: Option<Duration>,
    /// Who kills it when the daemon dies.
    pub guardian: Option<&'a Guardian>,
}

/// Why there is no process.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no command, or it cannot be read; says which.
    #[error("{0}")]
    NoCommand(String),
    /// The command is nowhere.
    #[error("can't find command '{0}'")]
    NotFound(String),
    /// The command is a folder.
    #[error("command at '{0}' is a directory")]
    Directory(String),
    /// The command's file is no program.
    #[error("command at '{0}' is not executable")]
    NotExecutable(String),
    /// The command's file is a program of others.
    #[error("no permission to run command '{0}'")]
    NoPermission(String),
    /// There are no descriptors left.
    #[error("too many open files to spawn '{0}'")]
    TooManyFiles(String),
    /// There are no processes left.
    #[error("Too many processes in process table to spawn '{0}'")]
    TooManyProcesses(String),
    /// The system makes no process.
    #[error("unknown error during fork for '{name}': {errno:?}")]
    Fork {
        /// The program.
        name: String,
        /// What the system says.
        errno: Errno,
    },
    /// It cannot run as whom it shall.
    #[error("couldn't setuid to {user}: {why}")]
    User {
        /// Whom.
        user: String,
        /// What is wrong with that.
        why: String,
    },
    /// A step before the fork failed.
    #[error("couldn't {step}: {source}")]
    Io {
        /// What could not be done, such as `open socket http`.
        step: String,
        /// Why.
        source: io::Error,
    },
    /// Another step between fork and exec failed.
    #[error("couldn't {step}: {errno}")]
    Step {
        /// What could not be done, such as `exec /bin/x`.
        step: String,
        /// What the system says.
        errno: Errno,
    },
}

impl SpawnError {
    /// What the genuine child says on its stderr before it exits with 127, if it was the child that failed
    /// (supervisor 4.3 `process.py:_spawn_as_child`).
    #[must_use]
    pub fn on_stderr(&self) -> Option<String> {
        let why = match self {
            Self::User { .. } => self.to_string(),
            Self::Step { step, errno } => format!("couldn't {step}: {errno:?}"),
            _ => return None,
        };
        Some(format!("supervisor: {why}\nsupervisor: child process was not spawned\n"))
    }
}

/// For callers that have no use for the difference.
impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> Self {
        Self::other(error)
    }
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
    let name = || file.display().to_string();
    if metadata.is_dir() {
        return Err(SpawnError::Directory(name()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(SpawnError::NotExecutable(name()));
    }
    if access(&file, AccessFlags::X_OK).is_err() {
        return Err(SpawnError::NoPermission(name()));
    }
    Ok(file)
}

/// A process that is on its way to its program.
#[derive(Debug)]
#[must_use = "it runs, and nobody knows it"]
pub struct Begun {
    words: Words,
    pid: Pid,
    errors: Rc<OwnedFd>,
    watch: Option<AsyncFd<Rc<OwnedFd>>>,
    until: Instant,
}

impl Begun {
    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Has the loop hear of it.
    pub fn watch(&mut self) {
        self.watch = pipes::watch(&self.errors).ok();
    }

    /// Whether [`Self::finish`] has nothing to wait for.
    pub fn poll_heard(&self, context: &mut Context<'_>) -> Poll<()> {
        match &self.watch {
            Some(watch) => watch.poll_read_ready(context).map(drop),
            None => Poll::Ready(()),
        }
    }

    /// When that is so in any case.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// When it began.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.until - EXEC_WAIT
    }

    /// Waits until the program runs and returns its pid, or returns the step that failed.
    pub fn finish(self) -> Result<u32, SpawnError> {
        match read_error(&self.errors, self.until) {
            None => Ok(self.pid()),
            Some(failed) => {
                let _ = nix::sys::wait::waitpid(self.pid, None);
                Err(self.words.step_failed(None, failed))
            }
        }
    }
}

/// Forks and executes. Returns once the program runs, or with the step that failed.
pub fn spawn(name: &str, plan: &Plan<'_>) -> Result<u32, SpawnError> {
    begin(name, plan)?.finish()
}

/// Forks, and leaves it to [`Begun::finish`] to wait until the program runs: others may begin meanwhile.
pub fn begin(name: &str, plan: &Plan<'_>) -> Result<Begun, SpawnError> {
    let words = Words::new(name, plan);
    let nul = |_| SpawnError::Step { step: format!("use the words of {name}"), errno: Errno::EINVAL };
    let path = CString::new(plan.path.as_os_str().as_bytes()).map_err(nul)?;
    let argv = strings(plan.argv.iter().map(String::as_str)).map_err(nul)?;
    let (env, mut pids) = environment(plan);
    let mut env = strings(env.iter().map(String::as_str)).map_err(nul)?;
    for (name, value) in plan.inherited {
        env.push(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).map_err(nul)?);
    }
    let directory = plan.directory.map(|path| CString::new(path.as_os_str().as_bytes()));
    let directory = directory.transpose().map_err(nul)?;
    let (errors, errors_write) = pipe2(OFlag::O_CLOEXEC)
        .map_err(|errno| words.step_failed(Some("make a pipe"), (Step::Descriptors, errno)))?;
    let argv_pointers = pointers(&argv, &mut []);
    let env_pointers = pointers(&env, &mut pids);
    let rlimits: Vec<_> = plan.rlimits.iter().map(|limit| (limit.resource, limit.value)).collect();
    let sockets: Vec<RawFd> = plan.sockets.iter().map(|(_, socket)| socket.as_raw_fd()).collect();
    let mut raised = vec![-1; sockets.len()];
    let child = Child {
        path: &path,
        argv: &argv_pointers,
        env: &env_pointers,
        directory: directory.as_deref(),
        umask: plan.umask,
        nice: plan.nice,
        rlimits: &rlimits,
        ids: plan.ids,
        standard: [plan.stdin.as_raw_fd(), plan.stdout.as_raw_fd(), plan.stderr.as_raw_fd()],
        sockets: &sockets,
        errors: errors_write.as_raw_fd(),
        mark: plan.guardian.map(Guardian::limit),
        daemon: Pid::this().as_raw(),
    };
    // A signal that the child gets before it has dispositions of its own waits, and is not taken by our handlers.
    let mut before = SigSet::empty();
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before));
    // SAFETY: the child calls only async-signal-safe functions until it executes or exits, and allocates nothing.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        child.run(&mut pids, &mut raised);
    }
    let errno = Errno::last();
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    drop(errors_write);
    match pid {
        -1 if errno == Errno::EAGAIN => Err(SpawnError::TooManyProcesses(name.to_owned())),
        -1 => Err(SpawnError::Fork { name: name.to_owned(), errno }),
        pid => {
            let (pid, errors) = (Pid::from_raw(pid), Rc::new(errors));
            Ok(Begun { words, pid, errors, watch: None, until: Instant::now() + EXEC_WAIT })
        }
    }
}

/// What the sentence about a step that failed names.
#[derive(Debug)]
struct Words {
    name: String,
    command: String,
    directory: PathBuf,
    uid: Option<Uid>,
    limits: Vec<&'static str>,
}

impl Words {
    fn new(name: &str, plan: &Plan<'_>) -> Self {
        Self {
            name: name.to_owned(),
            command: plan.argv.first().cloned().unwrap_or_default(),
            directory: plan.directory.map(Path::to_owned).unwrap_or_default(),
            uid: plan.ids.map(|ids| ids.uid),
            limits: plan.rlimits.iter().map(|limit| limit.name).collect(),
        }
    }

    /// The error of a step, in supervisord's words where it has some.
    fn step_failed(&self, text: Option<&str>, (step, errno): (Step, Errno)) -> SpawnError {
        let step = match (text, step) {
            _ if matches!(errno, Errno::EMFILE | Errno::ENFILE) => {
                return SpawnError::TooManyFiles(self.name.clone());
            }
            (Some(text), _) => text.to_owned(),
            (None, Step::Session) => "make a session".to_owned(),
            (None, Step::Descriptors) => "pass on descriptors".to_owned(),
            (None, Step::Limit(place)) => {
                format!("set limit {}", self.limits.get(usize::from(place)).unwrap_or(&""))
            }
            (None, Step::Nice) => "set nice".to_owned(),
            (None, Step::User) => {
                let user = self.uid.map_or_else(String::new, |uid| uid.to_string());
                let why = match errno {
                    Errno::EPERM if !geteuid().is_root() => "Can't drop privilege as nonroot user".to_owned(),
                    errno => format!("{errno:?}"),
                };
                return SpawnError::User { user, why };
            }
            (None, Step::Directory) => format!("chdir to {}", self.directory.display()),
            (None, Step::Exec) => format!("exec {}", self.command),
        };
        SpawnError::Step { step, errno }
    }
}

/// The variables, and those that hold the child's own pid.
fn environment(plan: &Plan<'_>) -> (Vec<String>, Vec<PidVariable>) {
    let mut env: Vec<String> = plan.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut pids = Vec::new();
    if !plan.sockets.is_empty() {
        let names: Vec<&str> = plan.sockets.iter().map(|(name, _)| *name).collect();
        env.push(format!("LISTEN_FDS={}", names.len()));
        env.push(format!("LISTEN_FDNAMES={}", names.join(":")));
        pids.push(PidVariable::new("LISTEN_PID"));
    }
    env.extend(plan.notify.map(|address| format!("NOTIFY_SOCKET={address}")));
    if let Some(watchdog) = plan.watchdog {
        env.push(format!("WATCHDOG_USEC={}", watchdog.as_micros()));
        pids.push(PidVariable::new("WATCHDOG_PID"));
    }
    (env, pids)
}

fn strings<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<CString>, std::ffi::NulError> {
    words.map(CString::new).collect()
}

fn pointers(strings: &[CString], pids: &mut [PidVariable]) -> Vec<*const libc::c_char> {
    let strings = strings.iter().map(CString::as_c_str).map(CStr::as_ptr);
    strings.chain(pids.iter_mut().map(PidVariable::pointer)).chain([std::ptr::null()]).collect()
}

/// Step and error of a child that failed; `None` once it executes, for then the pipe is closed.
fn read_error(pipe: &OwnedFd, until: Instant) -> Option<(Step, Errno)> {
    let mut bytes = [0; REPORT];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], left) {
            Err(Errno::EINTR) => continue,
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        match nix::unistd::read(pipe, &mut bytes) {
            Ok(REPORT) => return Some(read_report(bytes)),
            Err(Errno::EINTR) => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
