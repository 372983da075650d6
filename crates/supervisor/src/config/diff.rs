//! What a reload changes.

use std::collections::HashMap;

use super::{Config, Group, Program, Socket};

/// A group with everything that belongs to it: what is compared at a reload.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// The group.
    pub group: Group,
    /// Its processes, in the order of the file.
    pub programs: Vec<Program>,
    /// The sockets that they use.
    pub sockets: Vec<Socket>,
    /// What `[supervisord]` adds to the environment of all.
    pub environment: Vec<(String, String)>,
}

impl Definition {
    /// Whether this process is the same in both, with the sockets that it uses.
    #[must_use]
    pub fn has_same(&self, other: &Self, name: &str) -> bool {
        let find = |definition: &'_ Self| {
            let program = definition.programs.iter().find(|program| program.name == name)?.clone();
            let sockets: Vec<Socket> =
                definition.sockets.iter().filter(|socket| program.uses(&socket.name)).cloned().collect();
            Some((program, sockets))
        };
        self.environment == other.environment && find(self) == find(other)
    }
}

impl Program {
    /// Whether it gets this socket.
    #[must_use]
    pub fn uses(&self, socket: &str) -> bool {
        self.sockets.iter().any(|name| name == socket) || self.fcgi_socket.as_deref() == Some(socket)
    }
}

impl Config {
    /// The groups, in the order of the file.
    #[must_use]
    pub fn definitions(&self) -> Vec<Definition> {
        let mut programs: HashMap<&str, Vec<&Program>> = HashMap::new();
        for program in &self.programs {
            programs.entry(&program.group).or_default().push(program);
        }
        let of = |group: &Group| {
            let programs = programs.get(group.name.as_str()).into_iter().flatten().copied();
            self.made_of(group, programs.cloned().collect())
        };
        self.groups.iter().map(of).collect()
    }

    /// The group of this name.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<Definition> {
        self.groups.iter().find(|group| group.name == name).map(|group| self.of(group))
    }

    fn of(&self, group: &Group) -> Definition {
        let programs: Vec<Program> =
            self.programs.iter().filter(|program| program.group == group.name).cloned().collect();
        self.made_of(group, programs)
    }

    fn made_of(&self, group: &Group, programs: Vec<Program>) -> Definition {
        let used = |socket: &&Socket| programs.iter().any(|program| program.uses(&socket.name));
        let sockets = self.sockets.iter().filter(used).cloned().collect();
        let environment = self.supervisord.environment.clone();
        Definition { group: group.clone(), programs, sockets, environment }
    }
}

/// Names of groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// In the new configuration alone.
    pub added: Vec<String>,
    /// In both, with other values.
    pub changed: Vec<String>,
    /// In use alone.
    pub removed: Vec<String>,
}

/// Compares what is in use with a configuration.
#[must_use]
pub fn diff<'a>(active: impl IntoIterator<Item = &'a Definition>, new: &Config) -> Diff {
    let mut diff = Diff::default();
    let active: Vec<&Definition> = active.into_iter().collect();
    for definition in new.definitions() {
        let name = &definition.group.name;
        match active.iter().find(|active| active.group.name == *name) {
            None => diff.added.push(name.clone()),
            Some(active) if **active != definition => diff.changed.push(name.clone()),
            Some(_) => {}
        }
    }
    for Definition { group, .. } in active {
        if !new.groups.iter().any(|new| new.name == group.name) {
            diff.removed.push(group.name.clone());
        }
    }
    diff
}
