//! The `[supervisorctl]` section of a configuration, INI or TOML, with what its values stand for.

use std::collections::BTreeMap;
use std::path::Path;

use super::trouble::repr;

/// The section's name.
const NAME: &str = "supervisorctl";

/// The keys that hold paths, so that `%(here)s` means something in them.
const WITH_HERE: [&str; 2] = ["serverurl", "history_file"];

/// The values of the section, expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Section(BTreeMap<String, String>);

impl Section {
    /// Reads the section from a file's text. `here` is the file's folder, `environment` what `%(ENV_X)s` may name.
    pub(super) fn read(
        file: &Path,
        text: &str,
        here: &str,
        environment: &[(String, String)],
    ) -> Result<Self, String> {
        let is_toml = file.extension().is_some_and(|extension| extension == "toml");
        let raw = if is_toml { toml(file, text)? } else { ini(file, text)? };
        let mut names: BTreeMap<String, String> =
            environment.iter().map(|(name, value)| (format!("ENV_{name}"), value.clone())).collect();
        let mut values = BTreeMap::new();
        for (key, value) in raw {
            match WITH_HERE.contains(&key.as_str()) {
                true => names.insert("here".to_owned(), here.to_owned()),
                false => names.remove("here"),
            };
            if ["serverurl", "prompt", "username", "password", "history_file"].contains(&key.as_str()) {
                values.insert(key.clone(), expand(&key, &value, &names)?);
            }
        }
        Ok(Self(values))
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

fn toml(file: &Path, text: &str) -> Result<BTreeMap<String, String>, String> {
    let document: toml::Table =
        text.parse().map_err(|error: toml::de::Error| format!("{}: {}", file.display(), error.message()))?;
    let section = document
        .get(NAME)
        .and_then(toml::Value::as_table)
        .ok_or_else(|| format!("{} does not include supervisorctl section", file.display()))?;
    let text = |value: &toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(section.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}

/// The rules of Python's RawConfigParser with supervisord's settings: `=` or `:`, whole-line and inline comments
/// by `#` and `;`, indented lines go on, the last of two equal keys counts, `[DEFAULT]` holds for every section.
fn ini(file: &Path, text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut section: Option<String> = None;
    let mut open: Option<(String, usize)> = None;
    for (number, whole) in text.lines().enumerate() {
        let line = without_comment(whole).trim();
        let indent = whole.len() - whole.trim_start().len();
        if line.is_empty() {
            continue;
        }
        if let (Some(name), Some((key, depth))) = (&section, &open)
            && indent > *depth
        {
            if let Some(value) = sections.get_mut(name).and_then(|keys| keys.get_mut(key)) {
                value.push('\n');
                value.push_str(line);
            }
            continue;
        }
        if let Some(name) =
            line.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')).map(|(name, _)| name)
        {
            sections.entry(name.to_owned()).or_default();
            section = Some(name.to_owned());
            open = None;
            continue;
        }
        let at = number + 1;
        let Some(name) = &section else {
            return Err(format!("{}, line {at}: {line:?} stands before any [section]", file.display()));
        };
        let Some((key, value)) = line.split_once(['=', ':']) else {
            return Err(format!(
                "{}, line {at}: {line:?} is neither a [section] nor a key with a value",
                file.display()
            ));
        };
        let key = key.trim().to_lowercase();
        sections.entry(name.clone()).or_default().insert(key.clone(), value.trim().to_owned());
        open = Some((key, indent));
    }
    let mut values = sections.remove("DEFAULT").unwrap_or_default();
    // The genuine sentence: scripts know it.
    values.extend(sections.remove(NAME).ok_or(".ini file does not include supervisorctl section")?);
    Ok(values)
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with([';', '#']) {
        return "";
    }
    let mut space = false;
    for (at, c) in line.char_indices() {
        if space && matches!(c, ';' | '#') {
            return &line[..at];
        }
        space = c.is_whitespace();
    }
    line
}

/// Replaces `%(name)s` and `%%` (supervisor 4.3 `options.py:expand`).
fn expand(key: &str, text: &str, names: &BTreeMap<String, String>) -> Result<String, String> {
    let about = format!("Format string {} for {}", repr(text), repr(&format!("{NAME}.{key}")));
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(")s")) else {
            let why = if after.is_empty() {
                "incomplete format"
            } else {
                "only %(name)s and %% stand for something"
            };
            return Err(format!("{about} is badly formatted: {why}"));
        };
        out.push_str(names.get(name).ok_or_else(|| {
            let known: Vec<&str> = names.keys().map(String::as_str).collect();
            format!(
                "{about} contains names ({}) which cannot be expanded. Available names: {}",
                repr(name),
                known.join(", ")
            )
        })?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, text: &str) -> Result<Vec<(String, String)>, String> {
        let environment = [("A".to_owned(), "a".to_owned())];
        Section::read(Path::new(file), text, "/etc/x", &environment)
            .map(|section| section.0.into_iter().collect())
    }

    #[test]
    fn both_formats_say_the_same() {
        let ini = "; first\n[supervisord]\nserverurl=no\n[supervisorctl] \nServerURL = unix://%(here)s/s.sock ; here\n\
                   # no\nusername: %(ENV_A)s\npassword=a;b#c\nprompt=100%%\nother=%(nope)s\n[program:x]\nusername=no\n";
        let toml = "[supervisorctl]\nserverurl = \"unix://%(here)s/s.sock\"\nusername = \"%(ENV_A)s\"\n\
                    password = 'a;b#c'\nprompt = \"100%%\"\n[program.x]\nusername = \"no\"\n";
        let expected = [
            ("password", "a;b#c"),
            ("prompt", "100%"),
            ("serverurl", "unix:///etc/x/s.sock"),
            ("username", "a"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        for (file, text) in [("x.conf", ini), ("x.toml", toml)] {
            assert_eq!(read(file, text), Ok(expected.to_vec()), "{file}");
        }
    }

    #[test]
    fn an_ini_file_is_read_as_python_reads_it() {
        for (text, expected) in [
            ("[supervisorctl]\nprompt=a\nprompt=b\n", Some("b")),
            ("[supervisorctl]\nprompt=a\n[x]\nprompt=c\n[supervisorctl]\nusername=u\n", Some("a")),
            ("[DEFAULT]\nprompt=d\n[supervisorctl]\n", Some("d")),
            ("[DEFAULT]\nprompt=d\n[supervisorctl]\nprompt=e", Some("e")),
            ("[supervisorctl]\nprompt=a\n  b\n", Some("a\nb")),
            ("[supervisorctl]\nprompt=\n", Some("")),
            ("[supervisorctl]\n;prompt=a\n", None),
        ] {
            let section = Section::read(Path::new("x.conf"), text, "/", &[]).unwrap();
            assert_eq!(section.get("prompt"), expected, "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (file, text, expected) in [
            ("x.conf", "[x]\n", ".ini file does not include supervisorctl section"),
            ("x.toml", "[x]\n", "x.toml does not include supervisorctl section"),
            ("x.conf", "a=1\n", "x.conf, line 1: \"a=1\" stands before any [section]"),
            (
                "x.conf",
                "[supervisorctl]\na\n",
                "x.conf, line 2: \"a\" is neither a [section] nor a key with a value",
            ),
            (
                "x.conf",
                "[supervisorctl]\nserverurl=%(ENV_NOPE)s\n",
                "Format string '%(ENV_NOPE)s' for 'supervisorctl.serverurl' contains names ('ENV_NOPE') which \
                 cannot be expanded. Available names: ENV_A, here",
            ),
            (
                "x.conf",
                "[supervisorctl]\nprompt=50%\n",
                "Format string '50%' for 'supervisorctl.prompt' is badly formatted: incomplete format",
            ),
        ] {
            assert_eq!(read(file, text), Err(expected.to_owned()));
        }
    }
}
