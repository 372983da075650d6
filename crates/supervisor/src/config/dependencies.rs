//! What sections say about each other: `depends_on` and `sockets`.

use std::collections::{BTreeMap, BTreeSet};

use super::Config;
use super::document::{Document, Section, Weight};
use super::keys::nearest;
use super::reader::Reader;

/// Notes names that do not exist, and circles.
pub(super) fn check(reader: &mut Reader<'_>, document: &Document, config: &Config) {
    let sections: BTreeMap<&str, &Section> = document
        .sections
        .iter()
        .filter(|s| matches!(s.kind.as_str(), "program" | "eventlistener" | "fcgi-program"))
        .filter_map(|section| Some((section.name.as_deref()?.trim(), section)))
        .collect();
    let groups: BTreeSet<&str> = config.groups.iter().map(|group| group.name.as_str()).collect();
    let mut depends: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for program in &config.programs {
        let Some(section) = sections.get(program.program.as_str()) else { continue };
        let title = section.title();
        for name in &program.depends_on {
            let near = nearest(name, sections.keys().copied().chain(groups.iter().copied()));
            if *name == program.program {
                reader.find(Weight::Mistake, section, format!("{title} depends on itself"));
            } else if sections.contains_key(name.as_str()) {
                depends.entry(&program.program).or_default().insert(name);
            } else if *name == program.group {
                let text = format!("{title} depends on the group `{name}`, which it is in");
                reader.find(Weight::Mistake, section, text);
            } else if groups.contains(name.as_str()) {
                let members = config.named(name).map(|member| member.program.as_str());
                depends.entry(&program.program).or_default().extend(members);
            } else {
                let text = format!("{title} depends on `{name}`, which does not exist{near}");
                reader.find(Weight::Mistake, section, text);
            }
        }
        for name in &program.sockets {
            if !config.sockets.iter().any(|socket| socket.name == *name) {
                let near = nearest(name, config.sockets.iter().map(|socket| socket.name.as_str()));
                let text = format!("{title} uses [socket.{name}], which does not exist{near}");
                reader.find(Weight::Mistake, section, text);
            }
        }
    }
    if let Some(cycle) = cycle(&depends) {
        let text = format!("programs depend on each other in a circle: {}", cycle.join(" → "));
        if let Some(section) = sections.get(cycle[0]) {
            reader.find(Weight::Mistake, section, text);
        }
    }
}

/// The names of programs that depend on each other in a circle, if there is one; the first comes again at the end.
fn cycle<'a>(depends: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    // The way so far: each name with those it depends on that are still to be visited.
    for start in depends.keys() {
        let next_of = |name: &str| depends.get(name).into_iter().flatten().copied().collect::<Vec<_>>();
        let mut path: Vec<(&str, Vec<&str>)> = vec![(start, next_of(start))];
        while let Some((name, rest)) = path.last_mut() {
            let Some(next) = rest.pop() else {
                done.insert(name);
                path.pop();
                continue;
            };
            if let Some(at) = path.iter().position(|(seen, _)| *seen == next) {
                return Some(path[at..].iter().map(|(name, _)| *name).chain([next]).collect());
            }
            if !done.contains(next) {
                path.push((next, next_of(next)));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found_wherever_it_is() {
        for (edges, expected) in [
            (&[("a", "b"), ("b", "c"), ("a", "c")][..], None),
            (&[("a", "b"), ("b", "a")], Some(vec!["a", "b", "a"])),
            (&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")], Some(vec!["b", "c", "d", "b"])),
        ] {
            let mut depends: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            for (from, to) in edges {
                depends.entry(from).or_default().insert(to);
            }
            assert_eq!(cycle(&depends), expected, "{edges:?}");
        }
    }
}
