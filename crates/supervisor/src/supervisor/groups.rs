//! The groups in use: what is added, what is taken away.

use std::rc::Rc;

use super::Supervisor;
use super::entry::{AfterStop, Entry, Id};
use super::output::Output;
use crate::config::{self, Definition};
use crate::events::{Event, Stream};
use crate::program::name::namespec;

impl Supervisor {
    /// Adds a group; its programs start by themselves if they are to.
    pub(super) fn add_group(&mut self, definition: Definition) {
        self.insert_group(definition);
        self.arrange();
    }

    /// Adds a group; [`Supervisor::arrange`] must follow.
    pub(super) fn insert_group(&mut self, definition: Definition) {
        let name = definition.group.name.clone();
        self.add_pool(&definition.group);
        for program in &definition.programs {
            self.add(program.clone());
        }
        self.groups.insert(name.clone(), definition);
        self.emit(&Event::GroupAdded { group: name });
    }

    /// Forgets a group whose programs have all stopped.
    pub(super) fn remove_group(&mut self, name: &str) {
        for id in self.ids_of(name) {
            self.remove(id);
        }
        self.forget_group(name);
        self.arrange();
    }

    /// Forgets a group, whatever becomes of its programs.
    pub(super) fn forget_group(&mut self, name: &str) -> Option<Definition> {
        let definition = self.groups.remove(name)?;
        if self.pools.remove(name).is_some() {
            self.arrange_ticks();
        }
        self.emit(&Event::GroupRemoved { group: name.to_owned() });
        Some(definition)
    }

    /// Adds a program to a group; [`Supervisor::arrange`] must follow. What is on its way out from another place
    /// with the same section holds its port and its log: the new one starts after it.
    pub(super) fn add(&mut self, config: config::Program) {
        let leaving: Vec<Id> =
            self.entries.iter().filter(|(_, entry)| entry.leaves(&config)).map(|(id, _)| *id).collect();
        if let Some((own, entry)) = self.leaving(&config) {
            entry.after.extend(leaving.into_iter().filter(|id| *id != own));
            entry.after_stop = Some(AfterStop::Replace(Box::new(config)));
            return;
        }
        if !leaving.is_empty() && config.autostart {
            let names: Vec<String> = leaving.iter().map(|id| self.namespec(*id)).collect();
            let new = namespec(&config.group, &config.name);
            log::info!("waiting for {} to stop before {new} starts", names.join(", "));
        }
        self.add_after(config, leaving);
    }

    /// Adds a program that starts once these are gone; [`Supervisor::arrange`] must follow.
    pub(super) fn add_after(&mut self, config: config::Program, after: Vec<Id>) {
        let id = self.next_id;
        self.next_id += 1;
        let output = |stream| Rc::new(Output::new(&config, stream, &self.shared));
        let (stdout, stderr) = (output(Stream::Stdout), output(Stream::Stderr));
        let mut entry = Entry::new(id, config, stdout, stderr);
        entry.after = after;
        self.entries.insert(id, entry);
        self.unsettled = true;
    }

    /// Whether it must not start yet, because others of its program are not gone.
    pub(super) fn comes_after(&self, entry: &Entry) -> bool {
        entry.after.iter().any(|id| self.entries.contains_key(id))
    }

    /// A program of this name that is still on its way out.
    fn leaving(&mut self, config: &config::Program) -> Option<(Id, &mut Entry)> {
        let same = |entry: &Entry| (&entry.config.group, &entry.config.name) == (&config.group, &config.name);
        let mut leaving = self.entries.iter_mut().filter(|(_, entry)| entry.after_stop.is_some());
        leaving.find(|(_, entry)| same(entry)).map(|(id, entry)| (*id, entry))
    }

    /// Forgets a program, and closes the sockets that nobody else holds; [`Supervisor::arrange`] must follow.
    pub(super) fn remove(&mut self, id: Id) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        let sockets: Vec<String> =
            entry.config.sockets.iter().chain(&entry.config.fcgi_socket).cloned().collect();
        self.sockets.close(&sockets, |name| self.entries.values().any(|entry| entry.holds(name)));
        self.unsettled = true;
        Some(entry)
    }

    /// The programs of a group, in the order of starting.
    pub(super) fn ids_of(&self, group: &str) -> Vec<Id> {
        self.graph.ids.iter().copied().filter(|id| self.entries[id].config.group == group).collect()
    }
}
