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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The index finds what asking every group would find, whatever came and went before.
        #[test]
        fn index_finds_exactly_the_groups_whose_filters_read_the_topic(
            groups in prop::collection::vec(prop::collection::vec("(a|ab|s|session:|session:a){0,1}[ab]{0,2}[*]?", 1..4), 1..20),
            gone in prop::collection::vec(any::<bool>(), 20),
            topic in "(session:)?[ab]{1,3}",
        ) {
            let groups: Vec<Vec<TopicFilter>> = groups
                .into_iter()
                .map(|group| group.iter().filter_map(|text| TopicFilter::parse(text).ok()).collect())
                .collect();
            let topic = Topic::parse(&topic).unwrap();
            let mut index = Index::default();
            for (n, filters) in groups.iter().enumerate() {
                index.insert(u32::try_from(n).unwrap(), filters);
            }
            for (n, filters) in groups.iter().enumerate().filter(|(n, _)| gone[*n]) {
                index.remove(u32::try_from(n).unwrap(), filters);
            }
            let mut found = Vec::new();
            index.groups(&topic, |group| found.push(group as usize));
            found.sort_unstable();
            found.dedup();
            let reads = |n: &usize| !gone[*n] && groups[*n].iter().any(|filter| filter.reads(&topic));
            prop_assert_eq!(found, (0..groups.len()).filter(reads).collect::<Vec<_>>());
        }
    }

    #[test]
    fn index_without_groups_holds_nothing() {
        let mut index = Index::default();
        let filters = ["a", "a*", "*", "b*"].map(|text| TopicFilter::parse(text).unwrap());
        index.insert(1, &filters);
        index.insert(2, &filters[1..]);
        assert_eq!(index.lengths, [(0, 1), (1, 2)]);
        index.remove(1, &filters);
        index.remove(2, &filters[1..]);
        assert!(index.exact.is_empty() && index.prefixes.is_empty() && index.lengths.is_empty());
    }
}
