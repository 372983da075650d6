//! `[include]`: more files that belong to a configuration, each INI or TOML by its own ending.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use glob::{MatchOptions, Pattern, glob_with};

use super::document::{Document, Findings, Origin, Section, Value, Weight};
use super::ini;
use super::keys::Keys;
use super::reader::Reader;

/// Files of one configuration.
const FILES_MAX: usize = 10_000;

/// Hidden files are found only by a pattern that begins with a dot, as by Python's `glob`.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Reads the text of the file and all files that it includes, as one document.
pub(super) fn read(reader: &mut Reader<'_>, text: &str, infos: &mut Vec<String>) -> Document {
    let mut document = parse(reader.origin, text, reader.findings);
    let files = document.sections.iter().find(|s| s.kind == "include" && s.name.is_none()).cloned();
    if let Some(section) = files {
        for file in files_of(reader, &section) {
            infos.push(format!("Included extra file \"{file}\" during parsing"));
            reader.findings.included.push(PathBuf::from(&file));
            let origin = Origin::new(Path::new(&file), &reader.source.directory);
            match fs::read_to_string(&file) {
                Ok(text) => {
                    let included = parse(&origin, &text, reader.findings);
                    merge(&mut document, included, reader.findings);
                }
                Err(error) => {
                    reader.findings.add(Weight::Swallowed, &origin, 0, format!("cannot be read: {error}"));
                }
            }
        }
    }
    ini::inherit(&mut document);
    document
}

fn parse(origin: &Rc<Origin>, text: &str, findings: &mut Findings) -> Document {
    match origin.ini {
        true => ini::read(origin, text, findings),
        false => Document::from_toml(origin, text, findings),
    }
}

/// What `files` names, sorted for each pattern.
fn files_of(reader: &mut Reader<'_>, section: &Section) -> Vec<String> {
    let mut keys = reader.keys(section);
    let Some(entry) = keys.entry("files") else {
        keys.mistake("files", ".ini file has [include] section, but no files setting".to_owned());
        return Vec::new();
    };
    let patterns: Vec<String> = match &entry.value {
        Value::List(_) => keys.list("files").unwrap_or_default(),
        _ => keys.text("files").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
    };
    let mut found = Vec::new();
    for pattern in patterns {
        let names = matching(&section.origin.here, &pattern, &mut keys);
        if found.len() + names.len() > FILES_MAX {
            keys.mistake("files", format!("[include] names more than {FILES_MAX} files"));
            return Vec::new();
        }
        found.extend(names);
    }
    keys.finish();
    found
}

fn matching(here: &str, pattern: &str, keys: &mut Keys<'_>) -> Vec<String> {
    let whole = Path::new(here).join(pattern).display().to_string();
    let mut escaped = if pattern.starts_with('/') {
        pattern.to_owned()
    } else {
        format!("{}/{pattern}", Pattern::escape(here.trim_end_matches('/')))
    };
    // Python's `**` is one `*` where nobody asked for more.
    while escaped.contains("**") {
        escaped = escaped.replace("**", "*");
    }
    let mut names: Vec<String> = match glob_with(&escaped, OPTIONS) {
        Ok(paths) => paths.flatten().map(|path| path.display().to_string()).collect(),
        Err(_) => Vec::new(),
    };
    names.sort();
    if names.is_empty() {
        keys.genuine("files", format!("No file matches via include \"{whole}\""));
    }
    names
}

/// A section that was there before goes on in the included file, whose keys win.
fn merge(document: &mut Document, included: Document, findings: &mut Findings) {
    for section in included.sections {
        let known = document.sections.iter_mut().find(|s| s.kind == section.kind && s.name == section.name);
        let Some(known) = known else {
            document.sections.push(section);
            continue;
        };
        if known.kind == "include" {
            let text = "[include] in an included file includes nothing".to_owned();
            findings.add(Weight::Hint, &section.origin, section.line, text);
            continue;
        }
        let (file, line) = (known.origin.file.display(), known.line);
        let text = format!(
            "{} was there in {file}:{line} already: both are one, and of a key that is in both the later counts",
            section.title()
        );
        findings.add(Weight::Hint, &section.origin, section.line, text);
        for entry in section.entries {
            known.set(entry);
        }
    }
}
