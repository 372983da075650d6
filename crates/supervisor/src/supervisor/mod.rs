//! The loop: waits for whatever comes first, tells the program it concerns, and does what that asks for.

mod control;
mod entry;
mod output;
mod reload;
mod sockets;
mod stop;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::sync::{mpsc, oneshot};

use crate::config::{Config, OnFatal, Source};
use crate::ctl::server::Pending;
use crate::logs::{Compressor, DaemonLog, StdoutQueue};
use crate::os::guardian::{Guardian, MARK};
use crate::os::signals::Signals;
use crate::os::spawn::{self, Plan, SpawnError};
use crate::os::{pipes, reaper};
use crate::probe;
use crate::program::order::{Node, start_order};
use crate::program::{Action, Input, Level, ProcessState};
use control::Waiter;
use entry::{Entry, Id};
use output::Output;
use sockets::Sockets;
use stop::Shutdown;

/// Calls and results of checks that wait for the loop.
const QUEUE_MAX: usize = 256;

/// How the daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything stopped, as asked for.
    Ordered,
    /// A program went FATAL that takes everything with it.
    Fatal,
}

/// What the daemon was made with.
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// Where it came from; its environment is what programs inherit.
    pub source: Source,
    /// Who ends what is left if the daemon is killed; none as PID 1.
    pub guardian: Option<Guardian>,
    /// The thread that gzips.
    pub compressor: Compressor,
    /// The daemon's own stdout.
    pub stdout: StdoutQueue,
    /// The daemon's own log.
    pub log: &'static DaemonLog,
    /// Calls of clients.
    pub calls: mpsc::Receiver<Pending>,
}

/// Everything the loop knows.
pub struct Supervisor {
    config: Config,
    source: Source,
    guardian: Option<Guardian>,
    compressor: Compressor,
    stdout: StdoutQueue,
    log: &'static DaemonLog,
    entries: BTreeMap<Id, Entry>,
    next_id: Id,
    by_pid: HashMap<u32, Id>,
    /// Commands of readiness checks, and who waits for them.
    checks: HashMap<u32, oneshot::Sender<bool>>,
    sockets: Sockets,
    waiters: Vec<Waiter>,
    shutdown: Option<Shutdown>,
    fatal: bool,
    notes: mpsc::Sender<Note>,
}

/// What a task beside the loop has to say.
enum Note {
    /// The readiness check of this start succeeded.
    Ready { id: Id, start: u64 },
    /// A readiness check wants a command run.
    Exec { id: Id, command: Vec<String>, answer: oneshot::Sender<bool> },
}

impl Supervisor {
    /// Runs until everything has stopped.
    pub async fn run(parts: Parts, mut signals: Signals) -> Ending {
        let Parts { config, source, guardian, compressor, stdout, log, mut calls } = parts;
        let (notes, mut noted) = mpsc::channel(QUEUE_MAX);
        let mut supervisor = Self {
            source,
            guardian,
            compressor,
            stdout,
            log,
            entries: BTreeMap::new(),
            next_id: 0,
            by_pid: HashMap::new(),
            checks: HashMap::new(),
            sockets: Sockets::default(),
            waiters: Vec::new(),
            shutdown: None,
            fatal: false,
            notes,
            config,
        };
        for program in supervisor.config.programs.clone() {
            supervisor.add(program);
        }
        supervisor.settle();
        while !supervisor.is_done() {
            let deadline = supervisor.deadline();
            tokio::select! {
                raised = signals.wait() => supervisor.on_signals(&raised),
                Some((call, answer)) = calls.recv() => supervisor.on_call(call, answer),
                Some(note) = noted.recv() => supervisor.on_note(note),
                () = sleep_until(deadline) => supervisor.on_time(Instant::now()),
            }
            supervisor.settle();
        }
        supervisor.end()
    }

    fn on_signals(&mut self, raised: &[Signal]) {
        for signal in raised {
            match signal {
                Signal::SIGCHLD => self.reap(),
                Signal::SIGHUP if self.shutdown.is_some() => {
                    log::warn!("ignored SIGHUP indicating restart request (shutdown in progress)");
                }
                Signal::SIGHUP => {
                    log::warn!("received SIGHUP indicating restart request");
                    self.reload();
                }
                Signal::SIGUSR2 => {
                    log::info!("received SIGUSR2 indicating log reopen request");
                    self.log.reopen();
                    self.entries.values().for_each(Entry::reopen_logs);
                }
                signal => {
                    log::warn!("received {signal} indicating exit request");
                    self.begin_shutdown();
                }
            }
        }
    }

    /// Collects every process that has exited: ours are told, others are dropped in silence.
    fn reap(&mut self) {
        while let Some(pid) = reaper::next_exited() {
            let number = pid.as_raw().unsigned_abs();
            let id = self.by_pid.remove(&number);
            if let Some(entry) = id.and_then(|id| self.entries.get(&id)) {
                // The leader is still there, so its group is still its own.
                if entry.config.killasgroup && entry.life.state() == ProcessState::Stopping {
                    let _ = reaper::signal(number, Signal::SIGKILL, true);
                }
            }
            let exit = reaper::collect(pid);
            if let Some(id) = id {
                if let Some(guardian) = &self.guardian {
                    guardian.group_ended(number);
                }
                self.feed(id, Input::Exited(exit));
            } else if let Some(answer) = self.checks.remove(&number) {
                let _ = answer.send(exit.status() == 0);
            } else {
                log::debug!("reaped unknown pid {pid} ({exit})");
            }
        }
    }

    fn on_note(&mut self, note: Note) {
        match note {
            Note::Ready { id, start } => {
                if self.entries.get(&id).is_some_and(|entry| entry.start == start) {
                    self.feed(id, Input::Ready);
                }
            }
            Note::Exec { id, command, answer } => match self.spawn_check(id, &command) {
                Ok(pid) => drop(self.checks.insert(pid, answer)),
                Err(error) => {
                    log::debug!("a readiness check cannot run: {error}");
                    let _ = answer.send(false);
                }
            },
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let lives = self.entries.values().filter_map(|entry| entry.life.deadline());
        let shutdown = self.shutdown.as_ref().and_then(Shutdown::deadline);
        lives.chain(self.sockets.deadline()).chain(shutdown).min()
    }

    fn on_time(&mut self, now: Instant) {
        let due: Vec<Id> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.life.deadline().is_some_and(|deadline| deadline <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.feed(id, Input::Timeout);
        }
        self.sockets.close_due(now);
        self.shutdown_time(now);
    }

    /// Tells a program what happened and does what it answers, until it has nothing more to say.
    fn feed(&mut self, id: Id, input: Input) {
        let now = Instant::now();
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let Some(entry) = self.entries.get_mut(&id) else { return };
            let before = entry.life.state();
            let actions = entry.life.on(input, now);
            entry.changed(before);
            for action in actions {
                match action {
                    Action::Log(Level::Info, text) => log::info!("{text}"),
                    Action::Log(Level::Warn, text) => log::warn!("{text}"),
                    Action::Log(Level::Critical, text) => {
                        log::error!(target: DaemonLog::critical(), "{text}")
                    }
                    Action::Spawn if self.shutdown.is_some() => {
                        inputs.push(Input::SpawnFailed("shutting down".to_owned()))
                    }
                    Action::Spawn => inputs.push(match self.spawn(id) {
                        Ok(pid) => Input::Spawned(pid),
                        Err(error) => Input::SpawnFailed(error.to_string()),
                    }),
                    Action::Terminate => inputs.extend(self.signal(id, None)),
                    Action::Kill => inputs.extend(self.signal(id, Some(Signal::SIGKILL))),
                }
            }
        }
        self.after(id);
    }

    /// What follows from the state that a program is in now.
    fn after(&mut self, id: Id) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (state, name, on_fatal) = (entry.life.state(), entry.config.name.clone(), entry.config.on_fatal);
        if state == ProcessState::Fatal {
            let sockets = entry.config.sockets.clone();
            self.sockets.close(&sockets, |name| self.entries.values().any(|entry| entry.holds(name)));
            if on_fatal == OnFatal::Shutdown && self.shutdown.is_none() {
                log::error!("{name} is FATAL and on_fatal is shutdown: everything stops");
                self.fatal = true;
                self.begin_shutdown();
            }
        }
    }

    /// Sends the stop signal, or the one given, and says if that was not possible.
    fn signal(&mut self, id: Id, given: Option<Signal>) -> Option<Input> {
        let entry = self.entries.get(&id)?;
        let pid = entry.life.pid()?;
        let config = &entry.config;
        let group = if given == Some(Signal::SIGKILL) { config.killasgroup } else { config.stopasgroup };
        let signal = given.unwrap_or(config.stopsignal);
        let sent = reaper::signal(pid, signal, group);
        // A process that stopped itself takes no signal but KILL until it goes on.
        if given.is_none() {
            let _ = reaper::signal(pid, Signal::SIGCONT, group);
        }
        let errno = sent.err()?;
        log::error!(target: DaemonLog::critical(), "unknown problem killing {} ({pid}):{errno}", config.name);
        Some(Input::SignalFailed)
    }

    fn spawn(&mut self, id: Id) -> Result<u32, SpawnError> {
        let Some(entry) = self.entries.get(&id) else { return Err(SpawnError::NotFound(String::new())) };
        let config = entry.config.clone();
        let step = |step: String| {
            move |error: std::io::Error| SpawnError::Step {
                step: format!("{step} ({error})"),
                errno: nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0)),
            }
        };
        let ids = entry.ids().map_err(|why| SpawnError::Step {
            step: format!("setuid: {why}"),
            errno: nix::errno::Errno::EINVAL,
        })?;
        let path = spawn::find(&config.command[0], self.path().as_deref())?;
        self.sockets
            .open(&self.config.sockets, &config.sockets)
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
        let env = self.child_environment(&config.name, &config.group, &config.environment);
        let plan = Plan {
            path: &path,
            argv: &config.command,
            env: &env,
            directory: config.directory.as_deref(),
            umask: config.umask.unwrap_or(self.config.supervisord.umask),
            ids: ids.as_ref(),
            stdin: &in_read,
            stdout: &out_write,
            stderr: &err_write,
            sockets: &self.sockets.handed(&config.sockets),
            dies_with_daemon: self.guardian.is_some(),
        };
        let pid = spawn::spawn(&config.name, &plan)?;
        drop((in_read, out_write, err_write));
        if let Some(guardian) = &self.guardian {
            guardian.group_began(pid);
        }
        self.by_pid.insert(pid, id);
        let notes = self.notes.clone();
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.stdin = Some(in_write);
            entry.stdout.read(out_read);
            if let Some(read) = err_read {
                entry.stderr.read(read);
            }
            entry.start += 1;
            let start = entry.start;
            entry.check = config.ready.map(|ready| {
                tokio::task::spawn_local(async move {
                    let exec = |command| {
                        let notes = notes.clone();
                        async move {
                            let (answer, answered) = oneshot::channel();
                            notes.send(Note::Exec { id, command, answer }).await.is_ok()
                                && answered.await.unwrap_or(false)
                        }
                    };
                    probe::until_ready(&ready.check, ready.interval, exec).await;
                    let _ = notes.send(Note::Ready { id, start }).await;
                })
                .into()
            });
        }
        Ok(pid)
    }

    /// Runs the command of a readiness check, with the environment of its program and its output dropped.
    fn spawn_check(&self, id: Id, command: &[String]) -> Result<u32, SpawnError> {
        let Some(entry) = self.entries.get(&id) else { return Err(SpawnError::NotFound(String::new())) };
        let config = &entry.config;
        let path = spawn::find(&command[0], self.path().as_deref())?;
        let null =
            std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").map(Into::into).map_err(
                |error| SpawnError::Step {
                    step: "open /dev/null".to_owned(),
                    errno: nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0)),
                },
            )?;
        let env = self.child_environment(&config.name, &config.group, &config.environment);
        let plan = Plan {
            path: &path,
            argv: command,
            env: &env,
            directory: config.directory.as_deref(),
            umask: self.config.supervisord.umask,
            ids: None,
            stdin: &null,
            stdout: &null,
            stderr: &null,
            sockets: &[],
            dies_with_daemon: self.guardian.is_some(),
        };
        spawn::spawn(&config.name, &plan)
    }

    fn path(&self) -> Option<OsString> {
        self.source.environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.into())
    }

    /// The daemon's environment, then its own additions, then the program's.
    fn child_environment(&self, name: &str, group: &str, own: &[(String, String)]) -> Vec<(String, String)> {
        let mut env: BTreeMap<String, String> = self.source.environment.iter().cloned().collect();
        // Sockets that the daemon itself was given are not its programs'.
        for variable in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"] {
            env.remove(variable);
        }
        env.extend(self.config.supervisord.environment.iter().cloned());
        env.insert("SUPERVISOR_ENABLED".to_owned(), "1".to_owned());
        if let Some(url) = self.config.control_url() {
            env.insert("SUPERVISOR_SERVER_URL".to_owned(), url);
        }
        env.insert("SUPERVISOR_PROCESS_NAME".to_owned(), name.to_owned());
        env.insert("SUPERVISOR_GROUP_NAME".to_owned(), group.to_owned());
        if let Some(guardian) = &self.guardian {
            env.insert(MARK.to_owned(), guardian.mark().to_owned());
        }
        env.extend(own.iter().cloned());
        env.into_iter().collect()
    }

    /// Starts what may start, stops what may stop, and answers whoever waited for it.
    fn settle(&mut self) {
        loop {
            let before = self.revision();
            self.stop_what_may_stop();
            self.replace_what_stopped();
            self.start_what_may_start();
            if self.revision() == before {
                break;
            }
        }
        self.answer_waiters();
    }

    /// Changes whenever a program's state does.
    fn revision(&self) -> u64 {
        self.entries.values().map(|entry| entry.revision).sum::<u64>() + self.entries.len() as u64
    }

    fn start_what_may_start(&mut self) {
        if self.shutdown.is_some() {
            return;
        }
        for id in self.ids_in_start_order() {
            let Some(entry) = self.entries.get(&id) else { continue };
            if !entry.wanted {
                continue;
            }
            let waits_for: Vec<String> = entry
                .config
                .depends_on
                .iter()
                .filter(|name| !self.by_name(name).is_some_and(|other| other.life.is_ready()))
                .cloned()
                .collect();
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            if waits_for.is_empty() {
                entry.wanted = false;
                entry.told = None;
                entry.revision += 1;
                self.feed(id, Input::Start);
            } else if entry.told.as_ref() != Some(&waits_for) {
                log::info!(
                    "waiting for {} to be ready before {} starts",
                    waits_for.join(", "),
                    entry.config.name
                );
                entry.told = Some(waits_for);
            }
        }
    }

    fn ids_in_start_order(&self) -> Vec<Id> {
        let ids: Vec<Id> = self.entries.keys().copied().collect();
        start_order(&self.nodes(&ids)).into_iter().map(|n| ids[n]).collect()
    }

    fn nodes(&self, ids: &[Id]) -> Vec<Node> {
        let place = |name: &String| ids.iter().position(|id| self.entries[id].config.name == *name);
        ids.iter()
            .map(|id| &self.entries[id].config)
            .map(|config| Node {
                priority: config.priority,
                depends_on: config.depends_on.iter().filter_map(place).collect(),
            })
            .collect()
    }

    fn by_name(&self, name: &str) -> Option<&Entry> {
        self.entries.values().find(|entry| entry.config.name == name)
    }

    fn add(&mut self, config: crate::config::Program) {
        let id = self.next_id;
        self.next_id += 1;
        let output = |output: &crate::config::Output| {
            Rc::new(Output::new(output, config.logfile_compress, &self.compressor, &self.stdout))
        };
        let (stdout, stderr) = (output(&config.stdout), output(&config.stderr));
        self.entries.insert(id, Entry::new(id, config, stdout, stderr));
    }

    fn end(self) -> Ending {
        for entry in self.entries.values() {
            entry.stdout.drain();
            entry.stderr.drain();
        }
        while let Some(pid) = reaper::next_exited() {
            if self.guardian.as_ref().is_some_and(|guardian| Pid::from_raw(guardian.pid() as i32) == pid) {
                break;
            }
            let _ = reaper::collect(pid);
        }
        self.sockets.end();
        if let Some(guardian) = self.guardian {
            guardian.dismiss();
        }
        if self.fatal { Ending::Fatal } else { Ending::Ordered }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        // A timer may be a millisecond early; then the loop comes round once more.
        Some(deadline) => tokio::time::sleep_until((deadline + Duration::from_micros(500)).into()).await,
        None => std::future::pending().await,
    }
}
