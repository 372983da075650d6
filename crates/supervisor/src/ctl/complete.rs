//! What a line of the shell can go on with (supervisor 4.3 `supervisorctl.py:complete`).

use super::topics;
use super::value::field;
use super::xmlrpc::Value;

/// What may stand where the cursor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The name of a command.
    Command,
    /// The name of a group.
    Group,
    /// A process, or a whole group.
    Process,
    /// One of a few words.
    Words(&'static [&'static str]),
    /// Nothing that we know.
    Nothing,
}

/// What may stand at the end of `line`.
pub(super) fn wanted(line: &str) -> Wanted {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [] => Wanted::Command,
        [_] if !line.ends_with(char::is_whitespace) => Wanted::Command,
        ["help", ..] => Wanted::Command,
        ["add" | "remove" | "update", ..] => Wanted::Group,
        ["wait", .., "--for"] => Wanted::Words(&["running", "ready", "stopped"]),
        ["wait", .., "--for", _] if !line.ends_with(char::is_whitespace) => {
            Wanted::Words(&["running", "ready", "stopped"])
        }
        ["completion", ..] => Wanted::Words(&["bash", "zsh", "fish"]),
        [
            "clear" | "fg" | "logs" | "pid" | "restart" | "signal" | "start" | "status" | "stop" | "tail"
            | "wait",
            ..,
        ] => Wanted::Process,
        _ => Wanted::Nothing,
    }
}

/// The words that begin with the last one of `line`, from what the daemon runs.
pub(super) fn candidates(line: &str, infos: &[Value]) -> Vec<String> {
    let text = line.rsplit(char::is_whitespace).next().unwrap_or_default();
    let mut found: Vec<String> = match wanted(line) {
        Wanted::Command => topics::names().map(str::to_owned).collect(),
        Wanted::Words(words) => words.iter().map(|word| (*word).to_owned()).collect(),
        Wanted::Nothing => Vec::new(),
        Wanted::Group => {
            let mut groups: Vec<String> = Vec::new();
            for info in infos {
                let group = field(info, "group").to_owned();
                if !groups.contains(&group) {
                    groups.push(group);
                }
            }
            groups
        }
        Wanted::Process => {
            let mut names: Vec<String> = Vec::new();
            for info in infos {
                let (group, name) = (field(info, "group"), field(info, "name"));
                if text.contains(':') || group != name {
                    names.push(format!("{group}:{name}"));
                    let whole = format!("{group}:*");
                    if !names.contains(&whole) {
                        names.push(whole);
                    }
                } else {
                    names.push(name.to_owned());
                }
            }
            names
        }
    };
    found.retain(|word| word.starts_with(text));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(group: &str, name: &str) -> Value {
        Value::Struct(vec![("group".to_owned(), group.into()), ("name".to_owned(), name.into())])
    }

    #[test]
    fn a_line_goes_on_with_what_the_command_takes() {
        let infos = [info("both", "a"), info("both", "b"), info("cat", "cat"), info("cow", "cow")];
        for (line, expected) in [
            ("sta", &["start", "status"][..]),
            ("help sta", &["start", "status"]),
            ("start c", &["cat", "cow"]),
            ("start x c", &["cat", "cow"]),
            ("start both", &["both:a", "both:*", "both:b"]),
            ("start cat:", &["cat:cat", "cat:*"]),
            ("update ", &["both", "cat", "cow"]),
            ("wait cat --for r", &["running", "ready"]),
            ("wait cat --for ready c", &["cat", "cow"]),
            ("completion ", &["bash", "zsh", "fish"]),
            ("version ", &[]),
            ("nope ", &[]),
        ] {
            assert_eq!(candidates(line, &infos), expected, "{line:?}");
        }
        assert!(candidates("", &infos).contains(&"avail".to_owned()));
    }
}
