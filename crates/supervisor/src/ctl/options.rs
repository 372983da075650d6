//! The command line of `supervisorctl`, read as Python's getopt reads it for the genuine one.

use super::trouble::repr;

/// What the command line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `-c`: the configuration file.
    pub config: Option<String>,
    /// `-s`: where the daemon is.
    pub url: Option<String>,
    /// `-u`: the name to give.
    pub username: Option<String>,
    /// `-p`: the password to give.
    pub password: Option<String>,
    /// `-r`: where the shell's history is kept.
    pub history_file: Option<String>,
    /// `-i`: ask before what cannot be undone.
    pub interactive: bool,
    /// `-h`: show the usage and end.
    pub help: bool,
    /// The words of the command.
    pub command: Vec<String>,
}

/// Letter, long name, whether a value follows.
const KNOWN: [(char, &str, bool); 8] = [
    ('h', "help", false),
    ('?', "", false),
    ('c', "configuration", true),
    ('i', "interactive", false),
    ('s', "serverurl", true),
    ('u', "username", true),
    ('p', "password", true),
    ('r', "history_file", true),
];

impl Options {
    /// Reads the words after the program's name. Options end at the first word that is none; what follows belongs
    /// to the command, the `-f` of `tail` included.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut found = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let (letter, long, takes) = known(name)?;
                let value = match (takes, value) {
                    (false, Some(_)) => return Err(format!("option --{long} must not have an argument")),
                    (true, None) => Some(
                        words.next().cloned().ok_or_else(|| format!("option --{long} requires argument"))?,
                    ),
                    (_, value) => value,
                };
                found.set(letter, &format!("--{long}"), value)?;
            } else if word.len() > 1 && word.starts_with('-') {
                let mut letters = word[1..].chars();
                while let Some(letter) = letters.next() {
                    let (_, _, takes) = KNOWN
                        .iter()
                        .find(|(known, _, _)| *known == letter)
                        .ok_or_else(|| format!("option -{letter} not recognized"))?;
                    let value = match (takes, letters.as_str()) {
                        (false, _) => None,
                        (true, "") => Some(
                            words
                                .next()
                                .cloned()
                                .ok_or_else(|| format!("option -{letter} requires argument"))?,
                        ),
                        (true, rest) => Some(rest.to_owned()),
                    };
                    let took = value.is_some();
                    found.set(letter, &format!("-{letter}"), value)?;
                    if took {
                        break;
                    }
                }
            } else {
                found.command.push(word.clone());
                break;
            }
        }
        found.command.extend(words.cloned());
        Ok(found)
    }

    fn set(&mut self, letter: char, shown: &str, value: Option<String>) -> Result<(), String> {
        let conflict = || Err(format!("conflicting command line option {}", repr(shown)));
        let slot = match letter {
            'i' if self.interactive => return conflict(),
            'i' => {
                self.interactive = true;
                return Ok(());
            }
            'c' => &mut self.config,
            's' => {
                let url = value.as_deref().unwrap_or_default();
                if !is_url(url) {
                    let url = repr(url);
                    return Err(format!("invalid value for {shown} {url}: value {url} is not a URL"));
                }
                &mut self.url
            }
            'u' => &mut self.username,
            'p' => &mut self.password,
            'r' => &mut self.history_file,
            _ => {
                self.help = true;
                return Ok(());
            }
        };
        if slot.is_some() {
            return conflict();
        }
        *slot = value;
        Ok(())
    }
}

/// The long option that `name` is, or is the only beginning of.
fn known(name: &str) -> Result<(char, &'static str, bool), String> {
    let mut beginning = KNOWN.iter().filter(|(_, long, _)| !long.is_empty() && long.starts_with(name));
    let exact = KNOWN.iter().find(|(_, long, _)| !long.is_empty() && *long == name);
    match (exact, beginning.next(), beginning.next()) {
        (Some(exact), _, _) => Ok(*exact),
        (None, Some(one), None) => Ok(*one),
        (None, Some(_), Some(_)) => Err(format!("option --{name} not a unique prefix")),
        (None, None, _) => Err(format!("option --{name} not recognized")),
    }
}

/// Whether there is a scheme and something after it.
fn is_url(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            && (!rest.trim_start_matches("/").is_empty() || rest.starts_with("///"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let expected = Options {
            config: Some("f".to_owned()),
            url: Some("unix:///s".to_owned()),
            interactive: true,
            command: ["tail", "-f", "x"].map(str::to_owned).to_vec(),
            ..Options::default()
        };
        for line in [
            "-c f -s unix:///s -i tail -f x",
            "-icf -sunix:///s tail -f x",
            "--configuration=f --serverurl unix:///s --interactive tail -f x",
            "--conf f --s unix:///s --int -- tail -f x",
        ] {
            assert_eq!(parse(line).as_ref(), Ok(&expected), "{line}");
        }
        assert!(parse("-?").unwrap().help && parse("--he").unwrap().help);
        assert_eq!(parse("-").unwrap().command, ["-"]);
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_getopt() {
        for (line, expected) in [
            ("-x", "option -x not recognized"),
            ("-ix", "option -x not recognized"),
            ("--foo", "option --foo not recognized"),
            ("-s", "option -s requires argument"),
            ("--serverurl", "option --serverurl requires argument"),
            ("--help=1", "option --help must not have an argument"),
            ("--h", "option --h not a unique prefix"),
            ("-s nourl", "invalid value for -s 'nourl': value 'nourl' is not a URL"),
            ("-s http://", "invalid value for -s 'http://': value 'http://' is not a URL"),
            ("-s a:b -s a:b", "conflicting command line option '-s'"),
            ("-c a --configuration b", "conflicting command line option '--configuration'"),
        ] {
            assert_eq!(parse(line), Err(expected.to_owned()), "{line}");
        }
    }
}
