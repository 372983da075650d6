//! The groups in use: what is added, what is taken away.

use std::rc::Rc;

use super::Supervisor;
use super::entry::{Entry, Id};
use super::output::Output;
use crate::config::{self, Definition};

impl Supervisor {
    /// Adds a group; its programs start by themselves if they are to.
    pub(super) fn add_group(&mut self, definition: Definition) {
        let name = definition.group.name.clone();
        for program in &definition.programs {
            self.add(program.clone());
        }
        self.groups.insert(name, definition);
        self.arrange();
    }

    /// Forgets a group whose programs have all stopped.
    pub(super) fn remove_group(&mut self, name: &str) {
        for id in self.ids_of(name) {
            self.remove(id);
        }
        self.groups.remove(name);
        self.arrange();
    }

    /// Adds a program to a group; [`Supervisor::arrange`] must follow.
    pub(super) fn add(&mut self, config: config::Program) {
        let id = self.next_id;
        self.next_id += 1;
        let output = |output: &config::Output| {
            Rc::new(Output::new(output, config.logfile_compress, &self.compressor, &self.stdout))
        };
        let (stdout, stderr) = (output(&config.stdout), output(&config.stderr));
        self.entries.insert(id, Entry::new(id, config, stdout, stderr));
        self.unsettled = true;
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
