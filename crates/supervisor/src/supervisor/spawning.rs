//! Makes the process of a program, and those of its checks.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::Supervisor;
use super::entry::Id;
use super::input::Stdin;
use crate::config::{Check, Program, unreadable_command};
use crate::os::guardian::MARK;
use crate::os::notify::NotifySocket;
use crate::os::pipes;
use crate::os::spawn::{self, Plan, SpawnError};
use crate::program::Input;

/// Processes on their way to their programs at which a start of many waits: as many as keep both cores of a small
/// machine busy. One that hangs, on a disk that does not answer, counts for a second.
pub(super) const BEGUN_MAX: usize = 8;

/// How long those that began later wait for one, so that the log has them in their order.
const ORDER_WAIT: Duration = Duration::from_millis(200);

/// A process of a program that does not run yet, and our ends of what it was given.
pub(super) struct Begun {
    id: Id,
    process: spawn::Begun,
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: Option<OwnedFd>,
    notify: Option<NotifySocket>,
    /// Others were on their way, with descriptors of their own.
    beside: bool,
}

impl Begun {
    /// The pid that it has.
    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// When it is no longer waited for: by those that began after it, or at all.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        let late = self.process.at() + ORDER_WAIT;
        if late > now { late } else { self.process.until() }
    }

    fn is_late(&self, now: Instant) -> bool {
        self.process.at() + ORDER_WAIT <= now
    }
}

/// Waits until it is known of one of them whether its program runs; its pid. They are heard in the order in which they
/// began, but that none waits long for one that hangs.
pub(super) async fn heard(begun: &[Begun]) -> u32 {
    let known = |context: &mut Context<'_>| {
        let now = Instant::now();
        for begun in begun {
            if begun.process.poll_heard(context).is_ready() {
                return Some(begun.pid());
            }
            if !begun.is_late(now) {
                return None;
            }
        }
        None
    };
    poll_fn(|context| known(context).map_or(Poll::Pending, Poll::Ready)).await
}

/// Sockets that the daemon itself was given are not its programs'.
const NOT_PASSED_ON: [&str; 6] =
    ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

impl Supervisor {
    /// Makes the process of a program. What came of it is heard later, but for a client that waits for it.
    pub(super) fn spawn(&mut self, id: Id) -> Option<Input> {
        let mut begun = match self.begin_spawn(id) {
            Ok(begun) => begun,
            Err(error) => return Some(self.told(id, !self.begun.is_empty(), Err(error))),
        };
        if self.is_asked {
            return Some(self.spawned(begun));
        }
        begun.process.watch();
        self.begun.push(begun);
        None
    }

    /// Tells the program of this process, if it is one on its way, whether it runs; waits for that if it must.
    pub(super) fn finish_begun(&mut self, pid: u32) -> bool {
        let Some(place) = self.begun.iter().position(|begun| begun.pid() == pid) else { return false };
        let begun = self.begun.remove(place);
        let id = begun.id;
        let input = self.spawned(begun);
        self.feed(id, input);
        true
    }

    /// Waits until it is known whether this program runs, if it is on its way.
    pub(super) fn finish_start(&mut self, id: Id) {
        if let Some(pid) = self.begun.iter().find(|begun| begun.id == id).map(Begun::pid) {
            self.finish_begun(pid);
        }
    }

    pub(super) fn finish_overdue(&mut self, now: Instant) {
        while let Some(begun) = self.begun.iter().find(|begun| begun.deadline(now) <= now) {
            self.finish_begun(begun.pid());
        }
    }

    /// Whether it is not known yet if this program runs.
    pub(super) fn is_begun(&self, id: Id) -> bool {
        self.begun.iter().any(|begun| begun.id == id)
    }

    fn spawned(&mut self, begun: Begun) -> Input {
        let (id, beside) = (begun.id, begun.beside);
        let result = self.finish_spawn(begun);
        self.told(id, beside, result)
    }

    /// What the program is told about its process.
    fn told(&mut self, id: Id, beside: bool, result: Result<u32, SpawnError>) -> Input {
        match result {
            Ok(pid) => Input::Spawned(pid),
            // Those on their way beside it may have held what it lacks.
            Err(SpawnError::TooManyFiles(_)) if beside => {
                while let Some(pid) = self.begun.first().map(Begun::pid) {
                    self.finish_begun(pid);
                }
                let result = self.begin_spawn(id).and_then(|begun| self.finish_spawn(begun));
                result.map_or_else(|error| self.spawn_failed(id, &error), Input::Spawned)
            }
            Err(error) => self.spawn_failed(id, &error),
        }
    }

    /// The program's own log says it too, where those who look for it look first.
    fn spawn_failed(&self, id: Id, error: &SpawnError) -> Input {
        if let (Some(text), Some(entry)) = (error.on_stderr(), self.entries.get(&id)) {
            let output = if entry.config.redirect_stderr { &entry.stdout } else { &entry.stderr };
            output.write(text.as_bytes());
        }
        Input::SpawnFailed(error.to_string())
    }

    /// Makes the process of a program; [`Self::finish_spawn`] has it run.
    fn begin_spawn(&mut self, id: Id) -> Result<Begun, SpawnError> {
        let Some(entry) = self.entries.get(&id) else { return Err(SpawnError::NotFound(String::new())) };
        let config = entry.config.clone();
        let step = |step: String| {
            let name = config.name.clone();
            move |source: io::Error| match source.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE) => SpawnError::TooManyFiles(name),
                _ => SpawnError::Io { step, source },
            }
        };
        let ids = entry
            .ids()
            .map_err(|why| SpawnError::User { user: config.user.clone().unwrap_or_default(), why })?;
        let path = self.find_command(&config)?;
        let stdin_socket: Vec<String> = config.fcgi_socket.iter().cloned().collect();
        let wanted = [config.sockets.as_slice(), &stdin_socket].concat();
        let defined = self.groups.get(&config.group).map_or(&[][..], |group| &group.sockets);
        self.sockets
            .open(defined, &wanted)
            .map_err(|(name, error)| step(format!("open socket {name}"))(error))?;
        let (out_read, out_write) = pipes::output(ids.as_ref()).map_err(step("make a pipe".to_owned()))?;
        let (in_read, in_write) = pipes::input().map_err(step("make a pipe".to_owned()))?;
        let (err_read, err_write) = match config.redirect_stderr {
            true => (None, out_write.try_clone().map_err(step("make a pipe".to_owned()))?),
            false => {
                let (read, write) = pipes::output(ids.as_ref()).map_err(step("make a pipe".to_owned()))?;
                (Some(read), write)
            }
        };
        let notify =
            self.notify_socket(id, &config, ids.as_ref()).map_err(step("make NOTIFY_SOCKET".to_owned()))?;
        let env = self.child_environment(&config);
        let address = notify.as_ref().map(NotifySocket::address);
        let fcgi = self.sockets.handed(&stdin_socket);
        let plan = Plan {
            path: &path,
            argv: &config.command,
            env: &env,
            inherited: &self.inherited(&env),
            directory: config.directory.as_deref(),
            umask: Some(config.umask.unwrap_or(self.config.supervisord.umask)),
            nice: config.nice,
            rlimits: &config.rlimits,
            ids: ids.as_ref(),
            stdin: fcgi.first().map_or(&in_read, |(_, socket)| *socket),
            stdout: &out_write,
            stderr: &err_write,
            sockets: &self.sockets.handed(&config.sockets),
            notify: address.as_deref(),
            watchdog: config
                .alive
                .as_ref()
                .filter(|alive| alive.check == Check::Notify)
                .map(|alive| alive.timeout),
            guardian: self.guardian.as_ref(),
        };
        let process = spawn::begin(&config.name, &plan)?;
        let beside = !self.begun.is_empty();
        Ok(Begun { id, process, stdin: in_write, stdout: out_read, stderr: err_read, notify, beside })
    }

    /// Waits until the program runs, or says why it does not.
    fn finish_spawn(&mut self, begun: Begun) -> Result<u32, SpawnError> {
        let Begun { id, process, stdin, stdout, stderr, notify, .. } = begun;
        let pid = process.finish()?;
        if let Some(guardian) = &self.guardian {
            guardian.group_began(pid);
        }
        self.by_pid.insert(pid, id);
        let mut start = 0;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.stdin = Stdin::new(stdin)
                .inspect_err(|error| log::error!("cannot write to {}: {error}", entry.config.name))
                .ok();
            entry.start += 1;
            start = entry.start;
            entry.stdout.read(stdout, id, start, pid);
            if let Some(stderr) = stderr {
                entry.stderr.read(stderr, id, start, pid);
            }
        }
        self.begin_checks(id, start, notify);
        self.listener_began(id);
        Ok(pid)
    }

    /// Runs the command of a readiness check, with the environment of its program and its output dropped.
    pub(super) fn spawn_check(&self, id: Id, command: &[String]) -> Result<u32, SpawnError> {
        let Some(entry) = self.entries.get(&id) else { return Err(SpawnError::NotFound(String::new())) };
        let config = &entry.config;
        let path = spawn::find(&command[0], self.path(config).as_deref())?;
        let ids = entry
            .ids()
            .map_err(|why| SpawnError::User { user: config.user.clone().unwrap_or_default(), why })?;
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
        let null =
            null.map_err(|source| SpawnError::Io { step: "open /dev/null".to_owned(), source })?.into();
        let env = self.child_environment(config);
        let plan = Plan {
            path: &path,
            argv: command,
            env: &env,
            inherited: &self.inherited(&env),
            directory: config.directory.as_deref(),
            umask: Some(self.config.supervisord.umask),
            nice: None,
            rlimits: &[],
            ids: ids.as_ref(),
            stdin: &null,
            stdout: &null,
            stderr: &null,
            sockets: &[],
            notify: None,
            watchdog: None,
            guardian: self.guardian.as_ref(),
        };
        spawn::spawn(&config.name, &plan)
    }

    /// The file of a program's command.
    pub(super) fn find_command(&self, config: &Program) -> Result<PathBuf, SpawnError> {
        match config.command.first().filter(|word| !word.is_empty()) {
            Some(word) => spawn::find(word, self.path(config).as_deref()),
            None => Err(SpawnError::NoCommand(unreadable_command(&config.command_text))),
        }
    }

    /// Where a program's command is looked for: the program's own PATH counts before the daemon's.
    fn path(&self, config: &Program) -> Option<OsString> {
        let shared = self.groups.get(&config.group).map_or(&[][..], |group| &group.environment);
        let all = config.environment.iter().chain(shared).chain(&self.source.environment);
        let found = all.into_iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.into());
        let inherited = || self.source.inherited.iter().find(|(name, _)| name == "PATH");
        found.or_else(|| inherited().map(|(_, value)| value.clone()))
    }

    /// The daemon's environment, then its own additions, then what the configuration says.
    fn child_environment(&self, config: &Program) -> Vec<(String, String)> {
        let mut env: BTreeMap<String, String> = self.source.environment.iter().cloned().collect();
        for variable in NOT_PASSED_ON {
            env.remove(variable);
        }
        let mut add = |name: &str, value: &str| drop(env.insert(name.to_owned(), value.to_owned()));
        add("SUPERVISOR_ENABLED", "1");
        if let Some(url) = config.serverurl.clone().or_else(|| self.config.control_url()) {
            add("SUPERVISOR_SERVER_URL", &url);
        }
        add("SUPERVISOR_PROCESS_NAME", &config.name);
        add("SUPERVISOR_GROUP_NAME", &config.group);
        if let Some(guardian) = &self.guardian {
            add(MARK, guardian.mark());
        }
        if let Some(group) = self.groups.get(&config.group) {
            env.extend(group.environment.iter().cloned());
        }
        env.extend(config.environment.iter().cloned());
        env.into_iter().collect()
    }
    /// What is no UTF-8 of the daemon's environment, unless `env` says it otherwise.
    fn inherited(&self, env: &[(String, String)]) -> Vec<(&OsStr, &OsStr)> {
        let said = |name: &OsStr| {
            NOT_PASSED_ON.iter().any(|other| name == *other)
                || env.iter().any(|(other, _)| name == other.as_str())
        };
        let inherited = self.source.inherited.iter().filter(|(name, _)| !said(name));
        inherited.map(|(name, value)| (name.as_os_str(), value.as_os_str())).collect()
    }
}
