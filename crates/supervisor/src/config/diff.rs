//! What a reload changes.

use super::Config;

/// Names of programs, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// In the new configuration alone.
    pub added: Vec<String>,
    /// In both, with other values.
    pub changed: Vec<String>,
    /// In the old configuration alone.
    pub removed: Vec<String>,
}

/// Compares the programs of two configurations; a program changes with a socket that it uses.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Diff {
    let find = |config: &'_ Config, name: &str| config.programs.iter().find(|p| p.name == name).cloned();
    let sockets = |config: &Config, names: &[String]| -> Vec<_> {
        config.sockets.iter().filter(|socket| names.contains(&socket.name)).cloned().collect()
    };
    let mut diff = Diff::default();
    for program in &new.programs {
        match find(old, &program.name) {
            None => diff.added.push(program.name.clone()),
            Some(before) => {
                let same =
                    before == *program && sockets(old, &before.sockets) == sockets(new, &program.sockets);
                if !same {
                    diff.changed.push(program.name.clone());
                }
            }
        }
    }
    for program in &old.programs {
        if find(new, &program.name).is_none() {
            diff.removed.push(program.name.clone());
        }
    }
    for names in [&mut diff.added, &mut diff.changed, &mut diff.removed] {
        names.sort();
    }
    diff
}
