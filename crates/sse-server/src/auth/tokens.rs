//! The tokens of publishers: one that everybody has, and those of a file, each with its name.

use std::collections::HashSet;
use std::fmt;

use parking_lot::RwLock;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::digest;

/// The name of the token that is no file's (`SSE_PUBLISH_TOKEN`), for logs and rate limits.
pub const OWN_NAME: &str = "token";
/// Tokens that a file may hold.
pub const LISTED_MAX: usize = 1000;
/// The longest name of a token, in characters.
const NAME_CHARS_MAX: usize = 64;

/// A token of the file; what is kept of it is its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Listed {
    name: String,
    digest: [u8; 32],
}

impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listed").field(&self.name).finish()
    }
}

/// What is wrong with a file of tokens; no token is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {why}")]
pub struct WrongLine {
    line: usize,
    why: String,
}

/// The tokens of a file: lines of `name:token`; empty ones and those that begin with `#` are passed over.
pub fn parse(text: &str) -> Result<Vec<Listed>, WrongLine> {
    let (mut listed, mut names, mut digests) = (Vec::new(), HashSet::new(), HashSet::new());
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: String| Err(WrongLine { line: n + 1, why });
        let Some((name, token)) = line.split_once(':') else {
            return wrong("is not name:token".to_owned());
        };
        let (name, token) = (name.trim(), token.trim());
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(is_name) {
            return wrong(format!(
                "must begin with a name of 1 to {NAME_CHARS_MAX} characters of A-Z a-z 0-9 _ . -"
            ));
        }
        if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
            return wrong(format!("must give {name} a token of visible ASCII characters without spaces"));
        }
        if name == OWN_NAME {
            return wrong(format!("has the name {name}, which is that of SSE_PUBLISH_TOKEN"));
        }
        if !names.insert(name.to_owned()) {
            return wrong(format!("has the name {name}, which an earlier line has"));
        }
        let digest = digest(token);
        if !digests.insert(digest) {
            return wrong(format!("gives {name} the token of an earlier line"));
        }
        if listed.len() == LISTED_MAX {
            return wrong(format!("is one token more than the {LISTED_MAX} that a file may hold"));
        }
        listed.push(Listed { name: name.to_owned(), digest });
    }
    Ok(listed)
}

/// Every token that is good now.
#[derive(Debug)]
pub struct Tokens {
    own: Listed,
    listed: RwLock<Vec<Listed>>,
}

impl Tokens {
    /// The one that is no file's, and those of the file.
    #[must_use]
    pub fn new(own: &str, listed: Vec<Listed>) -> Self {
        let own = Listed { name: OWN_NAME.to_owned(), digest: digest(own) };
        Self { own, listed: RwLock::new(listed) }
    }

    /// The name of the token that is shown, if it is one. All are compared, each in constant time, so the time it takes
    /// says neither where the shown one differs nor whose it is.
    pub fn name_of(&self, shown: &[u8]) -> Option<String> {
        let shown = digest(shown);
        let listed = self.listed.read();
        let mut found = 0_u32;
        for (n, token) in std::iter::once(&self.own).chain(listed.iter()).enumerate() {
            let is_it: Choice = token.digest.ct_eq(&shown);
            found = u32::conditional_select(&found, &u32::try_from(n + 1).unwrap_or(0), is_it);
        }
        match found {
            0 => None,
            1 => Some(self.own.name.clone()),
            n => listed.get(n as usize - 2).map(|token| token.name.clone()),
        }
    }

    /// Puts others in the place of the file's, and returns the names whose token is no longer good.
    pub fn replace(&self, listed: Vec<Listed>) -> Vec<String> {
        let before = std::mem::replace(&mut *self.listed.write(), listed.clone());
        let gone = before.into_iter().filter(|token| !listed.contains(token));
        gone.map(|token| token.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_lines_of_name_and_token() {
        let text = "# publishers\n\napp:secret-1\r\n  jobs.v2 : a:b \n#x:y\n";
        let tokens = Tokens::new("own", parse(text).unwrap());
        for (shown, name) in [
            ("own", Some("token")),
            ("secret-1", Some("app")),
            ("a:b", Some("jobs.v2")),
            ("y", None),
            ("", None),
            ("secret-", None),
            ("secret-11", None),
        ] {
            assert_eq!(tokens.name_of(shown.as_bytes()).as_deref(), name, "{shown}");
        }
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn wrong_line_is_named_by_its_number_and_no_token_is_told() {
        let many: String = (0..=LISTED_MAX).map(|n| format!("n{n}:t{n}\n")).collect();
        for (text, sentence) in [
            ("app:s3cret\nsecret-alone", "line 2 is not name:token"),
            (":s3cret", "line 1 must begin with a name of 1 to 64 characters of A-Z a-z 0-9 _ . -"),
            ("my app:s3cret", "line 1 must begin with a name of 1 to 64 characters of A-Z a-z 0-9 _ . -"),
            ("# a\n\napp:", "line 3 must give app a token of visible ASCII characters without spaces"),
            ("app:s3 cret", "line 1 must give app a token of visible ASCII characters without spaces"),
            ("app:a\napp:b", "line 2 has the name app, which an earlier line has"),
            ("app:a\nweb:a", "line 2 gives web the token of an earlier line"),
            ("token:a", "line 1 has the name token, which is that of SSE_PUBLISH_TOKEN"),
            (&many, "line 1001 is one token more than the 1000 that a file may hold"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), sentence);
        }
    }

    /// The attack: a token that was taken out of the file, or changed in it, is shown again.
    #[test]
    fn token_that_is_gone_is_good_no_longer() {
        let tokens = Tokens::new("own", parse("a:1\nb:2\nc:3").unwrap());
        assert_eq!(tokens.replace(parse("a:1\nb:22\nd:3").unwrap()), ["b", "c"]);
        let names = ["own", "1", "2", "22", "3"].map(|shown| tokens.name_of(shown.as_bytes()));
        assert_eq!(names.map(Option::unwrap_or_default), ["token", "a", "", "b", "d"]);
    }
}
