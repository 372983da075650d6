//! `%(name)s` in values, as supervisord expands it.

use std::collections::BTreeMap;
use std::rc::Rc;

/// What names stand for: those of the whole configuration, and those of one place in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    everywhere: Rc<BTreeMap<String, String>>,
    here: BTreeMap<String, String>,
}

impl Names {
    pub(super) fn new(everywhere: BTreeMap<String, String>) -> Self {
        Self { everywhere: Rc::new(everywhere), here: BTreeMap::new() }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.here.get(name).or_else(|| self.everywhere.get(name)).map(String::as_str)
    }

    /// In this place, and those made from it, the name stands for this.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.here.insert(name.to_owned(), value.into());
    }

    /// The variables are what `%(ENV_X)s` names.
    pub(super) fn variables(&mut self, variables: &[(String, String)]) {
        for (name, value) in variables {
            self.set(&format!("ENV_{name}"), value);
        }
    }
}

/// How a number or a word fills its place.
struct Format<'a> {
    left: bool,
    zero: bool,
    width: usize,
    kind: char,
    rest: &'a str,
}

/// Room for one value, so that no format fills the memory.
const WIDTH_MAX: usize = 4096;

impl<'a> Format<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let flags = text.find(|c| !matches!(c, '-' | '0' | '+' | ' ' | '#')).unwrap_or(text.len());
        let (flags, text) = text.split_at(flags);
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (width, text) = text.split_at(digits);
        let width = if width.is_empty() { 0 } else { width.parse().ok().filter(|w| *w <= WIDTH_MAX)? };
        let kind = text.chars().next()?;
        let left = flags.contains('-');
        Some(Self { left, zero: flags.contains('0') && !left, width, kind, rest: &text[kind.len_utf8()..] })
    }

    fn fill(&self, value: &str) -> String {
        let width = self.width;
        match (self.left, self.zero && self.kind != 's') {
            (true, _) => format!("{value:<width$}"),
            (false, true) => {
                let (sign, digits) = value.split_at(usize::from(value.starts_with('-')));
                format!("{sign}{digits:0>width$}", width = width.saturating_sub(sign.len()))
            }
            (false, false) => format!("{value:>width$}"),
        }
    }
}

/// Replaces `%(name)s` and `%(name)d` (with a width, `%(process_num)02d`) by what the name stands for, and `%%` by a
/// percent sign (supervisor 4.3 `options.py:expand`).
pub(super) fn expand(text: &str, names: &Names) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let wrong = || format!("{text:?} has a `%` that is neither `%%` nor `%(NAME)s`");
        let (name, after) = rest.strip_prefix('(').and_then(|r| r.split_once(')')).ok_or_else(wrong)?;
        let format = Format::parse(after).ok_or_else(wrong)?;
        let value = names.get(name).ok_or_else(|| match name.strip_prefix("ENV_") {
            Some(variable) => format!("{text:?} names the environment variable {variable}, which is not set"),
            None => format!("{text:?} names `{name}`, which stands for nothing here"),
        })?;
        match format.kind {
            's' => out.push_str(&format.fill(value)),
            'd' | 'i' | 'x' => {
                // Only these are numbers there, a variable never is one.
                let number: i64 = match name {
                    "process_num" | "numprocs" => value.parse().ok(),
                    _ => None,
                }
                .ok_or_else(|| format!("{text:?}: `{name}` is not a number"))?;
                let digits = if format.kind == 'x' { format!("{number:x}") } else { number.to_string() };
                out.push_str(&format.fill(&digits));
            }
            _ => return Err(wrong()),
        }
        rest = format.rest;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_what_they_name() {
        let mut names = Names::default();
        for (name, value) in [("program_name", "web"), ("process_num", "7"), ("ENV_HOME", "/home/a")] {
            names.set(name, value);
        }
        for (text, expected) in [
            ("plain", "plain"),
            ("%(ENV_HOME)s/x", "/home/a/x"),
            ("%(program_name)s_%(process_num)02d", "web_07"),
            ("%(process_num)3d|%(process_num)-3d|%(process_num)s|%(program_name)5s", "  7|7  |7|  web"),
            ("100%%", "100%"),
            ("é%(program_name)s", "éweb"),
        ] {
            assert_eq!(expand(text, &names).as_deref(), Ok(expected));
        }
        for (text, expected) in [
            ("50%", "\"50%\" has a `%` that is neither `%%` nor `%(NAME)s`"),
            ("%(ENV_X)s", "\"%(ENV_X)s\" names the environment variable X, which is not set"),
            ("%(nope)s", "\"%(nope)s\" names `nope`, which stands for nothing here"),
            ("%(program_name)", "\"%(program_name)\" has a `%` that is neither `%%` nor `%(NAME)s`"),
            ("%(program_name)d", "\"%(program_name)d\": `program_name` is not a number"),
            (
                "%(program_name)99999s",
                "\"%(program_name)99999s\" has a `%` that is neither `%%` nor `%(NAME)s`",
            ),
        ] {
            assert_eq!(expand(text, &names), Err(expected.to_owned()));
        }
    }
}
