//! The floors of the house: which words no file of a folder may use.

use std::fs;
use std::path::{Path, PathBuf};

/// A word that may stand only in the named folders (or files) of a crate.
const ONLY_IN: &[(&str, &str, &[&str])] = &[
    ("sse-server", "actix", &["http/", "fanout/detach.rs", "server.rs", "main.rs"]),
    ("sse-server", "unsafe ", &["fanout/"]),
    ("supervisor", "unsafe ", &["os/"]),
    ("supervisor", "hyper", &["ctl/", "probe/"]),
    ("supervisor", "quick_xml", &["ctl/"]),
];

/// What the rules of the supervisor do without: clocks, runtime, system, and the floors above.
const PURE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "tokio",
    "nix::",
    "std::fs",
    "crate::os",
    "crate::logs",
    "crate::ctl",
    "crate::supervisor",
];

/// A word that no file of the named folder may use.
const NOT_IN: &[(&str, &str, &[&str])] = &[
    (
        "sse-server",
        "hub/",
        &["Instant::now", "SystemTime::now", "Timestamp::now", "tokio", "mio::", "std::net::Tcp", "std::fs"],
    ),
    (
        "sse-server",
        "auth/",
        &[
            "Instant::now",
            "SystemTime::now",
            "tokio",
            "crate::http",
            "crate::server",
            "crate::fanout",
            "crate::config",
        ],
    ),
    ("sse-server", "fanout/", &["crate::http", "crate::server", "crate::config"]),
    ("sse-server", "store/", &["crate::http", "crate::server", "crate::fanout"]),
    ("sse-server", "backplane/", &["crate::http", "crate::server"]),
    ("supervisor", "program/", PURE),
    ("supervisor", "events/", PURE),
    ("supervisor", "events/", &["crate::config"]),
    ("supervisor", "os/", &["crate::supervisor", "crate::ctl", "crate::logs"]),
    ("supervisor", "logs/", &["crate::supervisor", "crate::ctl", "crate::os"]),
    ("supervisor", "ctl/", &["crate::supervisor", "crate::os", "crate::logs"]),
];

const LINES_MAX: usize = 700;

fn sources(crate_name: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(crate_name).join("src");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder can be listed") {
            let path: PathBuf = entry.expect("a folder entry can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&root).expect("below the root").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("a source file is UTF-8")));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {}", root.display());
    found
}

fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn every_word_stays_on_its_floor() {
    let mut broken = Vec::new();
    for (crate_name, word, folders) in ONLY_IN {
        for (file, text) in sources(crate_name) {
            if folders.iter().any(|folder| file.starts_with(folder)) {
                continue;
            }
            for (n, _) in code_lines(&text).filter(|(_, line)| line.contains(word)) {
                broken.push(format!("{crate_name}/src/{file}:{n}: `{word}` belongs in {folders:?}"));
            }
        }
    }
    for (crate_name, folder, words) in NOT_IN {
        for (file, text) in sources(crate_name).into_iter().filter(|(file, _)| file.starts_with(folder)) {
            if file.ends_with("tests.rs") {
                continue;
            }
            let production = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in *words {
                for (n, _) in code_lines(production).filter(|(_, line)| line.contains(word)) {
                    broken.push(format!("{crate_name}/src/{file}:{n}: no `{word}` in {folder}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_file_says_first_what_it_is_for() {
    for crate_name in ["sse-server", "supervisor"] {
        for (file, text) in sources(crate_name) {
            assert!(text.starts_with("//! "), "{crate_name}/src/{file} has no opening `//!` sentence");
        }
    }
}

#[test]
fn no_file_grows_beyond_one_noun() {
    for crate_name in ["sse-server", "supervisor"] {
        for (file, text) in sources(crate_name) {
            let lines = text.lines().count();
            assert!(
                lines <= LINES_MAX,
                "{crate_name}/src/{file} has {lines} lines; {LINES_MAX} are enough for one noun"
            );
        }
    }
}
