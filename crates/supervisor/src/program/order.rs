//! In which order programs start and stop: along `depends_on`, then `priority`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// One program among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Of its group, then its own; lower starts first and stops last.
    pub priority: (i64, i64),
    /// Places of those it depends on.
    pub depends_on: Vec<usize>,
}

/// Who comes after whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    /// All places, so that each comes after what it depends on, and of those that could come next the one with the
    /// lowest priority does.
    pub start: Vec<usize>,
    /// For each place those that depend on it, directly.
    pub dependants: Vec<Vec<usize>>,
}

impl Order {
    /// The order of these nodes. In a circle the one with the lowest priority comes first, as if it did not depend on
    /// the others.
    #[must_use]
    pub fn new(nodes: &[Node]) -> Self {
        let mut dependants = vec![Vec::new(); nodes.len()];
        let mut missing: Vec<usize> = nodes.iter().map(|node| node.depends_on.len()).collect();
        for (n, node) in nodes.iter().enumerate() {
            for on in &node.depends_on {
                dependants[*on].push(n);
            }
        }
        let mut next: BinaryHeap<_> =
            (0..nodes.len()).filter(|n| missing[*n] == 0).map(|n| Reverse((nodes[n].priority, n))).collect();
        let mut start = Vec::with_capacity(nodes.len());
        let mut placed = vec![false; nodes.len()];
        loop {
            let first = next.pop().map(|Reverse((_, n))| n);
            // A circle, which no file has, but a half taken over one may: it begins somewhere.
            let waited_for = |n: &usize| dependants[*n].iter().any(|dependant| !placed[*dependant]);
            let rest = || {
                let left = (0..nodes.len()).filter(|n| !placed[*n]).filter(waited_for);
                left.min_by_key(|n| (nodes[*n].priority, *n))
            };
            let Some(n) = first.or_else(rest) else { break };
            if std::mem::replace(&mut placed[n], true) {
                continue;
            }
            start.push(n);
            for dependant in &dependants[n] {
                missing[*dependant] -= 1;
                if missing[*dependant] == 0 && !placed[*dependant] {
                    next.push(Reverse((nodes[*dependant].priority, *dependant)));
                }
            }
        }
        let mut rank = vec![0; nodes.len()];
        start.iter().enumerate().for_each(|(at, n)| rank[*n] = at);
        for (n, dependants) in dependants.iter_mut().enumerate() {
            dependants.retain(|dependant| rank[*dependant] > rank[n]);
        }
        Self { start, dependants }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(priority: i64, depends_on: &[usize]) -> Node {
        Node { priority: (priority, 999), depends_on: depends_on.to_vec() }
    }

    #[test]
    fn what_is_depended_on_comes_first_then_the_lower_priority() {
        for (nodes, expected) in [
            (vec![node(999, &[]), node(999, &[])], vec![0, 1]),
            (vec![node(1, &[1]), node(999, &[])], vec![1, 0]),
            (vec![node(3, &[]), node(2, &[]), node(1, &[0])], vec![1, 0, 2]),
            (vec![node(1, &[2]), node(1, &[0]), node(9, &[])], vec![2, 0, 1]),
        ] {
            assert_eq!(Order::new(&nodes).start, expected, "{nodes:?}");
        }
        let within = |own| Node { priority: (1, own), depends_on: Vec::new() };
        assert_eq!(Order::new(&[within(2), within(1), node(0, &[])]).start, [2, 1, 0]);
    }

    #[test]
    fn a_circle_begins_somewhere_and_is_none_any_more() {
        let order = Order::new(&[node(2, &[1]), node(1, &[0]), node(0, &[0])]);
        assert_eq!((order.start, order.dependants), (vec![1, 0, 2], vec![vec![2], vec![0], vec![]]));
    }

    #[test]
    fn dependants_are_those_that_name_it() {
        let nodes = [node(1, &[]), node(1, &[0]), node(1, &[0, 1])];
        assert_eq!(Order::new(&nodes).dependants, [vec![1, 2], vec![2], vec![]]);
    }
}
