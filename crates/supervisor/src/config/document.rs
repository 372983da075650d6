//! A configuration as it was written: sections, keys and values with their lines, whatever the format.

use std::path::{Path, PathBuf};

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
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.text),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.text),
        }
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
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The key.
    pub key: String,
    /// What it is set to.
    pub value: Value,
    /// Its line, from 1.
    pub line: usize,
}

/// A section, such as `[supervisord]` or `[program.web]`.
#[derive(Debug, Clone)]
pub(super) struct Section {
    /// The word before the dot.
    pub kind: String,
    /// The word after the dot.
    pub name: Option<String>,
    /// Its line, from 1.
    pub line: usize,
    /// What is set in it.
    pub entries: Vec<Entry>,
}

/// A whole file.
#[derive(Debug, Clone)]
pub(super) struct Document {
    /// Where it was read from.
    pub file: PathBuf,
    /// Its sections, as they stand in the file.
    pub sections: Vec<Section>,
}

/// Sections that have names.
const NAMED: [&str; 3] = ["program", "group", "socket"];

impl Document {
    /// Reads TOML. Every syntax mistake is reported, not the first alone.
    pub(super) fn from_toml(file: &Path, text: &str) -> Result<Self, Vec<Mistake>> {
        let line_of = |offset: usize| {
            1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count()
        };
        let mistake =
            |offset: usize, text: String| Mistake { file: file.to_path_buf(), line: line_of(offset), text };
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut mistakes: Vec<Mistake> = errors
            .iter()
            .map(|error| {
                mistake(error.span().map_or(0, |span| span.start), error.message().replace('\n', " "))
            })
            .collect();
        let mut sections = Vec::new();
        for (key, value) in table.get_ref().iter() {
            let kind = key.get_ref().to_string();
            let DeValue::Table(inner) = value.get_ref() else {
                mistakes.push(mistake(key.span().start, format!("`{kind}` stands outside of any section")));
                continue;
            };
            if NAMED.contains(&kind.as_str()) {
                for (name, value) in inner.iter() {
                    match value.get_ref() {
                        DeValue::Table(entries) => sections.push(Section {
                            kind: kind.clone(),
                            name: Some(name.get_ref().to_string()),
                            line: line_of(name.span().start),
                            entries: entries_of(entries, &line_of),
                        }),
                        _ => mistakes.push(mistake(
                            name.span().start,
                            format!("[{kind}] has no name: it must be [{kind}.NAME]"),
                        )),
                    }
                }
            } else {
                let entries = entries_of(inner, &line_of);
                sections.push(Section { kind, name: None, line: line_of(key.span().start), entries });
            }
        }
        sections.sort_by_key(|section| section.line);
        mistakes.sort_by_key(|mistake| mistake.line);
        if mistakes.is_empty() { Ok(Self { file: file.to_path_buf(), sections }) } else { Err(mistakes) }
    }
}

fn entries_of(table: &DeTable<'_>, line_of: &impl Fn(usize) -> usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            value: value_of(value),
            line: line_of(key.span().start),
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
        DeValue::Table(table) => Value::Table(
            table.iter().map(|(key, value)| (key.get_ref().to_string(), value_of(value))).collect(),
        ),
    }
}
