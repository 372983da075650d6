//! Clients who wait until what they asked for has happened.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Supervisor;
use super::entry::Id;
use crate::ctl::fault::{Fault, FaultCode};
use crate::ctl::method::CallStatus;
use crate::ctl::server::Answer;
use crate::ctl::xmlrpc::Value;
use crate::os::spawn::SpawnError;
use crate::program::name::Namespec;
use crate::program::{Input, ProcessState};

/// How often the log says whom a client's stop still waits for.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Started,
    Stopped,
}

/// A client whose call is answered once every target has come to rest.
pub(super) struct Waiter {
    goal: Goal,
    targets: Vec<Target>,
    /// Whether the call named one program, and gets a plain answer.
    single: bool,
    /// When the log next says whom it waits for.
    report: Instant,
    answer: oneshot::Sender<Answer>,
}

struct Target {
    id: Id,
    /// As the client called it.
    name: String,
    /// Its own name and its group's: it may be removed while somebody waits.
    process: (String, String),
    result: Option<Result<(), Fault>>,
}

impl Waiter {
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.goal == Goal::Stopped).then_some(self.report)
    }
}

impl Supervisor {
    pub(super) fn change(&mut self, name: &str, goal: Goal, wait: bool, answer: oneshot::Sender<Answer>) {
        if let Namespec::Group(group) = Namespec::parse(name) {
            let ids = self.group(&group).map_err(|_| Fault::new(FaultCode::BadName, name));
            return self.change_many(ids, goal, wait, answer);
        }
        let asked = self.one(name).and_then(|id| self.ask(id, name, goal, true).map(|()| id));
        match asked {
            Ok(id) if wait => {
                let targets = vec![self.target(id, name, None)];
                self.wait(Waiter { goal, targets, single: true, report: Instant::now(), answer });
            }
            Ok(id) => drop(answer.send(self.failed_at_once(id, name, goal).map(|()| true.into()))),
            Err(fault) => drop(answer.send(Err(fault))),
        }
    }

    pub(super) fn change_many(
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
        for id in ids.iter().filter(|_| goal == Goal::Stopped) {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.wanted = false;
            }
        }
        // Only those that the call changes appear in its answer.
        let concerned: Vec<Id> =
            ids.into_iter().filter(|id| self.entries[id].runs() == (goal == Goal::Stopped)).collect();
        let mut targets = Vec::with_capacity(concerned.len());
        for id in concerned {
            let name = self.namespec(id);
            let asked = self.ask(id, &name, goal, false);
            let result = if wait { asked.err().map(Err) } else { Some(asked) };
            targets.push(self.target(id, &name, result));
        }
        // So that what can be done at once is, before the log says who is waited for.
        self.settle();
        self.wait(Waiter { goal, targets, single: false, report: Instant::now(), answer });
    }

    fn wait(&mut self, waiter: Waiter) {
        self.waiters.push(waiter);
        self.report_waiters(Instant::now());
    }

    /// Says in the log whom the stops of clients still wait for.
    pub(super) fn report_waiters(&mut self, now: Instant) {
        let due = self.waiters.iter_mut().filter(|waiter| waiter.deadline().is_some_and(|at| at <= now));
        for waiter in due {
            waiter.report = now + REPORT_INTERVAL;
            let entries = waiter.targets.iter().filter_map(|target| self.entries.get(&target.id));
            for entry in entries.filter(|entry| entry.life.state() == ProcessState::Stopping) {
                log::info!("waiting for {} to stop", entry.config.name);
            }
        }
    }

    /// Begins what is asked for, or says why not. By name a program goes at once; of many, in their order.
    fn ask(&mut self, id: Id, name: &str, goal: Goal, at_once: bool) -> Result<(), Fault> {
        let entry = &self.entries[&id];
        let state = entry.life.state();
        match goal {
            Goal::Started => {
                match self.find_command(&entry.config) {
                    Err(error @ SpawnError::NotFound(_)) => {
                        return Err(Fault::new(FaultCode::NoFile, &error.to_string()));
                    }
                    Err(error) => return Err(Fault::new(FaultCode::NotExecutable, &error.to_string())),
                    Ok(_) => {}
                }
                if state.is_running() {
                    return Err(Fault::new(FaultCode::AlreadyStarted, name));
                }
                if state == ProcessState::Unknown {
                    let why = format!("{name} is in an unknown process state");
                    return Err(Fault::new(FaultCode::Failed, &why));
                }
                if state == ProcessState::Stopping {
                    log::warn!("process '{}' already running", entry.config.name);
                }
                if !at_once || self.comes_after(&self.entries[&id]) {
                    self.want_started(id);
                    return Ok(());
                }
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.wanted = false;
                }
                self.is_asked = true;
                self.feed(id, Input::Start);
                self.is_asked = false;
            }
            Goal::Stopped => {
                if !self.entries[&id].runs() {
                    if let Some(entry) = self.entries.get_mut(&id) {
                        entry.wanted = false;
                    }
                    return Err(Fault::new(FaultCode::NotRunning, name));
                }
                if at_once {
                    self.finish_start(id);
                    self.feed(id, Input::Stop);
                } else {
                    self.want_stopped(id);
                }
            }
        }
        Ok(())
    }

    /// A start that failed before anything could be waited for.
    fn failed_at_once(&self, id: Id, name: &str, goal: Goal) -> Result<(), Fault> {
        match self.entries.get(&id) {
            Some(entry) if goal == Goal::Started && !entry.life.spawn_error().is_empty() => {
                Err(Fault::new(FaultCode::SpawnError, name))
            }
            _ => Ok(()),
        }
    }

    /// Answers every client whose programs have come to rest.
    pub(super) fn answer_waiters(&mut self) {
        let mut waiting = Vec::new();
        for mut waiter in std::mem::take(&mut self.waiters) {
            let goal = waiter.goal;
            for target in waiter.targets.iter_mut().filter(|target| target.result.is_none()) {
                target.result = self.came_to_rest(target.id, &target.name, goal);
                if goal == Goal::Stopped && target.result.is_some() {
                    self.release_sockets(target.id);
                }
            }
            if waiter.answer.is_closed() {
                continue;
            }
            if waiter.targets.iter().any(|target| target.result.is_none()) {
                waiting.push(waiter);
                continue;
            }
            let answer = answer(waiter.targets, waiter.single);
            let _ = waiter.answer.send(answer);
        }
        self.waiters = waiting;
    }

    /// After a stop by name sockets stay open for a while: it may be a restart.
    fn release_sockets(&mut self, id: Id) {
        if let Some(entry) = self.entries.get(&id) {
            let names = entry.config.sockets.clone();
            self.sockets.release(&names, |name| self.entries.values().any(|entry| entry.holds(name)));
        }
    }

    fn target(&self, id: Id, name: &str, result: Option<Result<(), Fault>>) -> Target {
        Target { id, name: name.to_owned(), process: self.process(id), result }
    }

    /// The names of a process and its group.
    fn process(&self, id: Id) -> (String, String) {
        let config = self.entries.get(&id).map(|entry| &entry.config);
        config.map(|config| (config.name.clone(), config.group.clone())).unwrap_or_default()
    }

    fn came_to_rest(&self, id: Id, name: &str, goal: Goal) -> Option<Result<(), Fault>> {
        let Some(entry) = self.entries.get(&id) else { return Some(Ok(())) };
        let state = entry.life.state();
        match goal {
            Goal::Stopped => state.is_stopped().then_some(Ok(())),
            Goal::Started if entry.wanted && self.shutdown.is_none() => {
                // What it waits for will not come by itself.
                let hopeless = self.graph.waits_in_vain(id, &self.entries);
                hopeless.then(|| Err(Fault::new(FaultCode::AbnormalTermination, name)))
            }
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

    pub(super) fn status(&self, id: Id, result: Result<(), Fault>) -> CallStatus {
        let (name, group) = self.process(id);
        CallStatus { name, group, result }
    }
}

fn answer(targets: Vec<Target>, single: bool) -> Answer {
    if single {
        let failed = targets.into_iter().find_map(|target| target.result.and_then(Result::err));
        return failed.map_or(Ok(true.into()), Err);
    }
    let statuses = targets.into_iter().map(|target| {
        let (name, group) = target.process;
        CallStatus { name, group, result: target.result.unwrap_or(Ok(())) }.into()
    });
    Ok(Value::Array(statuses.collect()))
}
