//! The variables that a section gives: `environment` and `env_file`.

use std::fs;

use super::document::Value;
use super::keys::Keys;
use super::words;

/// `env_file` below `environment`: a variable that is in both has the value of `environment`. What the first sets,
/// `%(ENV_X)s` names in the second; what both set, it names in what is taken from the section later.
pub(super) fn of_program(keys: &mut Keys<'_>) -> Vec<(String, String)> {
    let mut variables = env_file(keys);
    keys.names().variables(&variables);
    for (name, value) in environment(keys, false) {
        match variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => variables.push((name, value)),
        }
    }
    keys.names().variables(&variables);
    variables
}

/// `environment` of `[supervisord]`, in which an INI file has names replaced twice.
pub(super) fn of_daemon(keys: &mut Keys<'_>) -> Vec<(String, String)> {
    environment(keys, true)
}

/// A table, or the INI's `A="1",B="two words"`.
fn environment(keys: &mut Keys<'_>, twice: bool) -> Vec<(String, String)> {
    let Some(entry) = keys.entry("environment") else { return Vec::new() };
    let pairs = match &entry.value {
        Value::Table(pairs) => pairs
            .iter()
            .map(|(name, value)| match value.text() {
                Some(text) => keys.expand(entry, &text).map(|text| (name.clone(), text)),
                None => Err(format!("`environment.{name}` must be one value")),
            })
            .collect::<Result<Vec<_>, _>>(),
        Value::Text(text) => {
            let text = keys.expand(entry, text);
            let text =
                if twice && keys.ini() { text.and_then(|text| keys.expand(entry, &text)) } else { text };
            text.and_then(|text| {
                words::variables(&text).ok_or_else(|| {
                    format!("`environment` is {text:?}, but it must be like A=\"1\",B=\"two words\"")
                })
            })
        }
        _ => Err("`environment` must be a table, such as { A = \"1\" }, or a string such as A=\"1\",B=\"2\""
            .to_owned()),
    };
    let pairs = pairs.and_then(possible);
    keys.note("environment", pairs).unwrap_or_default()
}

fn possible(pairs: Vec<(String, String)>) -> Result<Vec<(String, String)>, String> {
    let impossible = |(name, value): &&(String, String)| {
        name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
    };
    match pairs.iter().find(impossible) {
        Some((name, _)) => Err(format!("`environment` cannot hold a variable like {name:?}")),
        None => Ok(pairs),
    }
}

/// The variables of all files; relative paths begin in the folder of the configuration.
fn env_file(keys: &mut Keys<'_>) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for name in keys.list("env_file").unwrap_or_default() {
        let here = keys.section.entry("env_file").map_or(&keys.section.origin, |entry| &entry.origin);
        let path = std::path::Path::new(&here.here).join(&name);
        let found = fs::read_to_string(&path)
            .map_err(|error| format!("`env_file` {} cannot be read: {error}", path.display()))
            .and_then(|text| {
                words::env_lines(&text).map_err(|line| {
                    format!("`env_file` {} has a line {line} that is not NAME=value", path.display())
                })
            })
            .and_then(possible);
        for (name, value) in keys.note("env_file", found).unwrap_or_default() {
            variables.retain(|(known, _)| *known != name);
            variables.push((name, value));
        }
    }
    variables
}
