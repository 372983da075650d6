//! Asks programs whether they are ready and whether they still serve, and hears what they say about it themselves.

use std::pin::Pin;
use std::rc::Rc;

use nix::sys::signal::Signal;
use tokio::sync::{Notify, mpsc, oneshot};

use super::entry::{Entry, Id, Task};
use super::{Note, Supervisor};
use crate::config::{Check, Program};
use crate::os::notify::{Folder, Message, NotifySocket, belongs};
use crate::os::reaper;
use crate::os::spawn::SpawnError;
use crate::os::user::Ids;
use crate::probe::{self, LastFailure, Running};
use crate::program::{Input, ProcessState};

/// What belongs to the checks of one process; all of it ends with it.
#[derive(Debug, Default)]
pub(super) struct Checks {
    ready: Option<Task>,
    alive: Option<Task>,
    heard: Option<Task>,
    /// Why it was not ready the last time it was asked.
    pub(super) last: LastFailure,
    /// Each `WATCHDOG=1`.
    beat: Rc<Notify>,
}

/// Whether the program is to say something itself.
pub(super) fn speaks(config: &Program) -> bool {
    let notify = |check: &Check| *check == Check::Notify;
    config.ready.as_ref().is_some_and(|ready| notify(&ready.check))
        || config.alive.as_ref().is_some_and(|alive| notify(&alive.check))
}

impl Supervisor {
    /// The socket on which a program speaks, if it is to.
    pub(super) fn notify_socket(
        &mut self,
        id: Id,
        config: &Program,
        owner: Option<&Ids>,
    ) -> std::io::Result<Option<NotifySocket>> {
        if !speaks(config) {
            return Ok(None);
        }
        if self.notify_folder.is_none() {
            self.notify_folder = Some(Folder::make()?);
        }
        self.notify_folder.as_ref().map(|folder| folder.socket(&id.to_string(), owner)).transpose()
    }

    /// There is a new process: begins to ask and to hear it.
    pub(super) fn begin_checks(&mut self, id: Id, start: u64, socket: Option<NotifySocket>) {
        let notes = self.notes.clone();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let mut checks = Checks::default();
        if let Some(socket) = socket {
            checks.heard = Some(tokio::task::spawn_local(hear(socket, id, start, notes.clone())).into());
        }
        if let Some(ready) = entry.config.ready.clone() {
            let last = checks.last.clone();
            let task = async move {
                probe::until_ready(&ready.check, ready.interval, &last, exec(id, notes.clone())).await;
                let _ = notes.send(Note::Ready { id, start }).await;
            };
            checks.ready = Some(tokio::task::spawn_local(task).into());
        }
        entry.checks = checks;
    }

    /// It runs: from now on it is asked whether it still does.
    pub(super) fn watch(&mut self, id: Id) {
        let notes = self.notes.clone();
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(alive) = entry.config.alive.clone() else { return };
        let (start, beat) = (entry.start, Rc::clone(&entry.checks.beat));
        let task = async move {
            let why = match alive.check {
                Check::Notify => probe::until_silent(alive.timeout, &beat).await,
                _ => probe::until_unhealthy(&alive, exec(id, notes.clone())).await,
            };
            let _ = notes.send(Note::Unhealthy { id, start, why }).await;
        };
        entry.checks.alive = Some(tokio::task::spawn_local(task).into());
    }

    pub(super) fn on_note(&mut self, note: Note) {
        match note {
            Note::Ready { id, start } if self.is_current(id, start) => self.feed(id, Input::Ready),
            Note::Unhealthy { id, start, why } if self.is_current(id, start) => {
                self.feed(id, Input::Unhealthy(why));
            }
            Note::Said { id, start, message } if self.is_current(id, start) => self.on_message(id, &message),
            Note::Ready { .. } | Note::Unhealthy { .. } | Note::Said { .. } => {}
            Note::Exec { id, command, answer } => {
                let _ = answer.send(self.start_check(id, &command).map_err(|error| error.to_string()));
            }
        }
    }

    fn is_current(&self, id: Id, start: u64) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.start == start)
    }

    fn on_message(&mut self, id: Id, message: &Message) {
        let Some(entry) = self.entries.get(&id) else { return };
        let (name, said) = (&entry.config.name, &message.said);
        if !entry.life.pid().is_some_and(|pid| belongs(message.pid, pid)) {
            return log::debug!("process {} speaks for {name}, to which it does not belong", message.pid);
        }
        if let Some(status) = &said.status {
            log::debug!("{name} says: {status}");
        }
        if said.alive {
            entry.checks.beat.notify_one();
        }
        let is_waited_for = entry.config.ready.as_ref().is_some_and(|ready| ready.check == Check::Notify);
        let (ready, gives_up) = (said.ready && is_waited_for, said.gives_up);
        if ready {
            self.feed(id, Input::Ready);
        }
        if gives_up {
            self.feed(id, Input::Unhealthy("it said WATCHDOG=trigger".to_owned()));
        }
    }

    fn start_check(&self, id: Id, command: &[String]) -> Result<Running, SpawnError> {
        let pid = self.spawn_check(id, command)?;
        let (exited, running) = oneshot::channel();
        let checks = Rc::clone(&self.check_pids);
        checks.borrow_mut().insert(pid, exited);
        Ok(Running::new(running, move || {
            // While it is in there it is not collected, so its group is its own.
            if checks.borrow().contains_key(&pid) {
                let _ = reaper::signal(pid, Signal::SIGKILL, true);
            }
        }))
    }
}

impl Entry {
    /// Ends what is no use in its state.
    pub(super) fn end_checks(&mut self) {
        if self.life.is_ready() {
            self.checks.ready = None;
        }
        if self.life.state() != ProcessState::Running {
            self.checks.alive = None;
        }
        if self.life.pid().is_none() && !self.life.state().is_running() {
            self.checks = Checks::default();
        }
    }
}

async fn hear(socket: NotifySocket, id: Id, start: u64, notes: mpsc::Sender<Note>) {
    while let Ok(message) = socket.receive().await {
        if notes.send(Note::Said { id, start, message }).await.is_err() {
            return;
        }
    }
}

type Started = Pin<Box<dyn Future<Output = Result<Running, String>>>>;

/// Has the loop run a command.
fn exec(id: Id, notes: mpsc::Sender<Note>) -> impl Fn(Vec<String>) -> Started {
    move |command| {
        let notes = notes.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let _ = notes.send(Note::Exec { id, command, answer }).await;
            answered.await.unwrap_or_else(|_| Err("the daemon ends".to_owned()))
        })
    }
}
