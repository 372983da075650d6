//! What a stopped program leaves behind: the rest of its process group, which may end its work until the program's
//! own time for a stop is over.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Supervisor;
use super::entry::Id;
use crate::os::reaper;
use crate::program::ProcessState;

/// How long the rest of a group may take after its leader, however long the program itself may.
const AFTER_LEADER_MAX: Duration = Duration::from_secs(5);
/// The same for a rest that the stop signal was not for until now.
const UNTOLD_MAX: Duration = Duration::from_secs(1);

/// A process group without its leader.
#[derive(Debug)]
pub(super) struct Remains {
    name: String,
    group: u32,
    until: Instant,
}

impl Remains {
    pub(super) fn deadline(&self) -> Instant {
        self.until
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Supervisor {
    /// Until when the rest of this program's group may live, if its leader ends now: it ends a stop that concerns
    /// the whole group.
    pub(super) fn grace(&self, id: Id) -> Option<Instant> {
        let entry = self.entries.get(&id)?;
        let stops = entry.config.killasgroup && entry.life.state() == ProcessState::Stopping;
        entry.life.deadline().filter(|_| stops)
    }

    /// The leader is collected. As long as one process of the group is left, its number is nobody else's.
    pub(super) fn note_remains(&mut self, id: Id, group: u32, until: Instant) {
        if let Some(entry) = self.entries.get(&id).filter(|_| reaper::has_members(group)) {
            log::debug!("{} has stopped, but not all of its process group {group}", entry.config.name);
            let told = entry.config.stopasgroup;
            if !told {
                let _ = reaper::signal(group, entry.config.stopsignal, true);
            }
            let until = until.min(Instant::now() + if told { AFTER_LEADER_MAX } else { UNTOLD_MAX });
            self.remains.push(Remains { name: entry.config.name.clone(), group, until });
        }
    }

    /// Forgets groups that are empty, and ends those whose time is over. The members are our descendants, so the
    /// end of each is told to us.
    pub(super) fn look_at_remains(&mut self, now: Instant) {
        self.remains.retain(|remains| {
            if !reaper::has_members(remains.group) {
                return false;
            }
            if remains.until > now {
                return true;
            }
            log::warn!(
                "killing what is left of the process group of '{}' ({}) with SIGKILL",
                remains.name,
                remains.group
            );
            let _ = reaper::signal(remains.group, Signal::SIGKILL, true);
            false
        });
    }

    /// Ends all of them now.
    pub(super) fn kill_remains(&mut self) {
        for remains in self.remains.drain(..) {
            let _ = reaper::signal(remains.group, Signal::SIGKILL, true);
        }
    }
}
