//! Stopping: dependants first, independent programs at the same time, all of it under one deadline.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Supervisor;
use super::entry::Id;
use crate::events::{Event, ListenerState, Pool};
use crate::os::reaper;
use crate::program::{Input, ProcessState};

/// How often the log says who has not stopped yet.
const REPORT_INTERVAL: Duration = Duration::from_secs(3);
/// How long listeners may take to hear of the ends of all others.
const HEARING_WAIT: Duration = Duration::from_secs(1);
/// How long killed processes may take to disappear.
const AFTER_KILL: Duration = Duration::from_secs(1);

/// Whether listeners still hear of the ends of the others before their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    NotYet,
    Until(Instant),
    Over,
}

/// A whole stop under way.
pub(super) struct Shutdown {
    restart: bool,
    report: Instant,
    timeout: Option<Instant>,
    hearing: Hearing,
    give_up: Option<Instant>,
}

impl Shutdown {
    /// Whether the daemon begins anew when everything has stopped.
    pub(super) fn restarts(&self) -> bool {
        self.restart
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let hearing = match self.hearing {
            Hearing::Until(until) => Some(until),
            Hearing::NotYet | Hearing::Over => None,
        };
        [Some(self.report), self.timeout, hearing, self.give_up].into_iter().flatten().min()
    }
}

impl Supervisor {
    pub(super) fn begin_shutdown(&mut self, restart: bool) {
        if let Some(shutdown) = &mut self.shutdown {
            // Who wants it to end is stronger than who wants it to begin anew.
            shutdown.restart &= restart;
            return;
        }
        let now = Instant::now();
        let timeout = self.config.supervisord.shutdown_timeout.map(|timeout| now + timeout);
        self.shutdown = Some(Shutdown {
            restart,
            report: now + REPORT_INTERVAL,
            timeout,
            hearing: Hearing::NotYet,
            give_up: None,
        });
        self.emit(&Event::SupervisorStopping);
        let ids: Vec<Id> = self.entries.keys().copied().collect();
        for id in &ids {
            self.want_stopped(*id);
        }
        // So that the log names only those who do not stop at once.
        self.stop_what_may_stop();
        let names = self.alive();
        if !names.is_empty() {
            log::info!("waiting for {} to die", names.join(", "));
        }
    }

    pub(super) fn stop_what_may_stop(&mut self) {
        let unwanted: Vec<Id> =
            self.graph.ids.iter().rev().copied().filter(|id| self.entries[id].unwanted).collect();
        // Listeners hear of the ends of all others before their own.
        let others = unwanted.iter().any(|id| self.entries[id].listener.is_none());
        for id in unwanted {
            let state = self.entries[&id].life.state();
            if self.shutdown.is_some()
                && self.entries[&id].listener.is_some()
                && (others || self.is_telling(id))
            {
                continue;
            }
            let dependants = self.graph.dependants(id).iter().map(|other| &self.entries[other]);
            let held: Vec<ProcessState> =
                dependants.filter(|other| other.unwanted).map(|other| other.life.state()).collect();
            if held.is_empty() {
                // What is on its way is told as soon as it is known whether it runs.
                if self.is_begun(id) {
                    continue;
                }
                if state != ProcessState::Stopping || self.entries[&id].life.begins_anew() {
                    self.feed(id, Input::Stop);
                }
            } else if held.iter().all(|state| *state == ProcessState::Stopping) {
                self.drain(id);
            }
        }
    }

    /// Whether a listener is still being told what happened before its own end; not for long.
    fn is_telling(&mut self, id: Id) -> bool {
        let (Some(entry), Some(shutdown)) = (self.entries.get(&id), &mut self.shutdown) else { return false };
        let listens = entry.life.state() == ProcessState::Running
            && entry.listener.as_ref().is_some_and(|listener| listener.state() != ListenerState::Unknown);
        let told = self.pools.get(&entry.config.group).is_none_or(Pool::is_idle);
        if shutdown.hearing == Hearing::NotYet {
            shutdown.hearing = Hearing::Until(Instant::now() + HEARING_WAIT);
        }
        listens && !told && shutdown.hearing != Hearing::Over
    }

    /// What depends on it was told to stop, so it lets go of its clients.
    fn drain(&mut self, id: Id) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| !entry.drained) else { return };
        if let (Some(signal), Some(pid)) = (entry.config.drainsignal, entry.life.pid()) {
            log::info!("draining: '{}' ({pid}) with {signal}", entry.config.name);
            let _ = reaper::signal(pid, signal, false);
            entry.drained = true;
        }
    }

    pub(super) fn shutdown_time(&mut self, now: Instant) {
        let names = self.alive();
        let Some(shutdown) = &mut self.shutdown else { return };
        if shutdown.report <= now {
            shutdown.report = now + REPORT_INTERVAL;
            log::info!("waiting for {} to die", names.join(", "));
        }
        if matches!(shutdown.hearing, Hearing::Until(until) if until <= now) {
            shutdown.hearing = Hearing::Over;
            self.unsettled = true;
        }
        if shutdown.timeout.is_some_and(|timeout| timeout <= now) {
            shutdown.timeout = None;
            shutdown.give_up = Some(now + AFTER_KILL);
            let seconds = self.config.supervisord.shutdown_timeout.unwrap_or_default().as_secs_f64();
            log::warn!("the stop took {seconds} seconds (shutdown_timeout), killing {}", names.join(", "));
            for entry in self.entries.values() {
                if let Some(pid) = entry.life.pid() {
                    let _ = reaper::signal(pid, Signal::SIGKILL, true);
                }
            }
            self.kill_remains();
        }
    }

    /// Whether everything has stopped, or will not.
    pub(super) fn is_done(&self) -> bool {
        let Some(shutdown) = &self.shutdown else { return false };
        let names = self.alive();
        if shutdown.give_up.is_some_and(|give_up| give_up <= Instant::now()) {
            log::error!("{} did not die, giving up on it", names.join(", "));
            return true;
        }
        names.is_empty()
    }

    /// Programs that have a process or are about to.
    fn alive(&self) -> Vec<String> {
        let alive = self
            .entries
            .values()
            // What cannot be signalled cannot be waited for.
            .filter(|entry| entry.life.state() != ProcessState::Unknown)
            .filter(|entry| !entry.life.state().is_stopped() || entry.life.pid().is_some());
        let remains = self.remains.iter().map(|remains| remains.name().to_owned());
        alive.map(|entry| entry.config.name.clone()).chain(remains).collect()
    }
}
