//! Takes the keys of one section, one after the other, and notes every mistake on the way.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::document::{Entry, Mistake, Section, Value};
use super::expand::{Names, expand};
use super::units;

/// The keys of one section that are still to be taken.
pub(super) struct Keys<'a> {
    file: &'a Path,
    section: &'a Section,
    names: &'a Names,
    known: BTreeSet<&'static str>,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(
        file: &'a Path,
        section: &'a Section,
        names: &'a Names,
        mistakes: &'a mut Vec<Mistake>,
    ) -> Self {
        Self { file, section, names, known: BTreeSet::new(), mistakes }
    }

    /// Notes a mistake at a line of this file.
    pub(super) fn mistake(&mut self, line: usize, text: String) {
        self.mistakes.push(Mistake { file: self.file.to_path_buf(), line, text });
    }

    /// The entry of a key, now known.
    pub(super) fn entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.known.insert(key);
        self.section.entries.iter().find(|entry| entry.key == key)
    }

    /// The line of a key, or of the section.
    pub(super) fn line(&self, key: &str) -> usize {
        self.section
            .entries
            .iter()
            .find(|entry| entry.key == key)
            .map_or(self.section.line, |entry| entry.line)
    }

    /// A value that one word says, as `parse` understands it.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        let parsed = match entry.value.text() {
            Some(text) => expand(&text, self.names)
                .and_then(|text| parse(&text).map_err(|why| format!("`{key}` is {text:?}, but it {why}"))),
            None => Err(format!("`{key}` must be one value, not a list or a table")),
        };
        self.note(entry.line, parsed)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.get(key, |text| Ok(text.to_owned()))
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.get(key, units::boolean)
    }

    pub(super) fn number<T: std::str::FromStr>(&mut self, key: &'static str, allowed: &str) -> Option<T> {
        self.get(key, |text| text.trim().parse().map_err(|_| format!("must be {allowed}")))
    }

    /// Whole or broken seconds, or a time with a unit.
    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.get(key, units::duration)
    }

    /// A list of words, or one string with commas between them.
    pub(super) fn list(&mut self, key: &'static str) -> Option<Vec<String>> {
        let entry = self.entry(key)?;
        let words = match &entry.value {
            Value::List(values) => values.iter().map(Value::text).collect::<Option<Vec<_>>>(),
            value => value.text().map(|text| {
                text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
            }),
        };
        let expanded = words
            .ok_or_else(|| format!("`{key}` must be a list of words"))
            .and_then(|words| words.iter().map(|word| expand(word, self.names)).collect());
        self.note(entry.line, expanded)
    }

    /// An inline table whose keys are all in `known`.
    pub(super) fn table(
        &mut self,
        key: &'static str,
        known: &[&'static str],
    ) -> Option<Vec<(&'static str, String)>> {
        let entry = self.entry(key)?;
        let Value::Table(pairs) = &entry.value else {
            self.mistake(entry.line, format!("`{key}` must be a table, such as {{ {} = … }}", known[0]));
            return None;
        };
        let mut found = Vec::new();
        for (name, value) in pairs {
            match (known.iter().find(|k| *k == name), value.text()) {
                (Some(known), Some(text)) => {
                    let expanded = expand(&text, self.names);
                    if let Some(text) = self.note(entry.line, expanded) {
                        found.push((*known, text));
                    }
                }
                (Some(_), None) => self.mistake(entry.line, format!("`{key}.{name}` must be one value")),
                (None, _) => {
                    let near = nearest(name, known.iter().copied());
                    self.mistake(entry.line, format!("unknown key `{name}` in `{key}`{near}"));
                }
            }
        }
        Some(found)
    }

    /// `value`, or a mistake at `line`.
    pub(super) fn note<T>(&mut self, line: usize, value: Result<T, String>) -> Option<T> {
        value.map_err(|why| self.mistake(line, why)).ok()
    }

    /// What is left over is unknown, or for a later version.
    pub(super) fn finish(mut self, later: &[&str]) {
        for entry in &self.section.entries {
            let key = entry.key.as_str();
            if self.known.contains(key) {
                continue;
            }
            let text = if later.contains(&key) {
                format!("`{key}` is not supported by this version")
            } else {
                format!("unknown key `{key}`{}", nearest(key, self.known.iter().copied()))
            };
            self.mistake(entry.line, text);
        }
    }
}

/// `, did you mean …?` if something known is near.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|candidate| (strsim::levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= candidate.len().div_ceil(2) && *distance < candidate.len()
        })
        .min()
        .map_or_else(String::new, |(_, candidate)| format!(", did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_named_only_when_it_is_near() {
        let known = ["command", "startsecs", "stopwaitsecs"];
        assert_eq!(nearest("comand", known.into_iter()), ", did you mean `command`?");
        assert_eq!(nearest("stopwaitsec", known.into_iter()), ", did you mean `stopwaitsecs`?");
        assert_eq!(nearest("colour", known.into_iter()), "");
    }
}
