//! An INI file as Python's `configparser` reads it for supervisord, with what both swallow noted.
//!
//! No published parser has these rules, and they are part of the promise that a file runs unchanged: a comment
//! begins at `;` or `#` after a space, also in a value; a line that is indented deeper goes on with the value before;
//! keys are lower case; the later of two keys or sections wins; whatever stands after the `]` of a header is nothing;
//! and a header without `]` is a key of the section before (supervisor 4.3 `options.py:UnhosedConfigParser`).

use std::rc::Rc;

use super::document::{Document, Entry, Findings, Origin, Section, Value, Weight};

/// The section whose keys every other has.
const DEFAULTS: &str = "DEFAULT";

struct Line<'a> {
    /// What is left without the comment, trimmed.
    value: &'a str,
    /// The comment, with its mark.
    comment: Option<&'a str>,
    /// Characters before what is first on the line.
    indent: usize,
}

impl<'a> Line<'a> {
    fn new(line: &'a str) -> Self {
        let indent = line.find(|c: char| !c.is_whitespace()).unwrap_or(0);
        let start = if line.trim().starts_with(['#', ';']) { Some(0) } else { comment_start(line) };
        let (value, comment) = match start {
            Some(at) => (&line[..at], Some(line[at..].trim())),
            None => (line, None),
        };
        Self { value: value.trim(), comment, indent }
    }
}

/// Where a comment begins after a value. Python looks at the first `;` and the first `#`, then at the second ones,
/// and so on, and takes the first of a pair that follows a space.
fn comment_start(line: &str) -> Option<usize> {
    let after_a_space = |at: &usize| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    let mut places = [';', '#'].map(|mark| line.match_indices(mark).map(|(at, _)| at));
    loop {
        let pair = places.each_mut().map(Iterator::next);
        if pair == [None, None] {
            return None;
        }
        if let Some(start) = pair.into_iter().flatten().filter(after_a_space).min() {
            return Some(start);
        }
    }
}

/// All comments with their lines, without their marks.
pub(super) fn comments(text: &str) -> Vec<(usize, String)> {
    let comment = |(n, line): (usize, &str)| {
        let text = Line::new(line).comment?.trim_start_matches([';', '#']);
        // TOML has no other control characters in its comments.
        let text = text.replace(|c: char| c.is_control() && c != '\t', " ").trim().to_owned();
        Some((n + 1, text))
    };
    text.lines().enumerate().filter_map(comment).collect()
}

/// Keys whose value a comment sign cuts short without anybody noticing.
const CUT_SHORT: [&str; 2] = ["command", "environment"];

struct Reader<'a> {
    origin: &'a Rc<Origin>,
    findings: &'a mut Findings,
    sections: Vec<Section>,
    /// The section that keys belong to.
    current: Option<usize>,
    /// Whether a key came before in it, which a deeper line goes on with.
    open: Option<Open>,
}

struct Open {
    key: String,
    line: usize,
    pieces: Vec<String>,
}

/// Reads INI. What supervisord refuses is a mistake.
pub(super) fn read(origin: &Rc<Origin>, text: &str, findings: &mut Findings) -> Document {
    let mut reader = Reader { origin, findings, sections: Vec::new(), current: None, open: None };
    let mut depth = 0;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    for (n, line) in lines.flat_map(|line| line.split('\r')).enumerate() {
        reader.line(n + 1, line, &mut depth);
    }
    reader.close();
    Document { sections: reader.sections }
}

impl Reader<'_> {
    fn line(&mut self, n: usize, text: &str, depth: &mut usize) {
        let line = Line::new(text);
        if line.value.is_empty() {
            if let (None, Some(open)) = (line.comment, &mut self.open) {
                open.pieces.push(String::new());
            }
            return;
        }
        if let Some(open) = self.open.as_mut().filter(|_| line.indent > *depth) {
            open.pieces.push(line.value.to_owned());
            let key = open.key.clone();
            return self.cut_short(n, &key, &line);
        }
        *depth = line.indent;
        if let Some(header) = header(line.value) {
            self.close();
            return self.section(n, header);
        }
        let Some(current) = self.current else {
            let text = format!("{:?} stands before any section header", line.value);
            return self.findings.add(Weight::Mistake, self.origin, n, text);
        };
        match line.value.split_once(['=', ':']) {
            Some((key, value)) if !key.trim().is_empty() => {
                self.close();
                let key = key.trim_end().to_lowercase();
                if line.value.starts_with('[') {
                    let title = self.sections[current].title();
                    let text = format!(
                        "the section header {:?} has no `]`, so that it and the keys below it belong to {title}",
                        line.value
                    );
                    self.findings.add(Weight::Swallowed, self.origin, n, text);
                } else {
                    self.cut_short(n, &key, &line);
                }
                self.open = Some(Open { key, line: n, pieces: vec![value.trim().to_owned()] });
            }
            _ => {
                let text = format!("{:?} is neither `key = value` nor a section header", line.value);
                self.findings.add(Weight::Mistake, self.origin, n, text);
            }
        }
    }

    fn cut_short(&mut self, n: usize, key: &str, line: &Line<'_>) {
        if let Some(comment) = line.comment.filter(|_| CUT_SHORT.contains(&key)) {
            let mark = &comment[..1];
            let text = format!(
                "`{key}` ends at ` {mark}`, where a comment begins: {}",
                comment.chars().take(60).collect::<String>()
            );
            self.findings.add(Weight::Hint, self.origin, n, text);
        }
    }

    /// Ends the value that was going on.
    fn close(&mut self) {
        let (Some(open), Some(current)) = (self.open.take(), self.current) else { return };
        let value = Value::Text(open.pieces.join("\n").trim_end().to_owned());
        let section = &mut self.sections[current];
        if let Some(before) = section.entry(&open.key) {
            let text =
                format!("`{}` was set in line {} already: the later one counts", open.key, before.line);
            self.findings.add(Weight::Hint, self.origin, open.line, text);
        }
        section.set(Entry {
            key: open.key,
            value,
            origin: Rc::clone(self.origin),
            line: open.line,
            inherited: false,
        });
    }

    fn section(&mut self, n: usize, header: &str) {
        let (kind, name) = match header.split_once(':') {
            Some((kind, name)) => (kind, Some(name)),
            None => (header, None),
        };
        let known = self.sections.iter().position(|s| s.kind == kind && s.name.as_deref() == name);
        if let Some(at) = known {
            let (title, line) = (self.sections[at].title(), self.sections[at].line);
            let text = format!(
                "{title} was there in line {line} already: both are one, and of a key that is in both the later counts"
            );
            self.findings.add(Weight::Swallowed, self.origin, n, text);
        }
        self.current = Some(known.unwrap_or_else(|| {
            self.sections.push(Section {
                kind: kind.to_owned(),
                name: name.map(str::to_owned),
                origin: Rc::clone(self.origin),
                line: n,
                entries: Vec::new(),
            });
            self.sections.len() - 1
        }));
    }
}

/// What stands between the first `[` and the last `]`.
fn header(value: &str) -> Option<&str> {
    let rest = value.strip_prefix('[')?;
    let name = &rest[..rest.rfind(']')?];
    (!name.is_empty()).then_some(name)
}

/// Gives every section the keys of `[DEFAULT]` that it has not itself.
pub(super) fn inherit(document: &mut Document) {
    let Some(at) = document.sections.iter().position(|s| s.kind == DEFAULTS && s.name.is_none()) else {
        return;
    };
    let defaults = document.sections.remove(at).entries;
    for section in &mut document.sections {
        for entry in &defaults {
            if section.entry(&entry.key).is_none() {
                section.entries.push(Entry { inherited: true, ..entry.clone() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> (Vec<String>, Findings) {
        let mut findings = Findings::default();
        let origin = Origin::new(Path::new("s.conf"), Path::new("/w"));
        let mut document = read(&origin, text, &mut findings);
        inherit(&mut document);
        let mut found = Vec::new();
        for section in &document.sections {
            found.push(format!("{} {}", section.line, section.title()));
            for entry in &section.entries {
                found.push(format!(
                    "{} {}={:?}",
                    entry.line,
                    entry.key,
                    entry.value.text().unwrap_or_default()
                ));
            }
        }
        (found, findings)
    }

    #[test]
    fn lines_mean_what_python_says() {
        for (text, expected) in [
            ("[a]\nk=v", &["1 [a]", "2 k=\"v\""][..]),
            ("[a]\nK : v = w ; c\n", &["1 [a]", "2 k=\"v = w\""]),
            ("[a:b] x\nk=a;b#c # d", &["1 [a:b]", "2 k=\"a;b#c\""]),
            ("[a]\nk=v#w #x ;y", &["1 [a]", "2 k=\"v#w #x\""]),
            ("[a]\nk=v\n  w\n\n  x\n\nl=1", &["1 [a]", "2 k=\"v\\nw\\n\\nx\"", "7 l=\"1\""]),
            ("[a]\nk=v\n  ; c\n  w", &["1 [a]", "2 k=\"v\\nw\""]),
            ("[a]\n k=v\n l=w", &["1 [a]", "2 k=\"v\"", "3 l=\"w\""]),
            ("[a]\nk=\n  v", &["1 [a]", "2 k=\"\\nv\""]),
            ("; c\n# d\n[a]\n;k=v\nk=", &["3 [a]", "5 k=\"\""]),
            ("[a]\r\nk=v\r\n", &["1 [a]", "2 k=\"v\""]),
            ("[DEFAULT]\nk=1\nl=2\n[a]\nk=3", &["4 [a]", "5 k=\"3\"", "3 l=\"2\""]),
            ("[a]\nk=1\n[b]\nk=2\n[a]\nl=3", &["1 [a]", "2 k=\"1\"", "6 l=\"3\"", "3 [b]", "4 k=\"2\""]),
            ("[a]\nk=1\n[b:c\nk=2", &["1 [a]", "4 k=\"2\"", "3 [b=\"c\""]),
        ] {
            let (found, findings) = parse(text);
            assert_eq!(found, expected, "{text}");
            assert_eq!(findings.mistakes, [], "{text}");
        }
    }

    #[test]
    fn what_is_swallowed_is_noted_and_what_is_refused_is_a_mistake() {
        let tell = |list: &[super::super::Mistake]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (text, expected) in [
            (
                "[a]\nk=1\n[b:c\n",
                "s.conf:3: the section header \"[b:c\" has no `]`, so that it and the keys below it belong to [a]",
            ),
            (
                "[a]\n[a]\n",
                "s.conf:2: [a] was there in line 1 already: both are one, and of a key that is in both the later counts",
            ),
        ] {
            assert_eq!(tell(&parse(text).1.swallowed), [expected]);
        }
        for (text, expected) in [
            (
                "[a]\ncommand=sh -c 'a ; b'\n",
                "s.conf:2: `command` ends at ` ;`, where a comment begins: ; b'",
            ),
            ("[a]\nk=1\nk=2\n", "s.conf:3: `k` was set in line 2 already: the later one counts"),
        ] {
            assert_eq!(tell(&parse(text).1.warnings), [expected]);
        }
        for (text, expected) in [
            ("k=1\n[a]", "s.conf:1: \"k=1\" stands before any section header"),
            ("[a]\nk\n", "s.conf:2: \"k\" is neither `key = value` nor a section header"),
            ("[a]\n=k\n", "s.conf:2: \"=k\" is neither `key = value` nor a section header"),
            ("[a]\n[b\n", "s.conf:2: \"[b\" is neither `key = value` nor a section header"),
        ] {
            assert_eq!(tell(&parse(text).1.mistakes), [expected]);
        }
    }
}
