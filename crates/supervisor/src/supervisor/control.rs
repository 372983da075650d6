//! Answers clients: what the daemon knows at once, and what they wait for until it has happened.

use std::io;

use nix::sys::signal::Signal;
use tokio::sync::oneshot;

use super::Supervisor;
use super::entry::{Entry, Id};
use crate::config::units;
use crate::ctl::commands::API_VERSION;
use crate::ctl::fault::{Fault, FaultCode};
use crate::ctl::method::{Call, CallStatus, Channel, METHODS};
use crate::ctl::server::Answer;
use crate::ctl::xmlrpc::Value;
use crate::logs::tail::{self, ReadError};
use crate::os::reaper;
use crate::os::spawn::{self, SpawnError};
use crate::program::ProcessState;
use crate::program::name::Namespec;

/// The version of the daemon that clients are told: that of supervisord whose interface this is would
/// mislead those who look for our own.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Started,
    Stopped,
}

/// A client whose call is answered once every target has come to rest.
pub(super) struct Waiter {
    goal: Goal,
    targets: Vec<(Id, Option<Result<(), Fault>>)>,
    /// Whether the call named one program, and gets a plain answer.
    single: Option<String>,
    answer: oneshot::Sender<Answer>,
}

impl Supervisor {
    pub(super) fn on_call(&mut self, call: Call, answer: oneshot::Sender<Answer>) {
        if self.shutdown.is_some() {
            let _ = answer.send(Err(Fault::bare(FaultCode::ShutdownState)));
            return;
        }
        let now = match call {
            Call::StartProcess { name, wait } => return self.change(&name, Goal::Started, wait, answer),
            Call::StopProcess { name, wait } => return self.change(&name, Goal::Stopped, wait, answer),
            Call::StartProcessGroup { name, wait } => {
                return self.change_many(self.group(&name), Goal::Started, wait, answer);
            }
            Call::StopProcessGroup { name, wait } => {
                return self.change_many(self.group(&name), Goal::Stopped, wait, answer);
            }
            Call::StartAllProcesses { wait } => {
                return self.change_many(Ok(self.ids_in_start_order()), Goal::Started, wait, answer);
            }
            Call::StopAllProcesses { wait } => {
                return self.change_many(Ok(self.ids_in_start_order()), Goal::Stopped, wait, answer);
            }
            Call::GetApiVersion => Ok(API_VERSION.into()),
            Call::GetSupervisorVersion => Ok(VERSION.into()),
            Call::GetIdentification => Ok(self.config.supervisord.identifier.as_str().into()),
            Call::GetState => Ok(Value::Struct(vec![
                ("statecode".to_owned(), Value::Int(1)),
                ("statename".to_owned(), "RUNNING".into()),
            ])),
            Call::GetPid => Ok(Value::Int(i64::from(std::process::id()))),
            Call::ListMethods => Ok(Value::Array(METHODS.iter().map(|name| (*name).into()).collect())),
            Call::Shutdown => {
                self.begin_shutdown();
                Ok(true.into())
            }
            Call::GetProcessInfo { name } => self.one(&name).map(|id| self.entries[&id].info().into()),
            Call::GetAllProcessInfo => {
                let mut infos: Vec<_> = self.entries.values().map(Entry::info).collect();
                infos.sort_by(|a, b| (&a.group, &a.name).cmp(&(&b.group, &b.name)));
                Ok(Value::Array(infos.into_iter().map(Value::from).collect()))
            }
            Call::SignalProcess { name, signal } => self.signal_named(&name, &signal),
            Call::SignalProcessGroup { name, signal } => {
                self.group(&name).and_then(|ids| self.signal_many(ids, &signal))
            }
            Call::SignalAllProcesses { signal } => self.signal_many(self.ids_in_start_order(), &signal),
            Call::ReadLog { offset, length } => match self.config.supervisord.logfile.clone() {
                Some(path) if path.exists() => read(tail::read(&path, offset, length)),
                path => Err(no_file(path)),
            },
            Call::Restart
            | Call::ReloadConfig
            | Call::AddProcessGroup { .. }
            | Call::RemoveProcessGroup { .. }
            | Call::GetAllConfigInfo
            | Call::SendProcessStdin { .. }
            | Call::SendRemoteCommEvent { .. } => Err(Fault::bare(FaultCode::UnknownMethod)),
            Call::ClearLog => Err(Fault::new(FaultCode::Failed, "the daemon's own log is not cleared")),
            Call::ReadProcessLog { channel, name, offset, length } => {
                self.log_of(&name, channel).and_then(|path| read(tail::read(&path, offset, length)))
            }
            Call::TailProcessLog { channel, name, offset, length } => {
                self.log_of(&name, channel).map(|path| {
                    let (bytes, offset, overflow) = tail::tail(&path, offset, length);
                    Value::Array(vec![text(&bytes), Value::Int(offset), overflow.into()])
                })
            }
            Call::ClearProcessLogs { name } => {
                let id = self.one(&name);
                id.and_then(|id| self.clear(id).map_err(|_| Fault::new(FaultCode::Failed, &name)))
                    .map(|()| true.into())
            }
            Call::ClearAllProcessLogs => {
                let ids = self.ids_in_start_order();
                let cleared = ids.into_iter().map(|id| {
                    let result =
                        self.clear(id).map_err(|error| Fault::new(FaultCode::Failed, &error.to_string()));
                    self.status(id, result).into()
                });
                Ok(Value::Array(cleared.collect()))
            }
            Call::LogPath { channel, name: Some(name) } => {
                self.log_of(&name, channel).map(|path| path.display().to_string().into())
            }
            Call::LogPath { name: None, .. } => match self.config.supervisord.logfile.clone() {
                Some(path) if path.exists() => Ok(path.display().to_string().into()),
                path => Err(no_file(path)),
            },
        };
        let _ = answer.send(now);
    }

    fn change(&mut self, name: &str, goal: Goal, wait: bool, answer: oneshot::Sender<Answer>) {
        let spec = Namespec::parse(name);
        if let Namespec::Group(group) = &spec {
            return self.change_many(self.group(group), goal, wait, answer);
        }
        match self.one(name).and_then(|id| self.ask(id, goal, true).map(|()| id)) {
            Ok(id) if wait => {
                self.waiters.push(Waiter {
                    goal,
                    targets: vec![(id, None)],
                    single: Some(name.to_owned()),
                    answer,
                });
            }
            done => drop(answer.send(done.map(|_| true.into()))),
        }
    }

    fn change_many(
        &mut self,
        ids: Result<Vec<Id>, Fault>,
        goal: Goal,
        wait: bool,
        answer: oneshot::Sender<Answer>,
    ) {
        let ids = match ids {
            Ok(ids) => ids,
            Err(fault) => return drop(answer.send(Err(fault))),
        };
        // Only those that the call changes appear in its answer.
        let concerned = ids
            .into_iter()
            .filter(|id| self.entries[id].life.state().is_running() == (goal == Goal::Stopped));
        let mut targets = Vec::new();
        for id in concerned.collect::<Vec<_>>() {
            let asked = self.ask(id, goal, false);
            targets.push((id, if wait { asked.err().map(Err) } else { Some(asked) }));
        }
        self.waiters.push(Waiter { goal, targets, single: None, answer });
    }

    /// Begins what is asked for, or says why not. By name a program goes at once; of many, in their order.
    fn ask(&mut self, id: Id, goal: Goal, at_once: bool) -> Result<(), Fault> {
        let entry = &self.entries[&id];
        let (name, state) = (entry.config.name.clone(), entry.life.state());
        match goal {
            Goal::Started => {
                match spawn::find(&entry.config.command[0], self.path().as_deref()) {
                    Err(error @ SpawnError::NotFound(_)) => {
                        return Err(Fault::new(FaultCode::NoFile, &error.to_string()));
                    }
                    Err(error) => return Err(Fault::new(FaultCode::NotExecutable, &error.to_string())),
                    Ok(_) => {}
                }
                if state.is_running() {
                    return Err(Fault::new(FaultCode::AlreadyStarted, &name));
                }
                if state == ProcessState::Unknown || state == ProcessState::Stopping {
                    let why = format!("{name} is in an unknown process state");
                    return Err(Fault::new(FaultCode::Failed, &why));
                }
                if at_once {
                    if let Some(entry) = self.entries.get_mut(&id) {
                        entry.wanted = false;
                    }
                    self.feed(id, crate::program::Input::Start);
                } else if let Some(entry) = self.entries.get_mut(&id) {
                    entry.wanted = true;
                    entry.revision += 1;
                }
            }
            Goal::Stopped => {
                if !state.is_running() {
                    if let Some(entry) = self.entries.get_mut(&id) {
                        entry.wanted = false;
                    }
                    return Err(Fault::new(FaultCode::NotRunning, &name));
                }
                if at_once {
                    self.feed(id, crate::program::Input::Stop);
                } else {
                    self.want_stopped(id);
                }
            }
        }
        Ok(())
    }

    /// Answers every client whose programs have come to rest.
    pub(super) fn answer_waiters(&mut self) {
        let ending = self.shutdown.is_some();
        let mut waiting = Vec::new();
        for mut waiter in std::mem::take(&mut self.waiters) {
            for (id, result) in &mut waiter.targets {
                if result.is_none() {
                    *result = self.came_to_rest(*id, waiter.goal, ending);
                    let released = waiter.goal == Goal::Stopped && matches!(result, Some(Ok(())));
                    if let Some(entry) = self.entries.get(id).filter(|_| released) {
                        let names = entry.config.sockets.clone();
                        self.sockets
                            .release(&names, |name| self.entries.values().any(|entry| entry.holds(name)));
                    }
                }
            }
            if waiter.answer.is_closed() {
                continue;
            }
            if waiter.targets.iter().any(|(_, result)| result.is_none()) {
                waiting.push(waiter);
                continue;
            }
            let answer = self.answer(waiter.targets, waiter.single.as_deref());
            let _ = waiter.answer.send(answer);
        }
        self.waiters = waiting;
    }

    fn answer(&self, targets: Vec<(Id, Option<Result<(), Fault>>)>, single: Option<&str>) -> Answer {
        match single {
            Some(_) => match targets.into_iter().next() {
                Some((_, Some(Err(fault)))) => Err(fault),
                _ => Ok(true.into()),
            },
            None => {
                let results =
                    targets.into_iter().map(|(id, result)| self.status(id, result.unwrap_or(Ok(()))).into());
                Ok(Value::Array(results.collect()))
            }
        }
    }

    fn came_to_rest(&self, id: Id, goal: Goal, ending: bool) -> Option<Result<(), Fault>> {
        let Some(entry) = self.entries.get(&id) else { return Some(Ok(())) };
        let (state, name) = (entry.life.state(), &entry.config.name);
        match goal {
            Goal::Stopped => state.is_stopped().then_some(Ok(())),
            Goal::Started if entry.wanted && !ending => None,
            Goal::Started => match state {
                ProcessState::Running => Some(Ok(())),
                _ if !entry.life.spawn_error().is_empty() => {
                    Some(Err(Fault::new(FaultCode::SpawnError, name)))
                }
                ProcessState::Starting => None,
                _ => Some(Err(Fault::new(FaultCode::AbnormalTermination, name))),
            },
        }
    }

    fn status(&self, id: Id, result: Result<(), Fault>) -> CallStatus {
        let (name, group) = self
            .entries
            .get(&id)
            .map(|e| (e.config.name.clone(), e.config.group.clone()))
            .unwrap_or_default();
        CallStatus { name, group, result }
    }

    fn one(&self, name: &str) -> Result<Id, Fault> {
        let bad = || Fault::new(FaultCode::BadName, name);
        let Namespec::Process { group, name } = Namespec::parse(name) else { return Err(bad()) };
        let mut found = self.entries.iter().filter(|(_, e)| e.config.group == group && e.config.name == name);
        found.next().map(|(id, _)| *id).ok_or_else(bad)
    }

    fn group(&self, name: &str) -> Result<Vec<Id>, Fault> {
        let mut ids = self.ids_in_start_order();
        ids.retain(|id| self.entries[id].config.group == name);
        if ids.is_empty() { Err(Fault::new(FaultCode::BadName, name)) } else { Ok(ids) }
    }

    fn signal_named(&self, name: &str, signal: &str) -> Answer {
        if let Namespec::Group(group) = Namespec::parse(name) {
            return self.group(&group).and_then(|ids| self.signal_many(ids, signal));
        }
        let id = self.one(name)?;
        let signal = parse_signal(signal)?;
        self.send_signal(id, signal).map(|()| true.into())
    }

    fn signal_many(&self, ids: Vec<Id>, signal: &str) -> Answer {
        let signal = parse_signal(signal)?;
        let signallable = ids.into_iter().filter(|id| self.entries[id].life.state().is_signallable());
        Ok(Value::Array(signallable.map(|id| self.status(id, self.send_signal(id, signal)).into()).collect()))
    }

    fn send_signal(&self, id: Id, signal: Signal) -> Result<(), Fault> {
        let entry = &self.entries[&id];
        match entry.life.pid().filter(|_| entry.life.state().is_signallable()) {
            Some(pid) => reaper::signal(pid, signal, false).map_err(|errno| {
                Fault::new(FaultCode::Failed, &format!("cannot signal {}: {errno}", entry.config.name))
            }),
            None => Err(Fault::new(FaultCode::NotRunning, &entry.config.name)),
        }
    }

    fn log_of(&self, name: &str, channel: Channel) -> Result<std::path::PathBuf, Fault> {
        let entry = &self.entries[&self.one(name)?];
        let output = if channel == Channel::Stdout { &entry.stdout } else { &entry.stderr };
        match output.path() {
            Some(path) if path.exists() => Ok(path),
            path => Err(no_file(path)),
        }
    }

    fn clear(&self, id: Id) -> io::Result<()> {
        let entry = &self.entries[&id];
        entry.stdout.clear()?;
        entry.stderr.clear()
    }
}

fn parse_signal(signal: &str) -> Result<Signal, Fault> {
    units::signal(signal).map_err(|_| Fault::new(FaultCode::BadSignal, signal))
}

fn no_file(path: Option<std::path::PathBuf>) -> Fault {
    match path {
        Some(path) => Fault::new(FaultCode::NoFile, &path.display().to_string()),
        None => Fault::new(FaultCode::NoFile, "None"),
    }
}

fn read(bytes: Result<Vec<u8>, ReadError>) -> Answer {
    match bytes {
        Ok(bytes) => Ok(text(&bytes)),
        Err(ReadError::BadArguments) => Err(Fault::bare(FaultCode::BadArguments)),
        Err(ReadError::Failed(_)) => Err(Fault::bare(FaultCode::Failed)),
    }
}

fn text(bytes: &[u8]) -> Value {
    Value::Text(String::from_utf8_lossy(bytes).into_owned())
}
