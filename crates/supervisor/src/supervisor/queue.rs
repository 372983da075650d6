//! Who may start or stop now: along `depends_on`, then `priority`, independent programs at the same time.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Supervisor;
use super::entry::{Entry, Id};
use super::spawning::BEGUN_MAX;
use crate::program::Input;
use crate::program::order::{Node, Order};

/// Who comes after whom, among the programs that there are.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// In the order of starting.
    pub(super) ids: Vec<Id>,
    /// Whom each depends on.
    depends_on: HashMap<Id, Vec<Id>>,
    /// Who depends on each.
    dependants: HashMap<Id, Vec<Id>>,
    /// Every name that `depends_on` may give.
    names: HashSet<String>,
}

impl Graph {
    pub(super) fn dependants(&self, id: Id) -> &[Id] {
        self.dependants.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Whether something that it depends on, directly or not, has stopped and nobody starts it.
    pub(super) fn waits_in_vain(&self, id: Id, entries: &BTreeMap<Id, Entry>) -> bool {
        self.depends_on(id).iter().any(|on| {
            let Some(other) = entries.get(on) else { return true };
            let stopped = other.life.state().is_stopped();
            stopped && (!other.wanted || self.waits_in_vain(*on, entries))
        })
    }

    fn depends_on(&self, id: Id) -> &[Id] {
        self.depends_on.get(&id).map_or(&[], Vec::as_slice)
    }
}

impl Supervisor {
    /// Must follow every change of `entries` or of a group's priority.
    pub(super) fn arrange(&mut self) {
        let ids: Vec<Id> = self.entries.keys().copied().collect();
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (n, id) in ids.iter().enumerate() {
            let config = &self.entries[id].config;
            places.entry(&config.program).or_default().push(n);
            if config.group != config.program {
                places.entry(&config.group).or_default().push(n);
            }
        }
        let nodes: Vec<Node> = ids
            .iter()
            .enumerate()
            .map(|(n, id)| {
                let config = &self.entries[id].config;
                let group = self.groups.get(&config.group).map_or(999, |group| group.group.priority);
                let mut depends_on: Vec<usize> = config
                    .depends_on
                    .iter()
                    .filter_map(|name| places.get(name.as_str()))
                    .flatten()
                    .copied()
                    .collect();
                depends_on.retain(|other| *other != n);
                depends_on.sort_unstable();
                depends_on.dedup();
                Node { priority: (group, config.priority), depends_on }
            })
            .collect();
        let order = Order::new(&nodes);
        let named = |places: &[usize]| places.iter().map(|n| ids[*n]).collect();
        let mut depends_on: HashMap<Id, Vec<Id>> = HashMap::new();
        for (n, dependants) in order.dependants.iter().enumerate() {
            for dependant in dependants {
                depends_on.entry(ids[*dependant]).or_default().push(ids[n]);
            }
        }
        let names = places.keys().map(|name| (*name).to_owned()).collect();
        self.graph = Graph {
            names,
            ids: named(&order.start),
            depends_on,
            dependants: ids.iter().zip(&order.dependants).map(|(id, places)| (*id, named(places))).collect(),
        };
    }

    /// Starts what may start, stops what may stop, and answers whoever waited for it.
    pub(super) fn settle(&mut self) {
        while std::mem::take(&mut self.unsettled) {
            self.stop_what_may_stop();
            self.replace_what_stopped();
            self.start_what_may_start();
        }
        self.answer_waiters();
        self.dispatch();
    }

    /// Has a program start as soon as what it depends on is ready.
    pub(super) fn want_started(&mut self, id: Id) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.wanted = true;
            self.unsettled = true;
        }
    }

    /// Has a program stop as soon as what depends on it and shall stop too has stopped.
    pub(super) fn want_stopped(&mut self, id: Id) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.wanted = false;
            entry.unwanted = !entry.life.state().is_stopped();
            self.unsettled = true;
        }
    }

    fn start_what_may_start(&mut self) {
        if self.shutdown.is_some() {
            return;
        }
        let wanted: Vec<Id> = self.graph.ids.iter().copied().filter(|id| self.entries[id].wanted).collect();
        for id in wanted {
            if self.begun.len() >= BEGUN_MAX {
                return;
            }
            // A start that failed at once may have changed everything.
            if !self.entries.get(&id).is_some_and(|entry| entry.wanted && !self.comes_after(entry)) {
                continue;
            }
            let mut waits_for: Vec<String> = self
                .graph
                .depends_on(id)
                .iter()
                .map(|on| &self.entries[on])
                .filter(|other| !other.life.is_ready())
                .map(|other| other.config.name.clone())
                .collect();
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            // A program that does not exist now is waited for until it is added.
            waits_for.extend(
                entry.config.depends_on.iter().filter(|name| !self.graph.names.contains(*name)).cloned(),
            );
            if waits_for.is_empty() {
                entry.wanted = false;
                entry.told = None;
                self.feed(id, Input::Start);
            } else if entry.told.as_ref() != Some(&waits_for) {
                log::info!(
                    "waiting for {} to be ready before {} starts",
                    waits_for.join(", "),
                    entry.config.name
                );
                entry.told = Some(waits_for);
            }
        }
    }
}
