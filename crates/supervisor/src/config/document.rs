//! A configuration as it was written: sections, keys and values with their lines, whatever the format.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file it stands in.
    pub file: PathBuf,
    /// The line, from 1; 0 if it concerns the whole file.
    pub line: usize,
    /// What is wrong, and what is allowed.
    pub text: String,
    /// Whether supervisord has the same sentence for its log, where it says neither file nor line.
    pub genuine: bool,
}

impl Mistake {
    /// The sentence for what is no mistake.
    #[must_use]
    pub fn warning(&self) -> String {
        Self { text: format!("warning: {}", self.text), ..self.clone() }.to_string()
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            // Of the file as a whole supervisord's own sentence says all there is.
            0 if self.genuine => f.write_str(&self.text),
            0 => write!(f, "{}: {}", self.file.display(), self.text),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.text),
        }
    }
}

/// What was found on the way, from what stops the start to what only `check` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// What no start survives.
    pub mistakes: Vec<Mistake>,
    /// What supervisord swallows, so that an INI file starts with it.
    pub swallowed: Vec<Mistake>,
    /// What is probably not meant so.
    pub warnings: Vec<Mistake>,
    /// Titles of sections with their keys that mean nothing; without a key the whole section.
    pub unknown: BTreeSet<(String, String)>,
    /// The files that are included, in their order.
    pub included: Vec<PathBuf>,
}

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// It stops every start.
    Mistake,
    /// It stops the start of a TOML file; in an INI file supervisord swallows it.
    Swallowed,
    /// It is a mistake in a TOML file, where the format is ours, and a warning in an INI file.
    Warning,
    /// It stops nothing.
    Hint,
}

impl Findings {
    pub(super) fn add(&mut self, weight: Weight, origin: &Origin, line: usize, text: String) {
        let finding = Mistake { file: origin.file.clone(), line, text, genuine: false };
        match weight {
            Weight::Mistake => self.mistakes.push(finding),
            Weight::Hint => self.warnings.push(finding),
            Weight::Swallowed | Weight::Warning if !origin.ini => self.mistakes.push(finding),
            Weight::Swallowed => self.swallowed.push(finding),
            Weight::Warning => self.warnings.push(finding),
        }
    }

    /// A sentence that supervisord's own log has too.
    pub(super) fn genuine(&mut self, origin: &Origin, line: usize, text: String) {
        self.warnings.push(Mistake { file: origin.file.clone(), line, text, genuine: true });
    }
}

/// The file that something stands in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// Where it was read from.
    pub file: PathBuf,
    /// Its folder, which `%(here)s` stands for.
    pub here: String,
    /// Whether it is an INI file, and so as lenient as supervisord.
    pub ini: bool,
}

impl Origin {
    /// Of this file; relative paths begin at `cwd`.
    pub(super) fn new(file: &Path, cwd: &Path) -> Rc<Self> {
        let here = super::paths::absolute(cwd, file.parent().unwrap_or(Path::new("")));
        let ini = super::is_ini(file);
        Rc::new(Self { file: file.to_path_buf(), here: here.display().to_string(), ini })
    }
}

/// A value as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A string, or a number or boolean in the words of an INI file.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A list.
    List(Vec<Value>),
    /// Named values.
    Table(Vec<(String, Value)>),
}

impl Value {
    /// The value in the words of an INI file; `None` for a list or a table.
    #[must_use]
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::Float(value) => Some(value.to_string()),
            Self::List(_) | Self::Table(_) => None,
        }
    }

    /// A list or a table that an INI file has in TOML's words; any other value as it is.
    pub(super) fn inline(&self) -> Result<Self, String> {
        let Self::Text(text) = self else { return Ok(self.clone()) };
        if !text.starts_with(['{', '[']) {
            return Ok(self.clone());
        }
        let line = format!("value = {}", text.replace('\n', " "));
        let table = DeTable::parse(&line).map_err(|error| error.message().replace('\n', " "))?;
        let value = table.get_ref().get("value").map(value_of);
        Ok(value.unwrap_or_else(|| self.clone()))
    }
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The key.
    pub key: String,
    /// What it is set to.
    pub value: Value,
    /// The file it stands in.
    pub origin: Rc<Origin>,
    /// Its line, from 1.
    pub line: usize,
    /// Whether it stands in `[DEFAULT]`, for every section.
    pub inherited: bool,
}

/// A section, such as `[supervisord]` or `[program.web]`.
#[derive(Debug, Clone)]
pub(super) struct Section {
    /// The word before the dot, or before the colon of an INI file.
    pub kind: String,
    /// The word after it.
    pub name: Option<String>,
    /// The file it begins in.
    pub origin: Rc<Origin>,
    /// Its line, from 1.
    pub line: usize,
    /// What is set in it; of a key that comes twice the last.
    pub entries: Vec<Entry>,
}

impl Section {
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// How it is written in its file.
    pub(super) fn title(&self) -> String {
        let mark = if self.origin.ini { ':' } else { '.' };
        match &self.name {
            Some(name) => format!("[{}{mark}{name}]", self.kind),
            None => format!("[{}]", self.kind),
        }
    }

    /// Sets a key, which may have had a value.
    pub(super) fn set(&mut self, entry: Entry) {
        match self.entries.iter_mut().find(|known| known.key == entry.key) {
            Some(known) => *known = entry,
            None => self.entries.push(entry),
        }
    }
}

/// A whole file, or all files of a configuration.
#[derive(Debug, Clone)]
pub(super) struct Document {
    /// Its sections, as they stand in the file.
    pub sections: Vec<Section>,
}

/// Sections that have names.
const NAMED: [&str; 7] =
    ["program", "group", "socket", "eventlistener", "fcgi-program", "rpcinterface", "ctlplugin"];

impl Document {
    /// Reads TOML. Every syntax mistake is noted, not the first alone.
    pub(super) fn from_toml(origin: &Rc<Origin>, text: &str, findings: &mut Findings) -> Self {
        // Looked for once: a line is asked for at every key.
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let line_of = |offset: usize| 1 + ends.partition_point(|end| *end < offset);
        let mut mistake =
            |offset: usize, text: String| findings.add(Weight::Mistake, origin, line_of(offset), text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            mistake(error.span().map_or(0, |span| span.start), error.message().replace('\n', " "));
        }
        let mut sections = Vec::new();
        for (key, value) in table.get_ref().iter() {
            let kind = key.get_ref().to_string();
            let DeValue::Table(inner) = value.get_ref() else {
                mistake(key.span().start, format!("`{kind}` stands outside of any section"));
                continue;
            };
            // `[inet_http_server]` may be there without a name, and any number of times with one.
            let servers = matches!(kind.as_str(), "inet_http_server" | "unix_http_server");
            let named = NAMED.contains(&kind.as_str());
            let mut alone = !named && (!servers || inner.is_empty());
            for (name, value) in inner.iter() {
                match value.get_ref() {
                    DeValue::Table(entries) if named || servers => sections.push(Section {
                        kind: kind.clone(),
                        name: Some(name.get_ref().to_string()),
                        origin: Rc::clone(origin),
                        line: line_of(name.span().start),
                        entries: entries_of(entries, origin, &line_of),
                    }),
                    _ if named => {
                        mistake(name.span().start, format!("[{kind}] has no name: it must be [{kind}.NAME]"))
                    }
                    _ => alone = true,
                }
            }
            if alone {
                let mut entries = entries_of(inner, origin, &line_of);
                entries.retain(|entry| !servers || !matches!(entry.value, Value::Table(_)));
                let line = line_of(key.span().start);
                sections.push(Section { kind, name: None, origin: Rc::clone(origin), line, entries });
            }
        }
        sections.sort_by_key(|section| section.line);
        findings.mistakes.sort_by_key(|mistake| mistake.line);
        Self { sections }
    }
}

fn entries_of(table: &DeTable<'_>, origin: &Rc<Origin>, line_of: &impl Fn(usize) -> usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            value: value_of(value),
            origin: Rc::clone(origin),
            line: line_of(key.span().start),
            inherited: false,
        })
        .collect();
    entries.sort_by_key(|entry| entry.line);
    entries
}

fn value_of(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Int(number),
            Err(_) => Value::Text(number.as_str().to_owned()),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Value::Float(number),
            Err(_) => Value::Text(number.as_str().to_owned()),
        },
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Array(list) => Value::List(list.iter().map(value_of).collect()),
        DeValue::Table(table) => {
            let mut pairs: Vec<_> = table.iter().collect();
            // In the order of the file.
            pairs.sort_by_key(|(key, _)| key.span().start);
            Value::Table(
                pairs.into_iter().map(|(key, value)| (key.get_ref().to_string(), value_of(value))).collect(),
            )
        }
    }
}
