//! Every link of the documentation leads somewhere.

use std::fs;

use regex::Regex;
use stack_tests::repository;

/// A heading as the part of a link behind `#`, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c => (c.is_alphanumeric() || "-_".contains(c)).then_some(c),
        })
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let root = repository();
    let link = Regex::new(r"\]\(([^)\s]+)\)").expect("a pattern");
    let mut pages = vec![root.join("README.md"), root.join("CHANGELOG.md"), root.join("SECURITY.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    let mut broken = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        for to in link.captures_iter(&text).map(|found| found[1].to_owned()) {
            if to.contains("://") {
                continue;
            }
            let (file, part) = to.split_once('#').unwrap_or((&to, ""));
            let path =
                if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            let has_part =
                |target: String| target.lines().any(|line| line.starts_with('#') && anchor(line) == part);
            let leads =
                if part.is_empty() { path.exists() } else { fs::read_to_string(&path).is_ok_and(has_part) };
            if !leads {
                broken.push(format!("{}: {to}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "these lead nowhere:\n{}", broken.join("\n"));
}
