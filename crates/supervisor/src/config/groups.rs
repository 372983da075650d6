//! Which processes there are, and which groups they form.

use std::collections::HashMap;

use super::document::{Document, Section, Weight};
use super::keys::nearest;
use super::process::{self, Place};
use super::program::{Kind, Program};
use super::reader::{Reader, process_name};
use super::{Config, Group, Listener, listeners};
use crate::events::{Kinds, ResultHandler};

/// Events that may wait for one pool of listeners.
const BUFFER_MAX: i64 = 1_000_000;

/// A group with its processes, before all are sorted.
struct Made<'a> {
    group: Group,
    programs: Vec<Program>,
    section: &'a Section,
}

/// Reads all groups, sorted by priority and name; the processes of each are in the order of its `programs`, as there.
pub(super) fn read(reader: &mut Reader<'_>, document: &Document, config: &mut Config) {
    let (mut made, taken) = heterogeneous(reader, document);
    for (word, kind) in [
        ("program", Kind::Program),
        ("eventlistener", Kind::EventListener),
        ("fcgi-program", Kind::FcgiProgram),
    ] {
        for section in document.sections.iter().filter(|section| section.kind == word) {
            let Some(name) = section.name.as_deref().map(str::trim) else { continue };
            if kind == Kind::FcgiProgram {
                let mut keys = reader.keys(section);
                config.sockets.extend(listeners::fcgi(&mut keys, name));
            }
            if !taken.iter().any(|other| std::ptr::eq(*other, section)) {
                let group = homogeneous(reader, section, name, kind);
                let programs = processes(reader, section, name, name, kind);
                made.push(Made { group, programs, section });
            }
        }
    }
    made.sort_by(|a, b| (a.group.priority, &a.group.name).cmp(&(b.group.priority, &b.group.name)));
    for group in made {
        if config.groups.iter().any(|other| other.name == group.group.name) {
            let text = format!(
                "{} makes a second group `{}`, which is left out",
                group.section.title(),
                group.group.name
            );
            reader.find(Weight::Swallowed, group.section, text);
            continue;
        }
        config.groups.push(group.group);
        config.programs.extend(unique(reader, group.section, group.programs));
    }
}

/// Of processes with one name the last, as there.
fn unique(reader: &mut Reader<'_>, section: &Section, programs: Vec<Program>) -> Vec<Program> {
    let mut last: HashMap<String, usize> = HashMap::new();
    for (n, program) in programs.iter().enumerate() {
        if last.insert(program.name.clone(), n).is_some() {
            let text = format!(
                "the group `{}` has two processes `{}`, of which the last counts",
                program.group, program.name
            );
            reader.find(Weight::Swallowed, section, text);
        }
    }
    let counts = |(n, program): &(usize, Program)| last.get(&program.name) == Some(n);
    programs.into_iter().enumerate().filter(counts).map(|(_, program)| program).collect()
}

fn processes(
    reader: &mut Reader<'_>,
    section: &Section,
    program: &str,
    group: &str,
    kind: Kind,
) -> Vec<Program> {
    if let Err((weight, why)) = process_name(program) {
        reader.find(weight, section, why);
    }
    let env = &reader.source.environment;
    let mut keys = reader.keys(section);
    let mut programs = process::read(&Place { program, group, kind, env }, &mut keys);
    match kind {
        Kind::FcgiProgram => {
            for key in ["socket", "socket_backlog", "socket_owner", "socket_mode"] {
                keys.entry(key);
            }
        }
        Kind::EventListener => {
            for key in ["events", "buffer_size", "result_handler"] {
                keys.entry(key);
            }
        }
        Kind::Program => {}
    }
    keys.finish();
    programs.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
    programs
}

/// The groups of `[group:x]`, and the sections whose programs are in one and so form no group of their own.
fn heterogeneous<'a>(reader: &mut Reader<'_>, document: &'a Document) -> (Vec<Made<'a>>, Vec<&'a Section>) {
    let (mut made, mut taken) = (Vec::new(), Vec::new());
    let find = |kind: &str, name: &str| {
        document.sections.iter().find(|s| s.kind == kind && s.name.as_deref() == Some(name))
    };
    for section in document.sections.iter().filter(|section| section.kind == "group") {
        let Some(name) = section.name.as_deref().map(str::trim) else { continue };
        if let Err((weight, why)) = process_name(name) {
            reader.find(weight, section, why);
        }
        let mut keys = reader.keys(section);
        let title = keys.title();
        let members = keys.list("programs");
        // What cannot be read is told as that.
        let none = members.as_ref().map_or(section.entry("programs").is_none(), Vec::is_empty);
        let members = members.unwrap_or_default();
        let priority = keys.number("priority", "a whole number").unwrap_or(999);
        if none {
            keys.find(Weight::Swallowed, "programs", format!("{title} has no `programs`"));
        }
        let mut sections = Vec::new();
        for member in &members {
            match (find("program", member), find("fcgi-program", member)) {
                (Some(section), None) => sections.push((member, section, Kind::Program)),
                (None, Some(section)) => sections.push((member, section, Kind::FcgiProgram)),
                (Some(_), Some(_)) => keys.mistake(
                    "programs",
                    format!("{title} names `{member}`, which is a program and an fcgi-program"),
                ),
                (None, None) => {
                    let known = document.sections.iter().filter(|s| s.kind == "program");
                    let near = nearest(member, known.filter_map(|s| s.name.as_deref()));
                    keys.mistake(
                        "programs",
                        format!("{title} names program `{member}`, which does not exist{near}"),
                    );
                }
            }
        }
        keys.finish();
        let mut programs = Vec::new();
        for (member, section, kind) in sections {
            taken.push(section);
            programs.extend(processes(reader, section, member, name, kind));
        }
        let group = Group { name: name.to_owned(), priority, listener: None };
        made.push(Made { group, programs, section });
    }
    (made, taken)
}

/// The group that the processes of one section form.
fn homogeneous(reader: &mut Reader<'_>, section: &Section, name: &str, kind: Kind) -> Group {
    let mut keys = reader.keys(section);
    keys.names().set("program_name", name);
    keys.names().set("group_name", name);
    let listens = kind == Kind::EventListener;
    let priority = keys.number("priority", "a whole number").unwrap_or(if listens { -1 } else { 999 });
    let listener = listens.then(|| {
        let title = keys.title();
        let named = keys.text("result_handler");
        let handler = named.as_deref().map(|name| (name, ResultHandler::parse(name.trim())));
        if let Some((name, None)) = handler {
            let text = format!(
                "`result_handler` is {name:?}, but handlers in Python are not loaded: `OK` and `FAIL` are understood"
            );
            keys.find(Weight::Hint, "result_handler", text);
        }
        let result_handler = handler.and_then(|(_, handler)| handler).unwrap_or_default();
        let mut events: Vec<String> = Vec::new();
        let named = keys.list("events");
        if named.as_ref().map_or(section.entry("events").is_none(), Vec::is_empty) {
            keys.mistake("events", format!("{title} section requires an \"events\" line"));
        }
        for event in named.unwrap_or_default() {
            let event = event.to_ascii_uppercase();
            if Kinds::names().all(|name| name != event) {
                let near = nearest(&event, Kinds::names());
                keys.mistake("events", format!("Unknown event type {event} in {title} events{near}"));
            } else if !events.contains(&event) {
                events.push(event);
            }
        }
        let buffer = keys.get("buffer_size", |text| match super::units::integer(text) {
            Some(size) if (1..=BUFFER_MAX).contains(&size) => Ok(usize::try_from(size).unwrap_or(usize::MAX)),
            _ => Err(format!("must be a number from 1 to {BUFFER_MAX}")),
        });
        Listener { events, buffer_size: buffer.unwrap_or(10), result_handler }
    });
    Group { name: name.to_owned(), priority, listener }
}
