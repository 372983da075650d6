//! In which order programs start and stop: along `depends_on`, then `priority`.

/// One program among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Lower starts first and stops last.
    pub priority: i64,
    /// Places of those it depends on.
    pub depends_on: Vec<usize>,
}

/// The places of all nodes so that each comes after what it depends on, and of those that could come next the
/// one with the lowest priority does. The nodes must not depend on each other in a circle.
#[must_use]
pub fn start_order(nodes: &[Node]) -> Vec<usize> {
    let mut order: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut placed = vec![false; nodes.len()];
    while order.len() < nodes.len() {
        let next = (0..nodes.len())
            .filter(|n| !placed[*n] && nodes[*n].depends_on.iter().all(|d| placed[*d]))
            .min_by_key(|n| (nodes[*n].priority, *n));
        let Some(next) = next else { break };
        placed[next] = true;
        order.push(next);
    }
    order
}

/// The places of those that depend on `node`, directly.
pub fn dependants(nodes: &[Node], node: usize) -> impl Iterator<Item = usize> + '_ {
    nodes.iter().enumerate().filter(move |(_, other)| other.depends_on.contains(&node)).map(|(n, _)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(priority: i64, depends_on: &[usize]) -> Node {
        Node { priority, depends_on: depends_on.to_vec() }
    }

    #[test]
    fn what_is_depended_on_comes_first_then_the_lower_priority() {
        for (nodes, expected) in [
            (vec![node(999, &[]), node(999, &[])], vec![0, 1]),
            (vec![node(1, &[1]), node(999, &[])], vec![1, 0]),
            (vec![node(3, &[]), node(2, &[]), node(1, &[0])], vec![1, 0, 2]),
            (vec![node(1, &[2]), node(1, &[0]), node(9, &[])], vec![2, 0, 1]),
        ] {
            assert_eq!(start_order(&nodes), expected, "{nodes:?}");
        }
    }

    #[test]
    fn dependants_are_those_that_name_it() {
        let nodes = [node(1, &[]), node(1, &[0]), node(1, &[0, 1])];
        assert_eq!(dependants(&nodes, 0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(dependants(&nodes, 2).count(), 0);
    }
}
