//! Takes the keys of one section, one after the other, and notes every mistake on the way.

use std::collections::BTreeSet;
use std::time::Duration;

use super::document::{Entry, Findings, Section, Value, Weight};
use super::expand::{Names, expand};
use super::units;

/// The keys of one section that are still to be taken.
pub(super) struct Keys<'a> {
    pub(super) section: &'a Section,
    names: Names,
    known: BTreeSet<&'static str>,
    findings: &'a mut Findings,
}

impl<'a> Keys<'a> {
    pub(super) fn new(section: &'a Section, names: &Names, findings: &'a mut Findings) -> Self {
        let mut names = names.clone();
        names.set("here", section.origin.here.as_str());
        Self { section, names, known: BTreeSet::new(), findings }
    }

    /// What names stand for from now on.
    pub(super) fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    /// Whether the section is as lenient as supervisord.
    pub(super) fn ini(&self) -> bool {
        self.section.origin.ini
    }

    /// How the section is written.
    pub(super) fn title(&self) -> String {
        self.section.title()
    }

    /// Notes something about a key, or about the section if it is not there.
    pub(super) fn find(&mut self, weight: Weight, key: &str, text: String) {
        let (origin, line) = match self.section.entry(key) {
            Some(entry) => (&entry.origin, entry.line),
            None => (&self.section.origin, self.section.line),
        };
        self.findings.add(weight, origin, line, text);
    }

    /// Notes a mistake.
    pub(super) fn mistake(&mut self, key: &str, text: String) {
        self.find(Weight::Mistake, key, text);
    }

    /// Notes a sentence of supervisord's own log.
    pub(super) fn genuine(&mut self, key: &str, text: String) {
        let (origin, line) = match self.section.entry(key) {
            Some(entry) => (&entry.origin, entry.line),
            None => (&self.section.origin, self.section.line),
        };
        self.findings.genuine(origin, line, text);
    }

    /// The entry of a key, now known.
    pub(super) fn entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.known.insert(key);
        self.section.entry(key)
    }

    /// `text` with its names replaced, as it stands in the file of `entry`.
    pub(super) fn expand(&self, entry: &Entry, text: &str) -> Result<String, String> {
        if !text.contains('%') {
            return Ok(text.to_owned());
        }
        if self.section.origin == entry.origin {
            return expand(text, &self.names);
        }
        let mut names = self.names.clone();
        names.set("here", entry.origin.here.as_str());
        expand(text, &names)
    }

    /// A value that one word says, as `parse` understands it.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        let parsed = match entry.value.text() {
            Some(text) => self
                .expand(entry, &text)
                .and_then(|text| parse(&text).map_err(|why| format!("`{key}` is {text:?}, but it {why}"))),
            None => Err(format!("`{key}` must be one value, not a list or a table")),
        };
        self.note(key, parsed)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.get(key, |text| Ok(text.to_owned()))
    }

    /// A value in which supervisord replaces names twice, so that an INI file writes a percent sign as `%%%%`.
    pub(super) fn text_twice(&mut self, key: &'static str) -> Option<String> {
        let entry = self.entry(key)?;
        let text = self.text(key)?;
        if !entry.origin.ini {
            return Some(text);
        }
        let twice = self.expand(entry, &text);
        self.note(key, twice)
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.get(key, units::boolean)
    }

    /// A whole number; what is outside of `T` is at its nearest end, as a negative count is none there too.
    pub(super) fn number<T: TryFrom<i64>>(&mut self, key: &'static str, allowed: &str) -> Option<T> {
        self.get(key, |text| {
            let number = units::integer(text).ok_or_else(|| format!("must be {allowed}"))?;
            T::try_from(number).map_err(|_| format!("must be {allowed}"))
        })
    }

    /// The same, where a number below 0 says what 0 says.
    pub(super) fn count(&mut self, key: &'static str, max: i64, allowed: &str) -> Option<i64> {
        let ini = self.ini();
        self.get(key, |text| match units::integer(text) {
            Some(number) if (0..=max).contains(&number) => Ok(number),
            Some(number) if number < 0 && ini => Ok(0),
            _ => Err(format!("must be {allowed}")),
        })
    }

    /// Whole or broken seconds, or a time with a unit.
    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.get(key, units::duration)
    }

    /// A list of words, or one string with commas between them.
    pub(super) fn list(&mut self, key: &'static str) -> Option<Vec<String>> {
        let entry = self.entry(key)?;
        let words = entry.value.inline().and_then(|value| match &value {
            Value::List(values) => values
                .iter()
                .map(|value| value.text().ok_or_else(|| format!("`{key}` must be a list of words")))
                .map(|word| word.and_then(|word| self.expand(entry, &word)))
                .collect::<Result<Vec<_>, _>>(),
            value => value
                .text()
                .ok_or_else(|| format!("`{key}` must be a list of words"))
                .and_then(|text| self.expand(entry, &text))
                .map(|text| {
                    text.split(',')
                        .map(str::trim)
                        .filter(|word| !word.is_empty())
                        .map(str::to_owned)
                        .collect()
                }),
        });
        self.note(key, words)
    }

    /// An inline table, also in an INI file, whose keys are all in `known`.
    pub(super) fn table(
        &mut self,
        key: &'static str,
        known: &[&'static str],
    ) -> Option<Vec<(&'static str, String)>> {
        let entry = self.entry(key)?;
        let value = entry.value.inline().map_err(|why| format!("`{key}` is no inline table: {why}"));
        let Value::Table(pairs) = self.note(key, value)? else {
            self.mistake(key, format!("`{key}` must be a table, such as {{ {} = … }}", known[0]));
            return None;
        };
        let mut found = Vec::new();
        for (name, value) in &pairs {
            match (known.iter().find(|k| *k == name), value.text()) {
                (Some(known), Some(text)) => {
                    let expanded = self.expand(entry, &text);
                    if let Some(text) = self.note(key, expanded) {
                        found.push((*known, text));
                    }
                }
                (Some(_), None) => self.mistake(key, format!("`{key}.{name}` must be one value")),
                (None, _) => {
                    let near = nearest(name, known.iter().copied());
                    self.mistake(key, format!("unknown key `{name}` in `{key}`{near}"));
                }
            }
        }
        Some(found)
    }

    /// The value, or a mistake at the line of the key.
    pub(super) fn note<T>(&mut self, key: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|why| self.mistake(key, why)).ok()
    }

    /// What is left over is unknown.
    pub(super) fn finish(self) {
        for entry in &self.section.entries {
            let key = entry.key.as_str();
            if self.known.contains(key) {
                continue;
            }
            self.findings.unknown.insert((self.section.title(), key.to_owned()));
            // What holds for all sections, and a header without `]`, which is told as that.
            if entry.inherited || key.starts_with('[') {
                continue;
            }
            let text = format!("unknown key `{key}`{}", nearest(key, self.known.iter().copied()));
            self.findings.add(Weight::Warning, &entry.origin, entry.line, text);
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
