//! The manual pages: well formed, and about everything that the programs take.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use regex::Regex;
use stack_tests::{repository, target};

const PAGES: [&str; 5] =
    ["sse-server.1", "sse-server.toml.5", "supervisorctl.1", "supervisord.8", "supervisord.conf.5"];

fn page(name: &str) -> PathBuf {
    repository().join("man").join(name)
}

/// What a reader sees, in one line for each paragraph, and what the formatter complains of.
fn shown(name: &str) -> (String, String) {
    let mut command = Command::new("man");
    command.args(["--warnings=w", "-E", "ascii", "-l"]).arg(page(name));
    let out = command.env("MANWIDTH", "2000").env("LC_ALL", "C").output().expect("man runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is ASCII");
    (text(out.stdout), text(out.stderr))
}

/// What a program prints.
fn said(program: &str, words: &[&str]) -> String {
    let out = Command::new(target().join("release").join(program)).args(words).output().expect("it runs");
    String::from_utf8(out.stdout).expect("it is UTF-8")
}

fn long_options(text: &str) -> BTreeSet<String> {
    let option = Regex::new("--[a-z][a-z_-]+").unwrap();
    option.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

#[test]
fn pages_are_well_formed() {
    let is_there = |program: &str| Command::new(program).arg("-h").output().is_ok();
    for name in PAGES {
        let (text, complaints) = shown(name);
        assert_eq!(complaints, "", "{name}");
        let first = text.lines().next().unwrap_or_default();
        let (title, section) = name.rsplit_once('.').unwrap();
        assert!(first.starts_with(&format!("{}({section})", title.to_uppercase())), "{name}: {first}");
        for part in ["NAME", "DESCRIPTION", "EXAMPLES", "SEE ALSO"] {
            assert!(text.lines().any(|line| line == part), "{name} has no {part}");
        }
        if is_there("mandoc") {
            let out = Command::new("mandoc").args(["-Tlint", "-Wwarning"]).arg(page(name)).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stdout), "", "{name}");
        }
    }
    let files: BTreeSet<String> = std::fs::read_dir(repository().join("man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, PAGES.map(str::to_owned).into());
}

#[test]
fn every_option_has_its_place_in_the_page_and_the_page_names_no_other() {
    let short_option = Regex::new("(?m)^ *(-[a-zA-Z])[,/]").unwrap();
    for (program, name) in [
        ("sse-server", "sse-server.1"),
        ("supervisord", "supervisord.8"),
        ("supervisorctl", "supervisorctl.1"),
    ] {
        let options = |text: &str| {
            let mut found = long_options(text);
            // Of examples, and of single commands of supervisorctl.
            for other in ["--port", "--for", "--timeout", "--json", "--watch", "--once"] {
                found.remove(other);
            }
            found
        };
        let (help, text) = (said(program, &["--help"]), shown(name).0);
        assert!(options(&help).len() > 3, "{help}");
        assert_eq!(options(&help), options(&text), "{name}");
        for short in short_option.captures_iter(&help) {
            assert!(text.contains(&format!("{}, --", &short[1])), "{name} lacks {}", &short[1]);
        }
    }
}

#[test]
fn every_command_has_its_place_in_the_page() {
    let help = said("supervisorctl", &["-s", "unix:///no/such.sock", "help"]);
    let names: Vec<&str> =
        help.lines().filter(|line| !line.contains([':', '='])).flat_map(str::split_whitespace).collect();
    assert!(names.len() > 20, "{help}");
    let text = shown("supervisorctl.1").0;
    for name in names {
        let head = Regex::new(&format!("(?m)^     (?:[a-z]+, )?{name}(?:[ ,].*)?$")).unwrap();
        assert!(head.is_match(&text), "{name} is missing:\n{text}");
    }
    let text = shown("sse-server.1").0;
    for name in ["run", "check", "healthcheck", "nginx"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("     {name} "))), "{name}:\n{text}");
    }
}

#[test]
fn every_key_that_the_supervisor_reads_has_its_place_in_the_page() {
    let read = Regex::new(
        r#"keys\s*\.(?:entry|get|text|text_twice|boolean|number|count|duration|list|table)(?:::<\w+>)?\(\s*"([a-z_]+)""#,
    )
    .unwrap();
    let text = std::fs::read_to_string(page("supervisord.conf.5")).unwrap();
    let in_page: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix(".It Ic ")?.split(' ').next()).collect();
    let mut keys = BTreeSet::new();
    for entry in std::fs::read_dir(repository().join("crates/supervisor/src/config")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let source = std::fs::read_to_string(path).unwrap();
            let code = source.split("#[cfg(test)]").next().unwrap_or_default();
            keys.extend(read.captures_iter(code).map(|found| found[1].to_owned()));
        }
    }
    assert!(keys.len() > 60, "{keys:?}");
    let missing: Vec<&String> = keys.iter().filter(|key| !in_page.contains(key.as_str())).collect();
    assert_eq!(missing, Vec::<&String>::new());
}

#[test]
fn every_key_of_the_page_is_one_that_the_supervisor_reads() {
    let text = std::fs::read_to_string(page("supervisord.conf.5")).unwrap();
    let (_, programs) = text.split_once(".Ss [program:NAME]").unwrap();
    let (programs, _) = programs.split_once(".Ss ").unwrap();
    let keys: Vec<&str> =
        programs.lines().filter_map(|line| line.strip_prefix(".It Ic ")?.split(' ').next()).collect();
    assert!(keys.len() > 40, "{keys:?}");
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("all.toml");
    let lines: String = keys.iter().map(|key| format!("{key} = \"\"\n")).collect();
    std::fs::write(&file, format!("[supervisord]\n[program.all]\n{lines}")).unwrap();
    let out = Command::new(target().join("release/supervisord")).arg("check").arg("-c").arg(&file).output();
    let told = String::from_utf8(out.unwrap().stderr).unwrap();
    assert!(told.contains("`startsecs`") && !told.contains("unknown key"), "{told}");
}
