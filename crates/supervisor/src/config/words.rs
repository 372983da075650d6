//! Words of a line as Python's `shlex` cuts them, for commands and environments of an INI file.

/// The words of a command, as `shlex.split(text)`: quotes and backslashes as in a shell, no comments, and inside
/// double quotes a backslash protects only `"` and itself. `Err`: the text ends too early.
pub(super) fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("No escaped character")?),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("No closing quotation")? {
                        end if end == c => break,
                        '\\' if c == '"' => match chars.next().ok_or("No escaped character")? {
                            escaped @ ('"' | '\\') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        other => word.push(other),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Why a command cannot be run, in supervisord's words (supervisor 4.3 `process.py:get_execv_args`).
#[must_use]
pub fn unreadable_command(text: &str) -> String {
    match split(text) {
        Err(why) => {
            let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
            let escaped = text.replace('\\', "\\\\");
            let escaped = if quote == '\'' { escaped.replace('\'', "\\'") } else { escaped };
            format!("can't parse command {quote}{escaped}{quote}: {why}")
        }
        Ok(_) => "command is empty".to_owned(),
    }
}

/// The variables of `A="1",B=two`: tokens as Python's `shlex.shlex` finds them with `/.+-():` in words
/// (supervisor 4.3 `datatypes.py:dict_of_key_value_pairs`). A name that comes twice has its last value.
pub(super) fn variables(text: &str) -> Option<Vec<(String, String)>> {
    let tokens = tokens(text)?;
    let mut found: Vec<(String, String)> = Vec::new();
    // What stands between two pairs may be anything, as there.
    for pair in tokens.chunks(4) {
        let [name, equals, value, ..] = pair else { return None };
        if equals != "=" {
            return None;
        }
        let value = value.trim_matches(['\'', '"']).to_owned();
        match found.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => found.push((name.clone(), value)),
        }
    }
    Some(found)
}

/// A quoted piece is a token with its quotes; any character that is in no word is a token by itself.
fn tokens(text: &str) -> Option<Vec<String>> {
    let in_word = |c: char| c.is_ascii_alphanumeric() || "_/.+-():".contains(c);
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => {}
            '#' => while chars.next().is_some_and(|c| c != '\n') {},
            '\'' | '"' => {
                let mut token = String::from(c);
                loop {
                    let next = chars.next()?;
                    token.push(next);
                    if next == c {
                        break;
                    }
                }
                tokens.push(token);
            }
            c if in_word(c) => {
                let mut token = String::from(c);
                while let Some(next) = chars.next_if(|c| in_word(*c) || matches!(c, '\'' | '"')) {
                    token.push(next);
                }
                tokens.push(token);
            }
            c => tokens.push(c.to_string()),
        }
    }
    Some(tokens)
}

/// The variables of an `env_file`: lines `NAME=value`, with `export ` before or quotes around the value or not;
/// empty lines and lines that begin with `#` say nothing. `Err`: the number of a line that is none of these.
pub(super) fn env_lines(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut found = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, value) = line.split_once('=').ok_or(n + 1)?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\0') {
            return Err(n + 1);
        }
        found.push((name.to_owned(), env_value(value.trim()).ok_or(n + 1)?));
    }
    Ok(found)
}

fn env_value(text: &str) -> Option<String> {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let mut value = String::new();
            let mut chars = text[1..].chars();
            loop {
                match chars.next()? {
                    end if end == quote => break,
                    '\\' if quote == '"' => match chars.next()? {
                        'n' => value.push('\n'),
                        escaped @ ('"' | '\\' | '$') => value.push(escaped),
                        other => value.extend(['\\', other]),
                    },
                    other => value.push(other),
                }
            }
            let rest = chars.as_str().trim_start();
            (rest.is_empty() || rest.starts_with('#')).then_some(value)
        }
        _ => Some(text.split(" #").next().unwrap_or_default().trim_end().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_cut_as_python_cuts_it() {
        for (text, expected) in [
            ("a b  'c d'\n  e", &["a", "b", "c d", "e"][..]),
            (r#"bash -c "echo \$HOME \"x\" \\""#, &["bash", "-c", r#"echo \$HOME "x" \"#]),
            (r"a\ b '\n'", &["a b", r"\n"]),
            ("a '' \"\"x", &["a", "", "x"]),
            ("a #b", &["a", "#b"]),
            ("", &[]),
        ] {
            assert_eq!(split(text).expect(text), expected, "{text}");
        }
        assert_eq!(split("a 'b"), Err("No closing quotation"));
        assert_eq!(split("a \\"), Err("No escaped character"));
    }

    #[test]
    fn an_environment_is_read_as_supervisord_reads_it() {
        for (text, expected) in [
            ("", &[][..]),
            ("A=1,B=\"two words\"", &[("A", "1"), ("B", "two words")]),
            ("A='a,b', B=/x/y-1.0:(z)", &[("A", "a,b"), ("B", "/x/y-1.0:(z)")]),
            ("A=\"1\",\nB=\"2\",", &[("A", "1"), ("B", "2")]),
            ("A=1;B=2,A=3", &[("A", "3"), ("B", "2")]),
            ("A=\"it's\" # B=2", &[("A", "it's")]),
            ("A=\"\"", &[("A", "")]),
            ("A=~/x", &[("A", "~")]),
        ] {
            let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(variables(text), Some(expected), "{text}");
        }
        for text in ["A", "A=", "A=1 B=2", "A=\"1", "A:1"] {
            assert_eq!(variables(text), None, "{text}");
        }
    }

    #[test]
    fn an_env_file_has_a_variable_a_line() {
        let text =
            "# how\n\nexport A=1\nB = \"two \\\"words\\\"\\n\" # why\nC='a#b\\n'\nD=x y # z\nE=\nF=a#b\n";
        let expected =
            [("A", "1"), ("B", "two \"words\"\n"), ("C", "a#b\\n"), ("D", "x y"), ("E", ""), ("F", "a#b")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(env_lines(text), Ok(expected.to_vec()));
        for (text, line) in [("A=1\nB\n", 2), ("=1", 1), ("A='x", 1), ("A=\"x\" y", 1), ("a b=1", 1)] {
            assert_eq!(env_lines(text), Err(line), "{text}");
        }
    }
}
