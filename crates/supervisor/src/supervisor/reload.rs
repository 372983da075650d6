//! Reloading: what changed restarts, what did not keeps running, and a broken file changes nothing.

use super::Supervisor;
use super::entry::{AfterStop, Id};
use crate::config::{Config, diff};

impl Supervisor {
    pub(super) fn reload(&mut self) {
        let new = match self.source.load() {
            Ok(new) => new,
            Err(mistakes) => {
                for mistake in &mistakes.0 {
                    log::error!("{mistake}");
                }
                return log::error!("the configuration has mistakes, everything stays as it is");
            }
        };
        let diff = diff(&self.config, &new);
        if (&new.supervisord, &new.http_servers) != (&self.config.supervisord, &self.config.http_servers) {
            log::warn!(
                "[supervisord], [unix_http_server] and [inet_http_server] are read at the next start of supervisord only"
            );
        }
        let (supervisord, http_servers) = (self.config.supervisord.clone(), self.config.http_servers.clone());
        self.config = Config { supervisord, http_servers, ..new };
        for name in diff.removed {
            log::info!("removed: {name}");
            self.stop_for(&name, AfterStop::Remove);
        }
        for name in diff.changed {
            log::info!("changed: {name}");
            let program = self.config.programs.iter().find(|program| program.name == name).cloned();
            if let Some(program) = program {
                self.stop_for(&name, AfterStop::Replace(Box::new(program)));
            }
        }
        for name in diff.added {
            log::info!("added: {name}");
            let program = self.config.programs.iter().find(|program| program.name == name).cloned();
            if let Some(program) = program {
                self.add(program);
            }
        }
    }

    fn stop_for(&mut self, name: &str, after: AfterStop) {
        let ids: Vec<Id> =
            self.entries.iter().filter(|(_, entry)| entry.config.name == name).map(|(id, _)| *id).collect();
        for id in ids {
            self.want_stopped(id);
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.after_stop = Some(after);
                return;
            }
        }
    }

    /// Takes over what was waiting for a stop.
    pub(super) fn replace_what_stopped(&mut self) {
        let stopped: Vec<Id> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.after_stop.is_some() && entry.life.state().is_stopped())
            .map(|(id, _)| *id)
            .collect();
        for id in stopped {
            let Some(entry) = self.entries.remove(&id) else { continue };
            match entry.after_stop {
                Some(AfterStop::Replace(program)) => self.add(*program),
                _ => self
                    .sockets
                    .close(&entry.config.sockets, |name| self.entries.values().any(|e| e.holds(name))),
            }
        }
    }
}
