//! How a program is called: `name`, `group:name`, or a whole group.

/// What a caller means by a name (supervisor 4.3 `options.py:split_namespec`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespec {
    /// One process of a group.
    Process {
        /// The group.
        group: String,
        /// The process in it.
        name: String,
    },
    /// Every process of a group.
    Group(String),
}

impl Namespec {
    /// `foo` is process foo of group foo, `g:p` process p of g, and `g:*` or `g:` the whole of g.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((group, "" | "*")) => Self::Group(group.to_owned()),
            Some((group, name)) => Self::Process { group: group.to_owned(), name: name.to_owned() },
            None => Self::Process { group: text.to_owned(), name: text.to_owned() },
        }
    }
}

/// `name` if the group is called the same, else `group:name`.
#[must_use]
pub fn namespec(group: &str, name: &str) -> String {
    if group == name { name.to_owned() } else { format!("{group}:{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_as_supervisord_splits_them() {
        let process =
            |group: &str, name: &str| Namespec::Process { group: group.to_owned(), name: name.to_owned() };
        for (text, expected) in [
            ("foo", process("foo", "foo")),
            ("g:p", process("g", "p")),
            ("g:p:q", process("g", "p:q")),
            ("g:*", Namespec::Group("g".to_owned())),
            ("g:", Namespec::Group("g".to_owned())),
        ] {
            assert_eq!(Namespec::parse(text), expected);
        }
        assert_eq!((namespec("a", "a"), namespec("a", "b")), ("a".to_owned(), "a:b".to_owned()));
    }
}
