//! A line of the shell, cut as Python's `cmd` module cuts it.

/// A line's command and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// Nothing was typed.
    Empty,
    /// A command's name and the rest.
    Command(&'a str, &'a str),
    /// What cannot be a command.
    Unknown(&'a str),
}

/// A name is letters, digits and `_`; a leading `?` means `help`.
pub(super) fn parse(line: &str) -> Parsed<'_> {
    let line = line.trim();
    if line.is_empty() {
        return Parsed::Empty;
    }
    if let Some(topic) = line.strip_prefix('?') {
        return Parsed::Command("help", topic.trim());
    }
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(line.len());
    match line.split_at(end) {
        ("", _) => Parsed::Unknown(line),
        (name, rest) => Parsed::Command(name, rest.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_as_pythons_cmd_cuts_them() {
        for (line, expected) in [
            ("", Parsed::Empty),
            ("  \t", Parsed::Empty),
            (" status  a b ", Parsed::Command("status", "a b")),
            ("status-x", Parsed::Command("status", "-x")),
            ("?", Parsed::Command("help", "")),
            ("? start", Parsed::Command("help", "start")),
            ("!ls", Parsed::Unknown("!ls")),
            ("-foo", Parsed::Unknown("-foo")),
        ] {
            assert_eq!(parse(line), expected, "{line:?}");
        }
    }
}
