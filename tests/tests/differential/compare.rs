//! Two transcripts beside each other: what is different, and which of it is wanted.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use regex::Regex;
use stack_tests::repository;

use crate::case::folder;

/// What one daemon did in one case: titles and masked lines.
pub(crate) type Transcript = Vec<(String, Vec<String>)>;

/// A difference that is wanted, with the lines that show it.
pub(crate) struct Wanted {
    pub(crate) row: String,
    pub(crate) used: AtomicUsize,
    /// What the entry excuses, as it is written.
    pub(crate) text: String,
    /// Not wanted, but not repaired yet.
    pub(crate) open: bool,
    case: Regex,
    section: Regex,
    genuine: Option<Regex>,
    ours: Option<Regex>,
    moved: Option<Regex>,
}

/// The list of `wanted.toml`.
pub(crate) struct List {
    pub(crate) wanted: Vec<Wanted>,
    elsewhere: Vec<String>,
}

impl List {
    /// Only what lets the lines of independent programs stand in another order.
    pub(crate) fn of_orders() -> Self {
        let mut list = Self::read();
        list.wanted.retain(|wanted| wanted.moved.is_some());
        list
    }

    pub(crate) fn read() -> Self {
        let text = fs::read_to_string(folder().join("wanted.toml")).expect("the list is there");
        let table: toml::Table = text.parse().expect("the list is TOML");
        let texts = |value: &toml::Value| value.as_str().expect("a string").to_owned();
        let list = |name: &str| table.get(name).and_then(|list| list.as_array()).cloned().unwrap_or_default();
        let wanted = list("wanted").into_iter().map(|entry| {
            let entry = entry.as_table().expect("a table");
            let key = |name: &str| entry.get(name).map(texts);
            let known = ["row", "case", "section", "genuine", "ours", "moved", "open"];
            assert!(entry.keys().all(|name| known.contains(&name.as_str())), "an unknown key in {entry:?}");
            let whole = |pattern: String| Regex::new(&format!("^(?:{pattern})$")).expect("a pattern");
            let [genuine, ours, moved] = ["genuine", "ours", "moved"].map(|name| key(name).map(whole));
            assert!(genuine.is_some() || ours.is_some() || moved.is_some(), "{entry:?} excuses nothing");
            Wanted {
                row: key("row").expect("a row"),
                used: AtomicUsize::new(0),
                text: entry.to_string().trim().to_owned(),
                open: entry.get("open").is_some_and(|open| open.as_bool() == Some(true)),
                case: whole(key("case").unwrap_or_else(|| ".*".to_owned())),
                section: whole(key("section").unwrap_or_else(|| ".*".to_owned())),
                genuine,
                ours,
                moved,
            }
        });
        Self { wanted: wanted.collect(), elsewhere: list("elsewhere").iter().map(texts).collect() }
    }

    /// What the list and the table of `docs/supervisor.md` do not agree about.
    pub(crate) fn against_the_table(&self) -> Vec<String> {
        let text = fs::read_to_string(repository().join("docs/supervisor.md")).expect("the docs are there");
        let (_, table) = text.split_once("## What differs from the Python one, and why").expect("the table");
        let table = table.split("\n## ").next().unwrap_or_default();
        let rows: BTreeSet<&str> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
            .filter(|row| *row != "difference")
            .collect();
        let wanted = self.wanted.iter().filter(|wanted| !wanted.open).map(|wanted| wanted.row.as_str());
        let listed: BTreeSet<&str> = wanted.chain(self.elsewhere.iter().map(String::as_str)).collect();
        let missing =
            listed.difference(&rows).map(|row| format!("not in the table of docs/supervisor.md: {row}"));
        let unlisted = rows.difference(&listed).map(|row| format!("in the table, not in wanted.toml: {row}"));
        missing.chain(unlisted).collect()
    }

    /// The differences of a case that nothing excuses.
    pub(crate) fn differences(&self, case: &str, genuine: &Transcript, ours: &Transcript) -> Vec<String> {
        let mut titles: Vec<&String> = genuine.iter().map(|(title, _)| title).collect();
        titles.extend(
            ours.iter().map(|(title, _)| title).filter(|title| !genuine.iter().any(|(t, _)| &t == title)),
        );
        let mut found = Vec::new();
        for title in titles {
            let lines = |one: &Transcript| {
                one.iter().find(|(t, _)| t == title).map(|(_, lines)| lines.clone()).unwrap_or_default()
            };
            let (mut only_genuine, mut only_ours) = diff(&lines(genuine), &lines(ours));
            for wanted in self.wanted.iter().filter(|w| w.case.is_match(case) && w.section.is_match(title)) {
                let uses = wanted.excuse(&mut only_genuine, &mut only_ours);
                wanted.used.fetch_add(uses, Ordering::SeqCst);
            }
            if !only_genuine.is_empty() || !only_ours.is_empty() {
                let minus = only_genuine.iter().map(|line| format!("    genuine  {line}\n"));
                let plus = only_ours.iter().map(|line| format!("    ours     {line}\n"));
                found.push(format!("{case}, {title}:\n{}", minus.chain(plus).collect::<String>()));
            }
        }
        found
    }
}

impl Wanted {
    /// Takes away what it excuses, and says how often it did.
    fn excuse(&self, only_genuine: &mut Vec<String>, only_ours: &mut Vec<String>) -> usize {
        let mut uses = 0;
        if let Some(moved) = &self.moved {
            only_genuine.retain(|line| {
                let at = only_ours.iter().position(|other| other == line && moved.is_match(line));
                let at = at.map(|at| only_ours.remove(at));
                uses += usize::from(at.is_some());
                at.is_none()
            });
        }
        match (&self.genuine, &self.ours) {
            (Some(genuine), Some(ours)) => only_genuine.retain(|line| {
                let at =
                    genuine.is_match(line).then(|| only_ours.iter().position(|other| ours.is_match(other)));
                let at = at.flatten().map(|at| only_ours.remove(at));
                uses += usize::from(at.is_some());
                at.is_none()
            }),
            (one, other) => {
                for (pattern, lines) in [(one, only_genuine), (other, only_ours)] {
                    let before = lines.len();
                    lines.retain(|line| !pattern.as_ref().is_some_and(|pattern| pattern.is_match(line)));
                    uses += before - lines.len();
                }
            }
        }
        uses
    }
}

/// The lines that are only in one and only in the other, along the longest common part.
fn diff(one: &[String], other: &[String]) -> (Vec<String>, Vec<String>) {
    let width = other.len() + 1;
    let mut common = vec![0_u32; (one.len() + 1) * width];
    for i in (0..one.len()).rev() {
        for j in (0..other.len()).rev() {
            common[i * width + j] = if one[i] == other[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut left, mut right) = (0, 0, Vec::new(), Vec::new());
    while i < one.len() || j < other.len() {
        if i < one.len() && j < other.len() && one[i] == other[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == other.len()
            || (i < one.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            left.push(one[i].clone());
            i += 1;
        } else {
            right.push(other[j].clone());
            j += 1;
        }
    }
    (left, right)
}
