//! From a topic to the groups that read it, without looking at the others.

use std::collections::HashMap;

use super::{Topic, TopicFilter};

/// The number of a group.
pub type GroupId = u32;

/// Finds a topic's groups by one look-up for the topic and one for each length of prefix in use,
/// however many topics and groups there are.
#[derive(Debug, Default)]
pub struct Index {
    exact: HashMap<Topic, Vec<GroupId>>,
    prefixes: HashMap<Box<str>, Vec<GroupId>>,
    /// How many prefixes of each length are in use, shortest first.
    lengths: Vec<(usize, usize)>,
}

impl Index {
    /// Adds a group under each of its filters.
    pub fn insert(&mut self, group: GroupId, filters: &[TopicFilter]) {
        for filter in filters {
            match filter {
                TopicFilter::Exact(topic) => self.exact.entry(topic.clone()).or_default().push(group),
                TopicFilter::Prefix(prefix) => {
                    let groups = self.prefixes.entry(prefix.clone()).or_default();
                    groups.push(group);
                    if groups.len() == 1 {
                        match self.lengths.binary_search_by_key(&prefix.len(), |(length, _)| *length) {
                            Ok(n) => self.lengths[n].1 += 1,
                            Err(n) => self.lengths.insert(n, (prefix.len(), 1)),
                        }
                    }
                }
            }
        }
    }

    /// Removes a group that was added with the same filters.
    pub fn remove(&mut self, group: GroupId, filters: &[TopicFilter]) {
        for filter in filters {
            match filter {
                TopicFilter::Exact(topic) => {
                    if leaves_none(self.exact.get_mut(topic), group) {
                        self.exact.remove(topic);
                    }
                }
                TopicFilter::Prefix(prefix) => {
                    if leaves_none(self.prefixes.get_mut(prefix), group) {
                        self.prefixes.remove(prefix);
                        self.lengths.retain_mut(|(length, count)| {
                            *count -= usize::from(*length == prefix.len());
                            *count > 0
                        });
                    }
                }
            }
        }
    }

    /// Calls `found` for each group with a filter that reads `topic`; a group with several such
    /// filters is found several times.
    pub fn groups(&self, topic: &Topic, mut found: impl FnMut(GroupId)) {
        if let Some(groups) = self.exact.get(topic) {
            groups.iter().copied().for_each(&mut found);
        }
        if topic.is_private() {
            return;
        }
        for (length, _) in &self.lengths {
            // A topic is ASCII, so every length is a boundary.
            let Some(prefix) = topic.as_str().get(..*length) else { break };
            if let Some(groups) = self.prefixes.get(prefix) {
                groups.iter().copied().for_each(&mut found);
            }
        }
    }
}

fn leaves_none(groups: Option<&mut Vec<GroupId>>, group: GroupId) -> bool {
    groups.is_some_and(|groups| {
        if let Some(n) = groups.iter().position(|member| *member == group) {
            groups.swap_remove(n);
        }
        groups.is_empty()
    })
}
