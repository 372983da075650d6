//! The tokens of publishers: one that everybody has, and those of a file, each with its name and perhaps its topics.

use std::collections::HashSet;
use std::fmt;

use parking_lot::RwLock;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::digest;
use crate::hub::TopicFilter;
use crate::hub::grant::Grant;

/// The name of the token that is no file's (`SSE_PUBLISH_TOKEN`), for logs and rate limits.
pub const OWN_NAME: &str = "token";
/// Tokens that a file may hold.
pub const LISTED_MAX: usize = 1000;
/// Topics and filters of one token.
pub const TOPICS_MAX: usize = 256;
/// The longest name of a token, in characters.
const NAME_CHARS_MAX: usize = 64;
/// What stands before a token's topics. No token has a space in it, so none is taken for another with topics.
const TOPICS: &str = "topics=";

/// Whose token it is, and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    name: String,
    /// `None`: everything.
    topics: Option<Vec<TopicFilter>>,
}

impl Publisher {
    /// Its name, for logs and rate limits.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it opens the operating paths: a token with topics does not.
    #[must_use]
    pub fn operates(&self) -> bool {
        self.topics.is_none()
    }

    /// What it may publish and read.
    #[must_use]
    pub fn grant(&self) -> Grant {
        match &self.topics {
            None => Grant::publisher(&self.name),
            Some(topics) => Grant::publisher_of(&self.name, topics),
        }
    }
}

/// A token of the file; what is kept of it is its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Listed {
    publisher: Publisher,
    digest: [u8; 32],
}

impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listed").field(&self.publisher).finish()
    }
}

/// What is wrong with a file of tokens; no token is shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {why}")]
pub struct WrongLine {
    line: usize,
    why: String,
}

/// The tokens of a file: lines of `name:token` or `name:token topics=FILTER,FILTER`; empty ones and those that begin with
/// `#` are passed over.
pub fn parse(text: &str) -> Result<Vec<Listed>, WrongLine> {
    let (mut listed, mut names, mut digests) = (Vec::new(), HashSet::new(), HashSet::new());
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: String| WrongLine { line: n + 1, why };
        let (publisher, token) = one(line).map_err(wrong)?;
        let name = &publisher.name;
        if !names.insert(name.clone()) {
            return Err(wrong(format!("has the name {name}, which an earlier line has")));
        }
        let digest = digest(token);
        if !digests.insert(digest) {
            return Err(wrong(format!("gives {name} the token of an earlier line")));
        }
        if listed.len() == LISTED_MAX {
            return Err(wrong(format!("is one token more than the {LISTED_MAX} that a file may hold")));
        }
        listed.push(Listed { publisher, digest });
    }
    Ok(listed)
}

/// One line: whose it is, and the token.
fn one(line: &str) -> Result<(Publisher, &str), String> {
    let (name, token) = line.split_once(':').ok_or("is not name:token")?;
    let (name, token) = (name.trim(), token.trim());
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(is_name) {
        return Err(format!(
            "must begin with a name of 1 to {NAME_CHARS_MAX} characters of A-Z a-z 0-9 _ . -"
        ));
    }
    let (token, words) = match token.split_once(char::is_whitespace) {
        Some((token, more)) if more.trim_start().starts_with(TOPICS) => {
            (token, more.trim_start().strip_prefix(TOPICS))
        }
        _ => (token, None),
    };
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(format!("must give {name} a token of visible ASCII characters without spaces"));
    }
    if name == OWN_NAME {
        return Err(format!("has the name {name}, which is that of SSE_PUBLISH_TOKEN"));
    }
    let topics = words.map(|words| topics(name, words)).transpose()?;
    Ok((Publisher { name: name.to_owned(), topics }, token))
}

/// What is wrong is not repeated: it may be a part of a token.
fn topics(name: &str, words: &str) -> Result<Vec<TopicFilter>, String> {
    let filters: Result<Vec<_>, _> = words.split(',').map(|word| TopicFilter::parse(word.trim())).collect();
    match filters {
        Ok(filters) if filters.len() <= TOPICS_MAX => Ok(filters),
        _ => Err(format!(
            "must give {name} 1 to {TOPICS_MAX} topics or filters such as job:* after {TOPICS}, with commas between them"
        )),
    }
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
        let publisher = Publisher { name: OWN_NAME.to_owned(), topics: None };
        Self { own: Listed { publisher, digest: digest(own) }, listed: RwLock::new(listed) }
    }

    /// Whose token is shown, if it is one. All are compared, each in constant time, so the time it takes says neither
    /// where the shown one differs nor whose it is.
    pub fn find(&self, shown: &[u8]) -> Option<Publisher> {
        let shown = digest(shown);
        let listed = self.listed.read();
        let mut found = 0_u32;
        for (n, token) in std::iter::once(&self.own).chain(listed.iter()).enumerate() {
            let is_it: Choice = token.digest.ct_eq(&shown);
            found = u32::conditional_select(&found, &u32::try_from(n + 1).unwrap_or(0), is_it);
        }
        match found {
            0 => None,
            1 => Some(self.own.publisher.clone()),
            n => listed.get(n as usize - 2).map(|token| token.publisher.clone()),
        }
    }

    /// Puts others in the place of the file's, and returns the names of those that are not good for the same any more.
    pub fn replace(&self, listed: Vec<Listed>) -> Vec<String> {
        let before = std::mem::replace(&mut *self.listed.write(), listed.clone());
        let gone = before.into_iter().filter(|token| !listed.contains(token));
        gone.map(|token| token.publisher.name).collect()
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
            let found = tokens.find(shown.as_bytes());
            assert_eq!(found.as_ref().map(Publisher::name), name, "{shown}");
            assert!(found.is_none_or(|publisher| publisher.operates()), "{shown}");
        }
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn line_may_say_which_topics_its_token_is_for() {
        let text = "app:one topics=job:*, build:7,session:x\nweb : topics=a \t topics=*\nall:two\n";
        let tokens = Tokens::new("own", parse(text).unwrap());
        let names = |filters: &[TopicFilter]| filters.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (shown, operates, publish, subscribe) in [
            ("one", false, &["job:*", "build:7", "session:x"][..], &["job:*", "build:7"][..]),
            ("topics=a", false, &["*"], &["*"]),
            ("two", true, &["*"], &["*"]),
        ] {
            let publisher = tokens.find(shown.as_bytes()).unwrap();
            let grant = publisher.grant();
            assert_eq!((publisher.operates(), grant.name.as_str()), (operates, publisher.name()), "{shown}");
            assert_eq!(
                (names(&grant.publish), names(&grant.subscribe)),
                (names_of(publish), names_of(subscribe))
            );
        }
        assert_eq!(tokens.find(b"one topics=job:*"), None);
        let other = parse("app:one topics=job:*\nweb:topics=a topics=*\nall:two\n").unwrap();
        assert_eq!(tokens.replace(other), ["app"], "it is good for less");
    }

    fn names_of(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    const TOPICS_SENTENCE: &str = "line 1 must give app 1 to 256 topics or filters such as job:* after topics=, with commas between them";

    #[test]
    fn wrong_line_is_named_by_its_number_and_no_token_is_told() {
        let many: String = (0..=LISTED_MAX).map(|n| format!("n{n}:t{n}\n")).collect();
        for (text, sentence) in [
            ("app:s3cret\nsecret-alone", "line 2 is not name:token"),
            (":s3cret", "line 1 must begin with a name of 1 to 64 characters of A-Z a-z 0-9 _ . -"),
            ("my app:s3cret", "line 1 must begin with a name of 1 to 64 characters of A-Z a-z 0-9 _ . -"),
            ("# a\n\napp:", "line 3 must give app a token of visible ASCII characters without spaces"),
            ("app:s3 cret", "line 1 must give app a token of visible ASCII characters without spaces"),
            ("app:s3 topic=a", "line 1 must give app a token of visible ASCII characters without spaces"),
            ("app:a topics=", TOPICS_SENTENCE),
            ("app:a topics=job:*,", TOPICS_SENTENCE),
            ("app:a topics=a b", TOPICS_SENTENCE),
            ("app:a topics=*job", TOPICS_SENTENCE),
            (&format!("app:a topics={}", vec!["a"; TOPICS_MAX + 1].join(",")), TOPICS_SENTENCE),
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
        let found = ["own", "1", "2", "22", "3"].map(|shown| tokens.find(shown.as_bytes()));
        let names = found.each_ref().map(|found| found.as_ref().map_or("", Publisher::name));
        assert_eq!(names, ["token", "a", "", "b", "d"]);
    }
}
