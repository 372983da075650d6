//! Reloading: what changed restarts, what did not keeps running, and a broken file changes nothing.

use super::Supervisor;
use super::entry::{AfterStop, Entry, Id};
use crate::config::{Config, Definition, Diff, Mistakes, diff};

impl Supervisor {
    /// Reads the configuration again, for those who ask what would change. It takes effect group by group.
    pub(super) fn reread(&mut self) -> Result<Diff, Mistakes> {
        let new = self.source.load()?;
        if (&new.supervisord, &new.http_servers) != (&self.config.supervisord, &self.config.http_servers) {
            log::warn!(
                "[supervisord], [unix_http_server] and [inet_http_server] are read at the next start of supervisord only"
            );
        }
        let (supervisord, http_servers) = (self.config.supervisord.clone(), self.config.http_servers.clone());
        self.config = Config { supervisord, http_servers, ..new };
        Ok(diff(self.groups.values(), &self.config))
    }

    /// Reads the configuration again and brings it into effect, program by program.
    pub(super) fn reload(&mut self) {
        let diff = match self.reread() {
            Ok(diff) => diff,
            Err(mistakes) => {
                for mistake in &mistakes.0 {
                    log::error!("{mistake}");
                }
                return log::error!("the configuration has mistakes, everything stays as it is");
            }
        };
        for name in diff.removed {
            log::info!("removed: {name}");
            self.forget_group(&name);
            for id in self.ids_of(&name) {
                self.stop_for(id, AfterStop::Remove);
            }
        }
        let mut changed = Vec::with_capacity(diff.changed.len());
        for name in diff.changed {
            log::info!("changed: {name}");
            if let Some(definition) = self.config.definition(&name) {
                self.stop_changed(&definition);
                changed.push(definition);
            }
        }
        // What is new may have been in any of the others.
        for definition in changed {
            self.change_group(definition);
        }
        for name in diff.added {
            log::info!("added: {name}");
            if let Some(definition) = self.config.definition(&name) {
                self.add_group(definition);
            }
        }
        self.arrange();
    }

    /// Stops those programs of a group that changed.
    fn stop_changed(&mut self, new: &Definition) {
        let name = &new.group.name;
        for id in self.ids_of(name) {
            let program = self.entries[&id].config.name.clone();
            if self.groups.get(name).is_none_or(|old| new.has_same(old, &program)) {
                continue;
            }
            match new.programs.iter().find(|new| new.name == program) {
                Some(program) => self.stop_for(id, AfterStop::Replace(Box::new(program.clone()))),
                None => self.stop_for(id, AfterStop::Remove),
            }
        }
    }

    /// Adds the programs that are new in a group, and takes it as it is now.
    fn change_group(&mut self, new: Definition) {
        let name = new.group.name.clone();
        let Some(old) = self.groups.remove(&name) else { return };
        for program in &new.programs {
            if !old.programs.iter().any(|old| old.name == program.name) {
                self.add(program.clone());
            }
        }
        if new.group.listener != old.group.listener {
            self.add_pool(&new.group);
        }
        self.groups.insert(name, new);
        self.arrange();
    }

    fn stop_for(&mut self, id: Id, after: AfterStop) {
        self.want_stopped(id);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.after_stop = Some(after);
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
        for id in &stopped {
            let Some(Entry { after_stop: Some(AfterStop::Replace(program)), after, .. }) = self.remove(*id)
            else {
                continue;
            };
            self.add_after(*program, after);
        }
        if !stopped.is_empty() {
            self.arrange();
        }
    }
}
