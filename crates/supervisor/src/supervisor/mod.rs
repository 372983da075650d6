//! The loop: waits for whatever comes first, tells the program it concerns, and does what that asks for.

mod answers;
mod broadcast;
mod checks;
mod control;
mod entry;
mod groups;
mod inbox;
mod input;
mod output;
pub(crate) mod own_log;
mod queue;
mod reload;
mod remains;
mod sockets;
mod spawning;
mod stop;
mod view;
mod waiters;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::sync::{mpsc, oneshot};

use crate::config::{Config, Definition, OnFatal, Source};
use crate::ctl::server::Pending;
use crate::events::{Event, Pool, Serial};
use crate::logs::{Compressor, DaemonLog, StdoutQueue, auto};
use crate::os::guardian::Guardian;
use crate::os::notify::{Folder, Message};
use crate::os::reaper;
use crate::os::signals::Signals;
use crate::probe::Running;
use crate::program::{Action, Exit, Input, Level, ProcessState};
use broadcast::Ticks;
use entry::{Entry, Id};
use inbox::Inbox;
pub use output::StderrCell;
use output::{Output, Shared};
use queue::Graph;
use remains::Remains;
use sockets::Sockets;
use spawning::{Begun, heard};
use stop::Shutdown;
use waiters::Waiter;

/// Calls and results of checks that wait for the loop.
const QUEUE_MAX: usize = 256;
/// Processes that are collected, and perhaps made again, before everybody else has his turn.
const DEATHS_MAX: usize = 4;

/// How the daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything stopped, as asked for.
    Ordered,
    /// A program went FATAL that takes everything with it.
    Fatal,
    /// Everything stopped in order to begin anew.
    Restart,
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
    /// The daemon's own stderr, for those programs that write to it.
    pub stderr: Rc<StderrCell>,
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
    shared: Shared,
    inbox: Rc<Inbox>,
    log: &'static DaemonLog,
    /// The listeners of each group of listeners, with the events that wait for them.
    pools: BTreeMap<String, Pool>,
    serial: Serial,
    ticks: Ticks,
    /// The groups in use, by name; each as it was configured when it was added.
    groups: BTreeMap<String, Definition>,
    /// The processes of these groups.
    entries: BTreeMap<Id, Entry>,
    graph: Graph,
    /// Something happened that may let a program start or stop.
    unsettled: bool,
    /// More have exited than were dealt with in one go.
    unreaped: bool,
    next_id: Id,
    /// Processes on their way to their programs, in the order in which they began.
    begun: Vec<Begun>,
    /// The start under way is one that a client waits for.
    is_asked: bool,
    by_pid: HashMap<u32, Id>,
    /// Commands of checks, and who waits for them.
    check_pids: Rc<RefCell<HashMap<u32, oneshot::Sender<Exit>>>>,
    /// Where programs speak, once one is to.
    notify_folder: Option<Folder>,
    sockets: Sockets,
    waiters: Vec<Waiter>,
    /// What stopped programs have left.
    remains: Vec<Remains>,
    shutdown: Option<Shutdown>,
    fatal: bool,
    notes: mpsc::Sender<Note>,
}

/// What a task beside the loop has to say.
enum Note {
    /// The readiness check of this start succeeded.
    Ready { id: Id, start: u64 },
    /// Its checks say that it no longer serves.
    Unhealthy { id: Id, start: u64, why: String },
    /// It said something on its `NOTIFY_SOCKET`.
    Said { id: Id, start: u64, message: Message },
    /// A check wants a command run.
    Exec { id: Id, command: Vec<String>, answer: oneshot::Sender<Result<Running, String>> },
}

impl Supervisor {
    /// Runs until everything has stopped.
    pub async fn run(parts: Parts, mut signals: Signals) -> Ending {
        let Parts { config, source, guardian, compressor, stdout, stderr, log, mut calls } = parts;
        let (notes, mut noted) = mpsc::channel(QUEUE_MAX);
        let inbox = Rc::new(Inbox::default());
        let daemon = &config.supervisord;
        if !daemon.nocleanup {
            for path in auto::clear(&daemon.childlogdir, &daemon.identifier) {
                log::warn!("Failed to clean up '{}'", path.display());
            }
        }
        let shared = Shared {
            compressor,
            stdout,
            inbox: Rc::clone(&inbox),
            childlogdir: daemon.childlogdir.clone(),
            identifier: daemon.identifier.clone(),
            strip_ansi: daemon.strip_ansi,
            stderr,
            auto: RefCell::default(),
            syslog: OnceCell::new(),
        };
        let mut supervisor = Self {
            source,
            guardian,
            shared,
            inbox: Rc::clone(&inbox),
            log,
            pools: BTreeMap::new(),
            serial: Serial::default(),
            ticks: Ticks::default(),
            groups: BTreeMap::new(),
            entries: BTreeMap::new(),
            graph: Graph::default(),
            unsettled: true,
            unreaped: false,
            next_id: 0,
            begun: Vec::new(),
            is_asked: false,
            by_pid: HashMap::new(),
            check_pids: Rc::default(),
            notify_folder: None,
            sockets: Sockets::default(),
            waiters: Vec::new(),
            remains: Vec::new(),
            shutdown: None,
            fatal: false,
            notes,
            config,
        };
        for definition in supervisor.config.definitions() {
            supervisor.insert_group(definition);
        }
        supervisor.arrange();
        supervisor.emit(&Event::SupervisorRunning);
        supervisor.settle();
        while !supervisor.is_done() {
            let deadline = supervisor.deadline(Instant::now());
            tokio::select! {
                raised = signals.wait() => supervisor.on_signals(&raised),
                Some((call, answer)) = calls.recv() => supervisor.on_call(call, answer),
                Some(note) = noted.recv() => supervisor.on_note(note),
                () = inbox.arrived() => supervisor.on_said(),
                pid = heard(&supervisor.begun) => drop(supervisor.finish_begun(pid)),
                () = std::future::ready(()), if supervisor.unreaped => supervisor.reap(),
                () = sleep_until(deadline) => supervisor.on_time(Instant::now()),
            }
            supervisor.settle();
            // Clients and outputs have their turn however much there is to do here.
            tokio::task::yield_now().await;
        }
        supervisor.end()
    }

    fn on_signals(&mut self, raised: &[Signal]) {
        for signal in raised {
            match signal {
                Signal::SIGCHLD => {
                    log::debug!("received SIGCHLD indicating a child quit");
                    self.reap();
                }
                Signal::SIGHUP if self.shutdown.is_some() => {
                    log::warn!("ignored SIGHUP indicating restart request (shutdown in progress)");
                }
                Signal::SIGHUP => {
                    log::warn!("received SIGHUP indicating restart request");
                    self.reload();
                }
                Signal::SIGUSR2 => {
                    log::info!("received SIGUSR2 indicating log reopen request");
                    log::info!("supervisord logreopen");
                    self.log.reopen();
                    self.reopen_program_logs();
                }
                signal => {
                    log::warn!("received {signal} indicating exit request");
                    self.begin_shutdown(false);
                }
            }
        }
    }

    /// Programs that write logs of their own are told to open them anew too.
    fn reopen_program_logs(&self) {
        for entry in self.entries.values() {
            entry.reopen_logs();
            if let (Some(signal), Some(pid)) = (entry.config.reopen_signal, entry.life.pid()) {
                let _ = reaper::signal(pid, signal, false);
            }
        }
    }

    /// Collects what has exited: ours are told, others are dropped in silence. Programs that exit as soon as they
    /// are started again never come to an end, so everybody else has his turn in between.
    fn reap(&mut self) {
        self.unreaped = true;
        for _ in 0..DEATHS_MAX {
            let Some(pid) = reaper::next_exited() else {
                self.unreaped = false;
                return self.look_at_remains(Instant::now());
            };
            let number = pid.as_raw().unsigned_abs();
            // It was quicker than the word that it runs; if it never ran, it is collected with that.
            if self.finish_begun(number) && !self.by_pid.contains_key(&number) {
                continue;
            }
            let id = self.by_pid.remove(&number);
            let grace = id.and_then(|id| self.grace(id));
            if let (Some(guardian), Some(_)) = (&self.guardian, id) {
                // Before its number can be another's.
                guardian.group_ended(number);
            }
            let exit = reaper::collect(pid);
            if let Some(id) = id {
                self.hear_out(id);
                if let Some(until) = grace {
                    self.note_remains(id, number, until);
                }
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.stopped_at = jiff::Timestamp::now().as_second();
                }
                self.feed(id, Input::Exited(exit));
            } else if let Some(answer) = self.check_pids.borrow_mut().remove(&number) {
                let _ = answer.send(exit);
            } else {
                log::debug!("reaped unknown pid {pid} ({exit})");
            }
        }
    }

    /// What a program said before its end is told before its end.
    fn hear_out(&mut self, id: Id) {
        let Some(entry) = self.entries.get(&id) else { return };
        let outputs = [&entry.stdout, &entry.stderr].map(|output| (Rc::clone(output), output.speaks()));
        for (output, _) in outputs.into_iter().filter(|(_, speaks)| *speaks) {
            output.read_last();
            self.on_said();
        }
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let lives = self.entries.values().filter_map(|entry| entry.life.deadline());
        let shutdown = self.shutdown.as_ref().and_then(Shutdown::deadline);
        let waiters = self.waiters.iter().filter_map(Waiter::deadline);
        let remains = self.remains.iter().map(Remains::deadline);
        lives
            .chain(remains)
            .chain(self.begun.iter().map(|begun| begun.deadline(now)))
            .chain(self.sockets.deadline())
            .chain(shutdown)
            .chain(waiters)
            .chain(self.ticks.deadline())
            .min()
    }

    fn on_time(&mut self, now: Instant) {
        let due: Vec<Id> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.life.deadline().is_some_and(|deadline| deadline <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.life.doubt(entry.checks.last.get());
            }
            self.feed(id, Input::Timeout);
        }
        self.finish_overdue(now);
        self.sockets.close_due(now);
        self.look_at_remains(now);
        self.report_waiters(now);
        self.tick(now);
        self.shutdown_time(now);
    }

    /// Tells a program what happened and does what it answers, until it has nothing more to say.
    fn feed(&mut self, id: Id, input: Input) {
        let now = Instant::now();
        self.unsettled = true;
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let Some(entry) = self.entries.get_mut(&id) else { return };
            let before = entry.life.state();
            if self.shutdown.is_some() {
                entry.life.never_again();
            }
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
                    Action::Spawn => inputs.extend(self.spawn(id)),
                    Action::Entered(entered) => self.entered(id, entered),
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
        if entry.life.state() != ProcessState::Fatal {
            return;
        }
        let (name, on_fatal) = (entry.config.name.clone(), entry.config.on_fatal);
        let sockets = entry.config.sockets.clone();
        self.sockets.close(&sockets, |name| self.entries.values().any(|entry| entry.holds(name)));
        if on_fatal == OnFatal::Shutdown && self.shutdown.is_none() {
            log::error!("{name} is FATAL and on_fatal is shutdown: everything stops");
            self.fatal = true;
            self.begin_shutdown(false);
        }
    }

    /// Sends the stop signal, or the one given, and says if that was not possible.
    fn signal(&mut self, id: Id, given: Option<Signal>) -> Option<Input> {
        let entry = self.entries.get(&id)?;
        let pid = entry.life.pid()?;
        let config = &entry.config;
        let group = if given == Some(Signal::SIGKILL) { config.killasgroup } else { config.stopasgroup };
        let signal = given.unwrap_or(config.stopsignal);
        let whom = if group { "process group " } else { "" };
        log::debug!("killing {} (pid {pid}) {whom}with signal {signal}", config.name);
        let sent = reaper::signal(pid, signal, group);
        // A process that stopped itself takes no signal but KILL until it goes on.
        if given.is_none() {
            let _ = reaper::signal(pid, Signal::SIGCONT, group);
        }
        let errno = sent.err()?;
        log::error!(target: DaemonLog::critical(), "unknown problem killing {} ({pid}):{errno}", config.name);
        Some(Input::SignalFailed)
    }

    fn end(mut self) -> Ending {
        for entry in self.entries.values() {
            entry.stdout.drain();
            entry.stderr.drain();
        }
        if let Some((queue, done)) = self.shared.syslog.take() {
            drop(queue);
            done.wait();
        }
        while let Some(pid) = reaper::next_exited() {
            if self.guardian.as_ref().is_some_and(|guardian| Pid::from_raw(guardian.pid() as i32) == pid) {
                break;
            }
            let _ = reaper::collect(pid);
            self.check_pids.borrow_mut().remove(&pid.as_raw().unsigned_abs());
        }
        self.sockets.end();
        if let Some(guardian) = self.guardian {
            guardian.dismiss();
        }
        match &self.shutdown {
            _ if self.fatal => Ending::Fatal,
            Some(shutdown) if shutdown.restarts() => Ending::Restart,
            _ => Ending::Ordered,
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        // A timer may be a millisecond early; then the loop comes round once more.
        Some(deadline) => tokio::time::sleep_until((deadline + Duration::from_micros(500)).into()).await,
        None => std::future::pending().await,
    }
}
